package woocommerce

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// place is how far a walk through a collection, ordered by id, has come; as text it is the engine's cursor.
//
// Pages overlap: where the first row of a page was not seen before, rows before it left the collection meanwhile
// and the others moved forward, so the walk steps back. Ordered by date instead, every row that is changed while
// we read would move to the end and pull the ones after it past us.
type place struct {
	// offset is where the next page begins, or done.
	offset int
	// last is the largest id seen.
	last int64
	// back counts how often in a row the walk stepped back: rows the shop counts but cannot show look as if
	// they had left, and must not hold it up for ever.
	back int
	// dry counts the pages in a row that brought nothing new.
	dry int
	// pending are products whose variations were not read yet.
	pending []int64
}

const (
	done    = -1
	maxBack = 3
	maxDry  = 4
)

func (p place) String() string {
	if p.offset == done && len(p.pending) == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d.%d.%s", p.offset, p.last, p.back, p.dry, joinIDs(p.pending))
}

func parsePlace(s string) (place, error) {
	if s == "" {
		return place{}, nil
	}
	wrong := &engine.Fault{Reason: v1alpha1.ReasonInvalidConfiguration, Message: "the cursor is not one of this version: begin again without one", Unsent: true}
	f := strings.Split(s, ".")
	if len(f) != 5 {
		return place{}, wrong
	}
	var n [4]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil || n[i] < done || n[i] > maxWhole {
			return place{}, wrong
		}
	}
	p := place{offset: int(n[0]), last: n[1], back: int(n[2]), dry: int(n[3])}
	for id := range strings.SplitSeq(f[4], ",") {
		if id == "" {
			continue
		}
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return place{}, wrong
		}
		p.pending = append(p.pending, n)
	}
	return p, nil
}

func joinIDs(ids []int64) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = strconv.FormatInt(id, 10)
	}
	return strings.Join(s, ",")
}

type identified interface{ ident() whole }

// listing is what was read of a collection.
type listing[T identified] struct {
	rows   []T
	window stock.Window
	// short: the shop counts rows that it does not show, so one that is absent need not be gone.
	short bool
}

func (l *listing[T]) add(m listing[T]) {
	l.rows, l.window, l.short = append(l.rows, m.rows...), span(l.window, m.window), l.short || m.short
}

// page reads the rows of a collection at a place, without those seen before, and returns the place after them.
func page[T identified](ctx context.Context, c *Client, path string, query url.Values, at place) (listing[T], place, error) {
	fail := func(err error) (listing[T], place, error) { return listing[T]{}, at, err }
	query.Set("orderby", "id")
	query.Set("order", "asc")
	stepped := false
	for {
		size := c.reads.size()
		query.Set("per_page", strconv.Itoa(size))
		query.Set("offset", strconv.Itoa(at.offset))
		a, err := c.get(ctx, path, query)
		if c.reads.learn(a, err, c.timeout); a.tooLarge && size > minPage {
			continue
		}
		if err != nil {
			return fail(err)
		}
		rows, err := decode[list[T]](a)
		if err == nil {
			err = ordered(rows)
		}
		if err != nil {
			return fail(err)
		}
		if at.offset > 0 && (at.back < maxBack || stepped) && (len(rows) == 0 || rows[0].ident().n > at.last) {
			at.offset, stepped = max(0, at.offset-size), true
			continue
		}
		got := listing[T]{window: a.window}
		next := place{offset: at.offset + size - 1, last: at.last, dry: at.dry + 1, pending: at.pending}
		if stepped {
			// Half a page of rows seen before is more than a shop hides in one place.
			next.offset, next.back = at.offset+size/2, at.back+1
		}
		for _, r := range rows {
			if r.ident().n > at.last {
				got.rows, next.dry = append(got.rows, r), 0
			}
			next.last = max(next.last, r.ident().n)
		}
		total, err := strconv.Atoi(a.header.Get("X-WP-Total"))
		counted := err == nil
		got.short = counted && len(rows) < min(size, total-at.offset)
		switch {
		case !counted && len(rows) == 0:
			// Absence means much, so it must be said in WooCommerce's own way.
			return fail(unexpected("the shop answers with an empty list that lacks its count (X-WP-Total): something in front of it may answer in its place"))
		case !counted && len(rows) < size, counted && at.offset+size >= total:
			next.offset = done
		case len(rows) == 0:
			return fail(unexpected("the shop lists nothing where it says there is more: a plugin may hide rows from the REST API"))
		case next.dry > maxDry:
			return fail(unexpected("the shop lists the same rows again and again: a plugin may change the paging of the REST API"))
		}
		return got, next, nil
	}
}

// ordered checks that the shop kept to the order asked for; a walk through any other could miss rows.
func ordered[T identified](rows []T) error {
	last := int64(0)
	for _, r := range rows {
		id := r.ident()
		if !id.ok || id.n <= 0 {
			return unexpected("a row of the answer has no id: a plugin of the shop may change the REST API")
		}
		if id.n < last {
			return unexpected("the shop does not list in the order asked for: a plugin may change the order of its lists")
		}
		last = id.n
	}
	return nil
}

// all walks a collection to its end.
func all[T identified](ctx context.Context, c *Client, path string, query url.Values) (listing[T], error) {
	var (
		read listing[T]
		at   place
	)
	for at.offset != done {
		more, next, err := page[T](ctx, c, path, query, at)
		if err != nil {
			return read, err
		}
		read.add(more)
		at = next
	}
	return read, nil
}

// byID reads the named rows of a collection; those that are not in it are absent.
func byID[T identified](ctx context.Context, c *Client, path string, query url.Values, ids []int64) (listing[T], error) {
	var read listing[T]
	for len(ids) > 0 {
		n := min(len(ids), c.reads.size())
		query.Set("include", joinIDs(ids[:n]))
		more, err := all[T](ctx, c, path, query)
		if err != nil {
			return read, err
		}
		read.add(more)
		ids = ids[n:]
	}
	return read, nil
}

// span is the shortest window that holds both; a zero one holds nothing.
func span(a, b stock.Window) stock.Window {
	switch {
	case a.To.IsZero():
		return b
	case b.To.IsZero():
		return a
	}
	if b.From.Before(a.From) {
		a.From = b.From
	}
	if b.To.After(a.To) {
		a.To = b.To
	}
	return a
}

// since adds the filter "modified at or after t". WooCommerce compares strictly and to the second, and only a
// naive date together with dates_are_gmt means UTC.
func since(query url.Values, t time.Time) {
	if t.IsZero() {
		return
	}
	query.Set("modified_after", t.UTC().Truncate(time.Second).Add(-time.Second).Format("2006-01-02T15:04:05"))
	query.Set("dates_are_gmt", "true")
}

// notFound tells whether a whole request was refused because what its path names does not exist.
func notFound(a answer) bool {
	return a.status == http.StatusNotFound && strings.HasSuffix(a.code, "_invalid_id")
}
