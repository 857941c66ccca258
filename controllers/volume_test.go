package controllers

import (
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// A volume that fills up is told of while there is still time, once, and until it has room again.
func TestVolumeNearlyFull(t *testing.T) {
	t.Parallel()
	b := running(t)
	b.events.take()
	for _, step := range []struct {
		free      int64
		condition string
		percent   int32
		events    []string
	}{
		{120, "VolumeNearlyFull=", 12, nil},
		{110, "VolumeNearlyFull=", 12, nil},
		{99, "VolumeNearlyFull=True/LittleSpace", 9, []string{"Warning VolumeNearlyFull StockSyncTopology/emea: 9 % of the volume"}},
		{-1, "VolumeNearlyFull=True/LittleSpace", 0, nil},
		{130, "VolumeNearlyFull=True/LittleSpace", 13, nil},
		{155, "VolumeNearlyFull=", 15, []string{"Normal VolumeHasRoom StockSyncTopology/emea: "}},
		{2000, "VolumeNearlyFull=", 100, nil},
	} {
		b.clock.Step(2 * time.Minute)
		report := b.healthy("emea", "hq", "fr")
		report.Volume = &agentapi.VolumeStatus{CapacityBytes: 1000, FreeBytes: step.free}
		b.agentSays("emea", report)
		b.reconcile("emea", "fr")
		b.wantTopology("emea", step.condition, "Ready=True/Ready")
		b.wantEvents(step.events...)
		topology := &v1alpha1.StockSyncTopology{}
		b.must(b.admin.Get(t.Context(), b.key("emea"), topology))
		if got := topology.Status.VolumeFreePercent; got == nil || *got != step.percent {
			t.Errorf("with %d of 1000 bytes free: %v percent", step.free, got)
		}
		if strings.HasSuffix(step.condition, "LittleSpace") {
			if m := b.message(v1alpha1.KindStockSyncTopology, "emea", "VolumeNearlyFull"); !strings.Contains(m, "claim data-emea-agent-0") {
				t.Errorf("message %q", m)
			}
		}
	}
}
