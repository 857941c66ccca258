package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
)

// Status is what `status` prints as JSON or YAML: what the operator wrote, brought up to date by the agent where it
// answers.
type Status struct {
	Topology  string        `json:"topology"`
	Namespace string        `json:"namespace"`
	Mode      v1alpha1.Mode `json:"mode"`
	// Conditions are those of the topology.
	Conditions []metav1.Condition `json:"conditions"`
	// LastHeartbeatTime is when the operator last heard the agent.
	LastHeartbeatTime *metav1.Time `json:"lastHeartbeatTime,omitempty"`
	// Stores are the master and then the children by storeID.
	Stores []Store `json:"stores"`
	// Agent is what the agent answers; without it AgentProblem says why it does not.
	Agent        *agentapi.Status `json:"agent,omitempty"`
	AgentProblem string           `json:"agentProblem,omitempty"`
}

// Store is one store in a [Status].
type Store struct {
	// ChildStore names the object; empty for the master.
	ChildStore string `json:"childStore,omitempty"`
	Master     bool   `json:"master,omitempty"`
	// Conditions of the ChildStore, or of the topology.
	Conditions           []metav1.Condition `json:"conditions"`
	v1alpha1.StoreStatus `json:",inline"`
}

// agentPatience is for how long `status` waits for the agent: it has the operator's words to show.
const agentPatience = 10 * time.Second

func (t *tool) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status [TOPOLOGY]",
		Short: "Tell how a topology and its stores are, since when and why",
		Long: `Shows what the operator wrote into the StockSyncTopology and its ChildStores and, where the agent answers, the
newest from there. Without the agent it says so and shows the rest.`,
		Args: arguments(0, 1, "at most one topology"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return t.completeTopologies(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if t.topology != "" && t.topology != args[0] {
					return fmt.Errorf("must be given one topology: %s, or --topology %s", args[0], t.topology)
				}
				t.topology = args[0]
			}
			printer, err := t.printer(cmd)
			if err != nil {
				return err
			}
			c, err := connect(t.kubeconfig)
			if err != nil {
				return err
			}
			s, err := c.status(cmd.Context(), t.topology)
			if err != nil {
				return err
			}
			return s.print(printer, t.Now())
		},
	}
}

func (c *cluster) status(ctx context.Context, name string) (*Status, error) {
	topology, err := c.topology(ctx, name)
	if err != nil {
		return nil, err
	}
	children, err := c.children(ctx, topology.Name)
	if err != nil {
		return nil, err
	}
	s := &Status{Topology: topology.Name, Namespace: topology.Namespace, Mode: topology.EffectiveMode(),
		Conditions: topology.Status.Conditions, LastHeartbeatTime: topology.Status.LastHeartbeatTime}
	master := Store{Master: true, Conditions: slices.Clone(topology.Status.Conditions)}
	if topology.Status.Master != nil {
		master.StoreStatus = *topology.Status.Master
	}
	master.StoreID = topology.Spec.Master.StoreID
	if c := meta.FindStatusCondition(master.Conditions, v1alpha1.ConditionInSync); c != nil && c.Reason == v1alpha1.ReasonChildrenNotInSync {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonInSync, "" // the master itself is
	}
	s.Stores = append(s.Stores, master)
	for _, child := range children {
		store := Store{ChildStore: child.Name, Conditions: child.Status.Conditions, StoreStatus: child.Status.StoreStatus}
		store.StoreID = child.EffectiveStoreID()
		s.Stores = append(s.Stores, store)
	}
	asked, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	agent, err := c.agentStatus(asked, topology)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		s.AgentProblem = err.Error()
	default:
		s.Agent = agent
		s.update()
	}
	return s, nil
}

func (c *cluster) agentStatus(ctx context.Context, topology *v1alpha1.StockSyncTopology) (*agentapi.Status, error) {
	l, err := c.link(ctx, topology, reading)
	if err != nil {
		return nil, err
	}
	defer l.close()
	status, err := l.client().Status(ctx)
	if err != nil {
		return nil, l.explain(ctx, err)
	}
	return &status, nil
}

// update overlays what the operator wrote with what the agent says now.
func (s *Status) update() {
	for _, said := range s.Agent.Stores {
		i := slices.IndexFunc(s.Stores, func(known Store) bool { return known.StoreID == said.StoreID })
		if i < 0 {
			continue // removed a moment ago
		}
		store := &s.Stores[i]
		store.Mode, store.Tier = v1alpha1.Mode(said.Mode), said.Tier
		store.Placements, store.Enrolled = number(said.Placements), number(said.Enrolled)
		store.Backlog, store.LagSeconds, store.Conflicts = number(said.Backlog), number(said.LagSeconds), number(said.Conflicts)
		store.LastSeenTime = moment(said.LastSeenTime)
		store.LastInboundTime, store.LastOutboundTime = moment(said.LastInboundTime), moment(said.LastOutboundTime)
		store.Mismatches = nil
		for _, m := range said.Mismatches {
			store.Mismatches = append(store.Mismatches, v1alpha1.Mismatch{SKU: m.SKU, Shown: m.Shown, Wanted: m.Wanted, SinceSeconds: int32(m.SinceSeconds)})
		}
		for conditionType, c := range map[string]agentapi.Condition{
			v1alpha1.ConditionConnected: said.Connected, v1alpha1.ConditionHintsAvailable: said.HintsAvailable, v1alpha1.ConditionInSync: said.InSync,
		} {
			if known := meta.FindStatusCondition(store.Conditions, conditionType); known != nil && c.Status != "" {
				known.Status, known.Reason, known.Message = metav1.ConditionStatus(c.Status), c.Reason, c.Message
				known.LastTransitionTime = metav1.NewTime(c.Since)
			}
		}
	}
}

func number(n int) *int32 { return new(int32(n)) }

func moment(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	return new(metav1.NewTime(*t))
}

func (s *Status) print(p report.Printer, now time.Time) error {
	if p.Format != report.Table {
		return p.Value(s)
	}
	page := report.NewPage(p.Out)
	ago := func(t metav1.Time) string { return report.Age(max(0, now.Sub(t.Time))) }
	page.Line("Topology %s in namespace %s, mode %s", s.Topology, s.Namespace, s.Mode)
	if a := s.Agent; a != nil {
		page.Line("Agent %s, up %s: %s, %d oversold (%s), %s stopped, %s", a.AgentVersion, report.Age(a.Now.Sub(a.StartedAt)),
			report.Count(a.Pools, "pool", "pools"), a.OversoldPools, report.Count(a.OversoldUnits, "unit", "units"),
			report.Count(a.StoppedSKUs, "SKU", "SKUs"), report.Count(a.Conflicts, "conflict", "conflicts"))
		if a.ConfigError != "" {
			page.Line("The newest configuration is not in use: %s", a.ConfigError)
		}
		for _, r := range []*agentapi.Run{a.LastReconcile, a.LastAudit} {
			if r != nil {
				page.Line("%s", report.Progress(*r))
			}
		}
		report.Source(page, *a)
	} else {
		page.Line("The agent cannot be asked: %s", s.AgentProblem)
		if s.LastHeartbeatTime != nil {
			page.Line("What follows is from the operator, which last heard the agent %s ago.", ago(*s.LastHeartbeatTime))
		} else {
			page.Line("What follows is from the operator, which has not heard the agent yet.")
		}
	}
	page.Line("")
	page.Row("STORE", "MODE", "READY", "IN-SYNC", "REASON", "SINCE", "SKUS", "BACKLOG", "LAG", "CONFLICTS", "LAST-SEEN")
	for _, store := range s.Stores {
		ready, reason, since := "-", "-", "-"
		if c := meta.FindStatusCondition(store.Conditions, v1alpha1.ConditionReady); c != nil {
			ready, reason, since = string(c.Status), c.Reason, ago(c.LastTransitionTime)
		}
		inSync := "-"
		if c := meta.FindStatusCondition(store.Conditions, v1alpha1.ConditionInSync); c != nil {
			inSync = string(c.Status)
		}
		seen := "-"
		if store.LastSeenTime != nil {
			seen = ago(*store.LastSeenTime) + " ago"
		}
		lag := count(store.LagSeconds)
		if store.LagSeconds != nil {
			lag += "s"
		}
		page.Row(store.label(), dash(string(store.Mode)), ready, inSync, reason, since, count(store.Placements), count(store.Backlog), lag,
			count(store.Conflicts), seen)
	}
	for _, store := range s.Stores {
		if len(store.Conditions) == 0 {
			page.Line("\n%s: the operator has not seen it yet; `kubectl get pods --namespace stocksync-system` tells whether it runs", store.label())
		}
		for _, c := range store.Conditions {
			if worthTelling(c) {
				page.Line("\n%s: %s is %s (%s) for %s: %s", store.label(), c.Type, c.Status, c.Reason, ago(c.LastTransitionTime), c.Message)
			}
		}
		for _, m := range store.Mismatches {
			page.Line("  %s: %s shows %d and should show %d for %s", store.StoreID, m.SKU, m.Shown, m.Wanted, report.Age(time.Duration(m.SinceSeconds)*time.Second))
		}
	}
	if err := page.End(); err != nil || s.Agent == nil || s.Agent.Breaker == nil {
		return err
	}
	fmt.Fprintln(p.Out)
	return p.Breaker(s.Agent.Breaker)
}

func (s Store) label() string {
	switch {
	case s.Master:
		return s.StoreID + " (master)"
	case s.ChildStore != s.StoreID:
		return s.StoreID + " (" + s.ChildStore + ")"
	}
	return s.StoreID
}

// worthTelling: the condition is not as it is when all is well. Ready only sums up the others.
func worthTelling(c metav1.Condition) bool {
	switch c.Type {
	case v1alpha1.ConditionReady:
		return false
	case v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionPaused, v1alpha1.ConditionCircuitBreakerTripped,
		v1alpha1.ConditionVolumeNearlyFull:
		return c.Status == metav1.ConditionTrue
	case v1alpha1.ConditionHintsAvailable:
		return c.Status == metav1.ConditionFalse && c.Reason != v1alpha1.ReasonPollingOnly
	}
	return c.Status != metav1.ConditionTrue && c.Message != "" || slices.Contains(report.WorthTelling, c.Reason)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func count(n *int32) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
