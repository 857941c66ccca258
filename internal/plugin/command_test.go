package plugin

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

var update = flag.Bool("update", false, "write the golden files anew")

// transcript runs commands and compares what the terminal shows with testdata/NAME.txt.
func (w *world) transcript(name string, commands ...string) {
	w.Helper()
	var out strings.Builder
	for _, command := range commands {
		out.WriteString("$ kubectl stocksync " + command + "\n")
		out.WriteString(w.run(strings.Fields(command)...) + "\n")
	}
	file := filepath.Join("testdata", name+".txt")
	if *update {
		must(w, os.WriteFile(file, []byte(out.String()), 0o600))
	}
	want, err := os.ReadFile(file)
	must(w, err)
	if out.String() != string(want) {
		w.Errorf("%s:\n%s\nwant:\n%s", file, out.String(), want)
	}
}

func ago(d time.Duration) *time.Time { return new(now.Add(-d)) }

func condition(conditionType, status, reason, message string, age time.Duration) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: metav1.ConditionStatus(status), Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(*ago(age)), ObservedGeneration: 1}
}

// report is what the operator wrote: hq and fr are well, it has been unreachable for five minutes.
func (w *world) report() {
	w.Helper()
	topology := &v1alpha1.StockSyncTopology{}
	must(w, w.admin.Get(w.Context(), types.NamespacedName{Namespace: w.namespace, Name: "emea"}, topology))
	topology.Status.Conditions = []metav1.Condition{
		condition("Ready", "True", "Ready", "", 3*time.Hour), condition("Connected", "True", "Connected", "", 3*time.Hour),
		condition("HintsAvailable", "False", "PollingOnly", "", 3*time.Hour), condition("AgentAvailable", "True", "AgentReady", "", 3*time.Hour),
		condition("InSync", "False", "ChildrenNotInSync", "1 of 2 children is not in sync: it", 5*time.Minute)}
	topology.Status.LastHeartbeatTime = &metav1.Time{Time: *ago(12 * time.Second)}
	topology.Status.Master = &v1alpha1.StoreStatus{StoreID: "hq", Mode: "Sync", Tier: "Polling", Placements: new(int32(16)), Enrolled: new(int32(16)),
		Backlog: new(int32(0)), LagSeconds: new(int32(0)), Conflicts: new(int32(0)), LastSeenTime: &metav1.Time{Time: *ago(14 * time.Second)}}
	must(w, w.admin.Status().Update(w.Context(), topology))

	fr, it := w.makeChild("fr", "emea"), w.makeChild("it", "emea")
	fr.Status.Conditions = []metav1.Condition{condition("Ready", "True", "Ready", "", 3*time.Hour), condition("Connected", "True", "Connected", "", 3*time.Hour),
		condition("InSync", "True", "InSync", "", time.Hour)}
	fr.Status.StoreStatus = *topology.Status.Master
	fr.Status.StoreID = "fr"
	it.Status.Conditions = []metav1.Condition{condition("Ready", "False", "Unreachable", "no connection to it.example.com", 5*time.Minute),
		condition("Connected", "False", "Unreachable", "no connection to it.example.com: connection refused; see that the shop runs", 5*time.Minute),
		condition("InSync", "False", "LagObjectiveExceeded", "3 SKUs wait, the oldest for 5m", 4*time.Minute)}
	it.Status.StoreStatus = v1alpha1.StoreStatus{StoreID: "it", Mode: "Sync", Tier: "Polling", Placements: new(int32(16)), Enrolled: new(int32(16)),
		Backlog: new(int32(2)), LagSeconds: new(int32(240)), Conflicts: new(int32(0)), LastSeenTime: &metav1.Time{Time: *ago(5 * time.Minute)},
		Mismatches: []v1alpha1.Mismatch{{SKU: "TSHIRT-M", Shown: 9, Wanted: 6, SinceSeconds: 240}}}
	must(w, w.admin.Status().Update(w.Context(), fr))
	must(w, w.admin.Status().Update(w.Context(), it))

	good := agentapi.Condition{Status: "True", Reason: "Connected", Since: *ago(3 * time.Hour)}
	inSync := agentapi.Condition{Status: "True", Reason: "InSync", Since: *ago(time.Hour)}
	polling := agentapi.Condition{Status: "False", Reason: "PollingOnly", Since: *ago(3 * time.Hour)}
	w.agent.says("GET /v1/status", agentapi.Status{AgentVersion: "1.2.3", Now: now, StartedAt: *ago(3 * time.Hour), Pools: 16, Conflicts: 1,
		Stores: []agentapi.StoreStatus{
			{StoreID: "hq", Master: true, Mode: "Sync", Tier: "Polling", Connected: good, InSync: inSync, HintsAvailable: polling, Placements: 16, Enrolled: 16, LastSeenTime: ago(2 * time.Second)},
			{StoreID: "fr", Mode: "Sync", Tier: "Polling", Connected: good, InSync: inSync, HintsAvailable: polling, Placements: 16, Enrolled: 16, Conflicts: 1, LastSeenTime: ago(time.Second)},
			{StoreID: "it", Mode: "Sync", Tier: "Polling", HintsAvailable: polling, Placements: 16, Enrolled: 16, Backlog: 3, LagSeconds: 300, LastSeenTime: ago(5 * time.Minute),
				Connected:  agentapi.Condition{Status: "False", Reason: "Unreachable", Message: "no connection to it.example.com: connection refused; see that the shop runs", Since: *ago(5 * time.Minute)},
				InSync:     agentapi.Condition{Status: "False", Reason: "LagObjectiveExceeded", Message: "3 SKUs wait, the oldest for 5m", Since: *ago(4 * time.Minute)},
				Mismatches: []agentapi.Mismatch{{SKU: "TSHIRT-M", Shown: 9, Wanted: 6, SinceSeconds: 300}}},
		},
		LastAudit: &agentapi.Run{ID: 7, Request: agentapi.RunRequest{Kind: agentapi.KindAudit}, State: agentapi.Succeeded, StartedAt: *ago(time.Hour),
			FinishedAt: ago(59 * time.Minute), Message: "32 compared, all as they should be"},
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.report()
	w.transcript("status", "status")

	text, err := w.try("status", "emea", "-o", "json")
	must(t, err)
	var got Status
	must(t, json.Unmarshal([]byte(text), &got))
	it := got.Stores[2]
	if got.Topology != "emea" || got.Agent == nil || it.StoreID != "it" || *it.Backlog != 3 || !meta.IsStatusConditionFalse(it.Conditions, "Connected") {
		t.Errorf("as JSON the status is\n%s", text)
	}
}

// TestStatusWithoutAgent: what the operator wrote is shown, and why the agent was not asked.
func TestStatusWithoutAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.report()
	w.route("emea", "")
	w.transcript("status_without_agent", "status")
}

func TestReading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.makeChild("fr", "emea")
	check := func(name string, milliseconds int64) agentapi.PingCheck {
		return agentapi.PingCheck{Name: name, OK: true, Milliseconds: milliseconds}
	}
	way := []agentapi.PingCheck{check("DNS", 1), check("TCP", 4), check("TLS", 12), check("RESTAPI", 85)}
	hq := agentapi.Ping{StoreID: "hq", OK: true, Checks: append(slices.Clone(way), check("Authentication", 61), check("ReadProducts", 74),
		check("ReadOrders", 70), check("Write", 92), check("Clock", 0))}
	fr := agentapi.Ping{StoreID: "fr", Checks: append(slices.Clone(way), agentapi.PingCheck{Name: "Authentication", Milliseconds: 58,
		Reason: v1alpha1.ReasonAuthenticationFailed, Message: "the shop refuses the REST key: check consumerKey and consumerSecret, that the key was not revoked, and that the web server passes the Authorization header on to PHP"})}
	w.agent.says("GET /v1/ping", []agentapi.Ping{hq, fr})
	w.agent.says("GET /v1/ping?store=hq", []agentapi.Ping{hq})
	w.agent.says("GET /v1/history", agentapi.SKUHistory{SKU: "TSHIRT-M", Units: 6, Set: true,
		Shelves: []agentapi.Shelf{{Store: "fr", Shown: 6, ReadAt: *ago(time.Minute)}, {Store: "hq", Shown: 6, ReadAt: *ago(time.Minute)}},
		Entries: []agentapi.Entry{
			{ID: 12, Kind: "Pushed", Store: "fr", SKU: "TSHIRT-M", Units: -2, Quantity: 6, Evidence: "the shop answered 6", Cause: "Push", At: *ago(time.Minute)},
			{ID: 11, Kind: "Read", Store: "hq", SKU: "TSHIRT-M", Delta: -2, Units: -2, Quantity: 6, Cause: "Shop", At: *ago(time.Minute)}}})
	w.agent.says("GET /v1/events", []agentapi.Entry{
		{ID: 11, Kind: "Read", Level: "Info", Code: "Read", Store: "hq", SKU: "TSHIRT-M", Delta: -2, Cause: "Shop", At: *ago(time.Minute)},
		{ID: 12, Kind: "Pushed", Level: "Info", Code: "Pushed", Store: "fr", SKU: "TSHIRT-M", Cause: "Push", At: *ago(time.Minute)}})
	w.agent.says("GET /v1/conflicts", []agentapi.Entry{{ID: 50, Kind: "Feed", Store: "fr", SKU: "SKU-0003", Units: 86, Conflict: true,
		Evidence: "stores hq and fr were set to about 99 within an hour", At: *ago(time.Hour)}})
	w.agent.says("GET /v1/backlog", []agentapi.BacklogItem{{Store: "fr", SKU: "TSHIRT-L", Shown: 3, Wanted: 2, Since: *ago(time.Minute), Note: "the shop asks for fewer requests", Cursor: "1"}})
	w.agent.says("GET /v1/backlog?after=1&limit=1000", []agentapi.BacklogItem{})
	w.agent.says("GET /v1/breaker", nil)
	w.agent.says("GET /v1/runs", []agentapi.Run{{ID: 7, Request: agentapi.RunRequest{Kind: agentapi.KindAudit}, State: agentapi.Succeeded,
		StartedAt: *ago(time.Hour), FinishedAt: ago(59 * time.Minute), Done: 32, Total: 32, Message: "32 compared, all as they should be"}})
	w.transcript("reading", "ping", "ping hq", "history TSHIRT-M", "events", "conflicts", "backlog", "breaker", "runs", "conflicts list -o json",
		"backlog -o yaml")

	w.agent.says("GET /v1/breaker", agentapi.Breaker{TripID: "3f0a9c4d21be", Since: *ago(time.Minute), Zeroed: 180, Of: 200, Store: "hq",
		Message: "a change at store hq would bring 180 of 200 SKUs to zero and multiply 0 by 10 or more: nothing is written to any store, and sales go on being counted. " +
			"Undo the change in the shop if it is wrong; then, or if it is right, approve trip 3f0a9c4d21be"})
	w.transcript("breaker", "breaker -t emea")
}

// TestPair: what to type into a plugin, never the secret unasked, and which direction does not work.
func TestPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plugin := func(id, url string) *v1alpha1.Kitgenix {
		return &v1alpha1.Kitgenix{URL: url, RemoteStoreID: id, SharedSecretKeyRef: v1alpha1.SecretKeyReference{Name: "plugins", Key: "shared"}}
	}
	topology := &v1alpha1.StockSyncTopology{}
	must(t, w.admin.Get(t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "emea"}, topology))
	topology.Spec.PublicURL = "https://sync.example.com/emea"
	topology.Spec.Identity = &v1alpha1.Identity{StoreID: "6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d"}
	topology.Spec.Master.Kitgenix = plugin("11111111-1111-4111-8111-111111111111", "https://hq.emea.example.com")
	must(t, w.admin.Update(t.Context(), topology))
	w.makeChild("it", "emea")
	fr := &v1alpha1.ChildStore{Spec: v1alpha1.ChildStoreSpec{TopologyRef: v1alpha1.TopologyReference{Name: "emea"}, Kitgenix: plugin("22222222-2222-4222-8222-222222222222", "https://fr.example.com")}}
	fr.Name = "boutique"
	fr.Spec.StoreID = "fr"
	w.create(fr)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "plugins"}, StringData: map[string]string{"shared": "abc123\n"}})
	ok := func(names ...string) (checks []agentapi.PingCheck) {
		for _, name := range names {
			checks = append(checks, agentapi.PingCheck{Name: name, OK: true, Milliseconds: 5})
		}
		return checks
	}
	w.agent.says("GET /v1/ping?store=fr", []agentapi.Ping{{StoreID: "fr", OK: true, Checks: ok("DNS", "TCP", "TLS", "RESTAPI", "Authentication", "Role", "Clock")}})
	w.agent.says("GET /v1/ping?store=hq", []agentapi.Ping{{StoreID: "hq", Checks: append(ok("DNS", "TCP", "TLS", "RESTAPI"),
		agentapi.PingCheck{Name: "Plugin", Reason: "SignatureRefused", Message: "the plugin refuses the signature with every secret there is"})}})
	w.agent.says("GET /v1/status", agentapi.Status{Now: now, Stores: []agentapi.StoreStatus{
		{StoreID: "hq", Master: true, HintsAvailable: agentapi.Condition{Status: "True", Reason: "WebhooksActive"}},
		{StoreID: "fr", HintsAvailable: agentapi.Condition{Status: "True", Reason: "PluginEventsActive", Message: "the plugin's events arrive"},
			Plugin: &agentapi.PluginStatus{Version: "2.0.0", Generation: 2, Connection: "ok", LastPingTime: ago(4 * time.Minute), PreviousSecretUntil: new(now.Add(time.Hour))}},
		{StoreID: "it"}}})
	w.transcript("pair", "pair boutique", "pair hq --show-secret", "pair it", "pair es", "pair fr -o json")
	if out := w.run("pair", "fr"); strings.Contains(out, "abc123") {
		t.Errorf("the secret is shown unasked:\n%s", out)
	}
}

// TestEventsAreFollowed: every line once, from where the log was.
func TestEventsAreFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	line := func(id int64) agentapi.Entry {
		return agentapi.Entry{ID: id, Code: "StockRead", Level: "Info", At: now}
	}
	w.agent.says("GET /v1/events", []any{[]agentapi.Entry{line(1), line(2)}, []agentapi.Entry{}, []agentapi.Entry{line(3)},
		answer{503, "the agent stops"}})
	out := w.run("events", "-f", "--store", "hq", "-o", "json")
	if got := strings.Count(out, `"id":`); got != 3 || !strings.HasSuffix(out, "Error: the agent stops\n") {
		t.Errorf("shows %d lines, want 3:\n%s", got, out)
	}
	wantAsked(t, w.agent, "GET /v1/events?limit=50&store=hq", "GET /v1/events?after=2&limit=1000&store=hq&wait=25",
		"GET /v1/events?after=2&limit=1000&store=hq&wait=25", "GET /v1/events?after=3&limit=1000&store=hq&wait=25")
}

func wantAsked(t *testing.T, a *agent, want ...string) {
	t.Helper()
	if got := a.took(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the agent is asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWriting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{"conflicts/resolve", "conflicts/dismiss", "backlog/accept", "backlog/retry", "rescan", "history/prune", "forget", "breaker/approve"} {
		w.agent.says("POST /v1/"+path, agentapi.Closed{Count: 2})
	}
	w.transcript("writing", "conflicts resolve TSHIRT-M 7", "conflicts resolve TSHIRT-M --from-master", "conflicts resolve TSHIRT-M --from-store fr",
		"conflicts resolve -- TSHIRT-M -2", "conflicts dismiss 50 51", "conflicts rescan fr", "backlog retry", "backlog accept fr TSHIRT-M TSHIRT-L --yes",
		"history prune --older-than-days 30", "forget fr --yes", "breaker approve 3f0a9c4d21be", "conflicts dismiss 50 51 -o json")
	wantAsked(t, w.agent,
		`POST /v1/conflicts/resolve {"sku":"TSHIRT-M","units":7}`,
		`POST /v1/conflicts/resolve {"sku":"TSHIRT-M","store":"hq"}`,
		`POST /v1/conflicts/resolve {"sku":"TSHIRT-M","store":"fr"}`,
		`POST /v1/conflicts/resolve {"sku":"TSHIRT-M","units":-2}`,
		`POST /v1/conflicts/dismiss {"ids":[50,51]}`,
		`POST /v1/rescan {"stores":["fr"]}`,
		`POST /v1/backlog/retry {}`,
		`POST /v1/backlog/accept {"store":"fr","skus":["TSHIRT-M","TSHIRT-L"],"confirm":true}`,
		`POST /v1/history/prune {"olderThanDays":30}`,
		`POST /v1/forget {"store":"fr","confirm":true}`,
		`POST /v1/breaker/approve {"tripID":"3f0a9c4d21be"}`,
		`POST /v1/conflicts/dismiss {"ids":[50,51]}`)
}

// TestMistakes: a command line that cannot be meant, or was not confirmed, asks nobody.
func TestMistakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.transcript("mistakes", "push", "history", "history prune", "conflicts resolve TSHIRT-M", "conflicts resolve TSHIRT-M 7 --from-master",
		"conflicts resolve TSHIRT-M many", "conflicts resolve TSHIRT-M -2", "conflicts dismiss TSHIRT-M", "backlog accept fr TSHIRT-M", "forget fr",
		"reconcile --strategy Reset", "reconcile --strategy Rest", "reconcile --dry-run --strategy Push", "status -o csv", "audit -o xml",
		"runs follow TSHIRT-M", "stats", "status emea -t apac")
	wantAsked(t, w.agent)
}

func TestRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.says("GET /v1/status", agentapi.Status{})
	run := agentapi.Run{ID: 8, State: agentapi.Running, Sequence: 1, StartedAt: *ago(2 * time.Minute), Total: 32,
		Request: agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.DifferencesOnly}}
	half := run
	half.Sequence, half.Done, half.RemainingSeconds = 2, 16, 60
	half.Stores = []agentapi.RunStore{{StoreID: "hq", Done: 16, Total: 16}, {StoreID: "fr", Done: 0, Total: 16}}
	end := half
	end.Sequence, end.State, end.Done, end.FinishedAt, end.Message = 3, agentapi.Succeeded, 32, ago(time.Minute), "1 of 32 differed, 1 were put right"
	end.Stores = []agentapi.RunStore{{StoreID: "hq", Done: 16, Total: 16, Requests: 1}, {StoreID: "fr", Done: 16, Total: 16, Differing: 1, Written: 1, Requests: 2}}
	w.agent.says("POST /v1/runs", run)
	script := func() { w.agent.says("GET /v1/runs/8", []any{half, end}) }
	script()
	w.transcript("reconcile", "reconcile --sku TSHIRT-M --store fr")

	finding := agentapi.Finding{ID: 1, Class: agentapi.QuantityDiffers, Store: "fr", SKU: "TSHIRT-M", Shown: "9", Wanted: "6", Units: -3,
		Message: "shows 9 and should show 6"}
	audit := end
	audit.Request, audit.State, audit.Message = agentapi.RunRequest{Kind: agentapi.KindAudit}, agentapi.NeedsAttention, "32 compared: 1 Quantity"
	audit.Stores = []agentapi.RunStore{{StoreID: "hq", Done: 16, Total: 16, Requests: 1}, {StoreID: "fr", Done: 16, Total: 16, Differing: 1, Requests: 2}}
	audit.Counts = map[agentapi.FindingClass]int{agentapi.QuantityDiffers: 1}
	w.agent.says("POST /v1/runs", audit)
	w.agent.says("GET /v1/runs/8/findings", []agentapi.Finding{finding})
	w.agent.says("GET /v1/runs/8/findings?after=1&limit=1000", []agentapi.Finding{})
	w.transcript("audit", "audit", "audit -o csv", "audit -o junit", "audit -o json")
	w.agent.says("GET /v1/runs/8", audit)
	w.agent.took()
	out := w.run("audit", "--run", "8", "-o", "csv")
	if !strings.Contains(out, "Quantity,fr,TSHIRT-M,9,6,-3,") {
		t.Errorf("an earlier audit is not shown again:\n%s", out)
	}
	wantAsked(t, w.agent, "GET /v1/runs/8", "GET /v1/runs/8/findings?limit=1000", "GET /v1/runs/8/findings?after=1&limit=1000")

	w.agent.says("POST /v1/runs", end)
	w.agent.says("POST /v1/runs/8/cancel", end)
	for command, body := range map[string]string{
		"push TSHIRT-M TSHIRT-L":                 `{"kind":"Reconcile","strategy":"Push","skus":["TSHIRT-M","TSHIRT-L"]`,
		"reconcile --strategy Push":              `{"kind":"Reconcile","strategy":"Push",`,
		"reconcile --dry-run --wait=false":       `{"kind":"Reconcile","strategy":"DryRun",`,
		"reconcile --strategy Reset --yes-reset": `{"kind":"Reconcile","strategy":"Reset","confirmReset":true,`,
		"runs cancel 8":                          "",
	} {
		w.agent.took()
		if out, err := w.try(strings.Fields(command)...); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
		if asked := strings.Join(w.agent.took(), "\n"); !strings.Contains(asked, "POST /v1/runs") || !strings.Contains(asked, body) {
			t.Errorf("%s asks\n%s\nwant %s", command, asked, body)
		}
	}
}

// TestErrors: each says what to do next.
func TestErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.says("GET /v1/status", agentapi.Status{})
	w.agent.says("GET /v1/ping", answer{404, `there is no store "paris": the stores are fr, hq, it`})
	w.agent.says("GET /v1/breaker", answer{401, "a bearer token is needed"})
	w.agent.says("GET /v1/runs", answer{404, "404 page not found"})
	w.transcript("error_no_such_store", "ping paris")
	w.transcript("error_no_such_topology", "status apac", "ping -t apac")
	w.transcript("error_no_such_namespace", "status -n nowhere")
	w.transcript("error_token", "breaker")
	w.transcript("error_version", "runs")

	w.file = w.kubeconfig(serverConfig.Host)
	names := render.NamesOf("emea")
	w.route("emea", "")
	w.transcript("error_agent_silent", "ping")
	must(t, w.admin.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: names.Pod, Namespace: w.namespace}}, gracePeriod0))
	w.transcript("error_no_pod", "ping")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: names.Pod}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "agent"}}}}
	w.create(pod)
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/3 nodes are available: 3 Insufficient memory."}}
	must(t, w.admin.Status().Update(t.Context(), pod))
	w.transcript("error_pod_pending", "ping")
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
		Reason: "ImagePullBackOff", Message: "Back-off pulling image \"agent\""}}}}
	must(t, w.admin.Status().Update(t.Context(), pod))
	w.transcript("error_pod_waiting", "ping")
	must(t, w.admin.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "emea-agent-tools-write", Namespace: w.namespace}}))
	w.transcript("error_no_secret", "push TSHIRT-M")
	w.makeTopology("apac")
	w.transcript("error_several_topologies", "ping")

	w.file = w.kubeconfig("https://127.0.0.1:1")
	w.transcript("error_no_cluster", "ping")
	w.transcript("error_no_context", "ping --context prod")
	w.file = filepath.Join(t.TempDir(), "empty")
	must(t, os.WriteFile(w.file, nil, 0o600))
	w.transcript("error_no_kubeconfig", "ping")
}

// TestDocumentation: the page shows what the commands print.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "kubectl-stocksync.md"))
	must(t, err)
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	must(t, err)
	var known strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		known.Write(text)
	}
	shown := 0
	for i, block := range strings.Split(string(page), "```") {
		if i%2 == 0 || !strings.HasPrefix(block, "\n$ ") {
			continue
		}
		shown++
		if !strings.Contains(known.String(), strings.TrimSpace(block)) {
			t.Errorf("the page shows what no transcript has:\n%s", block)
		}
	}
	if shown < 10 {
		t.Errorf("the page shows %d commands", shown)
	}
}
