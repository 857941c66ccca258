package agent

import (
	"fmt"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/kitgenix"
	"stocksync.dev/stocksync/internal/engine"
)

// pluginView is all that is known of a store's plugin at one moment.
type pluginView struct {
	self  Identity
	known contact
	// refused is when a request under its id was last refused here, and why.
	refused time.Time
	cause   error
	// how a question at checkout would be answered, the master having been silent for so long.
	how    answered
	silent time.Duration
}

// view is what is known of a store's plugin; nil where it has none.
func (ps *plugins) view(st Store) *pluginView {
	if st.Settings == nil || st.Settings.Kitgenix == nil {
		return nil
	}
	ps.mu.RLock()
	p, state, v := ps.byRemote[st.Settings.Kitgenix.RemoteStoreID], ps.states[st.ID], &pluginView{self: Identity{ps.id, ps.name}}
	ps.mu.RUnlock()
	if p == nil || state == nil {
		return v
	}
	v.known, v.refused, v.cause = state.snapshot()
	v.how, v.silent = ps.answering(p)
	return v
}

func (p *pluginView) stale(now time.Time) bool {
	return p != nil && p.known.connection(now) == agentapi.ConnectionStale
}

// pluginEvents says whether the plugin's events arrive.
func (v view) pluginEvents() statement {
	p, s := v.plugin, v.state
	later := "; polling finds the same changes, later"
	if v.store.Settings.pluginAlone() {
		later = "; what changes there is found by asking, later"
	}
	switch {
	case v.publicURL == "":
		return no(v1alpha1.ReasonPollingOnly, "the topology has no `publicURL` for the plugin to call"+later)
	case p.known.connection(v.now) == agentapi.ConnectionError:
		return no(p.known.Fault.Reason, v.advise(p.known.Fault)+later)
	case p.refused.After(p.known.Asked) && v.now.Sub(p.refused) < refusedFor:
		return no(v1alpha1.ReasonSignatureRefused, fmt.Sprintf("a request that came under the plugin's Store ID was refused: %v; type the secret (%s) into the plugin again%s", p.cause, v.store.Settings.Kitgenix.SecretName, later))
	case p.known.Asked.IsZero():
		return no(v1alpha1.ReasonPluginEventsSilent, fmt.Sprintf("the plugin never called: type %s into it, and the secret (%s)%s", v.toType(), v.store.Settings.Kitgenix.SecretName, later))
	case p.stale(v.now):
		return no(v1alpha1.ReasonPluginEventsSilent, "the plugin was not heard for a day"+later)
	case !v.store.Settings.pluginAlone() && s.LastInbound.Sub(s.LastHint) > hintDelay && v.now.Sub(s.LastInbound) > hintDelay && s.LastInbound.Sub(p.known.Inbound) > hintDelay:
		return no(v1alpha1.ReasonPluginEventsSilent, fmt.Sprintf("a change was found that no event of the plugin announced: see that the shop can reach %s and runs its cron (WP-Cron)%s", v.publicURL, later))
	case p.known.skewed():
		return yes(v1alpha1.ReasonClockSkew, kitgenix.SkewMessage(p.known.Skew))
	}
	return yes(v1alpha1.ReasonPluginEventsActive, "the plugin's events arrive")
}

// toType is what a person types into the plugin.
func (v view) toType() string {
	if v.store.Master {
		return fmt.Sprintf("a child with the URL %s and the Store ID %s", v.publicURL, v.plugin.self.StoreID)
	}
	return fmt.Sprintf("the Master URL %s and the Master Store ID %s", v.publicURL, v.plugin.self.StoreID)
}

// validated says how the plugin's question at checkout is answered.
func (v view) validated() statement {
	silent := fmt.Sprintf("the master was not heard for %s", v.plugin.silent.Round(time.Second))
	if v.plugin.silent > 10*365*24*time.Hour {
		silent = "the master was never heard"
	}
	switch {
	case v.store.Mode == engine.Off:
		return unknown(v1alpha1.ReasonOff, offMessage)
	case v.plugin.how == lastKnown:
		return no(v1alpha1.ReasonMasterUnreachable, silent+": the ledger's last known numbers answer until `checkoutValidation.maxAgeSeconds`, then every sale passes")
	case v.plugin.how == failedClosed:
		return no(v1alpha1.ReasonMasterUnreachable, silent+": every sale of a shared SKU is refused, as `checkoutValidation.masterUnreachablePolicy` says")
	case v.plugin.how.open():
		return no(v1alpha1.ReasonCheckoutFailingOpen, silent+": every sale passes, so more may be sold than there is: bring the master back, or choose another `checkoutValidation.masterUnreachablePolicy`")
	}
	return yes(v1alpha1.ReasonAnsweredFromLedger, "")
}

// skewStep is in what steps clocks are compared in status, so that it does not change with every ping.
const skewStep = 5

// addPlugin adds what is known of the plugin.
func (v view) addPlugin(out *agentapi.StoreStatus, since func(store, condition string, s statement) agentapi.Condition) {
	known := v.plugin.known
	out.Plugin = &agentapi.PluginStatus{Version: known.Pulse.Plugin, Generation: known.Pulse.Generation, Connection: known.connection(v.now), LastPingTime: timeOf(known.Ponged)}
	if !known.Ponged.IsZero() {
		out.Plugin.ClockSkewSeconds = new(int(known.Skew.Round(skewStep*time.Second) / time.Second))
	}
	for _, secret := range v.store.Settings.Kitgenix.Secrets {
		if secret.Until.After(v.now) && (out.Plugin.PreviousSecretUntil == nil || secret.Until.After(*out.Plugin.PreviousSecretUntil)) {
			out.Plugin.PreviousSecretUntil = timeOf(secret.Until)
		}
	}
	out.LastInboundTime = timeOf(later(v.state.LastInbound, later(v.state.LastHint, known.Inbound)))
	if out.WooCommerceVersion == "" {
		out.WooCommerceVersion = known.Pulse.WooCommerce
	}
	if f := known.Fault; f != nil && (out.LastError == nil || known.Failed.After(out.LastError.Time)) {
		out.LastError = &agentapi.Error{Reason: f.Reason, Message: f.Message, Time: known.Failed}
	}
	if !v.store.Master {
		out.CheckoutValidated = new(since(v.store.ID, v1alpha1.ConditionCheckoutValidated, v.validated()))
	}
}
