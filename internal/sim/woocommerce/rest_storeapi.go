package woocommerce

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"slices"
	"strconv"
	"time"
)

// cart is a shopper's cart in the Store API, known by its token.
type cart struct {
	token string
	lines []cartLine
	draft int64 // the checkout-draft order, 0 for none
}

type cartLine struct {
	item     int64
	quantity float64
}

// hold reserves stock for an order that is being placed. It counts only while the order is a draft or pending.
type hold struct {
	order    int64
	quantity float64
}

// rateWindow counts Store API requests.
type rateWindow struct {
	start time.Time
	n     int
}

const rateWindowLength = 10 * time.Second

// session finds or starts the cart of a request and sets the headers every Store API answer carries.
// A write needs the cart's token or the nonce.
func (c *call) session(write bool) (*cart, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if limit := s.behaviour.StoreRateLimit; limit > 0 {
		if w := &s.shopHits; now.Sub(w.start) >= rateWindowLength {
			*w = rateWindow{start: now}
		}
		s.shopHits.n++
		reset := s.shopHits.start.Add(rateWindowLength)
		left := max(0, limit-s.shopHits.n)
		c.header.Set("RateLimit-Limit", strconv.Itoa(limit))
		c.header.Set("RateLimit-Remaining", strconv.Itoa(left))
		c.header.Set("RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
		if s.shopHits.n > limit {
			c.header.Del("Allow")
			wait := int(max(1, reset.Sub(now).Seconds()))
			c.header.Set("RateLimit-Retry-After", strconv.Itoa(wait))
			return nil, fail(400, "rate_limit_exceeded", fmt.Sprintf("Too many requests. Please wait %d seconds before trying again.", wait))
		}
	}
	token := c.q.header.Get("Cart-Token")
	k := s.carts[token]
	if write && k == nil && c.q.header.Get("Nonce") == "" {
		return nil, fail(401, "woocommerce_rest_missing_nonce", "Missing the Nonce header. This endpoint requires a valid nonce.")
	}
	if k == nil {
		k = &cart{token: s.cartToken(now)}
		s.carts[k.token] = k
	}
	mac := sha256.Sum256([]byte(k.token))
	c.header.Set("Nonce", hex.EncodeToString(mac[:5]))
	c.header.Set("Nonce-Timestamp", strconv.FormatInt(now.Unix(), 10))
	c.header.Set("Cart-Token", k.token)
	return k, nil
}

// cartToken has the form of the real one, a JWT. The lock is held.
func (s *Store) cartToken(now time.Time) string {
	b64 := base64.RawURLEncoding
	head := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))
	claims := object{{"user_id", "t_" + s.token(30)}, {"exp", now.Unix() + 172800}, {"iss", "wc/store/v1"}, {"iat", now.Unix()}}
	body := b64.EncodeToString(encodeJSON(nil, claims))
	h := hmac.New(sha256.New, []byte(s.o.Name))
	h.Write([]byte(head + "." + body))
	return head + "." + body + "." + b64.EncodeToString(h.Sum(nil))
}

func storeCart(c *call) (int, any, error) {
	k, err := c.session(false)
	if err != nil {
		return 0, nil, err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return 200, c.cartObject(k), nil
}

// cartObject is a cart; the lock is held.
func (c *call) cartObject(k *cart) object {
	items := []object{}
	count, total := 0.0, 0.0
	for _, l := range k.lines {
		p := c.s.st.Products[l.item]
		if p == nil {
			continue
		}
		price := phpFloat(p.Price)
		count += l.quantity
		total += price * l.quantity
		items = append(items, object{{"key", deliveryID(p.ID, time.Time{})}, {"id", p.ID}, {"type", string(p.Kind)}, {"quantity", l.quantity},
			{"name", p.Name}, {"sku", p.SKU}, {"prices", object{{"price", plain(price * 100)}, {"currency_code", "EUR"}, {"currency_minor_unit", 2}}}})
	}
	cents := plain(total * 100)
	return object{
		{"items", items}, {"coupons", []any{}}, {"fees", []any{}},
		{"totals", object{
			{"total_items", cents}, {"total_items_tax", "0"}, {"total_fees", "0"}, {"total_fees_tax", "0"}, {"total_discount", "0"},
			{"total_discount_tax", "0"}, {"total_shipping", nil}, {"total_shipping_tax", nil}, {"total_price", cents}, {"total_tax", "0"},
			{"tax_lines", []any{}}, {"currency_code", "EUR"}, {"currency_symbol", "€"}, {"currency_minor_unit", 2},
			{"currency_decimal_separator", "."}, {"currency_thousand_separator", ","}, {"currency_prefix", "€"}, {"currency_suffix", ""},
		}},
		{"shipping_rates", []any{}}, {"items_count", count}, {"items_weight", 0}, {"cross_sells", []any{}},
		{"needs_payment", total > 0}, {"needs_shipping", false}, {"has_calculated_shipping", false},
		{"payment_methods", []string{"bacs", "cod"}}, {"payment_requirements", []string{"products"}}, {"errors", []any{}}, {"extensions", object{}},
	}
}

// available is what may be sold of an item now: unlimited is true for unmanaged items in stock and where
// backorders are allowed. The lock is held.
func (s *Store) available(p *product) (quantity float64, unlimited bool) {
	v := s.viewOf(s.st, p)
	h := s.st.stockHolder(p)
	if h == nil {
		return 0, v.Status != OutOfStock
	}
	if v.BackordersAllowed {
		return 0, true
	}
	if h.Stock.Quantity != nil {
		quantity = *h.Stock.Quantity
	}
	return quantity, false
}

// held is what orders being placed have reserved of a stock, without one of them. The lock is held.
func (s *Store) held(holder, without int64) float64 {
	sum := 0.0
	for _, h := range s.holds[holder] {
		if o := s.st.Orders[h.order]; h.order != without && o != nil && (o.Status == Pending || o.Status == CheckoutDraft) {
			sum += h.quantity
		}
	}
	return sum
}

func storeAddItem(c *call) (int, any, error) {
	k, err := c.session(true)
	if err != nil {
		return 0, nil, err
	}
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.st.Products[int64(phpInt(c.params["id"]))]
	if p == nil || p.trashed() {
		return 0, nil, fail(400, "woocommerce_rest_cart_invalid_product", "This product cannot be added to the cart.")
	}
	if p.Kind != Simple && p.Kind != Variation {
		return 0, nil, fail(400, "woocommerce_rest_product_not_purchasable", fmt.Sprintf("&quot;%s&quot; is not available for purchase.", html.EscapeString(p.Name)))
	}
	quantity := 1.0
	if v, ok := c.params["quantity"]; ok {
		quantity = max(1, phpInt(v))
	}
	i := slices.IndexFunc(k.lines, func(l cartLine) bool { return l.item == p.ID })
	inCart := 0.0
	if i >= 0 {
		inCart = k.lines[i].quantity
	}
	left, unlimited := s.available(p)
	name := html.EscapeString(p.Name)
	if !unlimited && left <= 0 {
		return 0, nil, fail(400, "woocommerce_rest_product_out_of_stock", fmt.Sprintf("You cannot add &quot;%s&quot; to the cart because the product is out of stock.", name))
	}
	if !unlimited && inCart+quantity > left {
		return 0, nil, fail(400, "woocommerce_rest_product_partially_out_of_stock",
			fmt.Sprintf("You cannot add that amount of &quot;%s&quot; to the cart because there is not enough stock (%s remaining).", name, plain(left)))
	}
	if i >= 0 {
		k.lines[i].quantity += quantity
	} else {
		k.lines = append(k.lines, cartLine{p.ID, quantity})
	}
	return 201, c.cartObject(k), nil
}

// storeDraft opens the checkout: it makes a draft order and reserves nothing.
func storeDraft(c *call) (int, any, error) {
	k, err := c.session(false)
	if err != nil {
		return 0, nil, err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if err := c.draft(k); err != nil {
		return 0, nil, err
	}
	return 200, c.checkoutObject(c.s.st.Orders[k.draft]), nil
}

// draft makes or refreshes the cart's draft order. The lock is held.
func (c *call) draft(k *cart) error {
	s := c.s
	if len(k.lines) == 0 {
		return fail(400, "woocommerce_rest_cart_empty", "Cannot create order from empty cart.")
	}
	var lines []line
	for _, l := range k.lines {
		if made := s.newOrderLine(l.item, l.quantity); made != nil {
			lines = append(lines, *made)
		}
	}
	o := s.st.Orders[k.draft]
	if o == nil || o.Status != CheckoutDraft {
		o = &order{Status: CheckoutDraft, Via: "store-api"}
		s.storeOrder(o)
		k.draft = o.ID
	}
	o.Lines = lines
	s.st.touchOrder(o, s.now())
	s.emit("order.updated", o.ID)
	return nil
}

// storeCheckout places the order: the cart is cut to what is left, held, the status saved, and only then
// the stock reduced. A hold ends with the status, which is where one store oversells by itself.
func storeCheckout(c *call) (int, any, error) {
	k, err := c.session(true)
	if err != nil {
		return 0, nil, err
	}
	s := c.s
	payment := phpString(c.params["payment_method"])
	status := map[string]string{"cod": Processing, "bacs": OnHold}[payment]
	if status == "" {
		return 0, nil, fail(400, "woocommerce_rest_checkout_payment_method_disabled", "The provided payment method is not available.")
	}
	s.mu.Lock()
	err = c.clamp(k)
	if err == nil {
		err = c.draft(k)
	}
	var id int64
	if err == nil {
		o := s.st.Orders[k.draft]
		id = o.ID
		o.Payment = payment
		if m, ok := c.params["billing_address"].(map[string]any); ok {
			o.Billing, o.Ship = addressJSON(m, true), addressJSON(m, false)
		}
		err = s.reserve(o)
	}
	s.mu.Unlock()
	if err != nil {
		return 0, nil, err
	}
	if err := c.run.at(StepCheckout, 0, id); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	o := s.st.Orders[id]
	if o == nil {
		s.mu.Unlock()
		return 0, nil, errOrderID
	}
	s.emit("order.created", id)
	s.changeStatus(o, status)
	k.lines, k.draft = nil, 0
	s.mu.Unlock()
	if err := s.moveOrder(c.run, id, status); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(id)
	if o = s.st.Orders[id]; o == nil {
		return 0, nil, errOrderID
	}
	return 200, c.checkoutObject(o), nil
}

// clamp cuts a cart to what is in stock; an item of which nothing is left is an error. The lock is held.
func (c *call) clamp(k *cart) error {
	for i, l := range k.lines {
		p := c.s.st.Products[l.item]
		if p == nil || p.trashed() {
			return fail(409, "woocommerce_rest_cart_invalid_product", "A product in the cart is no longer available.")
		}
		left, unlimited := c.s.available(p)
		switch {
		case unlimited:
		case left <= 0:
			return fail(409, "woocommerce_rest_product_out_of_stock", fmt.Sprintf("&quot;%s&quot; is out of stock and cannot be purchased.", html.EscapeString(p.Name)))
		case l.quantity > left:
			k.lines[i].quantity = left
		}
	}
	return nil
}

// reserve holds the stock of an order, or tells that others hold it. The lock is held.
func (s *Store) reserve(o *order) error {
	for _, l := range o.Lines {
		p := s.st.Products[l.holder()]
		if p == nil {
			continue
		}
		left, unlimited := s.available(p)
		h := s.st.stockHolder(p)
		if unlimited || h == nil {
			continue
		}
		if l.Quantity > left-s.held(h.ID, o.ID) {
			s.release(o.ID)
			return fail(403, "woocommerce_product_not_enough_stock", fmt.Sprintf("Not enough units of %s are available in stock to fulfil this order.", p.Name))
		}
		s.holds[h.ID] = append(s.holds[h.ID], hold{o.ID, l.Quantity})
	}
	return nil
}

func (s *Store) release(order int64) {
	for holder, list := range s.holds {
		list = slices.DeleteFunc(list, func(h hold) bool { return h.order == order })
		if len(list) == 0 {
			delete(s.holds, holder)
		} else {
			s.holds[holder] = list
		}
	}
}

func (c *call) checkoutObject(o *order) object {
	redirect := fmt.Sprintf("%s/checkout/order-received/%d/?key=%s", c.home, o.ID, o.Key)
	result := object{{"payment_status", ""}, {"payment_details", []any{}}, {"redirect_url", ""}}
	if o.Status != CheckoutDraft {
		result = object{{"payment_status", "success"},
			{"payment_details", []object{{{"key", "result"}, {"value", "success"}}, {{"key", "redirect"}, {"value", redirect}}}},
			{"redirect_url", redirect}}
	}
	return object{
		{"order_id", o.ID}, {"status", o.Status}, {"order_key", o.Key}, {"order_number", strconv.FormatInt(o.ID, 10)},
		{"customer_note", o.Note}, {"customer_id", 0},
		{"billing_address", orAddress(o.Billing, true)}, {"shipping_address", orAddress(o.Ship, false)},
		{"payment_method", o.Payment}, {"payment_result", result},
		{"additional_fields", json.RawMessage("{}")}, {"__experimentalCart", nil}, {"extensions", json.RawMessage("{}")},
	}
}
