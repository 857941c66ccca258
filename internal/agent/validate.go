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
	uuidText     = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	publicPath   = regexp.MustCompile(`^(/[A-Za-z0-9][-._~A-Za-z0-9]*)*/?$`)
	topologyName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	storeID      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	objectName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	secretKey    = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
)

const (
	labelRule = "must be lower-case letters, digits and hyphens, beginning and ending with a letter or digit, at most 40 characters"
	nameRule  = "must be an object name: lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit, at most 253 characters"
	uuidRule  = "must be a UUID in lower case, such as 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d"
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
	c.must(t.Spec.PublicURL == "" || isPublicURL(t.Spec.PublicURL), "spec.publicURL", "must be https:// or http:// followed by a host, an optional port and an optional path, such as https://sync.example.com")
	c.must(within(t.Spec.LagObjectiveSeconds, 5, 86400), "spec.lagObjectiveSeconds", "must be between 5 and 86400")
	c.must(matches(storeID, t.Spec.Master.StoreID, 40), "spec.master.storeID", labelRule)
	c.must(displayName(t.Spec.Master.DisplayName), "spec.master.displayName", "must be at most 100 characters")
	c.must(among(t.Spec.Master.EditPolicy, v1alpha1.EditPolicyCount, v1alpha1.EditPolicyRevert), "spec.master.editPolicy", "must be Count or Revert, or omitted")
	c.exclusions(t.Spec.Exclusions)
	if a := t.Spec.Agent; a != nil && a.Exposure != nil && a.Exposure.Ingress != nil {
		c.must(t.Spec.PublicURL != "", "spec.publicURL", "must be set when `agent.exposure.ingress` is: its host is the Ingress's host")
	}
	c.must(t.Spec.PublicURL != "" || t.Spec.Master.Kitgenix == nil, "spec.publicURL", "must be set when `master.kitgenix` is: it is where the master's plugin sends its changes")
	c.must(t.Spec.Master.Katana == nil || t.Spec.Master.EditPolicy == "", "spec.master.editPolicy", "must be omitted with `katana`: what is typed in Katana always holds")
	if i := t.Spec.Identity; i != nil {
		c.must(i.StoreID == "" || uuidText.MatchString(i.StoreID), "spec.identity.storeID", uuidRule)
		c.must(displayName(i.DisplayName), "spec.identity.displayName", "must be at most 100 characters")
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
	if v := s.Spec.CheckoutValidation; v != nil {
		const path = "spec.checkoutValidation"
		c.must(s.Spec.Kitgenix != nil, path, "must be omitted without `kitgenix`: only the plugin asks at checkout")
		c.must(among(v.MasterUnreachablePolicy, v1alpha1.FailOpen, v1alpha1.LastKnownGood, v1alpha1.FailClosed), path+".masterUnreachablePolicy", "must be FailOpen, LastKnownGood or FailClosed, or omitted")
		c.must(within(v.MaxAgeSeconds, 60, 604800), path+".maxAgeSeconds", "must be between 60 and 604800")
		c.must(v.MaxAgeSeconds == nil || v.EffectivePolicy() == v1alpha1.LastKnownGood, path+".maxAgeSeconds", "must be omitted unless `masterUnreachablePolicy` is LastKnownGood")
	}
	if k := s.Spec.Katana; k != nil {
		const path = "spec.katana"
		c.must(s.Spec.WooCommerce != nil && s.Spec.Kitgenix == nil, path, "with it `woocommerce` must be given and `kitgenix` omitted: Katana's numbers are written by the REST API")
		c.must(s.Spec.EditPolicy == "", "spec.editPolicy", "must be omitted with `katana`: a quantity typed in a shop never changes Katana's stock; see `katana.drift`")
		c.must(k.LocationID > 0, path+".locationID", "must be the id of a location, between 1 and 2147483647")
		c.must(among(k.CommittedOrders, v1alpha1.CommittedAll, v1alpha1.CommittedWooCommerceOnly), path+".committedOrders", "must be All or WooCommerceOnly, or omitted")
		c.must(among(k.Quotes, v1alpha1.QuotesIgnore, v1alpha1.QuotesCount), path+".quotes", "must be Ignore or Count, or omitted")
		c.must(among(k.Rounding, v1alpha1.RoundDown, v1alpha1.RoundNearest, v1alpha1.RoundUp), path+".rounding", "must be Down, Nearest or Up, or omitted")
		c.must(among(k.BelowZero, v1alpha1.BelowZeroKeep, v1alpha1.BelowZeroZero), path+".belowZero", "must be Keep or Zero, or omitted")
		c.must(among(k.Kits, v1alpha1.KitsInStock, v1alpha1.KitsPotential), path+".kits", "must be InStock or Potential, or omitted")
		c.must(among(k.Drift, v1alpha1.DriftKeep, v1alpha1.DriftCorrect), path+".drift", "must be Keep or Correct, or omitted")
		if ref := k.LinksConfigMapRef; ref != nil {
			c.must(matches(objectName, ref.Name, 253), path+".linksConfigMapRef.name", nameRule)
		}
	}
	return c
}

func displayName(s string) bool { return utf8.RuneCountInString(s) <= 100 }

func validateWooCommerce(w *v1alpha1.WooCommerce, path string) []string {
	var c checks
	c.address(path, w.URL, w.Transport, w.EffectiveTransport(), "credentials belong in the Secret of `credentialsSecretRef`")
	c.must(matches(objectName, w.CredentialsSecretRef.Name, 253), path+"credentialsSecretRef.name", nameRule)
	c.bundle(path, w.CABundleSecretKeyRef, w.EffectiveTransport())
	return c
}

func validateKitgenix(k *v1alpha1.Kitgenix, path string) []string {
	var c checks
	c.address(path, k.URL, k.Transport, k.EffectiveTransport(), "the secret belongs in the Secret of `sharedSecretKeyRef`")
	c.must(uuidText.MatchString(k.RemoteStoreID), path+"remoteStoreID", "must be the Store ID the plugin shows, a UUID in lower case such as 6f1c1f4e-0d3b-4c5e-9a55-0b1d7b1f2c3d")
	c.key(path+"sharedSecretKeyRef", k.SharedSecretKeyRef)
	c.must(within(k.RotationOverlapSeconds, 0, 604800), path+"rotationOverlapSeconds", "must be between 0 and 604800")
	c.bundle(path, k.CABundleSecretKeyRef, k.EffectiveTransport())
	return c
}

func validateKatana(k *v1alpha1.Katana, path string) []string {
	var c checks
	if k.APIURL != "" {
		u, ok := absolute(k.APIURL)
		c.must(ok && u.Scheme == "https" && u.Hostname() != "" && utf8.RuneCountInString(k.APIURL) <= 500, path+"apiURL", "must be an absolute URL that begins with https://, such as https://api.katanamrp.com/v1, at most 500 characters")
		c.must(!strings.ContainsAny(k.APIURL, "@?#"), path+"apiURL", "must hold no user, query or fragment; the token belongs in the Secret of `tokenSecretKeyRef`")
	}
	c.key(path+"tokenSecretKeyRef", k.TokenSecretKeyRef)
	if ref := k.CABundleSecretKeyRef; ref != nil {
		c.key(path+"caBundleSecretKeyRef", *ref)
	}
	c.must(within(k.RequestsPerMinute, 10, 6000), path+"requestsPerMinute", "must be between 10 and 6000")
	c.must(within(k.PollIntervalSeconds, 15, 3600), path+"pollIntervalSeconds", "must be between 15 and 3600")
	c.must(within(k.CompareIntervalSeconds, 300, 604800), path+"compareIntervalSeconds", "must be between 300 and 604800")
	c.must(within(k.ImportGraceSeconds, 0, 604800), path+"importGraceSeconds", "must be between 0 and 604800")
	c.list(path+"wooCommerceSources", k.WooCommerceSources, 16)
	c.must(among(k.SKUComparison, v1alpha1.SKUCaseSensitive, v1alpha1.SKUCaseInsensitive), path+"skuComparison", "must be CaseSensitive or CaseInsensitive, or omitted")
	return c
}

// address checks where a shop is; secrets says where what is no part of a URL belongs.
func (c *checks) address(path, address string, given, transport v1alpha1.Transport, secrets string) {
	c.must(among(given, v1alpha1.TransportHTTPS, v1alpha1.TransportInsecureHTTP), path+"transport", "must be HTTPS or InsecureHTTP, or omitted")
	scheme := "https://"
	if transport == v1alpha1.TransportInsecureHTTP {
		scheme = "http://"
	}
	switch u, ok := absolute(address); {
	case !ok || u.Hostname() == "" || utf8.RuneCountInString(address) > 500:
		c.must(false, path+"url", "must be an absolute URL such as https://shop.example.com, at most 500 characters")
	case strings.ContainsAny(address, "@?#"):
		c.must(false, path+"url", "must hold no user, query or fragment; "+secrets)
	default:
		c.must(strings.HasPrefix(address, scheme), path+"url", "must begin with https://; with `transport` InsecureHTTP it must begin with http://")
	}
}

func (c *checks) bundle(path string, ref *v1alpha1.SecretKeyReference, transport v1alpha1.Transport) {
	if ref == nil {
		return
	}
	c.must(transport == v1alpha1.TransportHTTPS, path+"caBundleSecretKeyRef", "must be omitted when `transport` is InsecureHTTP: there is no certificate to verify")
	c.key(path+"caBundleSecretKeyRef", *ref)
}

func (c *checks) key(path string, ref v1alpha1.SecretKeyReference) {
	c.must(matches(objectName, ref.Name, 253), path+".name", nameRule)
	c.must(matches(secretKey, ref.Key, 253), path+".key", keyRule)
}

func (c *checks) exclusions(e *v1alpha1.Exclusions) {
	if e == nil {
		return
	}
	c.list("spec.exclusions.skus", e.SKUs, 1000)
	c.list("spec.exclusions.skuPatterns", e.SKUPatterns, 100)
}

func (c *checks) list(path string, values []string, most int) {
	c.must(len(values) <= most, path, fmt.Sprintf("must hold at most %d", most))
	for i, v := range values {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.must(v != "" && utf8.RuneCountInString(v) <= 100, at, "must be between 1 and 100 characters")
		c.must(slices.Index(values, v) == i, at, "must not be given twice")
	}
}

// absolute parses a URL as the API server's isURL does.
func absolute(raw string) (*url.URL, bool) {
	u, err := url.ParseRequestURI(raw)
	return u, err == nil
}

func isPublicURL(raw string) bool {
	u, ok := absolute(raw)
	return ok && utf8.RuneCountInString(raw) <= 300 && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" &&
		publicPath.MatchString(u.EscapedPath()) && !strings.ContainsAny(raw, "@?#")
}
