package stock

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The times of a clean sample, measured on real stores (design notes in docs/algebra.md).
const (
	// Settle is how long after a reading the order sweep must begin: the units of an order line are written
	// behind the stock, by seconds where plugins are slow.
	Settle = 10 * time.Second
	// Apart is how far two clean samples must be from each other to be proof.
	Apart = 5 * time.Second
	// guard is how far order changes must keep from a reading, racing the least of its marks by a second.
	guard = 2 * time.Second
	// near is how far an order may be from a push to have been overwritten by it.
	near = time.Second
	// feedWindow is how close in time edits must be to look like one feed.
	feedWindow = time.Hour
	// maxEdits bounds the edits remembered of one pool.
	maxEdits = 64
	// maxOverwritten bounds the orders a loss may be made of: where pushes race orders all the time, enough of
	// them add up to anything.
	maxOverwritten = 16
	// recoveryGuard is how much older than the newest push an order must be to have reached the other stores.
	recoveryGuard = time.Minute
)

// Line is what one order line holds of an item, as the sweeps found it. Times are on the store's clock.
type Line struct {
	Order, Line int64
	Ref         Ref
	// Units held now.
	Units int64
	// Changes are the last ways Units moved, oldest first; none for an order older than the first sweep.
	Changes []Change
	// Created is the order's creation, Modified its newest modification.
	Created, Modified time.Time
}

// Change is one movement of an order line.
type Change struct {
	// At is the order's modification time when the movement was found, Units its size (a sale is positive).
	At    time.Time `json:"at"`
	Units int64     `json:"units"`
	// Since is when the line was last known to be otherwise, if that was before At: it may have moved more than once since.
	Since time.Time `json:"since,omitzero"`
}

// maxChanges bounds what is remembered of one line: refunds come one by one.
const maxChanges = 8

// Changed adds a movement to a line's.
func Changed(changes []Change, c Change) []Change {
	changes = append(slices.Clone(changes), c)
	return changes[max(0, len(changes)-maxChanges):]
}

// since is how many units moved from a time on, whichever way.
func (l Line) since(t time.Time) int64 {
	units := int64(0)
	for _, c := range l.Changes {
		if !c.At.Before(t) {
			units += max(c.Units, -c.Units)
		}
	}
	return units
}

// Sample is a reading kept until an order sweep shows whether it is clean.
type Sample struct {
	Reading
	// Contained is S as of the reading: later pushes move quantity and S alike.
	Contained int64
	// Older tells that the reading lacked a marker we know was written.
	Older bool
	// Taken is what orders held at the time of the reading; set by [Sample.Clean].
	Taken int64
}

// SampleOf keeps a reading as a sample, with those of its markers that ledger wrote on this very item.
func SampleOf(p Placement, r Reading, ledger string) Sample {
	for slot, m := range r.Markers {
		if p.attemptOf(m, ledger) == 0 {
			r.Markers[slot] = Marker{}
		}
	}
	return Sample{Reading: r, Contained: p.Contained, Older: p.Restored}
}

func (s Sample) byQuantity() int64 { return s.Quantity - s.Contained }

// Clean tells whether the sample can be judged after a sweep begun at swept (store clock), and sets Taken.
// lines are the item's order lines, taken what orders hold now.
func (s *Sample) Clean(swept time.Time, lines []Line, taken int64) bool {
	if swept.Before(s.Window.To.Add(Settle)) {
		return false
	}
	from, to := s.Window.From.Add(-guard), s.Window.To.Add(guard)
	within := func(t time.Time) bool { return !t.Before(from) && !t.After(to) }
	for _, l := range lines {
		if within(l.Created) || within(l.Modified) {
			return false
		}
		for _, c := range l.Changes {
			switch {
			case within(c.At):
				return false
			case c.At.After(to) && !l.Created.After(to):
				// The line changed after the reading, and may have changed before too, unseen.
				return false
			case c.At.After(to):
				taken -= c.Units
			}
		}
	}
	s.Taken = taken
	return true
}

// Judge decides what can be decided from clean samples, oldest first, all taken since the placement last
// changed its state. lines are the item's recent order lines: the evidence of losses. knownOrders is asked
// only before an edit counts and tells whether every recent order of the item is still there unchanged,
// or that this was not asked of the store yet; the samples are kept then.
// It reports whether the samples were used up.
func Judge(pool *Pool, p *Placement, samples []Sample, lines []Line, pol Policy, knownOrders func() (same, asked bool), now time.Time) ([]Entry, bool) {
	if len(samples) == 0 || p.Blocked != "" {
		return nil, false
	}
	last := samples[len(samples)-1]
	switch {
	case !p.Enrolled && !pool.Set && !pol.Master:
		// A child has nothing to be compared with before the master's number is known.
		return nil, false
	case !p.Enrolled:
		return enrol(pool, p, last, lines, pol, Baselined, ""), true
	case p.Restored:
		if proof(samples, func(s Sample) (int64, bool) { return s.byQuantity(), s.Older }) {
			return restore(pool, p, last, lines, pol, "a marker of ours is gone, older than known or unknown"), true
		}
	case p.Undecided:
		return decide(pool, p, samples, lines, pol)
	case p.Parted() != 0:
		if proof(samples, func(s Sample) (int64, bool) { return s.byQuantity() - (p.Baseline - s.Taken), !s.Older }) {
			return part(pool, p, last, lines, pol, knownOrders, now)
		}
	}
	return nil, false
}

// proof: the last sample agrees with one at least Apart older, and with every one between.
func proof(samples []Sample, of func(Sample) (int64, bool)) bool {
	last := samples[len(samples)-1]
	want, ok := of(last)
	if !ok {
		return false
	}
	for i := len(samples) - 2; i >= 0; i-- {
		if v, ok := of(samples[i]); !ok || v != want {
			return false
		}
		if last.Window.From.Sub(samples[i].Window.To) >= Apart {
			return true
		}
	}
	return false
}

// enrol sets the accounts from a clean sample and keeps the pool: the one rule for everything odd. The
// master's first sample sets the pool as well.
func enrol(pool *Pool, p *Placement, s Sample, lines []Line, pol Policy, k Kind, why string) []Entry {
	unknown := p.Known == [Slots]int64{}
	p.Contained, p.Baseline, p.Counted = s.Quantity, s.Taken, 0
	p.Enrolled, p.Undecided, p.Restored, p.Pushes = true, false, false, nil
	p.Quantity = s.Quantity
	for i := range p.Attempts {
		if p.Attempts[i].State == Seen {
			p.Attempts[i].State = Void
		}
	}
	var newest time.Time
	for slot, m := range s.Markers {
		p.Known[slot] = m.Attempt
		newest = later(newest, m.At)
	}
	e := p.entry(k, 0, why)
	e.Quantity, e.At = s.Quantity, s.Window.To
	switch {
	case pol.Master && !pool.Set:
		e.Delta, e.Units = s.Quantity-pool.Units, s.Quantity
		pool.Units, pool.Set = s.Quantity, true
	case pool.Set && !pol.Source:
		if want := Wanted(*pool, pol); want != s.Quantity {
			e.Units, e.Conflict = want-s.Quantity, true
			e.Evidence = strings.TrimPrefix(why+fmt.Sprintf("; the shop showed %d where the pool asks for %d", s.Quantity, want), "; ")
		}
	}
	if k == RestoredShop {
		// Orders since the reading were counted while the shop was under suspicion.
		p.Counted = s.Taken - p.Taken
	}
	entries := append([]Entry{e}, p.moved(Ordered, p.recount(pool, pol), "since the baseline")...)
	if pol.Source {
		p.aim(pol)
	}
	switch {
	case unknown && !newest.IsZero():
		entries = append(entries, p.recovered(newest.Add(-recoveryGuard), lines)...)
	case unknown && pol.Recovering && !pol.Master:
		// Nothing was ever pushed here, and what was sold here may have reached no other store.
		entries = append(entries, p.recovered(time.Time{}, lines)...)
	}
	return entries
}

// recovered writes a row after a lost ledger where an order is so new that it may not have reached the other
// stores before the ledger was lost: equal numbers prove nothing then.
func (p *Placement) recovered(since time.Time, lines []Line) []Entry {
	units := int64(0)
	for _, l := range lines {
		units += l.since(since)
	}
	if units == 0 {
		return nil
	}
	e := p.entry(Recovered, units, "the ledger was lost, and orders are newer than the newest push: they may be counted in some stores only")
	e.Conflict = true
	return []Entry{e}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func restore(pool *Pool, p *Placement, s Sample, lines []Line, pol Policy, why string) []Entry {
	expected := p.Contained + p.Baseline - s.Taken
	aside := p.Target.Aside
	p.Disenroll("")
	entries := enrol(pool, p, s, lines, pol, RestoredShop, why)
	p.Target.Aside = aside
	entries[0].Conflict, entries[0].Units = true, s.Quantity-expected
	return entries
}

// decide finds the one set of unanswered attempts whose arrival explains a clean sample.
func decide(pool *Pool, p *Placement, samples []Sample, lines []Line, pol Policy) ([]Entry, bool) {
	last := samples[len(samples)-1]
	fits := p.hypotheses(last)
	if len(fits) == 1 {
		gap := last.Quantity - p.Contained - fits[0] - (p.Baseline - last.Taken)
		// It fits only with something that was not explained yet, and may be that this very push overwrote it.
		apart, how := gap, "unexplained"
		if gap == 0 {
			// Units that no order took are not missing any more: it may be they that moved the quantity, and not the push.
			apart, how = min(p.Parted(), 0), "and are not any more"
		}
		entries := p.settle(pool, fits[0], pol)
		if apart != 0 {
			e := &entries[0]
			e.Conflict = true
			e.Units = abs(e.Units) + abs(apart)
			e.Evidence += fmt.Sprintf("; the accounts were apart by %+d before that, %s", apart, how)
		}
		return entries, true
	}
	none := func(s Sample) (int64, bool) { return s.Quantity + s.Taken, len(p.hypotheses(s)) != 1 }
	if !proof(samples, none) {
		return nil, false
	}
	if len(fits) == 0 {
		if t, ok := p.landed(last.Quantity, Seen, Assumed); ok {
			return p.overwrote(pool, t, last, lines, pol), true
		}
	}
	// Nothing explains it, or several things do: the lowest stock any of them allows.
	lowest, highest := int64(0), int64(0)
	for i, sum := range p.sums() {
		own := last.Quantity - p.Contained - sum
		if i == 0 || own < lowest {
			lowest = own
		}
		if i == 0 || own > highest {
			highest = own
		}
	}
	byOrders := p.Baseline - last.Taken
	highest = max(highest, byOrders)
	lowest = min(lowest, byOrders)
	units := highest - lowest
	var ids []string
	for i, t := range p.Attempts {
		if t.State == Seen {
			// What a request overwrites when it lands is in doubt as well.
			units += max(t.Units, -t.Units)
			ids = append(ids, fmt.Sprintf("%d (%+d)", p.Attempts[i].ID, p.Attempts[i].Units))
			p.Attempts[i].State = Void
		}
	}
	p.Undecided = false
	p.Contained = last.Quantity - lowest
	p.Baseline = last.Taken + lowest
	p.Quantity = last.Quantity
	e := p.entry(Unclear, units, fmt.Sprintf("reading %d fits no single set of the unanswered pushes %s; the lower stock was taken",
		last.Quantity, strings.Join(ids, ", ")))
	e.Conflict = true
	e.Delta = p.recount(pool, pol)
	return []Entry{e}, true
}

// landed finds an unanswered attempt, in one of these states, whose request, held up inside the shop, wrote what it
// had read long before plus its units: exactly this quantity.
func (p *Placement) landed(quantity int64, in ...AttemptState) (Attempt, bool) {
	for _, state := range in {
		for _, t := range p.Attempts {
			if t.State == state && !t.Answered && t.Base+t.Units == quantity {
				return t, true
			}
		}
	}
	return Attempt{}, false
}

// arrived counts an unanswered attempt as contained, and returns what is to be kept of it: one whose marker was seen
// may be under way still.
func (p *Placement) arrived(t Attempt) []Attempt {
	p.Contained += t.Units
	if t.Answered || t.State == Overwritten {
		return nil
	}
	t.State = Assumed
	return []Attempt{t}
}

// overwrote takes in such a landing: the orders are right and the shelf is wrong, the next push mends it.
func (p *Placement) overwrote(pool *Pool, t Attempt, s Sample, lines []Line, pol Policy) []Entry {
	was := p.Contained
	p.Contained = s.Quantity - (p.Baseline - s.Taken)
	p.Quantity = s.Quantity
	p.Undecided = false
	p.Attempts = slices.DeleteFunc(p.Attempts, func(o Attempt) bool { return o.ID == t.ID })
	for i := range p.Attempts {
		if p.Attempts[i].State == Seen {
			p.Attempts[i].State = Void
		}
	}
	// An edit to the very same number looks alike, so what happened since is in doubt.
	units := max(p.Contained-was, was-p.Contained) + max(t.Units, -t.Units)
	for _, l := range lines {
		units += l.since(p.UnansweredAt.Add(-Settle))
	}
	e := p.entry(Lost, units, fmt.Sprintf("a push of %+d, held up in the shop, wrote %d over everything since; the next push sets the shelf right", t.Units, s.Quantity))
	e.Attempt, e.Conflict = t.ID, true
	e.Delta = p.recount(pool, pol)
	return []Entry{e}
}

// sums are the distinct totals that subsets of the seen attempts can have contributed.
func (p *Placement) sums() []int64 {
	sums := []int64{0}
	for _, t := range p.Attempts {
		if t.State != Seen {
			continue
		}
		for _, s := range slices.Clone(sums) {
			if !slices.Contains(sums, s+t.Units) {
				sums = append(sums, s+t.Units)
			}
		}
	}
	return sums
}

// hypotheses are the totals that explain a clean sample: measured against the baseline or, where the
// accounts were apart before, against that too.
func (p *Placement) hypotheses(s Sample) []int64 {
	var fits []int64
	for _, sum := range p.sums() {
		own := s.Quantity - p.Contained - sum
		if own == p.Baseline-s.Taken || (p.Parted() != 0 && own == p.Baseline-s.Taken+p.Parted()) {
			fits = append(fits, sum)
		}
	}
	return fits
}

// settle closes the seen attempts: those in total are contained from now on, the others void.
func (p *Placement) settle(pool *Pool, total int64, pol Policy) []Entry {
	var entries []Entry
	in := p.subset(total)
	var rest []Attempt
	for _, t := range p.Attempts {
		switch {
		case t.State != Seen:
			rest = append(rest, t)
		case in[t.ID]:
			rest = append(rest, p.arrived(t)...)
			p.Quantity += t.Units
			e := p.entry(Arrived, t.Units, "the push was not answered, but its units are in the shop")
			e.Attempt = t.ID
			entries = append(entries, e)
		default:
			t.State = Void
			rest = append(rest, t)
			e := p.entry(Voided, t.Units, "the push left its marker but its units never arrived")
			e.Attempt, e.Conflict = t.ID, true
			entries = append(entries, e)
		}
	}
	p.Attempts = rest
	p.Undecided = false
	return append(entries, p.moved(Read, p.recount(pool, pol), "")...)
}

// subset names one set of seen attempts that adds up to total.
func (p *Placement) subset(total int64) map[int64]bool {
	var seen []Attempt
	for _, t := range p.Attempts {
		if t.State == Seen {
			seen = append(seen, t)
		}
	}
	for mask := range 1 << min(len(seen), 16) {
		in, sum := map[int64]bool{}, int64(0)
		for i, t := range seen {
			if mask>>i&1 == 1 {
				in[t.ID], sum = true, sum+t.Units
			}
		}
		if sum == total {
			return in
		}
	}
	return nil
}

// part judges accounts that are apart on proof: an attempt that landed after all, a loss inside WooCommerce,
// a restored shop, or an edit.
func part(pool *Pool, p *Placement, s Sample, lines []Line, pol Policy, knownOrders func() (same, asked bool), now time.Time) ([]Entry, bool) {
	d := s.byQuantity() - (p.Baseline - s.Taken)
	if d == 0 {
		return nil, true
	}
	if t, ok := p.landed(s.Quantity, Void, Assumed); ok {
		return p.overwrote(pool, t, s, lines, pol), true
	}
	for i, t := range p.Attempts {
		if (t.State == Void || t.State == Overwritten) && t.Units == d {
			p.Attempts = slices.Replace(p.Attempts, i, i+1, p.arrived(t)...)
			e := p.entry(Arrived, d, "the shop moved by exactly this unanswered push")
			// An edit of just that size looks the same.
			e.Attempt, e.Conflict = t.ID, true
			return append([]Entry{e}, p.moved(Read, p.recount(pool, pol), "")...), true
		}
	}
	racing, blurred := racing(p.Pushes, lines)
	if orders, ok := subsetOf(racing, d); ok {
		p.Contained += d
		e := p.entry(Lost, doubt(d, racing), fmt.Sprintf("a push overwrote %s; the next push sets the shelf right", orders))
		e.Conflict = true
		e.Delta = p.recount(pool, pol)
		return []Entry{e}, true
	}
	if i, over, ok := p.landedOver(d); ok {
		t := p.Attempts[i]
		p.Attempts = slices.Delete(p.Attempts, i, i+1)
		p.Contained += d
		e := p.entry(Lost, d, fmt.Sprintf("a push of %+d, unanswered until now, wrote over one of %+d; the next push sets the shelf right", t.Units, over))
		e.Attempt, e.Conflict = t.ID, true
		e.Delta = p.recount(pool, pol)
		return []Entry{e}, true
	}
	switch same, asked := knownOrders(); {
	case !asked:
		return nil, false
	case !same:
		// The quantity is a backup's; the orders known are the ones that happened.
		p.Restored = true
		entries := p.moved(Ordered, p.recount(pool, pol), "the shop was restored")
		return append(entries, restore(pool, p, s, lines, pol, "an order known before is gone or older than known")...), true
	}
	e := p.entry(Edited, d, fmt.Sprintf("the quantity moved by %+d beyond what orders moved", d))
	switch {
	case len(racing) > 0:
		e.Units, e.Conflict = doubt(d, racing), true
		e.Evidence += "; orders lay within a second of a push"
	case len(blurred) > 0:
		e.Units, e.Conflict = doubt(d, blurred), true
		e.Evidence += fmt.Sprintf("; order %d may have moved more than once, and at the time of a push", blurred[0].order)
	case !p.UnansweredAt.IsZero() && now.Sub(p.UnansweredAt) < pushMemory:
		e.Conflict = true
		e.Evidence += "; a push went unanswered shortly before"
	}
	if i := slices.IndexFunc(lines, func(l Line) bool { return len(l.Changes) == 0 }); i >= 0 {
		// What it held before is not known, so it may be this order that moved the quantity.
		e.Conflict = true
		e.Evidence += fmt.Sprintf("; order %d was changed lately, and is older than the records", lines[i].Order)
	}
	entries := []Entry{}
	if pol.Source {
		pool.Edits = nil // what is edited in a shop goes no further
	} else if stop := p.feed(pool, d, s, lines, now); stop != "" {
		pool.Stopped = stop
		f := p.entry(Feed, d, stop)
		f.Conflict = true
		entries = append(entries, f)
	}
	if pol.Revert {
		p.Contained += d
	} else {
		p.Baseline += d
		p.Target.stands(d)
	}
	e.Delta = p.recount(pool, pol)
	return append([]Entry{e}, entries...), true
}

// landedOver finds an unanswered attempt that landed late and wrote over a push that was answered about when the accounts
// parted: together they moved the quantity by d.
func (p *Placement) landedOver(d int64) (attempt int, over int64, ok bool) {
	for i, t := range p.Attempts {
		for _, m := range p.Pushes {
			if (t.State == Void || t.State == Overwritten) && t.Units-m.Units == d && m.To.Sub(p.PartedSince).Abs() < recoveryGuard {
				return i, m.Units, true
			}
		}
	}
	return 0, 0, false
}

// feed remembers an edit and tells whether it looks like a feed writing absolute numbers: the same number in
// two stores within an hour, or one store undoing our pushes again and again. Between the edit and its proof
// pushes were added to the number, and sales blur it by what they took.
func (p *Placement) feed(pool *Pool, d int64, s Sample, lines []Line, now time.Time) string {
	pool.Edits = slices.DeleteFunc(pool.Edits, func(e EditMark) bool { return now.Sub(e.At) > feedWindow })
	// What was pushed since the sample is in Pushes too.
	mark := EditMark{Store: p.Store, To: []int64{s.Quantity + p.Contained - s.Contained}, At: now}
	since := p.PartedSince.Add(-Settle)
	for _, m := range slices.Backward(p.Pushes) {
		mark.Undid = mark.Undid || m.Units == -d
		if m.To.After(since) && len(mark.To) < maxPushMarks {
			mark.To = append(mark.To, mark.To[len(mark.To)-1]-m.Units)
		}
	}
	for _, l := range lines {
		mark.Blur += l.since(since)
	}
	undone := 0
	why := ""
	for _, e := range pool.Edits {
		if e.Store != p.Store && e.near(mark) {
			why = fmt.Sprintf("stores %s and %s were set to about %d within an hour", e.Store, p.Store, e.To[len(e.To)-1])
		}
		if e.Store == p.Store && e.Undid {
			undone++
		}
	}
	if mark.Undid && undone >= 1 {
		why = "edits keep undoing our pushes"
	}
	pool.Edits = append(pool.Edits, mark)
	if len(pool.Edits) > maxEdits {
		pool.Edits = pool.Edits[1:]
	}
	return why
}

// near tells whether two edits may have set the same number.
func (e EditMark) near(o EditMark) bool {
	for _, a := range e.To {
		for _, b := range o.To {
			if max(a-b, b-a) <= e.Blur+o.Blur {
				return true
			}
		}
	}
	return false
}

// suspect is one movement of an order line that a push may have overwritten.
type suspect struct {
	order, units int64
	at           time.Time
}

// racing are the movements of order lines that lie within a second of an answered push, newest first. blurred are those
// that may be several, one of them at the time of a push: what was lost of them is in no sum.
func racing(pushes []PushMark, lines []Line) (out, blurred []suspect) {
	during := func(from, to time.Time) bool {
		return slices.ContainsFunc(pushes, func(m PushMark) bool {
			return !to.Before(m.From.Add(-near)) && !from.After(m.To.Add(near))
		})
	}
	hit := func(t time.Time) bool { return during(t, t) }
	for _, l := range lines {
		for i, c := range l.Changes {
			// Units first seen may have been taken at creation, or when the order was paid.
			switch s := (suspect{l.Order, c.Units, c.At}); {
			case hit(c.At) || (i == 0 && hit(l.Created)):
				out = append(out, s)
			case !c.Since.IsZero() && during(c.Since, c.At):
				blurred = append(blurred, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b suspect) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.order, b.order)) })
	return out, blurred
}

// doubt is what a judgement of d may be wrong by where orders raced a push: as much as all of them moved.
func doubt(d int64, racing []suspect) int64 {
	units := max(d, -d)
	moved := int64(0)
	for _, c := range racing {
		moved += max(c.units, -c.units)
	}
	if d < 0 {
		return -max(units, moved)
	}
	return max(units, moved)
}

// subsetOf names orders whose movements add up to d, the newest if there is a choice. It looks at sums, of
// which there are few, not at subsets.
func subsetOf(suspects []suspect, d int64) (string, bool) {
	type way struct {
		from int64
		by   int
	}
	ways := map[int64]way{0: {by: -1}}
	for i, c := range suspects {
		for _, sum := range slices.Sorted(maps.Keys(ways)) {
			if next := sum + c.units; ways[sum].by < i {
				if _, known := ways[next]; !known {
					ways[next] = way{sum, i}
				}
			}
		}
		if _, ok := ways[d]; ok {
			break
		}
	}
	if _, ok := ways[d]; !ok || d == 0 {
		return "", false
	}
	var names []string
	for sum := d; sum != 0; {
		w := ways[sum]
		names = append(names, fmt.Sprintf("order %d (%+d)", suspects[w.by].order, -suspects[w.by].units))
		sum = w.from
	}
	return strings.Join(names, ", "), len(names) <= maxOverwritten
}
