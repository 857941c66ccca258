package stock

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Field names a setting of an item beside its quantity.
type Field int

// The fields. Backorders and LowStock mean something where the stock is managed, Status where it is not: that
// of a managed item is WooCommerce's to derive.
const (
	Backorders Field = iota
	LowStock
	Status
	// Management is whether the stock is managed at all: Yes or No. Only the master decides it.
	Management
	fieldCount
)

// Fields are all of them, in the order of [Values].
var Fields = []Field{Backorders, LowStock, Status, Management}

// String is the name WooCommerce has for the field.
func (f Field) String() string {
	return [...]string{"backorders", "low_stock_amount", "stock_status", "manage_stock"}[f]
}

// Values of fields that are not their own names.
const (
	// None is a low stock amount that is not set: the shop-wide one holds. 0 is a value of its own.
	None = "none"
	Yes  = "yes"
	No   = "no"
	// InStock, OutOfStock and OnBackorder are the statuses.
	InStock     = "instock"
	OutOfStock  = "outofstock"
	OnBackorder = "onbackorder"
)

// Values holds one text for each [Field]; an empty one says nothing.
type Values [fieldCount]string

// LowStockValue is a low stock amount as a value, nil being [None].
func LowStockValue(amount *int64) string {
	if amount == nil {
		return None
	}
	return strconv.FormatInt(*amount, 10)
}

// LowStockAmount is a value as a low stock amount; nil for [None] and whatever is no number.
func LowStockAmount(value string) *int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// Register is one field of a pool: the newest change made in any store holds for all of them.
type Register struct {
	// Value is empty until the master was read for the first time.
	Value string `json:"value,omitempty"`
	// At is when it was changed, on the agent's clock, and Store where.
	At    time.Time `json:"at,omitzero"`
	Store string    `json:"store,omitempty"`
	// Hour is when a count of changes began, Changes how many there were since.
	Hour    time.Time `json:"hour,omitzero"`
	Changes int       `json:"changes,omitempty"`
}

// Registers are those of one pool, by [Field].
type Registers [fieldCount]Register

// The limits of registers.
const (
	// registerTie is how close two changes must be for their order to be unknown: shops date to the second, and
	// clocks are compared to about one.
	registerTie = 2 * time.Second
	// restAfter is how many changes within an hour are believed: two programs that undo each other would keep
	// every shop busy for ever.
	restAfter = 8
	restFor   = time.Hour
	// rederiveAfter is how long a status that an empty update did not put right is left alone.
	rederiveAfter = time.Hour
	// maxWrites bounds the unanswered writes that are remembered of one placement, writeMemory their age: a write
	// was measured to land 99 seconds late.
	maxWrites   = 16
	writeMemory = time.Hour
)

// resting tells whether the register was changed so often that it is not written for a while.
func (r Register) resting(now time.Time) bool {
	return r.Changes >= restAfter && now.Sub(r.At) < restFor
}

func (r *Register) set(value, store string, at, now time.Time) {
	if now.Sub(r.Hour) >= restFor {
		r.Hour, r.Changes = now, 0
	}
	r.Changes++
	r.Value, r.Store, r.At = value, store, at
}

// Shelf is what is known of an item's fields in one store.
type Shelf struct {
	// Seen is what the last reading showed, dated Modified on the store's clock.
	Seen     Values    `json:"seen,omitzero"`
	Modified time.Time `json:"modified,omitzero"`
	// Joined: the store was read in mode Sync, so that what changes there is a change for all. What it showed
	// before that is not.
	Joined bool `json:"joined,omitempty"`
	// Stale: the shop looked restored, so the next reading changes nothing.
	Stale bool `json:"stale,omitempty"`
	// Writes were never answered.
	Writes []FieldWrite `json:"writes,omitempty"`
	// Refused are values that the store answered with another; they are not written again.
	Refused Values `json:"refused,omitzero"`
	// Rederived is when an empty update was last sent.
	Rederived time.Time `json:"rederived,omitzero"`
	// Todo is what is to be written. Rederive asks for an empty update, which makes WooCommerce derive the
	// status of a managed item again.
	Todo     Values `json:"todo,omitzero"`
	Rederive bool   `json:"rederive,omitempty"`
	// Rewrite asks for everything to be written once, marker and all, also where nothing differs.
	Rewrite bool `json:"rewrite,omitempty"`
}

// Due tells whether something is to be written beside the quantity.
func (s *Shelf) Due() bool { return s.Todo != Values{} || s.Rederive || s.Rewrite }

// FieldWrite is one value sent to a store.
type FieldWrite struct {
	Field Field     `json:"field"`
	Value string    `json:"value"`
	At    time.Time `json:"at"`
}

// FieldReading is one look at the fields of an item.
type FieldReading struct {
	Values   Values
	Quantity int64
	// Modified is the item's date on the store's clock, At the same on the agent's; zero if it has none.
	Modified, At time.Time
	// Before is when the item was read before, on the agent's clock: what changed since changed later.
	Before time.Time
}

// live drops what means nothing: an unmanaged item has no backorders, and a managed one's status is derived.
func (v Values) live() Values {
	switch v[Management] {
	case Yes:
		v[Status] = ""
	case No:
		v[Backorders], v[LowStock] = "", ""
	default:
		return Values{}
	}
	return v
}

// MergeFields takes in a reading of the fields. sync tells that the store is in mode Sync. The newest change
// holds: one made where the register's value was shown before is newer by nature; otherwise dates decide, and on
// a tie the master.
func MergeFields(pool *Pool, p *Placement, r FieldReading, sync bool, pol Policy, now time.Time) []Entry {
	s := &p.Shelf
	if p.Restored {
		s.Stale = true
		return nil
	}
	v := r.Values.live()
	if v[Management] == "" {
		return nil
	}
	joins := !s.Joined || s.Seen[Management] != v[Management]
	// A date that went back is a backup's, or a cache's: nothing was changed now.
	older := !r.Modified.IsZero() && r.Modified.Before(s.Modified)
	quiet := s.Stale || older
	s.Joined, s.Stale = s.Joined || sync, false
	var entries []Entry
	for _, f := range Fields {
		reg := &pool.Registers[f]
		switch {
		case f == Management, v[f] == "":
		case pol.Master && (reg.Value == "" || (joins && !quiet)):
			// The first values are the master's.
			if reg.Value != "" && reg.Value != v[f] && s.Joined {
				entries = append(entries, p.registered(f, *reg, v[f]))
			}
			if reg.Value != v[f] {
				*reg = Register{Value: v[f], Store: p.Store, At: now}
			}
		case reg.Value == "", joins, v[f] == s.Seen[f]:
		case v[f] == reg.Value: // our write, or the same choice
		case s.awaits(f, v[f], now):
			e := p.registered(f, Register{Value: v[f]}, reg.Value)
			e.Conflict = true
			e.Evidence = fmt.Sprintf("%s became %s: a write of ours that was never answered, or somebody's choice; %s of %s holds", f, v[f], reg.Value, reg.Store)
			entries = append(entries, e)
		case quiet:
		default:
			entries = append(entries, p.change(reg, f, v[f], r, pol, now)...)
		}
	}
	entries = append(entries, p.manage(pool, v[Management], joins && quiet, pol, now)...)
	s.rederive(v[Management], r, now)
	for _, f := range Fields {
		if v[f] != s.Seen[f] {
			s.Refused[f] = ""
		}
	}
	s.Seen, s.Modified = v, r.Modified
	return entries
}

// change decides whether a value found in a store is the newest one.
func (p *Placement) change(reg *Register, f Field, value string, r FieldReading, pol Policy, now time.Time) []Entry {
	at := later(r.At, r.Before)
	if at.After(now) {
		at = now
	}
	e := p.registered(f, *reg, value)
	// Where the register's value was shown before, it was known to whoever changed it.
	concurrent := p.Shelf.Seen[f] != reg.Value
	apart := at.Sub(reg.At)
	if concurrent && (r.At.IsZero() || apart.Abs() <= registerTie) {
		e.Conflict = true
		if !pol.Master {
			e.Evidence = fmt.Sprintf("%s was set to %s while %s was set to %s: nobody can tell which was later, and %s holds", f, value, reg.Store, reg.Value, reg.Value)
			return []Entry{e}
		}
		e.Evidence += fmt.Sprintf("; %s set it at the same moment, and the master holds", reg.Store)
	} else if concurrent && apart < 0 {
		e.Evidence = fmt.Sprintf("%s was set to %s before %s set it to %s, which holds", f, value, reg.Store, reg.Value)
		return []Entry{e}
	}
	reg.set(value, p.Store, at, now)
	if reg.Changes == restAfter {
		e.Conflict = true
		e.Evidence += fmt.Sprintf("; it was changed %d times within an hour, so it is not written until it has been left alone for one: look for programs that undo each other", restAfter)
	}
	return []Entry{e}
}

// manage takes in whether the stock is managed. It flows from the master alone: that the master counts makes all
// count, and that it stops is followed where the pool knows the number, so that it can be given back.
func (p *Placement) manage(pool *Pool, value string, quiet bool, pol Policy, now time.Time) []Entry {
	reg := &pool.Registers[Management]
	if !pol.Master || !p.Shelf.Joined || quiet || reg.Value == value || (value == No && (reg.Value == "" || !pool.Set)) {
		return nil
	}
	was := *reg
	reg.set(value, p.Store, now, now)
	if was.Value == "" {
		return nil
	}
	return []Entry{p.registered(Management, was, value)}
}

// rederive notes a status that cannot be right. What an empty update did not mend is the shop's own rule, such as
// a threshold of its own, and is left alone for a while.
func (s *Shelf) rederive(managed string, r FieldReading, now time.Time) {
	q, status := r.Quantity, r.Values[Status]
	wrong := managed == Yes && (q > 0 && status == OutOfStock || q <= 0 && status == InStock && r.Values[Backorders] == No)
	s.Rederive = wrong && now.Sub(s.Rederived) >= rederiveAfter
}

// awaits tells whether a write of the value may still arrive. One that was seen to arrive may have been somebody's
// choice of the same value, so only time ends the wait.
func (s *Shelf) awaits(f Field, value string, now time.Time) bool {
	return slices.ContainsFunc(s.Writes, func(w FieldWrite) bool {
		return w.Field == f && w.Value == value && now.Sub(w.At) <= writeMemory
	})
}

// settled takes the newest write of the value off the list.
func (s *Shelf) settled(f Field, value string) {
	for i, w := range slices.Backward(s.Writes) {
		if w.Field == f && w.Value == value {
			s.Writes = slices.Delete(slices.Clone(s.Writes), i, i+1)
			return
		}
	}
}

func (p *Placement) registered(f Field, was Register, value string) Entry {
	if was.Value == "" {
		was.Value = "not known"
	}
	return p.entry(FieldSet, 0, fmt.Sprintf("%s: %s, was %s", f, value, was.Value))
}

// planFields says what is to be written of the fields.
func (p *Placement) planFields(pool Pool, pol Policy, now time.Time) {
	s := &p.Shelf
	s.Todo = Values{}
	want := func(f Field) {
		reg := pool.Registers[f]
		differs := s.Seen[f] != reg.Value && s.Refused[f] != reg.Value && !reg.resting(now)
		if reg.Value != "" && s.Seen[f] != "" && (differs || s.Rewrite && s.Seen[f] == reg.Value) {
			s.Todo[f] = reg.Value
		}
	}
	counts := p.Blocked == "" && p.Enrolled && !p.Undecided && !p.Restored && pool.Set
	s.Rederive = s.Rederive && counts
	s.Rewrite = s.Rewrite && (counts || p.Blocked == string(Unmanaged)) && s.Joined && pool.Stopped == ""
	switch mode := pool.Registers[Management].Value; {
	case !s.Joined || pool.Stopped != "":
		s.Rederive = false
	case p.Blocked == string(Unmanaged) && mode != Yes:
		want(Status)
	case p.Blocked == string(Unmanaged) && !pol.Master && pool.Set, counts && mode == No && !pol.Master:
		want(Management)
	case counts && mode != No:
		want(Backorders)
		want(LowStock)
	}
}

// MayWriteFields tells whether the placement's fields may be written now.
func MayWriteFields(pool Pool, p Placement) bool { return p.Shelf.Due() && pool.Stopped == "" }

// BeginFields records what is about to be sent, before it is.
func BeginFields(p *Placement, now time.Time) Values {
	s := &p.Shelf
	s.Writes = slices.DeleteFunc(slices.Clone(s.Writes), func(w FieldWrite) bool { return now.Sub(w.At) > writeMemory })
	for _, f := range Fields {
		if s.Todo[f] != "" {
			s.Writes = append(s.Writes, FieldWrite{f, s.Todo[f], now})
		}
	}
	s.Writes = s.Writes[max(0, len(s.Writes)-maxWrites):]
	return s.Todo
}

// UnsentFields takes back writes whose request is known not to have reached the store.
func UnsentFields(p *Placement, wrote Values) {
	for _, f := range Fields {
		if wrote[f] != "" {
			p.Shelf.settled(f, wrote[f])
		}
	}
}

// AnsweredFields takes in the store's answer to a write of fields, or to an empty update where rederived. What the
// store answers with another value it does not take; that is told once, and not tried again until the register
// or the shop changes.
func AnsweredFields(pool *Pool, p *Placement, wrote Values, rederived bool, r FieldReading, sync bool, pol Policy, now time.Time) []Entry {
	UnsentFields(p, wrote)
	s := &p.Shelf
	s.Rewrite = false
	var entries []Entry
	v := r.Values.live()
	for _, f := range Fields {
		switch {
		case wrote[f] == "" || v[f] == "":
		case v[f] != wrote[f]:
			e := p.registered(f, Register{Value: v[f]}, wrote[f])
			e.Conflict = true
			e.Evidence = fmt.Sprintf("%s was set to %s and the shop answered %s: a plugin or a setting of the shop keeps it so; it is not tried again until one of both changes", f, wrote[f], v[f])
			entries = append(entries, e)
			s.Refused[f], s.Seen[f] = wrote[f], v[f]
		case f != Management:
			s.Seen[f] = v[f]
		}
	}
	if rederived {
		s.Rederived = now
		e := p.entry(Rederived, 0, fmt.Sprintf("the status did not fit the quantity; after an empty update the shop shows %s", r.Values[Status]))
		e.Quantity = r.Quantity
		entries = append(entries, e)
	}
	return append(entries, MergeFields(pool, p, r, sync, pol, now)...)
}

// FieldDifference is a field that shows another value than it should.
type FieldDifference struct {
	Field         Field
	Shown, Wanted string
}

// FieldDifferences compares what an item shows beside its quantity with what it should. A managed item's status
// has no value of its own to show; it is wrong where it does not fit the quantity.
func FieldDifferences(pool Pool, shown Values, quantity int64, pol Policy) []FieldDifference {
	mode := pool.Registers[Management].Value
	if mode == "" && pool.Set {
		mode = Yes
	}
	var out []FieldDifference
	differs := func(f Field) {
		if want := pool.Registers[f].Value; want != "" && shown[f] != "" && shown[f] != want {
			out = append(out, FieldDifference{f, shown[f], want})
		}
	}
	switch managed := shown[Management]; {
	case managed == "":
	case mode != "" && managed != mode && !pol.Master:
		out = append(out, FieldDifference{Management, managed, mode})
	case managed == No:
		differs(Status)
	default:
		differs(Backorders)
		differs(LowStock)
		if status := shown[Status]; quantity > 0 && status == OutOfStock {
			out = append(out, FieldDifference{Status, status, InStock})
		} else if quantity <= 0 && status == InStock && shown[Backorders] == No {
			out = append(out, FieldDifference{Status, status, OutOfStock})
		}
	}
	return out
}
