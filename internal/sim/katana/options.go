package katana

import (
	"context"
	"net/http"
	"time"

	"github.com/go-logr/logr"
)

// Clock is the simulator's only source of time.
type Clock interface {
	// Now is the current time.
	Now() time.Time
	// Sleep waits for d and returns nil, or returns the context's error as soon as it ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// Options describe an account. The zero value needs a Clock.
type Options struct {
	// BaseURL is where the API is reached, with the version; https://api.katanamrp.com/v1 when empty.
	BaseURL string
	// Clock must be set.
	Clock Clock
	// Keys are the API keys; requests with any other get 401.
	Keys []string
	// Behaviour is what is lastingly odd; see [Account.SetBehaviour].
	Behaviour Behaviour
	// OnRequest is called before each API request is worked on, without any lock held: a test may act there.
	OnRequest func(method, path, query string)
	// WebhookTransport carries deliveries; [http.DefaultTransport] when nil.
	WebhookTransport http.RoundTripper
	// AdminToken opens the routes under /__sim/ to whoever sends it as a bearer token; closed when empty.
	AdminToken string
	// Log gets one line per request at V(1) and failed deliveries.
	Log logr.Logger
}

// Behaviour is what is lastingly odd about an account, and what the documentation leaves open.
type Behaviour struct {
	// RateLimit is how many requests a minute are let through; 60 when 0, no limit when negative.
	RateLimit int `json:"rateLimit,omitempty"`
	// ResetInSeconds writes X-Ratelimit-Reset in seconds instead of milliseconds.
	ResetInSeconds bool `json:"resetInSeconds,omitempty"`
	// PaginationStrings writes every value of X-Pagination as a string.
	PaginationStrings bool `json:"paginationStrings,omitempty"`
	// QuantityStrings writes the quantities of order rows as strings.
	QuantityStrings bool `json:"quantityStrings,omitempty"`
	// FlatErrors writes errors bare instead of below "error".
	FlatErrors bool `json:"flatErrors,omitempty"`
	// NoAPI is a plan without API: this status answers everything; 0 is off.
	NoAPI int `json:"noAPI,omitempty"`
	// Arrays is the one form of array parameters understood: "repeat", "brackets" or "comma"; all when empty.
	Arrays string `json:"arrays,omitempty"`
	// IgnoreFilters ignores filters of these names.
	IgnoreFilters []string `json:"ignoreFilters,omitempty"`
	// CommittedEvents sends current_inventory.product_updated for changes of committed, too.
	CommittedEvents bool `json:"committedEvents,omitempty"`
	// QuotesCommit lets PENDING orders commit stock.
	QuotesCommit bool `json:"quotesCommit,omitempty"`
	// SignaturePrefix writes sha256= before a signature.
	SignaturePrefix bool `json:"signaturePrefix,omitempty"`
	// PlainWebhooks allows http URLs for webhooks.
	PlainWebhooks bool `json:"plainWebhooks,omitempty"`
	// SilentFulfillments leaves an order's updated_at alone when more of it is fulfilled in the same status.
	SilentFulfillments bool `json:"silentFulfillments,omitempty"`
}
