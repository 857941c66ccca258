package engine

import (
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/agentapi"
)

// countingTx counts findings.
type countingTx struct {
	Tx
	kept int
}

func (t *countingTx) AddFinding(int64, agentapi.Finding) error {
	t.kept++
	return nil
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	tx := &countingTx{}
	w := (&walk{Run: 1, RunStore: agentapi.RunStore{StoreID: "fr"}}).clone()
	for n := range int64(maxFindings + 50) {
		if err := w.found(tx, maxFindings, agentapi.Finding{Class: agentapi.QuantityDiffers, Units: n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.found(tx, maxFindings, agentapi.Finding{Class: agentapi.IdentityMismatch}); err != nil {
		t.Fatal(err)
	}
	if tx.kept != maxFindings || w.Counts[agentapi.QuantityDiffers] != maxFindings+50 {
		t.Errorf("%d kept, counted %v", tx.kept, w.Counts)
	}
	if len(w.Worst) != agentapi.MaxWorst || w.Worst[0].Class != agentapi.IdentityMismatch || w.Worst[1].Units != maxFindings+49 {
		t.Errorf("the worst are %+v", w.Worst)
	}
	if said := strings.Join(capped(agentapi.Run{Counts: w.Counts}, kept(map[string]*walk{"fr": w})), ""); !strings.Contains(said, "first 10000") {
		t.Errorf("it says %q", said)
	}
}
