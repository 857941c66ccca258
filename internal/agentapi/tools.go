package agentapi

import "time"

// The tools: what people, Jobs and `kubectl stocksync` ask of a running agent. The same routes are served on the
// Unix socket in the data directory, to whoever may open it, and on the private port, by token. All bodies are
// JSON; an answer other than 200 is a sentence for people, in plain text, that says what to do next. Where no
// other answer is named, a POST answers [Closed].
//
//	token            may
//	[TokenFile]      read status: the operator's
//	[ReadTokenFile]  every GET, audit, ping and dry run: nothing is written to any store
//	[WriteTokenFile] everything but a backup, which only the socket gives
const (
	// RunsPath lists the recent runs (GET, [Run] list, newest first) and starts one (POST [RunRequest], answers
	// [Run]). One run at a time: another is refused with 409, unless it carries the RequestID of one known.
	// RunsPath/{id} reads one; with ?wait=SECONDS (at most 30) it answers once the run's Sequence differs from
	// ?sequence=N. RunsPath/{id}/cancel (POST) ends it; RunsPath/{id}/findings (GET ?after=N&limit=N) pages its
	// [Finding] list, oldest first.
	RunsPath = "/v1/runs"
	// ConflictsPath lists open conflicts (GET ?store=&sku=, [Entry] list, oldest first). ConflictsPath/resolve
	// (POST [ResolveRequest]) and ConflictsPath/dismiss (POST [DismissRequest]) count the conflicts they close.
	ConflictsPath = "/v1/conflicts"
	// RescanPath (POST [StoresRequest]) reads whole catalogues again, which finds duplicate SKUs and new items.
	RescanPath = "/v1/rescan"
	// BacklogPath lists placements that differ from what they should show (GET ?store=&after=&limit=, [BacklogItem]
	// list). BacklogPath/retry (POST [StoresRequest]) ends back-offs; BacklogPath/accept (POST [AcceptRequest])
	// makes a store's number the SKU's number, and counts the SKUs.
	BacklogPath = "/v1/backlog"
	// HistoryPath tells why a SKU's number is what it is (GET ?sku=&limit=, [SKUHistory]). HistoryPath/prune
	// (POST [PruneRequest]) counts the lines it forgets.
	HistoryPath = "/v1/history"
	// EventsPath pages the event log (GET ?after=ID&limit=N&wait=SECONDS&store=&sku=&level=, [Entry] list, oldest
	// first); level is the least one wanted. Without after it answers the newest.
	EventsPath = "/v1/events"
	// PingPath tests the connection of every store, or of ?store= (GET, [Ping] list).
	PingPath = "/v1/ping"
	// ForgetPath (POST [ForgetRequest]) removes our markers from a store that is in mode Off or Observe.
	ForgetPath = "/v1/forget"
	// BreakerPath reads the circuit breaker (GET, [Breaker] or null); BreakerPath/approve (POST [ApproveRequest])
	// lets the held changes through.
	BreakerPath = "/v1/breaker"
	// NumbersPath lists what a store shows of each SKU and should show, and how that number is made (GET
	// ?store=&after=&limit=, [Number] list).
	NumbersPath = "/v1/numbers"
	// LinksPath lists which items of stores sell an item of the source where no SKU tells (GET ?store=, [Link] list).
	// LinksPath/set (POST [LinkRequest]) makes a link, LinksPath/remove (POST [LinkRequest]) ends one; they count stores.
	LinksPath = "/v1/links"
	// BackupPath (GET, on the socket only) answers a consistent copy of the ledger, a SQLite file.
	BackupPath = "/v1/backup"
)

// Tokens in [PrivateDir], beside [TokenFile].
const (
	ReadTokenFile  = "read-token"
	WriteTokenFile = "write-token"
)

// Secrets that hold a token of the private port for Jobs and people, made by the operator. They are named after the
// topology with these endings, and hold the token under [TokenFile], the authority under [CAFile], and under [URLKey]
// the private port's address, whose host is the name in its certificate.
const (
	ReadSecretSuffix  = "-agent-tools-read"
	WriteSecretSuffix = "-agent-tools-write"
	URLKey            = "url"
	// ToolsDir is where a Job finds that Secret.
	ToolsDir = "/etc/stocksync/tools"
)

// Exit codes of a command that waited for a run. A Job tries again after [ExitFailed] alone: trying again mends
// nothing that needs a person, and must not undo a cancellation.
const (
	ExitSucceeded = 0
	// ExitFailed: the agent could not be asked, or the run could not do its work.
	ExitFailed = 1
	// ExitNeedsAttention: what the run found or could not mend needs a person.
	ExitNeedsAttention = 2
	// ExitCancelled: a person ended the run.
	ExitCancelled = 3
)

// RunKind says what a run does.
type RunKind string

// The kinds of runs.
const (
	KindReconcile RunKind = "Reconcile"
	KindAudit     RunKind = "Audit"
)

// Strategy of a reconcile.
type Strategy string

// The strategies.
const (
	// DifferencesOnly reads everything, merges, and writes what differs. It is what an omitted strategy means.
	DifferencesOnly Strategy = "DifferencesOnly"
	// Push also rewrites registers, identity and status where numbers agree.
	Push Strategy = "Push"
	// DryRun reads and reports, and writes nothing.
	DryRun Strategy = "DryRun"
	// Reset sets the pools to the master's numbers. It must be confirmed.
	Reset Strategy = "Reset"
)

// RunRequest asks for a run.
type RunRequest struct {
	Kind     RunKind  `json:"kind"`
	Strategy Strategy `json:"strategy,omitempty"`
	// SKUs and Stores narrow the run; empty means all.
	SKUs   []string `json:"skus,omitempty"`
	Stores []string `json:"stores,omitempty"`
	// ConfirmReset must be true for [Reset], and is refused otherwise.
	ConfirmReset bool `json:"confirmReset,omitempty"`
	// RequestID, where given, makes the request idempotent: asked again it answers the same run.
	RequestID string `json:"requestID,omitempty"`
}

// RunState says how far a run is.
type RunState string

// The states of a run. Those after Running are final.
const (
	Running   RunState = "Running"
	Succeeded RunState = "Succeeded"
	// NeedsAttention: the run ended, and what it found or could not mend needs a person.
	NeedsAttention RunState = "NeedsAttention"
	// Failed: the run could not do its work; the message says why.
	Failed    RunState = "Failed"
	Cancelled RunState = "Cancelled"
)

// Run is one reconcile or audit. It survives a restart of the agent.
type Run struct {
	ID      int64      `json:"id"`
	Request RunRequest `json:"request"`
	State   RunState   `json:"state"`
	// Sequence grows with every change of the run.
	Sequence   int64      `json:"sequence"`
	StartedAt  time.Time  `json:"startedAt"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	// Message says in a sentence how it stands or ended.
	Message string `json:"message,omitempty"`
	// Done and Total count placements; RemainingSeconds is an estimate, 0 when unknown.
	Done             int `json:"done"`
	Total            int `json:"total"`
	RemainingSeconds int `json:"remainingSeconds,omitempty"`
	// Stores is the progress and result of each store, the master first.
	Stores []RunStore `json:"stores,omitempty"`
	// Counts are the findings by class, all stores together.
	Counts map[FindingClass]int `json:"counts,omitempty"`
	// Worst are the most serious findings, at most [MaxWorst].
	Worst []Finding `json:"worst,omitempty"`
}

// MaxWorst caps [Run.Worst].
const MaxWorst = 10

// RunStore is a run's part in one store.
type RunStore struct {
	StoreID string `json:"storeID"`
	Done    int    `json:"done"`
	Total   int    `json:"total"`
	// Differing placements were found, Written were put right, Waiting still are not.
	Differing int `json:"differing"`
	Written   int `json:"written"`
	Waiting   int `json:"waiting"`
	// Requests sent to the store by this run.
	Requests int `json:"requests"`
	// Error says why the store could not be read or written.
	Error string `json:"error,omitempty"`
}

// FindingClass sorts what an audit finds.
type FindingClass string

// The classes of findings. [InFlight] is no alarm.
const (
	MissingProduct       FindingClass = "MissingProduct"
	DuplicateSKU         FindingClass = "DuplicateSKU"
	IdentityMismatch     FindingClass = "IdentityMismatch"
	QuantityDiffers      FindingClass = "Quantity"
	StatusDiffers        FindingClass = "Status"
	BackordersDiffer     FindingClass = "Backorders"
	LowStockDiffers      FindingClass = "LowStock"
	ManagementDiffers    FindingClass = "ManagementMode"
	StoreUnreachable     FindingClass = "StoreUnreachable"
	AuthenticationFailed FindingClass = "Authentication"
	// InFlight: the difference is younger than the lag objective.
	InFlight FindingClass = "InFlight"
)

// Finding is one thing that is not as it should be. Shown and Wanted are texts: a quantity, a status, a mode.
type Finding struct {
	ID     int64        `json:"id,omitempty"`
	Class  FindingClass `json:"class"`
	Store  string       `json:"store"`
	SKU    string       `json:"sku,omitempty"`
	Shown  string       `json:"shown,omitempty"`
	Wanted string       `json:"wanted,omitempty"`
	// Units is the size of a quantity difference.
	Units int64 `json:"units,omitempty"`
	// Message says what was seen and what to do.
	Message string `json:"message"`
}

// StoresRequest names stores; none means all.
type StoresRequest struct {
	Stores []string `json:"stores,omitempty"`
}

// ResolveRequest chooses a SKU's number: Units, or what the named store shows.
type ResolveRequest struct {
	SKU   string `json:"sku"`
	Units *int64 `json:"units,omitempty"`
	Store string `json:"store,omitempty"`
}

// DismissRequest closes conflicts and changes no number.
type DismissRequest struct {
	IDs []int64 `json:"ids"`
}

// AcceptRequest makes what a store shows the number of these SKUs. Confirm must be true.
type AcceptRequest struct {
	Store   string   `json:"store"`
	SKUs    []string `json:"skus"`
	Confirm bool     `json:"confirm"`
}

// PruneRequest forgets history older than this many days, at least one.
type PruneRequest struct {
	OlderThanDays int `json:"olderThanDays"`
}

// ForgetRequest removes our markers from a store. Confirm must be true.
type ForgetRequest struct {
	Store   string `json:"store"`
	Confirm bool   `json:"confirm"`
}

// ApproveRequest lets through what the trip of this id holds.
type ApproveRequest struct {
	TripID string `json:"tripID"`
}

// Closed counts what a request ended or changed: conflicts, rows, stores, SKUs, markers.
type Closed struct {
	Count int `json:"count"`
}

// BacklogItem is one placement that differs from what it should show.
type BacklogItem struct {
	Store  string    `json:"store"`
	SKU    string    `json:"sku"`
	Shown  int64     `json:"shown"`
	Wanted int64     `json:"wanted"`
	Since  time.Time `json:"since"`
	// Note says what it waits for; empty when it is simply next.
	Note string `json:"note,omitempty"`
	// Cursor continues the listing after this item.
	Cursor string `json:"cursor,omitempty"`
}

// Number is what a store shows of one SKU, and what it should.
type Number struct {
	// SKU as spelled in the store. Product is WooCommerce's id of the product, Variation of the variation, 0 where it is none.
	SKU       string `json:"sku"`
	Product   int64  `json:"product"`
	Variation int64  `json:"variation,omitempty"`
	Shown     int64  `json:"shown"`
	// Wanted is what it should show; Known tells whether that can be said.
	Wanted int64 `json:"wanted"`
	Known  bool  `json:"known"`
	// Note says what is special: not enrolled, blocked, waiting, left as it is.
	Note string `json:"note,omitempty"`
	// Source tells how the number is made, where a source gives it.
	Source *SourceNumber `json:"source,omitempty"`
	// Cursor continues the listing after this one.
	Cursor string `json:"cursor,omitempty"`
}

// ID is WooCommerce's id of what holds the number: the variation's, or else the product's.
func (n Number) ID() int64 {
	if n.Variation != 0 {
		return n.Variation
	}
	return n.Product
}

// SourceNumber is how a source's number is made: in stock, less what counted orders hold, less what is sold in shops and
// not in the source yet. Amounts are decimal numbers.
type SourceNumber struct {
	// Item is the source's id of it.
	Item    string `json:"item"`
	InStock string `json:"inStock"`
	// Counted is what the orders hold that count for this store, Committed the source's own figure, which also has the
	// parts of kits and subassemblies.
	Counted   string `json:"counted"`
	Committed string `json:"committed,omitempty"`
	// Awaited units were sold in shops, and the source has no order for them yet.
	Awaited int64 `json:"awaited,omitempty"`
	// ReadAt is when it was read, on the source's clock.
	ReadAt time.Time `json:"readAt"`
}

// Link says which item of a store sells an item of the source, where no SKU does.
type Link struct {
	Store string `json:"store"`
	// ID is WooCommerce's of the product or variation.
	ID int64 `json:"id"`
	// Item is the source's id, SKU its code; empty where it has none.
	Item string `json:"item"`
	SKU  string `json:"sku,omitempty"`
	// By is who made it: Order, Person or Config.
	By string `json:"by"`
}

// LinkRequest makes a link, or ends that of the store's item.
type LinkRequest struct {
	Store string `json:"store"`
	// ID is WooCommerce's of the product or variation.
	ID int64 `json:"id"`
	// Item is the source's id. SKU, instead, is its code there.
	Item string `json:"item,omitempty"`
	SKU  string `json:"sku,omitempty"`
}

// Breaker is a circuit breaker that has tripped: pushes are held until its trip is approved.
type Breaker struct {
	TripID string    `json:"tripID"`
	Since  time.Time `json:"since"`
	// Zeroed and Multiplied count SKUs of this change, Of the SKUs there are.
	Zeroed     int `json:"zeroed"`
	Multiplied int `json:"multiplied"`
	Of         int `json:"of"`
	// Store is where the change came from, when it was one.
	Store string `json:"store,omitempty"`
	// Message says what was seen and how to approve it.
	Message string `json:"message"`
}

// Ping is the test of one store's connection.
type Ping struct {
	StoreID string `json:"storeID"`
	// OK: every check passed.
	OK bool `json:"ok"`
	// Checks in the order they were made. What cannot be told after one that failed is left out.
	Checks []PingCheck `json:"checks"`
}

// The checks of a connection.
const (
	CheckDNS            = "DNS"
	CheckTCP            = "TCP"
	CheckTLS            = "TLS"
	CheckRESTAPI        = "RESTAPI"
	CheckAuthentication = "Authentication"
	CheckReadProducts   = "ReadProducts"
	CheckReadOrders     = "ReadOrders"
	// CheckWrite tests the permission to write, and writes nothing.
	CheckWrite = "Write"
	CheckClock = "Clock"
	// CheckPlugin tests the Kitgenix plugin of a store that has it beside its REST API.
	CheckPlugin = "Plugin"
	// CheckRole tests the part a plugin store says it has.
	CheckRole = "Role"
	// CheckLocations tests that the source has the locations whose stock the stores show.
	CheckLocations = "Locations"
)

// PingCheck is one check.
type PingCheck struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Reason is a condition reason of api/v1alpha1 when OK is false.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Milliseconds it took; 0 where it was a part of the next one.
	Milliseconds int64 `json:"milliseconds,omitempty"`
}

// Entry is a line of a SKU's history, or an open conflict.
type Entry struct {
	ID    int64  `json:"id"`
	Kind  string `json:"kind"`
	Store string `json:"store,omitempty"`
	SKU   string `json:"sku,omitempty"`
	// Delta is the change of the shared stock, Units the size of what happened.
	Delta    int64     `json:"delta"`
	Units    int64     `json:"units"`
	Quantity int64     `json:"quantity"`
	Evidence string    `json:"evidence,omitempty"`
	Conflict bool      `json:"conflict,omitempty"`
	At       time.Time `json:"at"`
	// Level is Info, Warning or Error, Code the stable name of the event (docs/codes.md), Cause what it follows from.
	Level string `json:"level,omitempty"`
	Code  string `json:"code,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// SKUHistory is what is known of a SKU: the number, and why.
type SKUHistory struct {
	SKU string `json:"sku"`
	// Units is the shared stock; Set tells whether it has one yet.
	Units   int64  `json:"units"`
	Set     bool   `json:"set"`
	Stopped string `json:"stopped,omitempty"`
	// Shelves are what the stores show.
	Shelves []Shelf `json:"shelves"`
	// Entries are the newest first.
	Entries []Entry `json:"entries"`
}

// Shelf is what one store shows of a SKU.
type Shelf struct {
	Store  string    `json:"store"`
	Shown  int64     `json:"shown"`
	Todo   int64     `json:"todo"`
	ReadAt time.Time `json:"readAt"`
	// Note says what is special: not enrolled, blocked, waiting.
	Note string `json:"note,omitempty"`
}
