package render_test

import (
	"testing"

	"stocksync.dev/stocksync/internal/agent"
	"stocksync.dev/stocksync/internal/render"
)

// TestTheAgentReadsWhatIsRendered holds both ends of the configuration file together.
func TestTheAgentReadsWhatIsRendered(t *testing.T) {
	t.Parallel()
	top := topology(t, full)
	top.Spec.Master.WooCommerce.CABundleSecretKeyRef = nil
	secrets := render.SecretData{}
	for _, store := range []string{"hq", "fr", "de"} {
		secrets[store+"-rest"] = map[string][]byte{"consumerKey": []byte("ck_" + store), "consumerSecret": []byte("cs_" + store)}
	}
	config, err := render.NewConfig(top, children(t, "fr", "de"), secrets, nil)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := agent.Parse(config.File)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Problems) > 0 || parsed.Topology != "emea" || len(parsed.Stores) != 3 {
		t.Fatalf("the agent reads %+v", parsed)
	}
	for _, store := range parsed.Stores {
		if store.Invalid != nil || store.Settings == nil || store.Settings.WooCommerce.ConsumerKey != agent.Secret("ck_"+store.ID) {
			t.Errorf("store %s: %+v", store.ID, store)
		}
	}
}
