package stock

import (
	"fmt"
	"slices"
	"time"
)

// MaxAttempts bounds the unanswered attempts kept for one placement, AttemptMemory their age: a request held
// up in a shop is not expected to land weeks later.
const (
	MaxAttempts   = 64
	AttemptMemory = 21 * 24 * time.Hour
	maxPushMarks  = 160
	pushMemory    = 30 * time.Minute
	agreedMemory  = 2 * time.Minute
	slowPush      = 4 * time.Second
)

// Merge takes in a reading of the item that is not the answer to one of our pushes.
func Merge(pool *Pool, p *Placement, r Reading, ledger string, pol Policy, now time.Time) []Entry {
	read := p.ReadAt
	p.Shown, p.ReadAt = r.Quantity, now
	p.expire(now)
	if !p.Enrolled {
		return nil
	}
	return p.merge(pool, r, ledger, pol, read, now)
}

// merge looks at the markers first: a reading that shows an unanswered one may be torn (new marker, old
// quantity), and one that lacks a marker we know was there comes from a restored shop. read is when it was read before.
func (p *Placement) merge(pool *Pool, r Reading, ledger string, pol Policy, read, now time.Time) []Entry {
	fresh, older := p.inspect(r, ledger)
	if fresh {
		p.Undecided, p.UnansweredAt = true, now
	}
	if older && !p.Restored {
		// What was counted stays counted, also where the order that proves it is gone from the shop.
		p.Baseline = p.Counted + p.Taken
	}
	p.Restored = older
	if !p.Undecided && !p.Restored {
		p.Quantity = r.Quantity
	}
	before := r.Window.To.Add(read.Sub(now)) // on the store's clock
	switch {
	case p.Parted() == 0 && !p.PartedSince.IsZero():
		p.PartedSince = time.Time{}
	case p.Parted() == 0 && r.Swept.Before(before.Add(Settle)):
		// It may be chance: a sale just read, whose order was not swept yet, beside a loss of the same size.
	case p.Parted() == 0:
		// The accounts agreed then, and do so with the orders of that time, so nothing older can have been lost.
		p.Pushes = slices.DeleteFunc(p.Pushes, func(m PushMark) bool { return before.Sub(m.To) > agreedMemory })
	case p.PartedSince.IsZero():
		p.PartedSince = now
	}
	return p.moved(Read, p.recount(pool, pol), "")
}

func (p *Placement) moved(k Kind, delta int64, evidence string) []Entry {
	if delta == 0 {
		return nil
	}
	e := p.entry(k, delta, evidence)
	e.Delta = delta
	return []Entry{e}
}

// inspect compares the slots with what is known of them. fresh: an unanswered attempt shows itself for the
// first time. older: a marker we know was written is gone, or another stands there that we know nothing of.
func (p *Placement) inspect(r Reading, ledger string) (fresh, older bool) {
	for slot, m := range r.Markers {
		id := p.attemptOf(m, ledger)
		i := slices.IndexFunc(p.Attempts, func(t Attempt) bool { return t.ID == id && id != 0 && t.State != Assumed })
		switch {
		case i >= 0 && p.Attempts[i].Units == 0:
			// It wrote no quantity, so there is nothing to judge.
			p.Attempts = slices.Delete(p.Attempts, i, i+1)
			p.Known[slot] = id
		case i >= 0 && (p.Attempts[i].State == Open || p.Attempts[i].State == Overwritten):
			p.Attempts[i].State, p.Attempts[i].Base = Seen, r.Quantity
			fresh = true
			p.Known[slot] = id
			p.overwrite(slot, id)
		case i >= 0:
		case id != p.Known[slot]:
			older = true
		}
	}
	return fresh, older
}

// attemptOf is the attempt id of a marker written by this ledger for this very item; 0 for any other (a
// duplicated product or a cloned shop carries copies of another item's markers).
func (p *Placement) attemptOf(m Marker, ledger string) int64 {
	if m.Ledger != ledger || m.Store != p.Store || m.Product != p.Ref.Object() {
		return 0
	}
	return m.Attempt
}

// Order takes in that the units held by the shop's orders grew by delta (a sale is positive).
func Order(pool *Pool, p *Placement, delta int64, pol Policy, evidence string) []Entry {
	gap := p.Parted()
	p.Taken += delta
	if p.Undecided {
		// The quantity stands still until it is decided. What orders move meanwhile may close the gap that was
		// between the accounts before, and opens none.
		p.Quantity -= p.Parted() - min(max(p.Parted(), min(gap, 0)), max(gap, 0))
	}
	return p.moved(Ordered, p.recount(pool, pol), evidence)
}

// Unmodified is the row about an order that gave units back though its date did not move: it did so within the second
// it was last known, or the shop was restored from a backup made while the order was being placed. Nobody can know.
func Unmodified(p Placement, delta, order int64) Entry {
	e := p.entry(RestoredShop, delta, fmt.Sprintf("order %d holds %d units less and was not modified since: they were given back within that second, "+
		"or the shop was restored from a backup made before the order took them; they count as given back", order, -delta))
	e.Conflict = true
	return e
}

// MayPush tells whether a push may be sent: there is something to do, and nothing is being judged.
func MayPush(pool Pool, p Placement) bool {
	return p.Todo != 0 && p.Enrolled && p.Blocked == "" && !p.Undecided && !p.Restored && pool.Set && pool.Stopped == ""
}

// Begin records the attempt id before its request is sent and returns it. The slot is the one whose last
// attempt is longest settled; if all hold open attempts, the oldest of those gives way.
func Begin(p *Placement, id int64, now time.Time) Attempt {
	p.forget(now)
	slot, best := 0, int64(-1)
	for s := range Slots {
		open, newest := false, p.Known[s]
		for _, t := range p.Attempts {
			if t.Slot == s {
				newest = max(newest, t.ID)
				open = open || t.State == Open || t.State == Seen
			}
		}
		// Free slots first, then by age: an open one is as far away as its id allows.
		rank := newest
		if open {
			rank += 1 << 40
		}
		if best < 0 || rank < best {
			slot, best = s, rank
		}
	}
	p.overwrite(slot, id)
	t := Attempt{ID: id, Units: p.Todo, Slot: slot, State: Open, SentAt: now}
	p.Attempts = append(p.Attempts, t)
	return t
}

// overwrite notes that another attempt's marker takes the slot: those still open there may have come and gone
// unseen, and are known by their size only.
func (p *Placement) overwrite(slot int, by int64) {
	for i := range p.Attempts {
		if t := &p.Attempts[i]; t.Slot == slot && t.ID != by && t.State == Open {
			t.State = Overwritten
		}
	}
}

// expire drops attempts that are too old to matter.
func (p *Placement) expire(now time.Time) {
	p.Attempts = slices.DeleteFunc(p.Attempts, func(t Attempt) bool {
		age := now.Sub(t.SentAt)
		return t.State == Assumed && age > landsWithin || t.State != Seen && age > AttemptMemory
	})
}

// forget makes room for another attempt, so that a shop that is down for weeks does not fill the ledger.
func (p *Placement) forget(now time.Time) {
	p.expire(now)
	if n := len(p.Attempts) - MaxAttempts + 1; n > 0 {
		p.Attempts = slices.Delete(p.Attempts, 0, n)
	}
}

// Unsent takes back an attempt whose request is known not to have reached the store.
func Unsent(p *Placement, id int64) {
	p.Attempts = slices.DeleteFunc(p.Attempts, func(t Attempt) bool { return t.ID == id })
}

// Answered takes in the store's answer to the attempt: the one reading in which marker and quantity are
// known to belong together. modified is the item's date_modified_gmt in it.
func Answered(pool *Pool, p *Placement, id int64, r Reading, modified time.Time, ledger string, pol Policy, now time.Time) []Entry {
	read := p.ReadAt
	p.Shown, p.ReadAt = r.Quantity, now
	i := slices.IndexFunc(p.Attempts, func(t Attempt) bool { return t.ID == id })
	if i < 0 || !p.Enrolled {
		Unsent(p, id)
		return nil
	}
	t := p.Attempts[i]
	if t.Units == 0 {
		// It wrote no quantity, so this is a reading like any other.
		p.Attempts = slices.Delete(p.Attempts, i, i+1)
		if p.attemptOf(r.Markers[t.Slot], ledger) == id {
			p.Known[t.Slot] = id
		}
		return p.merge(pool, r, ledger, pol, read, now)
	}
	if p.attemptOf(r.Markers[t.Slot], ledger) != id {
		// The answer does not carry our marker: something in the shop dropped it, so it proves nothing.
		p.Attempts[i].State, p.Attempts[i].Answered = Seen, true
		p.Undecided, p.UnansweredAt = true, now
		return p.moved(Read, p.recount(pool, pol), "")
	}
	p.Attempts = slices.Delete(p.Attempts, i, i+1)
	p.Contained += t.Units
	p.Known[t.Slot] = id
	mark := PushMark{Units: t.Units, From: modified, To: modified}
	if r.Window.To.Sub(r.Window.From) > slowPush {
		// Held up inside the shop, it may have read the quantity long before it wrote it.
		mark.From, mark.To = r.Window.From, r.Window.To
	}
	p.Pushes = slices.DeleteFunc(p.Pushes, func(m PushMark) bool { return modified.Sub(m.To) > pushMemory })
	if len(p.Pushes) == maxPushMarks {
		p.Pushes = slices.Delete(p.Pushes, 0, 1)
	}
	p.Pushes = append(p.Pushes, mark)
	// With S grown by the push and the old quantity still in place, o would dip; judge both at once.
	p.Quantity += t.Units
	e := p.entry(Pushed, t.Units, fmt.Sprintf("the shop answered %d", r.Quantity))
	e.Attempt = id
	return append([]Entry{e}, p.merge(pool, r, ledger, pol, read, now)...)
}
