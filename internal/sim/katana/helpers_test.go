package katana

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeClock stands still until it is moved; whoever sleeps moves it.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return ctx.Err()
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) set(hour, minute int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = time.Date(2026, 1, 12, hour, minute, 0, 0, time.UTC)
}

const testKey = "test-key"

func newAccount(change ...func(*Options)) (*Account, *fakeClock) {
	clock := &fakeClock{}
	clock.set(9, 0)
	o := Options{Clock: clock, Keys: []string{testKey}}
	for _, f := range change {
		f(&o)
	}
	return New(o), clock
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what came back from the API.
type answer struct {
	status int
	header http.Header
	raw    []byte
}

func ask(t testing.TB, a *Account, method, path, body string) answer {
	t.Helper()
	return askAs(t, a, testKey, method, path, body)
}

func askAs(t testing.TB, a *Account, key, method, path, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api.katanamrp.com/v1"+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := a.Transport().RoundTrip(req)
	must(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{res.StatusCode, res.Header, raw}
}

// rows are the data of a list answer.
func (a answer) rows(t testing.TB) []map[string]any {
	t.Helper()
	var out struct{ Data []map[string]any }
	if err := json.Unmarshal(a.raw, &out); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.raw, err)
	}
	return out.Data
}

// workshop is the account the fixtures show, made by the actions of its people.
func workshop(t testing.TB, change ...func(*Options)) (*Account, *fakeClock) {
	t.Helper()
	a, clock := newAccount(change...)
	add := func(item, variant int64, sku, name string, minute int, material, kit bool) {
		clock.set(9, minute)
		a.SetNextID(item)
		a.AddItem(NewItem{Name: name, SKU: &sku, Material: material, Kit: kit, VariantID: variant})
	}
	add(7100, 9100, "WAX-KG", "Wax", 0, true, false)
	clock.set(9, 1)
	a.SetNextID(501)
	a.AddLocation("Workshop")
	a.AddLocation("Shelf store")
	add(7001, 9001, "STOOL-OAK", "Oak stool", 1, false, false)
	add(7002, 9002, "CANDLE-S", "Candle, small", 2, false, false)
	add(7003, 9003, "KIT-GIFT", "Gift kit", 3, false, true)
	clock.set(9, 4)
	a.AddPart(9003, 9001, Units(1))
	a.AddPart(9003, 9002, Units(2))
	must(t, a.Adjust(9001, 501, Units(23)))
	must(t, a.Adjust(9002, 501, Units(40)))
	must(t, a.Adjust(9003, 501, 0))
	must(t, a.Adjust(9001, 502, Units(6)))
	a.SetSafety(9001, 501, Units(5))
	a.SetSafety(9002, 501, Units(10))
	order := func(minute int, n NewOrder) {
		clock.set(9, minute)
		_, err := a.CreateOrder(n)
		must(t, err)
	}
	web := func(id int64, no string, rows ...NewRow) NewOrder {
		n := WebOrder(501, "shop-a.example.com", strings.TrimPrefix(no, "WEB-"), rows...)
		n.ID, n.No = id, no
		return n
	}
	order(5, web(8001, "WEB-1001", NewRow{ID: 85011, Variant: 9001, Quantity: Units(3)}, NewRow{ID: 85012, Variant: 9002, Quantity: Units(4)}))
	clock.set(9, 6)
	must(t, a.TouchOrder(8001))
	order(10, NewOrder{ID: 8002, No: "SO-2", Location: 501, Rows: []NewRow{{ID: 85021, Variant: 9001, Quantity: Units(8)}}})
	clock.set(9, 11)
	must(t, a.TouchOrder(8002))
	order(15, web(8003, "WEB-1003", NewRow{ID: 85031, Variant: 9001, Quantity: Units(5)}))
	clock.set(9, 16)
	a.SetNextID(4001)
	must(t, a.Pack(8003, Units(2)))
	clock.set(9, 18)
	a.SetNextID(6001)
	a.Make(9003, 501, Units(4), nil)
	order(20, web(8004, "WEB-1004", NewRow{ID: 85041, Variant: 9003, Quantity: Units(2)}))
	clock.set(9, 21)
	must(t, a.TouchOrder(8004))
	order(25, web(8005, "WEB-1005", NewRow{ID: 85051, Variant: 9001, Quantity: Units(1)}))
	clock.set(9, 26)
	a.SetNextID(4002)
	must(t, a.Pack(8005))
	return a, clock
}
