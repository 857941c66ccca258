package agent

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"stocksync.dev/stocksync/api/v1alpha1"
)

// The rules the API server applies to the two kinds, for those who run the agent without one. A test holds
// them against the generated schema.
var (
	topologyName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	storeID      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	objectName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	secretKey    = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
)

const (
	labelRule = "must be lower-case letters, digits and hyphens, beginning and ending with a letter or digit, at most 40 characters"
	nameRule  = "must be an object name: lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit, at most 253 characters"
	keyRule   = "must be a Secret key: letters, digits, hyphens, dots and underscores, at most 253 characters"
)

// checks collects what is wrong, each with its field.
type checks []string

func (c *checks) must(ok bool, field, rule string) {
	if !ok {
		*c = append(*c, field+": "+rule)
	}
}

func matches(re *regexp.Regexp, s string, most int) bool { return len(s) <= most && re.MatchString(s) }

func among[T ~string](v T, allowed ...T) bool { return v == "" || slices.Contains(allowed, v) }

func within(v *int32, least, most int32) bool { return v == nil || *v >= least && *v <= most }

// validateTopology checks what concerns all stores; the master's way in is checked with it as a store.
func validateTopology(t *v1alpha1.StockSyncTopology) []string {
	var c checks
	c.must(matches(topologyName, t.Name, 40), "metadata.name", "must be a DNS label of at most 40 characters: lower-case letters, digits and hyphens, beginning with a letter and ending with a letter or digit")
	c.must(among(t.Spec.Mode, v1alpha1.ModeSync, v1alpha1.ModeObserve), "spec.mode", "must be Observe or Sync, or omitted")
	c.must(t.Spec.PublicURL == "" || isPublicURL(t.Spec.PublicURL), "spec.publicURL", "must be https:// or http:// followed by a host and an optional port, such as https://sync.example.com")
	c.must(within(t.Spec.LagObjectiveSeconds, 5, 86400), "spec.lagObjectiveSeconds", "must be between 5 and 86400")
	c.must(matches(storeID, t.Spec.Master.StoreID, 40), "spec.master.storeID", labelRule)
	c.must(displayName(t.Spec.Master.DisplayName), "spec.master.displayName", "must be at most 100 characters")
	c.must(among(t.Spec.Master.EditPolicy, v1alpha1.EditPolicyCount, v1alpha1.EditPolicyRevert), "spec.master.editPolicy", "must be Count or Revert, or omitted")
	c.exclusions(t.Spec.Exclusions)
	if a := t.Spec.Agent; a != nil && a.Exposure != nil && a.Exposure.Ingress != nil {
		c.must(t.Spec.PublicURL != "", "spec.publicURL", "must be set when `agent.exposure.ingress` is: its host is the Ingress's host")
	}
	return c
}

func validateChild(s *v1alpha1.ChildStore) []string {
	var c checks
	c.must(matches(objectName, s.Name, 253), "metadata.name", nameRule)
	c.must(matches(topologyName, s.Spec.TopologyRef.Name, 40), "spec.topologyRef.name", "must be the name of a StockSyncTopology: lower-case letters, digits and hyphens, beginning with a letter and ending with a letter or digit")
	c.must(among(s.Spec.Mode, v1alpha1.ModeSync, v1alpha1.ModeObserve, v1alpha1.ModeOff), "spec.mode", "must be Sync, Observe or Off, or omitted")
	c.must(among(s.Spec.EditPolicy, v1alpha1.EditPolicyCount, v1alpha1.EditPolicyRevert), "spec.editPolicy", "must be Count or Revert, or omitted")
	c.must(displayName(s.Spec.DisplayName), "spec.displayName", "must be at most 100 characters")
	if a := s.Spec.Allocation; a != nil {
		c.must(within(a.BufferUnits, 0, 1000000), "spec.allocation.bufferUnits", "must be between 0 and 1000000")
	}
	if p := s.Spec.Polling; p != nil {
		c.must(within(p.MinIntervalSeconds, 1, 3600), "spec.polling.minIntervalSeconds", "must be between 1 and 3600")
		c.must(within(p.MaxStoreLoadPercent, 1, 100), "spec.polling.maxStoreLoadPercent", "must be between 1 and 100")
	}
	c.exclusions(s.Spec.Exclusions)
	return c
}

func displayName(s string) bool { return utf8.RuneCountInString(s) <= 100 }

func validateWooCommerce(w *v1alpha1.WooCommerce, path string) []string {
	var c checks
	c.must(among(w.Transport, v1alpha1.TransportHTTPS, v1alpha1.TransportInsecureHTTP), path+"transport", "must be HTTPS or InsecureHTTP, or omitted")
	scheme := "https://"
	if w.EffectiveTransport() == v1alpha1.TransportInsecureHTTP {
		scheme = "http://"
		c.must(w.CABundleSecretKeyRef == nil, path+"caBundleSecretKeyRef", "must be omitted when `transport` is InsecureHTTP: there is no certificate to verify")
	}
	switch u, ok := absolute(w.URL); {
	case !ok || u.Hostname() == "" || utf8.RuneCountInString(w.URL) > 500:
		c.must(false, path+"url", "must be an absolute URL such as https://shop.example.com, at most 500 characters")
	case strings.ContainsAny(w.URL, "@?#"):
		c.must(false, path+"url", "must hold no user, query or fragment; credentials belong in the Secret of `credentialsSecretRef`")
	default:
		c.must(strings.HasPrefix(w.URL, scheme), path+"url", "must begin with https://; with `transport` InsecureHTTP it must begin with http://")
	}
	c.must(matches(objectName, w.CredentialsSecretRef.Name, 253), path+"credentialsSecretRef.name", nameRule)
	if ref := w.CABundleSecretKeyRef; ref != nil {
		c.must(matches(objectName, ref.Name, 253), path+"caBundleSecretKeyRef.name", nameRule)
		c.must(matches(secretKey, ref.Key, 253), path+"caBundleSecretKeyRef.key", keyRule)
	}
	return c
}

func (c *checks) exclusions(e *v1alpha1.Exclusions) {
	if e == nil {
		return
	}
	list := func(field string, values []string, most int) {
		path := "spec.exclusions." + field
		c.must(len(values) <= most, path, fmt.Sprintf("must hold at most %d", most))
		for i, v := range values {
			at := fmt.Sprintf("%s[%d]", path, i)
			c.must(v != "" && utf8.RuneCountInString(v) <= 100, at, "must be between 1 and 100 characters")
			c.must(slices.Index(values, v) == i, at, "must not be given twice")
		}
	}
	list("skus", e.SKUs, 1000)
	list("skuPatterns", e.SKUPatterns, 100)
}

// absolute parses a URL as the API server's isURL does.
func absolute(raw string) (*url.URL, bool) {
	u, err := url.ParseRequestURI(raw)
	return u, err == nil
}

func isPublicURL(raw string) bool {
	u, ok := absolute(raw)
	return ok && utf8.RuneCountInString(raw) <= 300 && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" &&
		(u.EscapedPath() == "" || u.EscapedPath() == "/") && !strings.ContainsAny(raw, "@?#")
}
