package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/agentapi"
	"stocksync.dev/stocksync/internal/report"
)

// Pairing is what `pair` prints as JSON or YAML: what to type into a store's Kitgenix plugin, and whether both sides
// understand each other.
type Pairing struct {
	StoreID string `json:"storeID"`
	// Role is what the plugin must be set to: child, or master for the topology's master.
	Role string `json:"role"`
	// URL and ID are what the plugin needs: as Master URL and Master Store ID or, where it is the master, as those of
	// the child that stands for the topology.
	URL string `json:"url"`
	ID  string `json:"id"`
	// SecretName and SecretKey say where the shared secret is; Secret is set where it was asked for.
	SecretName string `json:"secretName"`
	SecretKey  string `json:"secretKey"`
	Secret     string `json:"secret,omitempty"`
	// Outbound is what the agent found just now when it called the plugin.
	Outbound []agentapi.PingCheck `json:"outbound"`
	// Inbound says whether the plugin calls the agent.
	Inbound agentapi.Condition `json:"inbound"`
	// Plugin is what is known of the plugin.
	Plugin *agentapi.PluginStatus `json:"plugin,omitempty"`
	// Paired: both directions work.
	Paired bool `json:"paired"`
}

func (t *tool) pair() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "pair STORE",
		Short: "Tell what to type into a store's Kitgenix plugin, and whether the pairing works",
		Long: `Prints the URL, the Store ID and where the secret is that somebody types into the plugin of the store, calls the
plugin, and tells whether the plugin calls the agent. STORE is a ChildStore, or the storeID of any store. The exit code
is 1 while one direction does not work.

The secret itself is printed only with --show-secret, which reads it with your own rights.`,
		Args:              arguments(1, 1, "one store"),
		ValidArgsFunction: t.completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.ask(cmd, reading, func(ctx context.Context, s *session) error {
				p, err := s.cluster.pairing(ctx, s.topology, args[0])
				if err != nil {
					return err
				}
				if show {
					if p.Secret, err = s.cluster.sharedSecret(ctx, p.SecretName, p.SecretKey); err != nil {
						return err
					}
				}
				if err := p.check(ctx, s); err != nil {
					return err
				}
				if err := p.print(s.Printer, s.topology.Namespace, t.Now()); err != nil {
					return err
				}
				if !p.Paired {
					return ExitError{report.ExitFailed}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&show, "show-secret", false, "print the secret too; you must be allowed to read the Secret")
	return cmd
}

// pairing is what the objects say of a store's plugin.
func (c *cluster) pairing(ctx context.Context, t *v1alpha1.StockSyncTopology, name string) (*Pairing, error) {
	p := &Pairing{URL: strings.TrimRight(t.Spec.PublicURL, "/"), ID: t.IdentityStoreID()}
	k := t.Spec.Master.Kitgenix
	if p.StoreID, p.Role = t.Spec.Master.StoreID, "master"; name != p.StoreID {
		children, err := c.children(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(children, func(s v1alpha1.ChildStore) bool { return s.Name == name || s.EffectiveStoreID() == name })
		if i < 0 {
			ids := []string{p.StoreID}
			for _, child := range children {
				ids = append(ids, child.EffectiveStoreID())
			}
			return nil, fmt.Errorf("topology %s has no store %s; it has: %s", t.Name, name, strings.Join(ids, ", "))
		}
		p.StoreID, p.Role, k = children[i].EffectiveStoreID(), "child", children[i].Spec.Kitgenix
	}
	switch {
	case k == nil:
		return nil, fmt.Errorf("store %s has no `kitgenix`: add url, remoteStoreID and sharedSecretKeyRef to it first", p.StoreID)
	case p.URL == "":
		return nil, fmt.Errorf("topology %s has no `publicURL`: the plugin needs an address to call", t.Name)
	}
	p.SecretName, p.SecretKey = k.SharedSecretKeyRef.Name, k.SharedSecretKeyRef.Key
	return p, nil
}

// sharedSecret reads a secret with the rights of whoever runs the plugin.
func (c *cluster) sharedSecret(ctx context.Context, name, key string) (string, error) {
	secret, err := c.core.Secrets(c.namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("namespace %s has no Secret %s: make it, with the shared secret under the key %s", c.namespace, name, key)
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("you may not read the Secret %s in namespace %s: ask who may, or leave --show-secret out", name, c.namespace)
	case err != nil:
		return "", fmt.Errorf("read the Secret %s: %w", name, err)
	}
	value := strings.TrimRight(string(secret.Data[key]), "\r\n")
	if value == "" {
		return "", fmt.Errorf("the Secret %s has no key %s with a value", name, key)
	}
	return value, nil
}

// check has the agent call the plugin, and asks whether the plugin calls it.
func (p *Pairing) check(ctx context.Context, s *session) error {
	pings, err := s.Client.Ping(ctx, p.StoreID)
	if err != nil {
		return err
	}
	status, err := s.Client.Status(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(status.Stores, func(st agentapi.StoreStatus) bool { return st.StoreID == p.StoreID })
	if i < 0 {
		return errors.New("the agent does not know the store yet; try again in a moment")
	}
	p.Paired = true
	for _, ping := range pings {
		p.Outbound = append(p.Outbound, ping.Checks...)
		p.Paired = p.Paired && ping.OK
	}
	p.Inbound, p.Plugin = status.Stores[i].HintsAvailable, status.Stores[i].Plugin
	// Webhooks come beside the plugin's events; they do not make a pairing.
	p.Paired = p.Paired && p.Inbound.Status == "True" && p.Inbound.Reason != v1alpha1.ReasonWebhooksActive
	return nil
}

func (p *Pairing) print(printer report.Printer, namespace string, now time.Time) error {
	if printer.Format != report.Table {
		return printer.Value(p)
	}
	page := report.NewPage(printer.Out)
	secret := p.Secret
	if secret == "" {
		secret = fmt.Sprintf("key %s of Secret %s in namespace %s; --show-secret prints it", p.SecretKey, p.SecretName, namespace)
	}
	page.Line("Type into the Kitgenix plugin of %s:", p.StoreID)
	page.Row("  Role", p.Role)
	if p.Role == "child" {
		page.Row("  Master URL", p.URL)
		page.Row("  Master Store ID", p.ID)
		page.Row("  Secret", secret)
	} else {
		page.Row("  Child URL", p.URL)
		page.Row("  Child Store ID", p.ID)
		page.Row("  Child secret", secret)
	}
	page.Line("")
	page.Row("DIRECTION", "RESULT", "MESSAGE")
	result, message := "ok", ""
	for _, c := range p.Outbound {
		if !c.OK {
			result, message = c.Name+" "+c.Reason, c.Message
			break
		}
	}
	page.Row("agent to plugin", result, message)
	result, message = "ok", p.Inbound.Message
	switch {
	case p.Inbound.Reason == v1alpha1.ReasonWebhooksActive:
		result, message = v1alpha1.ReasonPluginEventsSilent, "the plugin has not called yet; the shop's webhooks do"
	case p.Inbound.Status != "True":
		result = p.Inbound.Reason
	}
	page.Row("plugin to agent", result, message)
	if k := p.Plugin; k != nil && k.LastPingTime != nil {
		version := "generation " + fmt.Sprint(k.Generation)
		if k.Version != "" {
			version = k.Version + ", " + version
		}
		page.Line("\nThe plugin (%s) last answered %s ago.", version, report.Age(max(0, now.Sub(*k.LastPingTime))))
		if k.PreviousSecretUntil != nil {
			page.Line("The secret before is accepted until %s.", k.PreviousSecretUntil.UTC().Format(time.RFC3339))
		}
	}
	return page.End()
}
