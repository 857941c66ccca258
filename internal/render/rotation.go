package render

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// mostBefore is how many earlier values of a shared secret are kept at most.
const mostBefore = 4

// pairing is a plugin's connection and whose it is.
type pairing struct {
	holder   string
	kitgenix *v1alpha1.Kitgenix
}

func pairings(t *v1alpha1.StockSyncTopology, children []*v1alpha1.ChildStore) []pairing {
	var all []pairing
	if k := t.Spec.Master.Kitgenix; k != nil {
		all = append(all, pairing{v1alpha1.KindStockSyncTopology, k})
	}
	for _, c := range children {
		if k := c.Spec.Kitgenix; k != nil {
			all = append(all, pairing{v1alpha1.KindChildStore + "/" + c.Name, k})
		}
	}
	return all
}

// Pairs reports whether any store of the topology shares a secret with its plugin.
func Pairs(t *v1alpha1.StockSyncTopology, children []*v1alpha1.ChildStore) bool {
	return len(pairings(t, children)) > 0
}

// KeepBefore adds to secrets what the shared secrets were before, for as long as each may still be used. before is the
// configuration the agent has now; a store's secret may have changed in its Secret, moved to another, or be gone for a
// moment. It returns when the first of the kept values runs out; zero when none is kept.
func KeepBefore(before []byte, t *v1alpha1.StockSyncTopology, children []*v1alpha1.ChildStore, secrets SecretData, now time.Time) (time.Time, error) {
	refs, old, err := sharedBefore(before)
	if err != nil {
		return time.Time{}, err
	}
	kept := map[v1alpha1.SecretKeyReference]map[string]time.Time{}
	for _, p := range pairings(t, children) {
		ref, was := p.kitgenix.SharedSecretKeyRef, refs[p.holder]
		if was.Name == "" {
			continue
		}
		if kept[ref] == nil {
			kept[ref] = map[string]time.Time{}
		}
		current := secrets[ref.Name][ref.Key]
		keep := func(value []byte, until time.Time) {
			if len(value) == 0 || bytes.Equal(value, current) || !until.After(now) || until.Before(kept[ref][string(value)]) {
				return
			}
			kept[ref][string(value)] = until
		}
		for key, value := range old[was.Name] {
			if until, is, err := v1alpha1.SecretUntil(was.Key, key); is && err == nil {
				keep(value, until)
			}
		}
		keep(old[was.Name][was.Key], now.Add(p.kitgenix.RotationOverlap()).Truncate(time.Second))
	}
	var next time.Time
	for ref, values := range kept {
		first := add(secrets, ref, values)
		if !first.IsZero() && (next.IsZero() || first.Before(next)) {
			next = first
		}
	}
	return next, nil
}

// add puts the longest lasting values beside the key they once had, and returns when the first of them runs out.
func add(secrets SecretData, ref v1alpha1.SecretKeyReference, values map[string]time.Time) time.Time {
	type earlier struct {
		value string
		until time.Time
	}
	var all []earlier
	for value, until := range values {
		all = append(all, earlier{value, until})
	}
	slices.SortFunc(all, func(a, b earlier) int {
		return cmp.Or(b.until.Compare(a.until), strings.Compare(a.value, b.value))
	})
	var first time.Time
	for _, e := range all[:min(len(all), mostBefore)] {
		if secrets[ref.Name] == nil {
			secrets[ref.Name] = map[string][]byte{}
		}
		key := v1alpha1.SecretUntilKey(ref.Key, e.until)
		for secrets[ref.Name][key] != nil {
			// Two that run out in one second: one goes a second earlier.
			e.until = e.until.Add(-time.Second)
			key = v1alpha1.SecretUntilKey(ref.Key, e.until)
		}
		secrets[ref.Name][key] = []byte(e.value)
		first = e.until
	}
	return first
}

// sharedBefore reads from a configuration which key each plugin's secret was in, and what the Secrets held.
func sharedBefore(file []byte) (map[string]v1alpha1.SecretKeyReference, SecretData, error) {
	refs, secrets := map[string]v1alpha1.SecretKeyReference{}, SecretData{}
	for text := range bytes.SplitSeq(file, []byte("\n---\n")) {
		// Most documents are of no interest, and reading them is not free.
		if !bytes.Contains(text, []byte("kitgenix:")) && !bytes.Contains(text, []byte("kind: Secret")) {
			continue
		}
		var d struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string][]byte
			Spec     struct {
				Kitgenix *v1alpha1.Kitgenix
				Master   struct{ Kitgenix *v1alpha1.Kitgenix }
			}
		}
		if err := yaml.Unmarshal(text, &d); err != nil {
			// The parser's own words may quote a secret.
			return nil, nil, errors.New("the agent's configuration holds a document that cannot be read; delete that Secret, and it is made anew")
		}
		switch {
		case d.Kind == "Secret":
			secrets[d.Metadata.Name] = d.Data
		case d.Spec.Master.Kitgenix != nil:
			refs[v1alpha1.KindStockSyncTopology] = d.Spec.Master.Kitgenix.SharedSecretKeyRef
		case d.Spec.Kitgenix != nil:
			refs[v1alpha1.KindChildStore+"/"+d.Metadata.Name] = d.Spec.Kitgenix.SharedSecretKeyRef
		}
	}
	return refs, secrets, nil
}
