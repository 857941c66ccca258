// Package plugin is `kubectl stocksync`: it asks the agent of a StockSyncTopology, reached through the API server's
// port-forward with nothing but the rights of whoever runs it, and shows what the operator wrote where the agent
// cannot be asked.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentclient"
	"stocksync.dev/stocksync/internal/report"
)

// Options are what the command is given from outside.
type Options struct {
	// Version is what `version` prints.
	Version string
	// Now is the clock against which ages are told.
	Now func() time.Time
}

// ExitError ends the program with a code and no further word: what there is to say was printed.
type ExitError struct {
	// Code is one of the exit codes of package report.
	Code int
}

// Error implements error.
func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// tool is one invocation: the global flags, and what the commands share.
type tool struct {
	Options
	kubeconfig clientcmd.ClientConfig
	overrides  clientcmd.ConfigOverrides
	topology   string
	output     string
}

// NewCommand makes the command with all its subcommands.
func NewCommand(o Options) *cobra.Command {
	t := &tool{Options: o}
	root := &cobra.Command{
		Use:         "kubectl-stocksync",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl stocksync"},
		Short:       "Ask and steer the sync agents of StockSync",
		Long: `Tells how the stores of a StockSyncTopology are, why a SKU's number is what it is, and what waits for a
person; reconciles, audits and settles.

It forwards a port to the agent through the API server with your own rights, and needs no other network access.
Looking takes the role TOPOLOGY-tools-read of the topology's namespace, changing anything the role TOPOLOGY-tools.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noMore,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	t.globalFlags(root)
	root.AddGroup(&cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "act", Title: "Act:"})
	root.AddCommand(in("look", t.status(), t.ping(), t.pair(), t.audit(), t.history(), t.events(), t.runs(), t.export())...)
	root.AddCommand(in("act", t.push(), t.reconcile(), t.conflicts(), t.backlog(), t.breaker(), t.linking(), t.forget())...)
	root.AddCommand(&cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), o.Version) },
	})
	return root
}

func in(group string, commands ...*cobra.Command) []*cobra.Command {
	for _, c := range commands {
		c.GroupID = group
	}
	return commands
}

// globalFlags are those of kubectl that choose cluster, namespace and user, and ours.
func (t *tool) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	f.StringVar(&rules.ExplicitPath, "kubeconfig", "", "`file` with the clusters; without it $KUBECONFIG or ~/.kube/config")
	all := clientcmd.RecommendedConfigOverrideFlags("")
	clientcmd.BindOverrideFlags(&t.overrides, f, clientcmd.ConfigOverrideFlags{
		CurrentContext:       all.CurrentContext,
		ContextOverrideFlags: all.ContextOverrideFlags,
		AuthOverrideFlags: clientcmd.AuthOverrideFlags{
			Impersonate: all.AuthOverrideFlags.Impersonate, ImpersonateGroups: all.AuthOverrideFlags.ImpersonateGroups},
	})
	t.kubeconfig = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &t.overrides)
	f.StringVarP(&t.topology, "topology", "t", "", "`name` of the StockSyncTopology; may be left out where the namespace has one")
	f.StringVarP(&t.output, "output", "o", string(report.Table), "`format`: table, json or yaml")
	complete(root, "topology", t.completeTopologies)
	complete(root, "output", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, format := range formats(cmd) {
			names = append(names, string(format))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// complete adds the completion of a flag. It fails only where the flag does not exist, which every run would show.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return err }
	}
}

func formats(cmd *cobra.Command) []report.Format {
	switch cmd.Name() {
	case "audit":
		return report.AuditFormats
	case "export":
		return report.ExportFormats
	}
	return report.Formats
}

// printer prints to the command's output in the wanted format. The advice it gives can be typed as it stands.
func (t *tool) printer(cmd *cobra.Command) (report.Printer, error) {
	format, err := report.ParseFormat(t.output, formats(cmd))
	if err != nil {
		return report.Printer{}, err
	}
	return report.Printer{Out: cmd.OutOrStdout(), Format: format, Command: "kubectl stocksync" + t.chosen()}, nil
}

// chosen repeats the flags that chose the topology.
func (t *tool) chosen() string {
	out := ""
	if context := t.overrides.CurrentContext; context != "" {
		out += " --context " + context
	}
	if namespace := t.overrides.Context.Namespace; namespace != "" {
		out += " -n " + namespace
	}
	if t.topology != "" {
		out += " -t " + t.topology
	}
	return out
}

// session is a conversation with one agent.
type session struct {
	*agentclient.Client
	report.Printer
	cluster  *cluster
	topology *v1alpha1.StockSyncTopology
	cmd      *cobra.Command
}

// ask opens a session for the time of f, and says of its error what to do next.
func (t *tool) ask(cmd *cobra.Command, a access, f func(context.Context, *session) error) error {
	printer, err := t.printer(cmd)
	if err != nil {
		return err
	}
	c, err := connect(t.kubeconfig)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	topology, err := c.topology(ctx, t.topology)
	if err != nil {
		return err
	}
	l, err := c.link(ctx, topology, a)
	if err != nil {
		return err
	}
	defer l.close()
	return l.explain(ctx, f(ctx, &session{Client: l.client(), Printer: printer, cluster: c, topology: topology, cmd: cmd}))
}

// say prints a line beside the output proper, so that this stays fit for a program.
func (s *session) say(line string) { fmt.Fprintln(s.cmd.ErrOrStderr(), line) }

// arguments is a check that says what must be given.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("must be given %s: %s", what, cmd.UseLine())
		}
		return nil
	}
}

const many = 1000

// noMore refuses arguments where only commands may follow.
func noMore(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return fmt.Errorf("there is no `%s %s`; did you mean `%s %s`?", cmd.CommandPath(), args[0], cmd.CommandPath(), like[0])
	}
	return fmt.Errorf("there is no `%s %s`; `%s --help` lists what there is", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// confirmed is the error of a command that was not confirmed; nil when it was.
func confirmed(yes bool, flag, consequence string) error {
	if yes {
		return nil
	}
	return fmt.Errorf("%s; add %s if that is what you want", consequence, flag)
}

func (t *tool) completeTopologies(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := connect(t.kubeconfig)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := c.topologies(completing(cmd))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return strings.Split(names(all), ", "), cobra.ShellCompDirectiveNoFileComp
}

// completeStores offers the storeIDs of the topology that were not given yet.
func (t *tool) completeStores(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := connect(t.kubeconfig)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx := completing(cmd)
	topology, err := c.topology(ctx, t.topology)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	children, err := c.children(ctx, topology.Name)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	stores := []string{topology.Spec.Master.StoreID}
	for _, child := range children {
		stores = append(stores, child.EffectiveStoreID())
	}
	stores = slices.DeleteFunc(stores, func(s string) bool { return slices.Contains(args, s) })
	return stores, cobra.ShellCompDirectiveNoFileComp
}

// completeStore offers storeIDs for the first argument alone.
func (t *tool) completeStore(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeStores(cmd, args, word)
}

func completing(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

func words(list ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
}

// refusal says of an answer other than 200 what the agent's own sentence cannot know.
func (l *link) refusal(refused *agentclient.Error) error {
	switch {
	case refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("the agent does not know the token of the Secret %s; it takes up a new one within two minutes: try again then", l.secret)
	case refused.Status == http.StatusNotFound && strings.HasPrefix(refused.Text, "404 "), strings.HasPrefix(refused.Text, "there is only"):
		return errors.New("the agent does not know this command; `kubectl stocksync version` tells the version of this plugin, `kubectl stocksync status` the agent's: they should be the same")
	}
	return refused
}
