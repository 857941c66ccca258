package node

import (
	"net/netip"
	"strings"
	"testing"
)

func TestEveryFileIsFilledIn(t *testing.T) {
	t.Parallel()
	n := &Node{Dir: "/state"}
	for _, name := range []string{"containerd.toml", "cni.conflist", "kubelet.yaml", "kube-proxy.yaml", "audit.yaml", "Corefile", "base.yaml"} {
		b, err := n.render(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if text := string(b); strings.Contains(text, "{{") || strings.Contains(text, "no value") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// A program without arguments would listen on every address and trust everybody.
func TestEveryProgramHasItsArguments(t *testing.T) {
	t.Parallel()
	n := &Node{Dir: "/state"}
	for _, name := range everything() {
		if len(n.args(name)) == 0 {
			t.Errorf("%s has none", name)
		}
	}
}

func TestAddressesDoNotOverlap(t *testing.T) {
	t.Parallel()
	pods, services := netip.MustParsePrefix(PodCIDR), netip.MustParsePrefix(ServiceCIDR)
	node, api := netip.MustParseAddr(NodeIP), netip.MustParseAddr(apiIP)
	if pods.Overlaps(services) || pods.Contains(node) || services.Contains(node) || !services.Contains(api) {
		t.Errorf("pods %s, services %s, node %s, API server %s", pods, services, node, api)
	}
}
