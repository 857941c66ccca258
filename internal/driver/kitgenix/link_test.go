package kitgenix

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"stocksync.dev/stocksync/internal/engine"
)

// linkTo is a link to a server that answers with a body, and what it was sent.
func linkTo(t *testing.T, role Role, status int, answer string) (*Link, *[]string) {
	t.Helper()
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sent = append(sent, string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(Options{URL: u, StoreID: "a", Secrets: func() []Secret { return []Secret{{Value: "x"}, {Value: "y"}, {Value: "z"}} },
		HTTP: server.Client().Transport, Now: func() time.Time { return at }, Log: logr.Discard()})
	return NewLink(client, role, at.Unix), &sent
}

// TestRow15AnyPageIsNoDelivery: only the plugin's own answer is one.
func TestRow15AnyPageIsNoDelivery(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		`{"ok":true,"processed":true}`: true,
		"<html>be back soon</html>":    false,
		`{"ok":false}`:                 false,
		`{}`:                           false,
		`[]`:                           false,
		"":                             false,
	} {
		l, _ := linkTo(t, RoleMaster, http.StatusOK, answer)
		if err := l.Send(t.Context(), engine.PeerEvent{ID: "1"}); (err == nil) != want {
			t.Errorf("%q is taken for %v", answer, err)
		}
	}
}

// TestRow06QueuesLoseLongEvents: the longest event is well below what generation 2 can queue, also with long SKUs.
func TestRow06QueuesLoseLongEvents(t *testing.T) {
	t.Parallel()
	l, sent := linkTo(t, RoleMaster, http.StatusOK, `{"ok":true}`)
	version, quantity := FirstVersion(at.UnixMicro(), 0), int64(123456)
	e := engine.PeerEvent{ID: "stocksync-00000000000000000000000000000001-123456789", Context: "stock_set"}
	for i := range engine.SendSize {
		e.Items = append(e.Items, engine.PeerItem{GID: "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", SKU: fmt.Sprintf("WAREHOUSE-%04d", i), Managed: engine.Own,
			Quantity: &quantity, Backorders: "notify", StockStatus: "onbackorder", Version: &version})
	}
	if err := l.Send(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if n := len((*sent)[0]); n > 8000 {
		t.Errorf("%d characters", n)
	}
}

// TestRow05VersionsOfAChild: as a master every item has its version, 0 included; as a child none has.
func TestRow05VersionsOfAChild(t *testing.T) {
	t.Parallel()
	version, none, quantity := int64(7), int64(0), int64(3)
	e := engine.PeerEvent{ID: "1", Items: []engine.PeerItem{{SKU: "A", Managed: engine.Own, Quantity: &quantity, Version: &version}, {SKU: "B", Managed: engine.Own, Version: &none}}}
	for role, want := range map[Role][]string{RoleMaster: {"7", "0"}, RoleChild: {"", ""}} {
		l, sent := linkTo(t, role, http.StatusOK, `{"ok":true}`)
		if err := l.Send(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		var body struct{ Items []map[string]json.RawMessage }
		if err := json.Unmarshal([]byte((*sent)[0]), &body); err != nil || len(body.Items) != 2 {
			t.Fatal(err, *sent)
		}
		for i, item := range body.Items {
			if string(item["version"]) != want[i] || string(item["manage_stock"]) != "true" {
				t.Errorf("%s sends %s", role, (*sent)[0])
			}
			if _, given := item["low_stock_amount"]; given {
				t.Errorf("a threshold that nobody set: %s", (*sent)[0])
			}
		}
		if _, given := body.Items[1]["stock_quantity"]; given {
			t.Errorf("a number that nobody gave: %s", (*sent)[0])
		}
	}
}

// TestRow10Rotation: a refused signature is tried once with one other secret, and then not soon again: twenty failures in
// ten minutes would lock us out.
func TestRow10Rotation(t *testing.T) {
	t.Parallel()
	l, sent := linkTo(t, RoleMaster, http.StatusUnauthorized, `{"code":"kss_auth_failed"}`)
	_, err := l.States(t.Context(), []string{"A"})
	f, ok := err.(*engine.Fault) //nolint:errorlint // as it is returned
	if !ok || !f.Unsent || f.RetryAfter < 2*time.Minute || len(*sent) != 2 {
		t.Errorf("%+v after %d requests", err, len(*sent))
	}
}

// TestRow22Answers: a threshold of 0 is not told from none, and what holds no whole number is no number.
func TestRow22Answers(t *testing.T) {
	t.Parallel()
	l, _ := linkTo(t, RoleMaster, http.StatusOK, `{"ok":true,"items":{"A":{"exists":true,"stock_quantity":"x","low_stock_amount":0,"manage_stock":true},
		"B":{"exists":true,"stock_quantity":"7","low_stock_amount":"2","manage_stock":"parent"},"C":{"exists":true,"stock_quantity":2,"manage_stock":false}}}`)
	states, err := l.States(t.Context(), []string{"A", "B", "C"})
	if err != nil {
		t.Fatal(err)
	}
	if s := states["A"]; !s.Unreadable || s.LowStockAmount != nil || s.Managed != engine.Own {
		t.Errorf("A: %+v", s)
	}
	if s := states["B"]; s.Unreadable || s.Quantity != 7 || s.LowStockAmount == nil || *s.LowStockAmount != 2 || s.Managed != engine.Shared {
		t.Errorf("B: %+v", s)
	}
	if s := states["C"]; s.Managed != engine.Unmanaged {
		t.Errorf("C: %+v", s)
	}
	if e := (Event{ID: "1", Type: TypeRename, Time: 5, Items: []Item{{SKU: "N", OldSKU: "O", GID: "g"}}}).Inbound(); !e.Rename || e.Seconds != 5 || strings.Join([]string{e.Items[0].SKU, e.Items[0].OldSKU, e.Items[0].GID}, " ") != "N O g" {
		t.Errorf("%+v", e)
	}
}
