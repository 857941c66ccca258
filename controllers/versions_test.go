package controllers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// Agents are replaced a few at a time, so for a while an operator hears agents of the version before; after a
// downgrade, of the one behind. What they do not say is not known, what it does not know is passed over.
func TestAgentsOfAnotherVersionAreUnderstood(t *testing.T) {
	t.Parallel()
	// The first agents said no more than this.
	const first = `{
		"agentVersion": "0.1.0", "configRevision": "REVISION", "ledgerID": "0123", "startedAt": "2026-01-01T00:00:00Z", "now": "2026-01-02T00:00:00Z",
		"pools": 300, "oversoldPools": 0, "oversoldUnits": 0, "stoppedSKUs": 0, "conflicts": 0,
		"stores": [
			{"storeID": "hq", "master": true, "mode": "Sync", CONDITIONS, "placements": 300, "enrolled": 300, "backlog": 0, "lagSeconds": 0, "conflicts": 0},
			{"storeID": "fr", "mode": "Sync", CONDITIONS, "placements": 300, "enrolled": 300, "backlog": 2, "lagSeconds": 1, "conflicts": 0,
				"mismatches": [{"sku": "A", "shown": 3, "wanted": 4, "sinceSeconds": 1}]}]}`
	conditions := strings.Join([]string{
		`"accepted": {"status": "True", "reason": "Accepted", "since": "2026-01-01T00:00:00Z"}`,
		`"connected": {"status": "True", "reason": "Connected", "since": "2026-01-01T00:00:00Z"}`,
		`"hintsAvailable": {"status": "False", "reason": "PollingOnly", "message": "no webhooks", "since": "2026-01-01T00:00:00Z"}`,
		`"inSync": {"status": "True", "reason": "InSync", "since": "2026-01-01T00:00:00Z"}`,
	}, ", ")
	older := strings.ReplaceAll(first, "CONDITIONS", conditions)
	newer := strings.NewReplacer(
		`"pools"`, `"weather": {"sunny": true}, "stocks": [1, 2], "lastAudit": {"id": 7, "kind": "Audit", "state": "Pondering", "startedAt": "2026-01-01T00:00:00Z", "shape": "round"}, "pools"`,
		`"mode": "Sync"`, `"mode": "Sync", "tier": "Telepathy", "mood": "fine", "plugin": {"connection": "entangled", "generation": 9}`,
		"PollingOnly", "MoonIsFull").Replace(older)
	for name, c := range map[string]struct{ report, hints string }{
		"older": {older, "HintsAvailable=False/PollingOnly"},
		"newer": {newer, "HintsAvailable=False/MoonIsFull"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.apply(join(keysOf("hq"), keysOf("fr"), emea, fr))
			b.reconcile("emea", "fr")
			revision := string(b.secret("emea-agent-config").Data[agentapi.RevisionFile])
			var report agentapi.Status
			b.must(json.Unmarshal([]byte(strings.ReplaceAll(c.report, "REVISION", revision)), &report))
			b.agentSays("emea", &report)
			b.reconcile("emea", "fr")
			b.wantTopology("emea", "Ready=True/Ready", "InSync=True/InSync", c.hints)
			b.wantChild("fr", "Ready=True/Ready", "Connected=True/Connected", c.hints)
			child := &v1alpha1.ChildStore{}
			b.must(b.admin.Get(t.Context(), b.key("fr"), child))
			if child.Status.Backlog == nil || *child.Status.Backlog != 2 || len(child.Status.Mismatches) != 1 {
				t.Errorf("status %+v", child.Status)
			}
		})
	}
	t.Run("nothing said of a condition", func(t *testing.T) {
		t.Parallel()
		b := running(t)
		report := b.healthy("emea", "hq", "fr")
		report.Stores[1].HintsAvailable = agentapi.Condition{}
		b.agentSays("emea", report)
		b.reconcile("emea", "fr")
		b.wantChild("fr", "HintsAvailable=Unknown/Pending", "Ready=True/Ready")
	})
}

// A new agent image reaches five topologies; the others keep their pods until one of these is back.
func TestNewImageReachesAgentsAFewAtATime(t *testing.T) {
	t.Parallel()
	const topologies = rollAtOnce + 2
	b := newBench(t)
	b.apply(keysOf("hq"))
	var names []string
	for i := range topologies {
		name := fmt.Sprintf("t%d", i)
		names = append(names, name)
		b.apply(strings.NewReplacer("emea", name, "//hq.", "//"+name+".").Replace(emea))
		b.reconcile(name)
		b.agentSays(name, b.healthy(name, "hq"))
		b.reconcile(name)
	}
	images := func() (renewed []string) {
		for _, name := range names {
			b.once(name)
			if b.templateOf(name + "-agent").Spec.Containers[0].Image == "agent:2" {
				renewed = append(renewed, name)
			}
		}
		return renewed
	}
	b.topology.operator.AgentImage = "agent:2"
	if got := images(); !slices.Equal(got, names[:rollAtOnce]) {
		t.Fatalf("at first %v have the new image", got)
	}
	b.wantTopology(names[rollAtOnce], "Ready=True/Ready", "Reconciling=True/ConfigurationPending")
	if got := images(); len(got) != rollAtOnce {
		t.Errorf("%v have it before any of the first is back", got)
	}
	b.clock.Step(time.Minute)
	back := b.healthy(names[2], "hq")
	back.StartedAt = b.clock.Now()
	b.agentSays(names[2], back)
	b.once(names[2])
	if got := images(); len(got) != rollAtOnce+1 {
		t.Errorf("%v have it when one is back", got)
	}
}

// Who may view, edit or administer a namespace may do the same with topologies and stores, and nobody may write
// what the operator says of them.
func TestUserRolesCoverBothKinds(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "config", "rbac", "user_roles.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]map[string]bool{}
	for manifest := range strings.SplitSeq(string(content), "\n---\n") {
		role := &rbacv1.ClusterRole{}
		if err := yaml.UnmarshalStrict([]byte(manifest), role); err != nil {
			t.Fatal(err)
		}
		for label, on := range role.Labels {
			to, aggregates := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-")
			if !aggregates || on != "true" {
				continue
			}
			if granted[to] == nil {
				granted[to] = map[string]bool{}
			}
			for _, rule := range role.Rules {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						granted[to][verb+" "+resource] = true
					}
				}
			}
		}
	}
	// Kubernetes' own role edit has what view has, and admin what edit has.
	for to, verbs := range map[string]string{"view": "get list watch", "edit": "create update patch delete deletecollection", "admin": "create update patch delete deletecollection"} {
		for verb := range strings.FieldsSeq(verbs) {
			for _, resource := range []string{"stocksynctopologies", "childstores"} {
				if !granted[to][verb+" "+resource] {
					t.Errorf("%s may not %s %s", to, verb, resource)
				}
				delete(granted[to], verb+" "+resource)
			}
		}
		if len(granted[to]) > 0 {
			t.Errorf("%s may also %v", to, granted[to])
		}
	}
}
