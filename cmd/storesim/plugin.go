package main

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"stocksync.dev/stocksync/internal/sim/kitgenix"
	"stocksync.dev/stocksync/internal/sim/woocommerce"
)

const pluginPath = "/__sim/plugin"

const pluginHelp = `  PUT    /__sim/plugin                        {generation,id,name,master,peers:[{id,url,secret}],excluded,queueDelaySeconds}:
                                               activate the Kitgenix plugin, or save its settings
  GET    /__sim/plugin                        {active,backlog,lost}
  DELETE /__sim/plugin                        deactivate it
`

// pluginSettings are what one types into the plugin's pages.
type pluginSettings struct {
	// Generation is 1 or 2.
	Generation int          `json:"generation"`
	ID         string       `json:"id"`
	Name       string       `json:"name"`
	Master     bool         `json:"master"`
	Peers      []pluginPeer `json:"peers"`
	Excluded   []string     `json:"excluded"`
	// QueueDelaySeconds is how long generation 2 leaves an event in its queue.
	QueueDelaySeconds int `json:"queueDelaySeconds"`
}

type pluginPeer struct {
	ID     string `json:"id"`
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// pluginAdmin installs the plugin into a store and removes it while the store is open.
type pluginAdmin struct {
	store *woocommerce.Store
	token string

	mu     sync.Mutex
	active *kitgenix.Plugin
}

// over serves the plugin's admin route, and everything else by the store.
func (a *pluginAdmin) over(store http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != pluginPath {
			store.ServeHTTP(w, r)
			return
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if a.token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(a.token)) != 1 {
			http.Error(w, `{"error":"send the admin token as a bearer token; without a configured token these routes are closed"}`, http.StatusForbidden)
			return
		}
		answer, err := a.call(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			answer = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func (a *pluginAdmin) call(r *http.Request) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.Method {
	case http.MethodPut:
		var s pluginSettings
		dec := json.NewDecoder(io.LimitReader(r.Body, 1<<20))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			return nil, fmt.Errorf("the request body does not fit this route: %w", err)
		}
		if s.Generation != 1 && s.Generation != 2 {
			return nil, fmt.Errorf("generation must be 1 or 2, not %d", s.Generation)
		}
		a.deactivate()
		options := kitgenix.Options{Store: a.store, Generation: s.Generation, ID: s.ID, Name: s.Name, Master: s.Master, Excluded: s.Excluded,
			QueueDelay: time.Duration(s.QueueDelaySeconds) * time.Second}
		for _, p := range s.Peers {
			options.Peers = append(options.Peers, kitgenix.Peer{ID: p.ID, URL: p.URL, Secret: p.Secret})
		}
		a.active = kitgenix.Install(options)
	case http.MethodDelete:
		a.deactivate()
	case http.MethodGet:
	default:
		return nil, fmt.Errorf("%s is not one of GET, PUT and DELETE", r.Method)
	}
	state := map[string]any{"active": a.active != nil}
	if a.active != nil {
		state["backlog"], state["lost"] = a.active.Backlog()
	}
	return state, nil
}

func (a *pluginAdmin) deactivate() {
	if a.active != nil {
		a.store.Uninstall(a.active)
		a.active.Close()
		a.active = nil
	}
}

// Close ends what the plugin has queued.
func (a *pluginAdmin) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deactivate()
}
