package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reasons of Events that are not the reason of a condition.
const (
	eventBreakerTripped  = "CircuitBreakerTripped"
	eventBreakerReleased = "CircuitBreakerReleased"
	eventVolumeHasRoom   = "VolumeHasRoom"
)

// notice is an Event to be.
type notice struct {
	kind, reason, action, note string
}

// told are the conditions that are told of by Events, with the verb for what was being done. Ready comes last: it
// sums up the others.
var told = []struct {
	condition, action string
	// results: a condition that is as bad as before is told again when its message says something else.
	results bool
}{
	{v1alpha1.ConditionAccepted, "Accept", false},
	{v1alpha1.ConditionConnected, "Connect", false},
	{v1alpha1.ConditionInSync, "Sync", false},
	{v1alpha1.ConditionCheckoutValidated, "Validate", false},
	{v1alpha1.ConditionReconcileSucceeded, "Reconcile", true},
	{v1alpha1.ConditionAuditPassed, "Audit", true},
	{v1alpha1.ConditionReady, "Summarize", false},
}

// conditionNotices tells what a write of these conditions over those before means to people: a Warning for what went
// wrong, once, and a Normal one for what is well again. Of an object that comes up well, Ready alone is told.
func conditionNotices(before, after []metav1.Condition) []notice {
	notices := secretNotices(before, after)
	warned := map[string]bool{}
	for _, t := range told {
		was, is := meta.FindStatusCondition(before, t.condition), meta.FindStatusCondition(after, t.condition)
		if is == nil {
			continue
		}
		if was == nil {
			was = &metav1.Condition{Status: metav1.ConditionUnknown}
		}
		ready := t.condition == v1alpha1.ConditionReady
		wasBad, isBad := bad(was, ready), bad(is, ready)
		switch {
		case isBad && (!wasBad || t.results && (was.Reason != is.Reason || was.Message != is.Message)):
			if !warned[is.Reason] {
				notices = append(notices, notice{corev1.EventTypeWarning, is.Reason, t.action, is.Message})
			}
			warned[is.Reason] = true
		case is.Status == metav1.ConditionTrue && (wasBad || (ready || t.results) && was.Status != metav1.ConditionTrue):
			notices = append(notices, notice{corev1.EventTypeNormal, is.Reason, t.action, is.Message})
		}
	}
	return notices
}

// secretNotices warns once of a secret that works and will not always. One that is missing is told of by Ready.
func secretNotices(before, after []metav1.Condition) []notice {
	fragile := func(conditions []metav1.Condition) *metav1.Condition {
		c := meta.FindStatusCondition(conditions, v1alpha1.ConditionSecretsAvailable)
		if c == nil || c.Reason != v1alpha1.ReasonSecretFragile {
			return nil
		}
		return c
	}
	if is := fragile(after); is != nil && fragile(before) == nil {
		return []notice{{corev1.EventTypeWarning, is.Reason, "Read", is.Message}}
	}
	return nil
}

// bad reports whether a condition is worth a Warning. Ready is also where the agent fell silent.
func bad(c *metav1.Condition, ready bool) bool {
	return c.Status == metav1.ConditionFalse || ready && c.Reason == v1alpha1.ReasonAgentUnreachable
}

// breakerNotices tells of a trip of the circuit breaker, and of its end.
func breakerNotices(before, after *v1alpha1.BreakerStatus) []notice {
	switch {
	case after != nil && (before == nil || before.TripID != after.TripID):
		return []notice{{corev1.EventTypeWarning, eventBreakerTripped, "Hold", after.Message}}
	case before != nil && after == nil:
		return []notice{{corev1.EventTypeNormal, eventBreakerReleased, "Release", "trip " + before.TripID + " is over: changes are written again"}}
	default:
		return nil
	}
}

// volumeNotices tells that the ledger's volume is nearly full, and that it has room again.
func volumeNotices(before, after []metav1.Condition) []notice {
	was, is := meta.FindStatusCondition(before, v1alpha1.ConditionVolumeNearlyFull), meta.FindStatusCondition(after, v1alpha1.ConditionVolumeNearlyFull)
	switch {
	case was == nil && is != nil:
		return []notice{{corev1.EventTypeWarning, v1alpha1.ConditionVolumeNearlyFull, "Store", is.Message}}
	case was != nil && is == nil:
		return []notice{{corev1.EventTypeNormal, eventVolumeHasRoom, "Store", "the volume that holds the ledger has room again"}}
	}
	return nil
}

// raise sends the notices as Events about the object.
func raise(recorder events.EventRecorder, object client.Object, notices []notice) {
	for _, n := range notices {
		recorder.Eventf(object, nil, n.kind, n.reason, n.action, "%s", n.note)
	}
}
