package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/katana"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// DialKatana makes the clients of Katana accounts. All clients made by what it returns share one set of request budgets,
// because Katana counts requests by key: call it once for a process.
func DialKatana(version string, clock engine.Clock, log logr.Logger) func(Store) (Source, error) {
	budgets := katana.NewBudgets(clock)
	return func(s Store) (Source, error) {
		k := s.Settings.Katana
		o := katana.Options{
			URL: k.URL, Token: string(k.Token), Budgets: budgets, WooCommerceSources: k.WooCommerceSources,
			RequestsPerMinute: k.RequestsPerMinute, Clock: clock, UserAgent: "StockSync/" + version, Log: log.WithName("katana"),
		}
		if k.CABundle != "" {
			o.CABundle = []byte(k.CABundle)
		}
		return katana.New(o)
	}
}

// dialSource gives a topology's source its client; one of the same account with the same key is kept. What is known of
// the webhook holds for a new key, too.
func (a *Agent) dialSource(old *running, st Store) *running {
	r := &running{store: st}
	if st.Settings == nil {
		r.account = &account{Source: unusableSource{&engine.Fault{Reason: st.Invalid.Reason, Message: st.Invalid.Message, Unsent: true}}}
		return r
	}
	if old != nil && old.account != nil && old.store.Settings != nil && sameAccount(*old.store.Settings.Katana, *st.Settings.Katana) {
		r.account = old.account
		return r
	}
	source, err := a.o.DialSource(st)
	if err != nil {
		source = unusableSource{asFault(err)}
	}
	r.account = &account{Source: a.metrics.measuredSource(st.ID, source)}
	if old != nil && old.account != nil {
		r.account.subscription = old.account.subscribed()
	}
	return r
}

// sameAccount tells whether two settings need no other client.
func sameAccount(a, b Katana) bool {
	return a.URL == b.URL && a.Token == b.Token && a.CABundle == b.CABundle && a.RequestsPerMinute == b.RequestsPerMinute &&
		slices.Equal(a.WooCommerceSources, b.WooCommerceSources)
}

// engineSource is the engine's view of a source.
func engineSource(st Store, source engine.Source) *engine.SourceStore {
	out := &engine.SourceStore{ID: st.ID, Driver: source}
	if s := st.Settings; s != nil {
		out.ImportWithin, out.Poll, out.Compare, out.IgnoreCase = s.Katana.ImportGrace, s.Katana.Poll, s.Katana.Compare, s.Katana.IgnoreCase
		if s.Katana.ImportGrace == 0 {
			out.ImportWithin = -1
		}
	}
	return out
}

// sourceTerms are how a store takes part where its numbers come from a source.
func sourceTerms(st Store) *engine.SourceTerms {
	terms := &engine.SourceTerms{}
	if st.Settings == nil || st.Settings.Supply == nil {
		return terms
	}
	s := st.Settings.Supply
	terms.Location = s.Location
	terms.Counts = stock.SupplyPolicy{
		Committed: stock.CommittedOrders(s.Committed), Quotes: s.Quotes == v1alpha1.QuotesCount, Rounding: stock.Rounding(s.Rounding),
		Zero: s.BelowZero == v1alpha1.BelowZeroZero, Available: s.Kits == v1alpha1.KitsPotential,
	}
	terms.Names = shopNames(st.Settings.WooCommerce.URL)
	terms.Correct = s.Drift == v1alpha1.DriftCorrect
	for item, id := range s.Links {
		terms.Links = append(terms.Links, engine.ConfiguredLink{Ref: stock.Ref{Product: id}, Item: item})
	}
	slices.SortFunc(terms.Links, func(a, b engine.ConfiguredLink) int { return cmp.Compare(a.Item, b.Item) })
	return terms
}

// shopNames are what a source may call a shop: its host name, with and without www, and with the path it has.
func shopNames(raw string) []string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	host := strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	var out []string
	for _, h := range []string{host, "www." + host} {
		for _, port := range []string{"", u.Port()} {
			name := h
			if port != "" {
				name += ":" + port
			}
			for _, path := range []string{"", strings.TrimRight(u.Path, "/")} {
				for _, prefix := range []string{"", u.Scheme + "://"} {
					out = append(out, prefix+name+path)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// locations checks that the source has the locations whose stock the stores show.
func (a *account) locations(ctx context.Context, conf Config) agentapi.PingCheck {
	check := agentapi.PingCheck{Name: agentapi.CheckLocations}
	all, err := a.Locations(ctx)
	if err != nil {
		f := asFault(err)
		check.Reason, check.Message = f.Reason, f.Message
		return check
	}
	for _, st := range conf.Stores {
		if st.Settings == nil || st.Settings.Supply == nil {
			continue
		}
		wanted := st.Settings.Supply.Location
		if !slices.ContainsFunc(all, func(l stock.SourceLocation) bool { return l.ID == wanted && !l.Gone }) {
			check.Reason, check.Message = v1alpha1.ReasonLocationGone, view{store: st, source: &engine.SourceState{Locations: all}}.locationGone()
			return check
		}
	}
	check.OK = true
	return check
}

// inSecret names where the key is.
func (v sourceView) inSecret() string {
	return fmt.Sprintf(" (%s)", v.store.Settings.Katana.SecretName)
}
