// Package woocommerce is a WooCommerce store over HTTP that errs where the real one errs. It serves the
// REST routes a stock synchroniser uses, the Store API's cart and checkout, webhooks and a page for
// shoppers, and replays against recorded exchanges with WooCommerce 9.9.5 (testdata/fixtures).
//
// # How it works
//
// Every request is a program of steps against shared data, and no lock is held between steps: a product
// write reads the item, computes, stores metas and date, stores the quantity if it differs from what was
// read, and stores the status if that differs. An order's decrement is one atomic step. Whatever runs in
// between is overwritten or survives exactly as it does in PHP and MariaDB; nothing is drawn from a
// probability. [Options.Pauses] says how long the steps take, [Options.OnStep] lets a test act at one,
// [Fault] breaks a request there.
//
// The store has no clock but [Options.Clock] and no randomness but [Options.Seed].
//
// # What is reproduced, and the test that shows it
//
//	silent 200s: quantity on unmanaged, on "parent", status on managed   TestFixtureTruthTable, TestIgnoredQuantities
//	null is 0 on single routes, nothing in a batch; no validation there  TestFixtureTruthTable, TestBatchValidatesNothing
//	status derived from quantity and backorders at every save            TestFixtureTruthTable, TestRaces
//	echo webhooks of no-op writes, late bodies, coalescing               TestWebhookEvents
//	equal delivery ids in one second                                     TestWebhookDeliveryID
//	7th failure disables, counter stays at 6, no retry, unsigned ping    TestWebhookDisables, TestFixtureWebhooks
//	orders decrement atomically, REST writes and inventory_delta race    TestRaces, TestParallel
//	failed, refunded and trashed orders keep their units                 TestFixtureTransitions, TestKeepUnits
//	_reduced_stock per line, edits and partial refunds of lines          TestEditedOrders, TestFixtures (refund_*)
//	draft orders, order.updated before order.created                     TestWebhookDraft
//	date traps, strict comparison, one second, ten a page                TestDates, TestSKULookup
//	SKUs: case, commas, no trimming, variations by sku not by include    TestSKULookup, TestFixtures (products_*)
//	401 for a read-only key, Basic ignored over http, 413, 400 in batch  TestFixtures (auth_*, products_batch_*)
//	HTML 502, 503, 504, 429, captcha, maintenance                        TestFaultAnswers, TestFixtureMaintenance
//	one store oversells by itself under parallel checkout                TestCheckoutOversells
//	slow batches, requests that finish after the client gave up          TestPauses, TestOutlivesClient
//	marker before quantity, whole answers to own writes                  TestMarkerBeforeQuantity
//	list answers: all quantities first, metas later                      TestMarkerBeforeQuantity
//	a process killed between marker and quantity                         TestDeath
//	two equal relative updates at once: one swallowed                    TestRaces
//	an order or a cancellation overwritten by a push                     TestRaces
//	stock falls before _reduced_stock is written                         TestReducedStockLater
//	a wrong status around zero, mended by an empty write                 TestRaces
//
// Not reproduced: taxes, shipping, coupons, images, categories; list filters about them are refused with
// status 501 rather than ignored. The object cache's own staleness is [FaultStale].
package woocommerce
