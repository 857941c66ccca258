package woocommerce

import (
	"context"
	"net/http"
	"time"

	"github.com/go-logr/logr"
)

// Clock is the store's only source of time.
type Clock interface {
	// Now is the current time.
	Now() time.Time
	// Sleep waits for d and returns nil, or returns the context's error as soon as it ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the machine's clock. Inside a testing/synctest bubble it is the bubble's virtual clock.
type SystemClock struct{}

// Now implements [Clock].
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep implements [Clock].
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Permission is what a REST key may do.
type Permission string

// Permissions of a key.
const (
	Read      Permission = "read"
	Write     Permission = "write"
	ReadWrite Permission = "read_write"
)

// Key is a REST key of the store.
type Key struct {
	ConsumerKey    string
	ConsumerSecret string
	// Permission is ReadWrite when empty.
	Permission Permission
	// NoOrders makes the key's owner a user who may not see orders: 403 on every order route.
	NoOrders bool
}

// Step names a point inside a request where the real store can be interrupted or overtaken: no lock is
// held there. Pauses, hooks and deaths are attached to steps.
type Step string

// The steps of requests, in the order they are passed.
const (
	// StepStart: the request was received, nothing was done.
	StepStart Step = "start"
	// StepRead: a product write has read the item; what it computes is based on that.
	StepRead Step = "read"
	// StepMeta: its metas and date are stored, its quantity is not.
	StepMeta Step = "meta"
	// StepQuantity: its quantity is stored, its stock status is not.
	StepQuantity Step = "quantity"
	// StepItem: the item is done, the answer is not yet read back.
	StepItem Step = "item"
	// StepList: a list answer holds all quantities; passed before the metas of each row are read.
	StepList Step = "list"
	// StepOrderSaved: an order is stored with its new status; no stock was moved for it.
	StepOrderSaved Step = "order-saved"
	// StepStockMoved: an order line moved the stock; its _reduced_stock and the item's status and date are not written.
	StepStockMoved Step = "stock-moved"
	// StepCheckout: a shopper's cart was found in stock; the order is not placed.
	StepCheckout Step = "checkout"
	// StepAnswer: all work is done, the answer was not sent.
	StepAnswer Step = "answer"
)

// StepEvent is one passing of a step. ProductID and OrderID are 0 where there is none.
type StepEvent struct {
	Step      Step
	ProductID int64
	OrderID   int64
}

// Pauses says how long the store takes at each step. A step without entry takes no time.
// The true pause is between half and one and a half times the value, from the store's random source.
type Pauses map[Step]time.Duration

// RealisticPauses are those measured on a small WooCommerce 9.9.5 server: 50 ms a read, 66 ms a write,
// 16 ms an item of a batch, 18.5 ms from reading a quantity to writing it.
func RealisticPauses() Pauses {
	return Pauses{
		StepStart:      40 * time.Millisecond,
		StepRead:       9 * time.Millisecond,
		StepMeta:       7 * time.Millisecond,
		StepQuantity:   time.Millisecond,
		StepList:       2 * time.Millisecond,
		StepOrderSaved: 15 * time.Millisecond,
		StepStockMoved: 25 * time.Millisecond,
		StepCheckout:   30 * time.Millisecond,
		StepAnswer:     5 * time.Millisecond,
	}
}

// Options describe a store. The zero value is a usable store without keys that answers at once.
type Options struct {
	// Name is the shop's title; "Store" when empty.
	Name string
	// HomeURL is the site's address without a trailing slash; "http://store.example" when empty. A path in
	// it is the prefix of every route.
	HomeURL string
	// Location is the site's time zone; UTC+2 when nil.
	Location *time.Location
	// Clock is [SystemClock] when nil.
	Clock Clock
	// Seed feeds everything random: jitter of pauses, probabilities of faults, order keys.
	Seed uint64
	// Keys are the REST keys.
	Keys []Key
	// Pauses is how long things take; nothing takes time when nil.
	Pauses Pauses
	// Workers bounds the requests worked on at once, like PHP-FPM's children; 0 is no bound.
	Workers int
	// OnStep is called at every step of every request, without any lock held: a test may act as
	// another request there. It must be safe for concurrent use.
	OnStep func(StepEvent)

	// Version and WordPress are the versions the store claims; 9.9.5 and 6.9 when empty.
	// From 10.3.0 on the store has the route GET /wc/v3/variations.
	Version   string
	WordPress string

	// WebhookTransport carries webhook deliveries; [http.DefaultTransport] when nil.
	WebhookTransport http.RoundTripper
	// WebhookInterval is the cron tick of [Store.Run]; one minute when 0.
	WebhookInterval time.Duration
	// WebhookSync delivers at the end of the request that caused the event, as with the filter
	// woocommerce_webhook_deliver_async.
	WebhookSync bool
	// BlockPrivateWebhooks refuses deliveries to loopback and private addresses and to ports other than
	// 80, 443 and 8080, as WordPress does unless the site's owner allows them.
	BlockPrivateWebhooks bool

	// AccessLogSize is the number of requests remembered; 10,000 when 0, none when negative.
	AccessLogSize int
	// AdminToken opens the routes under /__sim/ to whoever sends it as a bearer token; closed when empty.
	AdminToken string
	// Log gets one line per request at V(1) and failed deliveries; nothing when zero.
	Log logr.Logger
}

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "Store"
	}
	if o.HomeURL == "" {
		o.HomeURL = "http://store.example"
	}
	if o.Location == nil {
		o.Location = time.FixedZone("UTC+2", 2*60*60)
	}
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	if o.Version == "" {
		o.Version = "9.9.5"
	}
	if o.WordPress == "" {
		o.WordPress = "6.9"
	}
	if o.WebhookTransport == nil {
		o.WebhookTransport = http.DefaultTransport
	}
	if o.WebhookInterval == 0 {
		o.WebhookInterval = time.Minute
	}
	if o.AccessLogSize == 0 {
		o.AccessLogSize = 10_000
	}
	return o
}
