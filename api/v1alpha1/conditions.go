package v1alpha1

// Condition types. Reconciling, Stalled, Paused, CircuitBreakerTripped and VolumeNearlyFull are present only while True.
const (
	// ConditionReady sums up the others: the store is accepted, reachable and kept the same (in Observe: would be).
	// On a topology it speaks of the agent and the master.
	ConditionReady = "Ready"
	// ConditionAccepted says whether the object is valid beside its neighbours and used by the agent.
	ConditionAccepted = "Accepted"
	// ConditionSecretsAvailable says whether every Secret and key the object names was found.
	ConditionSecretsAvailable = "SecretsAvailable"
	// ConditionAgentAvailable says whether the agent was heard within the last 45 seconds.
	ConditionAgentAvailable = "AgentAvailable"
	// ConditionConnected says whether the last request to the store worked.
	ConditionConnected = "Connected"
	// ConditionHintsAvailable says whether webhooks arrive. False is no outage: polling finds the same changes.
	ConditionHintsAvailable = "HintsAvailable"
	// ConditionInSync is False when the oldest difference is older than the lag objective, or a person must decide.
	ConditionInSync = "InSync"
	// ConditionCheckoutValidated says whether the plugin's question at checkout is answered by what the ledger knows.
	// It is present where a store has the plugin; Ready does not depend on it.
	ConditionCheckoutValidated = "CheckoutValidated"
	// ConditionReconcileSucceeded says how the newest reconcile ended, and whether its schedule works.
	ConditionReconcileSucceeded = "ReconcileSucceeded"
	// ConditionAuditPassed says how the newest audit ended, and whether its schedule works.
	ConditionAuditPassed = "AuditPassed"
	// ConditionCircuitBreakerTripped is True while a change is held back until a person approves it; it is
	// present only then.
	ConditionCircuitBreakerTripped = "CircuitBreakerTripped"
	// ConditionVolumeNearlyFull is True while the ledger's volume has little room left; it is on the topology.
	ConditionVolumeNearlyFull = "VolumeNearlyFull"
	// ConditionReconciling is True while the operator waits for something it asked for.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while only the user can help.
	ConditionStalled = "Stalled"
	// ConditionPaused is True while nothing is written on purpose: mode Observe or Off.
	ConditionPaused = "Paused"
)

// Reasons of Ready, beside the reason of whatever condition keeps it from being True.
const (
	// ReasonReady: everything works.
	ReasonReady = "Ready"
	// ReasonPending: nothing is known yet.
	ReasonPending = "Pending"
)

// Reasons of Accepted.
const (
	// ReasonAccepted: the object is valid and used by the agent.
	ReasonAccepted = "Accepted"
	// ReasonInvalidConfiguration: the agent cannot use the object or a Secret it names; the last good configuration
	// of the store stays in use for the life of the agent's process.
	ReasonInvalidConfiguration = "InvalidConfiguration"
	// ReasonDuplicateStoreID: an older object of the topology has the same storeID.
	ReasonDuplicateStoreID = "DuplicateStoreID"
	// ReasonDuplicateURL: an older object of the namespace has the same URL.
	ReasonDuplicateURL = "DuplicateURL"
	// ReasonDuplicateRemoteStoreID: an older object of the topology names a plugin of the same Store ID.
	ReasonDuplicateRemoteStoreID = "DuplicateRemoteStoreID"
	// ReasonTopologyMismatch: the object does not fit the topology's master, for example `katana` where that is a store.
	ReasonTopologyMismatch = "TopologyMismatch"
	// ReasonTopologyNotFound: there is no StockSyncTopology of that name in the namespace.
	ReasonTopologyNotFound = "TopologyNotFound"
	// ReasonTopologyNotAccepted: the StockSyncTopology exists but is itself not accepted.
	ReasonTopologyNotAccepted = "TopologyNotAccepted"
	// ReasonConfigurationTooLarge: topology, children and Secrets exceed what one Secret holds; the configuration
	// before stays in use.
	ReasonConfigurationTooLarge = "ConfigurationTooLarge"
)

// Reasons of SecretsAvailable.
const (
	// ReasonSecretsFound: every Secret and key was found.
	ReasonSecretsFound = "SecretsFound"
	// ReasonSecretNotFound: a named Secret does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretKeyMissing: a named Secret lacks a key, or the key is empty.
	ReasonSecretKeyMissing = "SecretKeyMissing"
	// ReasonSecretFragile: everything was found, and a shared secret holds characters that the plugin's form spoils.
	ReasonSecretFragile = "SecretFragile"
	// ReasonConfigMapNotFound: a named ConfigMap does not exist.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
)

// Reasons of AgentAvailable.
const (
	// ReasonAgentReady: the agent answers and runs with the newest configuration.
	ReasonAgentReady = "AgentReady"
	// ReasonAgentStarting: the agent has not answered yet.
	ReasonAgentStarting = "AgentStarting"
	// ReasonAgentUnreachable: three reads of the agent's status in a row failed.
	ReasonAgentUnreachable = "AgentUnreachable"
	// ReasonConfigurationPending: the agent does not yet run with the newest configuration.
	ReasonConfigurationPending = "ConfigurationPending"
	// ReasonResourceRefused: Kubernetes refused an object the agent needs; the message says which and why.
	ReasonResourceRefused = "ResourceRefused"
)

// Reasons of Connected.
const (
	// ReasonConnected: the last request worked.
	ReasonConnected = "Connected"
	// ReasonAuthenticationFailed: the store refuses the REST key.
	ReasonAuthenticationFailed = "AuthenticationFailed"
	// ReasonReadOnlyKey: the REST key may read but not write.
	ReasonReadOnlyKey = "ReadOnlyKey"
	// ReasonOrdersUnreadable: the REST key may not read orders; stock is kept the same, but losses are not repaired
	// and edits are not told from sales.
	ReasonOrdersUnreadable = "OrdersUnreadable"
	// ReasonWooCommerceMissing: WordPress answers, WooCommerce does not.
	ReasonWooCommerceMissing = "WooCommerceMissing"
	// ReasonMaintenance: the shop shows its maintenance page.
	ReasonMaintenance = "Maintenance"
	// ReasonUnexpectedContent: something else than the REST API answers, for example a captcha page or HTML.
	ReasonUnexpectedContent = "UnexpectedContent"
	// ReasonPlainHTTP: the shop answers on plain HTTP only, or redirects to it.
	ReasonPlainHTTP = "PlainHTTP"
	// ReasonUntrustedCertificate: the shop's certificate is not trusted, expired or for another name.
	ReasonUntrustedCertificate = "UntrustedCertificate"
	// ReasonNameNotResolved: the shop's host name has no address.
	ReasonNameNotResolved = "NameNotResolved"
	// ReasonUnreachable: no connection to the shop's address.
	ReasonUnreachable = "Unreachable"
	// ReasonLedgerError: the agent cannot read or write its own ledger, for example because the disk is full.
	ReasonLedgerError = "LedgerError"
	// ReasonTimeout: the shop did not answer in time.
	ReasonTimeout = "Timeout"
	// ReasonRateLimited: the shop or its host asks for fewer requests.
	ReasonRateLimited = "RateLimited"
	// ReasonServerError: the shop answers with a 5xx error.
	ReasonServerError = "ServerError"
	// ReasonClockSkew: the shop's clock is too wrong to order events by.
	ReasonClockSkew = "ClockSkew"
	// ReasonStoreClaimedElsewhere: the store carries the marks of another ledger; nothing is written to it.
	ReasonStoreClaimedElsewhere = "StoreClaimedElsewhere"
	// ReasonRelativeUpdateUnsupported: the store ignores relative quantity changes; nothing is written to it.
	ReasonRelativeUpdateUnsupported = "RelativeUpdateUnsupported"
	// ReasonSignatureRefused: the plugin refuses our signature with every secret there is.
	ReasonSignatureRefused = "SignatureRefused"
	// ReasonPluginMissing: WordPress answers, the Kitgenix plugin does not.
	ReasonPluginMissing = "PluginMissing"
	// ReasonPluginSilent: the plugin answered nothing and sent nothing for a day.
	ReasonPluginSilent = "PluginSilent"
	// ReasonWrongPeer: the plugin has another Store ID, or another role, than it should.
	ReasonWrongPeer = "WrongPeer"
	// ReasonLocationGone: the Katana location was deleted; nothing is written to the shops that offer its stock.
	ReasonLocationGone = "LocationGone"
	// ReasonInconsistentRead: what was read in Katana is not of one moment; it is read again and not used.
	ReasonInconsistentRead = "InconsistentRead"
	// ReasonPlanWithoutAPI: Katana's plan does not include its API.
	ReasonPlanWithoutAPI = "PlanWithoutAPI"
)

// Reasons of HintsAvailable.
const (
	// ReasonWebhooksActive: webhooks are in place and enabled.
	ReasonWebhooksActive = "WebhooksActive"
	// ReasonPollingOnly: no webhooks are wanted, because the topology has no publicURL.
	ReasonPollingOnly = "PollingOnly"
	// ReasonWebhooksRefused: the store refuses to create or enable webhooks.
	ReasonWebhooksRefused = "WebhooksRefused"
	// ReasonWebhooksRepaired: a disabled or deleted webhook was put back; none has arrived since.
	ReasonWebhooksRepaired = "WebhooksRepaired"
	// ReasonWebhooksSilent: changes are found by polling that no webhook announced.
	ReasonWebhooksSilent = "WebhooksSilent"
	// ReasonPluginEventsActive: the plugin's events arrive, or its last ping came through.
	ReasonPluginEventsActive = "PluginEventsActive"
	// ReasonPluginEventsSilent: the plugin never sent anything, or changes are found that no event announced.
	ReasonPluginEventsSilent = "PluginEventsSilent"
)

// Reasons of CheckoutValidated.
const (
	// ReasonAnsweredFromLedger: the question is answered by what the ledger knows.
	ReasonAnsweredFromLedger = "AnsweredFromLedger"
	// ReasonMasterUnreachable: the master is unreachable; the ledger's last known numbers answer, or every sale of a
	// shared SKU is refused, as `masterUnreachablePolicy` says.
	ReasonMasterUnreachable = "MasterUnreachable"
	// ReasonCheckoutFailingOpen: the master is unreachable, and every sale passes.
	ReasonCheckoutFailingOpen = "CheckoutFailingOpen"
)

// Reasons of InSync.
const (
	// ReasonInSync: every difference is younger than the lag objective.
	ReasonInSync = "InSync"
	// ReasonEnrolling: the store is being read for the first time.
	ReasonEnrolling = "Enrolling"
	// ReasonLagObjectiveExceeded: the oldest difference is older than the lag objective.
	ReasonLagObjectiveExceeded = "LagObjectiveExceeded"
	// ReasonSKUsStopped: the writing of some SKUs is stopped until a person chooses the number.
	ReasonSKUsStopped = "SKUsStopped"
	// ReasonConflicts: conflicts are open.
	ReasonConflicts = "Conflicts"
	// ReasonChildrenNotInSync: the master is, but children of the topology are not.
	ReasonChildrenNotInSync = "ChildrenNotInSync"
)

// Reasons of ReconcileSucceeded and AuditPassed.
const (
	// ReasonRunSucceeded: the newest run ended well; an audit found nothing that differs.
	ReasonRunSucceeded = "RunSucceeded"
	// ReasonNeedsAttention: the newest run ended, and what it found or could not mend needs a person.
	ReasonNeedsAttention = "NeedsAttention"
	// ReasonRunFailed: the newest run could not do its work.
	ReasonRunFailed = "RunFailed"
	// ReasonRunCancelled: the newest run was cancelled.
	ReasonRunCancelled = "RunCancelled"
	// ReasonRunning: the first run has begun.
	ReasonRunning = "Running"
	// ReasonNotRunYet: the schedule works, and its first run is yet to come.
	ReasonNotRunYet = "NotRunYet"
	// ReasonSuspended: the schedule is suspended, and there was no run yet.
	ReasonSuspended = "Suspended"
	// ReasonJobFailed: the newest Job failed, or does not get under way, and the agent began no run for it.
	ReasonJobFailed = "JobFailed"
	// ReasonInvalidSchedule: the schedule or its time zone cannot be used, or it never comes due.
	ReasonInvalidSchedule = "InvalidSchedule"
)

// Reasons of VolumeNearlyFull.
const (
	// ReasonLittleSpace: a full volume would stop the writing to all stores.
	ReasonLittleSpace = "LittleSpace"
)

// Reasons of CircuitBreakerTripped.
const (
	// ReasonLargeChange: a change would zero or multiply too many SKUs at once.
	ReasonLargeChange = "LargeChange"
)

// Reasons of Paused, named after the mode.
const (
	// ReasonObserve: the mode in effect is Observe.
	ReasonObserve = "Observe"
	// ReasonOff: the mode in effect is Off.
	ReasonOff = "Off"
)

// Annotations people and pipelines set on a StockSyncTopology. The agent reads them with the rest of the object.
const (
	// AnnotationReconcileRequestedAt asks for a reconcile by any value it has not had; status.lastHandledReconcileRequest
	// is that value once the reconcile has ended.
	AnnotationReconcileRequestedAt = "stocksync.dev/reconcile-requested-at"
	// AnnotationAuditRequestedAt asks for an audit in the same way; status.lastHandledAuditRequest answers.
	AnnotationAuditRequestedAt = "stocksync.dev/audit-requested-at"
	// AnnotationApproveTrip approves the trip of the circuit breaker whose id it holds, and no other.
	AnnotationApproveTrip = "stocksync.dev/approve-trip"
	// AnnotationLogVerbosity is how much the agent logs while it is set: 0, 1 (every request to a store, and what happens
	// to each SKU) or 2.
	AnnotationLogVerbosity = "stocksync.dev/log-verbosity"
)

// AnnotationTakeOverFrom on a ChildStore, or on the StockSyncTopology for its master, takes the store over from the
// ledger whose id it holds, and from no other. The condition Connected names the id.
const AnnotationTakeOverFrom = "stocksync.dev/take-over-from"

// Labels and annotations of the objects the operator makes.
const (
	// LabelTopology holds the name of the StockSyncTopology.
	LabelTopology = "stocksync.dev/topology"
	// AnnotationConfigRevision on the agent's pod makes the kubelet refresh the mounted configuration.
	AnnotationConfigRevision = "stocksync.dev/config-revision"
	// AnnotationTemplateHash on the StatefulSet covers what its pod template depends on.
	AnnotationTemplateHash = "stocksync.dev/template-hash"
	// AnnotationTemplateHashVersion beside it names the way the template was written; a StatefulSet of another
	// version is left alone until its hash changes.
	AnnotationTemplateHashVersion = "stocksync.dev/template-hash-version"
)
