package stock

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var absoluteStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestPeerClock: whatever the pings, the true distance of the clocks stays within what is known, and the moment of an
// event within the span it is given.
func TestPeerClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ahead := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "ahead"))
		var c PeerClock
		now := absoluteStart
		for range rapid.IntRange(1, 12).Draw(t, "pings") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "pause")))
			sent := now
			there := time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "there"))
			now = now.Add(there + time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "back")))
			was := c.Most - c.Least
			c = c.Ping(sent, now, sent.Add(there+ahead).Unix())
			if ahead < c.Least || ahead > c.Most || !c.Known() {
				t.Fatalf("%v is not within %v and %v", ahead, c.Least, c.Most)
			}
			if was > 0 && c.Most-c.Least > max(was+time.Minute, 6*time.Second) {
				t.Fatalf("from %v to %v", was, c.Most-c.Least)
			}
		}
		captured := now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "captured")))
		w := c.when(Hearing{Seconds: captured.Add(ahead).Unix(), At: captured.Add(time.Second)})
		if captured.Before(w.From) || captured.After(w.To) {
			t.Fatalf("%v is not within %v", captured, w)
		}
	})
}

// written is an item at 20 that was written to at 12:00:10, and shows what was written.
func written(to int64) (Pool, Placement, Policy) {
	pol := Policy{OrdersUnreadable: true}
	pool, p := Pool{ID: 1, Units: 20, Set: true}, Placement{Store: "fr", Pool: 1, SKU: "MUG"}
	at := func(ms int) time.Time { return absoluteStart.Add(10*time.Second + time.Duration(ms)*time.Millisecond) }
	clock := PeerClock{At: absoluteStart}
	EnrolAbsolute(&pool, &p, Look{Quantity: 20, From: absoluteStart, To: absoluteStart, Clock: clock}, pol)
	pool.Units = to
	Plan(pool, &p, pol, at(0))
	_, _ = BeginWrite(&p, 1, Look{Quantity: 20, From: at(0), To: at(50), Clock: clock}, false, false, at(60))
	Written(&p, 1, at(150))
	MergeAbsolute(&pool, &p, Look{Quantity: to, From: at(160), To: at(200), Clock: clock}, pol, at(200))
	return pool, p, pol
}

// TestEventsOnlyTellOfGaps: an event captured before the reading or after the write changes nothing, whatever it says and
// however often it comes; one within takes units from the pool or leaves it, never without a row, and adds none.
func TestEventsOnlyTellOfGaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.Int64Range(10, 30).Filter(func(n int64) bool { return n != 20 }).Draw(t, "to")
		pool, p, pol := written(to)
		if pool.Units != to || p.Quantity != to || p.Undecided {
			t.Fatalf("%+v %+v", pool, p)
		}
		var entries []Entry
		now := absoluteStart.Add(time.Hour)
		inside := false
		for range rapid.IntRange(1, 5).Draw(t, "events") {
			second := rapid.SampledFrom([]int64{-3600, 0, 5, 8, 10, 12, 60, 1800}).Draw(t, "second")
			inside = inside || second == 10
			h := Hearing{Quantity: rapid.Int64Range(0, 40).Draw(t, "quantity"), Seconds: absoluteStart.Unix() + second, At: now}
			p.Absolute.Heard = append(p.Absolute.Heard, h)
			now = now.Add(time.Second)
			entries = append(entries, MergeAbsolute(&pool, &p, Look{Quantity: to, From: now, To: now, Clock: PeerClock{At: absoluteStart}}, pol, now)...)
		}
		rows := slices.ContainsFunc(entries, func(e Entry) bool { return e.Conflict })
		switch {
		case !inside && (pool.Units != to || len(entries) > 0):
			t.Fatalf("outside of the gap: %+v %+v", pool, entries)
		case pool.Units > to || pool.Units < to && !rows:
			t.Fatalf("within the gap: %+v %+v", pool, entries)
		case p.Counted != p.Quantity-p.Contained || pool.Units != to+p.Counted:
			t.Fatalf("the accounts do not add up: %+v %+v", pool, p)
		}
	})
}

// TestGapIsCountedOnce: of several events about one gap the lowest number counts.
func TestGapIsCountedOnce(t *testing.T) {
	t.Parallel()
	for _, told := range [][]int64{{18}, {19, 18}, {18, 19}, {18, 18}, {18, 17}} {
		pool, p, pol := written(25)
		now := absoluteStart.Add(time.Minute)
		for _, n := range told {
			p.Absolute.Heard = append(p.Absolute.Heard, Hearing{Quantity: n, Seconds: absoluteStart.Unix() + 10, At: now})
		}
		now = now.Add(time.Second)
		entries := MergeAbsolute(&pool, &p, Look{Quantity: 25, From: now, To: now, Clock: PeerClock{At: absoluteStart}}, pol, now)
		want := 25 - (20 - slices.Min(told))
		if pool.Units != want || entries[0].Kind != Lost {
			t.Errorf("told %v: the pool says %d, not %d; %+v", told, pool.Units, want, entries)
		}
	}
}

// TestWritesKeepApart: a second write of an item waits, and one to a shop that just moved, but not for ever.
func TestWritesKeepApart(t *testing.T) {
	t.Parallel()
	_, p, _ := written(25)
	sent := p.Absolute.Writes[0].SentAt
	if may, until := MayWrite(p, false, sent.Add(time.Second)); may || !until.Equal(sent.Add(WriteSpacing)) {
		t.Errorf("a second after: %v, %v", may, until)
	}
	now := sent.Add(time.Minute)
	p.Absolute.MovedAt, p.DirtySince = now.Add(-time.Second), now
	if may, _ := MayWrite(p, true, now); may {
		t.Error("a shop of generation 1 that just moved is written")
	}
	if may, _ := MayWrite(p, false, now); !may {
		t.Error("a shop of generation 2 waits")
	}
	p.DirtySince = now.Add(-time.Minute)
	if may, _ := MayWrite(p, true, now); !may {
		t.Error("a shop that never rests is never written")
	}
}

// TestLateLanding: a write that was given up and lands is told from a sale.
func TestLateLanding(t *testing.T) {
	t.Parallel()
	pool, p, pol := written(25)
	look := func(q int64, at time.Time) []Entry {
		return MergeAbsolute(&pool, &p, Look{Quantity: q, From: at, To: at, Clock: PeerClock{At: absoluteStart}}, pol, at)
	}
	now := absoluteStart.Add(time.Minute)
	pool.Units = 5
	Plan(pool, &p, pol, now)
	_, _ = BeginWrite(&p, 2, Look{Quantity: 25, From: now, To: now}, false, false, now)
	if entries := look(25, now.Add(40*time.Second)); len(entries) != 1 || entries[0].Kind != Voided {
		t.Errorf("given up: %+v", entries)
	}
	pool.Units = 25
	if entries := look(24, now.Add(50*time.Second)); pool.Units != 24 || entries[len(entries)-1].Kind != Read {
		t.Errorf("a sale: %+v, %d", entries, pool.Units)
	}
	if entries := look(4, now.Add(60*time.Second)); pool.Units != 23 || entries[0].Kind != Arrived || !entries[0].Conflict {
		t.Errorf("it landed, and one was sold: %+v, %d", entries, pool.Units)
	}
}

// TestLandingToldWhileUnread: a shop that sells on cannot be read for long after a write that was never answered. The numbers
// it tells, in whatever order they come, show when the write landed and what was sold before.
func TestLandingToldWhileUnread(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pol := Policy{OrdersUnreadable: true}
		pool, p := Pool{ID: 1, Units: 20, Set: true}, Placement{Store: "fr", Pool: 1, SKU: "MUG"}
		clock := PeerClock{At: absoluteStart}
		EnrolAbsolute(&pool, &p, Look{Quantity: 20, From: absoluteStart, To: absoluteStart, Clock: clock}, pol)
		pool.Units = 25
		Plan(pool, &p, pol, absoluteStart)
		sent := absoluteStart.Add(10 * time.Second)
		_, _ = BeginWrite(&p, 1, Look{Quantity: 20, From: sent, To: sent, Clock: clock}, false, false, sent)
		// 200 sales of one, then 25 is written over what is left, then some more sales.
		after := rapid.IntRange(1, 100).Draw(t, "after")
		var told []Hearing
		shelf := int64(20)
		for i := range 200 + after {
			if i == 200 {
				shelf = 25
			}
			shelf--
			told = append(told, Hearing{Quantity: shelf, Seconds: sent.Unix() + 2 + int64(i), At: sent.Add(time.Hour)})
		}
		// The plugin tells each several times, some much later.
		for _, h := range rapid.Permutation(told).Draw(t, "order") {
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				p.Absolute.Hear(h)
			}
		}
		if len(p.Absolute.Heard) > maxHeard {
			t.Fatalf("%d are kept", len(p.Absolute.Heard))
		}
		now := sent.Add(2 * time.Hour)
		entries := MergeAbsolute(&pool, &p, Look{Quantity: shelf, From: now, To: now, Clock: clock}, pol, now)
		row := slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == Arrived && e.Conflict })
		if want := int64(25 - 200 - after); pool.Units != want || !row {
			t.Fatalf("the pool says %d, want %d; a row: %v", pool.Units, want, row)
		}
	})
}

// TestLandingBehindANewerWrite: a write that was given up lands after a newer one that the store took, and before the item
// can be read again. What the shop told in between shows what was sold.
func TestLandingBehindANewerWrite(t *testing.T) {
	t.Parallel()
	pool, p, pol := written(25)
	p.Absolute.Proven = false
	clock := PeerClock{At: absoluteStart}
	look := func(q int64, at time.Time) []Entry {
		return MergeAbsolute(&pool, &p, Look{Quantity: q, From: at, To: at, Clock: clock}, pol, at)
	}
	write := func(id, units int64, at time.Time) {
		pool.Units = units
		Plan(pool, &p, pol, at)
		_, _ = BeginWrite(&p, id, Look{Quantity: p.Quantity, From: at, To: at, Clock: clock}, false, false, at)
	}
	now := absoluteStart.Add(time.Minute)
	write(2, 45, now)
	look(25, now.Add(40*time.Second)) // never answered
	now = now.Add(time.Minute)
	write(3, 30, now)
	Written(&p, 3, now)
	for i := range int64(201) {
		shelf := 30 - i - 1
		if i == 200 {
			shelf = 45 - 1 // write 2 landed over -170
		}
		p.Absolute.Hear(Hearing{Quantity: shelf, Seconds: now.Unix() + 2 + i, At: now.Add(time.Duration(i+3) * time.Second)})
	}
	entries := look(44, now.Add(5*time.Minute))
	row := slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == Arrived && e.Conflict && e.Attempt == 2 })
	if pool.Units != 30-201 || !row {
		t.Errorf("the pool says %d, want %d; a row: %v", pool.Units, 30-201, row)
	}
}

// TestMovedBack: a write that seemed to have arrived lands while the shop sells as many as it gives back. The number is as
// before; only an event tells that the shop moved it.
func TestMovedBack(t *testing.T) {
	t.Parallel()
	clock := PeerClock{At: absoluteStart}
	for _, tc := range []struct {
		name string
		// captured is when the event was, after the last reading; late how long after the write that reading is.
		captured, late time.Duration
		row            bool
	}{
		{"after the last reading", 3 * time.Second, time.Minute, true},
		{"an old one, told again", -30 * time.Second, time.Minute, false},
		{"when the write can land no more", 3 * time.Second, landsWithin + time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pool, p, pol := written(25)
			look := func(q int64, at time.Time) []Entry {
				return MergeAbsolute(&pool, &p, Look{Quantity: q, From: at, To: at, Clock: clock}, pol, at)
			}
			sent := absoluteStart.Add(time.Minute)
			pool.Units = 23
			Plan(pool, &p, pol, sent)
			_, _ = BeginWrite(&p, 2, Look{Quantity: 25, From: sent, To: sent, Clock: clock}, false, false, sent)
			look(23, sent.Add(2*time.Second)) // two were sold, and it seems to have arrived
			now := sent.Add(tc.late)
			look(20, now) // three more
			units := pool.Units
			p.Absolute.Hear(Hearing{Quantity: 20, Seconds: now.Add(tc.captured).Unix(), At: now.Add(4 * time.Second)})
			entries := look(20, now.Add(5*time.Second))
			row := slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == Unclear && e.Conflict && e.Attempt == 2 && e.Units == 3 })
			if row != tc.row || pool.Units != units {
				t.Errorf("a row: %v; the pool went from %d to %d: %+v", row, units, pool.Units, entries)
			}
		})
	}
}
