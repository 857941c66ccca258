// Command operator runs the StockSync operator: it keeps a sync agent running for every StockSyncTopology and writes
// what the agents say into the status of StockSyncTopologies and ChildStores.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the image has no time zones of its own, and schedules name them

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"stocksync.dev/stocksync/controllers"
	"stocksync.dev/stocksync/internal/render"
)

// version is set when the binary is linked.
var version = "dev"

// flags are the operator's settings.
type flags struct {
	agentImage     string
	namespace      string
	namespaces     namespaceList
	agentDial      string
	metricsAddress string
	healthAddress  string
	leaderElection bool
	heartbeat      time.Duration
	readInterval   time.Duration
	concurrency    int
	logLevel       slog.Level
}

// namespaceList is a flag that may be repeated; none means all.
type namespaceList []string

// String implements [flag.Value].
func (l *namespaceList) String() string { return strings.Join(*l, ",") }

// Set implements [flag.Value].
func (l *namespaceList) Set(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		switch wrong := validation.IsDNS1123Label(name); {
		case name == "" && names == "":
			return nil // an empty variable in a manifest
		case len(wrong) > 0:
			return fmt.Errorf("%q is no name of a namespace: %s", name, wrong[0])
		case !slices.Contains(*l, name):
			*l = append(*l, name)
		}
	}
	return nil
}

func main() {
	f, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: f.logLevel}))
		ctrl.SetLogger(log)
		klog.SetLogger(log)
		err = run(ctrl.SetupSignalHandler(), f, log)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func parseFlags(arguments []string, help io.Writer) (flags, error) {
	f := flags{}
	set := flag.NewFlagSet("operator", flag.ContinueOnError)
	set.SetOutput(help)
	set.StringVar(&f.agentImage, "agent-image", "", "Image of the sync agents whose topology names none. Required.")
	set.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"),
		"Namespace the operator's pod runs in, for leader election and the agents' NetworkPolicies; "+
			"the default is $POD_NAMESPACE. Empty means outside a cluster.")
	set.Var(&f.namespaces, "namespaces",
		"Namespaces whose topologies and stores this operator serves, separated by commas or by repeating the flag; "+
			"it then needs no right in any other. The default is all.")
	set.StringVar(&f.agentDial, "agent-dial", "DNS",
		"How agents are reached: DNS, by the name of their Service; or ServiceIP, by its cluster address, "+
			"for an operator outside the cluster on a machine that can reach Service addresses.")
	set.StringVar(&f.metricsAddress, "metrics-bind-address", ":8443",
		"Address of /metrics, over TLS to those whom the API server allows to get it; 0 switches it off.")
	set.StringVar(&f.healthAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	set.BoolVar(&f.leaderElection, "leader-elect", false, "Let one of several operators act at a time.")
	set.DurationVar(&f.heartbeat, "heartbeat-interval", controllers.DefaultPace.Heartbeat,
		"Time between two writes of a status in which nothing changed but the time of the last contact.")
	set.DurationVar(&f.readInterval, "agent-read-interval", controllers.DefaultReadInterval,
		"Time between two reads of an agent's status; after three failed ones its stores are Unknown.")
	set.IntVar(&f.concurrency, "concurrency", 4, "How many objects of a kind are reconciled at a time.")
	set.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "Least level that is logged: DEBUG, INFO, WARN or ERROR.")
	if err := set.Parse(arguments); err != nil {
		return f, err
	}
	switch {
	case set.NArg() > 0:
		return f, fmt.Errorf("unexpected argument %q; settings are flags, see --help", set.Arg(0))
	case f.agentImage == "":
		return f, errors.New("--agent-image must be set")
	case f.agentDial != "DNS" && f.agentDial != "ServiceIP":
		return f, fmt.Errorf("--agent-dial must be DNS or ServiceIP, not %q", f.agentDial)
	case f.heartbeat < time.Second || f.readInterval < time.Second:
		return f, errors.New("--heartbeat-interval and --agent-read-interval must be at least 1s")
	case f.concurrency < 1:
		return f, errors.New("--concurrency must be at least 1")
	}
	return f, nil
}

func run(ctx context.Context, f flags, log logr.Logger) error {
	scheme, err := controllers.NewScheme()
	if err != nil {
		return err
	}
	restConfig, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("no access to Kubernetes: %w", err)
	}
	options := controllers.ManagerOptions(scheme, f.namespaces)
	options.Logger = log
	options.Metrics = metricsserver.Options{
		BindAddress:    f.metricsAddress,
		SecureServing:  true,
		FilterProvider: filters.WithAuthenticationAndAuthorization,
		TLSOpts:        []func(*tls.Config){func(c *tls.Config) { c.MinVersion = tls.VersionTLS12 }},
	}
	options.HealthProbeBindAddress = f.healthAddress
	options.LeaderElection, options.LeaderElectionNamespace = f.leaderElection, f.namespace
	mgr, err := ctrl.NewManager(restConfig, options)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	reader := controllers.HTTPAgentReader{}
	if f.agentDial == "ServiceIP" {
		reader.Dial = dialServiceIP(mgr.GetAPIReader())
	}
	pace := controllers.Pace{Busy: min(controllers.DefaultPace.Busy, f.heartbeat), Heartbeat: f.heartbeat}
	if err := controllers.Setup(ctx, mgr, controllers.Options{
		Operator:    render.Operator{AgentImage: f.agentImage, Namespace: f.namespace},
		Agents:      controllers.NewAgents(reader, clock.RealClock{}, f.readInterval),
		Pace:        pace,
		Clock:       clock.RealClock{},
		Concurrency: f.concurrency,
	}); err != nil {
		return err
	}
	if err := controllers.RegisterMetrics(metrics.Registry, mgr.GetClient(), mgr.Elected()); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	log.Info("starting", "version", version, "agentImage", f.agentImage, "namespaces", f.namespaces.String(), "heartbeat", f.heartbeat.String())
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running: %w", err)
	}
	return nil
}

// dialServiceIP reaches <service>.<namespace>.svc by the Service's cluster address, without the cluster's DNS.
func dialServiceIP(reader client.Reader) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		name, rest, _ := strings.Cut(host, ".")
		namespace, _, _ := strings.Cut(rest, ".")
		service := &corev1.Service{}
		if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, service); err != nil {
			return nil, fmt.Errorf("looking for the agent's Service: %w", err)
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(service.Spec.ClusterIP, port))
	}
}
