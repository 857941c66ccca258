package katana

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// hook is a webhook as the API shows it.
type hook struct {
	ID          int64     `json:"id"`
	URL         string    `json:"url"`
	Token       string    `json:"token"`
	Enabled     bool      `json:"enabled"`
	Description string    `json:"description"`
	Events      []string  `json:"subscribed_events"`
	Created     timestamp `json:"created_at"`
	Updated     timestamp `json:"updated_at"`
}

type delivery struct {
	hook  int64
	event string
	body  []byte
	due   time.Time
	tries int
}

// resends are the waits before a delivery that failed is sent again.
var resends = []time.Duration{30 * time.Second, 2 * time.Minute, 15 * time.Minute}

// answerLimit is how long a receiver may take.
const answerLimit = 10 * time.Second

type event struct {
	Resource string      `json:"resource_type"`
	Action   string      `json:"action"`
	Webhook  int64       `json:"webhook_id"`
	Object   eventObject `json:"object"`
}

type eventObject struct {
	ID     int64  `json:"id"`
	Status string `json:"status,omitempty"`
	Href   string `json:"href,omitempty"`
}

// emit queues an event for every webhook that wants it. The lock is held.
func (a *Account) emit(name, resource string, id int64, status string, now time.Time) {
	for _, hid := range slices.Sorted(maps.Keys(a.hooks)) {
		h := a.hooks[hid]
		if !h.Enabled || !slices.Contains(h.Events, name) {
			continue
		}
		e := event{resource, name, h.ID, eventObject{ID: id, Status: status}}
		if name != "sales_order.deleted" && resource != "current_inventory" {
			e.Object.Href = fmt.Sprintf("%s/%ss/%d", a.o.BaseURL, resource, id)
		}
		body, _ := json.Marshal(e)
		d := delivery{hook: h.ID, event: name, body: body, due: now}
		copies, first := 1, false
		for _, f := range a.strike(true, http.MethodPost, name) {
			switch f.Kind {
			case FaultHookDrop:
				copies = 0
			case FaultHookDuplicate:
				copies *= 2
			case FaultHookLate:
				d.due = d.due.Add(f.Delay)
			case FaultHookReorder:
				first = true
			}
		}
		for range copies {
			if first {
				a.queue = slices.Insert(a.queue, 0, d)
			} else {
				a.queue = append(a.queue, d)
			}
		}
	}
}

// Pending is the number of deliveries that wait.
func (a *Account) Pending() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue)
}

// Run delivers what is due every second until ctx ends.
func (a *Account) Run(ctx context.Context) error {
	for {
		if err := a.o.Clock.Sleep(ctx, time.Second); err != nil {
			return err
		}
		a.DeliverWebhooks(ctx)
	}
}

// DeliverWebhooks sends what is due, once. What fails is due again later, three times at most. It returns the
// number of requests made.
func (a *Account) DeliverWebhooks(ctx context.Context) int {
	a.mu.Lock()
	now := a.now()
	var due, later []delivery
	for _, d := range a.queue {
		if d.due.After(now) {
			later = append(later, d)
		} else {
			due = append(due, d)
		}
	}
	a.queue = later
	a.mu.Unlock()
	sent := 0
	for _, d := range due {
		if a.send(ctx, d) {
			sent++
		}
	}
	return sent
}

func (a *Account) send(ctx context.Context, d delivery) bool {
	a.mu.Lock()
	h := a.hooks[d.hook]
	if h == nil || !h.Enabled {
		a.mu.Unlock()
		return false
	}
	url, token, prefix := h.URL, h.Token, ""
	if a.behaviour.SignaturePrefix {
		prefix = "sha256="
	}
	a.mu.Unlock()
	status, err := a.post(ctx, url, prefix+Signature(token, d.body), d)
	if err == nil && status >= 200 && status < 300 {
		return true
	}
	a.logger().Info("webhook delivery failed", "webhook", d.hook, "event", d.event, "status", status)
	if d.tries < len(resends) {
		a.mu.Lock()
		d.due = a.now().Add(resends[d.tries])
		d.tries++
		a.queue = append(a.queue, d)
		a.mu.Unlock()
	}
	return true
}

func (a *Account) post(ctx context.Context, url, signature string, d delivery) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Sha2-Signature", signature)
	if d.tries > 0 {
		req.Header.Set("X-Katana-Retry-Num", strconv.Itoa(d.tries))
	}
	res, err := a.o.WebhookTransport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// Signature is what is sent in x-sha2-signature: HMAC-SHA256 of the raw body under the webhook's token, in hex.
func Signature(token string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// Disable switches a webhook off or on, as somebody in the account may.
func (a *Account) Disable(id int64, off bool) error {
	return a.do(func(_ *state, now time.Time) error {
		h := a.hooks[id]
		if h == nil {
			return unknown("webhook", id)
		}
		h.Enabled, h.Updated = !off, timestamp(now)
		return nil
	})
}

// DropWebhooks deletes all webhooks and what waits for them.
func (a *Account) DropWebhooks() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.hooks)
	a.queue = nil
}
