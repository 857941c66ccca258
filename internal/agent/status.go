package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// hintDelay is how late a webhook may come before a change found by polling counts as not announced:
	// shops deliver them once a minute.
	hintDelay = 5 * time.Minute
)

// view is all that is known of one store at one moment.
type view struct {
	store Store
	state engine.StoreState
	hooks hooks
	// preview is what mode Observe would change where nothing is enrolled.
	preview preview
	// plugin is what is known of the store's Kitgenix plugin; nil where it has none.
	plugin *pluginView
	// source is what is known of the source that gives the numbers; nil where a store is the master.
	source *engine.SourceState
	// publicURL is empty when no webhooks are wanted.
	publicURL string
	objective time.Duration
	// newSince is since when some SKUs have waited to be enrolled, as far as this process knows.
	newSince time.Time
	now      time.Time
}

// statement is a condition without its time.
type statement struct{ status, reason, message string }

func yes(reason, message string) statement     { return statement{"True", reason, message} }
func no(reason, message string) statement      { return statement{"False", reason, message} }
func unknown(reason, message string) statement { return statement{"Unknown", reason, message} }

const offMessage = "the mode is Off: nothing is read or written"

func (v view) accepted() statement {
	if p := v.store.Invalid; p != nil {
		message := p.Message
		if v.store.Settings != nil {
			message += ". The last good configuration of the store stays in use"
		}
		return no(p.Reason, message)
	}
	messages := []string{"the agent runs with this configuration"}
	for _, w := range v.store.Warnings {
		messages = append(messages, w.Message)
	}
	return yes(v1alpha1.ReasonAccepted, strings.Join(messages, "; "))
}

func (v view) connected() statement {
	s, f := v.state, v.state.Failure
	switch {
	case v.store.Mode == engine.Off:
		return unknown(v1alpha1.ReasonOff, offMessage)
	case v.store.Settings == nil:
		return unknown(v1alpha1.ReasonInvalidConfiguration, "the store has no usable configuration, so it is not asked")
	case f != nil && f.Reason == v1alpha1.ReasonOrdersUnreadable:
		return yes(f.Reason, v.ordersUnreadable())
	case f != nil:
		return no(f.Reason, v.advise(f))
	case s.LocationGone:
		return no(v1alpha1.ReasonLocationGone, v.locationGone())
	case s.ClaimedBy != "":
		return no(v1alpha1.ReasonStoreClaimedElsewhere, v.claimed())
	case s.RelativeUnsupported:
		return no(v1alpha1.ReasonRelativeUpdateUnsupported, "the shop ignores relative quantity changes (`inventory_delta`), so nothing is written to it: update WooCommerce, or look for a plugin that replaces its REST API")
	case s.LastSeen.IsZero():
		return unknown(v1alpha1.ReasonPending, "the shop was not asked yet")
	case s.OrdersUnreadable:
		return yes(v1alpha1.ReasonOrdersUnreadable, v.ordersUnreadable())
	case v.store.Settings.pluginAlone() && v.plugin.stale(v.now):
		return no(v1alpha1.ReasonPluginSilent, "the plugin was not heard for a day: see that the shop is up and its plugin active")
	case v.store.Settings.pluginAlone() && v.plugin.known.skewed():
		return yes(v1alpha1.ReasonClockSkew, kitgenix.SkewMessage(v.plugin.known.Skew))
	case s.Skew.Abs() > woocommerce.MaxSkew:
		return yes(v1alpha1.ReasonClockSkew, fmt.Sprintf("the clocks of shop and agent differ by about %s: set the shop's server to network time (NTP)", s.Skew.Abs().Round(time.Minute)))
	}
	return yes(v1alpha1.ReasonConnected, "the last request worked")
}

// claimed says whose marks a shop carries, and what can be done about them.
func (v view) claimed() string {
	by, asked, object := v.state.ClaimedBy, v.store.TakeOver, "ChildStore"
	if v.store.Master {
		object = "StockSyncTopology"
	}
	message := fmt.Sprintf("the shop carries the marks of another StockSync ledger (%s), and two must never write to one shop: take the store out of one of the topologies", by)
	switch asked {
	case "":
		return message + fmt.Sprintf("; or, if the other is gone for good, take the shop over by the annotation `%s: \"%s\"` on the %s", v1alpha1.AnnotationTakeOverFrom, by, object)
	case by:
		return message + fmt.Sprintf(". It was taken over, and the other went on writing: stop that agent, remove the annotation `%s` of the %s and set it again", v1alpha1.AnnotationTakeOverFrom, object)
	}
	return message + fmt.Sprintf(". The annotation `%s` of the %s names %q: name %s to take the shop over", v1alpha1.AnnotationTakeOverFrom, object, asked, by)
}

func (v view) ordersUnreadable() string {
	return "the REST key may not read orders, so losses are not repaired and edits not told from sales: " +
		"use a key of an administrator or shop manager" + v.inSecret()
}

func (v view) inSecret() string {
	return fmt.Sprintf(" (keys `%s` and `%s` of Secret `%s`)", v1alpha1.CredentialsConsumerKey, v1alpha1.CredentialsConsumerSecret, v.store.Settings.WooCommerce.SecretName)
}

// advise adds to the driver's words what only the configuration knows.
func (v view) advise(f *engine.Fault) string {
	switch f.Reason {
	case v1alpha1.ReasonSignatureRefused:
		if k := v.store.Settings.Kitgenix; k != nil {
			return f.Message + " (" + k.SecretName + ")"
		}
	case v1alpha1.ReasonAuthenticationFailed, v1alpha1.ReasonReadOnlyKey:
		return f.Message + v.inSecret()
	case v1alpha1.ReasonUntrustedCertificate:
		name := v.store.Settings.WooCommerce.CAName
		if v.store.Settings.pluginAlone() {
			name = v.store.Settings.Kitgenix.CAName
		}
		if name != "" {
			return f.Message + " (trusted now: " + name + ")"
		}
	}
	return f.Message
}

// hintsAvailable speaks of the plugin's events where the store has the plugin, of webhooks otherwise: they come either
// way, and a plugin that is only quiet is no reason to worry where they do.
func (v view) hintsAvailable() statement {
	if v.plugin == nil || v.store.Mode == engine.Off || v.store.Settings == nil {
		return v.webhooks()
	}
	events := v.pluginEvents()
	if hooks := v.webhooks(); events.reason == v1alpha1.ReasonPluginEventsSilent && hooks.status == "True" && !v.store.Settings.pluginAlone() {
		return hooks
	}
	return events
}

func (v view) webhooks() statement {
	const polling = "; polling finds the same changes, later"
	h, s := v.hooks, v.state
	switch {
	case v.store.Mode == engine.Off:
		return unknown(v1alpha1.ReasonOff, offMessage)
	case v.publicURL == "":
		return no(v1alpha1.ReasonPollingOnly, "no webhooks are wanted: the topology has no `publicURL`"+polling)
	case v.store.Mode == engine.Observe:
		return no(v1alpha1.ReasonPollingOnly, "no webhooks are made in mode Observe"+polling)
	case v.store.Settings == nil:
		return unknown(v1alpha1.ReasonInvalidConfiguration, "the store has no usable configuration")
	case h.fault != nil && h.fault.Reason == v1alpha1.ReasonWebhooksRefused:
		return no(h.fault.Reason, h.fault.Message)
	case h.ensuredAt.IsZero():
		return unknown(v1alpha1.ReasonPending, "the webhooks were not looked at yet"+polling)
	case len(h.paused) > 0:
		return no(v1alpha1.ReasonWebhooksRefused, fmt.Sprintf("somebody paused %s in the shop: set them active there, or delete them and they are made anew%s", strings.Join(h.paused, ", "), polling))
	case !h.repairedAt.IsZero() && s.LastHint.Before(h.repairedAt):
		return no(v1alpha1.ReasonWebhooksRepaired, fmt.Sprintf("put back %s; none was delivered since%s", strings.Join(h.repaired, ", "), polling))
	case s.LastInbound.Sub(h.since) > hintDelay && s.LastInbound.Sub(s.LastHint) > hintDelay && v.now.Sub(s.LastInbound) > hintDelay:
		return no(v1alpha1.ReasonWebhooksSilent, fmt.Sprintf("a change was found that no webhook announced: see that the shop can reach %s and runs its cron (WP-Cron)%s", v.publicURL, polling))
	}
	return yes(v1alpha1.ReasonWebhooksActive, "webhooks are in place")
}

func (v view) inSync() statement {
	s := v.state.Stats
	where := "`agent conflicts list` in the agent's pod names them"
	switch {
	case v.store.Mode == engine.Off:
		return unknown(v1alpha1.ReasonOff, offMessage)
	case s.Stopped > 0:
		return no(v1alpha1.ReasonSKUsStopped, fmt.Sprintf("%s stopped until a person chooses the number: %s, `agent conflicts resolve SKU UNITS` sets it", count(s.Stopped, "SKU is", "SKUs are"), where))
	case v.store.Settings == nil:
		return unknown(v1alpha1.ReasonInvalidConfiguration, "the store has no usable configuration")
	case v.state.LastSeen.IsZero():
		return unknown(v1alpha1.ReasonPending, "the shop did not answer since the agent started"+v.why())
	case !v.state.Scanned:
		return unknown(v1alpha1.ReasonEnrolling, "the shop's catalogue was not read to its end yet")
	case v.source != nil && !v.source.Loaded:
		return unknown(v1alpha1.ReasonEnrolling, "Katana's stock was not read to its end yet")
	case v.store.Mode == engine.Observe && !v.preview.known:
		return unknown(v1alpha1.ReasonEnrolling, "what mode Sync would change is not counted yet")
	case v.store.Mode == engine.Observe && v.preview.differ > 0 && v.source != nil:
		return no(v1alpha1.ReasonLagObjectiveExceeded, fmt.Sprintf("%s another number than Katana gives; nothing is written in mode Observe, and in Sync they follow when they change next, or all at once by a reconcile",
			count(v.preview.differ, "SKU shows", "SKUs show")))
	case v.store.Mode == engine.Observe && v.preview.differ > 0:
		return no(v1alpha1.ReasonLagObjectiveExceeded, fmt.Sprintf("%s another number than mode Sync would give; nothing is written in mode Observe", count(v.preview.differ, "SKU shows", "SKUs show")))
	case v.lag() > v.objective:
		return no(v1alpha1.ReasonLagObjectiveExceeded, fmt.Sprintf("%s another number than wanted, the oldest for longer than %s%s", count(s.Backlog, "SKU shows", "SKUs show"), v.objective, v.why()))
	case v.store.Mode == engine.Sync && s.Enrolled == 0 && s.Placements > 0:
		return unknown(v1alpha1.ReasonEnrolling, "the first readings wait for the orders that belong to them")
	case v.waiting() > 0 && !v.newSince.IsZero() && v.now.Sub(v.newSince) > v.objective:
		return unknown(v1alpha1.ReasonEnrolling, fmt.Sprintf("%d of %s not enrolled yet, so nothing is known of their differences: "+
			"their first readings wait for the orders that belong to them%s", v.waiting(), count(s.Placements, "SKU is", "SKUs are"), v.why()))
	case s.Conflicts > 0:
		return yes(v1alpha1.ReasonConflicts, fmt.Sprintf("every difference is young; %s open for a person to look at: %s", count(s.Conflicts, "conflict is", "conflicts are"), where))
	}
	return yes(v1alpha1.ReasonInSync, "")
}

// waiting counts the SKUs that are to be enrolled and are not. In mode Observe none are to be, and a child waits
// for nothing of its own where the master has not given a number yet.
func (v view) waiting() int {
	s := v.state.Stats
	switch {
	case v.store.Mode != engine.Sync:
		return 0
	case v.store.Master:
		return s.Waiting
	}
	return s.Waiting - s.Unset
}

// why names the condition that keeps a store behind.
func (v view) why() string {
	if c := v.connected(); c.status == "False" {
		return ": " + c.message
	}
	if v.store.Mode == engine.Observe {
		return ": nothing is written in mode Observe"
	}
	return ""
}

func (v view) lag() time.Duration {
	since := v.state.Stats.DirtySince
	if since.IsZero() {
		return 0
	}
	return max(0, v.now.Sub(since))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// status puts the view into the operator's terms; since tells when a statement began to hold.
func (v view) status(since func(store, condition string, s statement) agentapi.Condition) agentapi.StoreStatus {
	s := v.state
	enrolled := yes("", "")
	if v.waiting() > 0 {
		enrolled = no("", "")
	}
	if c := since(v.store.ID, "enrolled", enrolled); c.Status == "False" {
		v.newSince = c.Since
	}
	out := agentapi.StoreStatus{
		StoreID:          v.store.ID,
		Master:           v.store.Master,
		Mode:             string(v.store.Mode),
		Tier:             agentapi.TierPolling,
		Accepted:         since(v.store.ID, v1alpha1.ConditionAccepted, v.accepted()),
		Connected:        since(v.store.ID, v1alpha1.ConditionConnected, v.connected()),
		HintsAvailable:   since(v.store.ID, v1alpha1.ConditionHintsAvailable, v.hintsAvailable()),
		InSync:           since(v.store.ID, v1alpha1.ConditionInSync, v.inSync()),
		LastInboundTime:  timeOf(later(s.LastInbound, s.LastHint)),
		LastOutboundTime: timeOf(s.LastOutbound),
		LastSeenTime:     timeOf(s.LastSeen),
		Placements:       s.Stats.Placements,
		Enrolled:         s.Stats.Enrolled,
		Backlog:          s.Stats.Backlog,
		LagSeconds:       int(v.lag() / time.Second),
		Conflicts:        s.Stats.Conflicts,

		WooCommerceVersion: v.hooks.versions.WooCommerce,
		WordPressVersion:   v.hooks.versions.WordPress,
		Sourced:            v.sourced(),
	}
	switch {
	case v.store.Settings.pluginAlone():
		out.Tier = agentapi.TierPlugin
	case out.HintsAvailable.Status == "True" && v.plugin != nil && out.HintsAvailable.Reason != v1alpha1.ReasonWebhooksActive:
		out.Tier = agentapi.TierPluginAndREST
	case out.HintsAvailable.Status == "True", v.plugin != nil && v.webhooks().status == "True":
		out.Tier = agentapi.TierWebhooks
	}
	if f := s.LastError; f != nil {
		out.LastError = &agentapi.Error{Reason: f.Reason, Message: f.Message, Time: s.LastErrorAt}
	}
	if v.plugin != nil {
		v.addPlugin(&out, since)
	}
	for _, p := range s.Stats.Worst {
		out.Mismatches = append(out.Mismatches, agentapi.Mismatch{
			SKU: p.SKU, Shown: p.Shown, Wanted: p.Shown + p.Todo, SinceSeconds: int(max(0, v.now.Sub(p.DirtySince)) / time.Second),
		})
	}
	if v.store.Mode == engine.Observe && v.preview.differ > 0 {
		out.Backlog += v.preview.differ
		out.Mismatches = append(out.Mismatches, v.preview.worst...)
	}
	slices.SortStableFunc(out.Mismatches, func(a, b agentapi.Mismatch) int {
		return cmp.Compare((b.Wanted-b.Shown)*sign(b.Wanted-b.Shown), (a.Wanted-a.Shown)*sign(a.Wanted-a.Shown))
	})
	out.Mismatches = out.Mismatches[:min(len(out.Mismatches), agentapi.MaxMismatches)]
	return out
}

func sign(n int64) int64 {
	if n < 0 {
		return -1
	}
	return 1
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// preview is what a store in mode Observe shows otherwise than it would in Sync, where nothing is enrolled
// that could tell.
type preview struct {
	// known: it was looked for, in whole catalogues.
	known  bool
	differ int
	worst  []agentapi.Mismatch
	// skipped are items of the source that are not synced with the store, in every mode.
	skipped []agentapi.SkippedItem
}

// previewOf compares what the shop shows with the pool or, where that is not set yet, with what the master
// shows; or with what a source gives.
func previewOf(tx engine.Tx, store, master string, pol stock.Policy) (preview, error) {
	var out preview
	for after := int64(0); ; {
		page, err := tx.StorePlacements(store, after, 1000)
		if err != nil {
			return preview{}, err
		}
		for _, p := range page {
			after = p.Pool
			want, known, err := wouldShow(tx, p, master, pol)
			if err != nil {
				return preview{}, err
			}
			if known && want != p.Shown {
				out.differ++
				out.worst = append(out.worst, agentapi.Mismatch{SKU: p.SKU, Shown: p.Shown, Wanted: want})
			}
		}
		if len(out.worst) > 4*agentapi.MaxMismatches || len(page) < 1000 {
			slices.SortStableFunc(out.worst, func(a, b agentapi.Mismatch) int {
				return cmp.Compare((b.Wanted-b.Shown)*sign(b.Wanted-b.Shown), (a.Wanted-a.Shown)*sign(a.Wanted-a.Shown))
			})
			out.worst = out.worst[:min(len(out.worst), agentapi.MaxMismatches)]
		}
		if len(page) < 1000 {
			return out, nil
		}
	}
}

// wouldShow is what a placement that is not enrolled would show in mode Sync; known tells whether that can be said.
func wouldShow(tx engine.Tx, p stock.Placement, master string, pol stock.Policy) (units int64, known bool, err error) {
	if p.Blocked != "" || p.Enrolled && !pol.Source {
		return 0, false, nil
	}
	pool, err := tx.Pool(p.Pool)
	if err != nil {
		return 0, false, err
	}
	if pol.Source {
		units, known := stock.Should(pool, p, pol)
		return units, known, nil
	}
	if !pool.Set {
		lead, ok, err := tx.Placement(master, p.Pool)
		if err != nil || !ok || lead.Blocked != "" {
			return 0, false, err
		}
		pool.Units = lead.Shown
	}
	return stock.Wanted(pool, pol), true, nil
}

// sinces remembers, for the life of the process, when each condition took its status.
type sinces map[[2]string]agentapi.Condition

func (m sinces) at(now time.Time) func(store, condition string, s statement) agentapi.Condition {
	return func(store, condition string, s statement) agentapi.Condition {
		c := agentapi.Condition{Status: s.status, Reason: s.reason, Message: s.message, Since: now.UTC()}
		if old, ok := m[[2]string{store, condition}]; ok && old.Status == s.status {
			c.Since = old.Since
		}
		m[[2]string{store, condition}] = c
		return c
	}
}

// forget drops what is remembered of stores that left.
func (m sinces) forget(keep func(store string) bool) {
	for k := range m {
		if !keep(k[0]) {
			delete(m, k)
		}
	}
}
