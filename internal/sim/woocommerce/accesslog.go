package woocommerce

import (
	"net/url"
	"strings"
	"time"
)

// Access is one request the store received. It holds no credential: they are cut out of the query, and
// headers are not kept.
type Access struct {
	// Number counts requests from 1.
	Number int64     `json:"number"`
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	// Path is without the site's prefix; Query is as sent, with credentials replaced by "x".
	Path  string `json:"path"`
	Query string `json:"query,omitempty"`
	// Body holds the bytes received, at most 64 KiB of them. Dropped says that they were forgotten again
	// because the log as a whole got too large.
	Body    []byte `json:"body,omitempty"`
	Dropped bool   `json:"dropped,omitempty"`
	// Status is the answer's, 0 when none was sent (yet).
	Status int `json:"status"`
	// Fault names what was injected into the request, if anything.
	Fault FaultKind `json:"fault,omitempty"`
	// Bytes is the length of the answer's body.
	Bytes int `json:"bytes"`
}

const (
	maxLoggedBody   = 64 << 10
	maxLoggedBodies = 64 << 20
)

// accessLog is a ring of the last requests.
type accessLog struct {
	limit   int
	total   int64
	entries []Access
	bytes   int   // in all bodies that are kept
	kept    int64 // bodies are kept of requests with a higher number
}

func (l *accessLog) add(a Access) int64 {
	l.total++
	if l.limit < 0 {
		return l.total
	}
	a.Number = l.total
	a.Query = redactQuery(a.Query)
	a.Body = append([]byte(nil), a.Body[:min(len(a.Body), maxLoggedBody)]...)
	if len(l.entries) < l.limit {
		l.entries = append(l.entries, a)
	} else {
		old := l.slot(l.total)
		l.bytes -= len(old.Body)
		*old = a
		l.kept = max(l.kept, l.total-int64(l.limit))
	}
	for l.bytes += len(a.Body); l.bytes > maxLoggedBodies; {
		l.kept++
		old := l.slot(l.kept)
		l.bytes -= len(old.Body)
		old.Body, old.Dropped = nil, len(old.Body) > 0
	}
	return a.Number
}

func (l *accessLog) slot(number int64) *Access { return &l.entries[int((number-1)%int64(l.limit))] }

// answer completes an entry that is still there.
func (l *accessLog) answer(number int64, status, bytes int) {
	if l.limit <= 0 || number <= l.total-int64(l.limit) {
		return
	}
	e := l.slot(number)
	e.Status, e.Bytes = status, bytes
}

func (l *accessLog) after(number int64) []Access {
	if l.limit <= 0 || len(l.entries) == 0 {
		return nil
	}
	first := max(number, l.total-int64(len(l.entries)))
	out := make([]Access, 0, l.total-first)
	for n := first + 1; n <= l.total; n++ {
		out = append(out, *l.slot(n))
	}
	return out
}

func redactQuery(raw string) string {
	if !strings.Contains(raw, "consumer_") && !strings.Contains(raw, "oauth_") {
		return raw
	}
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			switch plain {
			case "consumer_key", "consumer_secret", "oauth_consumer_key", "oauth_signature":
				pairs[i] = name + "=x"
			}
		}
	}
	return strings.Join(pairs, "&")
}

// AccessLog lists the remembered requests with a number above after, oldest first.
func (s *Store) AccessLog(after int64) []Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.after(after)
}
