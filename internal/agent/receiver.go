package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
	"stocksync.dev/stocksync/internal/engine"
)

const (
	// maxDelivery is the largest webhook body that is read, in bytes.
	maxDelivery = 1 << 20
	// maxReading is how many bodies are read at a time, over all stores.
	maxReading = 32
	// Requests without a right signature are answered at this rate per store; above it they are turned away
	// after the same work, so that forging never pays and never costs a log line.
	unsignedPerSecond = 2
	unsignedBurst     = 20
)

// WebhookSecret is what a store signs its deliveries with. It follows from the ledger's id, so it is known
// again after a restart and differs from store to store.
func WebhookSecret(ledgerID, storeID string) string {
	mac := hmac.New(sha256.New, []byte(ledgerID))
	mac.Write([]byte("webhook|" + storeID))
	return hex.EncodeToString(mac.Sum(nil))
}

// DeliveryURL is where a store delivers its webhooks.
func DeliveryURL(publicURL, storeID string) string {
	return publicURL + agentapi.WebhookPathPrefix + storeID
}

// SourceDeliveryURL is where Katana delivers its webhooks.
func SourceDeliveryURL(publicURL, storeID string) string {
	return publicURL + agentapi.KatanaWebhookPath + "/" + storeID
}

// receiver takes webhook deliveries. They are never more than hints: all it does with one is to name to the
// engine what it is about.
type receiver struct {
	ledgerID string
	now      func() time.Time
	hearing
	log     logr.Logger
	reading crowd

	mu sync.RWMutex
	// inboxes by the path they are delivered to.
	inboxes map[string]*inbox
}

// hearing is who is told of deliveries.
type hearing struct {
	// hint is told which products of a store a delivery is about, sourceHint what that of a source is.
	hint       func(store string, products ...int64)
	sourceHint func(store string, e engine.SourceEvent)
	// alive is told who sent a signed delivery, whatever it is about.
	alive func(store string)
	// count is told how each delivery ended.
	count func(store, result string)
}

// inbox is the place of one store.
type inbox struct {
	store    string
	unsigned *rate.Limiter
	// take verifies a delivery and passes it on.
	take func(header http.Header, body []byte) (status int, result, text string)
}

// The results of a delivery, a label of a metric.
const (
	resultAccepted  = "accepted"
	resultPing      = "ping"
	resultForged    = "bad_signature"
	resultMalformed = "malformed"
	resultOversize  = "oversize"
	resultCut       = "cut"
	resultLimited   = "limited"
	resultEarly     = "early"
)

func newReceiver(ledgerID string, now func() time.Time, h hearing, log logr.Logger) *receiver {
	return &receiver{ledgerID: ledgerID, now: now, hearing: h, log: log, reading: crowd{max: maxReading}, inboxes: map[string]*inbox{}}
}

// configure sets the stores that may deliver, and which of them are deaf: they are Off, nothing in. Those that are
// sources are named with their accounts, too.
func (rc *receiver) configure(stores map[string]bool, sources map[string]*account) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	inboxes := make(map[string]*inbox, len(stores))
	for id, deaf := range stores {
		path := agentapi.WebhookPathPrefix + id
		if sources[id] != nil {
			path = agentapi.KatanaWebhookPath + "/" + id
		}
		limiter := rate.NewLimiter(unsignedPerSecond, unsignedBurst)
		if old := rc.inboxes[path]; old != nil {
			limiter = old.unsigned
		}
		box := &inbox{store: id, unsigned: limiter, take: rc.ofShop(id, deaf, limiter)}
		if source := sources[id]; source != nil {
			box.take = rc.ofSource(id, deaf, source)
		}
		inboxes[path] = box
	}
	rc.inboxes = inboxes
}

// ServeHTTP answers POST /webhooks/woocommerce/<storeID> and /webhooks/katana/<storeID>, and nothing else.
func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc.mu.RLock()
	box := rc.inboxes[r.URL.Path]
	rc.mu.RUnlock()
	if box == nil {
		refuse(w, http.StatusNotFound, "there is no such store")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "webhooks are delivered by POST")
		return
	}
	status, result, text := rc.deliver(w, r, box)
	if status == http.StatusOK {
		rc.count(box.store, result)
		w.WriteHeader(status)
		return
	}
	if !box.unsigned.AllowN(rc.now(), 1) {
		status, result, text = http.StatusTooManyRequests, resultLimited, "too many deliveries without a right signature"
		w.Header().Set("Retry-After", "60")
	} else {
		rc.log.V(1).Info("webhook refused", "store", box.store, "result", result)
	}
	rc.count(box.store, result)
	refuse(w, status, text)
}

// deliver reads, verifies and passes on one delivery. The limit for unsigned requests is applied by the
// caller and to failures only, so nobody can use it up for a store that signs.
func (rc *receiver) deliver(w http.ResponseWriter, r *http.Request, box *inbox) (status int, result, text string) {
	control := http.NewResponseController(w)
	leave := rc.reading.enter(func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDelivery))
	leave()
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, resultOversize, "the body must be at most 1 MiB"
	case err != nil:
		return http.StatusRequestTimeout, resultCut, "the body did not arrive in time"
	}
	return box.take(r.Header, body)
}

// ofShop takes what a shop delivers.
func (rc *receiver) ofShop(id string, deaf bool, unsigned *rate.Limiter) func(http.Header, []byte) (int, string, string) {
	secret := WebhookSecret(rc.ledgerID, id)
	return func(header http.Header, body []byte) (status int, result, text string) {
		signature := header.Get(woocommerce.SignatureHeader)
		signed := woocommerce.VerifySignature(secret, body, signature)
		if signature != "" && !signed {
			return http.StatusUnauthorized, resultForged, "the signature is not that of this store's webhooks"
		}
		d, err := woocommerce.ParseDelivery(header, body)
		switch {
		case err != nil && signed:
			return http.StatusBadRequest, resultMalformed, err.Error()
		case err == nil && d.Ping && !signed:
			if !unsigned.AllowN(rc.now(), 1) {
				return http.StatusTooManyRequests, resultLimited, "too many pings"
			}
			return http.StatusOK, resultPing, ""
		case !signed:
			return http.StatusUnauthorized, resultForged, "the delivery must be signed"
		}
		if !deaf && slices.Contains(woocommerce.Topics, d.Topic) {
			var products []int64
			for _, p := range []int64{d.Object, d.Parent} {
				if p > 0 {
					products = append(products, p)
				}
			}
			rc.hint(id, products...)
		}
		rc.alive(id)
		return http.StatusOK, resultAccepted, ""
	}
}

// ofSource takes what a source delivers.
func (rc *receiver) ofSource(id string, deaf bool, source *account) func(http.Header, []byte) (int, string, string) {
	return func(header http.Header, body []byte) (status int, result, text string) {
		event, err := source.verify(body, header)
		switch {
		case errors.Is(err, errNotSubscribed):
			// It is sent again; by then the webhook was looked at.
			return http.StatusServiceUnavailable, resultEarly, "the agent does not know its webhook yet: send it again"
		case errors.Is(err, engine.ErrForgedEvent):
			return http.StatusUnauthorized, resultForged, err.Error()
		case err != nil:
			return http.StatusBadRequest, resultMalformed, err.Error()
		}
		if !deaf {
			rc.sourceHint(id, event)
		}
		rc.alive(id)
		return http.StatusOK, resultAccepted, ""
	}
}

func refuse(w http.ResponseWriter, status int, text string) {
	http.Error(w, text, status)
}
