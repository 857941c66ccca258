package agentclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"stocksync.dev/stocksync/internal/agentapi"
)

// hurried is a clock on which every pause is short.
type hurried struct{ clock.RealClock }

func (h hurried) NewTimer(time.Duration) clock.Timer { return h.RealClock.NewTimer(time.Millisecond) }

// script is an agent that gives prepared answers, one after the other, and the last one for ever. It keeps what it
// was asked.
type script struct {
	mu      sync.Mutex
	answers []func(http.ResponseWriter)
	asked   []string
	auth    []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	s.auth = append(s.auth, r.Header.Get("Authorization"))
	answer := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	s.mu.Unlock()
	answer(w)
}

func (s *script) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func says(v any) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _ = json.NewEncoder(w).Encode(v) }
}

func refuses(status int, text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { http.Error(w, text, status) }
}

// dies cuts the connection, as an agent does that is killed.
func dies(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func scripted(t *testing.T, answers ...func(http.ResponseWriter)) (*Client, *script) {
	t.Helper()
	s := &script{answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c := New(server.Client(), server.URL+"/", "secret-token")
	c.clock = hurried{}
	return c, s
}

func run(id, sequence int64, state agentapi.RunState) agentapi.Run {
	return agentapi.Run{ID: id, Sequence: sequence, State: state}
}

// A run is followed across a restart of the agent, and every change is told once.
func TestFollowAcrossARestart(t *testing.T) {
	t.Parallel()
	c, s := scripted(t,
		says(run(4, 2, agentapi.Running)), dies, refuses(503, "the agent is starting"), refuses(429, "too many"),
		says(run(4, 2, agentapi.Running)), says(run(4, 3, agentapi.Running)), says(run(4, 4, agentapi.NeedsAttention)))
	var told []int64
	last, err := c.Follow(t.Context(), run(4, 1, agentapi.Running), func(r agentapi.Run) { told = append(told, r.Sequence) })
	if err != nil || last.State != agentapi.NeedsAttention || !slices.Equal(told, []int64{1, 2, 3, 4}) {
		t.Errorf("%+v %v, told %v", last, err, told)
	}
	if q := s.questions(); q[0] != "GET /v1/runs/4?sequence=1&wait=25" || s.auth[0] != "Bearer secret-token" {
		t.Errorf("%q", q)
	}
}

func TestFollowEndsWithWhatStays(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, refuses(404, "there is no run 4"))
	if _, err := c.Follow(t.Context(), run(4, 1, agentapi.Running), nil); err == nil || err.Error() != "there is no run 4" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	c, _ = scripted(t, refuses(503, "starting"))
	gone := errors.New("the person left")
	cancel(gone)
	if _, err := c.Follow(ctx, run(4, 1, agentapi.Running), nil); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// Two Jobs may come due at the same minute: the second waits its turn.
func TestStartWaitsItsTurn(t *testing.T) {
	t.Parallel()
	c, s := scripted(t,
		refuses(409, "run 6 (Audit) is in progress"), says([]agentapi.Run{run(6, 1, agentapi.Running), run(5, 9, agentapi.Succeeded)}),
		says(run(6, 2, agentapi.Succeeded)), says(run(7, 1, agentapi.Running)))
	var waited []int64
	got, err := c.Start(t.Context(), agentapi.RunRequest{Kind: agentapi.KindReconcile}, func(r agentapi.Run) { waited = append(waited, r.ID) })
	if err != nil || got.ID != 7 || !slices.Equal(waited, []int64{6}) {
		t.Errorf("%+v %v, waited for %v", got, err, waited)
	}
	q := s.questions()
	if len(q) != 4 || q[0] != q[3] || !strings.Contains(q[0], `"requestID":"`) {
		t.Errorf("%q", q)
	}
	c, _ = scripted(t, refuses(409, "the markers of a store are being removed"), says([]agentapi.Run{}))
	if _, err := c.Start(t.Context(), agentapi.RunRequest{}, nil); err == nil {
		t.Error("a conflict with something else must end")
	}
	c, s = scripted(t, refuses(400, "there is no store"))
	if _, err := c.Start(t.Context(), agentapi.RunRequest{}, nil); err == nil || len(s.questions()) != 1 {
		t.Errorf("a wrong request was sent again: %v", err)
	}
}

func TestPagesAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	c, s := scripted(t, says([]agentapi.Finding{{ID: 1}, {ID: 4}}), says([]agentapi.Finding{{ID: 5}}), says([]agentapi.Finding{}))
	var ids []int64
	for f, err := range c.Findings(t.Context(), 3) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, f.ID)
	}
	want := []string{"GET /v1/runs/3/findings?limit=1000", "GET /v1/runs/3/findings?after=4&limit=1000", "GET /v1/runs/3/findings?after=5&limit=1000"}
	if q := s.questions(); !slices.Equal(ids, []int64{1, 4, 5}) || !slices.Equal(q, want) {
		t.Errorf("%v %q", ids, q)
	}
	c, _ = scripted(t, says([]agentapi.BacklogItem{{SKU: "A", Cursor: "fr/1"}}), refuses(500, "the disk is gone"))
	n := 0
	for _, err := range c.Backlog(t.Context(), "fr") {
		if n++; (err != nil) != (n == 2) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestAnswersThatAreNotTheAgents(t *testing.T) {
	t.Parallel()
	for want, answer := range map[string]func(http.ResponseWriter){
		"this needs the write token":            refuses(403, "this needs the write token"),
		"something else than the agent answers": refuses(502, "<html>Bad Gateway</html>"),
		"use the version of the running agent":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, "[1]") },
		"something else than the agent answers: HT": func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://elsewhere.example")
			w.WriteHeader(302)
		},
	} {
		s := &script{answers: []func(http.ResponseWriter){answer}}
		server := httptest.NewServer(s)
		c := New(direct(server.Client().Transport), server.URL, "secret-token")
		_, err := c.Status(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%v", err)
		}
		server.Close()
		_, err = c.Status(t.Context())
		if _, ok := errors.AsType[*UnreachableError](err); !ok || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%v", err)
		}
	}
	if _, err := Socket(t.TempDir()).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "start it with `agent run`") {
		t.Errorf("%v", err)
	}
	for base, ca := range map[string]string{"http://agent:8443": "", "agent": "", "https://agent:8443": "no PEM"} {
		if _, err := TLS(base, []byte(ca), "x"); err == nil {
			t.Errorf("%s was taken", base)
		}
	}
}
