package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	sim "stocksync.dev/stocksync/internal/sim/woocommerce"
	"stocksync.dev/stocksync/internal/stock"
)

// All that happened to one SKU stands in the log under its key: what was read or sold where, what was sent, and what
// came of it, and nothing of another SKU.
func TestTheLogTellsOneSKUsStory(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	hq := newShop(t, clock, "hq", nil, sim.SeedOptions{Products: 4})
	fr := newShop(t, clock, "fr", nil, sim.SeedOptions{Products: 4})
	b := startAgent(t, benchOptions{clock: clock}, masterDoc("hq", hq.url, "  mode: Sync\n"), followerDoc("fr", fr.url, ""), hq.secret("hq"), fr.secret("fr"))
	same := func(want string) func() (bool, string) {
		return func() (bool, string) {
			got := quantities(t, []*shopServer{hq, fr}, "SKU-0001")
			return got == want, got
		}
	}
	eventually(t, "both enrolled", func() (bool, string) {
		s := b.status()
		return len(s.Stores) == 2 && s.Stores[0].Enrolled > 0 && s.Stores[0].Enrolled == s.Stores[0].Placements && s.Stores[1].Enrolled == s.Stores[0].Enrolled, asJSON(s)
	})
	if _, err := fr.PlaceOrder(t.Context(), sim.Line{SKU: "SKU-0001", Quantity: 3}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the sale in the other shop", same("97 97"))
	var story []string
	eventually(t, "the answer in the log", func() (bool, string) {
		story = nil
		for line := range strings.Lines(b.log.String()) {
			if strings.Contains(line, " key=sku-0001 ") {
				story = append(story, line)
			}
		}
		return strings.Contains(strings.Join(story, ""), "msg=Pushed"), strings.Join(story, "")
	})
	at := func(parts ...string) int {
		return slices.IndexFunc(story, func(line string) bool {
			return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) })
		})
	}
	sold, sent, answered := at("store=fr", "delta=-3"), at("msg=sent", "store=hq", "units=-3"), at("msg=Pushed", "store=hq")
	if at("msg=Enrolled", "store=hq") < 0 || sold < 0 || sent < sold || answered < sent {
		t.Errorf("the story of SKU-0001 is\n%s", strings.Join(story, ""))
	}
	if slices.ContainsFunc(story, func(line string) bool { return strings.Contains(line, "SKU-0002") }) {
		t.Error("another SKU is in it")
	}
}

// What was rolled back never happened, and is not logged.
func TestTheLogTellsOnlyWhatIsDurable(t *testing.T) {
	t.Parallel()
	book := &logBook{}
	l := countingLedger{ledger.NewMemory(), nil, book.logger()}
	refused := fmt.Errorf("refused")
	err := l.Update(t.Context(), func(tx engine.Tx) error {
		if err := tx.Append(stock.Entry{Kind: stock.Lost, SKU: "A"}); err != nil {
			return err
		}
		return refused
	})
	if err != refused || book.String() != "" { //nolint:errorlint // it is handed through as it is
		t.Errorf("%v, %q", err, book.String())
	}
}

// An annotation raises what is logged while it is there, without a restart.
func TestAnAnnotationRaisesWhatIsLogged(t *testing.T) {
	t.Parallel()
	told := make(chan string, 100)
	docs := func(value string) []string {
		docs := stubDocs("")
		docs[0] = strings.Replace(docs[0], "metadata: {name: emea}", "metadata: {name: emea, annotations: {stocksync.dev/log-verbosity: \""+value+"\"}}", 1)
		return docs
	}
	b := startAgent(t, benchOptions{clock: newFastClock(), dial: (&dialer{}).dial, ledger: ledger.NewMemory(), verbosity: func(v *int) {
		if v == nil {
			told <- "as the flag says"
			return
		}
		told <- fmt.Sprint(*v)
	}}, docs("1")...)
	newest := func() (last string) {
		for len(told) > 0 {
			last = <-told
		}
		return last
	}
	if got := newest(); got != "1" {
		t.Errorf("with the annotation: %q", got)
	}
	b.apply(docs("")...)
	if got := newest(); got != "as the flag says" {
		t.Errorf("without it: %q", got)
	}
	b.apply(docs("loud")...)
	if s := b.status(); !strings.Contains(s.ConfigError, "stocksync.dev/log-verbosity]: must be 0, 1 or 2") {
		t.Errorf("a wrong value: %q", s.ConfigError)
	}
}
