package stock

import (
	"time"
)

// Absolute is what is known of an item in a store that can only be written whole numbers: what was written, and what
// the store said of the item by itself that is not judged yet. docs/algebra.md tells the rules.
type Absolute struct {
	// Writes are the recent ones, oldest first.
	Writes []Write `json:"writes,omitempty"`
	// Heard are events of the store that wait for a reading to be judged with.
	Heard []Hearing `json:"heard,omitempty"`
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
	// State is Open until a reading tells what became of it, Void when it was judged not to have arrived, and empty
	// once its number is known to have been there.
	State AttemptState `json:"state,omitempty"`
	// Answered: the store took the request. What it made of it only a reading tells.
	Answered bool `json:"answered,omitempty"`
	// Moved: the shop's own number had moved just before.
	Moved bool `json:"moved,omitempty"`
	// Lost are the units found to have moved in the gap, and counted; Told the numbers of events judged already.
	Lost int64   `json:"lost,omitempty"`
	Told []int64 `json:"told,omitempty"`
}

// Hearing is what an event of a store says of one item.
type Hearing struct {
	Quantity int64 `json:"quantity"`
	// Seconds is when the event was captured, in Unix seconds of the store's clock; 0 if it does not say.
	Seconds int64 `json:"seconds"`
	// At is when it arrived, on the agent's clock.
	At time.Time `json:"at"`
}
