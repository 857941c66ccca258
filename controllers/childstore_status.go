package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// childInput is all that the status of a child depends on.
type childInput struct {
	child    *v1alpha1.ChildStore
	topology *v1alpha1.StockSyncTopology // nil when there is none
	verdict  verdict
	secrets  finding
	agent    agentState
	now      time.Time
}

// childStatus computes the status of a child from what was found, over the one before.
func childStatus(before v1alpha1.ChildStoreStatus, in childInput) v1alpha1.ChildStoreStatus {
	id := in.child.EffectiveStoreID()
	report := in.agent.store(id)
	generation := in.child.Generation
	if known := in.agent.confirmed; known.revision != "" {
		store, used := known.stores[id]
		if !used || store.uid != in.child.UID {
			report = nil
		} else if !in.agent.lost {
			// The status speaks of the spec the agent runs with, not of one it has yet to read.
			generation = store.generation
		}
	}
	topologyMode := v1alpha1.ModeObserve
	heardBefore := false
	if in.topology != nil {
		topologyMode = in.topology.EffectiveMode()
		heardBefore = in.topology.Status.LastHeartbeatTime != nil
	}
	mode := in.child.EffectiveMode(topologyMode)

	f := findings{v1alpha1.ConditionSecretsAvailable: in.secrets}
	unknown := func(types []string, reason, message string) {
		for _, t := range types {
			f[t] = isUnknown(reason, message)
		}
	}
	ofAgent := []string{v1alpha1.ConditionAgentAvailable, v1alpha1.ConditionConnected, v1alpha1.ConditionHintsAvailable, v1alpha1.ConditionInSync}
	if in.child.Spec.Kitgenix != nil {
		ofAgent = append(ofAgent, v1alpha1.ConditionCheckoutValidated)
	}
	ofStore := ofAgent[1:]

	f[v1alpha1.ConditionAccepted] = acceptedFinding(report, in.secrets)
	switch {
	case !in.verdict.accepted():
		f[v1alpha1.ConditionAccepted] = isFalse(in.verdict.reason, in.verdict.message)
	case in.topology != nil && in.child.Misfit(in.topology) != "":
		f[v1alpha1.ConditionAccepted] = isFalse(v1alpha1.ReasonTopologyMismatch, in.child.Misfit(in.topology))
	case report == nil && in.topology != nil && tooLarge(in.topology):
		f[v1alpha1.ConditionAccepted] = isFalse(v1alpha1.ReasonConfigurationTooLarge,
			"the topology's configuration has no room for this store; see the condition Accepted of the StockSyncTopology")
	}
	notAccepted := f[v1alpha1.ConditionAccepted].status != metav1.ConditionTrue

	switch {
	case mode == v1alpha1.ModeOff:
		const off = "mode is Off: nothing is read or written"
		unknown(append(ofAgent, v1alpha1.ConditionSecretsAvailable), v1alpha1.ReasonOff, off)
		f[v1alpha1.ConditionPaused] = isTrue(v1alpha1.ReasonOff, off)
	case mode == v1alpha1.ModeObserve:
		f[v1alpha1.ConditionPaused] = isTrue(v1alpha1.ReasonObserve, "mode is Observe: the store is read, nothing is written")
		fallthrough
	default:
		f[v1alpha1.ConditionAgentAvailable] = agentFinding(in.agent, heardBefore)
		switch {
		case notAccepted && report == nil:
			generation = in.child.Generation
			unknown(ofAgent, f[v1alpha1.ConditionAccepted].reason, "the agent does not use this store")
		case in.agent.lost && (in.agent.report != nil || heardBefore):
			unknown(ofStore, v1alpha1.ReasonAgentUnreachable, "not known while the agent does not answer")
		case in.agent.report == nil && heardBefore && keep(f, before.Conditions, ofAgent):
			// This operator has only just begun to ask; what the one before it heard still holds.
			generation = before.ObservedGeneration
		case report == nil:
			unknown(ofStore, v1alpha1.ReasonPending, "waiting for the agent to take up this store")
		default:
			f[v1alpha1.ConditionConnected] = said(report.Connected)
			f[v1alpha1.ConditionHintsAvailable] = said(report.HintsAvailable)
			f[v1alpha1.ConditionInSync] = said(report.InSync)
			if c := report.CheckoutValidated; c != nil && in.child.Spec.Kitgenix != nil {
				f[v1alpha1.ConditionCheckoutValidated] = said(*c)
			} else if in.child.Spec.Kitgenix != nil {
				unknown([]string{v1alpha1.ConditionCheckoutValidated}, v1alpha1.ReasonPending, "the plugin's question at checkout was not answered yet")
			}
		}
	}

	dependsOn := []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionSecretsAvailable, v1alpha1.ConditionAgentAvailable, v1alpha1.ConditionConnected}
	if mode == v1alpha1.ModeSync {
		dependsOn = append(dependsOn, v1alpha1.ConditionInSync)
	}
	ready := "the store is kept the same"
	if mode == v1alpha1.ModeObserve {
		ready = "the store is read; it would be kept the same in mode Sync"
	}
	f.summarise(ready, dependsOn)
	if summary := f[v1alpha1.ConditionReady]; summary.reason == v1alpha1.ReasonAgentUnreachable {
		f[v1alpha1.ConditionReady] = isUnknown(summary.reason, summary.message)
	}

	after := before
	after.StoreStatus = storeStatus(before.StoreStatus, report)
	after.StoreID, after.Driver = id, v1alpha1.Drivers(in.child.Spec.WooCommerce, in.child.Spec.Kitgenix, nil)
	after.Kitgenix = pluginStatus(before.Kitgenix, in.child.Spec.Kitgenix, in.topology, false, report)
	switch {
	case in.child.Spec.Katana == nil:
		after.Katana = nil
	case report != nil && report.Sourced != nil:
		after.Katana = sourcedStatus(report.Sourced)
	}
	if report == nil {
		after.Mode = mode
	}
	after.ObservedGeneration = generation
	after.Conditions = f.asConditions(before.Conditions, generation, in.now)
	return after
}

// keep takes the findings of these types over from before; false when one of them is not there.
func keep(f findings, before []metav1.Condition, types []string) bool {
	for _, t := range types {
		if meta.FindStatusCondition(before, t) == nil {
			return false
		}
	}
	for _, t := range types {
		c := meta.FindStatusCondition(before, t)
		f[t] = finding{status: c.Status, reason: c.Reason, message: c.Message}
	}
	return true
}

func tooLarge(t *v1alpha1.StockSyncTopology) bool {
	c := meta.FindStatusCondition(t.Status.Conditions, v1alpha1.ConditionAccepted)
	return c != nil && c.Reason == v1alpha1.ReasonConfigurationTooLarge
}
