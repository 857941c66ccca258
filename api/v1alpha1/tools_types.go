package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Timetable says when a CronJob runs, and for how long.
type Timetable struct {
	// schedule is when a run begins, in the form of cron: five fields for minute,
	// hour, day of the month, month and day of the week with one blank between
	// them, for example 0 3 * * * for every night at three; or one of @hourly,
	// @daily, @midnight, @weekly, @monthly, @yearly and @annually. At most 100
	// characters.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') ? self in ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually'] : self.split(' ').size() == 5",message="must be five fields (minute, hour, day of the month, month, day of the week) with one blank between them, such as 0 3 * * *, or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually; a time zone belongs in `timeZone`"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.split(' ').size() != 5 || self.split(' ')[0].matches('^([*?]|[0-5]?[0-9](-[0-5]?[0-9])?)(/[1-9][0-9]?)?(,([*?]|[0-5]?[0-9](-[0-5]?[0-9])?)(/[1-9][0-9]?)?)*$')",message="the minute, the first field, must be *, a number between 0 and 59, a range such as 1-5, a step such as */2, or several of them with commas"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.split(' ').size() != 5 || self.split(' ')[1].matches('^([*?]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?(,([*?]|([01]?[0-9]|2[0-3])(-([01]?[0-9]|2[0-3]))?)(/[1-9][0-9]?)?)*$')",message="the hour, the second field, must be *, a number between 0 and 23, a range such as 1-5, a step such as */2, or several of them with commas"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.split(' ').size() != 5 || self.split(' ')[2].matches('^([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?(,([*?]|(0?[1-9]|[12][0-9]|3[01])(-(0?[1-9]|[12][0-9]|3[01]))?)(/[1-9][0-9]?)?)*$')",message="the day of the month, the third field, must be *, a number between 1 and 31, a range such as 1-5, a step such as */2, or several of them with commas"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.split(' ').size() != 5 || self.split(' ')[3].matches('^([*?]|(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))(-(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)))?)(/[1-9][0-9]?)?(,([*?]|(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))(-(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)))?)(/[1-9][0-9]?)?)*$')",message="the month, the fourth field, must be *, a number between 1 and 12 or jan to dec, a range such as 1-5, a step such as */2, or several of them with commas"
	// +kubebuilder:validation:XValidation:rule="self.startsWith('@') || self.split(' ').size() != 5 || self.split(' ')[4].matches('^([*?]|(0?[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat))(-(0?[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat)))?)(/[1-9][0-9]?)?(,([*?]|(0?[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat))(-(0?[0-6]|(?i:sun|mon|tue|wed|thu|fri|sat)))?)(/[1-9][0-9]?)?)*$')",message="the day of the week, the fifth field, must be *, a number between 0, which is Sunday, and 6, or sun to sat, a range such as 1-5, a step such as */2, or several of them with commas"
	Schedule string `json:"schedule"`
	// timeZone of the schedule: a name of the IANA database, for example
	// Europe/Berlin. When omitted it is Etc/UTC.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$') && self.lowerAscii() != 'local'",message="must be the name of a time zone such as Europe/Berlin or Etc/UTC"
	TimeZone string `json:"timeZone,omitempty"`
	// suspend holds back further runs by schedule; runs asked for by annotation or
	// by hand go on. When omitted it is false.
	// +optional
	Suspend bool `json:"suspend,omitempty"` //nolint:kubeapilinter // as in the CronJob it becomes: people type it at three in the morning
	// successfulJobsHistoryLimit is how many Jobs that succeeded are kept. Between
	// 0 and 100. When omitted it is 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	SuccessfulJobsHistoryLimit *int32 `json:"successfulJobsHistoryLimit,omitempty"`
	// failedJobsHistoryLimit is how many Jobs that failed are kept. Between 0 and
	// 100. When omitted it is 3.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	FailedJobsHistoryLimit *int32 `json:"failedJobsHistoryLimit,omitempty"`
	// startingDeadlineSeconds is how late, in seconds, a run may still begin whose
	// time was missed. Between 10 and 604800. When omitted it is 3600.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=604800
	StartingDeadlineSeconds *int32 `json:"startingDeadlineSeconds,omitempty"`
	// activeDeadlineSeconds is how long, in seconds, a Job may take before
	// Kubernetes ends it. Between 60 and 604800. When omitted it is 86400.
	// +optional
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=604800
	ActiveDeadlineSeconds *int32 `json:"activeDeadlineSeconds,omitempty"`
}

// Reconcile says when every placement of every store is read anew and what
// differs is written.
type Reconcile struct {
	Timetable `json:",inline"`
	// strategy is DifferencesOnly, Push or DryRun. DifferencesOnly reads
	// everything, counts what it finds and writes what differs. Push also rewrites
	// the other fields and our marker where numbers agree. DryRun reads and
	// reports, and writes nothing. When omitted it is DifferencesOnly.
	// +optional
	Strategy ReconcileStrategy `json:"strategy,omitempty"`
}

// ReconcileStrategy says what a reconcile writes.
// +kubebuilder:validation:Enum=DifferencesOnly;Push;DryRun
type ReconcileStrategy string

const (
	// ReconcileDifferencesOnly writes what differs.
	ReconcileDifferencesOnly ReconcileStrategy = "DifferencesOnly"
	// ReconcilePush also rewrites where numbers agree.
	ReconcilePush ReconcileStrategy = "Push"
	// ReconcileDryRun writes nothing.
	ReconcileDryRun ReconcileStrategy = "DryRun"
)

// Audit says when every child is compared with what it should show. An audit
// writes nothing.
type Audit struct {
	Timetable `json:",inline"`
}

// BreakerMode says whether the circuit breaker may trip.
// +kubebuilder:validation:Enum=Enabled;Disabled
type BreakerMode string

const (
	// BreakerEnabled holds back changes that are too large until a person approves
	// them.
	BreakerEnabled BreakerMode = "Enabled"
	// BreakerDisabled lets every change through.
	BreakerDisabled BreakerMode = "Disabled"
)

// CircuitBreaker holds back a change that would zero or multiply too many SKUs
// at once, until a person approves it. Sales keep being counted. A SKU counts as
// multiplied from ten times its stock on.
type CircuitBreaker struct {
	// mode is Enabled or Disabled. When omitted it is Enabled.
	// +optional
	Mode BreakerMode `json:"mode,omitempty"`
	// sharePercent is the share of the SKUs, in percent, that a change may zero or
	// multiply by ten or more. Between 1 and 100. When omitted it is 20.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	SharePercent *int32 `json:"sharePercent,omitempty"`
	// minimumSKUs is the least number of SKUs a change must zero or multiply to be
	// held back, whatever their share; it keeps small catalogues from tripping
	// every day. Between 1 and 1000000. When omitted it is 20.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MinimumSKUs *int32 `json:"minimumSKUs,omitempty"`
}

// RunStatus is the newest reconcile or audit, running or ended.
type RunStatus struct {
	// id of the run, counted by the agent.
	// +required
	ID int64 `json:"id"`
	// strategy of a reconcile: DifferencesOnly, Push, DryRun or Reset.
	// +optional
	Strategy string `json:"strategy,omitempty"`
	// state is Running, Succeeded, NeedsAttention, Failed or Cancelled.
	// +required
	State string `json:"state"`
	// startTime is when the run began.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// finishTime is when it ended.
	// +optional
	FinishTime *metav1.Time `json:"finishTime,omitempty"`
	// message says in a sentence how it stands or ended.
	// +optional
	Message string `json:"message,omitempty"`
	// done is how many items of the stores were dealt with.
	// +optional
	Done *int32 `json:"done,omitempty"`
	// total is how many there are.
	// +optional
	Total *int32 `json:"total,omitempty"`
	// counts are the findings by class.
	// +optional
	// +listType=map
	// +listMapKey=class
	Counts []RunCount `json:"counts,omitempty"`
	// worst are the most serious findings, at most ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Worst []RunFinding `json:"worst,omitempty"`
}

// RunCount is how often a run found something of one class.
type RunCount struct {
	// class of the findings, for example Quantity or MissingProduct. InFlight is
	// no alarm: the difference is younger than the lag objective.
	// +required
	Class string `json:"class"`
	// count of the findings.
	// +required
	Count int32 `json:"count"`
}

// RunFinding is one thing a run found not to be as it should.
type RunFinding struct {
	// class of the finding.
	// +required
	Class string `json:"class"`
	// storeID of the store.
	// +required
	StoreID string `json:"storeID"`
	// sku that is concerned; absent when it is the whole store.
	// +optional
	SKU string `json:"sku,omitempty"`
	// shown is what the store shows.
	// +optional
	Shown string `json:"shown,omitempty"`
	// wanted is what it should show.
	// +optional
	Wanted string `json:"wanted,omitempty"`
	// message says what was seen and what to do.
	// +optional
	Message string `json:"message,omitempty"`
}

// BreakerStatus is a circuit breaker that has tripped: nothing is written to any
// store until its trip is approved.
type BreakerStatus struct {
	// tripID is what an approval must name.
	// +required
	TripID string `json:"tripID"`
	// sinceTime is when it tripped.
	// +required
	SinceTime metav1.Time `json:"sinceTime"`
	// storeID is where the change came from, when it was one store.
	// +optional
	StoreID string `json:"storeID,omitempty"`
	// zeroed is how many SKUs the change would set to nothing.
	// +required
	Zeroed int32 `json:"zeroed"`
	// multiplied is how many SKUs it would multiply.
	// +required
	Multiplied int32 `json:"multiplied"`
	// of is how many SKUs there are.
	// +required
	Of int32 `json:"of"`
	// message says what was seen and how to approve it.
	// +required
	Message string `json:"message"`
}
