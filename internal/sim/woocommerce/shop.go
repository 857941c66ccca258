package woocommerce

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

//go:embed shop.html
var shopHTML string

var shopTemplate = template.Must(template.New("shop").Parse(shopHTML))

const shopPage = 24

// shopItem is an item as shoppers see it.
type shopItem struct {
	ID      int64  `json:"id"`
	Name    string `json:"-"`
	SKU     string `json:"-"`
	Price   string `json:"-"`
	Stock   string `json:"stock"`
	Level   string `json:"level"` // ok, low or out
	Buyable bool   `json:"buyable"`
}

// serveShop is the page for people: what is in stock, and a button to buy one.
func (s *Store) serveShop(run *run, q *request) (*reply, error) {
	query, _ := url.ParseQuery(q.query)
	prefix := s.prefix()
	switch {
	case q.path == "/shop/buy" && q.method == http.MethodPost:
		return s.buy(run, q, prefix)
	case q.method != http.MethodGet && q.method != http.MethodHead:
		return htmlReply(405, "Method not allowed"), nil
	case q.path == "/shop/stock":
		items, _ := s.shopItems(query)
		list := make([]any, len(items))
		for i, it := range items {
			list[i] = object{{"id", it.ID}, {"stock", it.Stock}, {"level", it.Level}, {"buyable", it.Buyable}}
		}
		return &reply{200, http.Header{"Content-Type": {jsonType}, "Cache-Control": {noCache}}, encodeJSON(nil, list)}, nil
	case q.path != "/shop" && q.path != "/shop/":
		return htmlReply(404, "Page not found"), nil
	}
	items, total := s.shopItems(query)
	number := shopNumber(query)
	pages := max(1, (total+shopPage-1)/shopPage)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(s.o.Name))
	link := func(n int) string {
		if n < 1 || n > pages {
			return ""
		}
		return prefix + "/shop?" + url.Values{"s": {query.Get("s")}, "page": {strconv.Itoa(n)}}.Encode()
	}
	var page bytes.Buffer
	err := shopTemplate.Execute(&page, map[string]any{
		"Name": s.o.Name, "Prefix": prefix, "Hue": hash.Sum32() % 360, "Search": query.Get("s"), "Query": q.query,
		"Items": items, "Total": total, "Page": number, "Pages": pages, "Previous": link(number - 1), "Next": link(number + 1),
		"Bought": query.Get("bought"), "Order": query.Get("order"), "Sorry": query.Get("sorry"),
	})
	if err != nil {
		return htmlReply(500, "The page could not be made"), nil //nolint:nilerr // the page is the answer
	}
	return &reply{200, http.Header{"Content-Type": {"text/html; charset=UTF-8"}, "Cache-Control": {noCache}}, page.Bytes()}, nil
}

func shopNumber(query url.Values) int {
	n, err := strconv.Atoi(query.Get("page"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// shopItems lists one page of what may be shown, and how much there is in all.
func (s *Store) shopItems(query url.Values) ([]shopItem, int) {
	search := strings.ToLower(strings.TrimSpace(query.Get("s")))
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*product
	add := func(p *product) {
		if p.Status == "publish" && (search == "" || strings.Contains(strings.ToLower(p.Name+" "+p.SKU), search)) {
			all = append(all, p)
		}
	}
	for _, id := range s.st.productIDs {
		switch p := s.st.Products[id]; {
		case p.Kind == Variable && !p.trashed():
			for _, child := range p.Children {
				if v := s.st.Products[child]; v != nil {
					add(v)
				}
			}
		case p.Kind == Simple:
			add(p)
		}
	}
	first := min((shopNumber(query)-1)*shopPage, len(all))
	items := []shopItem{}
	for _, p := range all[first:min(first+shopPage, len(all))] {
		items = append(items, s.shopItem(p))
	}
	return items, len(all)
}

func (s *Store) shopItem(p *product) shopItem {
	it := shopItem{ID: p.ID, Name: p.Name, SKU: p.SKU, Price: money(phpFloat(p.Price)), Level: "ok", Buyable: true}
	left, unlimited := s.available(p)
	v := s.viewOf(s.st, p)
	switch {
	case unlimited && v.Quantity != nil && *v.Quantity <= 0:
		it.Stock, it.Level = "On backorder", "low"
	case unlimited && v.Quantity == nil:
		it.Stock = "In stock"
	case unlimited || left > 0:
		it.Stock = plain(*v.Quantity) + " in stock"
		if *v.Quantity <= 2 {
			it.Level = "low"
		}
	case left < 0:
		it.Stock, it.Level, it.Buyable = "Oversold by "+plain(-left), "out", false
	default:
		it.Stock, it.Level, it.Buyable = "Out of stock", "out", false
	}
	return it
}

// buy places an order of one unit and leads back to the page.
func (s *Store) buy(run *run, q *request, prefix string) (*reply, error) {
	form, err := url.ParseQuery(string(q.body))
	item, number := int64(0), err
	if err == nil {
		item, number = strconv.ParseInt(form.Get("item"), 10, 64)
	}
	if number != nil {
		return htmlReply(400, "The form names no item"), nil //nolint:nilerr // the page is the answer
	}
	back, _ := url.ParseQuery(form.Get("back"))
	target := url.Values{}
	for _, k := range []string{"s", "page"} {
		if back.Get(k) != "" {
			target.Set(k, back.Get(k))
		}
	}
	o, err := s.PlaceOrder(run.ctx, Line{ItemID: item, Quantity: 1})
	switch {
	case run.ctx.Err() != nil:
		return nil, run.ctx.Err()
	case errors.Is(err, ErrOutOfStock):
		target.Set("sorry", "Somebody was faster: this item is out of stock.")
	case err != nil:
		target.Set("sorry", "This item cannot be bought.")
	default:
		target.Set("bought", o.Lines[0].SKU)
		target.Set("order", strconv.FormatInt(o.ID, 10))
	}
	return &reply{303, http.Header{"Location": {fmt.Sprintf("%s/shop?%s", prefix, target.Encode())}}, nil}, nil
}
