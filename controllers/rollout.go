package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// rollAtOnce is how many agents may be between an old and a new pod at a time.
	rollAtOnce = 5
	// rollPatience is how long one that does not come back holds up the others.
	rollPatience = 3 * time.Minute
	// rollRetry is when one that had to wait asks again.
	rollRetry = 5 * time.Second
)

// rollouts lets agents change their pods a few at a time, so that a bad image does not take all of them down.
type rollouts struct {
	mu      sync.Mutex
	rolling map[types.NamespacedName]time.Time
}

func newRollouts() *rollouts { return &rollouts{rolling: map[types.NamespacedName]time.Time{}} }

// admit reports whether the agent may change its pod now.
func (r *rollouts) admit(agent types.NamespacedName, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for other, since := range r.rolling {
		if now.Sub(since) >= rollPatience {
			delete(r.rolling, other)
		}
	}
	if _, already := r.rolling[agent]; !already && len(r.rolling) >= rollAtOnce {
		return false
	}
	r.rolling[agent] = now
	return true
}

// done tells that the agent has been heard from a process that started at the given time.
func (r *rollouts) done(agent types.NamespacedName, started time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since, rolling := r.rolling[agent]; rolling && started.After(since) {
		delete(r.rolling, agent)
	}
}

func (r *rollouts) forget(agent types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rolling, agent)
}
