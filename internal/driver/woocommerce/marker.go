package woocommerce

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/stock"
)

// markerKey and a slot number are the private meta fields a push leaves beside the quantity.
const markerKey = "_stocksync_"

// gidKey is the meta field in which the Kitgenix plugin keeps an item's id.
const gidKey = "_kitgenix_stock_sync_for_woocommerce_gid"

// markerVersion begins every marker, so that a later form can be told from this one.
const markerVersion = "v1"

func slotKey(slot int) string { return markerKey + strconv.Itoa(slot) }

// formatMarker writes a marker as text: version, ledger, pool, store, product, attempt and Unix time.
func formatMarker(m stock.Marker) string {
	return fmt.Sprintf("%s:%s:%d:%s:%d:%d:%d", markerVersion, m.Ledger, m.Pool, m.Store, m.Product, m.Attempt, m.At.Unix())
}

// parseMarker reads a marker. Whatever is not one, or is of a version not known yet, reads as none.
func parseMarker(s string) (stock.Marker, bool) {
	f := strings.Split(s, ":")
	if len(f) != 7 || f[0] != markerVersion || f[1] == "" || f[3] == "" {
		return stock.Marker{}, false
	}
	m := stock.Marker{Ledger: f[1], Store: f[3]}
	var at int64
	for _, n := range []struct {
		text string
		to   *int64
	}{{f[2], &m.Pool}, {f[4], &m.Product}, {f[5], &m.Attempt}, {f[6], &at}} {
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil || v < 0 || v > maxWhole {
			return stock.Marker{}, false
		}
		*n.to = v
	}
	m.At = time.Unix(at, 0).UTC()
	return m, true
}

// markers reads the slots. Two requests that create the same field at once leave it twice: the newest attempt
// counts.
func (p product) markers() stock.Markers {
	var ms stock.Markers
	for slot := range ms {
		for _, v := range p.Meta[slotKey(slot)] {
			if m, ok := parseMarker(v); ok && m.Attempt >= ms[slot].Attempt {
				ms[slot] = m
			}
		}
	}
	return ms
}
