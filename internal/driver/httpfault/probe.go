package httpfault

import (
	"errors"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
)

// Probe collects the checks of a connection.
type Probe struct {
	// Now is the agent's clock.
	Now    func() time.Time
	Checks []agentapi.PingCheck
}

// Ask asks a question and tells how it went and how long it took.
func (p *Probe) Ask(question func() error) (*engine.Fault, time.Duration) {
	began := p.Now()
	err := question()
	took := p.Now().Sub(began)
	if f, ok := errors.AsType[*engine.Fault](err); ok || err == nil {
		return f, took
	}
	return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent, Message: "the request could not be made"}, took
}

// Add adds a check that went so.
func (p *Probe) Add(name string, f *engine.Fault, took time.Duration) {
	c := agentapi.PingCheck{Name: name, OK: f == nil, Milliseconds: took.Milliseconds()}
	if f != nil {
		c.Reason, c.Message = f.Reason, f.Message
	}
	p.Checks = append(p.Checks, c)
}

// Reached adds the checks that the first request stands for, whose fault tells how far it came, and tells whether it
// was answered.
func (p *Probe) Reached(f *engine.Fault, took time.Duration) bool {
	steps := []string{agentapi.CheckDNS, agentapi.CheckTCP, agentapi.CheckTLS, agentapi.CheckRESTAPI}
	last := len(steps) - 1
	switch {
	case f == nil:
	case f.Reason == v1alpha1.ReasonNameNotResolved:
		last = 0
	case f.Reason == v1alpha1.ReasonUnreachable:
		last = 1
	case f.Reason == v1alpha1.ReasonUntrustedCertificate, f.Reason == v1alpha1.ReasonPlainHTTP && f.Unsent:
		last = 2
	}
	for _, name := range steps[:last] {
		p.Add(name, nil, 0)
	}
	p.Add(steps[last], f, took)
	return f == nil
}
