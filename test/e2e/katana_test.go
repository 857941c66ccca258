//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// erp is the demo's Katana account, as its own tools see it.
type erp struct {
	*shop
	apiKey string
}

const katanaLocation = 1001

func openErp(ctx context.Context) (*erp, error) {
	s, err := openShop(ctx, cluster, "katana")
	if err != nil {
		return nil, err
	}
	var keys corev1.Secret
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: "stores", Name: "katana-keys"}, &keys); err != nil {
		return nil, err
	}
	return &erp{s, string(keys.Data["apiKey"])}, nil
}

func (e *erp) variant(ctx context.Context, sku string) (int64, error) {
	var found struct{ Data []struct{ ID int64 } }
	authorize := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+e.apiKey) }
	err := e.send(ctx, authorize, http.MethodGet, "/v1/variants", url.Values{"sku": {sku}}, nil, &found)
	if err == nil && len(found.Data) != 1 {
		err = fmt.Errorf("%d variants have the code %s", len(found.Data), sku)
	}
	if err != nil {
		return 0, err
	}
	return found.Data[0].ID, nil
}

// order makes a sales order of one row; more are the fields that an import sets.
func (e *erp) order(ctx context.Context, sku string, units int, more map[string]any) error {
	variant, err := e.variant(ctx, sku)
	if err != nil {
		return err
	}
	order := map[string]any{"location": katanaLocation, "rows": []any{map[string]any{"variant": variant, "quantity": strconv.Itoa(units)}}}
	maps.Copy(order, more)
	return e.control(ctx, http.MethodPost, "orders", order)
}

// adjust changes what is in stock.
func (e *erp) adjust(ctx context.Context, sku string, change int) error {
	variant, err := e.variant(ctx, sku)
	if err != nil {
		return err
	}
	return e.control(ctx, http.MethodPost, "adjust", map[string]any{"variant": variant, "location": katanaLocation, "change": strconv.Itoa(change)})
}

// applyKatana makes the demo's topology of Katana for the time of a test.
func applyKatana(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "hack", "cluster", "demo", "topology-katana.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		switch err := cluster.Create(t.Context(), o); {
		case apierrors.IsAlreadyExists(err):
			continue // somebody's demo
		case err != nil:
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.IgnoreNotFound(cluster.Delete(context.Background(), o)); err != nil {
				t.Errorf("removing %s: %v", o.GetName(), err)
			}
		})
	}
}

// An order made in Katana reaches the shops; a sale in one shop reaches the other at once, and Katana's later import of it
// is not counted again. Before anything changed nothing is written; an expired key is named and replaced without a restart.
func TestKatanaFeedsTheShops(t *testing.T) {
	ctx := t.Context()
	katana, err := openErp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var shops []*shop
	before := map[*shop]int{}
	const sku, other = "SKU-0004", "SKU-0005"
	for _, id := range []string{"oslo", "turin"} {
		s, err := openShop(ctx, cluster, id)
		if err != nil {
			t.Fatal(err)
		}
		if before[s], err = s.stock(ctx, sku); err != nil {
			t.Fatal(err)
		}
		shops = append(shops, s)
	}
	shown := func(limit time.Duration, sku string, want int) {
		t.Helper()
		(&world{}).eventuallyShown(t, limit, sku, want, shops...)
	}
	applyKatana(t)
	eventually(t, 2*time.Minute, "Katana and the shops are ready", func() error {
		var sst v1alpha1.StockSyncTopology
		if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "erp"}, &sst); err != nil {
			return err
		}
		errs := []error{conditionIs(&sst, sst.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, "")}
		if k := sst.Status.Katana; k == nil || !strings.Contains(k.Plan, "requests a minute") {
			errs = append(errs, notYet("the plan of the requests is not in the status: %+v", k))
		}
		for _, s := range shops {
			chs, err := childStore(ctx, s.id)
			if err != nil {
				return err
			}
			errs = append(errs, conditionIs(chs, chs.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, ""))
		}
		return errors.Join(errs...)
	})
	for _, s := range shops {
		if got, err := s.stock(ctx, sku); err != nil || got != before[s] {
			t.Errorf("%s shows %d of %s, %v; it showed %d before, and nothing was to be written", s.id, got, sku, err, before[s])
		}
	}

	// Everything at once, when it is asked for.
	if out, err := inAgent(t, "reconcile", "--strategy", "Push"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	start, err := shops[0].stock(ctx, sku)
	if err != nil {
		t.Fatal(err)
	}
	shown(30*time.Second, sku, start)

	if err := katana.order(ctx, sku, 3, nil); err != nil {
		t.Fatal(err)
	}
	shown(time.Minute, sku, start-3)
	sold, err := shops[0].sell(ctx, sku, 2)
	if err != nil {
		t.Fatal(err)
	}
	shown(time.Minute, sku, start-5)
	if err := katana.order(ctx, sku, 2, map[string]any{"source": "api", "platform": "wooCommerce", "shop": shops[0].host, "shopOrder": strconv.FormatInt(sold.ID, 10)}); err != nil {
		t.Fatal(err)
	}
	// What comes after the import is read with it.
	second, err := shops[0].stock(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := katana.adjust(ctx, other, 6); err != nil {
		t.Fatal(err)
	}
	shown(time.Minute, other, second+6)
	shown(10*time.Second, sku, start-5)
	out, err := inAgent(t, "history", sku)
	if err != nil || !strings.Contains(out, "held back from all shops") || !strings.Contains(out, fmt.Sprintf("order %d", sold.ID)) {
		t.Errorf("the history does not tell of the sale that was held back: %v\n%s", err, out)
	}

	var pod corev1.Pod
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "erp-agent-0"}, &pod); err != nil {
		t.Fatal(err)
	}
	if err := katana.control(ctx, http.MethodPost, "keys", []string{"another-key"}); err != nil {
		t.Fatal(err)
	}
	var token corev1.Secret
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "katana-token"}, &token); err != nil {
		t.Fatal(err)
	}
	old := token.Data["token"]
	give := func(key []byte) error {
		var s corev1.Secret
		if err := cluster.Get(context.Background(), client.ObjectKeyFromObject(&token), &s); err != nil {
			return err
		}
		s.Data["token"] = key
		return cluster.Update(context.Background(), &s)
	}
	t.Cleanup(func() {
		if err := errors.Join(katana.control(context.Background(), http.MethodPost, "keys", []string{string(old)}), give(old)); err != nil {
			t.Error(err)
		}
	})
	connected := func(status metav1.ConditionStatus, reason string) {
		t.Helper()
		eventually(t, 90*time.Second, "Connected is "+string(status), func() error {
			var sst v1alpha1.StockSyncTopology
			if err := cluster.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "erp"}, &sst); err != nil {
				return err
			}
			return conditionIs(&sst, sst.Status.Conditions, v1alpha1.ConditionConnected, status, reason)
		})
	}
	connected(metav1.ConditionFalse, v1alpha1.ReasonAuthenticationFailed)
	if err := give([]byte("another-key")); err != nil {
		t.Fatal(err)
	}
	connected(metav1.ConditionTrue, "")
	var after corev1.Pod
	if err := cluster.Get(ctx, client.ObjectKeyFromObject(&pod), &after); err != nil || after.UID != pod.UID {
		t.Errorf("a new key restarted the agent: %v", err)
	}
}

// inAgent runs a command of the agent in its pod.
func inAgent(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", append([]string{"exec", "--namespace", namespace, "erp-agent-0", "--", "/agent"}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
