package engine_test

import (
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// One item gives a restored shop away; the others, which carry the backup's dates, are set right within minutes, too.
func TestRestoredShopIsReadAsAWhole(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 3)
	s := w.shops[1]
	s.snapshot()
	for k := range int64(3) {
		w.shops[0].sell(firstObject+k, 5)
	}
	w.run(w.now.Add(10 * time.Minute))
	s.restore()
	w.shops[0].sell(firstObject, 1)
	w.run(w.now.Add(2 * time.Minute))
	for k, want := range []int64{14, 15, 15} {
		if q := s.items[firstObject+int64(k)].quantity; q != want {
			t.Errorf("SKU-%d shows %d in the restored shop, want %d", k, q, want)
		}
	}
	rows, err := a.ledger.Conflicts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Kind != stock.RestoredShop {
			t.Errorf("unexpected row %s: %s", r.Kind, r.Evidence)
		}
	}
	if len(rows) != 3 {
		t.Errorf("%d rows, want one for each SKU", len(rows))
	}
}

// Units that an order holds no more, though its date did not move, are given back with a row that names them.
func TestUnitsGivenBackWithoutADateHaveARow(t *testing.T) {
	t.Parallel()
	w, a := settled(t, 2, 1)
	s := w.shops[1]
	s.sell(firstObject, 2)
	w.run(w.now.Add(20 * time.Second))
	o := s.orders[s.nextID]
	modified := o.modified
	s.giveBack(o, 2)
	w.run(w.now.Add(time.Second))
	o.modified = modified
	w.run(w.now.Add(5 * time.Minute))
	if units := poolUnits(t, a); units != 20 {
		t.Errorf("the pool is %d", units)
	}
	rows, err := a.ledger.Conflicts(t.Context())
	if err != nil || len(rows) != 1 || rows[0].Units != -2 || !strings.Contains(rows[0].Evidence, "was not modified since") {
		t.Errorf("rows %+v %v", rows, err)
	}
}
