package controllers

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

// freePercent is what the status says of an agent's volume. One percent more or less is not worth a write.
func freePercent(before *int32, v *agentapi.VolumeStatus) *int32 {
	if v == nil {
		return nil
	}
	now := int32(v.FreePercent())
	if before != nil && max(now-*before, *before-now) <= 1 {
		return before
	}
	return &now
}

// volumeFinding adds VolumeNearlyFull while it is true.
func (f findings) volumeFinding(topology string, free *int32, before []metav1.Condition) {
	if free == nil {
		return
	}
	alarm := agentapi.NearlyFullPercent
	if meta.IsStatusConditionTrue(before, v1alpha1.ConditionVolumeNearlyFull) {
		alarm = agentapi.RoomAgainPercent
	}
	if int(*free) >= alarm {
		return
	}
	names := render.NamesOf(topology)
	f[v1alpha1.ConditionVolumeNearlyFull] = isTrue(v1alpha1.ReasonLittleSpace, fmt.Sprintf(
		"%d %% of the volume that holds the ledger are free; when it is full, nothing is written to any store. Enlarge the claim data-%s, or make room: "+
			"`agent restore --discard-replaced` and `agent history prune --older-than-days 30` in the pod", *free, names.Pod))
}
