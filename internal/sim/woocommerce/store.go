package woocommerce

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Store is one simulated shop. All its methods are safe for concurrent use.
type Store struct {
	o       Options
	ctx     context.Context // ends with Close: requests outlive their clients, not the store
	cancel  context.CancelFunc
	work    *background
	workers chan struct{}
	routes  map[string]route

	randMu sync.Mutex
	rand   *rand.Rand

	mu        sync.Mutex
	st        *state
	keys      []Key
	behaviour Behaviour
	faults    []*armedFault
	faultID   int64
	faultHits map[FaultKind]int
	landings  []chan struct{}
	log       accessLog
	nonces    map[string]map[int64]string
	carts     map[string]*cart
	holds     map[int64][]hold
	shopHits  rateWindow
	backups   map[string]*Snapshot
	plugins   []Plugin
}

// New makes an empty store. Close it to end its background work.
func New(o Options) *Store {
	o = o.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{
		o: o, ctx: ctx, cancel: cancel, work: newBackground(),
		rand:      rand.New(rand.NewPCG(o.Seed, 0x5bd1e995)),
		routes:    newRoutes(),
		st:        newState(),
		keys:      slices.Clone(o.Keys),
		faultHits: map[FaultKind]int{},
		log:       accessLog{limit: o.AccessLogSize},
		nonces:    map[string]map[int64]string{},
		carts:     map[string]*cart{},
		holds:     map[int64][]hold{},
		backups:   map[string]*Snapshot{},
	}
	if o.Workers > 0 {
		s.workers = make(chan struct{}, o.Workers)
	}
	return s
}

// Close ends requests that still work after their client left, and waits for them.
func (s *Store) Close() {
	s.cancel()
	s.work.wait()
}

// SetKeys replaces the REST keys: rotation, revocation, a key made read-only.
func (s *Store) SetKeys(keys ...Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.Clone(keys)
}

// now is the store's own idea of the time, in UTC. Callers hold the lock.
func (s *Store) now() time.Time {
	return s.o.Clock.Now().Add(s.behaviour.ClockOffset).UTC()
}

// Now is the store's own idea of the time: the clock plus [Behaviour.ClockOffset].
func (s *Store) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Store) float() float64 {
	s.randMu.Lock()
	defer s.randMu.Unlock()
	return s.rand.Float64()
}

func (s *Store) token(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	s.randMu.Lock()
	defer s.randMu.Unlock()
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[s.rand.IntN(len(letters))]
	}
	return string(b)
}

// errDied ends a request whose PHP process was killed.
var errDied = errors.New("the PHP process died")

// run is one request, or one act of a person, making its way through the steps.
type run struct {
	s      *Store
	ctx    context.Context
	faults []struck // those that strike at a step of this run
	frozen *state   // what its reads see instead of the live data, nil for those
}

func (s *Store) newRun() *run { return &run{s: s, ctx: s.ctx} }

// at passes a step: hook, faults, pause. No lock may be held. An error ends the run where it stands.
func (r *run) at(step Step, productID, orderID int64) error {
	s := r.s
	if s.o.OnStep != nil {
		s.o.OnStep(StepEvent{step, productID, orderID})
	}
	for i := range r.faults {
		f := &r.faults[i]
		if f.Step != step || (f.ProductID != 0 && f.ProductID != productID) {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		switch f.Kind {
		case FaultDie:
			return errDied
		case FaultStall:
			if err := s.o.Clock.Sleep(r.ctx, f.Delay); err != nil {
				return err
			}
		}
	}
	if d := s.o.Pauses[step]; d > 0 {
		return s.o.Clock.Sleep(r.ctx, time.Duration(float64(d)*(0.5+s.float())))
	}
	return r.ctx.Err()
}

// homeURL is the site's address with the scheme the request is seen to have.
func (s *Store) homeURL(https bool) string {
	_, rest, ok := strings.Cut(s.o.HomeURL, "://")
	if !ok {
		rest = s.o.HomeURL
	}
	if https {
		return "https://" + rest
	}
	return "http://" + rest
}

// prefix is the path of the site's address, in front of every route.
func (s *Store) prefix() string {
	u, err := url.Parse(s.o.HomeURL)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(u.Path, "/")
}

// https tells whether PHP takes the request for https: TLS here, or a proxy that says so.
func https(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// background counts goroutines. Unlike a [sync.WaitGroup] it may be waited for while others start.
type background struct {
	mu   sync.Mutex
	idle *sync.Cond
	n    int
}

func newBackground() *background {
	b := &background{}
	b.idle = sync.NewCond(&b.mu)
	return b
}

func (b *background) run(f func()) {
	b.mu.Lock()
	b.n++
	b.mu.Unlock()
	go func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.n--; b.n == 0 {
				b.idle.Broadcast()
			}
		}()
		f()
	}()
}

func (b *background) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.n > 0 {
		b.idle.Wait()
	}
}
