//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// everyMinute is a schedule that does not keep a test waiting for long.
const everyMinute = "* * * * *"

// An edit that no date and no webhook tells of: the audit by schedule finds it, the reconcile by schedule repairs it, and
// an excluded SKU is left alone by both. Every run shows in Jobs, conditions and Events.
func TestScheduledAuditAndReconcile(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 41)
	excluded, _ := w.pick(t, 42)
	configure(t, func(spec *v1alpha1.StockSyncTopologySpec) {
		spec.LagObjectiveSeconds = new(int32(5))
		spec.Exclusions = &v1alpha1.Exclusions{SKUs: []string{excluded}}
	})
	w.fr.catalogueRead(t) // anew, for the exclusions; what that meets is no secret any more
	w.editBehind(t, w.fr, sku, stock-7)
	w.editBehind(t, w.fr, excluded, 3)

	change(t, func(spec *v1alpha1.StockSyncTopologySpec) {
		spec.Audit = &v1alpha1.Audit{Timetable: v1alpha1.Timetable{Schedule: everyMinute}}
	})
	var found *v1alpha1.RunStatus
	eventually(t, 3*time.Minute, "the audit by schedule finds the edit", func() error {
		sst := theTopology(t)
		found = sst.Status.LastAudit
		if found == nil || found.State != string(agentapi.NeedsAttention) || !tells(found, "fr", sku) {
			return notYet("the last audit is %+v", found)
		}
		return conditionIs(sst, sst.Status.Conditions, v1alpha1.ConditionAuditPassed, metav1.ConditionFalse, v1alpha1.ReasonNeedsAttention)
	})
	if tells(found, "fr", excluded) {
		t.Errorf("the audit tells of %s, which is excluded: %+v", excluded, found.Worst)
	}
	for s, want := range map[*shop]int{w.hq: stock, w.fr: stock - 7, w.de: stock} {
		if got, err := s.stock(t.Context(), sku); err != nil || got != want {
			t.Errorf("after the audit %s shows %d of %s, %v; it must write nothing and leave %d", s.id, got, sku, err, want)
		}
	}
	end := eventuallyEnded(t, "emea-audit", batchv1.JobFailed)
	if end.ExitCode != agentapi.ExitNeedsAttention || len(end.Message) > 4096 {
		t.Errorf("the audit's container ended with exit code %d and %d bytes: %s", end.ExitCode, len(end.Message), end.Message)
	}
	var result struct {
		State  agentapi.RunState
		Counts map[agentapi.FindingClass]int
	}
	if err := json.Unmarshal([]byte(end.Message), &result); err != nil || result.State != agentapi.NeedsAttention || result.Counts[agentapi.QuantityDiffers] == 0 {
		t.Errorf("the termination message is %s, %v", end.Message, err)
	}
	eventuallyTold(t, corev1.EventTypeWarning, v1alpha1.ReasonNeedsAttention)

	change(t, func(spec *v1alpha1.StockSyncTopologySpec) {
		spec.Audit.Suspend = true
		spec.Reconcile = &v1alpha1.Reconcile{Timetable: v1alpha1.Timetable{Schedule: everyMinute}}
	})
	eventually(t, 3*time.Minute, "the reconcile by schedule succeeds", func() error {
		sst := theTopology(t)
		if sst.Status.LastReconcile == nil || sst.Status.LastReconcile.State != string(agentapi.Succeeded) {
			return notYet("the last reconcile is %+v", sst.Status.LastReconcile)
		}
		return conditionIs(sst, sst.Status.Conditions, v1alpha1.ConditionReconcileSucceeded, metav1.ConditionTrue, v1alpha1.ReasonRunSucceeded)
	})
	w.everywhere(t, sku, stock-7)
	if got, err := w.fr.stock(t.Context(), excluded); err != nil || got != 3 {
		t.Errorf("fr shows %d of the excluded %s, %v; it must stay 3", got, excluded, err)
	}
	if end := eventuallyEnded(t, "emea-reconcile", batchv1.JobComplete); end.ExitCode != 0 || !strings.Contains(end.Message, `"Succeeded"`) {
		t.Errorf("the reconcile's container ended with exit code %d: %s", end.ExitCode, end.Message)
	}

	// As a user would: run the suspended audit once more, by hand.
	mustRun(t, "kubectl", "create", "job", "--namespace", namespace, "--from=cronjob/emea-audit", "audit-by-hand")
	t.Cleanup(func() {
		_ = cluster.Delete(context.Background(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "audit-by-hand", Namespace: namespace}},
			client.PropagationPolicy(metav1.DeletePropagationBackground))
	})
	eventually(t, 2*time.Minute, "the audit by hand finds no wrong quantity", func() error {
		last := theTopology(t).Status.LastAudit
		if last == nil || last.ID <= found.ID || last.FinishTime == nil {
			return notYet("the last audit is %+v", last)
		}
		for _, c := range last.Counts {
			if c.Class == string(agentapi.QuantityDiffers) && c.Count > 0 {
				return notYet("the last audit finds %+v", last.Worst)
			}
		}
		return nil
	})
}

// A pipeline asks by annotation, and waits for the answer.
func TestRequestedByAnnotation(t *testing.T) {
	openWorld(t)
	asked := fmt.Sprint("e2e-", time.Now().UnixNano())
	mustRun(t, "kubectl", "annotate", "--namespace", namespace, "--overwrite", "sst", topology, v1alpha1.AnnotationReconcileRequestedAt+"="+asked)
	mustRun(t, "kubectl", "wait", "--namespace", namespace, "--timeout=120s", "--for=jsonpath={.status.lastHandledReconcileRequest}="+asked, "sst/"+topology)
	mustRun(t, "kubectl", "annotate", "--namespace", namespace, "--overwrite", "sst", topology, v1alpha1.AnnotationAuditRequestedAt+"="+asked)
	mustRun(t, "kubectl", "wait", "--namespace", namespace, "--timeout=180s", "--for=jsonpath={.status.lastHandledAuditRequest}="+asked, "sst/"+topology)
	mustRun(t, "kubectl", "wait", "--namespace", namespace, "--timeout=60s", "--for=condition=InSync", "chs/fr")
}

// A dry run finds what differs, and while it lasts the shops see nothing but GET.
func TestDryRunWritesNothing(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 43)
	var before []int64
	for _, s := range w.shops() {
		before = append(before, s.lastRequest(t))
	}
	w.fr.catalogueRead(t)
	w.editBehind(t, w.fr, sku, stock-4)
	out := mustRun(t, "kubectl", "stocksync", "reconcile", "--dry-run", "-n", namespace, "-t", topology, "-o", "json")
	var run agentapi.Run
	if err := json.Unmarshal([]byte(out), &run); err != nil || run.FinishedAt == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if run.Counts[agentapi.QuantityDiffers] == 0 {
		t.Errorf("the dry run does not find the edit: %s", out)
	}
	reads := 0
	for i, s := range w.shops() {
		for _, r := range s.requestsSince(t, before[i]) {
			if r.Time.Before(run.StartedAt) || r.Time.After(*run.FinishedAt) || strings.Contains(r.Path, "__sim") {
				continue
			}
			if reads++; r.Method != http.MethodGet {
				t.Errorf("%s saw %s %s during the dry run", s.id, r.Method, r.Path)
			}
		}
	}
	if reads == 0 {
		t.Error("the access logs show no request of the dry run")
	}
	// What it read counts as any reading: in mode Sync the other shops follow once it has ended.
	w.everywhere(t, sku, stock-4)
}

// A bad bulk edit in the master is held, sales go on being counted, and approval of this trip releases it.
func TestCircuitBreaker(t *testing.T) {
	const many, minimum = 40, 20
	w := openWorld(t)
	sold, stock := w.pick(t, 44)
	configure(t, func(spec *v1alpha1.StockSyncTopologySpec) {
		spec.CircuitBreaker = &v1alpha1.CircuitBreaker{SharePercent: new(int32(5)), MinimumSKUs: new(int32(minimum))}
	})
	held := map[string]int{}
	for i, sku := range w.skus {
		if i%50 >= 25 || len(held) == many { // the others are picked by tests
			continue
		}
		n, err := w.hq.stock(t.Context(), sku)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			held[sku] = n
		}
	}
	if pools := theTopology(t).Status.Pools; len(held) < minimum || pools == nil || len(held)*100 < int(*pools)*5 {
		t.Fatalf("%d SKUs are too few to trip", len(held))
	}
	zero := map[string]int{}
	for sku := range held {
		zero[sku] = 0
	}
	w.hq.editAll(t, zero)
	var trip *v1alpha1.BreakerStatus
	eventually(t, 2*time.Minute, "the circuit breaker trips", func() error {
		sst := theTopology(t)
		if trip = sst.Status.CircuitBreaker; trip == nil {
			return notYet("it has not")
		}
		return conditionIs(sst, sst.Status.Conditions, v1alpha1.ConditionCircuitBreakerTripped, metav1.ConditionTrue, v1alpha1.ReasonLargeChange)
	})
	eventuallyTold(t, corev1.EventTypeWarning, "CircuitBreakerTripped")
	t.Log(trip.Message)
	if _, err := w.de.sell(t.Context(), sold, 2); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the sale is counted", func() error {
		var h agentapi.SKUHistory
		if err := json.Unmarshal([]byte(mustRun(t, "kubectl", "stocksync", "history", sold, "-n", namespace, "-t", topology, "-o", "json")), &h); err != nil {
			return err
		}
		if h.Units != int64(stock-2) {
			return notYet("%s has %d units, want %d", sold, h.Units, stock-2)
		}
		return nil
	})
	// A poll that comes in the middle of the bulk edit sees a part of it. Too few to wait for more are written at once.
	early := 0
	for sku, n := range held {
		got, err := w.fr.stock(t.Context(), sku)
		if err == nil && got == 0 {
			early++
		} else if err != nil || got != n {
			t.Errorf("fr shows %d of %s, %v; it must keep %d while the change is held", got, sku, err, n)
		}
	}
	if early >= minimum {
		t.Errorf("fr shows 0 of %d SKUs; from %d on the change must be held", early, minimum)
	}
	if got, err := w.fr.stock(t.Context(), sold); err != nil || got != stock {
		t.Errorf("fr shows %d of %s, %v; nothing may be written while the change is held", got, sold, err)
	}
	if out, err := run(t, "kubectl", "stocksync", "breaker", "approve", "another", "-n", namespace, "-t", topology); err == nil || !strings.Contains(out, trip.TripID) {
		t.Errorf("an approval of another trip: %v\n%s", err, out)
	}
	mustRun(t, "kubectl", "stocksync", "breaker", "approve", trip.TripID, "-n", namespace, "-t", topology)
	w.everywhere(t, sold, stock-2)
	for sku := range held {
		w.everywhere(t, sku, 0)
	}
	eventually(t, 60*time.Second, "the condition is gone", func() error {
		sst := theTopology(t)
		if c := meta.FindStatusCondition(sst.Status.Conditions, v1alpha1.ConditionCircuitBreakerTripped); c != nil || sst.Status.CircuitBreaker != nil {
			return notYet("it is still there: %+v", c)
		}
		return nil
	})

	change(t, func(spec *v1alpha1.StockSyncTopologySpec) { spec.CircuitBreaker.Mode = v1alpha1.BreakerDisabled })
	w.hq.editAll(t, held)
	for sku, n := range held {
		w.everywhere(t, sku, n)
	}
}

// A new user tries every command: what is lacking is told with the command that gives it, and that command works.
func TestPluginAsANewUser(t *testing.T) {
	w := openWorld(t)
	sku, stock := w.pick(t, 45)
	const user = "newcomer"
	ask := func(args ...string) (string, error) {
		t.Helper()
		return run(t, "kubectl", append([]string{"stocksync", "--as", user, "--namespace", namespace, "--topology", topology}, args...)...)
	}
	// allowed does what the last line of a refusal says.
	allowed := func(role, secret, out string, err error) {
		t.Helper()
		binding := role + "-" + user
		if err == nil || !strings.Contains(out, user+" may not") {
			t.Fatalf("without %s: %v\n%s", binding, err, out)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		command := strings.Fields(lines[len(lines)-1])
		if !slices.Contains(command, binding) {
			t.Fatalf("the advice is %q, want one that makes %s", command, binding)
		}
		mustRun(t, command[0], command[1:]...)
		t.Cleanup(func() {
			_ = cluster.Delete(context.Background(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: binding, Namespace: namespace}})
		})
		eventually(t, 30*time.Second, "the right is known", func() error {
			_, err := run(t, "kubectl", "auth", "can-i", "get", "secret/"+secret, "--as", user, "--namespace", namespace)
			return err
		})
	}
	out, err := ask("status")
	allowed("emea-tools-read", topology+agentapi.ReadSecretSuffix, out, err)
	for _, c := range []struct{ command, shows string }{
		{"status", "hq (master)"},
		{"status -o yaml", "agentVersion"},
		{"ping", "Authentication"},
		{"ping fr", "fr"},
		{"history " + sku, fmt.Sprintf("%s: %d units.", sku, stock)},
		{"events", "WHEN"},
		{"events --store fr --level Info -o json", `"store":"fr"`},
		{"conflicts", ""},
		{"conflicts list --store fr -o json", "["},
		{"backlog", ""},
		{"breaker", "has not tripped"},
		{"runs", ""},
		{"reconcile --dry-run --sku " + sku, "nothing differs"},
		{"audit --sku " + sku, "Succeeded"},
		{"audit --sku " + sku + " -o junit", "<testsuites>"},
		{"audit --sku " + sku + " -o csv", "class,store,sku"},
	} {
		out, err := ask(strings.Fields(c.command)...)
		if err != nil || !strings.Contains(out, c.shows) {
			t.Errorf("%s: %v\n%s\nwant it to show %q", c.command, err, out, c.shows)
		}
	}

	out, err = ask("push", sku)
	allowed("emea-tools", topology+agentapi.WriteSecretSuffix, out, err)
	for _, c := range []struct{ command, shows string }{
		{"push " + sku, "Succeeded"},
		{"reconcile", "Succeeded"},
		{"backlog retry", "at once"},
		{"conflicts rescan fr", "read as a whole again"},
		{"history prune --older-than-days 3650", "forgotten"},
		{fmt.Sprintf("conflicts resolve %s %d", sku, stock-1), fmt.Sprint(stock-1, " units")},
	} {
		out, err := ask(strings.Fields(c.command)...)
		if err != nil || !strings.Contains(out, c.shows) {
			t.Errorf("%s: %v\n%s\nwant it to show %q", c.command, err, out, c.shows)
		}
	}
	w.everywhere(t, sku, stock-1)
	for _, c := range []struct{ command, says string }{
		{"history NO-SUCH-SKU", "NO-SUCH-SKU"},
		{"ping paris", "paris"},
		{"forget fr", "--yes"},
		{"forget fr --yes", "Observe"},
		{"reconcile --strategy Reset", "--yes-reset"},
		{"breaker approve another", "has not tripped"},
		{"status -n nowhere", user + " may not"},
	} {
		if out, err := ask(strings.Fields(c.command)...); err == nil || !strings.Contains(out, "Error: ") || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v\n%s\nwant an error that says %q", c.command, err, out, c.says)
		}
	}
}

// plugin builds kubectl-stocksync once and puts it into PATH.
var plugin = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "stocksync-e2e-")
	if err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "kubectl-stocksync"), "stocksync.dev/stocksync/cmd/kubectl-stocksync")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the plugin: %w: %s", err, out)
	}
	return os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
})

// run runs a program as a person does, with the plugin in PATH.
func run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	if err := plugin(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var stderr strings.Builder
	command := exec.CommandContext(ctx, program, args...)
	command.Stderr = &stderr
	out, err := command.Output()
	t.Logf("$ %s %s\n%s%s", program, strings.Join(args, " "), stderr.String(), out)
	if err != nil {
		return string(out) + stderr.String(), err
	}
	return string(out), nil
}

func mustRun(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := run(t, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

func theTopology(t *testing.T) *v1alpha1.StockSyncTopology {
	t.Helper()
	sst := &v1alpha1.StockSyncTopology{}
	if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: topology}, sst); err != nil {
		t.Fatal(err)
	}
	return sst
}

// configure changes the topology for the time of the test, and waits until the agent runs with it.
func configure(t *testing.T, with func(*v1alpha1.StockSyncTopologySpec)) {
	t.Helper()
	before := theTopology(t).Spec
	t.Cleanup(func() {
		ctx, sst := context.Background(), &v1alpha1.StockSyncTopology{}
		err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: topology}, sst)
		if err == nil {
			was := sst.DeepCopy()
			sst.Spec = before
			err = cluster.Patch(ctx, sst, client.MergeFrom(was))
		}
		if err != nil {
			t.Errorf("putting the topology back: %v", err)
		}
	})
	change(t, with)
}

func change(t *testing.T, with func(*v1alpha1.StockSyncTopologySpec)) {
	t.Helper()
	sst := theTopology(t)
	was := sst.DeepCopy()
	with(&sst.Spec)
	if err := cluster.Patch(t.Context(), sst, client.MergeFrom(was)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the agent runs with the change", func() error {
		sst := theTopology(t)
		return conditionIs(sst, sst.Status.Conditions, v1alpha1.ConditionAgentAvailable, metav1.ConditionTrue, v1alpha1.ReasonAgentReady)
	})
}

func tells(run *v1alpha1.RunStatus, store, sku string) bool {
	return slices.ContainsFunc(run.Worst, func(f v1alpha1.RunFinding) bool { return f.StoreID == store && f.SKU == sku })
}

// eventuallyEnded waits until a Job of the CronJob has ended this way, and returns how its container did.
func eventuallyEnded(t *testing.T, cronJob string, how batchv1.JobConditionType) (end corev1.ContainerStateTerminated) {
	t.Helper()
	eventually(t, 2*time.Minute, fmt.Sprintf("a Job of %s is %s", cronJob, how), func() error {
		var jobs batchv1.JobList
		if err := cluster.List(t.Context(), &jobs, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, job := range jobs.Items {
			owner := metav1.GetControllerOf(&job)
			if owner == nil || owner.Name != cronJob || !slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
				return c.Type == how && c.Status == corev1.ConditionTrue
			}) {
				continue
			}
			var pods corev1.PodList
			if err := cluster.List(t.Context(), &pods, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
				return err
			}
			for _, pod := range pods.Items {
				for _, s := range pod.Status.ContainerStatuses {
					if s.State.Terminated != nil {
						end = *s.State.Terminated
						return nil
					}
				}
			}
		}
		return notYet("none of %d Jobs", len(jobs.Items))
	})
	return end
}

// eventuallyTold waits for an Event about the topology.
func eventuallyTold(t *testing.T, kind, reason string) {
	t.Helper()
	eventually(t, 30*time.Second, "an Event "+reason, func() error {
		var events eventsv1.EventList
		if err := cluster.List(t.Context(), &events, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Type == kind && e.Reason == reason && e.Regarding.Name == topology {
				t.Log(e.Note)
				return nil
			}
		}
		return notYet("none of %d Events", len(events.Items))
	})
}

// editBehind writes a quantity past WooCommerce, into its database: no date and no webhook tells of it.
func (w *world) editBehind(t *testing.T, s *shop, sku string, quantity int) {
	t.Helper()
	if err := s.control(t.Context(), http.MethodPost, "items/"+url.PathEscape(sku)+"/stock", map[string]any{"quantity": quantity, "behind": true}); err != nil {
		t.Fatal(err)
	}
}

// editAll types quantities, many at once, as a bulk edit does.
func (s *shop) editAll(t *testing.T, quantities map[string]int) {
	t.Helper()
	var updates []any
	for sku, n := range quantities {
		p, err := s.product(t.Context(), sku)
		if err != nil {
			t.Fatal(err)
		}
		updates = append(updates, map[string]any{"id": p.ID, "stock_quantity": n})
	}
	var answer struct{}
	if err := s.do(t.Context(), http.MethodPost, "products/batch", nil, map[string]any{"update": updates}, &answer); err != nil {
		t.Fatal(err)
	}
}

// access is what the tests read of a shop's access log.
type access struct {
	Number int64     `json:"number"`
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query"`
}

// catalogueRead waits until the shop has been asked for nothing but news for five seconds of its polls.
func (s *shop) catalogueRead(t *testing.T) {
	t.Helper()
	const quiet = 5 * time.Second
	from := s.lastRequest(t)
	eventually(t, time.Minute, "the catalogue of "+s.id+" is read", func() error {
		log := s.requestsSince(t, from)
		if len(log) == 0 {
			return notYet("no request since")
		}
		began, now := log[0].Time, log[len(log)-1].Time
		for _, a := range log {
			if strings.HasPrefix(a.Path, "/wp-json/wc/v3/products") && !strings.Contains(a.Query, "modified_after") {
				began = a.Time
			}
		}
		if now.Sub(began) < quiet {
			return notYet("it was read %s ago", now.Sub(began))
		}
		return nil
	})
}

func (s *shop) requestsSince(t *testing.T, number int64) []access {
	t.Helper()
	var log []access
	authorize := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.admin) }
	err := s.send(t.Context(), authorize, http.MethodGet, "/__sim/access-log", url.Values{"after": {strconv.FormatInt(number, 10)}}, nil, &log)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func (s *shop) lastRequest(t *testing.T) int64 {
	t.Helper()
	last := slices.MaxFunc(append(s.requestsSince(t, 0), access{}), func(a, b access) int { return cmp.Compare(a.Number, b.Number) })
	return last.Number
}
