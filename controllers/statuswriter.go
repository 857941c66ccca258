package controllers

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// Pace bounds how often a status is written.
type Pace struct {
	// Busy is the least time between two writes of one object's status, unless a condition changes.
	Busy time.Duration
	// Heartbeat is the time between two writes when nothing but the times of the last contact changed.
	Heartbeat time.Duration
}

// DefaultPace is one write a minute at most, and one every five minutes at least.
var DefaultPace = Pace{Busy: time.Minute, Heartbeat: 5 * time.Minute}

// statusWriter writes statuses at their pace.
type statusWriter struct {
	client client.Client
	clock  clock.PassiveClock
	pace   Pace

	mu      sync.Mutex
	written map[types.UID]writtenStatus
}

type writtenStatus struct {
	status  any
	version string
	at      time.Time
}

func newStatusWriter(c client.Client, clock clock.PassiveClock, pace Pace) *statusWriter {
	return &statusWriter{client: c, clock: clock, pace: pace, written: map[types.UID]writtenStatus{}}
}

// latest returns the status of an object as last seen or written, whichever is newer: the cache lags behind our
// own writes, and a transition dated by an old status would be dated again.
func latest[S any](w *statusWriter, object client.Object, seen S) S {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, ok := w.written[object.GetUID()]; ok && newer(last.version, object.GetResourceVersion()) {
		if status, ok := last.status.(S); ok {
			return status
		}
	}
	return seen
}

// change is how much two statuses differ.
type change int

const (
	unchanged    change = iota
	heartbeat           // nothing but the times of the last contact
	numbers             // anything but conditions
	conditionSet        // a condition's status or reason, the generation observed, or what a pipeline waits for
)

// write writes the status if its pace allows, reports whether it did, and returns when to come back. contact is the
// last contact that the status tells of: it was written then or later, if by an operator before this one.
func (w *statusWriter) write(ctx context.Context, object client.Object, kind string, next any, how change, contact *metav1.Time) (bool, time.Duration, error) {
	w.mu.Lock()
	last, ours := w.written[object.GetUID()]
	w.mu.Unlock()
	now := w.clock.Now()
	if !ours && contact != nil && contact.Time.Before(now) {
		last.at = contact.Time
	}
	var due time.Time
	switch how {
	case unchanged:
		if wait := last.at.Add(w.pace.Heartbeat).Sub(now); wait > 0 {
			return false, wait, nil
		}
		return false, w.pace.Heartbeat, nil
	case heartbeat:
		due = last.at.Add(w.pace.Heartbeat)
	case numbers:
		due = last.at.Add(w.pace.Busy)
	case conditionSet:
	}
	if wait := due.Sub(now); wait > 0 {
		return false, wait, nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(next)
	if err != nil {
		return false, 0, fmt.Errorf("rendering the status: %w", err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.SchemeGroupVersion.String(),
		"kind":       kind,
		// The uid keeps the status of a deleted object away from one made again under its name.
		"metadata": map[string]any{"name": object.GetName(), "namespace": object.GetNamespace(), "uid": string(object.GetUID())},
		"status":   content,
	}}
	err = w.client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(FieldOwner), client.ForceOwnership)
	if err != nil {
		return false, 0, fmt.Errorf("writing the status: %w", err)
	}
	w.mu.Lock()
	w.written[object.GetUID()] = writtenStatus{status: reflect.ValueOf(next).Elem().Interface(), version: u.GetResourceVersion(), at: now}
	w.mu.Unlock()
	return true, w.pace.Heartbeat, nil
}

func (w *statusWriter) forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.written, uid)
}

// compareConditions tells a changed condition from one whose text alone changed.
func compareConditions(a, b []metav1.Condition) change {
	if len(a) != len(b) {
		return conditionSet
	}
	byType := map[string]metav1.Condition{}
	for _, condition := range a {
		byType[condition.Type] = condition
	}
	how := unchanged
	for _, condition := range b {
		old, found := byType[condition.Type]
		switch {
		case !found || old.Status != condition.Status || old.Reason != condition.Reason || old.ObservedGeneration != condition.ObservedGeneration:
			return conditionSet
		case old.Message != condition.Message:
			how = numbers
		}
	}
	return how
}

func compareTopologyStatus(a, b v1alpha1.StockSyncTopologyStatus) change {
	// The children are counted by their conditions.
	if a.ObservedGeneration != b.ObservedGeneration || !semanticEqual(a.Children, b.Children) || !sameRuns(a, b) {
		return conditionSet
	}
	how := compareConditions(a.Conditions, b.Conditions)
	a.Conditions, b.Conditions = nil, nil
	volatile := !sameTime(a.LastHeartbeatTime, b.LastHeartbeatTime)
	a.LastHeartbeatTime, b.LastHeartbeatTime = nil, nil
	if a.Master != nil && b.Master != nil {
		masterA, masterB := *a.Master, *b.Master
		how = max(how, compareStores(&masterA, &masterB))
		a.Master, b.Master = nil, nil
	}
	return max(how, compareRest(a, b, volatile))
}

// sameRuns reports whether no run began or ended, and no request was answered, between two statuses.
func sameRuns(a, b v1alpha1.StockSyncTopologyStatus) bool {
	same := func(a, b *v1alpha1.RunStatus) bool {
		if a == nil || b == nil {
			return a == b
		}
		return a.ID == b.ID && a.State == b.State
	}
	return same(a.LastReconcile, b.LastReconcile) && same(a.LastAudit, b.LastAudit) &&
		a.LastHandledReconcileRequest == b.LastHandledReconcileRequest && a.LastHandledAuditRequest == b.LastHandledAuditRequest
}

func compareChildStatus(a, b v1alpha1.ChildStoreStatus) change {
	if a.ObservedGeneration != b.ObservedGeneration {
		return conditionSet
	}
	how := compareConditions(a.Conditions, b.Conditions)
	return max(how, compareStores(&a.StoreStatus, &b.StoreStatus), compareRest(a.Katana, b.Katana, false))
}

func compareStores(a, b *v1alpha1.StoreStatus) change {
	volatile := !sameTime(a.LastSeenTime, b.LastSeenTime)
	a.LastSeenTime, b.LastSeenTime = nil, nil
	if a.Kitgenix != nil && b.Kitgenix != nil {
		pluginA, pluginB := *a.Kitgenix, *b.Kitgenix
		volatile = volatile || !sameTime(pluginA.LastPingTime, pluginB.LastPingTime)
		pluginA.LastPingTime, pluginB.LastPingTime = nil, nil
		a.Kitgenix, b.Kitgenix = &pluginA, &pluginB
	}
	return compareRest(*a, *b, volatile)
}

func compareRest(a, b any, volatile bool) change {
	switch {
	case !semanticEqual(a, b):
		return numbers
	case volatile:
		return heartbeat
	default:
		return unchanged
	}
}

func sameTime(a, b *metav1.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Unix() == b.Unix()
}
