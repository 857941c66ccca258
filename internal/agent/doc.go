// Package agent wires the sync agent: it reads the configuration and follows its changes, serves webhooks,
// status, metrics and probes, keeps the webhooks of the stores alive, and runs the engine over its ledger.
// What is decided about stock is decided below, in packages engine and stock.
package agent
