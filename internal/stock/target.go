package stock

import (
	"slices"
	"strings"
	"time"
)

// Target is the number a source gives a placement. The shop's own changes do not move it. With
//
//	S + a   what the shop shows, as far as our pushes and its orders explain it
//	T       the target
//	aside   by how much the shop may be off it, until the item's next change
//
// what is to do is p = T + aside − (S + a): a write ends at the target, and is relative all the same. Aside is set when
// a baseline is fixed, so that nothing is written for what did not change since, and takes in what people edit in the
// shop. Every change of the item makes it zero.
type Target struct {
	// Known: the source gave a number; Units is T.
	Known bool  `json:"known,omitempty"`
	Units int64 `json:"units,omitempty"`
	Aside int64 `json:"aside,omitempty"`
	// Due: the item changed before the placement had a baseline.
	Due bool `json:"due,omitempty"`
	// Followed: the item changed since the placement was made, so the shop has shown its target.
	Followed bool `json:"followed,omitempty"`
	// Created is when the shop's item was made: of several with one SKU the newest is written. Linked: it was matched
	// by its id and not by its SKU.
	Created time.Time `json:"created,omitzero"`
	Linked  bool      `json:"linked,omitempty"`
}

// Expected is S + c: what the shop shows, as its accounts explain it.
func (p *Placement) Expected() int64 { return p.Contained + p.Counted }

// Retarget gives a placement its number. moved: the item changed, so it is to be written; otherwise the number is
// another for another reason, and what was to do stays as it is.
func (p *Placement) Retarget(units int64, moved bool, pol Policy) {
	t := &p.Target
	switch {
	case pol.Paused:
		t.Due, t.Aside = false, p.Expected()-units
	case moved:
		t.Aside, t.Due, t.Followed = 0, !p.Enrolled, true
	case t.Known:
		t.Aside += t.Units - units
	default:
		t.Aside = p.Expected() - units
	}
	t.Known, t.Units = true, units
}

// Correct asks for the target to be written whatever the shop was left to show.
func (p *Placement) Correct() {
	p.Target.Aside, p.Target.Due, p.Target.Followed = 0, !p.Enrolled, true
}

// stands keeps a change of the shop's number as it is until the item's next change.
func (t *Target) stands(units int64) { t.Aside += units }

// baseline is fixed: nothing is to do but what changed since the placement was made.
func (p *Placement) aim(pol Policy) {
	if t := &p.Target; t.Due && !pol.Paused {
		t.Aside, t.Due = 0, false
	} else {
		t.Aside, t.Due = p.Expected()-t.Units, false
	}
}

// todo is what is to be written.
func (p *Placement) todo(pol Policy) int64 {
	t := &p.Target
	if !t.Known || !p.Enrolled || p.Blocked != "" {
		return 0
	}
	if pol.Paused {
		t.Aside = p.Expected() - t.Units
	}
	return t.Units + t.Aside - p.Expected()
}

// Should is what the store should show; false where nothing is known of that.
func Should(pool Pool, p Placement, pol Policy) (int64, bool) {
	if pol.Source {
		return p.Target.Units, p.Target.Known
	}
	return Wanted(pool, pol), pool.Set
}

// Stocked is what the ledger knows of an item of a source.
type Stocked struct {
	SourceItem
	// Pool is what its placements are bound to.
	Pool int64
	// Supplies are the last readings used, by location.
	Supplies []Used
	// Owed are sales in shops that are not in those readings yet, oldest first.
	Owed []Owed
}

// Used is a reading that was used, and the step in which it was. What an order that the source had by that step
// holds is in it.
type Used struct {
	Supply
	Step int64
}

// Owed are units of a shop's order for which the source has no order yet: they are held back from every shop that is
// fed from the location.
type Owed struct {
	Store    string `json:"store"`
	Location string `json:"location"`
	Order    int64  `json:"order"`
	Line     int64  `json:"line"`
	Units    int64  `json:"units"`
	// Created is the order's, on the store's clock; Since is when it was found, on the agent's.
	Created time.Time `json:"created"`
	Since   time.Time `json:"since"`
}

// Import is one row of an order of a source that stands for a shop's order.
type Import struct {
	Order ShopOrder
	// Item the row is for; empty where the source does not tell the order's rows.
	Item string
	// Step is that of the ledger in which it was found, At when.
	Step int64
	At   time.Time
}

// Link says which item of a store sells an item of the source, where no SKU does.
type Link struct {
	Store string
	Ref   Ref
	Item  string
	// By is who made it.
	By LinkedBy
}

// LinkedBy is how a link came to be.
type LinkedBy string

// The ways. What a person says holds against what an order tells.
const (
	LinkedByOrder  LinkedBy = "Order"
	LinkedByPerson LinkedBy = "Person"
	LinkedByConfig LinkedBy = "Config"
)

// Supply is the last reading used at a location.
func (s Stocked) Supply(location string) (Used, bool) {
	for _, u := range s.Supplies {
		if u.Level.Location == location {
			return u, true
		}
	}
	return Used{}, false
}

// Forget takes the reading of a location away: what is read there next is a baseline again.
func (s *Stocked) Forget(location string) bool {
	n := len(s.Supplies)
	s.Supplies = slices.DeleteFunc(slices.Clone(s.Supplies), func(u Used) bool { return u.Level.Location == location })
	return len(s.Supplies) < n
}

// Use takes in a reading. It tells whether the item changed: its stock, or what is committed of it, counted here or not.
// What is only on its way is no change, and neither is the first reading of a location.
func (s *Stocked) Use(u Used) (moved bool) {
	s.Supplies = slices.Clone(s.Supplies)
	for i, was := range s.Supplies {
		if was.Level.Location == u.Level.Location {
			s.Supplies[i] = u
			return was.Level.OnHand != u.Level.OnHand || was.Level.Committed != u.Level.Committed || was.Level.Available != u.Level.Available || was.Demand != u.Demand
		}
	}
	s.Supplies = append(s.Supplies, u)
	slices.SortFunc(s.Supplies, func(a, b Used) int { return strings.Compare(a.Level.Location, b.Level.Location) })
	return false
}

// Owes is how many units are held back at a location.
func (s Stocked) Owes(location string) int64 {
	units := int64(0)
	for _, o := range s.Owed {
		if o.Location == location {
			units += o.Units
		}
	}
	return units
}

// Owe sets what one line of an order is owed, 0 for nothing any more, and returns by how much that changed.
func (s *Stocked) Owe(o Owed) int64 {
	i := slices.IndexFunc(s.Owed, func(was Owed) bool { return was.Store == o.Store && was.Order == o.Order && was.Line == o.Line })
	s.Owed = slices.Clone(s.Owed)
	switch {
	case i < 0 && o.Units == 0:
		return 0
	case i < 0:
		s.Owed = append(s.Owed, o)
		return o.Units
	}
	was := s.Owed[i].Units
	if o.Units == 0 {
		s.Owed = slices.Delete(s.Owed, i, i+1)
	} else {
		s.Owed[i].Units = o.Units
	}
	return o.Units - was
}

// Number is what a store is to show: the policy's number at its location, less what is owed there, less what is held back.
// False where the source gave none.
func (s Stocked) Number(location string, counts SupplyPolicy, pol Policy) (int64, bool) {
	u, ok := s.Supply(location)
	if !ok || s.Gone {
		return 0, false
	}
	whole, ok := counts.Whole(u.Supply)
	if !ok {
		return 0, false
	}
	return Wanted(Pool{Units: counts.Clamp(whole - s.Owes(location))}, pol), true
}
