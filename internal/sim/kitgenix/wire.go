package kitgenix

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
)

// event and item have their fields in the order PHP writes them.
type event struct {
	Type    string `json:"event_type"`
	Origin  string `json:"origin"`
	Time    int64  `json:"time"`
	Context string `json:"context"`
	Items   []item `json:"items"`
	ID      string `json:"event_id,omitempty"`
	Origin2 string `json:"origin_store_id,omitempty"`
	Created int64  `json:"created_at,omitempty"`
	Attempt int    `json:"delivery_attempt,omitempty"`
	Schema  int    `json:"schema_version,omitempty"`
}

type item struct {
	GID        string  `json:"gid"`
	SKU        string  `json:"sku"`
	OldSKU     *string `json:"old_sku,omitempty"`
	Manage     any     `json:"manage_stock,omitempty"`
	Quantity   *int64  `json:"stock_quantity,omitempty"`
	Status     string  `json:"stock_status,omitempty"`
	Backorders string  `json:"backorders,omitempty"`
	Low        *int64  `json:"low_stock_amount,omitempty"`
	Version    *int64  `json:"version,omitempty"`
	Updated    int64   `json:"updated_at,omitempty"`
	// sent are the keys an incoming item has, since absent and null are not the same.
	sent map[string]any
}

func (e event) encode() []byte { return phpJSON(e) }

// hash is the id generation 1 gives an event.
func (p *Plugin) hash(e event) string {
	e.ID = ""
	sum := sha256.Sum256(append([]byte(p.o.ID+"|"), phpJSON(e)...))
	return hex.EncodeToString(sum[:])
}

// phpJSON is JSON as PHP writes it: slashes and all that is not ASCII escaped.
func phpJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		switch {
		case r == '/':
			out.WriteString(`\/`)
		case r < 0x80:
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return []byte(out.String())
}

func sign(secret, timestamp, nonce string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write(append([]byte(timestamp+"\n"+nonce+"\n"), body...)) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// post sends a signed request. Any 2xx is a success, whatever the body says.
func (p *Plugin) post(ctx context.Context, peer Peer, route string, body []byte) bool {
	status, _ := p.call(ctx, peer, route, body)
	return status >= 200 && status < 300
}

// Call sends a signed request to a peer and returns the status, 0 when there was no answer, and the body.
func (p *Plugin) Call(ctx context.Context, peer Peer, route string, payload any) (int, []byte) {
	return p.call(ctx, peer, route, phpJSON(payload))
}

func (p *Plugin) call(ctx context.Context, peer Peer, route string, body []byte) (int, []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(peer.URL, "/")+Root+route, bytes.NewReader(body))
	if err != nil {
		return 0, nil
	}
	timestamp, nonce := strconv.FormatInt(p.now().Unix(), 10), p.token(16)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Kitgenix-Store-Id", p.o.ID)
	r.Header.Set("X-Kitgenix-Timestamp", timestamp)
	r.Header.Set("X-Kitgenix-Nonce", nonce)
	r.Header.Set("X-Kitgenix-Signature", sign(peer.Secret, timestamp, nonce, body))
	if route == "/event" {
		r.Header.Set("User-Agent", "KitgenixStockSync/"+p.version())
	}
	res, err := p.o.Transport.RoundTrip(r)
	if err != nil {
		return 0, nil
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, answer
}

func (p *Plugin) version() string {
	if p.o.Generation == 2 {
		return "2.0.0"
	}
	return "1.0.2"
}
