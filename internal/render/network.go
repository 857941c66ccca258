package render

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
)

// Names of the container's ports.
const (
	portPublic  = "public"
	portPrivate = "private"
	portMetrics = "metrics"
)

// publicServicePort is 80 because WooCommerce delivers webhooks to ports 80, 443 and 8080 only.
const publicServicePort = 80

// PublicService leads stores, or the Ingress, to the agent's public port.
func PublicService(t *v1alpha1.StockSyncTopology) *coreac.ServiceApplyConfiguration {
	return service(t, NamesOf(t.Name).PublicService, portPublic, publicServicePort)
}

// PrivateService leads the operator to the agent's private port, also while the agent is not ready: then the
// operator wants to know why.
func PrivateService(t *v1alpha1.StockSyncTopology) *coreac.ServiceApplyConfiguration {
	s := service(t, NamesOf(t.Name).PrivateService, portPrivate, agentapi.PrivatePort)
	s.Spec.WithPublishNotReadyAddresses(true)
	return s
}

// MetricsService leads Prometheus to the agent's metrics.
func MetricsService(t *v1alpha1.StockSyncTopology) *coreac.ServiceApplyConfiguration {
	return service(t, NamesOf(t.Name).MetricsService, portMetrics, agentapi.MetricsPort)
}

func service(t *v1alpha1.StockSyncTopology, name, port string, number int32) *coreac.ServiceApplyConfiguration {
	return coreac.Service(name, t.Namespace).
		WithLabels(labels(t)).
		WithOwnerReferences(owner(t)).
		WithSpec(coreac.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithSelector(selector(t)).
			WithPorts(coreac.ServicePort().
				WithName(port).
				WithPort(number).
				WithProtocol(corev1.ProtocolTCP).
				WithTargetPort(intstr.FromString(port))))
}

// NetworkPolicy opens each of the agent's ports to its own peers: the public one to all, the private one to the
// operator and the topology's Jobs, metrics to namespaces labelled `metrics: enabled`. Outward the agent may resolve names and reach
// stores anywhere over TCP, but not the link-local addresses where clouds keep their credentials.
func NetworkPolicy(t *v1alpha1.StockSyncTopology, operator Operator) *networkingac.NetworkPolicyApplyConfiguration {
	private := networkingac.NetworkPolicyIngressRule().WithPorts(policyPort(corev1.ProtocolTCP, agentapi.PrivatePort))
	if operator.Namespace != "" {
		private.WithFrom(networkingac.NetworkPolicyPeer().
			WithNamespaceSelector(metaac.LabelSelector().
				WithMatchLabels(map[string]string{corev1.LabelMetadataName: operator.Namespace})).
			WithPodSelector(metaac.LabelSelector().WithMatchLabels(OperatorPodLabels)),
			networkingac.NetworkPolicyPeer().
				WithPodSelector(metaac.LabelSelector().WithMatchLabels(toolSelector(t))))
	}
	return networkingac.NetworkPolicy(NamesOf(t.Name).Workload, t.Namespace).
		WithLabels(labels(t)).
		WithOwnerReferences(owner(t)).
		WithSpec(networkingac.NetworkPolicySpec().
			WithPodSelector(metaac.LabelSelector().WithMatchLabels(selector(t))).
			WithPolicyTypes(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress).
			WithIngress(
				networkingac.NetworkPolicyIngressRule().WithPorts(policyPort(corev1.ProtocolTCP, agentapi.PublicPort)),
				private,
				networkingac.NetworkPolicyIngressRule().
					WithPorts(policyPort(corev1.ProtocolTCP, agentapi.MetricsPort)).
					WithFrom(networkingac.NetworkPolicyPeer().
						WithNamespaceSelector(metaac.LabelSelector().
							WithMatchLabels(map[string]string{"metrics": "enabled"}))),
			).
			WithEgress(
				networkingac.NetworkPolicyEgressRule().WithPorts(
					policyPort(corev1.ProtocolUDP, 53), policyPort(corev1.ProtocolTCP, 53)),
				networkingac.NetworkPolicyEgressRule().
					WithPorts(networkingac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP)).
					WithTo(
						networkingac.NetworkPolicyPeer().WithIPBlock(networkingac.IPBlock().
							WithCIDR("0.0.0.0/0").WithExcept("169.254.0.0/16")),
						networkingac.NetworkPolicyPeer().WithIPBlock(networkingac.IPBlock().
							WithCIDR("::/0").WithExcept("fe80::/10", "fd00:ec2::/32")),
					),
			))
}

func policyPort(protocol corev1.Protocol, number int) *networkingac.NetworkPolicyPortApplyConfiguration {
	return networkingac.NetworkPolicyPort().WithProtocol(protocol).WithPort(intstr.FromInt(number))
}

// Ingress leads the host of publicURL, and the paths below it that the stores of this topology call, to the agent's
// public port; nil when the topology asks for none.
func Ingress(t *v1alpha1.StockSyncTopology, children []*v1alpha1.ChildStore) (*networkingac.IngressApplyConfiguration, error) {
	if t.Spec.Agent == nil || t.Spec.Agent.Exposure == nil || t.Spec.Agent.Exposure.Ingress == nil {
		return nil, nil
	}
	want := t.Spec.Agent.Exposure.Ingress
	public, err := url.Parse(t.Spec.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("reading publicURL: %w", err)
	}
	backend := networkingac.IngressBackend().WithService(networkingac.IngressServiceBackend().
		WithName(NamesOf(t.Name).PublicService).
		WithPort(networkingac.ServiceBackendPort().WithName(portPublic)))
	rule := networkingac.HTTPIngressRuleValue()
	for _, path := range publicPaths(t, children) {
		rule.WithPaths(networkingac.HTTPIngressPath().
			WithPath(strings.TrimRight(public.Path, "/") + path).
			WithPathType(networkingv1.PathTypePrefix).
			WithBackend(backend))
	}
	spec := networkingac.IngressSpec().WithRules(networkingac.IngressRule().WithHost(public.Hostname()).WithHTTP(rule))
	if want.ClassName != "" {
		spec.WithIngressClassName(want.ClassName)
	}
	if want.TLSSecretRef != nil {
		spec.WithTLS(networkingac.IngressTLS().WithHosts(public.Hostname()).WithSecretName(want.TLSSecretRef.Name))
	}
	return networkingac.Ingress(NamesOf(t.Name).Workload, t.Namespace).
		WithLabels(labels(t)).
		WithAnnotations(want.Annotations).
		WithOwnerReferences(owner(t)).
		WithSpec(spec), nil
}

// publicPaths are what the stores of the topology call at the agent's public port.
func publicPaths(t *v1alpha1.StockSyncTopology, children []*v1alpha1.ChildStore) []string {
	paths := []string{agentapi.WebhookPathPrefix}
	if t.Spec.Master.Katana != nil {
		paths = append(paths, agentapi.KatanaWebhookPath)
	}
	if t.Spec.Master.Kitgenix != nil || slices.ContainsFunc(children, func(c *v1alpha1.ChildStore) bool { return c.Spec.Kitgenix != nil }) {
		paths = append(paths, agentapi.PluginPathPrefix)
	}
	return paths
}
