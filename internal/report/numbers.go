package report

import (
	"encoding/csv"
	"fmt"
	"iter"
	"strconv"

	"stocksync.dev/stocksync/internal/agentapi"
)

// ExportFormats are those of what stores should show: the first is for spreadsheets, and for the import of WooCommerce.
var ExportFormats = []Format{CSV, Table, JSON, YAML}

// Numbers prints what a store shows and should show, as CSV with the columns ID, SKU and Stock as WooCommerce's import
// knows them, and then how the number is made. What cannot be said is left out of Stock, so that an import leaves it alone.
func (p Printer) Numbers(numbers iter.Seq2[agentapi.Number, error]) error {
	switch p.Format {
	case JSON, YAML:
		return stream(p, nil, numbers)
	case CSV:
		return p.numbersCSV(numbers)
	}
	out := NewPage(p.Out)
	rows := 0
	for n, err := range numbers {
		if err != nil {
			_ = out.End()
			return err
		}
		if rows++; rows == 1 {
			out.Row("ID", "SKU", "SHOWS", "SHOULD-SHOW", "IN-STOCK", "ORDERS", "AWAITED", "NOTE")
		}
		s, wanted := sourced(n)
		out.Row(n.ID(), dash(n.SKU), n.Shown, dash(wanted), dash(s.InStock), dash(s.Counted), s.Awaited, n.Note)
	}
	if rows == 0 {
		out.Line("No item of the store is synced.")
	}
	return out.End()
}

func (p Printer) numbersCSV(numbers iter.Seq2[agentapi.Number, error]) error {
	out := csv.NewWriter(p.Out)
	if err := out.Write([]string{"ID", "SKU", "Stock", "Shown", "In stock", "Orders", "Awaited", "Committed by the source", "Item", "Note"}); err != nil {
		return err
	}
	for n, err := range numbers {
		if err != nil {
			out.Flush()
			return err
		}
		s, wanted := sourced(n)
		awaited := ""
		if n.Source != nil {
			awaited = strconv.FormatInt(s.Awaited, 10)
		}
		if err := out.Write([]string{fmt.Sprint(n.ID()), n.SKU, wanted, fmt.Sprint(n.Shown), s.InStock, s.Counted, awaited, s.Committed, s.Item, n.Note}); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func sourced(n agentapi.Number) (s agentapi.SourceNumber, wanted string) {
	if n.Source != nil {
		s = *n.Source
	}
	if n.Known {
		wanted = strconv.FormatInt(n.Wanted, 10)
	}
	return s, wanted
}

// Links prints which items of stores sell an item of the source where no SKU tells.
func (p Printer) Links(links []agentapi.Link) error {
	if done, err := p.structured(notNil(links)); done {
		return err
	}
	out := NewPage(p.Out)
	if len(links) == 0 {
		out.Line("No links: items are matched by their SKU alone. `%s link set STORE ID ITEM` makes one.", p.Command)
		return out.End()
	}
	out.Row("STORE", "ID", "ITEM", "SKU", "BY")
	for _, l := range links {
		out.Row(l.Store, l.ID, l.Item, dash(l.SKU), l.By)
	}
	return out.End()
}

// Linked says what a request for a link has done.
func Linked(q agentapi.LinkRequest) string {
	item := q.Item
	if item == "" {
		item = "the item with the SKU " + q.SKU
	}
	return fmt.Sprintf("%d in %s sells %s now, unless an SKU says otherwise.", q.ID, q.Store, item)
}
