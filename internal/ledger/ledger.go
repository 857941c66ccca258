// Package ledger is the agent's durable memory: [SQLite] on disk, and [Memory], which answers the same, for
// tests and simulations. Both are an [engine.Ledger]; the methods beside it are for people and for status.
//
// # What is stored
//
//	ledger        its id, and the number of the last attempt
//	pools, keys   the stock of each SKU, and which SKUs share it
//	placements    per store: the object that holds the stock, its two accounts, its unanswered pushes
//	lines         per order line: ids, dates and the units it holds of an item
//	store_values  per store: small texts such as poll cursors
//	history       why each number is what it is: kind, store, SKU, units, dates
//	conflicts     the rows of the history that wait for a person
//	runs          the reconciles and audits, and
//	findings      what they found: store, SKU, units and a sentence
//	nonces        fingerprints of signed requests, for minutes, so that none comes twice
//
// Ids, SKUs, dates and units: no name, address, price or anything else of a customer, and no credential.
//
// # What it promises
//
// When Update returns nil its changes are on the disk; when it returns an error nothing of them is visible.
// A full disk is [ErrDiskFull]: nothing acknowledged is lost, and work goes on when there is space again.
//
// One transaction cannot be begun within another. Times are kept to the microsecond, in UTC. A limit of 0 or
// less means no limit.
package ledger

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/event"
	"stocksync.dev/stocksync/internal/stock"
)

// Row is an entry with the number it got when it was appended. A conflict and its line in the history
// carry the same number.
type Row struct {
	ID int64
	stock.Entry
}

// EventQuery chooses lines of the history; the zero value chooses all of them.
type EventQuery struct {
	// After is the number of the last line already known.
	After int64
	// Limit is how many lines are wanted: the first after After or, with Newest, the last.
	Limit  int
	Newest bool
	// Store and SKU, where set, are those the lines are about; the SKU may be spelled as in any store.
	Store, SKU string
	// Level is the least serious that is wanted; empty means any.
	Level event.Level
}

// seriously is the condition on kind and conflict that [event.Of] gives at least the wanted level; empty when all
// have it.
func (q EventQuery) seriously() string {
	in := func(conflict bool) string {
		var names []string
		for _, k := range event.Kinds(q.Level, conflict) {
			names = append(names, "'"+string(k)+"'")
		}
		return `kind IN (` + strings.Join(names, ", ") + `)`
	}
	switch {
	case event.Info.AtLeast(q.Level):
		return ""
	case event.Warning.AtLeast(q.Level):
		// Every conflict is at least a warning.
		return `(conflict = 1 OR ` + in(false) + `)`
	}
	return `(conflict = 1 AND ` + in(true) + ` OR conflict = 0 AND ` + in(false) + `)`
}

// Totals are the counts over all stores.
type Totals struct {
	Pools, Stopped, Conflicts int
	// Oversold counts pools below zero, OversoldUnits what they lack together.
	Oversold      int
	OversoldUnits int64
}

// Errors a caller can tell apart.
var (
	// ErrReadOnly is returned for a write within View.
	ErrReadOnly = errors.New("the ledger cannot be changed within View: use Update")
	// ErrDone is returned for the use of a transaction that has ended.
	ErrDone = errors.New("this ledger transaction has ended")
	// ErrDiskFull: the disk took no more, and what was refused has not happened.
	ErrDiskFull = errors.New("the ledger's disk is full: free some space or enlarge the volume")
	// ErrDamaged: the file is not a readable ledger.
	ErrDamaged = errors.New("the ledger's file is damaged: stop the agent, move the file away (or put a copy back) and start again; " +
		"a new ledger with the same id finds the stores' state again")
	// ErrInUse: another process, or another Open, holds the ledger.
	ErrInUse = errors.New("the ledger is in use by another process: stop that one first")
	// ErrNewerSchema: a newer version of the program has written the ledger.
	ErrNewerSchema = errors.New("the ledger was written by a newer version: run that version or a later one")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the ledger is closed")
)

// worst is how many placements Stats names: as many as status shows of one store.
const worst = 10

// takenError says that what should be bound is bound to another pool.
func takenError(what string, pool int64) error {
	return fmt.Errorf("%s belongs to pool %d already: remove it there first", what, pool)
}

var idForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

// chooseID settles on the ledger's id from the one stored and the one given, either of which may be empty.
func chooseID(stored, given string) (string, error) {
	switch {
	case given != "" && !idForm.MatchString(given):
		return "", errors.New("the ledger id must be 32 lower-case hexadecimal digits")
	case stored != "" && given != "" && stored != given:
		return "", fmt.Errorf("this ledger has the id %s but %s was given: give it its own id, or move the ledger's file away to start a new one", stored, given)
	case stored != "":
		return stored, nil
	case given != "":
		return given, nil
	}
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("make a ledger id: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// at is the form in which times are kept.
func at(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

// The copies below share nothing with their argument and have every time, and every empty slice, in the one
// form it is kept in.

func copyPool(p stock.Pool) stock.Pool {
	p.Edits, p.Former = clone(p.Edits), clone(p.Former)
	for i := range p.Edits {
		p.Edits[i].At, p.Edits[i].To = at(p.Edits[i].At), clone(p.Edits[i].To)
	}
	for i := range p.Registers {
		p.Registers[i].At, p.Registers[i].Hour = at(p.Registers[i].At), at(p.Registers[i].Hour)
	}
	return p
}

func copyPlacement(p stock.Placement) stock.Placement {
	p.ReadAt, p.PartedSince, p.UnansweredAt, p.DirtySince = at(p.ReadAt), at(p.PartedSince), at(p.UnansweredAt), at(p.DirtySince)
	p.Attempts, p.Pushes = clone(p.Attempts), clone(p.Pushes)
	for i := range p.Attempts {
		p.Attempts[i].SentAt = at(p.Attempts[i].SentAt)
	}
	for i := range p.Pushes {
		p.Pushes[i].From, p.Pushes[i].To = at(p.Pushes[i].From), at(p.Pushes[i].To)
	}
	p.Naming.Again, p.Naming.Tried = at(p.Naming.Again), clone(p.Naming.Tried)
	p.Shelf.Modified, p.Shelf.Rederived = at(p.Shelf.Modified), at(p.Shelf.Rederived)
	p.Shelf.Writes = clone(p.Shelf.Writes)
	for i := range p.Shelf.Writes {
		p.Shelf.Writes[i].At = at(p.Shelf.Writes[i].At)
	}
	p.Absolute.Writes, p.Absolute.Heard = clone(p.Absolute.Writes), clone(p.Absolute.Heard)
	for i := range p.Absolute.Writes {
		w := &p.Absolute.Writes[i]
		w.From, w.SentAt, w.Until, w.Told = at(w.From), at(w.SentAt), at(w.Until), clone(w.Told)
	}
	for i := range p.Absolute.Heard {
		p.Absolute.Heard[i].At = at(p.Absolute.Heard[i].At)
	}
	if p.Target != (stock.Target{}) {
		p.Target.Created = at(p.Target.Created)
	}
	return p
}

func copyLine(l stock.Line) stock.Line {
	l.Created, l.Modified = at(l.Created), at(l.Modified)
	l.Changes = clone(l.Changes)
	for i := range l.Changes {
		l.Changes[i].At, l.Changes[i].Since = at(l.Changes[i].At), at(l.Changes[i].Since)
	}
	return l
}

func copyItem(i stock.Stocked) stock.Stocked {
	i.Created, i.Modified = at(i.Created), at(i.Modified)
	i.Supplies, i.Owed = clone(i.Supplies), clone(i.Owed)
	for n := range i.Supplies {
		i.Supplies[n].At = at(i.Supplies[n].At)
	}
	for n := range i.Owed {
		i.Owed[n].Created, i.Owed[n].Since = at(i.Owed[n].Created), at(i.Owed[n].Since)
	}
	return i
}

func copyEntry(e stock.Entry) stock.Entry {
	e.At = at(e.At)
	return e
}

func clone[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}

// newest is the latest of a line's dates.
func newest(l stock.Line) time.Time {
	if l.Modified.After(l.Created) {
		return l.Modified
	}
	return l.Created
}

// waits tells whether the placement has no baseline yet. One that manages no stock needs none.
func waits(p stock.Placement) bool { return !p.Enrolled && p.Blocked != string(stock.Unmanaged) }

// pushable tells whether nothing on the placement's side keeps it from being pushed; its pool may.
func pushable(p stock.Placement) bool { return stock.MayPush(stock.Pool{Set: true}, p) }
