package woocommerce

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxFailures is the counter's highest value: the failure after it disables the webhook and leaves the
// counter there, so that after a re-activation a single failure is enough.
const maxFailures = 6

const webhookTimeout = 60 * time.Second

// emit queues a delivery of an event for every active webhook with that topic. A delivery that already
// waits for the same webhook and resource stands for this event, too. The lock is held.
func (s *Store) emit(topic string, resource int64) {
	if len(s.st.Webhooks) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(s.st.Webhooks)) {
		w := s.st.Webhooks[id]
		if w.Topic != topic || w.Status != "active" {
			continue
		}
		if s.st.queued[[2]int64{id, resource}] {
			continue
		}
		j := job{Webhook: id, Resource: resource, Due: s.now(), Copies: 1}
		for _, f := range s.strike(true, "POST", topic) {
			switch f.Kind {
			case FaultHookDrop:
				j.Copies = 0
			case FaultHookDuplicate:
				j.Copies *= 2
			case FaultHookLate:
				j.Due = j.Due.Add(f.Delay)
			}
		}
		if j.Copies > 0 {
			s.st.Queue = append(s.st.Queue, j)
			s.st.queued[[2]int64{id, resource}] = true
		}
	}
}

// PendingWebhooks is the number of deliveries that wait.
func (s *Store) PendingWebhooks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.st.Queue)
}

// Run is the site's cron: it delivers what is due every [Options.WebhookInterval] until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	for {
		if err := s.o.Clock.Sleep(ctx, s.o.WebhookInterval); err != nil {
			return err
		}
		s.DeliverWebhooks(ctx)
	}
}

// DeliverWebhooks delivers what is due, once; what fails is lost. It returns the number of requests made.
func (s *Store) DeliverWebhooks(ctx context.Context) int {
	s.mu.Lock()
	now := s.now()
	var due []job
	s.st.Queue = slices.DeleteFunc(slices.Clone(s.st.Queue), func(j job) bool {
		if j.Due.After(now) {
			return false
		}
		due = append(due, j)
		delete(s.st.queued, [2]int64{j.Webhook, j.Resource})
		return true
	})
	s.mu.Unlock()
	n := 0
	for _, j := range due {
		for range j.Copies {
			if ctx.Err() != nil {
				return n
			}
			s.deliver(ctx, j)
			n++
		}
	}
	return n
}

func (s *Store) deliver(ctx context.Context, j job) {
	s.mu.Lock()
	w := s.st.Webhooks[j.Webhook]
	if w == nil {
		s.mu.Unlock()
		return
	}
	hook, body := *w, s.payload(w.Topic, j.Resource)
	now := s.now()
	s.mu.Unlock()

	header := http.Header{}
	resource, event, _ := strings.Cut(hook.Topic, ".")
	header.Set("Content-Type", "application/json")
	header.Set("X-WC-Webhook-Source", s.o.HomeURL+"/")
	header.Set("X-WC-Webhook-Topic", hook.Topic)
	header.Set("X-WC-Webhook-Resource", resource)
	header.Set("X-WC-Webhook-Event", event)
	header.Set("X-WC-Webhook-Signature", Signature(hook.Secret, body))
	header.Set("X-WC-Webhook-ID", strconv.FormatInt(hook.ID, 10))
	header.Set("X-WC-Webhook-Delivery-ID", deliveryID(hook.ID, now))
	status, err := s.post(ctx, hook.URL, header, body)
	ok := err == nil && (status >= 200 && status < 300 || status == 301 || status == 302)
	if !ok {
		s.logger().Info("webhook delivery failed", "webhook", hook.ID, "topic", hook.Topic, "status", status)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if w = s.st.Webhooks[j.Webhook]; w == nil {
		return
	}
	switch {
	case ok:
		w.Failures = 0
	case w.Failures >= maxFailures:
		w.Status, w.Modified = "disabled", s.now().Truncate(time.Second)
	default:
		w.Failures++
	}
}

// Signature is what the store sends in X-WC-Webhook-Signature.
func Signature(secret string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// deliveryID is not unique: it depends on the webhook and the second alone.
func deliveryID(webhook int64, at time.Time) string {
	sum := md5.Sum(fmt.Appendf(nil, "%d%d", webhook, at.Unix()))
	return hex.EncodeToString(sum[:])
}

// payload renders a delivery's body from the data as they are now. The lock is held.
func (s *Store) payload(topic string, id int64) []byte {
	resource, event, _ := strings.Cut(topic, ".")
	if resource == "action" {
		// Only a number survives as the argument of an action; a product object becomes an empty list.
		var arg any = []any{}
		if id != 0 {
			arg = id
		}
		return encodeJSON(nil, object{{"action", event}, {"arg", arg}})
	}
	if event == "deleted" {
		return encodeJSON(nil, object{{"id", id}})
	}
	switch resource {
	case "product":
		if p := s.st.Products[id]; p != nil {
			return encodeJSON(nil, s.productObject(s.st, s.o.HomeURL, p, nil))
		}
	case "order":
		if o := s.st.Orders[id]; o != nil {
			return encodeJSON(nil, s.orderObject(s.st, s.o.HomeURL, o, nil))
		}
	}
	return encodeJSON(nil, errProductID.body())
}

var errBlockedURL = errors.New("a valid URL was not provided: private addresses and ports other than 80, 443 and 8080 are refused")

// post sends one request the way wp_safe_remote_post does: redirects are not followed.
func (s *Store) post(ctx context.Context, address string, header http.Header, body []byte) (int, error) {
	if s.o.BlockPrivateWebhooks && private(address) {
		return 0, errBlockedURL
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = header
	req.Header.Set("User-Agent", fmt.Sprintf("WooCommerce/%s Hookshot (WordPress/%s)", s.o.Version, s.o.WordPress))
	res, err := s.o.WebhookTransport.RoundTrip(req) //nolint:bodyclose // drain closes it
	if err != nil {
		return 0, err
	}
	drain(res.Body)
	return res.StatusCode, nil
}

// private tells whether WordPress would refuse the address unless told otherwise. Names are not resolved.
func private(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return true
	}
	switch u.Port() {
	case "", "80", "443", "8080":
	default:
		return true
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

// ping is the form a new webhook's address gets, unsigned; nobody looks at the answer.
func (s *Store) ping(ctx context.Context, id int64, address string) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if _, err := s.post(ctx, address, header, []byte("webhook_id="+strconv.FormatInt(id, 10))); err != nil {
		s.logger().Info("webhook ping failed", "webhook", id)
	}
}
