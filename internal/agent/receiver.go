package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"

	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/driver/woocommerce"
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

// receiver takes webhook deliveries. They are never more than hints: all it does with one is to name the
// products to the engine.
type receiver struct {
	ledgerID string
	now      func() time.Time
	hint     func(store string, products ...int64)
	count    func(store, result string)
	log      logr.Logger
	reading  crowd

	mu    sync.RWMutex
	boxes map[string]*inbox
}

// inbox is the place of one store.
type inbox struct {
	secret   string
	unsigned *rate.Limiter
	// deaf: the store is Off, nothing in.
	deaf bool
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
)

func newReceiver(ledgerID string, now func() time.Time, hint func(string, ...int64), count func(store, result string), log logr.Logger) *receiver {
	return &receiver{ledgerID: ledgerID, now: now, hint: hint, count: count, log: log,
		reading: crowd{max: maxReading}, boxes: map[string]*inbox{}}
}

// configure sets the stores that may deliver; the value tells which are deaf.
func (rc *receiver) configure(stores map[string]bool) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	boxes := make(map[string]*inbox, len(stores))
	for id, deaf := range stores {
		limiter := rate.NewLimiter(unsignedPerSecond, unsignedBurst)
		if old := rc.boxes[id]; old != nil {
			limiter = old.unsigned
		}
		boxes[id] = &inbox{secret: WebhookSecret(rc.ledgerID, id), unsigned: limiter, deaf: deaf}
	}
	rc.boxes = boxes
}

// ServeHTTP answers POST /webhooks/woocommerce/<storeID>, and nothing else.
func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, found := strings.CutPrefix(r.URL.Path, agentapi.WebhookPathPrefix)
	rc.mu.RLock()
	box := rc.boxes[id]
	rc.mu.RUnlock()
	if !found || box == nil {
		refuse(w, http.StatusNotFound, "there is no such store")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "webhooks are delivered by POST")
		return
	}
	status, result, text := rc.deliver(w, r, id, box)
	if status == http.StatusOK {
		rc.count(id, result)
		w.WriteHeader(status)
		return
	}
	if !box.unsigned.AllowN(rc.now(), 1) {
		status, result, text = http.StatusTooManyRequests, resultLimited, "too many deliveries without a right signature"
		w.Header().Set("Retry-After", "60")
	} else {
		rc.log.V(1).Info("webhook refused", "store", id, "result", result)
	}
	rc.count(id, result)
	refuse(w, status, text)
}

// deliver reads, verifies and passes on one delivery. The limit for unsigned requests is applied by the
// caller and to failures only, so nobody can use it up for a store that signs.
func (rc *receiver) deliver(w http.ResponseWriter, r *http.Request, id string, box *inbox) (status int, result, text string) {
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
	signature := r.Header.Get(woocommerce.SignatureHeader)
	signed := woocommerce.VerifySignature(box.secret, body, signature)
	if signature != "" && !signed {
		return http.StatusUnauthorized, resultForged, "the signature is not that of this store's webhooks"
	}
	d, err := woocommerce.ParseDelivery(r.Header, body)
	switch {
	case err != nil && signed:
		return http.StatusBadRequest, resultMalformed, err.Error()
	case err == nil && d.Ping && !signed:
		if !box.unsigned.AllowN(rc.now(), 1) {
			return http.StatusTooManyRequests, resultLimited, "too many pings"
		}
		return http.StatusOK, resultPing, ""
	case !signed:
		return http.StatusUnauthorized, resultForged, "the delivery must be signed"
	}
	if !box.deaf && slices.Contains(woocommerce.Topics, d.Topic) {
		var products []int64
		for _, p := range []int64{d.Object, d.Parent} {
			if p > 0 {
				products = append(products, p)
			}
		}
		rc.hint(id, products...)
	}
	return http.StatusOK, resultAccepted, ""
}

func refuse(w http.ResponseWriter, status int, text string) {
	http.Error(w, text, status)
}
