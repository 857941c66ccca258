package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
)

func at(second int) metav1.Time { return metav1.NewTime(time.Unix(int64(second), 0)) }

func topologyAt(second int, name, url string) v1alpha1.StockSyncTopology {
	return v1alpha1.StockSyncTopology{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: at(second)},
		Spec: v1alpha1.StockSyncTopologySpec{Master: v1alpha1.Master{
			StoreID: "hq", WooCommerce: &v1alpha1.WooCommerce{URL: url}}},
	}
}

func childAt(second int, name, topology, url string) v1alpha1.ChildStore {
	return v1alpha1.ChildStore{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: at(second)},
		Spec: v1alpha1.ChildStoreSpec{
			TopologyRef: v1alpha1.TopologyReference{Name: topology},
			WooCommerce: &v1alpha1.WooCommerce{URL: url}},
	}
}

func withStoreID(c v1alpha1.ChildStore, id string) v1alpha1.ChildStore {
	c.Spec.StoreID = id
	return c
}

// withPlugin gives the child a plugin; without a URL of REST it is the only way in.
func withPlugin(c v1alpha1.ChildStore, url, id string) v1alpha1.ChildStore {
	if c.Spec.WooCommerce.URL == "" {
		c.Spec.WooCommerce = nil
	}
	c.Spec.Kitgenix = &v1alpha1.Kitgenix{URL: url, RemoteStoreID: id}
	return c
}

func ofKatana(t v1alpha1.StockSyncTopology) v1alpha1.StockSyncTopology {
	t.Spec.Master.WooCommerce, t.Spec.Master.Katana = nil, &v1alpha1.Katana{}
	return t
}

func TestJudge(t *testing.T) {
	t.Parallel()
	emea, apac := topologyAt(10, "emea", "https://hq.example.com"), topologyAt(20, "apac", "https://hq2.example.com")
	cases := []struct {
		name       string
		topologies []v1alpha1.StockSyncTopology
		children   []v1alpha1.ChildStore
		want       map[string]string // what is not accepted, and why
	}{
		{"all different",
			[]v1alpha1.StockSyncTopology{emea, apac},
			[]v1alpha1.ChildStore{childAt(11, "fr", "emea", "https://fr.example.com"), childAt(12, "de", "emea", "https://de.example.com")},
			nil},
		{"one storeID twice: the older stays",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{withStoreID(childAt(12, "a", "emea", "https://a.example.com"), "fr"), childAt(11, "fr", "emea", "https://fr.example.com")},
			map[string]string{"ChildStore a": v1alpha1.ReasonDuplicateStoreID}},
		{"a tie goes by name",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{withStoreID(childAt(11, "b", "emea", "https://b.example.com"), "x"), withStoreID(childAt(11, "a", "emea", "https://a.example.com"), "x")},
			map[string]string{"ChildStore b": v1alpha1.ReasonDuplicateStoreID}},
		{"a plugin has the URL of another shop",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{childAt(11, "fr", "emea", "https://fr.example.com"), withPlugin(childAt(12, "a", "emea", ""), "https://FR.example.com/", "1")},
			map[string]string{"ChildStore a": v1alpha1.ReasonDuplicateURL}},
		{"a plugin beside REST keys has the shop's own URL",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{withPlugin(childAt(11, "fr", "emea", "https://fr.example.com"), "https://fr.example.com/", "1")},
			nil},
		{"a plugin has the master's URL",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{withPlugin(childAt(11, "fr", "emea", "https://fr.example.com"), "https://hq.example.com", "1")},
			map[string]string{"ChildStore fr": v1alpha1.ReasonDuplicateURL}},
		{"one plugin twice: the older stays",
			[]v1alpha1.StockSyncTopology{emea, apac},
			[]v1alpha1.ChildStore{withPlugin(childAt(12, "a", "emea", ""), "https://a.example.com", "1"), withPlugin(childAt(11, "b", "emea", ""), "https://b.example.com", "1"), withPlugin(childAt(30, "c", "apac", ""), "https://c.example.com", "1")},
			map[string]string{"ChildStore a": v1alpha1.ReasonDuplicateRemoteStoreID}},
		{"two topologies of one Katana account",
			[]v1alpha1.StockSyncTopology{ofKatana(emea), ofKatana(apac)},
			[]v1alpha1.ChildStore{childAt(11, "fr", "emea", "https://fr.example.com"), childAt(21, "de", "apac", "https://de.example.com")},
			nil},
		{"one storeID in two topologies is fine",
			[]v1alpha1.StockSyncTopology{emea, apac},
			[]v1alpha1.ChildStore{withStoreID(childAt(21, "a", "emea", "https://a.example.com"), "x"), withStoreID(childAt(21, "b", "apac", "https://b.example.com"), "x")},
			nil},
		{"the master's storeID",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{childAt(1, "hq", "emea", "https://fr.example.com")},
			map[string]string{"ChildStore hq": v1alpha1.ReasonDuplicateStoreID}},
		{"one URL twice, spelled differently, across topologies",
			[]v1alpha1.StockSyncTopology{emea, apac},
			[]v1alpha1.ChildStore{childAt(11, "fr", "emea", "https://FR.example.com:443/shop/"), childAt(12, "jp", "apac", "http://fr.example.com/shop")},
			map[string]string{"ChildStore jp": v1alpha1.ReasonDuplicateURL}},
		{"two shops on one host",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{childAt(11, "fr", "emea", "https://example.com/fr"), childAt(12, "de", "emea", "https://example.com/de"), childAt(13, "it", "emea", "https://example.com:8443/de")},
			nil},
		{"a master's URL as a child, older than the topology: the master stays",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{childAt(1, "fr", "emea", "https://hq.example.com/")},
			map[string]string{"ChildStore fr": v1alpha1.ReasonDuplicateURL}},
		{"a topology whose master is an older child elsewhere, and its children",
			[]v1alpha1.StockSyncTopology{emea, topologyAt(30, "late", "https://fr.example.com")},
			[]v1alpha1.ChildStore{childAt(11, "fr", "emea", "https://fr.example.com"), childAt(31, "x", "late", "https://x.example.com"), childAt(32, "y", "emea", "https://x.example.com")},
			map[string]string{"StockSyncTopology late": v1alpha1.ReasonDuplicateURL, "ChildStore x": v1alpha1.ReasonTopologyNotAccepted}},
		{"no topology, and its URL stays free",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{childAt(1, "lost", "gone", "https://fr.example.com"), childAt(11, "fr", "emea", "https://fr.example.com")},
			map[string]string{"ChildStore lost": v1alpha1.ReasonTopologyNotFound}},
		{"what is not accepted claims nothing",
			[]v1alpha1.StockSyncTopology{emea},
			[]v1alpha1.ChildStore{childAt(11, "a", "emea", "https://a.example.com"), withStoreID(childAt(12, "b", "emea", "https://b.example.com"), "a"), childAt(13, "c", "emea", "https://b.example.com")},
			map[string]string{"ChildStore b": v1alpha1.ReasonDuplicateStoreID}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := judge(c.topologies, c.children)
			got := map[string]string{}
			for name, verdict := range v.topologies {
				if !verdict.accepted() {
					got["StockSyncTopology "+name] = verdict.reason
				}
			}
			for name, verdict := range v.children {
				if !verdict.accepted() {
					got["ChildStore "+name] = verdict.reason
					if verdict.message == "" || strings.Contains(verdict.message, "%!") {
						t.Errorf("message %q", verdict.message)
					}
				}
			}
			if len(c.want) == 0 {
				c.want = map[string]string{}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("not accepted (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJudgeForgetsWhatIsBeingDeleted(t *testing.T) {
	t.Parallel()
	now := at(50)
	going := childAt(1, "fr", "emea", "https://fr.example.com")
	going.DeletionTimestamp = &now
	v := judge([]v1alpha1.StockSyncTopology{topologyAt(1, "emea", "https://hq.example.com")},
		[]v1alpha1.ChildStore{going, childAt(40, "fr2", "emea", "https://fr.example.com")})
	if got := v.children["fr2"]; !got.accepted() {
		t.Errorf("fr2 is held back by an object that is going: %v", got)
	}
}
