package plugin

import (
	"testing"

	"stocksync.dev/stocksync/internal/agentapi"
)

// TestLinksAndNumbers: what is asked and printed where the stock comes from a source.
func TestLinksAndNumbers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.says("GET /v1/status", agentapi.Status{})
	w.agent.says("GET /v1/links", []agentapi.Link{{Store: "fr", ID: 345, Item: "2101", SKU: "TSHIRT-M", By: "Order"}})
	w.agent.says("POST /v1/links/set", agentapi.Closed{Count: 1})
	w.agent.says("POST /v1/links/remove", agentapi.Closed{Count: 1})
	w.transcript("link", "link", "link set fr 351 2102", "link remove fr 351", "link set fr 352 --sku TSHIRT-L", "link list -o json")
	wantAsked(t, w.agent, "GET /v1/links", `POST /v1/links/set {"store":"fr","id":351,"item":"2102"}`, `POST /v1/links/remove {"store":"fr","id":351}`,
		`POST /v1/links/set {"store":"fr","id":352,"sku":"TSHIRT-L"}`, "GET /v1/links")

	w.agent.says("GET /v1/numbers", []agentapi.Number{
		{SKU: "TSHIRT-M", Product: 345, Shown: 9, Wanted: 6, Known: true, Cursor: "1", Source: &agentapi.SourceNumber{Item: "2101", InStock: "10", Counted: "3", Committed: "5", Awaited: 1}},
		{SKU: "TSHIRT-L", Product: 346, Variation: 350, Shown: 2, Note: "not enrolled yet", Cursor: "2"},
	})
	w.agent.says("GET /v1/numbers?after=2&limit=1000&store=fr", []agentapi.Number{})
	w.transcript("export", "export fr", "export fr -o table")
	w.agent.took()

	w.transcript("link_mistakes", "link set fr", "link set fr TSHIRT-M 2101", "link set fr 345", "link set fr 345 2101 --sku TSHIRT-M", "link remove fr", "export", "export fr -o junit")
	wantAsked(t, w.agent)
}
