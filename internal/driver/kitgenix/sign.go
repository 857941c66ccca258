package kitgenix

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
const (
	HeaderStoreID   = "X-Kitgenix-Store-Id"
	HeaderTimestamp = "X-Kitgenix-Timestamp"
	HeaderNonce     = "X-Kitgenix-Nonce"
	HeaderSignature = "X-Kitgenix-Signature"
)

// MaxSkew is how far apart the clocks of sender and receiver may be; a request exactly as old is still taken.
const MaxSkew = 300 * time.Second

// Secret is a text two stores share. Its bytes are the key as they are: nothing is decoded or trimmed.
type Secret struct {
	Value string
	// Until is when it is no longer accepted; zero: it is the current one.
	Until time.Time
}

// Why a request is refused. The peer learns none of it: every one is the same 401.
var (
	ErrHeaders   = errors.New("a signature header is missing")
	ErrSender    = errors.New("the sender is not a store that is known here")
	ErrTimestamp = errors.New("the timestamp is not a number of seconds")
	ErrSkew      = errors.New("the clocks are more than 300 seconds apart, or the request is old")
	ErrSignature = errors.New("the signature does not fit: the secrets on both sides differ, or something changed the request on its way")
	ErrReplay    = errors.New("the request came before")
)

// Sign is the lower-case hexadecimal HMAC-SHA256 of timestamp, nonce and the body's bytes as they are sent.
func Sign(secret, timestamp, nonce string, body []byte) string {
	return hex.EncodeToString(mac(secret, timestamp, nonce, body))
}

func mac(secret, timestamp, nonce string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(timestamp + "\n" + nonce + "\n"))
	h.Write(body)
	return h.Sum(nil)
}

// signed puts the headers of a request from the store of this id on h.
func signed(h http.Header, storeID, secret, nonce string, now time.Time, body []byte) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set(HeaderStoreID, storeID)
	h.Set(HeaderTimestamp, timestamp)
	h.Set(HeaderNonce, nonce)
	h.Set(HeaderSignature, Sign(secret, timestamp, nonce, body))
}

// verify tells whether the request was signed with one of the secrets, within the time allowed. Whether it came before
// is for the caller to find out, with the nonce and until when it must be remembered.
func verify(h http.Header, body []byte, secrets []Secret, now time.Time) (nonce string, until time.Time, err error) {
	timestamp, nonce, signature := h.Get(HeaderTimestamp), h.Get(HeaderNonce), h.Get(HeaderSignature)
	if timestamp == "" || nonce == "" || signature == "" {
		return "", time.Time{}, ErrHeaders
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || strings.ContainsFunc(timestamp, func(r rune) bool { return r < '0' || r > '9' }) {
		return "", time.Time{}, ErrTimestamp
	}
	// In whole seconds, as the plugin counts; no duration holds the distance of a wild timestamp.
	if away := now.Unix() - seconds; seconds < 0 || away > int64(MaxSkew/time.Second) || -away > int64(MaxSkew/time.Second) {
		return "", time.Time{}, ErrSkew
	}
	fits := 0
	for _, s := range secrets {
		if s.Value == "" || (!s.Until.IsZero() && now.After(s.Until)) {
			continue
		}
		fits |= subtle.ConstantTimeCompare([]byte(Sign(s.Value, timestamp, nonce, body)), []byte(signature))
	}
	if fits == 0 {
		return "", time.Time{}, ErrSignature
	}
	return nonce, time.Unix(seconds, 0).Add(2 * MaxSkew), nil
}
