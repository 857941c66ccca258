package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

const testLedger = "00000000000000000000000000000001"

// settled is a world with so many shops and SKUs in which everything is enrolled and calm.
func settled(t *testing.T, shops, skus int) (*world, *agent) {
	t.Helper()
	w := newWorld(t, 1, story{name: "calm"})
	for len(w.shops) < shops {
		w.shops = append(w.shops, &shop{w: w, id: fmt.Sprintf("s%d", len(w.shops))})
	}
	w.shops, w.skus = w.shops[:shops], skus
	for _, s := range w.shops {
		s.items, s.orders, s.nextID = map[int64]*item{}, map[int64]*order{}, 1000
		for k := range skus {
			id := int64(firstObject + k)
			s.items[id] = &item{ref: ref(id), sku: fmt.Sprintf("SKU-%d", k), quantity: 20, modified: start,
				fields: stock.Values{stock.Backorders: "no", stock.LowStock: stock.None}}
		}
	}
	a := w.boot(testLedger, ledger.NewMemory(), w.all())
	w.run(start.Add(2 * time.Minute))
	return w, a
}

// startRun starts a run that must be accepted.
func startRun(t *testing.T, a *agent, req agentapi.RunRequest) agentapi.Run {
	t.Helper()
	r, err := a.engine.StartRun(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// finish lets time pass until the run has ended.
func finish(t *testing.T, w *world, a *agent, id int64) agentapi.Run {
	t.Helper()
	for range 1000 {
		w.run(w.now.Add(time.Second))
		r, err := a.engine.GetRun(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if r.State != agentapi.Running {
			return r
		}
	}
	t.Fatal("the run does not end")
	return agentapi.Run{}
}

func findings(t *testing.T, a *agent, id int64) []agentapi.Finding {
	t.Helper()
	all, err := a.engine.Findings(t.Context(), id, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// secretly changes a quantity so that no search by date finds it.
func secretly(s *shop, object, to int64) {
	modified := s.items[object].modified
	s.edit(object, to)
	s.items[object].modified = modified
}

func TestReconcilePutsRightWhatNoPollFinds(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 250)
	secretly(w.shops[1], firstObject+7, 3)
	secretly(w.shops[2], firstObject+201, 90)
	w.run(w.now.Add(5 * time.Minute))
	if w.shops[1].items[firstObject+7].quantity != 3 {
		t.Fatal("the edit was found without a reconcile: the test proves nothing")
	}
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile})
	if r.Total != 750 || r.Request.Strategy != agentapi.DifferencesOnly {
		t.Errorf("it begins as %+v", r)
	}
	r = finish(t, w, a, r.ID)
	if r.State != agentapi.Succeeded || r.Done != 750 || r.Counts[agentapi.QuantityDiffers] < 2 {
		t.Errorf("it ended as %+v", r)
	}
	for _, s := range r.Stores {
		if s.Done != 250 || s.Requests != 3 || s.Waiting != 0 {
			t.Errorf("store %+v", s)
		}
	}
	for _, s := range w.shops {
		if got := s.items[firstObject+7].quantity; got != 3 {
			t.Errorf("%s shows %d where 3 was counted", s.id, got)
		}
		if got := s.items[firstObject+201].quantity; got != 90 {
			t.Errorf("%s shows %d where 90 was counted", s.id, got)
		}
	}
	if found := findings(t, a, r.ID); len(found) < 2 || !slices.ContainsFunc(found, func(f agentapi.Finding) bool { return f.Store == "s1" && f.SKU == "SKU-7" && f.Units == 17 }) {
		t.Errorf("findings %+v", found)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 150)
	w.shops[0].sell(firstObject, 2)
	secretly(w.shops[1], firstObject+3, 5)
	writes := len(w.writes)
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.DryRun})
	w.shops[0].sell(firstObject+1, 2)
	for {
		now, err := a.engine.GetRun(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now.State != agentapi.Running {
			r = now
			break
		}
		if len(w.writes) != writes {
			t.Fatal("a store was written to during a dry run")
		}
		w.run(w.now.Add(10 * time.Millisecond))
	}
	if r.State != agentapi.Succeeded || r.Counts[agentapi.QuantityDiffers] == 0 || !strings.Contains(r.Message, "nothing was") {
		t.Errorf("it ended as %+v", r)
	}
	w.run(w.now.Add(2 * time.Minute))
	for _, s := range w.shops {
		if got := s.items[firstObject+1].quantity; got != 18 {
			t.Errorf("%s shows %d after the dry run, truth is 18", s.id, got)
		}
	}
}

func TestRunsAreRefusedWithWhatIsAllowed(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 3)
	for _, c := range []struct {
		req  agentapi.RunRequest
		is   error
		says string
	}{
		{agentapi.RunRequest{Kind: "Repair"}, engine.ErrInvalidRequest, "Reconcile or Audit"},
		{agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: "All"}, engine.ErrInvalidRequest, "DifferencesOnly"},
		{agentapi.RunRequest{Kind: agentapi.KindAudit, Strategy: agentapi.DryRun}, engine.ErrInvalidRequest, "no strategy"},
		{agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Reset}, engine.ErrInvalidRequest, "confirmReset"},
		{agentapi.RunRequest{Kind: agentapi.KindReconcile, ConfirmReset: true}, engine.ErrInvalidRequest, "Reset"},
		{agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Reset, ConfirmReset: true, Stores: []string{"s0"}}, engine.ErrInvalidRequest, "no stores"},
		{agentapi.RunRequest{Kind: agentapi.KindAudit, Stores: []string{"s9"}}, engine.ErrUnknown, "s0, s1"},
		{agentapi.RunRequest{Kind: agentapi.KindAudit, SKUs: []string{"SKU-1", "NO"}}, engine.ErrUnknown, `"NO"`},
	} {
		if _, err := a.engine.StartRun(t.Context(), c.req); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.req, err)
		}
	}
	first := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindAudit, RequestID: "one"})
	if again := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindAudit, RequestID: "one"}); again.ID != first.ID {
		t.Errorf("asked again it is run %d, not %d", again.ID, first.ID)
	}
	if _, err := a.engine.StartRun(t.Context(), agentapi.RunRequest{Kind: agentapi.KindAudit}); !errors.Is(err, engine.ErrRunInProgress) || !strings.Contains(err.Error(), "run 1") {
		t.Errorf("a second run: %v", err)
	}
	r, err := a.engine.CancelRun(t.Context(), first.ID)
	if err != nil || r.State != agentapi.Cancelled || r.FinishedAt == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	w.run(w.now.Add(time.Minute))
	second := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindAudit})
	if r := finish(t, w, a, second.ID); r.State != agentapi.Succeeded {
		t.Errorf("%+v", r)
	}
	runs, err := a.engine.Runs(t.Context())
	if err != nil || len(runs) != 2 || runs[0].ID != second.ID {
		t.Errorf("%+v, %v", runs, err)
	}
}

// A run goes on after a crash where it was, and asks no store twice for what it has dealt with.
func TestReconcileGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 1000)
	secretly(w.shops[1], firstObject+5, 3)
	secretly(w.shops[1], firstObject+905, 4)
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile})
	for done := 0; done < 500; {
		w.run(w.now.Add(100 * time.Millisecond))
		now, err := a.engine.GetRun(t.Context(), r.ID)
		if err != nil || now.State != agentapi.Running {
			t.Fatalf("%+v, %v", now, err)
		}
		done = now.Done
	}
	books := a.ledger
	a.crash()
	w.run(w.now.Add(10 * time.Second))
	a = w.boot(testLedger, books, w.all())
	r = finish(t, w, a, r.ID)
	if r.State != agentapi.Succeeded || r.Done != 2000 || r.Counts[agentapi.QuantityDiffers] < 1 {
		t.Errorf("%+v", r)
	}
	for _, s := range r.Stores {
		if s.Requests > 11 {
			t.Errorf("store %s was asked %d times for 10 batches", s.StoreID, s.Requests)
		}
	}
	if w.shops[0].items[firstObject+905].quantity != 4 {
		t.Error("what differed behind the crash was not put right")
	}
}

func TestAuditTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 120)
	fr, de := w.shops[1], w.shops[2]
	secretly(fr, firstObject+1, 7)
	fr.items[firstObject+2].deleted = true
	fr.items[5000] = &item{ref: ref(5000), sku: "SKU-3", quantity: 9, modified: start}
	fr.items[firstObject+4].sku = "OTHER"
	fr.items[firstObject+5].fields[stock.Backorders] = "yes"
	fr.items[firstObject+6].fields[stock.LowStock] = "3"
	de.down = true
	w.shops[0].sell(firstObject+9, 1)
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindAudit})
	r = finish(t, w, a, r.ID)
	want := map[agentapi.FindingClass]int{agentapi.QuantityDiffers: 1, agentapi.MissingProduct: 1, agentapi.DuplicateSKU: 1, agentapi.IdentityMismatch: 1, agentapi.StoreUnreachable: 1,
		agentapi.BackordersDiffer: 1, agentapi.LowStockDiffers: 1}
	if r.State != agentapi.NeedsAttention {
		t.Errorf("it ended as %+v", r)
	}
	for class, n := range want {
		if r.Counts[class] != n {
			t.Errorf("%d findings of %s, want %d", r.Counts[class], class, n)
		}
	}
	if t.Failed() {
		t.Logf("%s; %+v", r.Message, findings(t, a, r.ID))
	}
	if fr.items[firstObject+1].quantity != 7 {
		t.Error("the audit put something right")
	}
}

func TestAuditKnowsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 3)
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindAudit})
	w.shops[1].sell(firstObject, 1)
	r = finish(t, w, a, r.ID)
	if r.State != agentapi.Succeeded {
		t.Errorf("%+v", r)
	}
	if left := w.now.Sub(start); left > time.Hour {
		t.Errorf("it took until %v", left)
	}
}

func TestResetTakesTheMastersNumber(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 4)
	// A feed stops the SKU, and the master is set right by hand.
	w.shops[0].edit(firstObject, 70)
	w.shops[1].edit(firstObject, 70)
	w.run(w.now.Add(2 * time.Minute))
	w.shops[0].edit(firstObject, 33)
	w.run(w.now.Add(2 * time.Minute))
	if w.shops[1].items[firstObject].quantity == 33 {
		t.Fatal("the SKU was not stopped: the test proves nothing")
	}
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Reset, ConfirmReset: true})
	r = finish(t, w, a, r.ID)
	if r.State != agentapi.Succeeded {
		t.Errorf("%+v", r)
	}
	for _, s := range w.shops {
		if got := s.items[firstObject].quantity; got != 33 {
			t.Errorf("%s shows %d, the master had 33", s.id, got)
		}
	}
}

// The strategy Push writes every item once, with a marker, and no quantity that did not differ.
func TestPushWritesEverythingOnce(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 150)
	if w.shops[1].items[firstObject+9].markers[0].Ledger != "" {
		t.Fatal("the item carries a marker already: the test proves nothing")
	}
	w.shops[0].sell(firstObject, 2)
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile, Strategy: agentapi.Push})
	for range 20 {
		w.shops[1].sell(firstObject+1, 1)
		w.run(w.now.Add(100 * time.Millisecond))
	}
	r = finish(t, w, a, r.ID)
	w.run(w.now.Add(time.Minute))
	writes := len(w.writes)
	w.run(w.now.Add(10 * time.Minute))
	if r.State != agentapi.Succeeded || len(w.writes) != writes {
		t.Errorf("%+v; %d writes after it", r, len(w.writes)-writes)
	}
	for _, s := range w.shops {
		for object, it := range s.items {
			want := map[int64]int64{firstObject: 18, firstObject + 1: 0}
			if n, ok := want[object]; it.quantity != n && (ok || it.quantity != 20) {
				t.Errorf("%s: %s shows %d", s.id, it.sku, it.quantity)
			}
			if !slices.ContainsFunc(it.markers[:], func(m stock.Marker) bool { return m.Ledger == testLedger }) {
				t.Errorf("%s: %s carries no marker", s.id, it.sku)
			}
		}
	}
	if rows, err := a.ledger.Conflicts(t.Context()); err != nil || len(rows) != 0 {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestForgetRemovesOurMarkers(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 3)
	w.shops[0].sell(firstObject, 1)
	w.run(w.now.Add(time.Minute))
	fr := w.shops[1]
	if fr.items[firstObject].markers[0].Ledger == "" {
		t.Fatal("nothing was marked: the test proves nothing")
	}
	if _, err := a.engine.Forget(context.Background(), fr.id); !errors.Is(err, engine.ErrInvalidRequest) || !strings.Contains(err.Error(), "Observe or Off") {
		t.Errorf("in mode Sync: %v", err)
	}
	for _, mode := range []engine.Mode{engine.Off, engine.Observe} {
		last := len(fr.items[firstObject+1].markers) - 1
		fr.items[firstObject+1].markers[last] = fr.items[firstObject].markers[0]
		fr.items[firstObject+1].markers[last].Ledger = testLedger
		a.configureMode(map[string]engine.Mode{fr.id: mode})
		n, ferr := -1, error(nil)
		w.start(a, func() { n, ferr = a.engine.Forget(context.Background(), fr.id) })
		w.run(w.now.Add(time.Minute))
		if ferr != nil || n < 1 {
			t.Fatalf("%s: %d, %v", mode, n, ferr)
		}
		for _, it := range fr.items {
			for _, m := range it.markers {
				if m.Ledger != "" {
					t.Errorf("%s: %s still carries %+v", mode, it.sku, m)
				}
			}
		}
	}
	a.configure(w.all())
	w.run(w.now.Add(2 * time.Minute))
	w.shops[0].sell(firstObject, 1)
	w.run(w.now.Add(time.Minute))
	if got := fr.items[firstObject].quantity; got != 18 {
		t.Errorf("taken up anew it shows %d, truth is 18", got)
	}
}

func TestBreakerHoldsALargeChange(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 200)
	for k := range 100 {
		w.shops[0].edit(int64(firstObject+k), 0)
	}
	w.run(w.now.Add(2 * time.Minute))
	b, err := a.engine.Breaker(t.Context())
	if err != nil || b == nil {
		t.Fatalf("it did not trip: %v", err)
	}
	if b.Zeroed != 100 || b.Of != 200 || b.Store != "s0" || b.TripID == "" {
		t.Errorf("%+v", b)
	}
	for k := range 100 {
		if got := w.shops[1].items[int64(firstObject+k)].quantity; got != 20 {
			t.Fatalf("a change was written before it was judged: %d", got)
		}
	}
	// Sales are counted meanwhile, and a restart changes nothing.
	w.shops[1].sell(firstObject+150, 3)
	books := a.ledger
	a.crash()
	w.run(w.now.Add(time.Second))
	a = w.boot(testLedger, books, w.all())
	w.run(w.now.Add(2 * time.Minute))
	if got := w.shops[2].items[firstObject+150].quantity; got != 20 {
		t.Errorf("something was written while the breaker held: %d", got)
	}
	if err := a.engine.ApproveTrip(t.Context(), "0123"); !errors.Is(err, engine.ErrUnknown) || !strings.Contains(err.Error(), b.TripID) {
		t.Errorf("another id: %v", err)
	}
	if err := a.engine.ApproveTrip(t.Context(), b.TripID); err != nil {
		t.Fatal(err)
	}
	w.run(w.now.Add(2 * time.Minute))
	for _, s := range w.shops {
		if got := s.items[firstObject].quantity; got != 0 {
			t.Errorf("%s shows %d after the approval", s.id, got)
		}
		if got := s.items[firstObject+150].quantity; got != 17 {
			t.Errorf("%s shows %d, 17 are left", s.id, got)
		}
	}
	if now, err := a.engine.Breaker(t.Context()); now != nil || err != nil {
		t.Errorf("it tripped again: %+v, %v", now, err)
	}
	if err := a.engine.ApproveTrip(t.Context(), b.TripID); !errors.Is(err, engine.ErrUnknown) {
		t.Errorf("the old id again: %v", err)
	}
}

func TestBreakerLetsOrdinaryWorkThrough(t *testing.T) {
	t.Parallel()
	t.Run("a change of few SKUs", func(t *testing.T) {
		t.Parallel()
		w, a := settled(t, 2, 200)
		for k := range 19 {
			w.shops[0].edit(int64(firstObject+k), 0)
		}
		w.run(w.now.Add(time.Minute))
		if b, err := a.engine.Breaker(t.Context()); b != nil || err != nil || w.shops[1].items[firstObject].quantity != 0 {
			t.Errorf("it held a small change: %+v, %v", b, err)
		}
	})
	t.Run("a change within the share is only waited for", func(t *testing.T) {
		t.Parallel()
		w, a := settled(t, 2, 200)
		for k := range 30 {
			w.shops[0].edit(int64(firstObject+k), 0)
		}
		w.run(w.now.Add(2 * time.Minute))
		if b, err := a.engine.Breaker(t.Context()); b != nil || err != nil || w.shops[1].items[firstObject].quantity != 0 {
			t.Errorf("it held a change of 15%%: %+v, %v", b, err)
		}
	})
	t.Run("a child that joins with other numbers", func(t *testing.T) {
		t.Parallel()
		w, a := settled(t, 2, 100)
		s := &shop{w: w, id: "s2", items: map[int64]*item{}, orders: map[int64]*order{}}
		for k := range 100 {
			id := int64(firstObject + k)
			s.items[id] = &item{ref: ref(id), sku: fmt.Sprintf("SKU-%d", k), quantity: 1, modified: start}
		}
		w.shops = append(w.shops, s)
		a.configure(w.all())
		w.run(w.now.Add(2 * time.Minute))
		if b, err := a.engine.Breaker(t.Context()); b != nil || err != nil || s.items[firstObject].quantity != 20 {
			t.Errorf("the child shows %d; %+v, %v", s.items[firstObject].quantity, b, err)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		t.Parallel()
		w, a := settled(t, 2, 100)
		a.engine.SetLimits(engine.Limits{Breaker: stock.Breaker{Disabled: true}})
		for k := range 100 {
			w.shops[0].edit(int64(firstObject+k), 0)
		}
		w.run(w.now.Add(2 * time.Minute))
		if b, err := a.engine.Breaker(t.Context()); b != nil || err != nil || w.shops[1].items[firstObject].quantity != 0 {
			t.Errorf("switched off it held a change: %+v, %v", b, err)
		}
	})
}

// What a shop is told not to sell any more by a buffer is a change as well.
func TestBreakerHoldsAConfigurationThatZeroes(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 100)
	a.buffer = 1000
	a.configure(w.all())
	w.run(w.now.Add(time.Minute))
	b, err := a.engine.Breaker(t.Context())
	if err != nil || b == nil || b.Zeroed != 100 {
		t.Fatalf("%+v, %v", b, err)
	}
	if got := w.shops[1].items[firstObject].quantity; got != 20 {
		t.Errorf("the child shows %d already", got)
	}
}

func TestWaitRunAnswersWithNews(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 300)
	r := startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindAudit})
	var seen []agentapi.Run
	w.start(a, func() {
		for now := r; now.State == agentapi.Running; seen = append(seen, now) {
			var err error
			if now, err = a.engine.WaitRun(context.Background(), now.ID, now.Sequence); err != nil {
				t.Error(err)
				return
			}
		}
	})
	w.run(w.now.Add(5 * time.Minute))
	if len(seen) == 0 || seen[len(seen)-1].State != agentapi.Succeeded {
		t.Fatalf("%+v", seen)
	}
	for i, s := range seen {
		if i > 0 && (s.Sequence <= seen[i-1].Sequence || s.Done < seen[i-1].Done) {
			t.Errorf("after %+v came %+v", seen[i-1], s)
		}
	}
	if _, err := a.engine.WaitRun(t.Context(), 99, 0); !errors.Is(err, engine.ErrUnknown) {
		t.Errorf("a run that is not there: %v", err)
	}
}

// Excluded SKUs are in no run: not read, not missed, not written.
func TestRunsLeaveExcludedSKUsAlone(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 5)
	a.excluded = "sku-3"
	a.configure(w.all())
	w.run(w.now.Add(time.Minute))
	for _, s := range w.shops {
		secretly(s, firstObject+3, int64(len(s.id))+50)
	}
	w.shops[0].items[firstObject+3].quantity = 99
	for _, req := range []agentapi.RunRequest{{Kind: agentapi.KindAudit}, {Kind: agentapi.KindReconcile}, {Kind: agentapi.KindAudit, SKUs: []string{"SKU-3"}},
		{Kind: agentapi.KindReconcile, Strategy: agentapi.Reset, ConfirmReset: true}, {Kind: agentapi.KindReconcile, Strategy: agentapi.Push}} {
		r := finish(t, w, a, startRun(t, a, req).ID)
		if r.State != agentapi.Succeeded || len(findings(t, a, r.ID)) != 0 {
			t.Errorf("%+v: %+v", req, r)
		}
	}
	if got := w.shops[0].items[firstObject+3].quantity; got != 99 {
		t.Errorf("an excluded SKU was written: %d", got)
	}
}

func TestRescanAndRetry(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 3)
	fr := w.shops[1]
	fr.items[5000] = &item{ref: ref(5000), sku: "SKU-1", quantity: 9, modified: start}
	w.run(w.now.Add(5 * time.Minute))
	if err := a.engine.Rescan("nowhere"); !errors.Is(err, engine.ErrUnknown) || !strings.Contains(err.Error(), "s0, s1") {
		t.Errorf("%v", err)
	}
	if err := a.engine.Rescan("s1"); err != nil {
		t.Fatal(err)
	}
	w.run(w.now.Add(10 * time.Second))
	if rows, err := a.ledger.Conflicts(t.Context()); err != nil || len(rows) != 1 || rows[0].Kind != stock.Duplicate {
		t.Errorf("after a rescan: %+v, %v", rows, err)
	}
	fr.down = true
	w.run(w.now.Add(30 * time.Minute))
	fr.down = false
	w.shops[0].sell(firstObject, 1)
	if err := a.engine.Retry(); err != nil {
		t.Fatal(err)
	}
	w.run(w.now.Add(15 * time.Second))
	if got := fr.items[firstObject].quantity; got != 19 {
		t.Errorf("15 seconds after a retry the shop shows %d", got)
	}
}

// A store that does not answer does not keep a run from ending, and the others are put right.
func TestReconcileGoesOnWithoutAStoreThatFails(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 3, 120)
	w.shops[2].down = true
	w.shops[0].sell(firstObject, 4)
	r := finish(t, w, a, startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile}).ID)
	if r.State != agentapi.NeedsAttention || r.Counts[agentapi.StoreUnreachable] != 1 || r.Stores[2].Error == "" || !strings.Contains(r.Message, "s2") {
		t.Errorf("%+v", r)
	}
	if got := w.shops[1].items[firstObject].quantity; got != 16 {
		t.Errorf("s1 shows %d", got)
	}
}

// A store in mode Observe is read and reported on; nothing is written to it, and nobody is called.
func TestReconcileInObserveOnlyReports(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 3)
	a.configureMode(map[string]engine.Mode{"s1": engine.Observe})
	w.shops[0].sell(firstObject, 4)
	w.run(w.now.Add(time.Minute))
	r := finish(t, w, a, startRun(t, a, agentapi.RunRequest{Kind: agentapi.KindReconcile}).ID)
	if r.State != agentapi.Succeeded || r.Stores[1].Differing != 1 || r.Stores[1].Waiting != 1 || !strings.Contains(r.Message, "not in mode Sync") {
		t.Errorf("%+v", r)
	}
	if got := w.shops[1].items[firstObject].quantity; got != 20 {
		t.Errorf("s1 shows %d", got)
	}
}

// A rush of sales that empties shelf after shelf, without a pause, does not hold everything back for long.
func TestBreakerDoesNotStopARush(t *testing.T) {
	t.Parallel()
	w, _ := settled(t, 2, 600)
	for k := range 60 {
		w.after(time.Duration(k)*3*time.Second, func() { w.shops[0].sell(int64(firstObject+k), 20) })
	}
	w.run(w.now.Add(150 * time.Second))
	if got := w.shops[1].items[firstObject+25].quantity; got != 0 {
		t.Errorf("75 seconds after it was sold out, the other shop sells %d of it", got)
	}
}
