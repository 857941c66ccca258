// Package event is the one table of everything the agent tells: the kinds of lines in its history, each with a
// stable code, a level and advice. docs/codes.md is made from it.
package event

import (
	"slices"

	"stocksync.dev/stocksync/internal/stock"
)

// Level says how soon a person should look.
type Level string

// The levels, from the least serious.
const (
	// Info: as it should be.
	Info Level = "Info"
	// Warning: nothing is lost, and a person should look when there is time.
	Warning Level = "Warning"
	// Error: something does not work, or a number may be wrong, until a person acts.
	Error Level = "Error"
)

// Levels are all levels, from the least serious.
func Levels() []Level { return []Level{Info, Warning, Error} }

// AtLeast tells whether a level is as serious as another, or more. A level that does not exist is as serious as
// [Info].
func (l Level) AtLeast(other Level) bool {
	return slices.Index(Levels(), l) >= slices.Index(Levels(), other)
}

// The kinds of lines that are about a store or the agent, beside those about a SKU in package stock.
const (
	Started        stock.Kind = "AgentStarted"
	LedgerRestored stock.Kind = "LedgerRestored"

	ConfigApplied stock.Kind = "ConfigApplied"
	ConfigRefused stock.Kind = "ConfigRefused"
	StoreRefused  stock.Kind = "StoreConfigRefused"

	Connected    stock.Kind = "Connected"
	Disconnected stock.Kind = "Disconnected"

	WebhooksRepaired stock.Kind = "WebhooksRepaired"
	WebhooksRefused  stock.Kind = "WebhooksRefused"
	WebhooksRemoved  stock.Kind = "WebhooksRemoved"
	WebhooksLeft     stock.Kind = "WebhooksLeft"

	RunStarted        stock.Kind = "RunStarted"
	RunSucceeded      stock.Kind = "RunSucceeded"
	RunNeedsAttention stock.Kind = "RunNeedsAttention"
	RunFailed         stock.Kind = "RunFailed"
	RunCancelled      stock.Kind = "RunCancelled"

	BreakerTripped  stock.Kind = "BreakerTripped"
	BreakerApproved stock.Kind = "BreakerApproved"

	Dismissed        stock.Kind = "ConflictsDismissed"
	HistoryPruned    stock.Kind = "HistoryPruned"
	MarkersForgotten stock.Kind = "MarkersForgotten"
)

// Code describes one thing that can be told.
type Code struct {
	// Name is stable: scripts may match it.
	Name string
	// Kind and Conflict are what a line of the history carries; they give the code.
	Kind     stock.Kind
	Conflict bool
	Level    Level
	// Cause is what it follows from, where the line names nothing more exact.
	Cause string
	// Means says what was seen, Advice what to do about it; empty where there is nothing to do.
	Means, Advice string
}

// The causes of lines that name no other.
const (
	byShop   = "Shop"
	byOrders = "Orders"
	byPush   = "Push"
	byPerson = "Person"
	byConfig = "Configuration"
	byAgent  = "Agent"
	bySource = "Source"
)

const (
	lookAtHistory = "Look at the SKU's history for what went before, and count the shelf if in doubt; then resolve the conflict with the true number, or dismiss it if the number is right."
	seeConditions = "The cause is a reason of the condition `Connected`: docs/conditions.md says what to do about each."
)

var codes = slices.Concat(ofSKUs, ofStores)

var ofSKUs = []Code{
	{"Read", stock.Read, false, Info, byShop, "The shop's own sales, returns or restocks moved the shared stock, as its quantity shows.", ""},
	{"Ordered", stock.Ordered, false, Info, byOrders, "Orders of the shop moved the shared stock.", ""},
	{"Pushed", stock.Pushed, false, Info, byPush, "The shop acknowledged a change of its shelf.", ""},
	{"Enrolled", stock.Baselined, false, Info, byShop, "A first proven reading of the SKU was taken as its baseline in the shop.", ""},
	{"EnrolledDifferent", stock.Baselined, true, Warning, byShop, "A shop was enrolled that showed other numbers than the shared stock; they are set to the shared stock. One line stands for all SKUs of the shop.",
		"Compare some of the numbers. Where the shop was right and not the master, resolve the SKU with the shop's number; then dismiss the conflict."},
	{"PushArrived", stock.Arrived, false, Info, byPush, "A push whose answer never came was proved to have arrived.", ""},
	{"PushArrivedBySize", stock.Arrived, true, Warning, byPush, "The shop's quantity moved by exactly the size of an unanswered push, and nothing but the size tells that it was the push.", lookAtHistory},
	{"PushVoided", stock.Voided, true, Warning, byPush, "A push whose answer never came was judged not to have arrived. The difference is pushed again.",
		"Nothing at once. If it comes often, the shop ends requests too early: look at its PHP time limit and its error log."},
	{"Unclear", stock.Unclear, true, Error, byPush, "No explanation, or more than one, fits what the shop shows; the lower stock was taken.", "Count the shelf and resolve the SKU with the true number."},
	{"Lost", stock.Lost, true, Warning, byShop, "WooCommerce overwrote a sale or a restock while a push was written; it was put right, and the evidence is in the line.", "Compare the number with the shelf once; then dismiss the conflict."},
	{"Edited", stock.Edited, false, Info, byPerson, "Somebody, or a program, set the quantity in the shop. What that does is the store's `editPolicy`.", ""},
	{"EditDoubtful", stock.Edited, true, Warning, byPerson, "The quantity moved beyond what orders explain. It was treated as an edit, and may have been something else.", lookAtHistory},
	{"ShopRestored", stock.RestoredShop, true, Error, byShop, "The shop looks restored from a backup. Its accounts were set anew; orders the backup does not hold are not known.",
		"Compare the orders of the time between the backup and now with the payment provider; resolve the SKUs that they hold with the true number."},
	{"Recovered", stock.Recovered, true, Error, byAgent, "The ledger was lost while orders were under way; they may be counted in some stores only.", "Count the SKU and resolve it with the true number."},
	{"Claimed", stock.Claimed, true, Error, byConfig, "The shop carries the marks of another ledger. Nothing is written to it.", "Take the store out of one of the two topologies. Two must never write to one shop."},
	{"FeedStopped", stock.Feed, true, Error, byPerson, "A feed or an import writes absolute numbers into several shops. The SKU is not written any more.",
		"Let the feed write to one shop only, the master; then resolve the SKU with the true number."},
	{"DuplicateSKU", stock.Duplicate, true, Warning, byShop, "Two items of one shop carry the SKU. The first one stays bound.", "Give one of the items another SKU, or delete it; then rescan."},
	{"Renamed", stock.Renamed, true, Warning, byShop, "The item that held the SKU carries another one now and is not synced; or the master renamed it, and it cannot follow because another item has that SKU. The line says which.",
		"Give the item its SKU back, or the other item another one; then dismiss the conflict."},
	{"RenamedByMaster", stock.Renamed, false, Info, byPerson, "The master's item got another SKU, and so did the items of the other stores.", ""},
	{"CopiedItem", stock.Copied, true, Warning, byShop, "An item carries the identity (GID) of another one, as a product does that was made with WooCommerce's Duplicate. The binding stays with the original, and the copy gets none of its stock.",
		"Give the copy a SKU of its own and list that in the master, or delete it; then dismiss the conflict."},
	{"StructureDiffers", stock.Structure, true, Warning, byShop, "Variations share one stock in one shop and hold stock of their own in another. They are not synced there.", "Manage the stock at the same level in every shop, as the master does; then rescan."},
	{"Unmanaged", stock.Unmanaged, false, Warning, byShop, "The item stopped managing its stock. Of it only the status is kept the same.", "Nothing, where the master stopped too or still manages it: the shop follows. Else tick \"Stock management\" of the item in the shop, or exclude the SKU."},
	{"Fraction", stock.Fraction, true, Warning, byShop, "The quantity is not a whole number. The SKU is not synced.", "Sell the item in whole units, or exclude the SKU."},
	{"Removed", stock.Removed, false, Info, byShop, "The item, or the store, went away. The shared stock stays as it was.", ""},
	{"FieldChanged", stock.FieldSet, false, Info, byPerson, "Somebody changed a field beside the quantity (backorders, low stock amount, status, management); the newest change holds in every store.", ""},
	{"FieldDoubtful", stock.FieldSet, true, Warning, byPerson, "A field beside the quantity was changed in two stores at once, or keeps changing, or a shop does not take it. The line says which value holds.",
		"Set the field to what you want in one store, the others follow; look for the plugin where a shop does not take it. Then dismiss the conflict."},
	{"StatusRederived", stock.Rederived, false, Info, byAgent, "The shop's stock status did not fit the quantity, and the shop was made to derive it again.", ""},
	{"TakenOver", stock.TakenOver, false, Warning, byPerson, "A store that carries another ledger's marks was taken over, as its annotation asks.", "Make sure that the other agent is gone; then remove the annotation."},
	{"Supplied", stock.Supplied, false, Info, bySource, "The source's number of the SKU changed; the line says what it is made of.", ""},
	{"LocationGone", stock.Supplied, true, Error, bySource, "The source does not have a location any more that stores are mapped to. Nothing is written to them.", "Map the stores to a location that is there. What they show stays as it is until an item changes."},
	{"SaleAwaited", stock.Awaited, false, Info, byOrders, "A shop sold units for which the source has no order yet. They are held back from every shop that is fed from the location until it has.", ""},
	{"SaleImported", stock.Imported, false, Info, bySource, "The source has the order of a sale that was held back.", ""},
	{"SaleNotImported", stock.Imported, true, Error, bySource, "The source still has no order for a sale in a shop. Its units are not held back any more, so the shops show more than there is.",
		"Enter the order in the source, or take the units off its stock; see why its import of orders does not work. Then dismiss the conflict."},
	{"Matched", stock.Matched, false, Info, byShop, "An item of a shop was found to sell an item of the source. Its number is written from the item's next change on.", ""},
	{"Resolved", stock.Resolved, false, Info, byPerson, "A person chose the number of the SKU.", ""},
}

var ofStores = []Code{
	{"AgentStarted", Started, false, Info, byAgent, "The agent began to run.", ""},
	{"LedgerRestored", LedgerRestored, false, Warning, byPerson, "The ledger was put back from a backup. What it does not know of the time since is found again from the stores, as after a lost ledger.",
		"Look at the conflicts that follow; `docs/operations.md` says what to expect."},
	{"ConfigApplied", ConfigApplied, false, Info, byConfig, "A configuration was put into use.", ""},
	{"ConfigRefused", ConfigRefused, false, Error, byConfig, "The newest configuration cannot be used, at least in part; what was in use stays in use.", "Mend what the line names. It is the same text as in the topology's status."},
	{"StoreConfigRefused", StoreRefused, false, Error, byConfig, "The configuration of one store cannot be used; its last good one, if there is one, stays in use.", "The cause is a reason of the condition `Accepted`: docs/conditions.md says what to do about each."},
	{"Connected", Connected, false, Info, byShop, "The shop answers again.", ""},
	{"Disconnected", Disconnected, false, Error, byShop, "Two requests in a row failed. It is tried again without end, and nothing is lost meanwhile.", seeConditions},
	{"WebhooksRepaired", WebhooksRepaired, false, Warning, byShop, "Webhooks were found switched off or deleted in the shop, and put back.", "If it comes again, look at what the shop gets as the answer to its deliveries: WooCommerce switches a webhook off after seven failures."},
	{"WebhooksRefused", WebhooksRefused, false, Warning, byShop, "The shop's webhooks could not be kept. Polling finds the same changes, later.", "The cause is a reason of the condition `HintsAvailable` or `Connected`: docs/conditions.md says what to do about each."},
	{"WebhooksRemoved", WebhooksRemoved, false, Info, byConfig, "Our webhooks were removed from a shop that left, or that wants none any more.", ""},
	{"WebhooksLeft", WebhooksLeft, false, Warning, byConfig, "Our webhooks could not be removed from a shop that left.", "Nothing: the shop switches them off after seven failures. Or delete those named StockSync in WooCommerce, Settings, Advanced, Webhooks."},
	{"RunStarted", RunStarted, false, Info, byPerson, "A reconcile or an audit began.", ""},
	{"RunSucceeded", RunSucceeded, false, Info, byAgent, "A reconcile or an audit ended well.", ""},
	{"RunNeedsAttention", RunNeedsAttention, false, Warning, byAgent, "A reconcile or an audit ended, and what it found or could not mend needs a person.", "Read its report: docs/troubleshooting.md."},
	{"RunFailed", RunFailed, false, Error, byAgent, "A reconcile or an audit could not do its work.", "The line says why. Mend that and start it again, or wait for the next one by schedule."},
	{"RunCancelled", RunCancelled, false, Info, byPerson, "A person cancelled a reconcile or an audit.", ""},
	{"BreakerTripped", BreakerTripped, false, Error, byShop, "A change would zero or multiply too large a share of the SKUs. Pushes are held; sales keep being counted.",
		"See where the change came from. If it is wrong, put the numbers right in the shop first. Then, as when it is right, approve the trip by its id: what is written is what is right at that moment."},
	{"BreakerApproved", BreakerApproved, false, Info, byPerson, "A person let the held change through.", ""},
	{"ConflictsDismissed", Dismissed, false, Info, byPerson, "A person closed conflicts without changing a number.", ""},
	{"HistoryPruned", HistoryPruned, false, Info, byPerson, "A person had old lines of the history deleted.", ""},
	{"MarkersForgotten", MarkersForgotten, false, Info, byPerson, "Our markers were removed from a shop.", ""},
}

// OfSKUs are the codes of lines about a SKU.
func OfSKUs() []Code { return slices.Clone(ofSKUs) }

// OfStores are the codes of lines about a store or the agent as a whole.
func OfStores() []Code { return slices.Clone(ofStores) }

// Of returns the code of a line. A kind this version does not know, or a conflict of a kind that knows none, is
// told by its own name.
func Of(kind stock.Kind, conflict bool) Code {
	for _, c := range codes {
		if c.Kind == kind && c.Conflict == conflict {
			return c
		}
	}
	level := Info
	if conflict {
		level = Warning
	}
	return Code{Name: string(kind), Kind: kind, Conflict: conflict, Level: level}
}

// Kinds are the kinds whose lines, conflicts or not, are at least so serious.
func Kinds(least Level, conflict bool) []stock.Kind {
	var out []stock.Kind
	for _, c := range codes {
		if c.Conflict == conflict && c.Level.AtLeast(least) {
			out = append(out, c.Kind)
		}
	}
	return out
}
