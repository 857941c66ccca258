package woocommerce

import (
	"errors"
	"sync/atomic"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
)

// minPage is the fewest rows asked for at a time, however slow the shop is: pages must be able to overlap.
const minPage = 5

// pace is how many items are asked for in one request: as many as the shop copes with. How many are written in one is
// the engine's to learn.
type pace struct {
	// cut is by how many times the size was halved.
	cut atomic.Int64
}

func (p *pace) size() int { return max(engine.BatchSize>>p.cut.Load(), minPage) }

// learn halves the size when the shop did not cope with the last request, and doubles it when it did with ease.
func (p *pace) learn(a answer, err error, timeout time.Duration) {
	cut := p.cut.Load()
	var f *engine.Fault
	switch {
	case a.tooLarge, errors.As(err, &f) && f.Reason == v1alpha1.ReasonTimeout, err == nil && a.took > timeout/2:
		if p.size() > minPage {
			p.cut.CompareAndSwap(cut, cut+1)
		}
	case err == nil && a.took < timeout/8 && cut > 0:
		p.cut.CompareAndSwap(cut, cut-1)
	}
}
