//go:build e2e

package e2e

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What everything else relies on: workloads run under the restricted profile, volumes bind, jobs end, and the
// profile is really enforced.
func TestClusterRunsWhatTheOperatorMakes(t *testing.T) {
	ctx := t.Context()
	namespace := newNamespace(t)
	yes, no, user, one := true, false, int64(65532), int32(1)
	pod := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "probe"}},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, FSGroup: &user, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: "stocksync.dev/tlsproxy:dev", Args: []string{"-h"},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			RestartPolicy: corev1.RestartPolicyNever,
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
			}}},
		},
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data", Namespace: namespace}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
	}}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: namespace}, Spec: batchv1.JobSpec{Template: pod, BackoffLimit: &one}}
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "probe", Namespace: namespace}, Spec: networkingv1.NetworkPolicySpec{
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	}}
	for _, o := range []client.Object{claim, job, policy} {
		if err := cluster.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 60*time.Second, "the job ends", func() error {
		if err := cluster.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.Succeeded != 1 {
			return notYet("job is %+v", job.Status.Conditions)
		}
		return nil
	})

	privileged := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare", Namespace: namespace}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "bare", Image: "stocksync.dev/tlsproxy:dev"}},
	}}
	if err := cluster.Create(ctx, privileged); !apierrors.IsForbidden(err) {
		t.Errorf("a pod outside the restricted profile: error is %v, want forbidden", err)
	}
}
