// Package katana is Katana Cloud Inventory over HTTP as a stock synchroniser meets it: reading levels, orders,
// items and locations, and keeping webhooks. It replays against bodies shaped after the public API
// documentation (testdata/fixtures); what that leaves open is a switch of [Behaviour], not a claim.
//
// The stock moves as in the real thing. Sales, manufacturing and purchase orders, adjustments and transfers
// move what is in stock; open orders commit, with the parts of kits and of subassemblies; open manufacturing
// and purchase orders are expected. Nothing of this is what a shop is to show: that is worked out from the
// raw state by package oracle, which shares no code with this one or with the driver.
//
// There is no clock but [Options.Clock] and no randomness at all. [Options.OnRequest] lets a test act between
// two requests, so that pages move and two readings are not of one moment.
//
// # What is reproduced, and the test that shows it
//
//	envelopes, field names and types of every list                        TestFixtures
//	in stock, committed, expected, missing, potential                     TestStock, TestFixtures
//	60 requests a minute, all rate headers, both units of the reset       TestRateLimit
//	429 storms, 5xx, cut connections, HTML, both error shapes             TestFaults, TestFixtures
//	X-Pagination with numbers or strings, newest first, 250 at most       TestPages
//	filters that are not known are ignored, three forms of lists          TestFilters
//	webhooks: signature, three resends, loss, doubles, delay, disorder    TestWebhooks
//	expired keys, plans without API, deleted locations, a SKU twice       TestFaults, TestStock
//	levels older than the orders read before them                         TestStaleLevels
//
// Not served: POST /sales_orders/search, and the resources that no synchroniser reads.
package katana
