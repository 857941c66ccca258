package katana

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	sim "stocksync.dev/stocksync/internal/sim/katana"
)

// TestProbe: the checks say how far a connection comes, and nothing in the account is changed.
func TestProbe(t *testing.T) {
	t.Parallel()
	const reached = "DNS TCP TLS RESTAPI "
	told := func(c *Client) string {
		var out []string
		for _, check := range c.Probe(t.Context()) {
			name := check.Name
			if !check.OK {
				name += "=" + check.Reason
			}
			if check.OK == (check.Message != "") {
				t.Errorf("%s says %q", name, check.Message)
			}
			out = append(out, name)
		}
		return strings.Join(out, " ")
	}
	l := newLab(t)
	l.items(2)
	if got := told(l.c); got != reached+"Authentication ReadProducts ReadOrders" {
		t.Errorf("well: %s", got)
	}
	if got := told(l.client("expired")); got != reached+"Authentication=AuthenticationFailed" {
		t.Errorf("expired key: %s", got)
	}
	l.account.SetBehaviour(sim.Behaviour{NoAPI: 403})
	if got := told(l.c); got != reached+"Authentication=PlanWithoutAPI" {
		t.Errorf("no API: %s", got)
	}
	l.account.SetBehaviour(sim.Behaviour{})
	l.account.Inject(sim.Fault{Kind: sim.FaultStatus, Status: 500, Path: "sales_orders"})
	if got := told(l.c); got != reached+"Authentication ReadProducts ReadOrders=ServerError" {
		t.Errorf("orders fail: %s", got)
	}
	if got := told(cannedClient(t, canned{err: &net.OpError{Op: "dial", Err: errors.New("refused")}})); got != "DNS TCP=Unreachable" {
		t.Errorf("nobody there: %s", got)
	}
}

// TestObserve: every request is told once, with the time it took and how it ended.
func TestObserve(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var all, writes, failed int
	c := l.client("expired")
	c.Observe(func(write bool, took time.Duration, err error) {
		all++
		if write {
			writes++
		}
		if err != nil && faultOf(t, err).Reason != "" && took > 0 {
			failed++
		}
	})
	_, _ = c.Subscribe(t.Context(), "https://sync.example.com/webhooks/katana/erp")
	l.account.SetKeys("expired")
	_, err := c.Subscribe(t.Context(), "https://sync.example.com/webhooks/katana/erp")
	must(t, err)
	if all != 3 || writes != 1 || failed != 1 {
		t.Errorf("told of %d requests, %d writes, %d failed; want 3, 1, 1", all, writes, failed)
	}
}
