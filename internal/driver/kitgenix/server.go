package kitgenix

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
)

const (
	// MaxBody is the largest body taken, in bytes: generation 2 refuses more itself.
	MaxBody = 2 << 20
	// MaxItems is how many items one request may name.
	MaxItems = 5000
	// maxIdentity bounds the texts that are remembered of a request.
	maxIdentity = 200
	// seenFor is how long the id of an event is remembered. The plugin retries for 25 hours.
	seenFor = 48 * time.Hour
)

// Peer is a store that may call.
type Peer struct {
	// StoreID is what it calls itself in its headers.
	StoreID string
	// Secrets it may sign with: the current one, and the one before until it runs out.
	Secrets []Secret
	// Off: the store is known and switched off. It is answered, and nothing it says is taken.
	Off bool
}

// Hub is what is behind the server. Its methods are called only for requests that were proved to come from the peer.
type Hub interface {
	// Peer finds a store by the id in its headers.
	Peer(storeID string) (Peer, bool)
	// Pong is what a peer's ping is answered with; its role is ours towards that peer.
	Pong(peer Peer) Pong
	// Remember stores a text until a time, at once: of several calls with the same text one is told true. With durable
	// set it returns once a restart forgets it no more; otherwise that is so a moment later.
	Remember(ctx context.Context, text string, until time.Time, durable bool) (fresh bool, err error)
	// Event takes an event. When it returns nil the event is durable, and remembered as seen, in one step: seen tells
	// that it had been taken before. id is never empty.
	Event(ctx context.Context, peer Peer, id string, seenUntil time.Time, e Event) (seen bool, err error)
	// Stock answers what may be bought of these SKUs. It is asked at checkout and must answer within milliseconds.
	Stock(ctx context.Context, peer Peer, skus []string) (map[string]State, error)
	// States answers what is known of these SKUs.
	States(ctx context.Context, peer Peer, skus []string) (map[string]State, error)
	// Refused is told why a request was refused, by the id it came under, which anybody may have put there. False: there
	// were too many, and the request is turned away with 429. So whoever forges costs no more than the work, and
	// whoever signs rightly pays nothing for it.
	Refused(storeID string, cause error) bool
	// Count is told the outcome of each request, in fixed words. peer is empty for one that could not be proved.
	Count(peer, route, outcome string)
}

// Server answers the plugin's requests. Every refusal of a signature is the same 401, whatever the reason, and costs
// the sender nothing: a request that is signed right is always answered, so nobody can silence a peer by forging.
type Server struct {
	hub   Hub
	now   func() time.Time
	log   logr.Logger
	enter func(out func()) (leave func())
}

// NewServer makes a server over the hub, on this clock. enter is called before a body is read, with a function that
// ends the reading, and what it returns when it was read: so that whoever limits how many are read at a time can let go
// of those that dawdle. It may be nil.
func NewServer(hub Hub, now func() time.Time, log logr.Logger, enter func(out func()) (leave func())) *Server {
	if enter == nil {
		enter = func(func()) func() { return func() {} }
	}
	return &Server{hub: hub, now: now, log: log, enter: enter}
}

// ServeHTTP implements [http.Handler]. The path must begin with [Root].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := r.URL.Path
	switch route {
	case Root:
		// The plugin's way to see whether it is there, without a signature.
		if r.Method == http.MethodGet {
			answer(w, map[string]any{"namespace": strings.TrimPrefix(Root, "/wp-json/")})
			return
		}
	case RoutePing, RouteEvent, RouteStock, RouteStockState:
		if r.Method == http.MethodPost {
			s.post(w, r, route)
			return
		}
	}
	fail(w, http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.")
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, route string) {
	name := route[len(Root)+1:]
	body, ok := s.body(w, r)
	if !ok {
		s.hub.Count("", name, "unreadable")
		return
	}
	// As WordPress does, before anything of the plugin's runs.
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") && len(body) > 0 && !json.Valid(body) {
		s.hub.Count("", name, "malformed")
		fail(w, http.StatusBadRequest, "rest_invalid_json", "Invalid JSON body passed.")
		return
	}
	peer, err := s.authenticate(r, route, body)
	switch {
	case err == nil:
	case !errors.Is(err, errRefused):
		s.hub.Count("", name, s.unavailable(w, err))
		return
	case !s.hub.Refused(r.Header.Get(HeaderStoreID), err):
		s.hub.Count("", name, "limited")
		w.Header().Set("Retry-After", "60")
		fail(w, http.StatusTooManyRequests, "kss_rate_limited", "Too many failed requests.")
		return
	default:
		s.log.V(1).Info("a request was refused", "route", name, "cause", err.Error())
		s.hub.Count("", name, "refused")
		fail(w, http.StatusUnauthorized, "kss_auth_failed", "Authentication failed.")
		return
	}
	outcome := s.handle(w, r, route, peer, body)
	s.hub.Count(peer.StoreID, name, outcome)
}

// body reads the body, if it is not too long.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	control := http.NewResponseController(w)
	leave := s.enter(func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	leave()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		fail(w, http.StatusRequestEntityTooLarge, "kss_payload_too_large", "The body is larger than 2 MiB.")
		return nil, false
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "kss_bad_request", "The body could not be read.")
		return nil, false
	}
	return body, true
}

// errRefused is wrapped by every reason to answer 401.
var errRefused = errors.New("refused")

func refuse(cause error) error { return errors.Join(errRefused, cause) }

// authenticate proves who sent the request. The nonce is stored only once the signature was found good, so that an
// outsider can neither fill the memory nor use up a nonce.
func (s *Server) authenticate(r *http.Request, route string, body []byte) (Peer, error) {
	id := r.Header.Get(HeaderStoreID)
	peer, known := s.hub.Peer(id)
	secrets := peer.Secrets
	if id == "" || !known {
		// Something is computed all the same, so that time does not tell which stores there are.
		secrets = []Secret{{Value: "nobody"}}
	}
	nonce, until, err := verify(r.Header, body, secrets, s.now())
	switch {
	case id == "" || !known:
		return Peer{}, refuse(ErrSender)
	case err != nil:
		return Peer{}, refuse(err)
	case len(nonce) > maxIdentity:
		return Peer{}, refuse(ErrHeaders)
	}
	// A question may be answered before its nonce is on the disk: a copy of it that comes after a crash in between
	// learns a number. An event waits for the disk in any case.
	fresh, err := s.hub.Remember(r.Context(), "nonce|"+peer.StoreID+"|"+nonce, until, route == RouteEvent)
	if err != nil {
		return Peer{}, err
	}
	if !fresh {
		return Peer{}, refuse(ErrReplay)
	}
	return peer, nil
}

// handle answers what was proved, and returns the outcome in a word.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, route string, peer Peer, body []byte) string {
	switch route {
	case RoutePing:
		p := s.hub.Pong(peer)
		answer(w, map[string]any{"ok": true, "store_id": p.StoreID, "store_name": p.Name, "role": p.Role, "time": s.now().Unix(),
			"wc_version": p.WooCommerce, "plugin_version": p.Plugin})
		return "ok"
	case RouteEvent:
		return s.event(w, r, peer, body)
	}
	if route == RouteStock && s.hub.Pong(peer).Role != RoleMaster {
		fail(w, http.StatusForbidden, "kss_not_master", "Stock query is only supported on master")
		return "forbidden"
	}
	skus, given, err := parseSKUs(body)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, "kss_bad_json", "Invalid JSON")
		return "malformed"
	case !given:
		fail(w, http.StatusBadRequest, "kss_bad_payload", "Missing items")
		return "malformed"
	case len(skus) > MaxItems:
		return tooMany(w)
	}
	ask := s.hub.States
	if route == RouteStock {
		ask = s.hub.Stock
	}
	states := map[string]State{}
	if !peer.Off {
		if states, err = ask(r.Context(), peer, skus); err != nil {
			return s.unavailable(w, err)
		}
	}
	items := make(map[string]any, len(skus))
	for _, sku := range skus {
		items[sku] = states[sku].wire()
	}
	answer(w, map[string]any{"ok": true, "items": items})
	if peer.Off {
		return "off"
	}
	return "ok"
}

// event takes one event. 200 says that it is durable.
func (s *Server) event(w http.ResponseWriter, r *http.Request, peer Peer, body []byte) string {
	e, err := ParseEvent(body)
	switch {
	case errors.Is(err, ErrType):
		fail(w, http.StatusBadRequest, "kss_event_type", "Missing event_type")
		return "malformed"
	case err != nil:
		fail(w, http.StatusBadRequest, "kss_bad_json", "Invalid JSON")
		return "malformed"
	case len(e.Items) > MaxItems:
		return tooMany(w)
	case peer.Off:
		fail(w, http.StatusForbidden, "kss_disabled", "This store is switched off at its master: mode Off.")
		return "off"
	case e.Type != TypeStockState && e.Type != TypeRename:
		// A plugin that is a master would take it for stock. It is acknowledged, as every event is, and left alone.
		answer(w, taken)
		return "unknown"
	}
	if e.ID == "" || len(e.ID) > maxIdentity {
		// Signed and never seen before, so its bytes are its identity.
		e.ID = "sha256:" + Sign("", "", "", body)
	}
	seen, err := s.hub.Event(r.Context(), peer, e.ID, s.now().Add(seenFor), e)
	if err != nil {
		return s.unavailable(w, err)
	}
	answer(w, taken)
	if seen {
		return "duplicate"
	}
	return "ok"
}

var taken = map[string]any{"ok": true, "processed": true}

func tooMany(w http.ResponseWriter) string {
	fail(w, http.StatusRequestEntityTooLarge, "kss_payload_too_large", "More than 5000 items.")
	return "malformed"
}

// unavailable lets the peer try again: it retries whatever is not a success.
func (s *Server) unavailable(w http.ResponseWriter, err error) string {
	s.log.Error(err, "a request could not be answered")
	fail(w, http.StatusServiceUnavailable, "kss_unavailable", "Try again later.")
	return "unavailable"
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the peer went away
}

// fail answers in the form of a WordPress error.
func fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": message, "data": map[string]any{"status": status}})
}
