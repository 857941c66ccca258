package stock_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stocksync.dev/stocksync/internal/stock"
)

// field is one item of a shop whose fields people and we set; its clock is everybody's.
type field struct {
	p      stock.Placement
	pol    stock.Policy
	values stock.Values
	at     time.Time
	// flying are writes whose request is on its way still.
	flying []stock.Values
}

func managed(backorders, low string) stock.Values {
	return stock.Values{stock.Backorders: backorders, stock.LowStock: low, stock.Status: stock.InStock, stock.Management: stock.Yes}
}

func newField(store string, master bool, values stock.Values) *field {
	return &field{p: stock.Placement{Store: store, Pool: 1, SKU: "MUG", Enrolled: values[stock.Management] == stock.Yes, Blocked: map[string]string{stock.No: string(stock.Unmanaged)}[values[stock.Management]]},
		pol: stock.Policy{Master: master}, values: values, at: began}
}

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (f *field) reading() stock.FieldReading {
	return stock.FieldReading{Values: f.values, Quantity: 5, Modified: f.at, At: f.at}
}

func (f *field) read(pool *stock.Pool, now time.Time) []stock.Entry {
	entries := stock.MergeFields(pool, &f.p, f.reading(), true, f.pol, now)
	stock.Plan(*pool, &f.p, f.pol, now)
	return entries
}

func (f *field) set(v stock.Values, at time.Time) {
	for i, text := range v {
		if text != "" {
			f.values[i] = text
		}
	}
	f.at = at
}

// push writes what is due and takes the answer in.
func (f *field) push(pool *stock.Pool, now time.Time) []stock.Entry {
	stock.Plan(*pool, &f.p, f.pol, now)
	if !stock.MayWriteFields(*pool, f.p) {
		return nil
	}
	wrote := stock.BeginFields(&f.p, now)
	f.set(wrote, now)
	return f.answered(pool, wrote, now)
}

func (f *field) answered(pool *stock.Pool, wrote stock.Values, now time.Time) []stock.Entry {
	entries := stock.AnsweredFields(pool, &f.p, wrote, f.p.Shelf.Rederive, f.reading(), true, f.pol, now)
	stock.Plan(*pool, &f.p, f.pol, now)
	return entries
}

// TestTheNewestChangeHolds: whatever is set where, in whatever order it is read, and however late our own writes
// land: in the end all stores show one value, and it is the newest, or one set within seconds of it.
func TestTheNewestChangeHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pool := &stock.Pool{ID: 1, Set: true}
		now := began.Add(time.Minute)
		var stores []*field
		for i := range rapid.IntRange(2, 4).Draw(t, "stores") {
			f := newField(string(rune('a'+i)), i == 0, managed(rapid.SampledFrom([]string{"no", "yes"}).Draw(t, "first"), stock.None))
			f.read(pool, now)
			stores = append(stores, f)
		}
		one := rapid.SampledFrom(stores)
		conflicts := 0
		note := func(entries []stock.Entry) {
			for _, e := range entries {
				if e.Conflict {
					conflicts++
				}
			}
		}
		newest, value := time.Time{}, pool.Registers[stock.LowStock].Value
		changes := 0
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { now = now.Add(5 * time.Second) },
			"set": func(t *rapid.T) {
				f := one.Draw(t, "store")
				v := rapid.SampledFrom([]string{stock.None, "0", "1", "7"}).Draw(t, "value")
				// A person who has not been read yet would be overwritten unseen, and undoing a write that nobody
				// has read is not seen either.
				if changes == 5 || f.values[stock.LowStock] == v || f.values[stock.LowStock] != f.p.Shelf.Seen[stock.LowStock] {
					return
				}
				changes++
				f.set(stock.Values{stock.LowStock: v}, now)
				newest, value = now, v
				note(f.read(pool, now))
			},
			"read": func(t *rapid.T) { f := one.Draw(t, "store"); note(f.read(pool, now)) },
			"push": func(t *rapid.T) { f := one.Draw(t, "store"); note(f.read(pool, now)); note(f.push(pool, now)) },
			"push in vain": func(t *rapid.T) {
				f := one.Draw(t, "store")
				stock.Plan(*pool, &f.p, f.pol, now)
				if stock.MayWriteFields(*pool, f.p) {
					f.flying = append(f.flying, stock.BeginFields(&f.p, now))
				}
			},
			"land": func(t *rapid.T) {
				f := one.Draw(t, "store")
				note(f.read(pool, now))
				if len(f.flying) > 0 {
					f.set(f.flying[0], now)
					f.flying = f.flying[1:]
					note(f.read(pool, now))
				}
			},
		})
		for range 3 {
			for _, f := range stores {
				for _, v := range f.flying {
					f.set(v, now)
					note(f.read(pool, now))
				}
				f.flying = nil
				now = now.Add(time.Minute)
				note(f.read(pool, now))
				note(f.push(pool, now))
			}
		}
		for _, f := range stores {
			if f.values[stock.LowStock] != pool.Registers[stock.LowStock].Value || f.values[stock.Backorders] != pool.Registers[stock.Backorders].Value {
				t.Fatalf("%s shows %v, the registers are %v", f.p.Store, f.values, pool.Registers)
			}
			if f.p.Shelf.Due() {
				t.Fatalf("%s is never done: %+v", f.p.Store, f.p.Shelf)
			}
		}
		if got := pool.Registers[stock.LowStock].Value; got != value && conflicts == 0 {
			t.Fatalf("became %s; %s was set last, at %s", got, value, newest)
		}
	})
}

func pair(v stock.Values) (*stock.Pool, *field, *field) {
	pool := &stock.Pool{ID: 1, Set: true}
	hq, fr := newField("hq", true, v), newField("fr", false, v)
	hq.read(pool, began)
	fr.read(pool, began)
	return pool, hq, fr
}

func TestOnATieTheMasterHolds(t *testing.T) {
	t.Parallel()
	for _, masterFirst := range []bool{true, false} {
		pool, hq, fr := pair(managed("no", stock.None))
		now := began.Add(time.Hour)
		hq.set(stock.Values{stock.Backorders: "notify"}, now)
		fr.set(stock.Values{stock.Backorders: "yes"}, now.Add(time.Second))
		order := []*field{fr, hq}
		if masterFirst {
			slices.Reverse(order)
		}
		var entries []stock.Entry
		for _, f := range order {
			entries = append(entries, f.read(pool, now.Add(5*time.Second))...)
		}
		if got := pool.Registers[stock.Backorders].Value; got != "notify" || len(entries) != 2 || !entries[1].Conflict {
			t.Errorf("master first %v: %s, %+v", masterFirst, got, entries)
		}
	}
}

func TestAnOlderChangeReadLaterDoesNotHold(t *testing.T) {
	t.Parallel()
	pool, hq, fr := pair(managed("no", stock.None))
	hq.set(stock.Values{stock.Backorders: "notify"}, began.Add(time.Minute))
	fr.set(stock.Values{stock.Backorders: "yes"}, began.Add(2*time.Minute))
	fr.read(pool, began.Add(3*time.Minute))
	entries := hq.read(pool, began.Add(4*time.Minute))
	if got := pool.Registers[stock.Backorders].Value; got != "yes" || len(entries) != 1 || entries[0].Conflict {
		t.Errorf("%s, %+v", got, entries)
	}
}

// What a store changes after it showed the register's value is newer, however wrong its clock is.
func TestAChangeOfWhatWasKnownIsNewer(t *testing.T) {
	t.Parallel()
	pool, hq, fr := pair(managed("no", stock.None))
	hq.set(stock.Values{stock.Backorders: "notify"}, began.Add(time.Hour))
	hq.read(pool, began.Add(time.Hour))
	fr.push(pool, began.Add(time.Hour))
	r := fr.reading()
	r.Values[stock.Backorders], r.At = "yes", began.Add(-24*time.Hour)
	stock.MergeFields(pool, &fr.p, r, true, fr.pol, began.Add(2*time.Hour))
	if got := pool.Registers[stock.Backorders].Value; got != "yes" {
		t.Errorf("became %s", got)
	}
}

// A shop restored from a backup shows old values under old dates, or after markers that are gone: none is a change.
func TestABackupChangesNoField(t *testing.T) {
	t.Parallel()
	for _, marked := range []bool{true, false} {
		pool, hq, fr := pair(managed("no", stock.None))
		fr.set(stock.Values{stock.Backorders: "yes"}, began.Add(time.Hour))
		fr.read(pool, began.Add(time.Hour))
		hq.push(pool, began.Add(time.Hour))
		for _, f := range []*field{hq, fr} {
			f.set(stock.Values{stock.Backorders: "no"}, began)
			f.p.Restored = marked
			f.read(pool, began.Add(2*time.Hour))
			if f.p.Restored {
				f.p.Restored, f.at = false, began.Add(2*time.Hour) // sold something since
				f.read(pool, began.Add(2*time.Hour))
			}
			if got := f.p.Shelf.Todo[stock.Backorders]; pool.Registers[stock.Backorders].Value != "yes" || got != "yes" {
				t.Errorf("%s: the register became %s, to do %q", f.p.Store, pool.Registers[stock.Backorders].Value, got)
			}
		}
	}
}

// A program that undoes our writes, and another that does so elsewhere, do not keep the shops busy for ever.
func TestFieldsThatKeepChangingRest(t *testing.T) {
	t.Parallel()
	pool, hq, fr := pair(managed("no", stock.None))
	now, writes, rows := began, 0, 0
	for range 100 {
		now = now.Add(10 * time.Second)
		for f, v := range map[*field]string{hq: "yes", fr: "notify"} {
			f.set(stock.Values{stock.Backorders: v}, now)
			for _, e := range f.read(pool, now) {
				if e.Conflict {
					rows++
				}
			}
		}
		for _, f := range []*field{hq, fr} {
			if f.p.Shelf.Due() {
				writes++
			}
			f.push(pool, now)
		}
	}
	if writes > 12 || rows == 0 {
		t.Errorf("%d writes, %d rows", writes, rows)
	}
	fr.set(stock.Values{stock.Backorders: "no"}, now.Add(2*time.Hour))
	fr.read(pool, now.Add(2*time.Hour))
	if hq.push(pool, now.Add(2*time.Hour)); hq.values[stock.Backorders] != pool.Registers[stock.Backorders].Value {
		t.Error("after hours of quiet it still rests")
	}
}

func TestARefusedValueIsToldOnce(t *testing.T) {
	t.Parallel()
	pool, hq, fr := pair(managed("no", stock.None))
	hq.set(stock.Values{stock.LowStock: "3"}, began.Add(time.Hour))
	hq.read(pool, began.Add(time.Hour))
	stock.Plan(*pool, &fr.p, fr.pol, began.Add(time.Hour))
	entries := fr.answered(pool, stock.BeginFields(&fr.p, began.Add(time.Hour)), began.Add(time.Hour))
	if len(entries) != 1 || !entries[0].Conflict || fr.p.Shelf.Due() || pool.Registers[stock.LowStock].Value != "3" {
		t.Fatalf("%+v, %+v", entries, fr.p.Shelf)
	}
	fr.read(pool, began.Add(90*time.Minute))
	if fr.p.Shelf.Due() {
		t.Error("tried again although nothing changed")
	}
	hq.set(stock.Values{stock.LowStock: "4"}, began.Add(2*time.Hour))
	hq.read(pool, began.Add(2*time.Hour))
	if fr.push(pool, began.Add(2*time.Hour)); fr.values[stock.LowStock] != "4" {
		t.Errorf("a new value is not tried: %v", fr.values)
	}
}

// Whether stock is managed is the master's to say, and no box unticked anywhere loses a number.
func TestManagementFlowsFromTheMaster(t *testing.T) {
	t.Parallel()
	none := stock.Values{stock.Status: stock.InStock, stock.Management: stock.No}
	unmanage := func(f *field) {
		f.values, f.p.Enrolled, f.p.Blocked = none, false, string(stock.Unmanaged)
	}
	pool, hq, fr := pair(managed("no", stock.None))
	now := began.Add(time.Hour)
	unmanage(fr)
	fr.read(pool, now)
	if hq.read(pool, now); fr.p.Shelf.Todo[stock.Management] != stock.Yes || hq.p.Shelf.Due() {
		t.Errorf("a child's box: %+v, %+v", fr.p.Shelf, hq.p.Shelf)
	}
	pool, hq, fr = pair(managed("no", stock.None))
	unmanage(hq)
	entries := hq.read(pool, now)
	if fr.read(pool, now); fr.p.Shelf.Todo[stock.Management] != stock.No || len(entries) != 1 {
		t.Errorf("the master's box: %+v, %+v", fr.p.Shelf, entries)
	}
	// Without a number to give back, nobody's is cleared.
	pool, hq, fr = pair(managed("no", stock.None))
	pool.Set = false
	unmanage(hq)
	hq.read(pool, now)
	if fr.read(pool, now); fr.p.Shelf.Due() {
		t.Errorf("an unknown number would be lost: %+v", fr.p.Shelf)
	}
	pool = &stock.Pool{ID: 1, Set: true}
	hq, fr = newField("hq", true, none), newField("fr", false, managed("no", stock.None))
	hq.read(pool, began)
	if fr.read(pool, began); fr.p.Shelf.Due() {
		t.Errorf("a master that never counted clears a child: %+v", fr.p.Shelf)
	}
}

func TestAStatusThatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		quantity           int64
		status, backorders string
		wrong              bool
	}{
		{1, stock.OutOfStock, "no", true}, {0, stock.InStock, "no", true}, {-2, stock.InStock, "no", true},
		{1, stock.InStock, "no", false}, {0, stock.OutOfStock, "no", false}, {0, stock.OnBackorder, "yes", false}, {3, "", "no", false},
	} {
		pool, _, fr := pair(managed("no", stock.None))
		r := fr.reading()
		r.Quantity, r.Values[stock.Status], r.Values[stock.Backorders] = c.quantity, c.status, c.backorders
		now := began.Add(time.Hour)
		stock.MergeFields(pool, &fr.p, r, true, fr.pol, now)
		pool.Registers[stock.Backorders].Value = c.backorders
		stock.Plan(*pool, &fr.p, fr.pol, now)
		if fr.p.Shelf.Rederive != c.wrong || fr.p.Shelf.Due() != c.wrong {
			t.Errorf("%+v: %+v", c, fr.p.Shelf)
		}
		if !c.wrong {
			continue
		}
		// A shop that keeps it so has its own rule.
		stock.AnsweredFields(pool, &fr.p, stock.Values{}, true, r, true, fr.pol, now)
		stock.Plan(*pool, &fr.p, fr.pol, now)
		if fr.p.Shelf.Due() {
			t.Errorf("%+v is sent again at once", c)
		}
	}
}

// Before a store is in mode Sync for the first time, what it shows is no change; and nothing is planned for it.
func TestObservedFieldsAreNobodysChange(t *testing.T) {
	t.Parallel()
	pool, _, _ := pair(managed("no", stock.None))
	de := newField("de", false, managed("yes", "4"))
	for range 2 {
		stock.MergeFields(pool, &de.p, de.reading(), false, de.pol, began)
		stock.Plan(*pool, &de.p, de.pol, began)
		if pool.Registers[stock.Backorders].Value != "no" || de.p.Shelf.Due() {
			t.Fatalf("%v, %+v", pool.Registers, de.p.Shelf)
		}
		de.set(stock.Values{stock.Backorders: "notify"}, began.Add(time.Minute))
	}
	de.read(pool, began.Add(time.Hour))
	if de.push(pool, began.Add(time.Hour)); de.values != managed("no", stock.None) {
		t.Errorf("joined as %v", de.values)
	}
}
