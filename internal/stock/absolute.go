package stock

import (
	"fmt"
	"slices"
	"time"
)

// Absolute is what is known of an item in a store that can only be written whole numbers: what was written, and what
// the store said of the item by itself that is not judged yet. docs/algebra.md tells the rules.
type Absolute struct {
	// Writes are the recent ones, oldest first.
	Writes []Write `json:"writes,omitempty"`
	// Heard are events of the store that wait for a reading to be judged with.
	Heard []Hearing `json:"heard,omitempty"`
	// MovedAt is when the shop was last seen or heard to have moved its number, on the agent's clock.
	MovedAt time.Time `json:"movedAt,omitzero"`
	// Proven: a number that was written has been read back once, so the store does take them.
	Proven bool `json:"proven,omitempty"`
	// Refused counts the writes in a row that the store took and did not make.
	Refused int `json:"refused,omitempty"`
	// BlindAt is when a row last told that the store was written to while it sold faster than its plugin tells.
	BlindAt time.Time `json:"blindAt,omitzero"`
}

// Write is a whole number written over another. Between the reading it rests on and the moment it was written the shop
// may have sold: that span is its gap.
type Write struct {
	ID int64 `json:"id"`
	// Base is the number that was read, To the one that was written.
	Base int64 `json:"base"`
	To   int64 `json:"to"`
	// From is when the reading of Base began, SentAt when the write was sent, Until when it was certainly over; zero
	// while nobody knows. All on the agent's clock.
	From   time.Time `json:"from"`
	SentAt time.Time `json:"sentAt"`
	Until  time.Time `json:"until,omitzero"`
	// State is Open until a reading tells what became of it, Void when it was judged not to have arrived, Seen when its
	// number was there though nobody answered for it, and empty once it is known to have been there.
	State AttemptState `json:"state,omitempty"`
	// Answered: the store took the request. What it made of it only a reading tells.
	Answered bool `json:"answered,omitempty"`
	// Moved: the shop's own number had moved just before.
	Moved bool `json:"moved,omitempty"`
	// Fenced: the store drops it should it arrive after a newer one.
	Fenced bool `json:"fenced,omitempty"`
	// Lost are the units found to have moved in the gap, and counted; Told the numbers of events judged already.
	Lost int64   `json:"lost,omitempty"`
	Told []int64 `json:"told,omitempty"`
	// Doubted are the units that a row has named: moved in the gap perhaps, or landed late.
	Doubted int64 `json:"doubted,omitempty"`
}

// Hear keeps what an event said until the next reading, in the order in which it happened. A plugin tells a change several
// times; what is said again of the same second is no news.
func (a *Absolute) Hear(h Hearing) {
	if h.Seconds != 0 && slices.ContainsFunc(a.Heard, func(k Hearing) bool { return k.Quantity == h.Quantity && k.Seconds == h.Seconds }) {
		return
	}
	place := len(a.Heard)
	for place > 0 && h.Seconds != 0 && a.Heard[place-1].Seconds > h.Seconds {
		place--
	}
	a.Heard = slices.Insert(slices.Clone(a.Heard), place, h)
	if len(a.Heard) <= maxHeard {
		return
	}
	// A number between that before it and that after it says least: the way goes through it anyway.
	least := 0
	for i := 1; i < len(a.Heard)-1; i++ {
		if before, after := a.Heard[i-1].Quantity, a.Heard[i+1].Quantity; min(before, after) <= a.Heard[i].Quantity && a.Heard[i].Quantity <= max(before, after) {
			least = i
			break
		}
	}
	a.Heard = slices.Delete(a.Heard, least, least+1)
}

// Hearing is what an event of a store says of one item.
type Hearing struct {
	Quantity int64 `json:"quantity"`
	// Seconds is when the event was captured, in Unix seconds of the store's clock; 0 if it does not say.
	Seconds int64 `json:"seconds"`
	// At is when it arrived, on the agent's clock.
	At time.Time `json:"at"`
}

const (
	// maxStoreWrites bounds the writes kept of one item, writtenMemory their age: the plugin repeats an event for 25 hours.
	maxStoreWrites = 64
	// maxHeard bounds the events kept of one item until it can be read.
	maxHeard      = 64
	writtenMemory = 26 * time.Hour
	// soldBetween is how many units a shop may sell between two readings of an item that is being watched.
	soldBetween = 12
	// landsWithin is how long a write that was judged not to have arrived may still do so.
	landsWithin = 15 * time.Minute
	// WriteSpacing keeps two writes of one item so far apart that an event, dated to the second, is near one only.
	WriteSpacing = 2500 * time.Millisecond
	// debounced is how long the plugin drops the next change after one it told, movedBefore how long before a write
	// a change counts as just before it.
	debounced   = 2500 * time.Millisecond
	movedBefore = 5 * time.Second
	// patience is how long a write waits for a shop that never rests that long.
	patience = 15 * time.Second
	// clockDrift is by how much two clocks may part in a second, clockMemory how long a comparison of them holds.
	clockDrift  = 0.0002
	clockMemory = time.Hour
	// maxRefused is how many writes in a row a store may take and not make before it is left alone, refusedFor how long.
	maxRefused = 3
	refusedFor = time.Hour
	blindFor   = time.Hour
)

// PeerClock is what is known of a store's clock: it is ahead of the agent's by Least at least and Most at most. The zero
// value knows nothing.
type PeerClock struct {
	Least, Most time.Duration
	At          time.Time
}

// Ping narrows the clock by an answer that came between two times and told a whole second.
func (c PeerClock) Ping(sent, received time.Time, seconds int64) PeerClock {
	at := time.Unix(seconds, 0)
	next := PeerClock{Least: at.Sub(received), Most: at.Add(time.Second).Sub(sent), At: received}
	if c.At.IsZero() || received.Sub(c.At) > clockMemory {
		return next
	}
	drift := time.Duration(float64(received.Sub(c.At)) * clockDrift)
	least, most := max(next.Least, c.Least-drift), min(next.Most, c.Most+drift)
	if least > most {
		return next // one of the clocks was set
	}
	next.Least, next.Most = least, most
	return next
}

// Known tells whether the clock was ever compared.
func (c PeerClock) Known() bool { return !c.At.IsZero() }

// Skew is the middle of what is possible.
func (c PeerClock) Skew() time.Duration { return (c.Least + c.Most) / 2 }

// when is the span of the agent's clock in which an event was captured.
func (c PeerClock) when(h Hearing) Window {
	w := Window{To: h.At}
	if !c.Known() || h.Seconds == 0 {
		return w
	}
	at := time.Unix(h.Seconds, 0)
	w.From = at.Add(-c.Most)
	if to := at.Add(time.Second - c.Least); to.Before(w.To) {
		w.To = to
	}
	return w
}

// Look is one reading of an item in such a store. From and To are when it was asked for and answered, on the agent's clock.
type Look struct {
	Quantity int64
	From, To time.Time
	Clock    PeerClock
}

// EnrolAbsolute takes a reading as baseline.
func EnrolAbsolute(pool *Pool, p *Placement, r Look, pol Policy) []Entry {
	p.Absolute = Absolute{}
	p.Shown = r.Quantity
	return enrol(pool, p, Sample{Reading: Reading{Quantity: r.Quantity, Window: Window{r.From, r.To}}, Taken: p.Taken}, nil, pol, Baselined, "")
}

// MergeAbsolute takes in a reading of an item: what became of an open write, what the shop did by itself, and what events
// that came before the reading tell of the gaps of writes.
func MergeAbsolute(pool *Pool, p *Placement, r Look, pol Policy, now time.Time) []Entry {
	before := p.ReadAt
	p.Shown, p.ReadAt = r.Quantity, now
	if !p.Enrolled {
		p.Absolute = Absolute{}
		return nil
	}
	a := &p.Absolute
	a.Writes = slices.Clone(a.Writes)
	var entries []Entry
	w := a.last()
	open := w != nil && w.State == Open
	if open && !w.Answered {
		// What was told since may show that it arrived.
		w.State, w.Until, p.Undecided = Void, w.SentAt, false
	}
	if open && w.Answered {
		entries = p.answered(w, r)
		if w.State == "" {
			p.Quantity, before = w.To, w.SentAt
		}
	}
	entries = append(entries, p.retraced(pool, &before, r, pol)...)
	switch {
	case open && !w.Answered && w.State == Void:
		w.State = Open
		entries = append(entries, p.settled(w, r, before)...)
	case r.Quantity != p.Quantity:
		late, _ := p.landedLate(r, before)
		entries = append(entries, late...)
	}
	a.fence()
	if r.Quantity != p.Contained+p.Counted {
		a.MovedAt = r.To
	}
	p.Quantity = r.Quantity
	entries = append(entries, p.moved(Read, p.recount(pool, pol), "")...)
	return append(entries, p.overheard(pool, r, pol)...)
}

func (a *Absolute) last() *Write {
	if len(a.Writes) == 0 {
		return nil
	}
	return &a.Writes[len(a.Writes)-1]
}

// wrote takes in that a write is in the shop.
func (p *Placement) wrote(w *Write) Entry {
	p.Contained += w.To - w.Base
	w.State = ""
	p.Absolute.Refused = 0
	e := p.entry(Pushed, w.To-w.Base, "")
	e.Attempt = w.ID
	return e
}

// missed takes in that it is not, by all that is seen.
func (p *Placement) missed(w *Write, why string) []Entry {
	w.State = Void
	e := p.entry(Voided, w.To-w.Base, why)
	e.Conflict, e.Attempt = true, w.ID
	return []Entry{e}
}

// answered judges the open write, which the store took, by the first reading after it.
func (p *Placement) answered(w *Write, r Look) []Entry {
	a := &p.Absolute
	p.Undecided = false
	switch {
	case r.Quantity == w.To:
		a.Proven = true
	case r.Quantity == w.Base:
		a.Refused++
		return p.missed(w, fmt.Sprintf("the store took %d and still shows %d: its plugin leaves the item alone (excluded there, or a newer version known), or that many were sold in the same moment", w.To, w.Base))
	case !a.Proven:
		doubt := p.entry(Unclear, w.To-w.Base, fmt.Sprintf("%d was written over %d, and the store shows %d: it counts as written and sold from, though this item was never seen to take a number", w.To, w.Base, r.Quantity))
		doubt.Conflict, doubt.Attempt = true, w.ID
		return []Entry{p.wrote(w), doubt}
	}
	return []Entry{p.wrote(w)}
}

// settled judges the open write, which nobody answered for, by the first reading after it, and what was told since a time
// has not.
func (p *Placement) settled(w *Write, r Look, since time.Time) []Entry {
	p.Undecided = false
	w.Until = r.To
	switch r.Quantity {
	case w.To:
		e := p.wrote(w)
		e.Kind, e.Conflict = Arrived, true
		e.Evidence = fmt.Sprintf("%d was written over %d and never answered, and the store shows it: it arrived, or that many moved in the shop", w.To, w.Base)
		w.State = Seen
		return []Entry{e}
	case w.Base:
		return p.missed(w, fmt.Sprintf("%d was written and never answered, and the store still shows %d", w.To, w.Base))
	}
	late, other := p.landedLate(r, since)
	if other {
		w.State = Seen
		return late
	}
	// It is in or not, and the shop moved beside. The lower stock is taken.
	e := p.entry(Unclear, w.To-w.Base, fmt.Sprintf("%d was written over %d, and the store shows %d: nobody can tell whether it arrived; the lower stock is taken", w.To, w.Base, r.Quantity))
	e.Conflict, e.Attempt = true, w.ID
	if w.To >= w.Base {
		late = append(late, e, p.wrote(w))
		w.State = Seen
		return late
	}
	w.State = Void
	return append(late, e)
}

// fence forgets the writes that the store drops, now that it has a newer one.
func (a *Absolute) fence() {
	w := a.last()
	if w == nil || w.State != "" || !w.Fenced {
		return
	}
	a.Writes = slices.DeleteFunc(a.Writes, func(v Write) bool { return v.State == Void && v.Fenced && v.ID < w.ID })
	for i := range a.Writes {
		if v := &a.Writes[i]; v.State == Seen && v.Fenced && v.ID < w.ID {
			v.State = ""
		}
	}
}

// landedLate looks whether the number that moved, since a reading that was asked for at a time, is that of a write which
// may have arrived only then: the one that leaves least to the shop.
func (p *Placement) landedLate(r Look, since time.Time) (entries []Entry, landed bool) {
	a := &p.Absolute
	moved := r.Quantity - p.Quantity
	if moved == 0 {
		return nil, false
	}
	var best *Write
	for i := range a.Writes {
		if w := &a.Writes[i]; w.mayLand(since) && (best == nil || abs(r.Quantity-w.To) < abs(r.Quantity-best.To)) {
			best = w
		}
	}
	if best == nil {
		return nil, false
	}
	beside, units := r.Quantity-best.To, best.To-p.Quantity
	row := func(k Kind, why string) []Entry {
		e := p.entry(k, units, why)
		e.Conflict, e.Attempt = true, best.ID
		return []Entry{e}
	}
	switch {
	case beside == 0 && !p.told(r), beside != 0 && abs(beside) < abs(moved):
		entries = row(Arrived, fmt.Sprintf("the store shows %d after %d: a write of %d that was given up has landed over it, or that many moved in the shop", r.Quantity, p.Quantity, best.To))
		p.Contained += units
		// What the shop did since it was last read was written over. Judged by numbers, it may still land.
		best.State, best.Base, best.From, best.Until, best.Lost, best.Told = Seen, p.Quantity, since, r.To, 0, nil
		return entries, true
	case abs(units) > best.Doubted && abs(beside) <= soldBetween:
		best.Doubted = abs(units)
		return row(Unclear, fmt.Sprintf("the store shows %d after %d while a write of %d may still land: it counts as the shop's own", r.Quantity, p.Quantity, best.To)), false
	}
	return nil, false
}

// retraced goes over the numbers that events told since the last reading, where a write may have landed between them: each
// is a reading of that moment. since becomes that of the last of them.
func (p *Placement) retraced(pool *Pool, since *time.Time, r Look, pol Policy) (entries []Entry) {
	a := &p.Absolute
	began := *since
	if !slices.ContainsFunc(a.Writes, func(w Write) bool { return w.mayLand(began) }) {
		return nil
	}
	if w := a.last(); w.Until.After(began) {
		began = w.Until
	}
	var others []Hearing
	for _, h := range a.Heard {
		at := r.Clock.when(h)
		if !at.From.After(began) || h.At.After(r.From) {
			others = append(others, h)
			continue
		}
		a.MovedAt = later(a.MovedAt, at.To)
		if h.Quantity == p.Quantity {
			entries = append(entries, p.movedAndBack(*since)...)
			continue
		}
		late, _ := p.landedLate(Look{Quantity: h.Quantity, From: at.From, To: h.At}, *since)
		p.Quantity, *since = h.Quantity, at.To
		entries = append(append(entries, late...), p.moved(Read, p.recount(pool, pol), "told by an event")...)
	}
	a.Heard = others
	return entries
}

// movedAndBack is what an event says that tells the number known, since a time: the shop moved it, and perhaps only back to
// where it was before a write landed.
func (p *Placement) movedAndBack(since time.Time) []Entry {
	var most *Write
	for i := range p.Absolute.Writes {
		w := &p.Absolute.Writes[i]
		if units := abs(w.To - p.Quantity); w.mayLand(since) && units > 0 && units <= soldBetween && (most == nil || units > abs(most.To-p.Quantity)) {
			most = w
		}
	}
	if most == nil {
		return nil
	}
	e := p.entry(Unclear, most.To-p.Quantity, fmt.Sprintf("the store tells of a change and shows %d as before, while a write of %d may still land: perhaps it has, and that many moved after it", p.Quantity, most.To))
	e.Conflict, e.Attempt = true, most.ID
	return []Entry{e}
}

// mayLand tells whether the write may arrive after a time, or arrive after all: it was judged by numbers alone.
func (w *Write) mayLand(after time.Time) bool {
	return (w.State == Void && !w.Answered || w.State == Seen) && after.Sub(w.SentAt) <= landsWithin
}

// told tells whether an event named the number that is read now.
func (p *Placement) told(r Look) bool {
	return slices.ContainsFunc(p.Absolute.Heard, func(h Hearing) bool {
		return h.Quantity == r.Quantity && h.At.After(p.Absolute.MovedAt)
	})
}

// overheard judges the events that came before the reading was asked for. What the shop shows is read; all that an event
// can add is what was written over before it was read.
func (p *Placement) overheard(pool *Pool, r Look, pol Policy) []Entry {
	a := &p.Absolute
	var entries []Entry
	var later []Hearing
	for _, h := range a.Heard {
		if h.At.After(r.From) {
			later = append(later, h)
			continue
		}
		entries = append(entries, p.hear(pool, h, r, pol)...)
	}
	a.Heard = later
	return entries
}

// hear judges one event.
func (p *Placement) hear(pool *Pool, h Hearing, r Look, pol Policy) []Entry {
	a, at := &p.Absolute, r.Clock.when(h)
	a.MovedAt = later(a.MovedAt, at.To)
	var near []*Write
	for i := range a.Writes {
		w := &a.Writes[i]
		// Before the reading it rests on: contained in it. After it was over: contained in what is read now.
		if w.State == Void || at.To.Before(w.From) || (!w.Until.IsZero() && at.From.After(w.Until)) {
			continue
		}
		if h.Quantity == w.Base || slices.Contains(w.Told, h.Quantity) {
			return nil
		}
		near = append(near, w)
	}
	if len(near) == 0 {
		return nil
	}
	w := near[len(near)-1]
	w.Told = append(slices.Clone(w.Told[max(0, len(w.Told)-7):]), h.Quantity)
	lost, after := h.Quantity-w.Base, h.Quantity-w.To
	row := func(k Kind, units int64, why string) Entry {
		e := p.entry(k, units, why)
		e.Conflict, e.Attempt = true, w.ID
		return e
	}
	between := after < 0 && h.Quantity >= r.Quantity || after > 0 && h.Quantity <= r.Quantity
	switch {
	case w.Lost != 0 && (after == 0 || lost >= w.Lost):
		// The same change, told a second time.
		return nil
	case len(near) == 1 && lost < 0 && !between && !(after == 0 && w.Moved):
		// The shop showed this number before it was written over.
		units := lost - w.Lost
		w.Lost = lost
		p.Contained -= units
		return append([]Entry{row(Lost, units, fmt.Sprintf("the shop went to %d on its own just before %d was written over %d; the difference is counted", h.Quantity, w.To, w.Base))},
			p.moved(Read, p.recount(pool, pol), "overwritten by a write, told by an event")...)
	case abs(lost) <= w.Doubted:
		// A row names as much already.
		return nil
	case between:
		w.Doubted = abs(lost)
		return []Entry{row(Unclear, lost, fmt.Sprintf("the shop went to %d in the moment %d was written over %d: it counts as a change after it", h.Quantity, w.To, w.Base))}
	}
	w.Doubted = abs(lost)
	return []Entry{row(Unclear, lost, fmt.Sprintf("the shop told %d in the moment %d was written over %d: what it did just before may have been overwritten", h.Quantity, w.To, w.Base))}
}

// MayWrite tells whether the placement may be written now, and if not when to look again: writes of one item keep apart, a
// store that takes numbers and does not make them is left alone, and a plugin that tells of one change in two seconds
// (debounces) is given time to be quiet.
func MayWrite(p Placement, debounces bool, now time.Time) (may bool, until time.Time) {
	a := &p.Absolute
	if w := a.last(); w != nil {
		wait := WriteSpacing
		if a.Refused >= maxRefused {
			wait = refusedFor
		}
		if until = w.SentAt.Add(wait); now.Before(until) {
			return false, until
		}
	}
	if quiet := a.MovedAt.Add(debounced); debounces && now.Before(quiet) && now.Before(p.DirtySince.Add(patience)) {
		return false, quiet
	}
	return true, now
}

// BeginWrite records a write before it is sent, in the transaction that merged the reading it rests on. fenced: the store
// drops older ones. A row tells, at most once an hour, where a plugin that debounces was not given its quiet.
func BeginWrite(p *Placement, id int64, r Look, debounces, fenced bool, now time.Time) (Write, []Entry) {
	a := &p.Absolute
	a.Writes = slices.DeleteFunc(slices.Clone(a.Writes), func(w Write) bool { return now.Sub(w.SentAt) > writtenMemory })
	a.Writes = a.Writes[max(0, len(a.Writes)-maxStoreWrites+1):]
	w := Write{ID: id, Base: p.Quantity, To: p.Quantity + p.Todo, From: r.From, SentAt: now, State: Open, Fenced: fenced,
		Moved: now.Sub(a.MovedAt) < movedBefore}
	a.Writes = append(a.Writes, w)
	p.Undecided = true
	if !debounces || now.Sub(a.MovedAt) >= debounced || now.Sub(a.BlindAt) < blindFor {
		return w, nil
	}
	a.BlindAt = now
	e := p.entry(Unclear, 0, "the shop sells the item faster than its plugin tells of it (one change in two seconds), and had to be written to: a sale in that very moment leaves no trace")
	e.Conflict = true
	return w, []Entry{e}
}

// Written notes that the store took the write; what it made of it the next reading tells.
func Written(p *Placement, id int64, now time.Time) {
	for i := range p.Absolute.Writes {
		if w := &p.Absolute.Writes[i]; w.ID == id {
			w.Answered, w.Until = true, now
		}
	}
}

// Unwritten takes back a write whose request is known not to have reached the store.
func Unwritten(p *Placement, id int64) {
	p.Absolute.Writes = slices.DeleteFunc(slices.Clone(p.Absolute.Writes), func(w Write) bool { return w.ID == id })
	p.Undecided = false
}

// Watch tells whether the item should be read again soon, since something about it is open, and how long to wait.
func (a *Absolute) Watch(now time.Time) (time.Duration, bool) {
	if w := a.last(); w != nil && w.State == Open || len(a.Heard) > 0 {
		return time.Second, true
	}
	for _, w := range slices.Backward(a.Writes) {
		if age := now.Sub(w.SentAt); w.mayLand(now) {
			return min(max(age/4, 2*time.Second), 30*time.Second), true
		}
	}
	return 0, false
}

func abs(n int64) int64 { return max(n, -n) }
