package katana

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const adminPrefix = "/__sim/"

// AdminHelp describes the routes under /__sim/ for the help text of a command.
const AdminHelp = `Admin routes (JSON; "Authorization: Bearer TOKEN"; quantities as "2.5", times in nanoseconds):
  GET    /__sim/state                       levels, orders and what was fulfilled of them
  GET    /__sim/quantity?variant=&location=  what is in stock there
  POST   /__sim/items                       {name,sku,material,kit}: answers {id}, the variant's
  POST   /__sim/variants/{id}/sku           {sku}
  POST   /__sim/variants/{id}/delete
  POST   /__sim/adjust                      {variant,location,change}
  POST   /__sim/transfer                    {variant,from,to,quantity}
  POST   /__sim/orders                      {location,source,platform,shop,shopOrder,quote,rows:[{variant,quantity,location}]}
  POST   /__sim/orders/{id}/pack|deliver|unpack|confirm|delete
  POST   /__sim/orders/{id}/row             {n,quantity}: 0 removes the nth row, from 0
  POST   /__sim/locations                   {name}
  POST   /__sim/locations/{id}/delete
  POST   /__sim/keys                        ["KEY",...]: those that are left out have expired
  GET    /__sim/behaviour                   and POST: see package katana
  POST   /__sim/faults                      {kind,method,path,after,times,delayNanoseconds,status,retryAfterSeconds}: answers {id}; kinds:
                                             status html slow cut cut-after stale-levels webhook-drop webhook-duplicate webhook-late webhook-reorder
  DELETE /__sim/faults                      disarm all
`

var errNoAdminRoute = errors.New("no such admin route or method: see storesim katana --help")

func (a *Account) admin(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	status, answer := http.StatusOK, any(m{"ok": true})
	if a.o.AdminToken == "" || !ok || subtle.ConstantTimeCompare([]byte(token), []byte(a.o.AdminToken)) != 1 {
		status, answer = http.StatusForbidden, m{"error": "send the admin token as a bearer token; without a configured token these routes are closed"}
	} else if v, err := a.adminCall(r); err != nil {
		status, answer = http.StatusBadRequest, m{"error": err.Error()}
		if errors.Is(err, ErrUnknown) || errors.Is(err, errNoAdminRoute) {
			status = http.StatusNotFound
		}
	} else if v != nil {
		answer = v
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(answer))
}

func adminBody[T any](r *http.Request) (v T, err error) {
	dec := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&v); err != nil {
		err = fmt.Errorf("the request body does not fit this route: %w", err)
	}
	return v, err
}

func made(id int64, err error) (any, error) { return m{"id": id}, err }

func (a *Account) adminCall(r *http.Request) (any, error) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, adminPrefix), "/")
	id := int64(0)
	if len(parts) > 1 {
		n, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, errNoAdminRoute
		}
		id, parts[1] = n, "*"
	}
	switch r.Method + " " + strings.Join(parts, "/") {
	case "GET state":
		return json.RawMessage(a.State()), nil
	case "GET quantity":
		v, err1 := strconv.ParseInt(r.URL.Query().Get("variant"), 10, 64)
		l, err2 := strconv.ParseInt(r.URL.Query().Get("location"), 10, 64)
		return m{"quantity": a.InStock(v, l)}, errors.Join(err1, err2)
	case "POST items":
		n, err := adminBody[NewItem](r)
		if err != nil {
			return nil, err
		}
		return made(a.AddItem(n), nil)
	case "POST variants/*/sku":
		v, err := adminBody[struct{ SKU *string }](r)
		if err != nil {
			return nil, err
		}
		return nil, a.SetSKU(id, v.SKU)
	case "POST variants/*/delete":
		return nil, a.DeleteVariant(id)
	case "POST adjust":
		v, err := adminBody[struct {
			Variant, Location int64
			Change            Quantity
		}](r)
		if err != nil {
			return nil, err
		}
		return nil, a.Adjust(v.Variant, v.Location, v.Change)
	case "POST transfer":
		v, err := adminBody[struct {
			Variant, From, To int64
			Quantity          Quantity
		}](r)
		if err != nil {
			return nil, err
		}
		return nil, a.Transfer(v.Variant, v.From, v.To, v.Quantity)
	case "POST orders":
		n, err := adminBody[NewOrder](r)
		if err != nil {
			return nil, err
		}
		return made(a.CreateOrder(n))
	case "POST orders/*/pack":
		return nil, a.Pack(id)
	case "POST orders/*/deliver":
		return nil, a.Deliver(id)
	case "POST orders/*/unpack":
		return nil, a.Unpack(id)
	case "POST orders/*/confirm":
		return nil, a.Confirm(id)
	case "POST orders/*/delete":
		return nil, a.DeleteOrder(id)
	case "POST orders/*/row":
		v, err := adminBody[struct {
			N        int
			Quantity Quantity
		}](r)
		if err != nil {
			return nil, err
		}
		return nil, a.EditRow(id, v.N, v.Quantity)
	case "POST locations":
		v, err := adminBody[struct{ Name string }](r)
		if err != nil {
			return nil, err
		}
		return made(a.AddLocation(v.Name), nil)
	case "POST locations/*/delete":
		return nil, a.DeleteLocation(id)
	case "POST keys":
		keys, err := adminBody[[]string](r)
		if err == nil {
			a.SetKeys(keys...)
		}
		return nil, err
	case "GET behaviour":
		return a.Behaviour(), nil
	case "POST behaviour":
		b, err := adminBody[Behaviour](r)
		if err == nil {
			a.SetBehaviour(b)
		}
		return nil, err
	case "POST faults":
		f, err := adminBody[Fault](r)
		switch {
		case err != nil:
			return nil, err
		case !slices.Contains(faultKinds, f.Kind):
			return nil, fmt.Errorf("no fault is called %q: use one of %v", f.Kind, faultKinds)
		case f.Kind == FaultStatus && (f.Status < 400 || f.Status > 599):
			return nil, errors.New("a status fault needs a status from 400 to 599")
		}
		return made(a.Inject(f), nil)
	case "DELETE faults":
		a.Clear()
		return nil, nil
	}
	return nil, errNoAdminRoute
}

// InStock is what is in stock of a variant at a location.
func (a *Account) InStock(variant, location int64) Quantity {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.st.levels[cell{variant, location}]; l != nil {
		return l.InStock
	}
	return 0
}
