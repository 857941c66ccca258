package v1alpha1_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// TestIdentitySurvivesReCreation: the id plugins know is a fixed function of namespace and name, so it may never change
// with a new version either.
func TestIdentitySurvivesReCreation(t *testing.T) {
	t.Parallel()
	topology := func(namespace, name, uid string) *v1alpha1.StockSyncTopology {
		o := &v1alpha1.StockSyncTopology{}
		o.Namespace, o.Name = namespace, name
		o.SetUID(types.UID(uid))
		return o
	}
	first, again := topology("shops", "emea", "1"), topology("shops", "emea", "2")
	if got, want := first.IdentityStoreID(), "3414445a-7c67-589c-a7b3-4980ef19569c"; got != want {
		t.Errorf("identity of shops/emea is %s, and was %s", got, want)
	}
	if first.IdentityStoreID() != again.IdentityStoreID() {
		t.Error("a topology made again has another identity")
	}
	for _, other := range []*v1alpha1.StockSyncTopology{topology("shops", "apac", ""), topology("other", "emea", "")} {
		if other.IdentityStoreID() == first.IdentityStoreID() {
			t.Errorf("%s/%s has the identity of shops/emea", other.Namespace, other.Name)
		}
	}
	if topology("", "emea", "").IdentityStoreID() != topology("default", "emea", "").IdentityStoreID() {
		t.Error("a file without a namespace means default")
	}
	if first.IdentityName() != "emea" {
		t.Errorf("the name is %q, want the object's", first.IdentityName())
	}
	first.Spec.Identity = &v1alpha1.Identity{StoreID: anID, DisplayName: "Hub"}
	if first.IdentityStoreID() != anID || first.IdentityName() != "Hub" {
		t.Errorf("identity is %s %q, want what the spec says", first.IdentityStoreID(), first.IdentityName())
	}
}

// TestMisfits: what is valid alone and wrong together is told with the field to change.
func TestMisfits(t *testing.T) {
	t.Parallel()
	var (
		shop   = v1alpha1.StockSyncTopologySpec{PublicURL: "https://sync.example.com", Master: v1alpha1.Master{WooCommerce: &v1alpha1.WooCommerce{}}}
		katana = v1alpha1.StockSyncTopologySpec{Master: v1alpha1.Master{Katana: &v1alpha1.Katana{}}}
		closed = v1alpha1.StockSyncTopologySpec{Master: v1alpha1.Master{WooCommerce: &v1alpha1.WooCommerce{}}}

		rest    = v1alpha1.ChildStoreSpec{WooCommerce: &v1alpha1.WooCommerce{}}
		plugin  = v1alpha1.ChildStoreSpec{Kitgenix: &v1alpha1.Kitgenix{RemoteStoreID: otherID}}
		located = v1alpha1.ChildStoreSpec{WooCommerce: &v1alpha1.WooCommerce{}, Katana: &v1alpha1.ChildKatana{LocationID: 1}}
		edited  = v1alpha1.ChildStoreSpec{EditPolicy: v1alpha1.EditPolicyCount, Katana: &v1alpha1.ChildKatana{LocationID: 1}}
		itself  = v1alpha1.ChildStoreSpec{Kitgenix: &v1alpha1.Kitgenix{RemoteStoreID: anID}}
	)
	shop.Identity = &v1alpha1.Identity{StoreID: anID}
	for name, c := range map[string]struct {
		topology v1alpha1.StockSyncTopologySpec
		child    v1alpha1.ChildStoreSpec
		want     string
	}{
		"a shop":                         {shop, rest, ""},
		"a plugin":                       {shop, plugin, ""},
		"a shop of Katana":               {katana, located, ""},
		"no location":                    {katana, rest, "spec.katana: must be given, with `locationID`"},
		"a plugin alone under Katana":    {katana, plugin, "spec.kitgenix: must be omitted"},
		"a location without Katana":      {shop, located, "spec.katana: must be omitted"},
		"an edit policy under Katana":    {katana, edited, "spec.editPolicy: must be omitted"},
		"a plugin that cannot reach us":  {closed, plugin, "must have `publicURL`"},
		"a plugin with our own identity": {shop, itself, "must differ from the topology's own id"},
	} {
		topology, child := &v1alpha1.StockSyncTopology{Spec: c.topology}, &v1alpha1.ChildStore{Spec: c.child}
		if got := child.Misfit(topology); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	shop.Master = v1alpha1.Master{Kitgenix: &v1alpha1.Kitgenix{RemoteStoreID: anID}}
	if got := (&v1alpha1.StockSyncTopology{Spec: shop}).Misfit(); !strings.Contains(got, "must differ from the topology's own id") {
		t.Errorf("a master with our own identity: %q", got)
	}
}
