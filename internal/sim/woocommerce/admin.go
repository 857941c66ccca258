package woocommerce

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const adminPrefix = "/__sim/"

// AdminHelp describes the routes under /__sim/ for the help text of a command.
const AdminHelp = `Admin routes (JSON; "Authorization: Bearer TOKEN"; times in nanoseconds):
  GET    /__sim/items                         everything in the shop
  GET    /__sim/items/{sku}                   one item
  POST   /__sim/items                         {kind,name,sku,price,quantity,backorders,parent,option,duplicate}: make one
  DELETE /__sim/items/{sku}[?force=true]      trash it, or delete it for good
  POST   /__sim/items/{sku}/untrash           by item number instead of SKU
  POST   /__sim/items/{sku}/stock             {quantity,behind}: absolute edit, as in the shop's own pages; or behind
                                               WooCommerce's back: no modification date, no webhook
  POST   /__sim/items/{sku}/manage            {manage,quantity}: switch stock management
  POST   /__sim/items/{sku}/rename            {to}
  POST   /__sim/swap                          {a,b}: exchange two SKUs
  POST   /__sim/feed                          {"SKU":quantity,...}: absolute numbers by a feed
  GET    /__sim/orders                        all orders with the units each line holds
  POST   /__sim/orders                        {lines:[{sku,quantity}]}: a shopper buys
  POST   /__sim/orders/{id}/status            {status}
  POST   /__sim/orders/{id}/cancel|trash|untrash|delete
  POST   /__sim/orders/{id}/refund            {units:{"LINE":n},restock}: all lines when units is left out
  POST   /__sim/orders/{id}/line              {line,quantity}: edit a line, 0 removes it
  GET    /__sim/webhooks                      with their failure counters
  POST   /__sim/webhooks/deliver              deliver now what waits
  POST   /__sim/webhooks/{id}/status          {status}: active, paused or disabled
  DELETE /__sim/webhooks/{id}
  POST   /__sim/faults                        {kind,method,path,writes,times,probability,delayNanoseconds,status,
                                               retryAfterSeconds,step,productID,after}: answers {id}; kinds:
                                               latency status fatal html maintenance cut-before cut-after withhold late
                                               stall die stale webhook-drop webhook-duplicate webhook-late
  DELETE /__sim/faults[/{id}]                 disarm one or all
  POST   /__sim/land                          let requests held by a negative delay happen
  GET    /__sim/behaviour                     and PUT: {noWooCommerce,ignoreDelta,fractions,clockOffsetNanoseconds,storeRateLimit}
  PUT    /__sim/keys                          [{ConsumerKey,ConsumerSecret,Permission,NoOrders}]
  POST   /__sim/backups/{name}                back up; POST /__sim/backups/{name}/restore puts it back
  GET    /__sim/state                         and PUT: the whole shop, to clone it into another store
  GET    /__sim/access-log[?after=N]          requests received
`

func (s *Store) admin(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.o.AdminToken == "" || !ok || subtle.ConstantTimeCompare([]byte(token), []byte(s.o.AdminToken)) != 1 {
		writeAdmin(w, http.StatusForbidden, map[string]string{"error": "send the admin token as a bearer token; without a configured token these routes are closed"})
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), adminPrefix), "/")
	for i, p := range parts {
		if plain, err := url.PathUnescape(p); err == nil {
			parts[i] = plain
		}
	}
	// Like PHP, the store finishes what was begun even when the caller leaves.
	answer, err := s.adminCall(s.ctx, r, parts)
	var rest *restError
	switch {
	case err == nil:
		if answer == nil {
			answer = map[string]bool{"ok": true}
		}
		writeAdmin(w, http.StatusOK, answer)
	case errors.Is(err, ErrUnknownSKU), errors.Is(err, errNoAdminRoute):
		writeAdmin(w, http.StatusNotFound, map[string]string{"error": err.Error()})
	case errors.Is(err, ErrOutOfStock):
		writeAdmin(w, http.StatusConflict, map[string]string{"error": err.Error()})
	case errors.As(err, &rest):
		writeAdmin(w, rest.status, map[string]string{"error": err.Error()})
	default:
		writeAdmin(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	}
}

func writeAdmin(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

var errNoAdminRoute = errors.New("no such admin route or method: see storesim --help")

// maxState bounds the state another store may send.
const maxState = 256 << 20

func decode[T any](r *http.Request) (v T, err error) {
	dec := json.NewDecoder(io.LimitReader(r.Body, maxState))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&v); err != nil {
		err = fmt.Errorf("the request body does not fit this route: %w", err)
	}
	return v, err
}

//nolint:gocognit // one flat table of routes
func (s *Store) adminCall(ctx context.Context, r *http.Request, path []string) (any, error) {
	arg := func(i int) string {
		if i < len(path) {
			return path[i]
		}
		return ""
	}
	number := func(i int) (int64, error) {
		id, err := strconv.ParseInt(arg(i), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a number", arg(i))
		}
		return id, nil
	}
	switch shape := adminShape(r.Method, path); shape {
	case "GET items":
		return s.Items(), nil
	case "GET items/*":
		return s.Item(arg(1))
	case "POST items":
		n, err := decode[NewItem](r)
		if err != nil {
			return nil, err
		}
		id, err := s.Create(n)
		return map[string]int64{"id": id}, err
	case "DELETE items/*":
		return nil, s.Delete(ctx, arg(1), r.URL.Query().Get("force") == "true")
	case "POST items/*/untrash":
		id, err := number(1)
		if err != nil {
			return nil, err
		}
		return nil, s.Untrash(id)
	case "POST items/*/stock":
		v, err := decode[struct {
			Quantity float64
			Behind   bool
		}](r)
		if err != nil {
			return nil, err
		}
		if v.Behind {
			return nil, s.EditBehind(arg(1), v.Quantity)
		}
		return nil, s.EditStock(arg(1), v.Quantity)
	case "POST items/*/manage":
		v, err := decode[struct {
			Manage   bool
			Quantity *float64
		}](r)
		if err != nil {
			return nil, err
		}
		return nil, s.SetManageStock(arg(1), v.Manage, v.Quantity)
	case "POST items/*/rename":
		v, err := decode[struct{ To string }](r)
		if err != nil {
			return nil, err
		}
		return nil, s.Rename(arg(1), v.To)
	case "POST swap":
		v, err := decode[struct{ A, B string }](r)
		if err != nil {
			return nil, err
		}
		return nil, s.SwapSKUs(v.A, v.B)
	case "POST feed":
		v, err := decode[map[string]float64](r)
		if err != nil {
			return nil, err
		}
		return nil, s.Feed(v)
	case "GET orders":
		return s.Orders(), nil
	case "POST orders":
		v, err := decode[struct{ Lines []Line }](r)
		if err != nil {
			return nil, err
		}
		return s.PlaceOrder(ctx, v.Lines...)
	case "POST orders/*/status", "POST orders/*/cancel", "POST orders/*/trash", "POST orders/*/untrash", "POST orders/*/delete", "POST orders/*/refund", "POST orders/*/line":
		id, err := number(1)
		if err != nil {
			return nil, err
		}
		if err := s.adminOrder(ctx, r, id, arg(2)); err != nil {
			return nil, err
		}
		if o, ok := s.Order(id); ok {
			return o, nil
		}
		return nil, nil
	case "GET webhooks":
		return s.Webhooks(), nil
	case "POST webhooks/deliver":
		return map[string]int{"requests": s.DeliverWebhooks(ctx)}, nil
	case "POST webhooks/*/status", "DELETE webhooks/*":
		id, err := number(1)
		if err != nil {
			return nil, err
		}
		done := false
		if r.Method == http.MethodDelete {
			done = s.DeleteWebhook(id)
		} else {
			v, err := decode[struct{ Status string }](r)
			if err != nil {
				return nil, err
			}
			done = s.SetWebhookStatus(id, v.Status)
		}
		if !done {
			return nil, errors.New("no such webhook, or a status that is not active, paused or disabled")
		}
		return nil, nil
	case "POST faults":
		f, err := decode[Fault](r)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(faultKinds, f.Kind) {
			return nil, fmt.Errorf("no fault is called %q: use one of %v", f.Kind, faultKinds)
		}
		if f.Kind == FaultStatus && (f.Status < 200 || f.Status > 599) {
			return nil, errors.New("a status fault needs a status from 200 to 599")
		}
		return map[string]int64{"id": s.Inject(f)}, nil
	case "DELETE faults":
		s.Clear()
		return nil, nil
	case "DELETE faults/*":
		id, err := number(1)
		if err != nil {
			return nil, err
		}
		s.Clear(id)
		return nil, nil
	case "POST land":
		s.Land()
		return nil, nil
	case "GET behaviour":
		return s.Behaviour(), nil
	case "PUT behaviour":
		b, err := decode[Behaviour](r)
		if err != nil {
			return nil, err
		}
		s.SetBehaviour(b)
		return nil, nil
	case "PUT keys":
		keys, err := decode[[]Key](r)
		if err != nil {
			return nil, err
		}
		s.SetKeys(keys...)
		return nil, nil
	case "POST backups/*":
		b := s.Snapshot()
		s.mu.Lock()
		s.backups[arg(1)] = b
		s.mu.Unlock()
		return nil, nil
	case "POST backups/*/restore":
		s.mu.Lock()
		b := s.backups[arg(1)]
		s.mu.Unlock()
		if b == nil {
			return nil, fmt.Errorf("there is no backup %q", arg(1))
		}
		return nil, s.Restore(b)
	case "GET state":
		return s.Snapshot(), nil
	case "PUT state":
		b, err := decode[Snapshot](r)
		if err != nil {
			return nil, err
		}
		return nil, s.Restore(&b)
	case "GET access-log":
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		return s.AccessLog(after), nil
	}
	return nil, errNoAdminRoute
}

// adminShape is a method and path with the second part of a path replaced by *, unless it is a verb.
func adminShape(method string, path []string) string {
	shape := slices.Clone(path)
	if len(shape) > 1 && !(shape[0] == "webhooks" && shape[1] == "deliver") {
		shape[1] = "*"
	}
	return method + " " + strings.Join(shape, "/")
}

func (s *Store) adminOrder(ctx context.Context, r *http.Request, id int64, verb string) error {
	switch verb {
	case "cancel":
		return s.Cancel(ctx, id)
	case "trash":
		return s.TrashOrder(id)
	case "untrash":
		return s.UntrashOrder(id)
	case "delete":
		return s.DeleteOrder(id)
	case "status":
		v, err := decode[struct{ Status string }](r)
		if err != nil {
			return err
		}
		return s.SetOrderStatus(ctx, id, v.Status)
	case "refund":
		v, err := decode[struct {
			Units   map[int64]int64
			Restock bool
		}](r)
		if err != nil {
			return err
		}
		return s.Refund(ctx, id, v.Units, v.Restock)
	}
	v, err := decode[struct{ Line, Quantity int64 }](r)
	if err != nil {
		return err
	}
	return s.EditOrderLine(ctx, id, v.Line, v.Quantity)
}
