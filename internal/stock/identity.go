package stock

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxFormer bounds the names that are remembered of an item.
const maxFormer = 16

// nameRetry is how long a name that another item of the store has is not asked for again.
const nameRetry = time.Hour

// Naming is what is known of an item's SKU in one store.
type Naming struct {
	// Todo is the SKU that it should have and has not; empty where there is nothing to do.
	Todo string `json:"todo,omitempty"`
	// Refused is the SKU that it cannot get, because another item has it. A person was told.
	Refused string `json:"refused,omitempty"`
	// Denied is a SKU that it was given last and did not show in the answer.
	Denied string `json:"denied,omitempty"`
	// Again is when the next try may be made.
	Again time.Time `json:"again,omitzero"`
	// Tried are the names last sent to a store that names no objects: its item may have any of them. The newest is last.
	Tried []string `json:"tried,omitempty"`
	// Open: the last of them was sent, and the item was not read since.
	Open bool `json:"open,omitempty"`
	// Second is when the master last told by an event what it is called, in Unix seconds of its clock.
	Second int64 `json:"second,omitempty"`
}

// Due tells whether the item has another name than it should, or may have.
func (n *Naming) Due() bool { return n.Todo != "" || n.Open }

// maxTried bounds the names that are remembered as sent.
const maxTried = 4

// Try notes that a name is about to be sent.
func (n *Naming) Try(sku string) {
	n.Tried = slices.DeleteFunc(slices.Clone(n.Tried), func(s string) bool { return s == sku })
	n.Tried, n.Open = append(n.Tried, sku), true
	n.Tried = n.Tried[max(0, len(n.Tried)-maxTried):]
}

// Anew is what stays when there is another name to give, or none.
func (n Naming) Anew() Naming { return Naming{Tried: n.Tried, Open: n.Open, Second: n.Second} }

// Refuse notes that another item has the name, or that the store does not take it. It returns whether that is news.
func (n *Naming) Refuse(sku string, now time.Time) bool {
	news := n.Refused != sku
	n.Refused, n.Again = sku, now.Add(nameRetry)
	return news
}

// NewGID makes an id no item ever had: a UUID of version 4, as the Kitgenix plugin makes them.
func NewGID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// IsGID tells whether a text found in a store is an id of the plugin's form.
func IsGID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, r := range text {
		hexadecimal := r >= '0' && r <= '9' || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F'
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') || !dash && !hexadecimal {
			return false
		}
	}
	return true
}

// temporary begins the SKU an item has for a moment, while two items change theirs with each other.
const temporary = "stocksync-"

// TemporaryName is the SKU a pool's items have for a moment, where another item has to give up theirs first.
func TemporaryName(pool Pool) string {
	if pool.GID == "" {
		return fmt.Sprintf("%s%d", temporary, pool.ID)
	}
	return temporary + pool.GID
}

// Knows tells whether the key is or was the pool's own name, or its temporary one: an item that shows it was named by
// the master or by us.
func (pool Pool) Knows(key Key) bool {
	own := func(name string) bool { return KeyOf(name) == key }
	return own(pool.SKU) || own(TemporaryName(pool)) || slices.ContainsFunc(pool.Former, own)
}

// Rename takes in that the master's item has another SKU.
func Rename(pool *Pool, sku string) {
	pool.Former = slices.DeleteFunc(slices.Clone(pool.Former), func(name string) bool { return name == pool.SKU || name == sku })
	pool.Former = append(pool.Former, pool.SKU)
	pool.Former = pool.Former[max(0, len(pool.Former)-maxFormer):]
	pool.SKU, pool.Renamed = sku, true
}

// planName says what the item is to be called. The master's own items are called what they are.
func (p *Placement) planName(pool Pool, pol Policy) {
	was := p.Naming.Todo
	p.Naming.Todo = ""
	if pol.Master || !pool.Renamed || KeyOf(pool.SKU) == KeyOf(p.SKU) || p.Blocked == string(Renamed) || p.Blocked == string(Structure) {
		return
	}
	if was != pool.SKU {
		p.Naming = p.Naming.Anew()
	}
	p.Naming.Todo = pool.SKU
}

// Movers follows a name that an item of the master took. shows is the key a pool's item shows there now, false where
// it has none; owner is the pool known by a key, 0 if none. It returns the pools that take on what they show, all at
// once; if they cannot, holder is the pool whose item stands in the way.
func Movers(start int64, shows func(pool int64) (Key, bool), owner func(Key) int64) (moving []int64, holder int64) {
	for at := start; ; {
		key, ok := shows(at)
		if !ok {
			return moving, at
		}
		moving = append(moving, at)
		next := owner(key)
		switch {
		case next == 0 || next == start:
			return moving, 0
		case slices.Contains(moving, next):
			// Two items show one name.
			return moving, next
		}
		at = next
	}
}

// Misnamed is an item of a store that is to be given another SKU.
type Misnamed struct {
	Pool int64
	// Has is the SKU it has, Wanted the one it should have, Temporary the one it may have meanwhile.
	Has, Wanted, Temporary string
	// Refused: the name is another item's, as far as is known.
	Refused bool
}

// NameStep gives an item a SKU.
type NameStep struct {
	Pool int64
	SKU  string
}

// NameSteps orders what is to be written: a store refuses a SKU that another item has, so each name is given up
// before it is given away, and of items that exchange their names in a ring one gets a temporary one; its last
// step comes with the next call. Steps whose name nobody is about to give up are left out.
func NameSteps(items []Misnamed) []NameStep {
	has := map[Key]int{}
	for i, it := range items {
		has[KeyOf(it.Has)] = i
	}
	const unseen, open, done, stuck = 0, 1, 2, 3
	state := make([]int, len(items))
	var steps []NameStep
	for first := range items {
		var path []int
		at := first
		for state[at] == unseen {
			state[at] = open
			path = append(path, at)
			next, held := has[KeyOf(items[at].Wanted)]
			if !held || next == at {
				break
			}
			at = next
		}
		if len(path) == 0 {
			continue
		}
		last := path[len(path)-1]
		if next, held := has[KeyOf(items[last].Wanted)]; held && next != last {
			switch state[next] {
			case open:
				if slices.ContainsFunc(path, func(i int) bool { return items[i].Refused }) {
					for _, i := range path {
						state[i] = stuck
					}
					continue
				}
				// A ring: whoever holds the name steps aside, and is named when all others are.
				steps = append(steps, NameStep{items[next].Pool, items[next].Temporary})
				state[next] = done
				path = slices.DeleteFunc(path, func(i int) bool { return i == next })
			case stuck:
				for _, i := range path {
					state[i] = stuck
				}
				continue
			}
		}
		blocked := false
		for _, i := range slices.Backward(path) {
			if blocked = blocked || items[i].Refused; blocked {
				state[i] = stuck
				continue
			}
			state[i] = done
			steps = append(steps, NameStep{items[i].Pool, items[i].Wanted})
		}
	}
	return steps
}

// IsTemporary tells whether a SKU is one an item has for a moment.
func IsTemporary(sku string) bool { return strings.HasPrefix(string(KeyOf(sku)), temporary) }
