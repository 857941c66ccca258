package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// What the ledger keeps of takeovers, per store: the id that was asked for and acted on, and the ledger taken over
// from with the time. Markers of that ledger older than this are history; newer ones mean that it is still at work.
const (
	valueClaimed   = "claimed"
	valueTakeOver  = "take over asked"
	valueTakenOver = "taken over"
)

// takeoverMargin is how far the clocks of two agents may be apart.
const takeoverMargin = time.Minute

// takenOver tells whether a marker of another ledger is from before that ledger was taken over from.
func (t *turn) takenOver(m stock.Marker) (bool, error) {
	text, err := t.tx.Value(t.st.ID, valueTakenOver)
	if err != nil || text == "" {
		return false, err
	}
	id, when, _ := strings.Cut(text, " ")
	at, err := time.Parse(time.RFC3339, when)
	if err != nil || id != m.Ledger {
		return false, err
	}
	return !m.At.After(at.Add(takeoverMargin)), nil
}

// mayTakeOver tells whether a person asks to take the store over from this ledger, and did not get that already: one
// annotation lifts one claim.
func (t *turn) mayTakeOver(claimed string) (bool, error) {
	if claimed == "" || t.st.TakeOver != claimed {
		return false, nil
	}
	asked, err := t.tx.Value(t.st.ID, valueTakeOver)
	return asked != claimed, err
}

// past tells whether a marker of another ledger claims nothing: that ledger was taken over from, or is now.
func (t *turn) past(m stock.Marker) (bool, error) {
	if over, err := t.takenOver(m); over || err != nil {
		return over, err
	}
	if may, err := t.mayTakeOver(m.Ledger); !may || err != nil {
		return false, err
	}
	return true, t.takeOver(m.Ledger)
}

// takeOver lifts the claim of a ledger.
func (t *turn) takeOver(claimed string) error {
	for name, value := range map[string]string{
		valueTakeOver: claimed, valueTakenOver: claimed + " " + t.now.UTC().Format(time.RFC3339), valueClaimed: "",
	} {
		if err := t.tx.SetValue(t.st.ID, name, value); err != nil {
			return err
		}
	}
	return t.tx.Append(stock.Entry{Kind: stock.TakenOver, Store: t.st.ID, At: t.now,
		Evidence: fmt.Sprintf("taken over from ledger %s, as an annotation asks; its older markers count no more", claimed)})
}

// takeOvers acts on what the configuration of a store asks for. Without the annotation the next one counts anew.
func (e *Engine) takeOvers(ctx context.Context, st Store) error {
	claimed, asked := "", ""
	err := e.ledger.View(ctx, func(tx Tx) (err error) {
		if claimed, err = tx.Value(st.ID, valueClaimed); err != nil {
			return err
		}
		asked, err = tx.Value(st.ID, valueTakeOver)
		return err
	})
	if err != nil || (claimed == "" && asked == "") {
		return err
	}
	return e.ledger.Update(ctx, func(tx Tx) error {
		t := &turn{e: e, tx: tx, st: st, now: e.clock.Now()}
		claimed, err := tx.Value(st.ID, valueClaimed)
		if err != nil {
			return err
		}
		if ok, err := t.mayTakeOver(claimed); ok || err != nil {
			if err != nil {
				return err
			}
			return t.takeOver(claimed)
		}
		asked, err := tx.Value(st.ID, valueTakeOver)
		if err == nil && asked != "" && asked != st.TakeOver {
			err = tx.SetValue(st.ID, valueTakeOver, "")
		}
		return err
	})
}
