package render_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/render"
)

// rotation is a topology whose child fr shares a secret with its plugin, rendered again and again.
type rotation struct {
	*testing.T
	top      *v1alpha1.StockSyncTopology
	child    *v1alpha1.ChildStore
	file     []byte
	revision string
	now      time.Time
}

const paired = `
metadata: {name: fr, namespace: shops}
spec:
  topologyRef: {name: emea}
  kitgenix:
    url: https://fr.example.com
    remoteStoreID: 0b1d7b1f-2c3d-4c5e-9a55-6f1c1f4e0d3b
    sharedSecretKeyRef: {name: fr-plugin, key: secret}
    rotationOverlapSeconds: 3600
`

func newRotation(t *testing.T) *rotation {
	return &rotation{T: t, top: topology(t, minimal), child: read[v1alpha1.ChildStore](t, paired), now: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)}
}

// render renders with the Secrets there are, and returns what the agent gets of each key, and when to come back.
func (r *rotation) render(secrets map[string]map[string]string) (map[string]string, time.Time) {
	r.Helper()
	data := render.SecretData{}
	for name, keys := range secrets {
		data[name] = map[string][]byte{}
		for key, value := range keys {
			data[name][key] = []byte(value)
		}
	}
	next, err := render.KeepBefore(r.file, r.top, []*v1alpha1.ChildStore{r.child}, data, r.now)
	if err != nil {
		r.Fatal(err)
	}
	config, err := render.NewConfig(r.top, []*v1alpha1.ChildStore{r.child}, data, nil)
	if err != nil {
		r.Fatal(err)
	}
	r.file, r.revision = config.File, config.Revision
	got := map[string]string{}
	for name, keys := range data {
		for key, value := range keys {
			got[name+"/"+key] = string(value)
		}
	}
	return got, next
}

func (r *rotation) want(secrets map[string]map[string]string, want map[string]string, next string) {
	r.Helper()
	got, when := r.render(secrets)
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("at %s (-want +got):\n%s", r.now.Format("15:04"), diff)
	}
	text := ""
	if !when.IsZero() {
		text = when.Format("15:04")
	}
	if text != next {
		r.Errorf("at %s: comes back at %q, want %q", r.now.Format("15:04"), text, next)
	}
	// Rendered again at once, nothing changes: the agent is not disturbed.
	revision := r.revision
	if r.render(secrets); r.revision != revision {
		r.Errorf("at %s: rendering twice gives two configurations", r.now.Format("15:04"))
	}
}

func of(value string) map[string]map[string]string {
	return map[string]map[string]string{"fr-plugin": {"secret": value}}
}

func TestSharedSecretsOverlap(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	r.want(of("one"), map[string]string{"fr-plugin/secret": "one"}, "")
	r.want(of("two"), map[string]string{"fr-plugin/secret": "two", "fr-plugin/secret.until.20260102T130000Z": "one"}, "13:00")
	// A third one within the overlap: neither is forgotten.
	r.now = r.now.Add(30 * time.Minute)
	r.want(of("three"), map[string]string{"fr-plugin/secret": "three", "fr-plugin/secret.until.20260102T130000Z": "one", "fr-plugin/secret.until.20260102T133000Z": "two"}, "13:00")
	// Back to the first: it is the current one again.
	r.want(of("one"), map[string]string{"fr-plugin/secret": "one", "fr-plugin/secret.until.20260102T133000Z": "three", "fr-plugin/secret.until.20260102T132959Z": "two"}, "13:29")
	r.now = r.now.Add(time.Hour)
	r.want(of("one"), map[string]string{"fr-plugin/secret": "one"}, "")
}

// TestSharedSecretsOverlapHoweverTheyChange: deleted and made again, or in a Secret of another name, as generators of
// Secrets do it.
func TestSharedSecretsOverlapHoweverTheyChange(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	r.want(of("one"), map[string]string{"fr-plugin/secret": "one"}, "")
	r.want(nil, map[string]string{"fr-plugin/secret.until.20260102T130000Z": "one"}, "13:00")
	r.now = r.now.Add(time.Minute)
	r.want(of("two"), map[string]string{"fr-plugin/secret": "two", "fr-plugin/secret.until.20260102T130000Z": "one"}, "13:00")

	r.child.Spec.Kitgenix.SharedSecretKeyRef = v1alpha1.SecretKeyReference{Name: "fr-5fh2", Key: "password"}
	r.want(map[string]map[string]string{"fr-5fh2": {"password": "three"}}, map[string]string{
		"fr-5fh2/password": "three", "fr-5fh2/password.until.20260102T130000Z": "one", "fr-5fh2/password.until.20260102T130100Z": "two"}, "13:00")
}

// TestSharedSecretsAreBounded: a Secret that changes all the time does not fill the configuration.
func TestSharedSecretsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	for i := range 50 {
		r.render(of(strings.Repeat("x", i+1)))
		r.now = r.now.Add(time.Second)
	}
	if got, _ := r.render(of("last")); len(got) != 5 || got["fr-plugin/secret"] != "last" {
		t.Errorf("kept %d keys, want the current one and four before: %v", len(got), got)
	}
}

func TestNoOverlapMeansNone(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	zero := int32(0)
	r.child.Spec.Kitgenix.RotationOverlapSeconds = &zero
	r.want(of("one"), map[string]string{"fr-plugin/secret": "one"}, "")
	r.want(of("two"), map[string]string{"fr-plugin/secret": "two"}, "")
}

// TestPluginsOfTheMasterOverlapToo, a day when nothing else is asked for; a Secret that two share keeps the longer.
func TestPluginsOfTheMasterOverlapToo(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	r.top.Spec.Master.Kitgenix = &v1alpha1.Kitgenix{SharedSecretKeyRef: r.child.Spec.Kitgenix.SharedSecretKeyRef}
	r.want(of("one"), map[string]string{"fr-plugin/secret": "one"}, "")
	r.want(of("two"), map[string]string{"fr-plugin/secret": "two", "fr-plugin/secret.until.20260103T120000Z": "one"}, "12:00")
}

// TestBrokenConfigurationIsNotQuoted: whoever edited the rendered Secret reads no secret of it in a message.
func TestBrokenConfigurationIsNotQuoted(t *testing.T) {
	t.Parallel()
	_, err := render.KeepBefore([]byte("kind: Secret\ndata: {a: hunter2hunter2!}\n"), topology(t, minimal), nil, render.SecretData{}, time.Now())
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v, want one that quotes nothing", err)
	}
}
