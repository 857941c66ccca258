package render_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/render"
)

// peer is the other end of a connection: a pod in a namespace, or an address.
type peer struct {
	namespace map[string]string
	pod       map[string]string
	address   string
}

var (
	operatorPod = peer{namespace: map[string]string{corev1.LabelMetadataName: "stocksync-system"},
		pod: map[string]string{"app.kubernetes.io/name": "stocksync-operator", "pod-template-hash": "x"}}
	impostor = peer{namespace: map[string]string{corev1.LabelMetadataName: "shops"},
		pod: map[string]string{"app.kubernetes.io/name": "stocksync-operator"}}
	neighbour = peer{namespace: map[string]string{corev1.LabelMetadataName: "stocksync-system"},
		pod: map[string]string{"app": "other"}}
	prometheus = peer{namespace: map[string]string{corev1.LabelMetadataName: "monitoring", "metrics": "enabled"}}
	internet   = peer{address: "203.0.113.9"}
	internet6  = peer{address: "2001:db8::9"}
	inCluster  = peer{address: "10.96.0.10"}
	cloudKeys  = peer{address: "169.254.169.254"}
	cloudKeys6 = peer{address: "fd00:ec2::254"}
)

// TestNetworkPolicyOpensEachPortToItsPeers evaluates the policy as a network plugin would.
func TestNetworkPolicyOpensEachPortToItsPeers(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, operator)
	sel, err := metav1.LabelSelectorAsSelector(&policy.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	sts := render.StatefulSet(topology(t, minimal), operator)
	if !sel.Matches(labels.Set(sts.Spec.Template.Labels)) {
		t.Fatal("the policy does not select the agent's pod")
	}
	type try struct {
		peer     peer
		protocol corev1.Protocol
		port     int32
	}
	tcp, udp := corev1.ProtocolTCP, corev1.ProtocolUDP
	for _, c := range []struct {
		name string
		try  try
		want bool
	}{
		{"store to public", try{internet, tcp, 8080}, true},
		{"pod to public", try{neighbour, tcp, 8080}, true},
		{"operator to private", try{operatorPod, tcp, 8443}, true},
		{"neighbour to private", try{neighbour, tcp, 8443}, false},
		{"impostor to private", try{impostor, tcp, 8443}, false},
		{"store to private", try{internet, tcp, 8443}, false},
		{"prometheus to metrics", try{prometheus, tcp, 9090}, true},
		{"store to metrics", try{internet, tcp, 9090}, false},
		{"neighbour to metrics", try{neighbour, tcp, 9090}, false},
		{"anyone elsewhere", try{internet, tcp, 22}, false},
	} {
		got := false
		for _, rule := range policy.Ingress {
			got = got || (allowsPort(rule.Ports, c.try.protocol, c.try.port) && allowsPeer(t, rule.From, c.try.peer))
		}
		if got != c.want {
			t.Errorf("ingress, %s: allowed %v, want %v", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name string
		try  try
		want bool
	}{
		{"store", try{internet, tcp, 443}, true},
		{"store, IPv6", try{internet6, tcp, 8443}, true},
		{"store in the cluster", try{inCluster, tcp, 80}, true},
		{"DNS", try{inCluster, udp, 53}, true},
		{"DNS over TCP", try{inCluster, tcp, 53}, true},
		{"cloud credentials", try{cloudKeys, tcp, 80}, false},
		{"cloud credentials, IPv6", try{cloudKeys6, tcp, 80}, false},
		{"other UDP", try{internet, udp, 123}, false},
	} {
		got := false
		for _, rule := range policy.Egress {
			got = got || (allowsPort(rule.Ports, c.try.protocol, c.try.port) && allowsPeer(t, rule.To, c.try.peer))
		}
		if got != c.want {
			t.Errorf("egress, %s: allowed %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNetworkPolicyOfAnOperatorOutsideTheCluster(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, render.Operator{AgentImage: "x"})
	for _, rule := range policy.Ingress {
		if allowsPort(rule.Ports, corev1.ProtocolTCP, 8443) && allowsPeer(t, rule.From, internet) {
			return
		}
	}
	t.Error("an operator outside the cluster cannot reach the private port")
}

func policyOf(t *testing.T, operator render.Operator) networkingv1.NetworkPolicySpec {
	t.Helper()
	text, err := yaml.Marshal(render.NetworkPolicy(topology(t, minimal), operator))
	if err != nil {
		t.Fatal(err)
	}
	return read[networkingv1.NetworkPolicy](t, string(text)).Spec
}

func allowsPort(ports []networkingv1.NetworkPolicyPort, protocol corev1.Protocol, port int32) bool {
	for _, p := range ports {
		if *p.Protocol == protocol && (p.Port == nil || p.Port.IntVal == port) {
			return true
		}
	}
	return len(ports) == 0
}

func allowsPeer(t *testing.T, peers []networkingv1.NetworkPolicyPeer, other peer) bool {
	t.Helper()
	matches := func(selector *metav1.LabelSelector, set map[string]string) bool {
		if selector == nil {
			return true
		}
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		return s.Matches(labels.Set(set))
	}
	for _, p := range peers {
		if p.IPBlock != nil {
			if other.address == "" {
				continue
			}
			address := netip.MustParseAddr(other.address)
			inside := netip.MustParsePrefix(p.IPBlock.CIDR).Contains(address)
			for _, except := range p.IPBlock.Except {
				inside = inside && !netip.MustParsePrefix(except).Contains(address)
			}
			if inside {
				return true
			}
			continue
		}
		if other.address == "" && matches(p.NamespaceSelector, other.namespace) && matches(p.PodSelector, other.pod) {
			return true
		}
	}
	return len(peers) == 0
}

// TestIngressOpensWhatStoresCall: below the path of publicURL, and nothing that no store of this topology calls.
func TestIngressOpensWhatStoresCall(t *testing.T) {
	t.Parallel()
	plain, plugin := children(t, "fr"), children(t, "fr")
	plugin[0].Spec.Kitgenix = &v1alpha1.Kitgenix{}
	woocommerce, kitgenix := full, strings.Replace(full, "    woocommerce:\n", "    kitgenix: {}\n    woocommerce:\n", 1)
	katana := full[:strings.Index(full, "    woocommerce:")] + "    katana: {}\n" + full[strings.Index(full, "  exclusions:"):]
	for name, c := range map[string]struct {
		manifest, path string
		children       []*v1alpha1.ChildStore
		want           []string
	}{
		"shops":           {woocommerce, "", plain, []string{"/webhooks/woocommerce/"}},
		"a shared host":   {woocommerce, "/emea/", plain, []string{"/emea/webhooks/woocommerce/"}},
		"a child plugin":  {woocommerce, "/emea", plugin, []string{"/emea/webhooks/woocommerce/", "/emea/wp-json/kitgenix-stock-sync/v1"}},
		"a master plugin": {kitgenix, "", plain, []string{"/webhooks/woocommerce/", "/wp-json/kitgenix-stock-sync/v1"}},
		"Katana":          {katana, "", plain, []string{"/webhooks/woocommerce/", "/webhooks/katana"}},
	} {
		top := topology(t, strings.Replace(c.manifest, "sync.example.com", "sync.example.com"+c.path, 1))
		ingress, err := render.Ingress(top, c.children)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, path := range ingress.Spec.Rules[0].HTTP.Paths {
			got = append(got, *path.Path)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
