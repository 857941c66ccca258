package agent

import (
	"fmt"
	"strings"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// sourceView is all that is known of a topology's source at one moment.
type sourceView struct {
	store     Store
	state     engine.SourceState
	hooks     hooks
	publicURL string
	now       time.Time
}

func (v sourceView) accepted() statement { return view{store: v.store}.accepted() }

func (v sourceView) connected() statement {
	f := v.state.Failure
	switch {
	case v.store.Settings == nil:
		return unknown(v1alpha1.ReasonInvalidConfiguration, "Katana has no usable configuration, so it is not asked")
	case f != nil:
		return no(f.Reason, v.advise(f))
	case v.state.LastSeen.IsZero():
		return unknown(v1alpha1.ReasonPending, "Katana was not asked yet")
	}
	return yes(v1alpha1.ReasonConnected, "the last request worked")
}

// advise adds to the driver's words what only the configuration and the budget know.
func (v sourceView) advise(f *engine.Fault) string {
	const stays = "; the shops go on showing what they were given last, and go on selling from it together"
	switch f.Reason {
	case v1alpha1.ReasonAuthenticationFailed, v1alpha1.ReasonPlanWithoutAPI:
		return f.Message + v.inSecret() + stays
	case v1alpha1.ReasonUntrustedCertificate:
		if name := v.store.Settings.Katana.CAName; name != "" {
			return f.Message + " (trusted now: " + name + ")"
		}
	case v1alpha1.ReasonRateLimited:
		if until := v.state.Budget.ThrottledUntil; until.After(v.now) {
			return fmt.Sprintf("%s, from %s on. If this goes on, another program uses up the key: give it a key of its own, or lower `requestsPerMinute`",
				strings.TrimSuffix(f.Message, "; it is tried again later")+"; it is asked again", until.UTC().Format("15:04:05"))
		}
	case engine.ReasonInconsistentRead:
		return f.Message + ". It is read again, and nothing of it is used"
	}
	return f.Message + stays
}

func (v sourceView) hintsAvailable() statement {
	const polling = "; polling finds the same changes, later"
	h, s := v.hooks, v.state
	switch {
	case v.publicURL == "":
		return no(v1alpha1.ReasonPollingOnly, "no webhook is wanted: the topology has no `publicURL`"+polling)
	case v.store.Mode != engine.Sync:
		return no(v1alpha1.ReasonPollingOnly, "no webhook is made in mode Observe"+polling)
	case v.store.Settings == nil:
		return unknown(v1alpha1.ReasonInvalidConfiguration, "Katana has no usable configuration")
	case h.fault != nil && h.fault.Reason == v1alpha1.ReasonWebhooksRefused:
		return no(h.fault.Reason, h.fault.Message)
	case h.ensuredAt.IsZero():
		return unknown(v1alpha1.ReasonPending, "the webhook was not looked at yet"+polling)
	case !h.repairedAt.IsZero() && s.LastHint.Before(h.repairedAt):
		return no(v1alpha1.ReasonWebhooksRepaired, "the webhook was missing, off or for other events, and was put back; nothing was delivered since"+polling)
	case s.LastInbound.Sub(h.since) > hintDelay && s.LastInbound.Sub(s.LastHint) > hintDelay && v.now.Sub(s.LastInbound) > hintDelay:
		return no(v1alpha1.ReasonWebhooksSilent, fmt.Sprintf("a change was found that no webhook announced: see that Katana can reach %s from the internet by https%s", v.publicURL, polling))
	}
	return yes(v1alpha1.ReasonWebhooksActive, "the webhook is in place")
}

func (v sourceView) inSync() statement {
	s := v.state
	switch {
	case v.store.Settings == nil:
		return unknown(v1alpha1.ReasonInvalidConfiguration, "Katana has no usable configuration")
	case !s.Loaded:
		return unknown(v1alpha1.ReasonEnrolling, "Katana's items, orders and stock were not read to their end yet"+v.why())
	case s.SharedCount > 0:
		return yes(v1alpha1.ReasonConflicts, fmt.Sprintf("%s on several variants in Katana, so that none of them is synced: give each its own (%s)",
			count(s.SharedCount, "SKU is", "SKUs are"), some(s.Shared, s.SharedCount)))
	case s.DoubtedCount > 0:
		d := s.Doubted[0]
		return yes(v1alpha1.ReasonInconsistentRead, fmt.Sprintf("%s read again and not used until then, for example %s: %s",
			count(s.DoubtedCount, "item is", "items are"), nameOfItem(d.SKU, d.Item), d.Why))
	}
	return yes(v1alpha1.ReasonInSync, "")
}

func (v sourceView) why() string {
	if c := v.connected(); c.status == "False" {
		return ": " + c.message
	}
	return ""
}

func some(names []string, of int) string {
	text := strings.Join(names[:min(len(names), 5)], ", ")
	if of > 5 {
		text += ", …"
	}
	return text
}

func nameOfItem(sku, id string) string {
	if sku != "" {
		return sku
	}
	return "variant " + id
}

// status puts the view into the operator's terms.
func (v sourceView) status(since func(store, condition string, s statement) agentapi.Condition) agentapi.StoreStatus {
	s := v.state
	out := agentapi.StoreStatus{
		StoreID: v.store.ID, Master: true, Mode: string(v.store.Mode), Tier: agentapi.TierPolling,
		Accepted:        since(v.store.ID, v1alpha1.ConditionAccepted, v.accepted()),
		Connected:       since(v.store.ID, v1alpha1.ConditionConnected, v.connected()),
		HintsAvailable:  since(v.store.ID, v1alpha1.ConditionHintsAvailable, v.hintsAvailable()),
		InSync:          since(v.store.ID, v1alpha1.ConditionInSync, v.inSync()),
		LastInboundTime: timeOf(later(s.LastInbound, s.LastHint)),
		LastSeenTime:    timeOf(s.LastSeen),
		Placements:      s.Items,
		Enrolled:        s.Items,
	}
	if out.HintsAvailable.Status == "True" {
		out.Tier = agentapi.TierWebhooks
	}
	if f := s.LastError; f != nil {
		out.LastError = &agentapi.Error{Reason: f.Reason, Message: f.Message, Time: s.LastErrorAt}
	}
	return out
}

// source is what people are told of the source beside its conditions.
func (v sourceView) source() *agentapi.SourceStatus {
	s := v.state
	out := &agentapi.SourceStatus{
		RequestsPerMinute: s.Budget.Limit, RequestsLeft: s.Budget.Remaining, Items: s.Items, OpenOrders: s.OpenOrders, Unsettled: s.DoubtedCount,
		CommittedElsewhere: s.CommittedElsewhere, NotImported: int(s.Awaited),
	}
	if s.Plan != (engine.SourcePlan{}) {
		out.Plan = s.Plan.String()
	}
	if until := s.Budget.ThrottledUntil; until.After(v.now) {
		out.ThrottledUntil = timeOf(until)
	}
	return out
}

// sourced is what people are told of a shop that shows the stock of a source.
func (v view) sourced() *agentapi.SourcedStatus {
	if v.source == nil {
		return nil
	}
	out := &agentapi.SourcedStatus{Matched: v.state.Stats.Placements, Skipped: v.state.Unmatched, SkippedItems: v.preview.skipped}
	if out.Skipped == 0 {
		out.SkippedItems = nil
	}
	if v.store.Settings != nil && v.store.Settings.Supply != nil {
		for _, l := range v.source.Locations {
			if l.ID == v.store.Settings.Supply.Location {
				out.LocationName = l.Name
			}
		}
	}
	return out
}

// locationGone says what to do about a shop whose location the source does not have.
func (v view) locationGone() string {
	var there []string
	for _, l := range v.source.Locations {
		if !l.Gone {
			there = append(there, fmt.Sprintf("%s (%s)", l.ID, l.Name))
		}
	}
	return fmt.Sprintf("Katana has no location %s, or not any more, so nothing is written to store %s: name another in `katana.locationID`; there are %s",
		v.store.Settings.Supply.Location, v.store.ID, some(there, len(there)))
}

// skipped are items of the source that are not synced with a store, the first ones, with what to do about each.
func skipped(tx engine.Tx, st Store) ([]agentapi.SkippedItem, error) {
	var out []agentapi.SkippedItem
	for after := ""; ; {
		page, err := tx.SourceItems(after, 500)
		if err != nil {
			return nil, err
		}
		for _, i := range page {
			after = i.ID
			if i.Gone {
				continue
			}
			if _, bound, err := tx.Placement(st.ID, i.Pool); err != nil {
				return nil, err
			} else if bound {
				continue
			}
			why, err := whySkipped(tx, st, i)
			if err != nil {
				return nil, err
			}
			if out = append(out, agentapi.SkippedItem{Item: i.ID, SKU: i.SKU, Message: why}); len(out) == agentapi.MaxSkipped {
				return out, nil
			}
		}
		if len(page) < 500 {
			return out, nil
		}
	}
}

func whySkipped(tx engine.Tx, st Store, i stock.Stocked) (string, error) {
	link := fmt.Sprintf("`kubectl stocksync link set %s ID %s`", st.ID, i.ID)
	if i.SKU == "" {
		return "the variant has no code in Katana: give it the SKU it has in the shop, or link it by " + link, nil
	}
	if st.Settings != nil && st.Settings.Exclusions.Excludes(stock.KeyOf(i.SKU)) {
		return "the SKU is excluded", nil
	}
	twins, err := tx.SourceItemsOf(i.SKU)
	if err != nil {
		return "", err
	}
	there := 0
	for _, twin := range twins {
		if !twin.Gone {
			there++
		}
	}
	if there > 1 {
		return fmt.Sprintf("%d variants in Katana have this code, and nothing tells which of them the shop sells: give each its own", there), nil
	}
	return "no item of the shop has this SKU: give it to one, make one, or link one by " + link, nil
}
