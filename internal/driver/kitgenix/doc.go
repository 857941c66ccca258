// Package kitgenix speaks the protocol of the WordPress plugin "Kitgenix Stock Sync for WooCommerce", generations 1
// (1.0.x) and 2 (2.0.x): the signed requests of both sides, as server and as client. It knows nothing of pools or
// placements; who answers and what an event means is decided by its users.
//
// The plugin sends whole states, never differences, and signs the raw body with a secret shared by two stores. What it
// leaves open, and what real plugins accept all the same, is kept here in one place: PHP's way to write an empty map as a
// list, to turn SKUs of digits into numbers and to cast whatever it is given into a quantity.
package kitgenix
