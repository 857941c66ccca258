package woocommerce

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
)

// SignatureHeader carries the signature of a webhook delivery.
const SignatureHeader = "X-WC-Webhook-Signature"

// Delivery is what a webhook delivery hints at. It is never more than a hint: the truth is read.
type Delivery struct {
	// Ping: the unsigned request a shop sends when a webhook is made. Answer it and do nothing.
	Ping bool
	// Topic is for example product.updated.
	Topic string
	// Object is the id of the product or variation; 0 when the delivery does not say.
	Object int64
	// Parent is the id of a variation's parent; 0 for others, or when the delivery does not say.
	Parent int64
}

// VerifySignature tells whether header is the signature of the raw body, in constant time.
func VerifySignature(secret string, body []byte, header string) bool {
	sum, err := base64.StdEncoding.DecodeString(header)
	if err != nil || secret == "" {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hmac.Equal(sum, mac.Sum(nil))
}

// ParseDelivery reads a delivery. Anything but a ping must have been verified before.
func ParseDelivery(h http.Header, body []byte) (Delivery, error) {
	topic := h.Get("X-WC-Webhook-Topic")
	if topic == "" {
		kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
		form, err := url.ParseQuery(string(body))
		if kind == "application/x-www-form-urlencoded" && err == nil && len(form) == 1 && wholeOf(form.Get("webhook_id")).ok {
			return Delivery{Ping: true}, nil
		}
		return Delivery{}, errors.New("the request has no X-WC-Webhook-Topic header: only WooCommerce webhooks are taken here")
	}
	var b struct {
		ID     whole           `json:"id"`
		Parent whole           `json:"parent_id"`
		Arg    json.RawMessage `json:"arg"`
	}
	if err := json.Unmarshal(bytes.TrimPrefix(body, utf8BOM), &b); err != nil {
		return Delivery{}, errors.New("the webhook's body is not a JSON object")
	}
	d := Delivery{Topic: topic, Object: max(b.ID.n, 0), Parent: max(b.Parent.n, 0)}
	if b.Arg != nil {
		var arg whole
		_ = arg.UnmarshalJSON(b.Arg)
		d.Object = max(arg.n, 0)
	}
	return d, nil
}
