//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// operatorNamespace is where config/default puts the operator.
const operatorNamespace = "stocksync-system"

// write is what the API server's audit log says of one.
type write struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Received time.Time `json:"requestReceivedTimestamp"`
}

// Once settled, the operator writes leases, asks who is calling, and says now and then that it is alive: nothing else.
func TestSettledWritesNothing(t *testing.T) {
	log := os.Getenv("E2E_AUDIT_LOG")
	if log == "" {
		t.Fatal("E2E_AUDIT_LOG must name the API server's audit log; without one leave this test out with -skip TestSettledWritesNothing")
	}
	openWorld(t).statusAgrees(t)
	heartbeat := func() time.Time {
		var sst v1alpha1.StockSyncTopology
		if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: topology}, &sst); err != nil {
			t.Fatal(err)
		}
		if sst.Status.LastHeartbeatTime == nil {
			return time.Time{}
		}
		return sst.Status.LastHeartbeatTime.Time
	}
	next := func(after time.Time) (beat time.Time) {
		eventually(t, 90*time.Second, "next heartbeat", func() error {
			if beat = heartbeat(); !beat.After(after) {
				return notYet("the last one is still %s", after)
			}
			return nil
		})
		return beat
	}
	// What the tests before changed may take a heartbeat to be written down.
	begin := next(heartbeat())
	from := time.Now()
	next(next(begin))
	until := time.Now()

	beats := map[string]int{}
	for _, w := range writesOf(t, log, "system:serviceaccount:"+operatorNamespace+":") {
		if w.Received.Before(from) || w.Received.After(until) {
			continue
		}
		object := fmt.Sprintf("%s/%s %s/%s", w.Object.Resource, w.Object.Subresource, w.Object.Namespace, w.Object.Name)
		switch w.Object.Resource {
		case "leases", "tokenreviews", "subjectaccessreviews":
			continue
		case "stocksynctopologies", "childstores":
			if w.Object.Subresource == "status" {
				beats[object]++
				continue
			}
		}
		t.Errorf("%s: %s %s", w.Received.Format(time.TimeOnly), w.Verb, object)
	}
	if len(beats) == 0 {
		t.Error("the audit log shows no heartbeat: it is not the log of this cluster")
	}
	for object, n := range beats {
		if n > 3 {
			t.Errorf("%s was written %d times in two heartbeats", object, n)
		}
	}
}

func writesOf(t *testing.T, log, userPrefix string) []write {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var writes []write
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var w write
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			continue // the line being written right now
		}
		if strings.HasPrefix(w.User.Username, userPrefix) {
			writes = append(writes, w)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return writes
}
