// Package kitgenix simulates the WordPress plugin "Kitgenix Stock Sync for WooCommerce" inside a simulated store, in both
// roles and both generations, with its defects: they are why stores that use it sell what they do not have.
//
// Generation 1 sends within the request that changed the stock, one event per trigger, and drops what follows within two
// seconds of one. A master writes a child's number over its own, reads its own back and pushes that to every child, the
// sender included. Generation 2 collects the changes of a request, queues them, pushes to all but the sender, and stops old
// versions. Both send states that may be hours old when they are tried again, and both remember an event as seen before
// they have worked on it.
//
// It is written from the plugin's description and checked against recorded exchanges; it shares no code with the agent's
// own client and server of that protocol, so that both can be wrong only in different ways.
package kitgenix
