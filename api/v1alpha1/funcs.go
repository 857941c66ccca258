package v1alpha1

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// What holds when a spec field is omitted.
const (
	DefaultLagObjectiveSeconds = 60
	DefaultMinIntervalSeconds  = 5
	DefaultMaxStoreLoadPercent = 2
	DefaultStorageSize         = "1Gi"

	DefaultSuccessfulJobsHistoryLimit = 3
	DefaultFailedJobsHistoryLimit     = 3
	DefaultStartingDeadlineSeconds    = 3600
	DefaultActiveDeadlineSeconds      = 86400
	DefaultTimeZone                   = "Etc/UTC"

	DefaultBreakerSharePercent = 20
	DefaultBreakerMinimumSKUs  = 20

	DefaultRotationOverlapSeconds = 86400
	DefaultCheckoutMaxAgeSeconds  = 1800

	DefaultKatanaURL              = "https://api.katanamrp.com/v1"
	DefaultKatanaRequests         = 60
	DefaultPollIntervalSeconds    = 60
	DefaultCompareIntervalSeconds = 3600
	DefaultImportGraceSeconds     = 3600
)

// EffectiveMode is the mode of the master: Observe unless Sync is asked for.
func (t *StockSyncTopology) EffectiveMode() Mode {
	if t.Spec.Mode == ModeSync {
		return ModeSync
	}
	return ModeObserve
}

// LagObjective is how old the oldest difference of a store may grow before it is no longer in sync.
func (t *StockSyncTopology) LagObjective() time.Duration {
	return time.Duration(valueOr(t.Spec.LagObjectiveSeconds, DefaultLagObjectiveSeconds)) * time.Second
}

// EffectiveEditPolicy is Count unless Revert is asked for.
func (m *Master) EffectiveEditPolicy() EditPolicy { return m.EditPolicy.orCount() }

// EffectiveStoreID is spec.storeID, or the object's name when that is omitted.
func (c *ChildStore) EffectiveStoreID() string {
	if c.Spec.StoreID != "" {
		return c.Spec.StoreID
	}
	return c.Name
}

// EffectiveMode is the more cautious of the child's mode and the topology's.
func (c *ChildStore) EffectiveMode(topology Mode) Mode {
	switch {
	case c.Spec.Mode == ModeOff:
		return ModeOff
	case c.Spec.Mode == ModeObserve || topology != ModeSync:
		return ModeObserve
	default:
		return ModeSync
	}
}

// EffectiveEditPolicy is Count unless Revert is asked for.
func (s *ChildStoreSpec) EffectiveEditPolicy() EditPolicy { return s.EditPolicy.orCount() }

// BufferUnits are the units held back from this store.
func (s *ChildStoreSpec) BufferUnits() int64 {
	if s.Allocation == nil {
		return 0
	}
	return int64(valueOr(s.Allocation.BufferUnits, 0))
}

// MinInterval is the shortest time between two polls; it holds for a nil receiver too.
func (p *Polling) MinInterval() time.Duration {
	if p == nil {
		return DefaultMinIntervalSeconds * time.Second
	}
	return time.Duration(valueOr(p.MinIntervalSeconds, DefaultMinIntervalSeconds)) * time.Second
}

// MaxLoadPercent is the share of time the store may spend answering polls; it holds for a nil receiver too.
func (p *Polling) MaxLoadPercent() int {
	if p == nil {
		return DefaultMaxStoreLoadPercent
	}
	return int(valueOr(p.MaxStoreLoadPercent, DefaultMaxStoreLoadPercent))
}

// EffectiveTransport is HTTPS unless InsecureHTTP is asked for.
func (w *WooCommerce) EffectiveTransport() Transport {
	if w.Transport == TransportInsecureHTTP {
		return TransportInsecureHTTP
	}
	return TransportHTTPS
}

// RetainsLedger reports whether the ledger outlives the topology.
func (t *StockSyncTopology) RetainsLedger() bool {
	return t.Spec.Agent == nil || t.Spec.Agent.Storage == nil ||
		t.Spec.Agent.Storage.RetentionPolicy != RetentionPolicyDelete
}

func (p EditPolicy) orCount() EditPolicy {
	if p == EditPolicyRevert {
		return EditPolicyRevert
	}
	return EditPolicyCount
}

func valueOr(v *int32, otherwise int32) int32 {
	if v == nil {
		return otherwise
	}
	return *v
}

// SecretKeys are the keys of Secrets the store needs.
func (w *WooCommerce) SecretKeys() []SecretKeyReference {
	keys := []SecretKeyReference{
		{Name: w.CredentialsSecretRef.Name, Key: CredentialsConsumerKey},
		{Name: w.CredentialsSecretRef.Name, Key: CredentialsConsumerSecret},
	}
	if w.CABundleSecretKeyRef != nil {
		keys = append(keys, *w.CABundleSecretKeyRef)
	}
	return keys
}

// EffectiveStrategy is DifferencesOnly unless another is asked for.
func (r *Reconcile) EffectiveStrategy() ReconcileStrategy {
	if r.Strategy == "" {
		return ReconcileDifferencesOnly
	}
	return r.Strategy
}

// EffectiveTimeZone is Etc/UTC unless another is asked for.
func (t *Timetable) EffectiveTimeZone() string {
	if t.TimeZone == "" {
		return DefaultTimeZone
	}
	return t.TimeZone
}

// On reports whether the circuit breaker may trip; it holds for a nil receiver too, as do the other methods.
func (b *CircuitBreaker) On() bool { return b == nil || b.Mode != BreakerDisabled }

// MaxSharePercent is the share of the SKUs, in percent, that a change may zero or multiply.
func (b *CircuitBreaker) MaxSharePercent() int {
	if b == nil {
		return DefaultBreakerSharePercent
	}
	return int(valueOr(b.SharePercent, DefaultBreakerSharePercent))
}

// LeastSKUs is the number of SKUs below which no change is held back.
func (b *CircuitBreaker) LeastSKUs() int {
	if b == nil {
		return DefaultBreakerMinimumSKUs
	}
	return int(valueOr(b.MinimumSKUs, DefaultBreakerMinimumSKUs))
}

// identities is the namespace of the ids that topologies have by default. It must never change: plugins know them.
var identities = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("identity.stocksync.dev"))

// IdentityStoreID is the id under which plugins know the topology: spec.identity.storeID or, where that is omitted, a
// UUID that follows from namespace and name. An object without a namespace is taken to be in default.
func (t *StockSyncTopology) IdentityStoreID() string {
	if i := t.Spec.Identity; i != nil && i.StoreID != "" {
		return i.StoreID
	}
	namespace := t.Namespace
	if namespace == "" {
		namespace = "default"
	}
	return uuid.NewSHA1(identities, []byte(namespace+"/"+t.Name)).String()
}

// IdentityName is the name plugins show for the topology.
func (t *StockSyncTopology) IdentityName() string {
	if i := t.Spec.Identity; i != nil && i.DisplayName != "" {
		return i.DisplayName
	}
	return t.Name
}

// SecretKeys are the keys of Secrets the master needs.
func (m *Master) SecretKeys() []SecretKeyReference {
	var keys []SecretKeyReference
	if m.WooCommerce != nil {
		keys = m.WooCommerce.SecretKeys()
	}
	if m.Kitgenix != nil {
		keys = append(keys, m.Kitgenix.SecretKeys()...)
	}
	if m.Katana != nil {
		keys = append(keys, m.Katana.SecretKeys()...)
	}
	return keys
}

// SecretKeys are the keys of Secrets the child needs.
func (s *ChildStoreSpec) SecretKeys() []SecretKeyReference {
	var keys []SecretKeyReference
	if s.WooCommerce != nil {
		keys = s.WooCommerce.SecretKeys()
	}
	if s.Kitgenix != nil {
		keys = append(keys, s.Kitgenix.SecretKeys()...)
	}
	return keys
}

// SecretKeys are the keys of Secrets the plugin's connection needs.
func (k *Kitgenix) SecretKeys() []SecretKeyReference {
	keys := []SecretKeyReference{k.SharedSecretKeyRef}
	if k.CABundleSecretKeyRef != nil {
		keys = append(keys, *k.CABundleSecretKeyRef)
	}
	return keys
}

// SecretKeys are the keys of Secrets the account needs.
func (k *Katana) SecretKeys() []SecretKeyReference {
	keys := []SecretKeyReference{k.TokenSecretKeyRef}
	if k.CABundleSecretKeyRef != nil {
		keys = append(keys, *k.CABundleSecretKeyRef)
	}
	return keys
}

// EffectiveTransport is HTTPS unless InsecureHTTP is asked for.
func (k *Kitgenix) EffectiveTransport() Transport {
	if k.Transport == TransportInsecureHTTP {
		return TransportInsecureHTTP
	}
	return TransportHTTPS
}

// RotationOverlap is for how long the secret before is accepted after the Secret was changed.
func (k *Kitgenix) RotationOverlap() time.Duration {
	return time.Duration(valueOr(k.RotationOverlapSeconds, DefaultRotationOverlapSeconds)) * time.Second
}

// EffectivePolicy is LastKnownGood unless another is asked for; it holds for a nil receiver too.
func (c *CheckoutValidation) EffectivePolicy() MasterUnreachablePolicy {
	if c == nil || c.MasterUnreachablePolicy == "" {
		return LastKnownGood
	}
	return c.MasterUnreachablePolicy
}

// MaxAge is for how long LastKnownGood answers from the ledger; it holds for a nil receiver too.
func (c *CheckoutValidation) MaxAge() time.Duration {
	if c == nil {
		return DefaultCheckoutMaxAgeSeconds * time.Second
	}
	return time.Duration(valueOr(c.MaxAgeSeconds, DefaultCheckoutMaxAgeSeconds)) * time.Second
}

// EffectiveURL is the API's address.
func (k *Katana) EffectiveURL() string {
	if k.APIURL == "" {
		return DefaultKatanaURL
	}
	return k.APIURL
}

// PollInterval is the time between two polls of what changed.
func (k *Katana) PollInterval() time.Duration {
	return time.Duration(valueOr(k.PollIntervalSeconds, DefaultPollIntervalSeconds)) * time.Second
}

// CompareInterval is the time between two comparisons of everything.
func (k *Katana) CompareInterval() time.Duration {
	return time.Duration(valueOr(k.CompareIntervalSeconds, DefaultCompareIntervalSeconds)) * time.Second
}

// ImportGrace is for how long a sale that Katana has not imported is deducted; 0 deducts nothing.
func (k *Katana) ImportGrace() time.Duration {
	return time.Duration(valueOr(k.ImportGraceSeconds, DefaultImportGraceSeconds)) * time.Second
}

// Misfit says why the child does not fit the topology, though each is valid by itself; empty when it does.
func (c *ChildStore) Misfit(t *StockSyncTopology) string {
	k := c.Spec.Kitgenix
	switch {
	case t.Spec.Master.Katana != nil && c.Spec.Katana == nil && k != nil:
		return "spec.kitgenix: must be omitted, and `woocommerce` and `katana` given: the topology's master is `katana`"
	case t.Spec.Master.Katana != nil && c.Spec.Katana == nil:
		return "spec.katana: must be given, with `locationID`: the topology's master is `katana`"
	case t.Spec.Master.Katana == nil && c.Spec.Katana != nil:
		return "spec.katana: must be omitted: the topology's master is not `katana`"
	case t.Spec.Master.Katana != nil && c.Spec.EditPolicy != "":
		return "spec.editPolicy: must be omitted: a quantity typed in a shop never changes Katana's stock"
	case k != nil && t.Spec.PublicURL == "":
		return "spec.kitgenix: the topology must have `publicURL`: it is where the plugin finds its master"
	case k != nil && k.RemoteStoreID == t.IdentityStoreID():
		return fmt.Sprintf("spec.kitgenix.remoteStoreID: must differ from the topology's own id %s", k.RemoteStoreID)
	}
	return ""
}

// Misfit says why the parts of the topology do not fit together; empty when they do.
func (t *StockSyncTopology) Misfit() string {
	if k := t.Spec.Master.Kitgenix; k != nil && k.RemoteStoreID == t.IdentityStoreID() {
		return fmt.Sprintf("spec.master.kitgenix.remoteStoreID: must differ from the topology's own id %s", k.RemoteStoreID)
	}
	return ""
}

// Drivers names how a store is spoken to: woocommerce, kitgenix, woocommerce+kitgenix or katana.
func Drivers(w *WooCommerce, k *Kitgenix, katana *Katana) string {
	switch {
	case katana != nil:
		return "katana"
	case w != nil && k != nil:
		return "woocommerce+kitgenix"
	case k != nil:
		return "kitgenix"
	case w != nil:
		return "woocommerce"
	}
	return ""
}

// untilLayout is how a time stands in the key of a Secret, which must hold no colon.
const untilLayout = "20060102T150405Z"

// SecretUntilKey is the key, beside the key of a shared secret, under which a value it had before stands until a time,
// for example sharedSecret.until.20260102T150405Z. There may be several.
func SecretUntilKey(key string, until time.Time) string {
	return key + ".until." + until.UTC().Format(untilLayout)
}

// SecretUntil tells whether a key of a Secret holds an earlier value of another one, and until when it may be used.
func SecretUntil(of, key string) (until time.Time, is bool, err error) {
	text, is := strings.CutPrefix(key, of+".until.")
	if !is {
		return time.Time{}, false, nil
	}
	until, err = time.Parse(untilLayout, text)
	if err != nil {
		return time.Time{}, true, fmt.Errorf("key `%.100s` must end in a time such as %s, in UTC", key, untilLayout)
	}
	return until, true, nil
}

// FragileSecret tells whether a shared secret holds what the plugin's form, or a person who copies it, spoils.
func FragileSecret(secret string) bool {
	return strings.ContainsFunc(secret, func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`<>%&"'\`, c) })
}

// FragileSecretAdvice says what to do about a fragile secret.
const FragileSecretAdvice = "holds a blank, one of < > % & \" ' \\ or a character beyond ASCII, which the plugin's form spoils: pairing, or the next change, would fail with a refused signature; choose letters and digits"
