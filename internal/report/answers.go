package report

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"stocksync.dev/stocksync/internal/agentapi"
)

// Status prints how an agent and its stores are.
func (p Printer) Status(s agentapi.Status) error {
	if done, err := p.structured(s); done {
		return err
	}
	out := NewPage(p.Out)
	out.Line("Agent %s, configuration %s, ledger %s, up %s", s.AgentVersion, s.ConfigRevision, s.LedgerID, Age(s.Now.Sub(s.StartedAt)))
	out.Line("%d pools, %d oversold (%d units), %d SKUs stopped, %d conflicts", s.Pools, s.OversoldPools, s.OversoldUnits, s.StoppedSKUs, s.Conflicts)
	if v := s.Volume; v != nil && v.FreePercent() < agentapi.NearlyFullPercent {
		out.Line("The ledger's volume is nearly full: %d %% are free", v.FreePercent())
	}
	if s.ConfigError != "" {
		out.Line("Configuration not in use: %s", s.ConfigError)
	}
	for _, r := range []*agentapi.Run{s.LastReconcile, s.LastAudit} {
		if r != nil {
			out.Line("%s", Progress(*r))
		}
	}
	if s.Breaker != nil {
		p.breaker(out, *s.Breaker)
	}
	Source(out, s)
	out.Line("")
	out.Row("STORE", "MODE", "CONNECTED", "IN-SYNC", "TIER", "SKUS", "ENROLLED", "BACKLOG", "LAG", "CONFLICTS", "LAST-SEEN")
	for _, st := range s.Stores {
		name := st.StoreID
		if st.Master {
			name += " (master)"
		}
		seen := "never"
		if st.LastSeenTime != nil {
			seen = Age(s.Now.Sub(*st.LastSeenTime)) + " ago"
		}
		out.Row(name, st.Mode, st.Connected.Status, st.InSync.Status, st.Tier, st.Placements, st.Enrolled, st.Backlog,
			fmt.Sprintf("%ds", st.LagSeconds), st.Conflicts, seen)
	}
	for _, st := range s.Stores {
		for _, c := range []struct {
			name string
			agentapi.Condition
		}{{"Accepted", st.Accepted}, {"Connected", st.Connected}, {"HintsAvailable", st.HintsAvailable}, {"InSync", st.InSync}} {
			if c.Status != "True" || slices.Contains(WorthTelling, c.Reason) {
				out.Line("\n%s: %s is %s (%s): %s", st.StoreID, c.name, c.Status, c.Reason, c.Message)
			}
		}
		for _, m := range st.Mismatches {
			out.Line("  %s: %s shows %d and should show %d", st.StoreID, m.SKU, m.Shown, m.Wanted)
		}
	}
	return out.End()
}

// Source prints what is known of a source of stock, where there is one.
func Source(out *Page, s agentapi.Status) {
	src := s.Source
	if src == nil {
		return
	}
	text := fmt.Sprintf("Source: %s, %s", Count(src.Items, "item", "items"), Count(src.OpenOrders, "open order", "open orders"))
	if n := src.NotImported; n > 0 {
		text += fmt.Sprintf("; %s that it does not have yet", Count(n, "line of shops' orders", "lines of shops' orders"))
	}
	if n := src.Unsettled; n > 0 {
		text += fmt.Sprintf("; %s read again until of one moment", Count(n, "item is", "items are"))
	}
	out.Line("%s", text)
	if src.Plan != "" {
		out.Line("Requests: %d left; %s", src.RequestsLeft, src.Plan)
	}
	if src.ThrottledUntil != nil {
		out.Line("The source lets nothing through until %s.", moment(*src.ThrottledUntil))
	}
}

// WorthTelling are the reasons of conditions that are True and still have something to say.
var WorthTelling = []string{"Conflicts", "OrdersUnreadable", "ClockSkew"}

// Conflicts prints open conflicts.
func (p Printer) Conflicts(rows []agentapi.Entry) error {
	if done, err := p.structured(notNil(rows)); done {
		return err
	}
	out := NewPage(p.Out)
	if len(rows) == 0 {
		out.Line("No conflicts are open.")
		return out.End()
	}
	out.Row("ID", "WHEN", "STORE", "SKU", "KIND", "UNITS", "EVIDENCE")
	for _, r := range rows {
		out.Row(r.ID, moment(r.At), dash(r.Store), dash(r.SKU), r.Kind, signed(r.Units), r.Evidence)
	}
	out.Line("\n`%s conflicts resolve SKU UNITS` sets a number, `%s conflicts dismiss ID` leaves it as it is.", p.Command, p.Command)
	return out.End()
}

// History prints why a SKU's number is what it is.
func (p Printer) History(h agentapi.SKUHistory) error {
	if done, err := p.structured(h); done {
		return err
	}
	out := NewPage(p.Out)
	if h.Set {
		out.Line("%s: %d units.", h.SKU, h.Units)
	} else {
		out.Line("%s has no number yet: it comes with the master's first clean reading.", h.SKU)
	}
	if h.Stopped != "" {
		out.Line("Stopped: %s. Nothing is written until `%s conflicts resolve %s UNITS`.", h.Stopped, p.Command, h.SKU)
	}
	out.Line("")
	out.Row("STORE", "SHOWS", "TO-DO", "READ", "NOTE")
	for _, s := range h.Shelves {
		out.Row(s.Store, s.Shown, signed(s.Todo), moment(s.ReadAt), s.Note)
	}
	out.Line("")
	out.Row("WHEN", "STORE", "KIND", "STOCK", "UNITS", "READING", "EVIDENCE")
	for _, e := range h.Entries {
		out.Row(moment(e.At), dash(e.Store), kind(e), signed(e.Delta), signed(e.Units), e.Quantity, evidence(e))
	}
	return out.End()
}

func kind(e agentapi.Entry) string {
	if e.Conflict {
		return e.Kind + " (conflict)"
	}
	return e.Kind
}

func evidence(e agentapi.Entry) string {
	switch {
	case e.Cause == "":
		return e.Evidence
	case e.Evidence == "":
		return e.Cause
	}
	return e.Evidence + "; " + e.Cause
}

// Events prints lines of the event log, with the heads of the columns where header says so: a log that is
// followed is printed in parts. As JSON it is one object a line.
func (p Printer) Events(rows []agentapi.Entry, header bool) error {
	if p.Format == JSON {
		e := json.NewEncoder(p.Out)
		for _, r := range rows {
			if err := e.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	if done, err := p.structured(rows); done {
		if len(rows) == 0 {
			return nil
		}
		return err
	}
	out := NewPage(p.Out)
	// Fixed columns: what comes later must stand below.
	const form = "%-19s  %-7s  %-24s  %-16s  %-24s  %6s  %s"
	if header {
		out.Line(form, "WHEN", "LEVEL", "CODE", "STORE", "SKU", "STOCK", "EVIDENCE")
	}
	for _, e := range rows {
		code := e.Code
		if code == "" {
			code = kind(e)
		}
		out.Line(form, moment(e.At), dash(e.Level), code, dash(e.Store), dash(e.SKU), signed(e.Delta), evidence(e))
	}
	return out.End()
}

// Backlog prints placements that differ from what they should show.
func (p Printer) Backlog(items iter.Seq2[agentapi.BacklogItem, error]) error {
	if p.Format == JSON || p.Format == YAML {
		return stream(p, nil, items)
	}
	out := NewPage(p.Out)
	n := 0
	for i, err := range items {
		if err != nil {
			_ = out.End()
			return err
		}
		if n++; n == 1 {
			out.Row("STORE", "SKU", "SHOWS", "SHOULD-SHOW", "SINCE", "NOTE")
		}
		out.Row(i.Store, i.SKU, i.Shown, i.Wanted, moment(i.Since), i.Note)
	}
	if n == 0 {
		out.Line("Nothing waits: every store shows what it should.")
	}
	return out.End()
}

// Ping prints tests of connections. It is up to the caller to fail when one of them did.
func (p Printer) Ping(pings []agentapi.Ping) error {
	if done, err := p.structured(notNil(pings)); done {
		return err
	}
	out := NewPage(p.Out)
	out.Row("STORE", "CHECK", "RESULT", "TIME", "MESSAGE")
	for _, ping := range pings {
		for _, c := range ping.Checks {
			result := "ok"
			if !c.OK {
				result = "failed"
				if c.Reason != "" {
					result = c.Reason
				}
			}
			out.Row(ping.StoreID, c.Name, result, fmt.Sprintf("%dms", c.Milliseconds), c.Message)
		}
	}
	return out.End()
}

// Breaker prints the circuit breaker, nil when it has not tripped.
func (p Printer) Breaker(b *agentapi.Breaker) error {
	if done, err := p.structured(b); done {
		return err
	}
	out := NewPage(p.Out)
	if b == nil {
		out.Line("The circuit breaker has not tripped.")
	} else {
		p.breaker(out, *b)
	}
	return out.End()
}

func (p Printer) breaker(out *Page, b agentapi.Breaker) {
	out.Line("The circuit breaker tripped at %s: %s.", moment(b.Since), b.Message)
	out.Line("`%s breaker approve %s` lets it through.", p.Command, b.TripID)
}

// Closed prints what a request has done: as a sentence, or as the count.
func (p Printer) Closed(c agentapi.Closed, sentence string) error {
	if done, err := p.structured(c); done {
		return err
	}
	out := NewPage(p.Out)
	out.Line("%s", sentence)
	return out.End()
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
