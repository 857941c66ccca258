package render_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stocksync.dev/stocksync/api/v1alpha1"
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

// TestTheAgentReadsRotatedSecretsAndLinks holds both ends together where plugins and Katana are.
func TestTheAgentReadsRotatedSecretsAndLinks(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	r.top.Spec.PublicURL = "https://sync.example.com"
	r.top.Spec.Master.WooCommerce.CABundleSecretKeyRef = nil
	for _, secret := range []string{"one", "two"} {
		all := of(secret)
		all["hq-rest"] = map[string]string{"consumerKey": "ck", "consumerSecret": "cs"}
		r.render(all)
	}
	parsed, err := agent.Parse(r.file)
	if err != nil {
		t.Fatal(err)
	}
	fr := parsed.Stores[1]
	if fr.Invalid != nil {
		t.Fatal(fr.Invalid)
	}
	want := []agent.SharedSecret{{Value: "two"}, {Value: "one", Until: r.now.Add(time.Hour)}}
	if diff := cmp.Diff(want, fr.Settings.Kitgenix.Secrets); diff != "" {
		t.Errorf("the agent believes (-want +got):\n%s", diff)
	}

	top, child := topology(t, minimal), children(t, "fr")
	top.Spec.Master.WooCommerce = nil
	top.Spec.Master.Katana = &v1alpha1.Katana{TokenSecretKeyRef: v1alpha1.SecretKeyReference{Name: "katana", Key: "token"}}
	child[0].Spec.Katana = &v1alpha1.ChildKatana{LocationID: 7, LinksConfigMapRef: &v1alpha1.LocalObjectReference{Name: "links"}}
	config, err := render.NewConfig(top, child, render.SecretData{"katana": {"token": []byte("t")}, "fr-rest": {"consumerKey": []byte("a"), "consumerSecret": []byte("b")}},
		render.ConfigMapData{"links": {"2101": "345"}})
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err = agent.Parse(config.File); err != nil {
		t.Fatal(err)
	}
	for _, s := range parsed.Stores {
		if s.Invalid != nil {
			t.Errorf("%s: %v", s.ID, s.Invalid)
		}
	}
	if s := parsed.Stores[1].Settings; s == nil || s.Supply.Links["2101"] != 345 || s.Supply.Location != "7" {
		t.Errorf("the agent reads %+v", s)
	}
}
