package woocommerce

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WooCommerce takes its REST keys as they are over https only. Over plain HTTP a request is signed instead, with
// OAuth 1.0a in its one-legged form: the secret stays here, and so does nothing else. Who listens reads everything,
// and can change the body of a write, which no signature covers.

// sign puts the signature of a request into its Authorization header, where access logs do not keep it.
func sign(r *http.Request, key, secret, nonce string, at time.Time) {
	oauth := map[string]string{
		"oauth_consumer_key":     key,
		"oauth_nonce":            nonce,
		"oauth_signature_method": "HMAC-SHA256",
		"oauth_timestamp":        strconv.FormatInt(at.Unix(), 10),
	}
	h := hmac.New(sha256.New, []byte(secret+"&"))
	h.Write([]byte(signatureBase(r.Method, *r.URL, oauth)))
	oauth["oauth_signature"] = base64.StdEncoding.EncodeToString(h.Sum(nil))
	var fields []string
	for k, v := range oauth {
		fields = append(fields, fmt.Sprintf("%s=%q", k, unreserved(v)))
	}
	slices.Sort(fields)
	r.Header.Set("Authorization", "OAuth "+strings.Join(fields, ", "))
}

// signatureBase is what is signed: the method, the address without its query, and all parameters but a JSON body.
func signatureBase(method string, u url.URL, oauth map[string]string) string {
	var pairs []string
	for k, v := range oauth {
		pairs = append(pairs, unreserved(k)+"="+unreserved(v))
	}
	for k, all := range u.Query() {
		for _, v := range all {
			pairs = append(pairs, unreserved(k)+"="+unreserved(v))
		}
	}
	slices.Sort(pairs)
	u.RawQuery = ""
	return method + "&" + unreserved(u.String()) + "&" + unreserved(strings.Join(pairs, "&"))
}

// unreserved escapes all but the characters that RFC 3986 calls unreserved.
func unreserved(s string) string {
	// PathEscape leaves some reserved ones, QueryEscape none but makes a plus of a space.
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// newNonce is a number used once.
func newNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
