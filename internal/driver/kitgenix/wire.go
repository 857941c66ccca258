package kitgenix

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// The routes, below a store's address. The plugin knows no other prefix than /wp-json.
const (
	Root            = "/wp-json/kitgenix-stock-sync/v1"
	RoutePing       = Root + "/ping"
	RouteEvent      = Root + "/event"
	RouteStock      = Root + "/stock"
	RouteStockState = Root + "/stock-state"
)

// Role of a store among its peers.
type Role string

// The roles.
const (
	RoleMaster Role = "master"
	RoleChild  Role = "child"
)

// The types of events. A receiver ignores any other.
const (
	TypeStockState = "stock_state"
	TypeRename     = "sku_rename"
)

// Management says who holds an item's stock.
type Management string

// The ways; the empty one means that the item does not say.
const (
	ManagesStock Management = "true"
	NoManagement Management = "false"
	// ParentManages is known to generation 2 only.
	ParentManages Management = "parent"
)

// Event is what one store tells another, with whole states.
type Event struct {
	Type    string
	Origin  string
	Context string
	// ID is the same for every delivery of the event; empty where the sender gave none.
	ID string
	// OriginStoreID is the store that made the event; empty in generation 1.
	OriginStoreID string
	// Time is when it was captured, CreatedAt when it was made, in Unix seconds of the sender's clock; 0 if not given.
	Time, CreatedAt int64
	// DeliveryAttempt counts from 1; 0 in generation 1.
	DeliveryAttempt int64
	// SchemaVersion is 2 in generation 2, 0 before.
	SchemaVersion int64
	Items         []Item
}

// Item is the state of one SKU, or its renaming.
type Item struct {
	// GID is the plugin's stable id of the product; may be empty.
	GID string
	SKU string
	// OldSKU is set in a renaming only.
	OldSKU     string
	Management Management
	// Quantity, LowStockAmount and Version are nil where the item does not carry them.
	Quantity       *int64
	Status         string
	Backorders     string
	LowStockAmount *int64
	Version        *int64
	// Unreadable names fields that carry something no number can be read from. The plugin would take 0 for it; here
	// nothing is taken, so that a wrong value never empties a shelf.
	Unreadable []string
}

// State is what a store says of one SKU when asked. Not every field is given for every question.
type State struct {
	Exists         bool
	GID            string
	Quantity       *int64
	Status         string
	Backorders     string
	LowStockAmount *int64
	Management     Management
	Unreadable     []string
}

// Pong is the answer to a ping.
type Pong struct {
	StoreID string
	Name    string
	Role    Role
	// Time is the peer's clock in Unix seconds; 0 if it gave none.
	Time int64
	// WooCommerce and Plugin are versions. A plugin of generation 1 gives neither.
	WooCommerce, Plugin string
}

// Generation is 1 or 2.
func (p Pong) Generation() int {
	if p.Plugin == "" {
		return 1
	}
	return 2
}

var errJSON = errors.New("not a JSON object")

// fields reads an object. PHP writes an empty one as a list.
func fields(data []byte) (map[string]json.RawMessage, error) {
	data = bytes.TrimSpace(data)
	var m map[string]json.RawMessage
	if len(data) > 0 && data[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, errJSON
		}
		// A list is what PHP makes of the keys 0, 1, 2 and so on.
		m = make(map[string]json.RawMessage, len(list))
		for i, v := range list {
			m[strconv.Itoa(i)] = v
		}
		return m, nil
	}
	if err := json.Unmarshal(data, &m); err != nil || m == nil {
		return nil, errJSON
	}
	return m, nil
}

// text reads a string; a number or a truth value is taken as PHP would print it, anything else as nothing.
func text(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	var s string
	switch {
	case len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null" || string(raw) == "false":
		return ""
	case raw[0] == '"':
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	case string(raw) == "true":
		return "1"
	}
	return string(raw)
}

// number reads a whole number, also from a text. ok is false for what holds none: fractions, too large ones, texts
// without digits, truth values, lists. absent tells that there is no value at all.
func number(raw json.RawMessage) (n int64, absent, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return 0, true, false
	}
	if string(raw) == "true" || string(raw) == "false" {
		return 0, false, false
	}
	s := strings.TrimSpace(text(raw))
	if s == "" || len(s) > 40 || strings.ContainsAny(s, "/_xXpPnN") {
		return 0, false, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		// Bounded, so that no exponent makes a number of a million digits.
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 30 || e < -30 {
			return 0, false, false
		}
	}
	r, valid := new(big.Rat).SetString(s)
	if !valid || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false, false
	}
	return r.Num().Int64(), false, true
}

// reader reads the fields of one item and remembers those it cannot make sense of.
type reader struct {
	m          map[string]json.RawMessage
	unreadable []string
}

func (r *reader) text(name string) string { return text(r.m[name]) }

func (r *reader) number(name string) *int64 {
	raw, given := r.m[name]
	if !given {
		return nil
	}
	n, absent, ok := number(raw)
	switch {
	case ok:
		return &n
	case !absent:
		r.unreadable = append(r.unreadable, name)
	}
	return nil
}

func (r *reader) management() Management {
	raw, given := r.m["manage_stock"]
	if !given {
		return ""
	}
	switch strings.ToLower(text(raw)) {
	case "parent":
		return ParentManages
	case "1", "true", "yes":
		return ManagesStock
	case "", "0", "false", "no":
		return NoManagement
	}
	r.unreadable = append(r.unreadable, "manage_stock")
	return ""
}

// ParseEvent reads an event. The error is [ErrType] or says that the body is not an object. Items that are not
// objects, and those without SKU and GID, are left out, as the plugin does.
func ParseEvent(body []byte) (Event, error) {
	m, err := fields(body)
	if err != nil {
		return Event{}, err
	}
	if raw := bytes.TrimSpace(m["event_type"]); len(raw) == 0 || raw[0] != '"' || text(raw) == "" {
		return Event{}, ErrType
	}
	whole := func(name string) int64 {
		n, _, _ := number(m[name])
		return n
	}
	e := Event{
		Type: text(m["event_type"]), Origin: text(m["origin"]), Context: text(m["context"]), ID: text(m["event_id"]),
		OriginStoreID: text(m["origin_store_id"]), Time: whole("time"), CreatedAt: whole("created_at"),
		DeliveryAttempt: whole("delivery_attempt"), SchemaVersion: whole("schema_version"),
	}
	for _, raw := range list(m["items"]) {
		f, err := fields(raw)
		if err != nil {
			continue
		}
		r := reader{m: f}
		item := Item{
			GID: strings.TrimSpace(r.text("gid")), SKU: strings.TrimSpace(r.text("sku")), OldSKU: strings.TrimSpace(r.text("old_sku")),
			Management: r.management(), Quantity: r.number("stock_quantity"), Status: r.text("stock_status"),
			Backorders: r.text("backorders"), LowStockAmount: r.number("low_stock_amount"), Version: r.number("version"),
		}
		item.Unreadable = r.unreadable
		if item.SKU != "" || item.GID != "" {
			e.Items = append(e.Items, item)
		}
	}
	return e, nil
}

// ErrType says that an event does not say what it is.
var ErrType = errors.New("event_type is missing or not a text")

// list reads a list; PHP may write one as an object whose keys do not count.
func list(raw json.RawMessage) []json.RawMessage {
	var l []json.RawMessage
	if json.Unmarshal(raw, &l) == nil {
		return l
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	for _, k := range sortedKeys(m) {
		l = append(l, m[k])
	}
	return l
}

func sortedKeys(m map[string]json.RawMessage) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		x, errX := strconv.Atoi(a)
		y, errY := strconv.Atoi(b)
		if errX == nil && errY == nil {
			return x - y
		}
		return strings.Compare(a, b)
	})
	return keys
}

// parseSKUs reads the SKUs asked for. ok is false when the body names no items.
func parseSKUs(body []byte) (skus []string, ok bool, err error) {
	m, err := fields(body)
	if err != nil {
		return nil, false, err
	}
	raw := bytes.TrimSpace(m["items"])
	if len(raw) == 0 || (raw[0] != '[' && raw[0] != '{') {
		return nil, false, nil
	}
	for _, item := range list(raw) {
		f, err := fields(item)
		if err != nil {
			continue
		}
		if sku := strings.TrimSpace(text(f["sku"])); sku != "" {
			skus = append(skus, sku)
		}
	}
	return skus, true, nil
}

// parseStates reads the answer to a question about SKUs.
func parseStates(body []byte) (map[string]State, error) {
	m, err := fields(body)
	if err != nil {
		return nil, err
	}
	raw := bytes.TrimSpace(m["items"])
	if text(m["ok"]) != "1" || len(raw) == 0 {
		return nil, errors.New("the answer carries no items")
	}
	items, err := fields(raw)
	if err != nil {
		return nil, fmt.Errorf("items: %w", err)
	}
	states := make(map[string]State, len(items))
	for sku, raw := range items {
		f, err := fields(raw)
		if err != nil {
			return nil, fmt.Errorf("item: %w", err)
		}
		r := reader{m: f}
		s := State{
			Exists: r.text("exists") == "1", GID: strings.TrimSpace(r.text("gid")), Quantity: r.number("stock_quantity"),
			Status: r.text("stock_status"), Backorders: r.text("backorders"), LowStockAmount: r.number("low_stock_amount"),
			Management: r.management(),
		}
		s.Unreadable = r.unreadable
		states[sku] = s
	}
	return states, nil
}

// parsePong reads the answer to a ping.
func parsePong(body []byte) (Pong, error) {
	m, err := fields(body)
	if err != nil {
		return Pong{}, err
	}
	if text(m["ok"]) != "1" || text(m["store_id"]) == "" {
		return Pong{}, errors.New("the answer is not that of a ping")
	}
	at, _, _ := number(m["time"])
	return Pong{StoreID: text(m["store_id"]), Name: text(m["store_name"]), Role: Role(text(m["role"])), Time: at,
		WooCommerce: text(m["wc_version"]), Plugin: text(m["plugin_version"])}, nil
}

// wireItem and the others below are what is sent: with every field, in the types PHP expects.
type wireItem struct {
	GID            string `json:"gid"`
	SKU            string `json:"sku"`
	OldSKU         string `json:"old_sku,omitempty"`
	Management     any    `json:"manage_stock,omitempty"`
	Quantity       *int64 `json:"stock_quantity,omitempty"`
	Status         string `json:"stock_status,omitempty"`
	Backorders     string `json:"backorders,omitempty"`
	LowStockAmount *int64 `json:"low_stock_amount,omitempty"`
	Version        *int64 `json:"version,omitempty"`
}

type wireEvent struct {
	Type            string     `json:"event_type"`
	Origin          string     `json:"origin"`
	Time            int64      `json:"time"`
	Context         string     `json:"context"`
	Items           []wireItem `json:"items"`
	ID              string     `json:"event_id"`
	OriginStoreID   string     `json:"origin_store_id,omitempty"`
	CreatedAt       int64      `json:"created_at,omitempty"`
	DeliveryAttempt int64      `json:"delivery_attempt,omitempty"`
	SchemaVersion   int64      `json:"schema_version,omitempty"`
}

func wireManagement(m Management) any {
	switch m {
	case ManagesStock:
		return true
	case NoManagement:
		return false
	case ParentManages:
		return "parent"
	}
	return nil
}

// Marshal is the event as it is sent.
func (e Event) Marshal() ([]byte, error) {
	w := wireEvent{Type: e.Type, Origin: e.Origin, Time: e.Time, Context: e.Context, Items: []wireItem{}, ID: e.ID,
		OriginStoreID: e.OriginStoreID, CreatedAt: e.CreatedAt, DeliveryAttempt: e.DeliveryAttempt, SchemaVersion: e.SchemaVersion}
	for _, i := range e.Items {
		w.Items = append(w.Items, wireItem{GID: i.GID, SKU: i.SKU, OldSKU: i.OldSKU, Management: wireManagement(i.Management),
			Quantity: i.Quantity, Status: i.Status, Backorders: i.Backorders, LowStockAmount: i.LowStockAmount, Version: i.Version})
	}
	return json.Marshal(w)
}

func (s State) wire() map[string]any {
	if !s.Exists {
		return map[string]any{"exists": false}
	}
	m := map[string]any{"exists": true, "stock_status": s.Status, "backorders": s.Backorders, "stock_quantity": int64(0)}
	if s.Quantity != nil {
		m["stock_quantity"] = *s.Quantity
	}
	if s.LowStockAmount != nil {
		m["low_stock_amount"] = *s.LowStockAmount
	}
	if s.Management != "" {
		m["manage_stock"] = wireManagement(s.Management)
	}
	if s.GID != "" {
		m["gid"] = s.GID
	}
	return m
}

// FirstVersion is a version above what any plugin's own counter reached: microseconds of the clock. Later ones must be
// counted on from the last one used, so that no clock set back makes them smaller.
func FirstVersion(unixMicro, last int64) int64 {
	if last == math.MaxInt64 {
		return last
	}
	return max(unixMicro, last+1)
}
