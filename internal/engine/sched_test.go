package engine_test

import (
	"container/heap"
	"context"
	"time"

	"stocksync.dev/stocksync/internal/engine"
)

// sched runs goroutines one at a time in virtual time, so that a seed is the whole story of a run: an event
// either changes the world or resumes one goroutine until it blocks again.
type sched struct {
	now   time.Time
	queue events
	seq   int
	yield chan struct{}
	cur   *proc
}

type proc struct {
	resume chan struct{}
	epoch  int
	done   bool
	agent  *agent
}

type event struct {
	at  time.Time
	seq int
	fn  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].seq < e[j].seq
	}
	return e[i].at.Before(e[j].at)
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newSched(start time.Time) *sched { return &sched{now: start, yield: make(chan struct{})} }

func (s *sched) at(t time.Time, fn func()) {
	if t.Before(s.now) {
		t = s.now
	}
	s.seq++
	heap.Push(&s.queue, event{t, s.seq, fn})
}

func (s *sched) after(d time.Duration, fn func()) { s.at(s.now.Add(d), fn) }

// run executes events until the time given.
func (s *sched) run(until time.Time) {
	for len(s.queue) > 0 && !s.queue[0].at.After(until) {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.fn()
	}
	s.now = until
}

func (s *sched) start(a *agent, f func()) {
	p := &proc{resume: make(chan struct{}), agent: a}
	a.procs = append(a.procs, p)
	go func() {
		<-p.resume
		f()
		p.done = true
		s.yield <- struct{}{}
	}()
	s.at(s.now, func() { s.wake(p, 0) })
}

// wake resumes a goroutine unless it moved on meanwhile.
func (s *sched) wake(p *proc, epoch int) {
	if p.done || p.epoch != epoch {
		return
	}
	s.cur = p
	p.resume <- struct{}{}
	<-s.yield
	s.cur = nil
}

// block stops the running goroutine until one of the wake-ups that arm plans.
func (s *sched) block(arm func(wake func())) {
	p := s.cur
	p.epoch++
	epoch := p.epoch
	arm(func() { s.wake(p, epoch) })
	s.yield <- struct{}{}
	<-p.resume
	// A wake-up planned for this block must not end the next one.
	p.epoch++
}

// clock gives one agent the scheduler's time.
type clock struct {
	s *sched
	a *agent
}

func (c clock) Now() time.Time           { return c.s.now }
func (c clock) Go(f func())              { c.s.start(c.a, f) }
func (c clock) NewSignal() engine.Signal { return &signal{s: c.s} }

type signal struct {
	s    *sched
	set  bool
	wake func()
}

func (g *signal) Set() {
	g.set = true
	if wake := g.wake; wake != nil {
		g.wake = nil
		g.s.at(g.s.now, wake)
	}
}

func (g *signal) Wait(ctx context.Context, until time.Time) {
	if g.set || ctx.Err() != nil || !g.s.now.Before(until) {
		g.set = false
		return
	}
	g.s.block(func(wake func()) {
		g.wake = wake
		g.s.at(until, wake)
	})
	g.wake, g.set = nil, false
}
