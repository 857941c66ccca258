package controllers

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// verdict says why an object is not accepted beside its neighbours; a zero verdict accepts it.
type verdict struct{ reason, message string }

func (v verdict) accepted() bool { return v.reason == "" }

// verdicts of one namespace, by name.
type verdicts struct {
	topologies map[string]verdict
	children   map[string]verdict
}

// claimant is an object that claims URLs, and within its topology a storeID and the id of a plugin.
type claimant struct {
	kind, name, topology string
	since                time.Time
	storeID              string
	urls                 []string
	plugin               string // the id of its plugin; empty where it has none
}

// judge decides, for one namespace, which objects may run. Of two that claim the same URL, or the same storeID in
// one topology, the older keeps running; ties go by name. A child is as old as the younger of itself and its
// topology, because without that it could not run; so a master always precedes its own children.
func judge(topologies []v1alpha1.StockSyncTopology, children []v1alpha1.ChildStore) verdicts {
	v := verdicts{topologies: map[string]verdict{}, children: map[string]verdict{}}
	var claimants []claimant
	since := map[string]time.Time{}
	for i := range topologies {
		t := &topologies[i]
		if t.DeletionTimestamp != nil {
			continue
		}
		since[t.Name] = t.CreationTimestamp.Time
		claimants = append(claimants, claimant{
			kind: v1alpha1.KindStockSyncTopology, name: t.Name, topology: t.Name, since: t.CreationTimestamp.Time,
			storeID: t.Spec.Master.StoreID, urls: masterURLs(t), plugin: pluginID(t.Spec.Master.Kitgenix),
		})
	}
	for i := range children {
		c := &children[i]
		if c.DeletionTimestamp != nil {
			continue
		}
		topology := c.Spec.TopologyRef.Name
		began, found := since[topology]
		if !found {
			v.children[c.Name] = verdict{v1alpha1.ReasonTopologyNotFound, fmt.Sprintf(
				"there is no StockSyncTopology %s in this namespace; create it, or make the ChildStore again with another `topologyRef`", topology)}
			continue
		}
		if c.CreationTimestamp.After(began) {
			began = c.CreationTimestamp.Time
		}
		claimants = append(claimants, claimant{
			kind: v1alpha1.KindChildStore, name: c.Name, topology: topology, since: began,
			storeID: c.EffectiveStoreID(), urls: childURLs(c), plugin: pluginID(c.Spec.Kitgenix),
		})
	}
	slices.SortFunc(claimants, func(a, b claimant) int {
		return cmp.Or(
			a.since.Compare(b.since),
			-strings.Compare(a.kind, b.kind), // StockSyncTopology before ChildStore
			strings.Compare(a.name, b.name),
		)
	})
	type idInTopology struct{ topology, id string }
	urls, ids, plugins := map[string]claimant{}, map[idInTopology]claimant{}, map[idInTopology]claimant{}
	for _, c := range claimants {
		got := verdict{}
		id, plugin := idInTopology{c.topology, c.storeID}, idInTopology{c.topology, c.plugin}
		if own := v.topologies[c.topology]; c.kind == v1alpha1.KindChildStore && !own.accepted() {
			got = verdict{v1alpha1.ReasonTopologyNotAccepted, fmt.Sprintf("StockSyncTopology %s is not accepted itself; see its condition Accepted", c.topology)}
		} else if other, taken := ids[id]; taken {
			got = verdict{v1alpha1.ReasonDuplicateStoreID, fmt.Sprintf("%s %s has the storeID %s already; a storeID must be used once in a topology", other.kind, other.name, c.storeID)}
		} else if i := slices.IndexFunc(c.urls, func(url string) bool { _, taken := urls[url]; return taken }); i >= 0 {
			other := urls[c.urls[i]]
			got = verdict{v1alpha1.ReasonDuplicateURL, fmt.Sprintf("%s %s has this URL already; a store must be named once in a namespace", other.kind, other.name)}
		} else if other, taken := plugins[plugin]; taken && c.plugin != "" {
			got = verdict{v1alpha1.ReasonDuplicateRemoteStoreID, fmt.Sprintf("%s %s has this `remoteStoreID` already; a plugin must be named once in a topology", other.kind, other.name)}
		} else {
			ids[id], plugins[plugin] = c, c
			for _, url := range c.urls {
				urls[url] = c
			}
		}
		if c.kind == v1alpha1.KindStockSyncTopology {
			v.topologies[c.name] = got
		} else {
			v.children[c.name] = got
		}
	}
	return v
}

// masterURLs and childURLs are where the shop is, each address once. Katana is no shop: topologies may share an account.
func masterURLs(t *v1alpha1.StockSyncTopology) []string {
	return shopURLs(t.Spec.Master.WooCommerce, t.Spec.Master.Kitgenix)
}

func childURLs(c *v1alpha1.ChildStore) []string {
	return shopURLs(c.Spec.WooCommerce, c.Spec.Kitgenix)
}

func shopURLs(w *v1alpha1.WooCommerce, k *v1alpha1.Kitgenix) []string {
	var urls []string
	if w != nil {
		urls = append(urls, storeURL(w.URL))
	}
	if k != nil && !slices.Contains(urls, storeURL(k.URL)) {
		urls = append(urls, storeURL(k.URL))
	}
	return urls
}

func pluginID(k *v1alpha1.Kitgenix) string {
	if k == nil {
		return ""
	}
	return k.RemoteStoreID
}

// storeURL is the part of a store's address that tells stores apart: host in lower case, port unless it is the
// scheme's own, path without the closing slash. The scheme is no part of it: http and https lead to one shop.
func storeURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)] {
		host += ":" + port
	}
	return host + strings.TrimRight(u.Path, "/")
}
