package v1alpha1

import "time"

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
