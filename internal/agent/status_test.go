package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/ledger"
	"stocksync.dev/stocksync/internal/stock"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// good is a store at which nothing is wrong.
func good() view {
	return view{
		store: Store{ID: "fr", Mode: engine.Sync, Settings: &Settings{WooCommerce: WooCommerce{SecretName: "fr-rest", CAName: "key `ca.crt` of Secret `corp-ca`"}}},
		state: engine.StoreState{StoreID: "fr", Connection: engine.Connection{LastSeen: ago(time.Second)}, LastHint: ago(time.Minute), LastInbound: ago(time.Minute), Scanned: true,
			Stats: engine.Stats{Placements: 10, Enrolled: 10}},
		hooks:     hooks{since: ago(time.Hour), ensuredAt: ago(time.Minute)},
		publicURL: "https://sync.example.com", objective: time.Minute, now: noon,
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	fault := func(reason, message string) func(*view) {
		return func(v *view) { v.state.Failure = &engine.Fault{Reason: reason, Message: message} }
	}
	unusable := func(v *view) {
		v.store.Settings, v.store.Invalid = nil, &Problem{v1alpha1.ReasonInvalidConfiguration, "document 2: spec.woocommerce.url: must be ..."}
		fault(v1alpha1.ReasonInvalidConfiguration, "x")(v)
	}
	for _, tc := range []struct {
		name      string
		change    func(*view)
		condition string
		status    string
		reason    string
		says      []string
	}{
		{"all well", func(*view) {}, v1alpha1.ConditionAccepted, "True", v1alpha1.ReasonAccepted, nil},
		{"all well", func(*view) {}, v1alpha1.ConditionConnected, "True", v1alpha1.ReasonConnected, nil},
		{"all well", func(*view) {}, v1alpha1.ConditionHintsAvailable, "True", v1alpha1.ReasonWebhooksActive, nil},
		{"all well", func(*view) {}, v1alpha1.ConditionInSync, "True", v1alpha1.ReasonInSync, nil},

		{"off", func(v *view) { v.store.Mode = engine.Off }, v1alpha1.ConditionConnected, "Unknown", v1alpha1.ReasonOff, []string{"Off"}},
		{"off", func(v *view) { v.store.Mode = engine.Off }, v1alpha1.ConditionHintsAvailable, "Unknown", v1alpha1.ReasonOff, nil},
		{"off", func(v *view) { v.store.Mode = engine.Off }, v1alpha1.ConditionInSync, "Unknown", v1alpha1.ReasonOff, nil},
		{"off", func(v *view) { v.store.Mode = engine.Off }, v1alpha1.ConditionAccepted, "True", v1alpha1.ReasonAccepted, nil},

		{"invalid, last good kept", func(v *view) {
			v.store.Invalid = &Problem{v1alpha1.ReasonInvalidConfiguration, "document 2: spec.mode: must be ..."}
		},
			v1alpha1.ConditionAccepted, "False", v1alpha1.ReasonInvalidConfiguration, []string{"spec.mode", "stays in use"}},
		{"invalid, last good kept", func(v *view) { v.store.Invalid = &Problem{v1alpha1.ReasonInvalidConfiguration, "x"} },
			v1alpha1.ConditionConnected, "True", v1alpha1.ReasonConnected, nil},
		{"never valid", unusable, v1alpha1.ConditionAccepted, "False", v1alpha1.ReasonInvalidConfiguration, []string{"spec.woocommerce.url"}},
		{"never valid", unusable, v1alpha1.ConditionConnected, "Unknown", v1alpha1.ReasonInvalidConfiguration, nil},
		{"never valid", unusable, v1alpha1.ConditionHintsAvailable, "Unknown", v1alpha1.ReasonInvalidConfiguration, nil},
		{"never valid", unusable, v1alpha1.ConditionInSync, "Unknown", v1alpha1.ReasonInvalidConfiguration, nil},

		{"not asked yet", func(v *view) { v.state.LastSeen = time.Time{} }, v1alpha1.ConditionConnected, "Unknown", v1alpha1.ReasonPending, nil},
		{"wrong keys", fault(v1alpha1.ReasonAuthenticationFailed, "the shop refuses the REST key"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonAuthenticationFailed,
			[]string{"refuses", "`consumerKey`", "`consumerSecret`", "Secret `fr-rest`"}},
		{"read-only key", fault(v1alpha1.ReasonReadOnlyKey, "give it the permission Read/Write"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonReadOnlyKey,
			[]string{"Read/Write", "Secret `fr-rest`"}},
		{"unknown authority", fault(v1alpha1.ReasonUntrustedCertificate, "name its PEM certificate in caBundleSecretKeyRef"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonUntrustedCertificate,
			[]string{"caBundleSecretKeyRef", "Secret `corp-ca`"}},
		{"maintenance", fault(v1alpha1.ReasonMaintenance, "the shop shows its maintenance page"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonMaintenance, []string{"maintenance"}},
		{"captcha", fault(v1alpha1.ReasonUnexpectedContent, "a captcha page answers"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonUnexpectedContent, []string{"captcha"}},
		{"no WooCommerce", fault(v1alpha1.ReasonWooCommerceMissing, "install and activate WooCommerce"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonWooCommerceMissing, []string{"install"}},
		{"plain http", fault(v1alpha1.ReasonPlainHTTP, "give the shop TLS"), v1alpha1.ConditionConnected, "False", v1alpha1.ReasonPlainHTTP, []string{"TLS"}},
		{"orders unreadable", func(v *view) { v.state.OrdersUnreadable = true }, v1alpha1.ConditionConnected, "True", v1alpha1.ReasonOrdersUnreadable,
			[]string{"may not read orders", "shop manager", "Secret `fr-rest`"}},
		{"orders just refused", fault(v1alpha1.ReasonOrdersUnreadable, "x"), v1alpha1.ConditionConnected, "True", v1alpha1.ReasonOrdersUnreadable, []string{"losses are not repaired"}},
		{"wrong clock", func(v *view) { v.state.Skew = -2 * time.Hour }, v1alpha1.ConditionConnected, "True", v1alpha1.ReasonClockSkew, []string{"2h0m0s", "NTP"}},
		{"clock a little off", func(v *view) { v.state.Skew = 20 * time.Second }, v1alpha1.ConditionConnected, "True", v1alpha1.ReasonConnected, nil},
		{"two agents", func(v *view) { v.state.ClaimedBy = "feed" }, v1alpha1.ConditionConnected, "False", v1alpha1.ReasonStoreClaimedElsewhere, []string{"feed", "two must never"}},
		{"no relative updates", func(v *view) { v.state.RelativeUnsupported = true }, v1alpha1.ConditionConnected, "False", v1alpha1.ReasonRelativeUpdateUnsupported, []string{"update WooCommerce"}},

		{"no public URL", func(v *view) { v.publicURL = "" }, v1alpha1.ConditionHintsAvailable, "False", v1alpha1.ReasonPollingOnly, []string{"`publicURL`", "polling"}},
		{"observe", func(v *view) { v.store.Mode = engine.Observe }, v1alpha1.ConditionHintsAvailable, "False", v1alpha1.ReasonPollingOnly, []string{"Observe"}},
		{"not looked at", func(v *view) { v.hooks = hooks{} }, v1alpha1.ConditionHintsAvailable, "Unknown", v1alpha1.ReasonPending, nil},
		{"refused", func(v *view) {
			v.hooks.fault = &engine.Fault{Reason: v1alpha1.ReasonWebhooksRefused, Message: "the shop does not take our webhooks"}
		}, v1alpha1.ConditionHintsAvailable, "False", v1alpha1.ReasonWebhooksRefused, []string{"does not take"}},
		{"the shop is down, the webhooks were there", func(v *view) {
			v.hooks.fault = &engine.Fault{Reason: v1alpha1.ReasonTimeout, Message: "x"}
		}, v1alpha1.ConditionHintsAvailable, "True", v1alpha1.ReasonWebhooksActive, nil},
		{"paused", func(v *view) { v.hooks.paused = []string{"product.updated"} }, v1alpha1.ConditionHintsAvailable, "False", v1alpha1.ReasonWebhooksRefused, []string{"paused product.updated", "active"}},
		{"repaired, nothing since", func(v *view) { v.hooks.repairedAt, v.hooks.repaired = ago(time.Second), []string{"product.updated"} },
			v1alpha1.ConditionHintsAvailable, "False", v1alpha1.ReasonWebhooksRepaired, []string{"product.updated"}},
		{"repaired, delivering again", func(v *view) { v.hooks.repairedAt, v.hooks.repaired = ago(2*time.Minute), []string{"product.updated"} },
			v1alpha1.ConditionHintsAvailable, "True", v1alpha1.ReasonWebhooksActive, nil},
		{"silent", func(v *view) { v.state.LastInbound, v.state.LastHint = ago(10*time.Minute), ago(30*time.Minute) },
			v1alpha1.ConditionHintsAvailable, "False", v1alpha1.ReasonWebhooksSilent, []string{"https://sync.example.com", "cron"}},
		{"may still come", func(v *view) { v.state.LastInbound, v.state.LastHint = ago(2*time.Minute), ago(30*time.Minute) },
			v1alpha1.ConditionHintsAvailable, "True", v1alpha1.ReasonWebhooksActive, nil},
		{"caught up after a restart", func(v *view) {
			v.hooks.since, v.state.LastInbound, v.state.LastHint = ago(20*time.Minute), ago(19*time.Minute), time.Time{}
		}, v1alpha1.ConditionHintsAvailable, "True", v1alpha1.ReasonWebhooksActive, nil},

		{"silent since the start", func(v *view) {
			v.state.LastSeen = time.Time{}
			fault(v1alpha1.ReasonUnreachable, "no connection to the shop")(v)
		}, v1alpha1.ConditionInSync, "Unknown", v1alpha1.ReasonPending, []string{"no connection to the shop"}},
		{"catalogue not read", func(v *view) { v.state.Scanned = false }, v1alpha1.ConditionInSync, "Unknown", v1alpha1.ReasonEnrolling, nil},
		{"nothing enrolled", func(v *view) { v.state.Stats.Enrolled = 0 }, v1alpha1.ConditionInSync, "Unknown", v1alpha1.ReasonEnrolling, nil},
		{"an empty shop", func(v *view) { v.state.Stats = engine.Stats{} }, v1alpha1.ConditionInSync, "True", v1alpha1.ReasonInSync, nil},
		{"a young difference", func(v *view) { v.state.Stats.Backlog, v.state.Stats.DirtySince = 3, ago(time.Minute) },
			v1alpha1.ConditionInSync, "True", v1alpha1.ReasonInSync, nil},
		{"an old difference", func(v *view) { v.state.Stats.Backlog, v.state.Stats.DirtySince = 3, ago(time.Minute+time.Second) },
			v1alpha1.ConditionInSync, "False", v1alpha1.ReasonLagObjectiveExceeded, []string{"3 SKUs show", "1m0s"}},
		{"behind because the shop is down", func(v *view) {
			v.state.Stats.Backlog, v.state.Stats.DirtySince = 1, ago(time.Hour)
			fault(v1alpha1.ReasonTimeout, "the shop did not answer in time")(v)
		}, v1alpha1.ConditionInSync, "False", v1alpha1.ReasonLagObjectiveExceeded, []string{"1 SKU shows", "did not answer in time"}},
		{"stopped SKUs", func(v *view) { v.state.Stats.Stopped = 2 }, v1alpha1.ConditionInSync, "False", v1alpha1.ReasonSKUsStopped,
			[]string{"2 SKUs are stopped", "agent conflicts list", "agent conflicts resolve SKU UNITS"}},
		{"conflicts", func(v *view) { v.state.Stats.Conflicts = 1 }, v1alpha1.ConditionInSync, "True", v1alpha1.ReasonConflicts, []string{"1 conflict is open"}},
		{"observe would change", func(v *view) { v.store.Mode, v.preview = engine.Observe, preview{known: true, differ: 4} }, v1alpha1.ConditionInSync, "False", v1alpha1.ReasonLagObjectiveExceeded,
			[]string{"4 SKUs show another number", "Observe"}},
		{"observe would change nothing", func(v *view) { v.store.Mode, v.state.Stats.Enrolled, v.preview.known = engine.Observe, 0, true }, v1alpha1.ConditionInSync, "True", v1alpha1.ReasonInSync, nil},
		{"observe has not looked yet", func(v *view) { v.store.Mode = engine.Observe }, v1alpha1.ConditionInSync, "Unknown", v1alpha1.ReasonEnrolling, nil},
	} {
		t.Run(tc.name+" "+tc.condition, func(t *testing.T) {
			t.Parallel()
			v := good()
			tc.change(&v)
			s := v.status(sinces{}.at(noon))
			c := map[string]agentapi.Condition{
				v1alpha1.ConditionAccepted: s.Accepted, v1alpha1.ConditionConnected: s.Connected,
				v1alpha1.ConditionHintsAvailable: s.HintsAvailable, v1alpha1.ConditionInSync: s.InSync,
			}[tc.condition]
			if c.Status != tc.status || c.Reason != tc.reason {
				t.Errorf("%s: %s (%s): %s", tc.condition, c.Status, c.Reason, c.Message)
			}
			for _, word := range tc.says {
				if !strings.Contains(c.Message, word) {
					t.Errorf("%q does not say %q", c.Message, word)
				}
			}
			if c.Status != "True" && c.Message == "" {
				t.Error("no message")
			}
			if tier := s.Tier; (tier == "Webhooks") != (s.HintsAvailable.Status == "True") {
				t.Errorf("tier %s", tier)
			}
		})
	}
}

func TestNumbersOfAStatus(t *testing.T) {
	t.Parallel()
	v := good()
	v.hooks.versions.WooCommerce = "9.9.5"
	v.state.LastOutbound = ago(time.Minute)
	v.state.LastHint = ago(30 * time.Second)
	v.state.LastError, v.state.LastErrorAt = &engine.Fault{Reason: v1alpha1.ReasonTimeout, Message: "m"}, ago(time.Hour)
	v.state.Stats.Backlog, v.state.Stats.DirtySince = 2, ago(90*time.Second)
	v.state.Stats.Worst = []stock.Placement{
		{SKU: "A", Shown: 5, Todo: 2, DirtySince: ago(90 * time.Second)},
		{SKU: "B", Shown: 9, Todo: -7, DirtySince: ago(time.Second)},
	}
	s := v.status(sinces{}.at(noon))
	if len(s.Mismatches) != 2 || s.Mismatches[0] != (agentapi.Mismatch{SKU: "B", Shown: 9, Wanted: 2, SinceSeconds: 1}) || s.Mismatches[1].Wanted != 7 {
		t.Errorf("%+v", s.Mismatches)
	}
	if s.LagSeconds != 90 || s.WooCommerceVersion != "9.9.5" || !s.LastInboundTime.Equal(ago(30*time.Second)) || !s.LastOutboundTime.Equal(ago(time.Minute)) {
		t.Errorf("%s", asJSON(s))
	}
	if s.LastError == nil || s.LastError.Reason != v1alpha1.ReasonTimeout || !s.LastError.Time.Equal(ago(time.Hour)) {
		t.Errorf("the last error must stay readable after recovery: %+v", s.LastError)
	}
	never := good()
	never.state = engine.StoreState{}
	if s := never.status(sinces{}.at(noon)); s.LastSeenTime != nil || s.LastInboundTime != nil || s.LastError != nil {
		t.Errorf("%s", asJSON(s))
	}
}

// A SKU may sell so often that its first reading never stands still: what is not known must not look in sync.
func TestSKUsThatAreNotEnrolledAreTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*view)
		status string
	}{
		{"a child's", func(v *view) { v.state.Stats.Waiting = 2 }, "Unknown"},
		{"the master's", func(v *view) { v.store.Master, v.state.Stats.Waiting, v.state.Stats.Unset = true, 2, 2 }, "Unknown"},
		{"those the master has no number for", func(v *view) { v.state.Stats.Waiting, v.state.Stats.Unset = 2, 2 }, "True"},
		{"in mode Observe", func(v *view) {
			v.store.Mode, v.preview.known, v.state.Stats.Waiting = engine.Observe, true, 2
		}, "True"},
	} {
		m := sinces{}
		look := func(after time.Duration, change func(*view)) agentapi.Condition {
			v := good()
			v.state.Stats.Enrolled, v.now = 8, noon.Add(after)
			change(&v)
			return v.status(m.at(v.now)).InSync
		}
		if c := look(0, tc.change); c.Status != "True" {
			t.Errorf("%s, just listed: %+v", tc.name, c)
		}
		if c := look(time.Minute, tc.change); c.Status != "True" {
			t.Errorf("%s, within the objective: %+v", tc.name, c)
		}
		c := look(time.Minute+time.Second, tc.change)
		if c.Status != tc.status || (c.Status == "Unknown" && (c.Reason != v1alpha1.ReasonEnrolling || !strings.Contains(c.Message, "2 of 10 SKUs are not enrolled yet"))) {
			t.Errorf("%s, beyond the objective: %+v", tc.name, c)
		}
		look(2*time.Minute, func(*view) {})
		if c := look(3*time.Minute, tc.change); c.Status != "True" {
			t.Errorf("%s, others than before: %+v", tc.name, c)
		}
	}
}

func TestSinceIsWhenTheStatusChanged(t *testing.T) {
	t.Parallel()
	m := sinces{}
	tell := func(minute int, s statement) time.Time {
		return m.at(noon.Add(time.Duration(minute)*time.Minute))("fr", v1alpha1.ConditionConnected, s).Since
	}
	first := tell(0, yes("Connected", ""))
	if got := tell(1, yes("OrdersUnreadable", "")); !got.Equal(first) {
		t.Errorf("another reason moved the time to %s", got)
	}
	if got := tell(2, no("Timeout", "")); !got.Equal(noon.Add(2 * time.Minute)) {
		t.Errorf("since %s", got)
	}
	if got := tell(3, no("ServerError", "")); !got.Equal(noon.Add(2 * time.Minute)) {
		t.Errorf("since %s", got)
	}
	m.forget(func(string) bool { return false })
	if got := tell(4, no("Timeout", "")); !got.Equal(noon.Add(4 * time.Minute)) {
		t.Errorf("a store made again remembers: %s", got)
	}
}

// What Observe would change is told against the pool, or against the master where there is none yet.
func TestPreview(t *testing.T) {
	t.Parallel()
	memory := ledger.NewMemory()
	err := memory.Update(t.Context(), func(tx engine.Tx) error {
		for n, sku := range []string{"same", "less", "more", "enrolled", "blocked", "master-blocked", "only-here", "set"} {
			pool, err := tx.NewPool(sku, stock.KeyOf(sku))
			if err != nil {
				return err
			}
			if sku == "set" {
				pool.Set, pool.Units = true, 50
				if err := tx.PutPool(pool); err != nil {
					return err
				}
			}
			hq := stock.Placement{Store: "hq", Pool: pool.ID, Ref: stock.Ref{Product: int64(n + 1)}, SKU: sku, Shown: 10}
			fr := hq
			fr.Store = "fr"
			switch sku {
			case "same":
				fr.Shown = 8
			case "less", "blocked", "master-blocked", "enrolled":
				fr.Shown = 3
			case "more":
				fr.Shown = 30
			case "set":
				fr.Shown = 47
			}
			fr.Enrolled = sku == "enrolled"
			if sku == "blocked" {
				fr.Blocked = "Fraction"
			}
			if sku == "master-blocked" {
				hq.Blocked = "Fraction"
			}
			if sku != "only-here" {
				if err := tx.PutPlacement(hq); err != nil {
					return err
				}
			}
			if err := tx.PutPlacement(fr); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = memory.View(t.Context(), func(tx engine.Tx) error {
		p, err := previewOf(tx, "fr", "hq", stock.Policy{BufferUnits: 2})
		want := []agentapi.Mismatch{{SKU: "more", Shown: 30, Wanted: 8}, {SKU: "less", Shown: 3, Wanted: 8}, {SKU: "set", Shown: 47, Wanted: 48}}
		if p.differ != 3 || asJSON(p.worst) != asJSON(want) {
			t.Errorf("%d %+v", p.differ, p.worst)
		}
		if p, err := previewOf(tx, "hq", "hq", stock.Policy{Master: true}); err != nil || p.differ != 1 {
			t.Errorf("the master: %+v %v", p, err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The agent says how much room its ledger has, and nothing where that cannot be measured.
func TestStatusTellsOfTheVolume(t *testing.T) {
	t.Parallel()
	ask := func(space func(string) (int64, int64, error)) *agentapi.VolumeStatus {
		b := startAgent(t, benchOptions{clock: newFastClock(), space: space}, masterDoc("hq", "https://hq.example.com", ""))
		return b.status().Volume
	}
	if v := ask(func(string) (int64, int64, error) { return 1000, 55, nil }); v == nil || v.FreePercent() != 5 {
		t.Errorf("%+v, want 5 %% free", v)
	}
	if v := ask(func(string) (int64, int64, error) { return 0, 0, errors.New("no") }); v != nil {
		t.Errorf("%+v of a volume that cannot be measured", v)
	}
	if v := ask(nil); v == nil || v.CapacityBytes < 1 || v.FreeBytes > v.CapacityBytes {
		t.Errorf("%+v of the file system of this test", v)
	}
}
