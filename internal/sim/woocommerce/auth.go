package woocommerce

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// authenticate finds the caller's key: nil without error is an anonymous caller. The order and the cases
// are WooCommerce's (an error with a key is a key that may not do this): over https query or Basic credentials, otherwise OAuth 1.0a.
func (s *Store) authenticate(q *request) (*Key, *restError) {
	if !q.keysHonoured {
		return nil, nil
	}
	query, err := url.ParseQuery(q.query)
	if err != nil && len(query) == 0 {
		query = url.Values{}
	}
	if q.https {
		ck, cs := query.Get("consumer_key"), query.Get("consumer_secret")
		if ck == "" || cs == "" {
			ck, cs = basic(q.header.Get("Authorization"))
		}
		if ck != "" && cs != "" {
			key := s.key(ck)
			if key == nil {
				return nil, nil
			}
			if subtle.ConstantTimeCompare([]byte(key.ConsumerSecret), []byte(cs)) != 1 {
				return nil, unauthenticated("Consumer secret is invalid.")
			}
			return s.permitted(key, q.method)
		}
	}
	return s.oauth(q, query)
}

func unauthenticated(message string) *restError {
	return fail(401, "woocommerce_rest_authentication_error", message)
}

// key finds a key; the caller must not hold the lock.
func (s *Store) key(consumerKey string) *Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.keys {
		if s.keys[i].ConsumerKey == consumerKey {
			key := s.keys[i]
			return &key
		}
	}
	return nil
}

func (s *Store) permitted(key *Key, method string) (*Key, *restError) {
	switch method {
	case "GET", "HEAD":
		if key.Permission == Write {
			return key, unauthenticated("The API key provided does not have read permissions.")
		}
	case "POST", "PUT", "PATCH", "DELETE":
		if key.Permission == Read {
			return key, unauthenticated("The API key provided does not have write permissions.")
		}
	}
	return key, nil
}

func basic(header string) (user, password string) {
	kind, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(kind, "Basic") {
		return "", ""
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", ""
	}
	user, password, _ = strings.Cut(string(raw), ":")
	return user, password
}

var oauthNames = []string{"oauth_consumer_key", "oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_signature_method"}

const oauthWindow = 15 * 60 // seconds

func (s *Store) oauth(q *request, query url.Values) (*Key, *restError) {
	values := map[string]string{}
	for k, v := range query {
		// WooCommerce spells array parameters its own way, so a standard signature over them is refused.
		name, _, _ := strings.Cut(k, "[")
		values[name] = v[len(v)-1]
	}
	if header := q.header.Get("Authorization"); len(header) > 6 && strings.EqualFold(header[:6], "OAuth ") {
		for part := range strings.SplitSeq(header[6:], ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			if plain, err := url.PathUnescape(strings.Trim(v, `"`)); err == nil && strings.HasPrefix(k, "oauth_") {
				values[k] = plain
			}
		}
	}
	missing := []string{}
	for _, name := range oauthNames {
		if values[name] == "" {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == len(oauthNames):
		return nil, nil
	case len(missing) > 0:
		return nil, fail(401, "woocommerce_rest_authentication_missing_parameter", "Missing OAuth parameter "+strings.Join(missing, ", "))
	}
	key := s.key(values["oauth_consumer_key"])
	if key == nil {
		return nil, unauthenticated("Consumer key is invalid.")
	}
	want := oauthSignature(q.method, s.homeURL(q.https)+q.wirePath, values, key.ConsumerSecret)
	if want == "" {
		return nil, unauthenticated("Invalid signature - signature method is invalid.")
	}
	if !hmac.Equal([]byte(want), []byte(values["oauth_signature"])) {
		return nil, unauthenticated("Invalid signature - provided signature does not match.")
	}
	if err := s.useNonce(key.ConsumerKey, values["oauth_timestamp"], values["oauth_nonce"]); err != nil {
		return nil, err
	}
	return s.permitted(key, q.method)
}

// useNonce remembers, as WooCommerce does, only the last nonce of each second.
func (s *Store) useNonce(key, timestamp, nonce string) *restError {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := strconv.ParseInt(timestamp, 10, 64)
	now := s.now().Unix()
	if err != nil || at < now-oauthWindow || at > now+oauthWindow {
		return unauthenticated("Invalid timestamp.")
	}
	used := s.nonces[key]
	if used == nil {
		used = map[int64]string{}
		s.nonces[key] = used
	}
	if used[at] == nonce {
		return unauthenticated("Invalid nonce - nonce has already been used.")
	}
	used[at] = nonce
	for old := range used {
		if old < now-oauthWindow {
			delete(used, old)
		}
	}
	return nil
}

// oauthSignature signs a request without its JSON body, as RFC 5849 has it; "" for an unknown method.
func oauthSignature(method, address string, values map[string]string, secret string) string {
	var mac func() hash.Hash
	switch values["oauth_signature_method"] {
	case "HMAC-SHA256":
		mac = sha256.New
	case "HMAC-SHA1":
		mac = sha1.New
	default:
		return ""
	}
	h := hmac.New(mac, []byte(secret+"&"))
	h.Write([]byte(oauthBase(method, address, values)))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func oauthBase(method, address string, values map[string]string) string {
	pairs := []string{}
	for k, v := range values {
		if k != "oauth_signature" {
			pairs = append(pairs, rfc3986(k)+"="+rfc3986(v))
		}
	}
	slices.Sort(pairs)
	return method + "&" + rfc3986(address) + "&" + rfc3986(strings.Join(pairs, "&"))
}

// rfc3986 escapes all but unreserved characters.
func rfc3986(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
