// Package stock is the algebra that keeps the stock of several stores the same: pure values and
// functions, no I/O and no clock. docs/algebra.md explains it with pictures.
//
// Every SKU has a pool L, the number of units there are. Each store that sells it has a placement with two
// accounts of what the shop did by itself since its baseline:
//
//	by quantity   o = q − S       q: last reading, S: our relative pushes known to be contained in it
//	by orders     a = A − taken   taken: units its orders hold, A: baseline
//	counted       c = min(o, a)   the lower one, so that the pool never promises too much
//	pool          L += c_new − c_old
//	to do         p = f(L) − (S + c)
//
// Pushes are relative (p) and numbered, so nothing a shop does at the same moment is overwritten in the
// count, and a request that lands late is recognised by its marker and simply counted.
package stock

import (
	"slices"
	"strings"
	"time"
)

// Slots is the number of rotating markers an item carries. A slot is not used again while its attempt is
// open, so a request that lands long after we gave up on it still shows itself.
const Slots = 4

// Ref names the object in a store that holds a stock quantity.
type Ref struct {
	// Product is the WooCommerce product id; for a variation, its parent's.
	Product int64 `json:"product"`
	// Variation is the variation id, 0 when the product itself holds the stock.
	Variation int64 `json:"variation,omitempty"`
}

// Object is the id of the object itself, as it stands in a marker.
func (r Ref) Object() int64 {
	if r.Variation != 0 {
		return r.Variation
	}
	return r.Product
}

// Key is a SKU in the one form used for comparison: trimmed, without case, as WooCommerce compares.
type Key string

// KeyOf returns the key of a SKU as spelled in a store; empty for an item without SKU.
func KeyOf(sku string) Key { return Key(strings.ToLower(strings.TrimSpace(sku))) }

// Marker is what a push leaves beside the quantity, in a private meta field of the item.
type Marker struct {
	Ledger  string
	Pool    int64
	Store   string
	Product int64
	Attempt int64
	// At is when the attempt was sent, to the second, on the agent's clock.
	At time.Time
}

// Markers are the slots of one item; a zero Marker is an empty slot.
type Markers [Slots]Marker

// Window is a span of the store's own clock during which something was read or written. A response tells
// its time to the second only, so a window is never shorter than the request.
type Window struct{ From, To time.Time }

// Reading is one look at an item.
type Reading struct {
	Quantity int64
	Markers  Markers
	Window   Window
	// Swept is when the last sweep of orders began, of those that were taken in by then; on the store's clock.
	Swept time.Time
}

// AttemptState says what is known of an attempt that was not answered.
type AttemptState string

// The states of an attempt. An answered attempt is no longer kept.
const (
	// Open: sent, not answered, its marker not seen.
	Open AttemptState = "open"
	// Seen: its marker was seen; whether its quantity arrived is undecided.
	Seen AttemptState = "seen"
	// Overwritten: still open, but its slot was given to a newer attempt, or an older one landed in it.
	Overwritten AttemptState = "overwritten"
	// Void: judged not to have arrived; a later jump of exactly its size is it arriving after all.
	Void AttemptState = "void"
	// Assumed: judged to have arrived, by the numbers alone. Its request may still be held up in the shop, and write
	// what it had read plus its units over everything since; for [landsWithin] the item is watched for that.
	Assumed AttemptState = "assumed"
)

// Attempt is one relative push whose answer never came.
type Attempt struct {
	ID     int64        `json:"id"`
	Units  int64        `json:"units"`
	Slot   int          `json:"slot"`
	State  AttemptState `json:"state"`
	SentAt time.Time    `json:"sentAt"`
	// Base is the quantity in the reading that first showed the marker: most likely the one its request read,
	// so that it lands as Base + Units, over everything that happened in between.
	Base int64 `json:"base,omitempty"`
	// Answered: the shop answered, but its answer lacked the marker. Such a request is over; it lands no more.
	Answered bool `json:"answered,omitempty"`
}

// PushMark remembers an answered push as evidence: a sale that WooCommerce overwrote lies between From and To,
// or within a second of them.
type PushMark struct {
	Units int64 `json:"units"`
	// From and To are the item's date_modified_gmt in the answer or, where the answer took seconds, when the
	// request began and ended; on the store's clock.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Placement binds a pool to the object that holds its stock in one store.
type Placement struct {
	Store string
	Pool  int64
	Ref   Ref
	// SKU as spelled in the store.
	SKU string
	// Enrolled: the baseline is fixed and the accounts below mean something.
	Enrolled bool
	// Blocked says why nothing is counted or pushed here although the item exists; empty when nothing does.
	Blocked string
	// Contained is S, Baseline A, Taken the units orders hold, Counted c, all in units.
	Contained, Baseline, Taken, Counted int64
	// Quantity is the last reading that was merged, Shown the last one of any kind. ReadAt is when a reading last
	// told something new; of an item that waits to be judged, or for an attempt to land, the last reading.
	Quantity, Shown int64
	ReadAt          time.Time
	// Undecided: an unanswered attempt's marker was seen, and until a clean sample tells whether its quantity
	// arrived, orders alone are counted and nothing is pushed.
	Undecided bool
	// Restored: the last reading lacked a marker we know was there; the shop looks restored from a backup.
	Restored bool
	// Known is the newest attempt id known to have been written in each slot.
	Known [Slots]int64
	// Attempts are the pushes that were never answered.
	Attempts []Attempt
	// Pushes are the recent answered ones, oldest first.
	Pushes []PushMark
	// PartedSince is when the two accounts were last found apart after having agreed.
	PartedSince time.Time
	// UnansweredAt is when an unanswered marker was last seen here.
	UnansweredAt time.Time
	// Todo is p, kept beside the accounts so that the backlog is a query; DirtySince is when it left zero.
	Todo       int64
	DirtySince time.Time
	// Shelf is what is known of the fields beside the quantity.
	Shelf Shelf
	// Naming is what is known of its SKU.
	Naming Naming
	// Absolute is used where the store can only be written whole numbers.
	Absolute Absolute
	// Target is the number a source gives it.
	Target Target
}

// ByQuantity is o: what the shop did by itself as its quantity shows it.
func (p *Placement) ByQuantity() int64 { return p.Quantity - p.Contained }

// ByOrders is a: what the shop did by itself as its orders show it.
func (p *Placement) ByOrders() int64 { return p.Baseline - p.Taken }

// Parted is how far the two accounts are apart: o − a.
func (p *Placement) Parted() int64 { return p.ByQuantity() - p.ByOrders() }

// Restless tells whether the placement needs a clean sample: it has no baseline, its accounts disagree, or
// an attempt or a restored shop waits to be judged.
func (p *Placement) Restless() bool {
	if p.Blocked != "" {
		return false
	}
	return !p.Enrolled || p.Undecided || p.Restored || p.Parted() != 0
}

// Writing tells whether a write is on its way to the shop, or may have arrived: the number it shows now is not known then.
func (p *Placement) Writing() bool {
	w := p.Absolute.last()
	return p.Undecided || w != nil && w.State == Open || slices.ContainsFunc(p.Attempts, func(t Attempt) bool { return t.State != Void && t.State != Assumed })
}

// Pending tells whether an attempt may still land unseen, so that the item should be looked at now and then.
func (p *Placement) Pending() bool { return len(p.Attempts) > 0 }

// FewUnits is how many units are few: a SKU that runs out is what shops can oversell.
const FewUnits = 5

// Urgent tells whether the store is to show few units and shows something else.
func (p *Placement) Urgent() bool { return p.Todo != 0 && p.Contained+p.Counted+p.Todo <= FewUnits }

// Pool is the stock of one SKU, or of several that share one quantity.
type Pool struct {
	ID int64
	// SKU is as the master spells it.
	SKU string
	// GID is the id by which other agents and plugins know the item whatever its SKU; empty until the master was read.
	GID string
	// Former are the names it had before the master renamed it, the newest last. Renamed: it was renamed at all, so
	// that its items in other stores follow.
	Former  []string
	Renamed bool
	// Units is L. It may be negative: oversold units are kept and shown, never clamped away.
	Units int64
	// Set: the master's first clean sample (or a person) gave Units; nothing is pushed before.
	Set bool
	// Stopped says why a person must choose the number before anything is written again; empty otherwise.
	Stopped string
	// Edits are the recent edits in any store, as evidence of a feed writing one number into several shops.
	Edits []EditMark
	// Registers are the fields beside the quantity.
	Registers Registers
}

// EditMark remembers that a store's quantity was set by hand or by a feed.
type EditMark struct {
	Store string `json:"store"`
	// To are the numbers it may have been set to.
	To []int64 `json:"to"`
	// Blur is by how many units sales may have moved To since the edit.
	Blur  int64     `json:"blur,omitempty"`
	Undid bool      `json:"undid,omitempty"`
	At    time.Time `json:"at"`
}

// Policy is what a store's part in a topology means for the algebra.
type Policy struct {
	// Master: its first clean sample sets the pool, and it shows the pool without buffer.
	Master bool
	// BufferUnits are held back from a child while the pool is positive.
	BufferUnits int64
	// Revert undoes edits instead of counting them.
	Revert bool
	// OrdersUnreadable: the key may not read orders, so c = o and nothing can be proved.
	OrdersUnreadable bool
	// Claimed: another ledger's agent writes to the store. What no order explains is taken for its doing and moves nothing: two
	// agents that each counted what the other wrote would drive the stock away for ever.
	Claimed bool
	// Recovering: the ledger was lost a short while ago, as markers of ours in some store tell.
	Recovering bool
	// Source: a source gives the numbers ([Target]), and the shop's own changes do not move them. Paused: nothing is to
	// be written, now or for what changes meanwhile.
	Source, Paused bool
}

// Wanted is f(L): what the store should show, in units.
func Wanted(pool Pool, pol Policy) int64 {
	if pol.Master || pool.Units <= 0 {
		return pool.Units
	}
	return max(0, pool.Units-pol.BufferUnits)
}

// PoolFor is the pool of which [Wanted] makes shown; where several do, the smallest.
func (pol Policy) PoolFor(shown int64) int64 {
	if pol.Master || shown <= 0 {
		return shown
	}
	return shown + pol.BufferUnits
}

// Plan brings Todo, DirtySince and what is to be written of the fields up to date after the pool or the placement changed.
func Plan(pool Pool, p *Placement, pol Policy, now time.Time) {
	todo := int64(0)
	switch {
	case pol.Source:
		todo = p.todo(pol)
	case pool.Set && p.Enrolled && p.Blocked == "":
		todo = Wanted(pool, pol) - p.Expected()
	}
	if todo != 0 && (p.Todo == 0 || p.DirtySince.IsZero()) {
		p.DirtySince = now
	}
	if todo == 0 {
		p.DirtySince = time.Time{}
	}
	p.Todo = todo
	if pol.Source {
		p.Shelf.Todo, p.Shelf.Rederive = Values{}, false // a source has numbers only
		return
	}
	p.planFields(pool, pol, now)
	p.planName(pool, pol)
}

// Kind names what happened to a SKU, in the history and in conflict rows.
type Kind string

// The kinds of entries. Those that can be conflicts say so.
const (
	Read         Kind = "Read"      // the shop's own part moved the pool
	Ordered      Kind = "Ordered"   // orders moved the pool
	Baselined    Kind = "Enrolled"  // a baseline was fixed; a conflict where the numbers disagreed
	Pushed       Kind = "Pushed"    // a push was answered
	Arrived      Kind = "Arrived"   // an unanswered push was proved to have arrived; a conflict where only its size tells
	Voided       Kind = "Voided"    // conflict: an unanswered push was judged not to have arrived
	Unclear      Kind = "Unclear"   // conflict: no explanation, or several, fitted; the lower stock was taken
	Lost         Kind = "Lost"      // conflict: WooCommerce overwrote a sale or a restock; repaired
	Edited       Kind = "Edited"    // an edit; a conflict where it might have been something else
	RestoredShop Kind = "Restored"  // conflict: the shop looks restored from a backup; accounts set anew
	Recovered    Kind = "Recovered" // conflict: the ledger was lost while orders were under way
	Claimed      Kind = "Claimed"   // conflict: the store carries markers of another ledger
	TakenOver    Kind = "TakenOver" // a store that another ledger claimed was taken over
	Feed         Kind = "Feed"      // conflict: several shops are written by a feed; the SKU is stopped
	Duplicate    Kind = "Duplicate" // conflict: two items of a store carry the SKU; the binding stays
	Renamed      Kind = "Renamed"   // the item has another SKU; a conflict where it cannot follow, or nobody knows why
	Copied       Kind = "Copied"    // conflict: an item carries the identity of another, as a copied product does
	Structure    Kind = "Structure" // conflict: stock is shared by variations in one store and not in another
	Unmanaged    Kind = "Unmanaged" // the item stopped managing its stock
	Fraction     Kind = "Fraction"  // conflict: the quantity is not a whole number
	Removed      Kind = "Removed"   // the item or the store went away; the pool stays
	Supplied     Kind = "Supplied"  // the source's number changed; a conflict where what it says cannot be used
	Awaited      Kind = "Awaited"   // a sale in a shop that the source does not have yet is held back everywhere
	Imported     Kind = "Imported"  // the source has the order of such a sale; a conflict where it does not within the time it is given
	Matched      Kind = "Matched"   // an item of a shop was found to sell a source's item, or another does now
	Resolved     Kind = "Resolved"  // a person chose the number
	FieldSet     Kind = "Field"     // a field beside the quantity was changed; a conflict where nobody can tell whose change holds
	Rederived    Kind = "Rederived" // the shop was made to derive a status that did not fit the quantity
)

// Entry is one line of a SKU's history; with Conflict set it also waits for a person to look at it.
type Entry struct {
	Kind  Kind
	Store string
	Pool  int64
	// SKU for people.
	SKU string
	// Delta is the change of the pool in units; Units the size of what happened or, in a conflict, of what
	// the number may be wrong by.
	Delta, Units int64
	// Quantity is the reading it rests on.
	Quantity int64
	// Attempt is the push it concerns, 0 if none.
	Attempt int64
	// Evidence says why, in a sentence for people: ids, dates and units, nothing else.
	Evidence string
	// Cause names what it follows from, where that is more exact than the kind: the reason of a fault, a run, a
	// person. Empty otherwise.
	Cause    string
	Conflict bool
	// At is when it held: of a baseline, the time of its reading on the store's clock; otherwise the caller
	// fills in the agent's time.
	At time.Time
}

func (p *Placement) entry(k Kind, units int64, evidence string) Entry {
	return Entry{Kind: k, Store: p.Store, Pool: p.Pool, SKU: p.SKU, Units: units, Quantity: p.Shown, Evidence: evidence}
}

// recount sets c from the accounts and carries the difference into the pool. It returns the pool's change.
func (p *Placement) recount(pool *Pool, pol Policy) int64 {
	if !p.Enrolled {
		return 0
	}
	c := min(p.ByQuantity(), p.ByOrders())
	switch {
	case pol.Source && pol.OrdersUnreadable:
		// A sale is not told from an edit: both stand.
		c = p.ByQuantity()
		p.Baseline = c + p.Taken
		p.Target.stands(c - p.Counted)
	case pol.Source:
		// What the orders do not explain is an edit, or a sale whose order comes in a moment.
		c = p.ByOrders()
	case pol.Claimed:
		c = p.ByOrders() // where orders cannot be read it stands still
		p.Contained = p.Quantity - c
	case pol.OrdersUnreadable:
		// Nothing tells an edit from a sale: the accounts never part, and nothing is judged.
		c = p.ByQuantity()
		p.Baseline = c + p.Taken
	case p.Undecided || p.Restored:
		c = p.ByOrders()
	}
	delta := c - p.Counted
	p.Counted = c
	if pol.Source || !pool.Set {
		return 0
	}
	pool.Units += delta
	return delta
}

// Disenroll forgets the baseline: the accounts will be set from the next clean sample, and the pool stays.
// blocked says why nothing is counted meanwhile; empty lets the next clean sample enrol it again.
func (p *Placement) Disenroll(blocked string) {
	p.Enrolled, p.Undecided, p.Restored = false, false, false
	p.Blocked = blocked
	p.Counted, p.Todo, p.DirtySince = 0, 0, time.Time{}
	p.Pushes = nil
	p.Target.Aside, p.Target.Due = 0, false
	for i := range p.Attempts {
		if p.Attempts[i].State == Seen {
			p.Attempts[i].State = Void
		}
	}
}
