package controllers

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// pendingTooLong is how long an agent may take to run with a new configuration before its topology says so. The
// kubelet alone takes up to two minutes to refresh a mounted Secret.
const pendingTooLong = 3 * time.Minute

// topologyInput is all that the status of a topology depends on.
type topologyInput struct {
	topology *v1alpha1.StockSyncTopology
	children []*v1alpha1.ChildStore // that refer to it, accepted or not
	verdict  verdict
	tooLarge error
	refused  error
	failing  error // what ended this reconciliation, and is tried again
	secrets  finding
	agent    agentState
	podNote  string // what holds the agent's pod back; empty when nothing is known to
	queued   bool   // the agent's new pod waits for others to be replaced first
	now      time.Time

	reconcile, audit toolInput
}

// topologyStatus computes the status of a topology from what was found, over the one before.
func topologyStatus(before v1alpha1.StockSyncTopologyStatus, in topologyInput) v1alpha1.StockSyncTopologyStatus {
	after := before
	mode := in.topology.EffectiveMode()
	master := in.agent.store(in.topology.Spec.Master.StoreID)
	heardBefore := before.LastHeartbeatTime != nil
	generation := in.topology.Generation
	if in.agent.confirmed.revision != "" && !in.agent.lost && in.verdict.accepted() && in.tooLarge == nil {
		generation = in.agent.confirmed.topology
	}

	if in.agent.report != nil {
		takeReport(&after, in.agent.report, in.agent.heardAt)
	}
	f := findings{v1alpha1.ConditionSecretsAvailable: in.secrets}
	f.volumeFinding(in.topology.Name, after.VolumeFreePercent, before.Conditions)
	f.toolFindings(&after, before.Conditions, in)
	f[v1alpha1.ConditionAccepted] = acceptedFinding(master, in.secrets)
	switch {
	case !in.verdict.accepted():
		f[v1alpha1.ConditionAccepted] = isFalse(in.verdict.reason, in.verdict.message)
	case in.topology.Misfit() != "":
		f[v1alpha1.ConditionAccepted] = isFalse(v1alpha1.ReasonTopologyMismatch, in.topology.Misfit())
	case in.tooLarge != nil:
		f[v1alpha1.ConditionAccepted] = isFalse(v1alpha1.ReasonConfigurationTooLarge, in.tooLarge.Error()+"; until then the configuration before stays in use")
	case in.agent.report != nil && in.agent.report.ConfigError != "":
		f[v1alpha1.ConditionAccepted] = isFalse(v1alpha1.ReasonInvalidConfiguration, "the agent keeps the configuration before: "+in.agent.report.ConfigError)
	}

	ofStore := []string{v1alpha1.ConditionConnected, v1alpha1.ConditionHintsAvailable, v1alpha1.ConditionInSync}
	unknown := func(reason, message string) {
		for _, t := range ofStore {
			f[t] = isUnknown(reason, message)
		}
	}
	available := agentFinding(in.agent, heardBefore)
	switch {
	case !in.verdict.accepted() && in.agent.report == nil:
		available = isUnknown(in.verdict.reason, "no agent is run for a topology that is not accepted")
		unknown(in.verdict.reason, available.message)
	case in.agent.lost && (in.agent.report != nil || heardBefore):
		unknown(v1alpha1.ReasonAgentUnreachable, "not known while the agent does not answer")
	case in.agent.report == nil && heardBefore && keep(f, before.Conditions, append(ofStore, v1alpha1.ConditionAgentAvailable)):
		// This operator has only just begun to ask; what the one before it heard still holds.
		available, generation = f[v1alpha1.ConditionAgentAvailable], before.ObservedGeneration
	case master == nil:
		unknown(v1alpha1.ReasonPending, "waiting for the agent's word on the master")
	default:
		f[v1alpha1.ConditionConnected] = said(master.Connected)
		f[v1alpha1.ConditionHintsAvailable] = said(master.HintsAvailable)
		f[v1alpha1.ConditionInSync] = said(master.InSync)
	}
	switch {
	case in.refused != nil:
		available = isFalse(v1alpha1.ReasonResourceRefused, in.refused.Error())
	case available.status == metav1.ConditionTrue && !in.agent.pendingSince.IsZero() && in.now.Sub(in.agent.pendingSince) > pendingTooLong:
		available = isFalse(v1alpha1.ReasonConfigurationPending, "the agent answers, but does not yet run with the newest configuration; if this stays so, restart its pod")
	case available.status != metav1.ConditionTrue && in.failing != nil:
		available.message += "; it is tried again after: " + in.failing.Error()
	case available.status != metav1.ConditionTrue && in.podNote != "":
		available.message += "; " + in.podNote
	}
	f[v1alpha1.ConditionAgentAvailable] = available
	if mode == v1alpha1.ModeObserve {
		f[v1alpha1.ConditionPaused] = isTrue(v1alpha1.ReasonObserve, "mode is Observe: every store is read, nothing is written")
	}

	dependsOn := []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionSecretsAvailable, v1alpha1.ConditionAgentAvailable, v1alpha1.ConditionConnected,
		v1alpha1.ConditionCircuitBreakerTripped}
	ready := "agent and master work"
	if mode == v1alpha1.ModeSync {
		dependsOn = append(dependsOn, v1alpha1.ConditionInSync)
	} else {
		ready = "agent and master work; stores would be kept the same in mode Sync"
	}
	// Ready falls with the master alone; InSync then speaks of the children as well.
	f.summarise(ready, dependsOn)
	if in.queued {
		f[v1alpha1.ConditionReconciling] = isTrue(v1alpha1.ReasonConfigurationPending, "the agent's new pod waits until a few others have been replaced")
	}
	after.Children = countChildren(in.children)
	if f[v1alpha1.ConditionInSync].status == metav1.ConditionTrue {
		if behind := notInSync(in.children, mode); len(behind) > 0 {
			f[v1alpha1.ConditionInSync] = isFalse(v1alpha1.ReasonChildrenNotInSync, "not in sync: "+nameSome(behind))
		}
	}

	store := v1alpha1.StoreStatus{}
	if before.Master != nil {
		store = *before.Master
	}
	store = storeStatus(store, master)
	spec := in.topology.Spec.Master
	store.StoreID, store.Driver = spec.StoreID, v1alpha1.Drivers(spec.WooCommerce, spec.Kitgenix, spec.Katana)
	store.Kitgenix = pluginStatus(store.Kitgenix, spec.Kitgenix, in.topology, true, master)
	if spec.Katana == nil {
		after.Katana = nil
	}
	if master == nil {
		store.Mode = mode
	}
	after.Master = &store
	after.ObservedGeneration = generation
	after.Conditions = f.asConditions(before.Conditions, generation, in.now)
	return after
}

func takeReport(after *v1alpha1.StockSyncTopologyStatus, report *agentapi.Status, heardAt time.Time) {
	after.LastHeartbeatTime = laterTime(after.LastHeartbeatTime, &heardAt)
	after.AgentVersion, after.LedgerID = report.AgentVersion, report.LedgerID
	after.Pools, after.Conflicts, after.StoppedSKUs = count(report.Pools), count(report.Conflicts), count(report.StoppedSKUs)
	after.VolumeFreePercent = freePercent(after.VolumeFreePercent, report.Volume)
	after.OversoldPools, after.OversoldUnits = count(report.OversoldPools), count(report.OversoldUnits)
	backlog := 0
	for _, store := range report.Stores {
		backlog += store.Backlog
	}
	after.Backlog = count(backlog)
	if report.Source != nil {
		after.Katana = sourceStatus(report.Source)
	}
	takeTools(after, report)
}

func countChildren(children []*v1alpha1.ChildStore) *v1alpha1.ChildrenStatus {
	counted := v1alpha1.ChildrenStatus{Total: *count(len(children))}
	for _, child := range children {
		if meta.IsStatusConditionTrue(child.Status.Conditions, v1alpha1.ConditionReady) {
			counted.Ready++
		}
		if meta.IsStatusConditionTrue(child.Status.Conditions, v1alpha1.ConditionInSync) {
			counted.InSync++
		}
	}
	counted.ReadySummary = fmt.Sprintf("%d/%d", counted.Ready, counted.Total)
	counted.InSyncSummary = fmt.Sprintf("%d/%d", counted.InSync, counted.Total)
	return &counted
}

// notInSync names the children that should be the same and are known not to be.
func notInSync(children []*v1alpha1.ChildStore, topology v1alpha1.Mode) []string {
	var names []string
	for _, child := range children {
		if child.EffectiveMode(topology) == v1alpha1.ModeSync &&
			meta.IsStatusConditionFalse(child.Status.Conditions, v1alpha1.ConditionInSync) {
			names = append(names, child.Name)
		}
	}
	return names
}

func nameSome(names []string) string {
	const some = 3
	if len(names) <= some {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:some], ", "), len(names)-some)
}
