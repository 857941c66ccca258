package kitgenix

import (
	"context"
	"crypto/md5" //nolint:gosec // as the plugin does
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

const (
	maxSkew    = 300
	nonceFor   = 600 * time.Second
	maxBody    = 2_097_152
	countFor   = 600 * time.Second
	lockAfter  = 20
	lockedFor  = 900 * time.Second
	seenForOne = 2 * time.Hour
	seenForTwo = 24 * time.Hour
)

func (p *Plugin) seenFor() time.Duration {
	if p.o.Generation == 2 {
		return seenForTwo
	}
	return seenForOne
}

// remember tells whether a text is new, and keeps it: a WordPress transient.
func (p *Plugin) remember(text string, d time.Duration) bool {
	sum := md5.Sum([]byte(text)) //nolint:gosec // as the plugin does
	key, now := hex.EncodeToString(sum[:]), p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := !now.Before(p.seen[key])
	p.seen[key] = now.Add(d)
	return fresh
}

func (p *Plugin) known(text string) bool {
	sum := md5.Sum([]byte(text)) //nolint:gosec // as the plugin does
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.seen[hex.EncodeToString(sum[:])])
}

func wpError(status int, code, message string) (int, any) {
	return status, map[string]any{"code": code, "message": message, "data": map[string]any{"status": status}}
}

// Serve implements [woocommerce.Plugin].
func (p *Plugin) Serve(ctx context.Context, method, path string, header http.Header, body []byte) (int, any) {
	route := strings.TrimPrefix(path, Root)
	if method != http.MethodPost || !slices.Contains([]string{"/ping", "/event", "/stock", "/stock-state"}, route) {
		if method == http.MethodGet && route == "" {
			return http.StatusOK, map[string]any{"namespace": "kitgenix-stock-sync/v1", "routes": map[string]any{}}
		}
		return wpError(404, "rest_no_route", "No route was found matching the URL and request method.")
	}
	if strings.HasPrefix(header.Get("Content-Type"), "application/json") && len(body) > 0 && !json.Valid(body) {
		status, answer := wpError(400, "rest_invalid_json", "Invalid JSON body passed.")
		data, ok := answer.(map[string]any)["data"].(map[string]any)
		if ok {
			data["json_error_code"], data["json_error_message"] = 4, "Syntax error"
		}
		return status, answer
	}
	sender, status, answer := p.authenticate(header, body)
	if status != 0 {
		return status, answer
	}
	var request map[string]any
	readable := json.Unmarshal(body, &request) == nil && request != nil
	switch route {
	case "/ping":
		pong := map[string]any{"ok": true, "store_id": p.o.ID, "store_name": p.o.Name, "role": p.role(), "time": p.now().Unix()}
		if p.o.Generation == 2 {
			pong["wc_version"], pong["plugin_version"] = "9.9.5", p.version()
		}
		return http.StatusOK, pong
	case "/event":
		return p.event(ctx, sender, request, readable)
	case "/stock":
		if !p.o.Master {
			return wpError(403, "kss_not_master", "Stock query is only supported on master")
		}
	}
	if !readable && p.o.Generation == 2 {
		return wpError(400, "kss_bad_json", "Invalid JSON")
	}
	items, ok := request["items"].([]any)
	if !ok {
		return wpError(400, "kss_bad_payload", "Missing items")
	}
	return http.StatusOK, map[string]any{"ok": true, "items": p.states(items, route == "/stock-state")}
}

func (p *Plugin) role() string {
	if p.o.Master {
		return "master"
	}
	return "child"
}

// authenticate checks a request in the order of its generation. status is 0 when it may pass.
func (p *Plugin) authenticate(h http.Header, body []byte) (sender string, status int, answer any) {
	id, now := h.Get("X-Kitgenix-Store-Id"), p.now()
	if p.o.Generation == 2 {
		if p.locked("peer", now) || p.locked(id, now) {
			status, answer = wpError(429, "kss_rate_limited", "Too many failed requests.")
			return "", status, answer
		}
		if len(body) > maxBody {
			status, answer = wpError(413, "kss_payload_too_large", "Payload too large.")
			return "", status, answer
		}
	}
	code, message := p.check(id, h, body, now)
	if code == "" {
		if p.o.Generation == 2 {
			p.mu.Lock()
			for _, who := range []string{"peer", id} {
				if f := p.failures[who]; f != nil {
					f.count = 0
				}
			}
			p.mu.Unlock()
		}
		return id, 0, nil
	}
	if p.o.Generation == 2 {
		p.failed("peer", now)
		p.failed(id, now)
		code, message = "kss_auth_failed", "Authentication failed."
	}
	status, answer = wpError(401, code, message)
	return "", status, answer
}

func (p *Plugin) check(id string, h http.Header, body []byte, now time.Time) (code, message string) {
	var secrets []string
	p.mu.Lock()
	if i := slices.IndexFunc(p.peers, func(peer Peer) bool { return peer.ID == id }); i >= 0 && id != "" && p.peers[i].Secret != "" {
		secrets = append(secrets, p.peers[i].Secret)
		if p.o.Generation == 2 && p.peers[i].Previous != "" && !now.After(p.peers[i].PreviousUntil) {
			secrets = append(secrets, p.peers[i].Previous)
		}
	}
	p.mu.Unlock()
	timestamp, nonce, signature := h.Get("X-Kitgenix-Timestamp"), h.Get("X-Kitgenix-Nonce"), h.Get("X-Kitgenix-Signature")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	away := now.Unix() - seconds
	remembered := "nonce|" + id + "|" + nonce
	switch {
	case len(secrets) == 0:
		return "kss_auth_sender", "Sender not configured"
	case timestamp == "" || nonce == "" || signature == "":
		return "kss_auth_missing", "Missing authentication headers"
	case err != nil || seconds < 0 || timestamp[0] == '+':
		return "kss_auth_bad_ts", "Bad timestamp"
	case away > maxSkew || away < -maxSkew:
		return "kss_auth_skew", "Timestamp skew too large"
	case p.known(remembered):
		return "kss_auth_replay", "Replay detected"
	}
	if p.o.Generation == 1 {
		p.remember(remembered, nonceFor) // before the signature is looked at
	}
	for _, secret := range secrets {
		if subtle.ConstantTimeCompare([]byte(sign(secret, timestamp, nonce, body)), []byte(signature)) == 1 {
			p.remember(remembered, nonceFor)
			return "", ""
		}
	}
	return "kss_auth_sig", "Invalid signature"
}

func (p *Plugin) locked(who string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.failures[who]
	return f != nil && now.Before(f.lockedUntil)
}

func (p *Plugin) failed(who string, now time.Time) {
	if who == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.failures[who]
	if f == nil || !now.Before(f.until) {
		f = &failures{}
		p.failures[who] = f
	}
	f.count++
	f.until = now.Add(countFor)
	if f.count >= lockAfter {
		f.count, f.lockedUntil = 0, now.Add(lockedFor)
	}
}

// event takes an event. It is marked as seen before anything is done about it.
func (p *Plugin) event(ctx context.Context, sender string, request map[string]any, readable bool) (int, any) {
	if !readable {
		return wpError(400, "kss_bad_json", "Invalid JSON")
	}
	kind, ok := request["event_type"].(string)
	if !ok || kind == "" {
		return wpError(400, "kss_event_type", "Missing event_type")
	}
	done := map[string]any{"ok": true, "processed": true}
	id, _ := request["event_id"].(string)
	if id == "" {
		id = p.uuid()
	}
	if !p.remember("event|"+id, p.seenFor()) {
		return http.StatusOK, done
	}
	e := event{Type: kind, ID: id, Time: phpInt(request["time"]), Context: phpText(request["context"])}
	if p.o.Generation == 2 {
		e.Origin2, e.Created, e.Attempt, e.Schema = phpText(request["origin_store_id"]), phpInt(request["created_at"]), 1, 2
	}
	list, _ := request["items"].([]any)
	for _, raw := range list {
		fields, ok := raw.(map[string]any)
		if !ok {
			continue
		}
		i := item{GID: phpText(fields["gid"]), SKU: strings.TrimSpace(phpText(fields["sku"])), sent: fields}
		if old, ok := fields["old_sku"]; ok {
			text := phpText(old)
			i.OldSKU = &text
		}
		e.Items = append(e.Items, i)
	}
	switch {
	case len(e.Items) == 0:
	case p.o.Master:
		p.lead(context.WithValue(ctx, applying{}, true), e, sender)
	case kind == "stock_state" || kind == "sku_rename":
		p.apply(ctx, e)
	}
	return http.StatusOK, done
}

// states answers a question about SKUs.
func (p *Plugin) states(items []any, all bool) map[string]any {
	answer := map[string]any{}
	for _, raw := range items {
		fields, _ := raw.(map[string]any)
		sku := strings.TrimSpace(phpText(fields["sku"]))
		if sku == "" {
			continue
		}
		r, ok := p.o.Store.Record(p.o.Store.FindSKU(sku))
		if !ok || r.Trashed {
			answer[sku] = map[string]any{"exists": false}
			continue
		}
		state := map[string]any{"exists": true, "stock_quantity": whole(r.View.Quantity), "stock_status": r.View.Status, "backorders": r.View.Backorders}
		if all {
			low := int64(0)
			if r.View.Low != nil {
				low = *r.View.Low
			}
			state["low_stock_amount"], state["manage_stock"] = low, r.Own.Manage
			if p.o.Generation == 2 {
				state["gid"], state["manage_stock"] = r.Metas[MetaGID], r.View.Manage
			}
		}
		answer[sku] = state
	}
	return answer
}

func whole(q *float64) int64 {
	if q == nil {
		return 0
	}
	return int64(*q)
}

// phpInt casts as PHP does: what holds no number is 0, fractions are cut off.
func phpInt(v any) int64 {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case bool:
		if v {
			return 1
		}
	case string:
		v = strings.TrimSpace(v)
		end := 0
		for end < len(v) && (v[end] >= '0' && v[end] <= '9' || end == 0 && (v[end] == '-' || v[end] == '+')) {
			end++
		}
		n, _ := strconv.ParseInt(v[:end], 10, 64)
		return n
	case []any:
		return int64(min(len(v), 1))
	}
	return 0
}

func phpText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		if v {
			return "1"
		}
	}
	return ""
}

var _ woocommerce.Plugin = (*Plugin)(nil)
