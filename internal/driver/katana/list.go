package katana

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

const (
	// pageRows is the largest page there is.
	pageRows = 250
	// levelBatch is how many items one request for levels names; the longest URL allowed is not documented.
	levelBatch = 100
	// walks is how often a list is read whose pages move.
	walks = 3
	// maxPages bounds a list; a million rows are in no account.
	maxPages = 4000
)

// walked is a whole list, each row once.
type walked[T any] struct {
	rows   []T
	window stock.Window
}

// list reads all pages. Lists are newest first and cut by offset: what is added moves rows to later pages, where
// they are seen again; what is taken out moves rows to earlier ones, where they are missed. The count that comes
// with every page tells, and the list is read again.
func list[T any](ctx context.Context, c *Client, path string, query url.Values, id func(T) string) (walked[T], error) {
	for range walks {
		w, whole, err := walk(ctx, c, path, query, id)
		if err != nil || whole {
			return w, err
		}
	}
	return walked[T]{}, &engine.Fault{Reason: engine.ReasonInconsistentRead, Message: fmt.Sprintf("Katana's list of %s changed while it was read, %d times; it is tried again later", path, walks)}
}

func walk[T any](ctx context.Context, c *Client, path string, query url.Values, id func(T) string) (out walked[T], whole bool, err error) {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", strconv.Itoa(pageRows))
	seen, first, before := map[string]struct{}{}, 0, 0
	for page := 1; page <= maxPages; page++ {
		query.Set("page", strconv.Itoa(page))
		a, err := c.get(ctx, path, query)
		if err != nil {
			return out, false, err
		}
		rows, err := decodeList[T](a)
		if err != nil {
			return out, false, err
		}
		if page == 1 {
			out.window.From = a.window.From
		}
		out.window.To = a.window.To
		for _, r := range rows {
			if _, again := seen[id(r)]; !again {
				seen[id(r)] = struct{}{}
				out.rows = append(out.rows, r)
			}
		}
		count, last, known := pagination(a.header.Get("X-Pagination"))
		if !known {
			// Without a count only the length of a page tells that it is the last.
			if len(rows) < pageRows {
				return out, true, nil
			}
			continue
		}
		if page == 1 {
			first = count
		} else if count < before {
			return out, false, nil
		}
		before = count
		if last || len(rows) == 0 {
			return out, len(seen) >= first, nil
		}
	}
	return out, false, unexpected(fmt.Sprintf("Katana's list of %s has no end", path))
}

// pagination reads X-Pagination, whose values are numbers and booleans, or strings of them.
func pagination(header string) (count int, last, known bool) {
	var raw map[string]json.RawMessage
	if json.Unmarshal([]byte(header), &raw) != nil {
		return 0, false, false
	}
	plain := func(name string) string { return strings.Trim(string(raw[name]), `"`) }
	count, err := strconv.Atoi(plain("total_records"))
	if err != nil || count < 0 {
		return 0, false, false
	}
	page, err1 := strconv.Atoi(plain("page"))
	pages, err2 := strconv.Atoi(plain("total_pages"))
	switch {
	case err1 == nil && err2 == nil:
		return count, page >= pages, true
	case plain("last_page") == "true" || plain("last_page") == "false":
		return count, plain("last_page") == "true", true
	}
	return 0, false, false
}

// arrays is a form in which a list of ids goes into a query. Katana does not document which it understands, and
// what it does not understand it ignores: then levels would be missing, and be taken for zero.
type arrays string

const (
	unlearned arrays = ""
	repeated  arrays = "repeated"
	brackets  arrays = "brackets"
	commas    arrays = "commas"
	// single: none is understood; one id a request.
	single arrays = "single"
)

func (a arrays) put(q url.Values, name string, ids []string) {
	switch a {
	case brackets:
		q[name+"[]"] = ids
	case commas:
		q.Set(name, strings.Join(ids, ","))
	default:
		q[name] = ids
	}
}

// learnArrays finds out which form the account understands, by asking for two variants it is known to have. An
// account with fewer needs none.
func (c *Client) learnArrays(ctx context.Context) (arrays, error) {
	c.mu.Lock()
	known := c.arrays
	c.mu.Unlock()
	if known != unlearned {
		return known, nil
	}
	ask := func(q url.Values, limit int) (map[string]struct{}, error) {
		q.Set("limit", strconv.Itoa(limit))
		a, err := c.get(ctx, "variants", q)
		if err != nil {
			return nil, err
		}
		rows, err := decodeList[variant](a)
		if err != nil {
			return nil, err
		}
		ids := map[string]struct{}{}
		for _, r := range rows {
			ids[r.ID.String()] = struct{}{}
		}
		return ids, nil
	}
	some, err := ask(url.Values{}, 2)
	if err != nil {
		return unlearned, err
	}
	if len(some) < 2 {
		return single, nil
	}
	two := slices.Sorted(maps.Keys(some))
	best := single
	for _, form := range []arrays{repeated, brackets, commas} {
		q := url.Values{}
		form.put(q, "ids", two)
		got, err := ask(q, 3)
		if err != nil {
			return unlearned, err
		}
		if maps.Equal(got, some) {
			best = form
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrays = best
	return best, nil
}
