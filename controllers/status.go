package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/render"
)

func semanticEqual(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// finding is what a condition says.
type finding struct {
	status          metav1.ConditionStatus
	reason, message string
	since           time.Time // when the status changed, if that is known
}

func isTrue(reason, message string) finding {
	return finding{status: metav1.ConditionTrue, reason: reason, message: message}
}

func isFalse(reason, message string) finding {
	return finding{status: metav1.ConditionFalse, reason: reason, message: message}
}

func isUnknown(reason, message string) finding {
	return finding{status: metav1.ConditionUnknown, reason: reason, message: message}
}

// said takes over what the agent said.
func said(c agentapi.Condition) finding {
	f := finding{status: metav1.ConditionStatus(c.Status), reason: c.Reason, message: c.Message, since: c.Since}
	if f.status != metav1.ConditionTrue && f.status != metav1.ConditionFalse {
		f.status = metav1.ConditionUnknown
	}
	if f.reason == "" {
		f.reason = v1alpha1.ReasonPending
		f.message = "the agent says nothing of this: it is of another version than the operator"
	}
	return f
}

// findings by condition type.
type findings map[string]finding

// asConditions sets the findings over the conditions of before; a type without a finding goes.
func (f findings) asConditions(before []metav1.Condition, generation int64, now time.Time) []metav1.Condition {
	var after []metav1.Condition
	for _, condition := range before {
		if _, kept := f[condition.Type]; kept {
			after = append(after, condition)
		}
	}
	for _, conditionType := range conditionOrder {
		found, ok := f[conditionType]
		if !ok {
			continue
		}
		changed := now
		if !found.since.IsZero() && found.since.Before(now) {
			changed = found.since
		}
		meta.SetStatusCondition(&after, metav1.Condition{
			Type: conditionType, Status: found.status, Reason: found.reason, Message: short(found.message),
			ObservedGeneration: generation,
			LastTransitionTime: metav1.NewTime(changed.Truncate(time.Second)),
		})
	}
	slices.SortFunc(after, func(a, b metav1.Condition) int {
		return slices.Index(conditionOrder, a.Type) - slices.Index(conditionOrder, b.Type)
	})
	return after
}

// conditionOrder is how conditions are listed: the summary first, then from the cause to the effect.
var conditionOrder = []string{
	v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionPaused,
	v1alpha1.ConditionAccepted, v1alpha1.ConditionSecretsAvailable, v1alpha1.ConditionAgentAvailable,
	v1alpha1.ConditionConnected, v1alpha1.ConditionHintsAvailable, v1alpha1.ConditionInSync, v1alpha1.ConditionCheckoutValidated,
	v1alpha1.ConditionCircuitBreakerTripped, v1alpha1.ConditionVolumeNearlyFull, v1alpha1.ConditionReconcileSucceeded, v1alpha1.ConditionAuditPassed,
}

// short keeps a message within what the API server takes, and readable.
func short(message string) string {
	const most = 1000
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "…"
}

// needsPerson are reasons that no waiting will mend: Stalled is True beside them.
var needsPerson = map[string]bool{
	v1alpha1.ReasonInvalidConfiguration:      true,
	v1alpha1.ReasonDuplicateStoreID:          true,
	v1alpha1.ReasonDuplicateURL:              true,
	v1alpha1.ReasonTopologyNotFound:          true,
	v1alpha1.ReasonTopologyNotAccepted:       true,
	v1alpha1.ReasonConfigurationTooLarge:     true,
	v1alpha1.ReasonSecretNotFound:            true,
	v1alpha1.ReasonSecretKeyMissing:          true,
	v1alpha1.ReasonResourceRefused:           true,
	v1alpha1.ReasonAuthenticationFailed:      true,
	v1alpha1.ReasonReadOnlyKey:               true,
	v1alpha1.ReasonWooCommerceMissing:        true,
	v1alpha1.ReasonPlainHTTP:                 true,
	v1alpha1.ReasonUntrustedCertificate:      true,
	v1alpha1.ReasonStoreClaimedElsewhere:     true,
	v1alpha1.ReasonRelativeUpdateUnsupported: true,
	v1alpha1.ReasonSKUsStopped:               true,
	v1alpha1.ReasonLargeChange:               true,
	v1alpha1.ReasonDuplicateRemoteStoreID:    true,
	v1alpha1.ReasonTopologyMismatch:          true,
	v1alpha1.ReasonConfigMapNotFound:         true,
	v1alpha1.ReasonSignatureRefused:          true,
	v1alpha1.ReasonPluginMissing:             true,
	v1alpha1.ReasonWrongPeer:                 true,
	v1alpha1.ReasonLocationGone:              true,
	v1alpha1.ReasonPlanWithoutAPI:            true,
}

// inProgress are reasons that pass by themselves: Reconciling is True beside them.
var inProgress = map[string]bool{
	v1alpha1.ReasonPending:              true,
	v1alpha1.ReasonAgentStarting:        true,
	v1alpha1.ReasonConfigurationPending: true,
	v1alpha1.ReasonEnrolling:            true,
}

// summarise adds Ready, which is the first of the given conditions that is not True, and Stalled or Reconciling
// after its reason.
func (f findings) summarise(ready string, dependsOn []string) {
	summary := isTrue(v1alpha1.ReasonReady, ready)
	for _, conditionType := range dependsOn {
		if conditionType == v1alpha1.ConditionCircuitBreakerTripped {
			if c, tripped := f[conditionType]; tripped {
				summary = finding{status: metav1.ConditionFalse, reason: c.reason, message: c.message, since: c.since}
				break
			}
			continue
		}
		if c := f[conditionType]; c.status != metav1.ConditionTrue {
			summary = finding{status: c.status, reason: c.reason, message: c.message, since: c.since}
			break
		}
	}
	f[v1alpha1.ConditionReady] = summary
	if summary.status == metav1.ConditionTrue {
		return
	}
	switch {
	case needsPerson[summary.reason]:
		f[v1alpha1.ConditionStalled] = isTrue(summary.reason, summary.message)
	case inProgress[summary.reason]:
		f[v1alpha1.ConditionReconciling] = isTrue(summary.reason, summary.message)
	}
}

// agentFinding is AgentAvailable as far as it depends on the agent's answers alone.
func agentFinding(s agentState, heardBefore bool) finding {
	switch {
	case s.lost && (s.report != nil || heardBefore):
		return isFalse(v1alpha1.ReasonAgentUnreachable,
			fmt.Sprintf("the agent did not answer three times in a row (%s); look at its pod", s.failure))
	case s.report == nil:
		return isUnknown(v1alpha1.ReasonAgentStarting, "waiting for the agent's first answer")
	default:
		return isTrue(v1alpha1.ReasonAgentReady, "the agent answers")
	}
}

// storeStatus is what the agent said of a store, over what was known before: an agent that does not answer, or a
// store it does not know yet, leaves the numbers as they were.
func storeStatus(before v1alpha1.StoreStatus, s *agentapi.StoreStatus) v1alpha1.StoreStatus {
	after := before
	if s == nil {
		return after
	}
	after.Mode = v1alpha1.Mode(s.Mode)
	after.Tier = s.Tier
	after.LastInboundTime = laterTime(before.LastInboundTime, s.LastInboundTime)
	after.LastOutboundTime = laterTime(before.LastOutboundTime, s.LastOutboundTime)
	after.LastSeenTime = laterTime(before.LastSeenTime, s.LastSeenTime)
	if s.LastError != nil {
		after.LastError = &v1alpha1.StoreError{
			Reason: s.LastError.Reason, Message: short(s.LastError.Message),
			Time: metav1.NewTime(s.LastError.Time.Truncate(time.Second)),
		}
	}
	after.Placements, after.Enrolled = count(s.Placements), count(s.Enrolled)
	after.Backlog, after.LagSeconds, after.Conflicts = count(s.Backlog), count(s.LagSeconds), count(s.Conflicts)
	after.Mismatches = nil
	for _, m := range s.Mismatches[:min(len(s.Mismatches), agentapi.MaxMismatches)] {
		after.Mismatches = append(after.Mismatches, v1alpha1.Mismatch{
			SKU: m.SKU, Shown: m.Shown, Wanted: m.Wanted, SinceSeconds: *count(m.SinceSeconds)})
	}
	var versions []string
	if s.WooCommerceVersion != "" {
		versions = append(versions, "WooCommerce "+s.WooCommerceVersion)
	}
	if s.WordPressVersion != "" {
		versions = append(versions, "WordPress "+s.WordPressVersion)
	}
	if p := s.Plugin; p != nil && p.Generation > 0 {
		versions = append(versions, strings.TrimSpace(fmt.Sprintf("Kitgenix %s (protocol %d)", p.Version, p.Generation)))
	}
	if len(versions) > 0 {
		after.Versions = strings.Join(versions, ", ")
	}
	return after
}

// pluginStatus is what a person needs to pair a store's plugin, and what the agent said of it; nil where there is none.
// The topology may be nil.
func pluginStatus(before *v1alpha1.KitgenixStatus, k *v1alpha1.Kitgenix, t *v1alpha1.StockSyncTopology, master bool, s *agentapi.StoreStatus) *v1alpha1.KitgenixStatus {
	if k == nil {
		return nil
	}
	after := v1alpha1.KitgenixStatus{}
	if before != nil {
		after = *before
	}
	after.MasterURL, after.MasterStoreID, after.ChildURL, after.ChildStoreID = "", "", "", ""
	if t != nil && t.Spec.PublicURL != "" {
		url, id := strings.TrimRight(t.Spec.PublicURL, "/"), t.IdentityStoreID()
		if master {
			after.ChildURL, after.ChildStoreID = url, id
		} else {
			after.MasterURL, after.MasterStoreID = url, id
		}
	}
	if s == nil || s.Plugin == nil {
		return &after
	}
	p := s.Plugin
	after.PluginVersion, after.Connection = p.Version, p.Connection
	after.Generation, after.ClockSkewSeconds = nil, nil
	if p.Generation > 0 {
		after.Generation = count(p.Generation)
	}
	if p.ClockSkewSeconds != nil {
		skew := int32(max(-1<<31, min(*p.ClockSkewSeconds, 1<<31-1)))
		after.ClockSkewSeconds = &skew
	}
	after.LastPingTime = laterTime(after.LastPingTime, p.LastPingTime)
	after.PreviousSecretExpiryTime = laterTime(nil, p.PreviousSecretUntil)
	return &after
}

// sourceStatus is what the agent said of Katana.
func sourceStatus(s *agentapi.SourceStatus) *v1alpha1.KatanaStatus {
	return &v1alpha1.KatanaStatus{
		Plan: short(s.Plan), RequestsPerMinute: count(s.RequestsPerMinute), Items: count(s.Items), OpenOrders: count(s.OpenOrders),
		Unsettled: count(s.Unsettled), CommittedElsewhere: count(s.CommittedElsewhere), NotImported: count(s.NotImported),
	}
}

// sourcedStatus is what the agent said of a shop that shows Katana's stock.
func sourcedStatus(s *agentapi.SourcedStatus) *v1alpha1.ChildKatanaStatus {
	after := &v1alpha1.ChildKatanaStatus{LocationName: short(s.LocationName), Matched: count(s.Matched), Skipped: count(s.Skipped)}
	for _, item := range s.SkippedItems[:min(len(s.SkippedItems), agentapi.MaxSkipped)] {
		after.SkippedItems = append(after.SkippedItems, v1alpha1.SkippedItemStatus{Item: item.Item, SKU: item.SKU, Message: short(item.Message)})
	}
	return after
}

func laterTime(before *metav1.Time, said *time.Time) *metav1.Time {
	if said == nil || said.IsZero() {
		return before
	}
	t := metav1.NewTime(said.Truncate(time.Second))
	if before != nil && !before.Before(&t) {
		return before
	}
	return &t
}

// count bounds a number to what the API holds.
func count(n int) *int32 {
	bounded := int32(max(0, min(n, 1<<31-1)))
	return &bounded
}

// secretsFinding is SecretsAvailable of an object that needs these keys.
func secretsFinding(keys []v1alpha1.SecretKeyReference, missing map[v1alpha1.SecretKeyReference]missingSecret) finding {
	for _, key := range keys {
		if m, is := missing[key]; is {
			return isFalse(m.reason, m.message)
		}
	}
	return isTrue(v1alpha1.ReasonSecretsFound, "every Secret and key was found")
}

// orFragile adds to a finding that is well that a plugin's form would spoil the secret shared with it.
func (f finding) orFragile(k *v1alpha1.Kitgenix, data render.SecretData) finding {
	if k == nil || f.status != metav1.ConditionTrue {
		return f
	}
	ref := k.SharedSecretKeyRef
	// An end of line from `echo` or an editor is no part of it.
	if !v1alpha1.FragileSecret(strings.TrimRight(string(data[ref.Name][ref.Key]), "\r\n")) {
		return f
	}
	return isTrue(v1alpha1.ReasonSecretFragile, fmt.Sprintf("the key %s of Secret %s %s", ref.Key, ref.Name, v1alpha1.FragileSecretAdvice))
}

// acceptedFinding is Accepted as the agent sees it. Where a Secret is missing the agent has to refuse the store, but the
// cause has its own condition.
func acceptedFinding(s *agentapi.StoreStatus, secrets finding) finding {
	if s != nil && s.Accepted.Status == string(metav1.ConditionFalse) && secrets.status == metav1.ConditionTrue {
		f := said(s.Accepted)
		if !needsPerson[f.reason] {
			f.reason = v1alpha1.ReasonInvalidConfiguration
		}
		return f
	}
	return isTrue(v1alpha1.ReasonAccepted, "the object is valid beside its neighbours")
}
