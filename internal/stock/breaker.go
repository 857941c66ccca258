package stock

// Breaker says how large a change may be before a person is asked. The zero value is on, with the values below.
type Breaker struct {
	Disabled bool
	// SharePercent of the SKUs may fall to zero or grow tenfold; 0 means [BreakerShare].
	SharePercent int
	// MinimumSKUs is the least number of SKUs that is held back, whatever their share; 0 means [BreakerMinimum].
	MinimumSKUs int
}

// What a [Breaker] means where it says nothing, and what counts as a multiplication.
const (
	BreakerShare   = 20
	BreakerMinimum = 20
	BreakerFactor  = 10
)

// Drastic is a change of what a store should show that the breaker counts.
type Drastic int

// The changes there are.
const (
	Ordinary Drastic = iota
	// Zeroed: there was stock, and now there is none.
	Zeroed
	// Multiplied: there was stock, and now there is [BreakerFactor] times as much or more.
	Multiplied
)

// DrasticChange sorts a change of what a store should show, in units.
func DrasticChange(before, after int64) Drastic {
	switch {
	case before <= 0:
		return Ordinary
	case after <= 0:
		return Zeroed
	case after/BreakerFactor >= before:
		return Multiplied
	}
	return Ordinary
}

// Trips tells whether so many drastic changes, of so many SKUs, are more than may pass.
func (b Breaker) Trips(changed, of int) bool {
	return !b.Disabled && changed >= b.minimum() && 100*changed > b.share()*of
}

// Gathers tells whether so many drastic changes are enough to wait for the rest of what may be one large
// change: a tenth of what trips the breaker.
func (b Breaker) Gathers(changed, of int) bool {
	return !b.Disabled && changed >= b.minimum() && 1000*changed > b.share()*of
}

func (b Breaker) minimum() int {
	if b.MinimumSKUs > 0 {
		return b.MinimumSKUs
	}
	return BreakerMinimum
}

func (b Breaker) share() int {
	if b.SharePercent > 0 {
		return b.SharePercent
	}
	return BreakerShare
}
