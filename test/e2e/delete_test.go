//go:build e2e

package e2e

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// Deleting never waits for us: not with everything at once, not with the namespace, not with the operator gone first.
func TestDeletingNeverHangs(t *testing.T) {
	t.Run("everything at once", func(t *testing.T) {
		objects := secondTopology(t, newNamespace(t))
		for _, o := range objects {
			if err := cluster.Delete(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		eventuallyNoAgent(t, objects[0].GetNamespace())
	})
	t.Run("the namespace, the operator gone first", func(t *testing.T) {
		ns := newNamespace(t)
		secondTopology(t, ns)
		scale := func(ctx context.Context, replicas int32) {
			t.Helper()
			var operators appsv1.DeploymentList
			if err := cluster.List(ctx, &operators, client.InNamespace(operatorNamespace)); err != nil {
				t.Fatal(err)
			}
			for _, d := range operators.Items {
				before := d.DeepCopy()
				d.Spec.Replicas = &replicas
				if err := cluster.Patch(ctx, &d, client.MergeFrom(before)); err != nil {
					t.Fatal(err)
				}
			}
		}
		scale(t.Context(), 0)
		t.Cleanup(func() { scale(context.Background(), 1) })
		eventually(t, 30*time.Second, "the operator is gone", func() error {
			var pods corev1.PodList
			if err := cluster.List(t.Context(), &pods, client.InNamespace(operatorNamespace)); err != nil {
				return err
			}
			if len(pods.Items) > 0 {
				return notYet("%d pods are left", len(pods.Items))
			}
			return nil
		})
		remove(t, 60*time.Second, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	})
}

// secondTopology makes a topology that only looks on, and waits until its agent runs.
func secondTopology(t *testing.T, ns string) []client.Object {
	t.Helper()
	var keys, ca corev1.Secret
	for name, into := range map[string]*corev1.Secret{"hq-rest": &keys, "stores-ca": &ca} {
		if err := cluster.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, into); err != nil {
			t.Fatal(err)
		}
	}
	secret := func(from corev1.Secret) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: from.Name, Namespace: ns}, Data: from.Data}
	}
	woocommerce := func(id string) *v1alpha1.WooCommerce {
		return &v1alpha1.WooCommerce{
			URL:                  "https://" + id + ".stores.svc.cluster.local",
			CredentialsSecretRef: v1alpha1.LocalObjectReference{Name: keys.Name},
			CABundleSecretKeyRef: &v1alpha1.SecretKeyReference{Name: ca.Name, Key: "ca.crt"},
		}
	}
	sst := &v1alpha1.StockSyncTopology{
		ObjectMeta: metav1.ObjectMeta{Name: "second", Namespace: ns},
		Spec: v1alpha1.StockSyncTopologySpec{
			Mode:   v1alpha1.ModeObserve,
			Master: v1alpha1.Master{StoreID: "hq", WooCommerce: woocommerce("hq")},
			Agent:  &v1alpha1.Agent{Storage: &v1alpha1.Storage{RetentionPolicy: v1alpha1.RetentionPolicyDelete}},
		},
	}
	chs := &v1alpha1.ChildStore{
		ObjectMeta: metav1.ObjectMeta{Name: "fr", Namespace: ns},
		Spec:       v1alpha1.ChildStoreSpec{TopologyRef: v1alpha1.TopologyReference{Name: sst.Name}, WooCommerce: woocommerce("fr")},
	}
	objects := []client.Object{sst, chs, secret(keys), secret(ca)}
	for _, o := range objects {
		if err := cluster.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 60*time.Second, "the second agent is heard", func() error {
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(sst), sst); err != nil {
			return err
		}
		return conditionIs(sst, sst.Status.Conditions, v1alpha1.ConditionAgentAvailable, metav1.ConditionTrue, v1alpha1.ReasonAgentReady)
	})
	return objects
}

func eventuallyNoAgent(t *testing.T, ns string) {
	t.Helper()
	eventually(t, 60*time.Second, "the agent and its volume claim are gone", func() error {
		for _, list := range []client.ObjectList{&appsv1.StatefulSetList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}} {
			if err := cluster.List(t.Context(), list, client.InNamespace(ns)); err != nil {
				return err
			}
			if n := meta.LenList(list); n > 0 {
				return notYet("%d of %T are left", n, list)
			}
		}
		return nil
	})
}
