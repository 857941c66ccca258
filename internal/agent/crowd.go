package agent

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// crowd admits any number of guests and keeps at most max: when one more comes, the one that has been in
// longest is thrown out. So those who dawdle give way to those who are quick, and nobody can fill the room.
type crowd struct {
	max int
	mu  sync.Mutex
	in  list.List
}

// enter admits a guest; leave must be called when it goes. out is called, at most once and without the
// guest leaving by itself, to throw it out.
func (c *crowd) enter(out func()) (leave func()) {
	c.mu.Lock()
	var oldest func()
	if c.in.Len() >= c.max {
		oldest = c.in.Remove(c.in.Front()).(func())
	}
	e := c.in.PushBack(out)
	c.mu.Unlock()
	if oldest != nil {
		oldest()
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.in.Remove(e)
	}
}

// The limits of every listener.
const (
	maxConnections    = 512
	maxHeaderBytes    = 16 << 10
	readHeaderTimeout = 5 * time.Second
	requestTimeout    = 15 * time.Second
	idleTimeout       = 90 * time.Second
)

// newServer is an HTTP server with time and size limits on everything a peer can make last or grow.
func newServer(h http.Handler, log logr.Logger) *http.Server {
	room := &crowd{max: maxConnections}
	var mu sync.Mutex
	inside := map[net.Conn]func(){}
	// One request a connection at a time, so that the limits above hold for requests too.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		Protocols:         &protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          quietLog(log),
		ConnState: func(c net.Conn, s http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			if leave := inside[c]; leave != nil {
				leave()
				delete(inside, c)
			}
			if s != http.StateClosed && s != http.StateHijacked {
				inside[c] = room.enter(func() { go func() { _ = c.Close() }() })
			}
		},
	}
}
