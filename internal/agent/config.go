package agent

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/engine"
	"stocksync.dev/stocksync/internal/stock"
)

// Config is what a stream of documents asks for.
type Config struct {
	// Topology is the name of the StockSyncTopology.
	Topology string
	// PublicURL is where stores reach the agent, without a slash at its end; empty when webhooks are not wanted.
	PublicURL string
	// Identity is how the agent introduces itself to Kitgenix plugins.
	Identity Identity
	// LagObjective is how old a difference may grow before its store is no longer in sync.
	LagObjective time.Duration
	// Breaker says how large a change may be before a person is asked.
	Breaker stock.Breaker
	// Sourced: the master is no shop but a source of stock. It is the first of Stores even so.
	Sourced bool
	// Stores holds the master first, then the children ordered by id.
	Stores   []Store
	Requests Requests
	// Problems are about documents that belong to no store of Stores; everything else is in use.
	Problems []string
}

// Store is what the documents say of one store.
type Store struct {
	ID     string
	Master bool
	// Mode is the effective mode, the more cautious of the topology's and the store's own.
	Mode engine.Mode
	// TakeOver is the ledger that the annotation names from which the store is to be taken over; empty for none.
	TakeOver string
	// Settings are nil when the documents do not give a usable store and no earlier ones did.
	Settings *Settings
	// Invalid says why the newest documents cannot be used for this store; nil when they are.
	Invalid *Problem
	// Warnings are about what works now and will not always.
	Warnings []Problem
}

// Identity is how the agent introduces itself to Kitgenix plugins: as their master, or as the one child of a master.
type Identity struct{ StoreID, Name string }

// Settings are the usable configuration of a store.
type Settings struct {
	Policy     stock.Policy
	Exclusions Exclusions
	// MinInterval is the shortest time between polls, MaxLoad the share of the store's time they may take.
	MinInterval time.Duration
	MaxLoad     float64
	// WooCommerce is the way in by REST; its URL is empty where there is none.
	WooCommerce WooCommerce
	// Kitgenix is the way in by the plugin; nil where there is none. Checkout is how its question is answered.
	Kitgenix *Kitgenix
	Checkout Checkout
	// Katana is set on a master that is no store; Supply then on the children.
	Katana *Katana
	Supply *Supply
}

// WooCommerce is how a store's REST API is reached.
type WooCommerce struct {
	URL string
	// Insecure: plain HTTP was asked for.
	Insecure                    bool
	ConsumerKey, ConsumerSecret Secret
	// CABundle holds the PEM certificates trusted instead of the system's; empty for the system's.
	CABundle string
	// SecretName and CAName are what messages name: the credentials' Secret, and the bundle's Secret and key.
	SecretName, CAName string
}

// Kitgenix is how a store's plugin is reached, and what it is believed by.
type Kitgenix struct {
	URL string
	// Insecure: plain HTTP was asked for.
	Insecure bool
	// RemoteStoreID is what the plugin calls itself.
	RemoteStoreID string
	// Secrets are what is shared with it: the current one, then those before, the longest lasting first. One that has
	// run out may be among them.
	Secrets []SharedSecret
	// CABundle holds the PEM certificates trusted instead of the system's; empty for the system's.
	CABundle string
	// SecretName and CAName are what messages name: key and Secret of each.
	SecretName, CAName string
}

// SharedSecret is a secret shared with a plugin, byte for byte.
type SharedSecret struct {
	Value Secret
	// Until is when it is no longer to be accepted or used; zero for the current one.
	Until time.Time
}

// Checkout is how a plugin's question at checkout is answered.
type Checkout struct {
	// Policy is what holds once the master has been unreachable for longer than Grace.
	Policy v1alpha1.MasterUnreachablePolicy
	Grace  time.Duration
	// MaxAge is for how long after the master was last heard LastKnownGood answers from the ledger.
	MaxAge time.Duration
}

// Katana is how an account of Katana is reached and read.
type Katana struct {
	URL   string
	Token Secret
	// CABundle holds the PEM certificates trusted instead of the system's; empty for the system's.
	CABundle string
	// SecretName and CAName are what messages name: key and Secret of each.
	SecretName, CAName string
	// RequestsPerMinute is what the account is good for; 0: what its answers say.
	RequestsPerMinute int
	// Poll and Compare are the times between two polls, and between two comparisons of everything.
	Poll, Compare time.Duration
	// ImportGrace is for how long a sale that Katana has not imported is deducted; 0: none is.
	ImportGrace time.Duration
	// WooCommerceSources are values of an order's source that stand for WooCommerce.
	WooCommerceSources []string
	// IgnoreCase: variant codes are compared with SKUs without regard to case.
	IgnoreCase bool
}

// Supply is how a shop's numbers are made from what Katana knows. Nothing of it is empty but Links.
type Supply struct {
	// Location is the id of Katana's location.
	Location  string
	Committed v1alpha1.CommittedOrders
	Quotes    v1alpha1.QuotePolicy
	Rounding  v1alpha1.Rounding
	BelowZero v1alpha1.BelowZeroPolicy
	Kits      v1alpha1.KitPolicy
	Drift     v1alpha1.DriftPolicy
	// Links are the WooCommerce ids, of a product or a variation, by the id of Katana's variant.
	Links map[string]int64
}

// Secret is a text that is never printed.
type Secret string

// String hides the value.
func (Secret) String() string { return "[hidden]" }

// GoString hides the value.
func (Secret) GoString() string { return "[hidden]" }

// MarshalText hides the value from every encoder.
func (Secret) MarshalText() ([]byte, error) { return []byte("[hidden]"), nil }

// Problem is a condition reason of api/v1alpha1 with its message.
type Problem struct{ Reason, Message string }

// Parse reads a multi-document YAML stream: one StockSyncTopology, its ChildStores and the Secrets and ConfigMaps
// they name, in any order; objects of other kinds are passed over. A store that is not usable comes back with its Problem,
// and the others with their settings. An error means that nothing can be told for sure, for example which
// store a broken document meant: the configuration before should stay in use then. No error, problem or
// message quotes a value of a Secret.
func Parse(stream []byte) (Config, error) {
	if len(stream) > MaxConfigBytes {
		return Config{}, fmt.Errorf("the configuration must be at most %d bytes", MaxConfigBytes)
	}
	var b builder
	var errs []error
	seen := map[string]document{}
	for _, d := range split(stream) {
		something, err := d.read()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !something {
			continue
		}
		r, err := d.classify()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if r == other {
			continue
		}
		id := fmt.Sprint(r, "/", d.meta.Namespace, "/", d.meta.Name)
		if first, ok := seen[id]; ok {
			errs = append(errs, fmt.Errorf("%s: document %d already has this name; an object must be given once", d, first.number))
			continue
		}
		seen[id] = d
		errs = append(errs, b.add(r, d))
	}
	if b.topology == nil && errors.Join(errs...) == nil {
		errs = append(errs, errors.New("the configuration must hold one StockSyncTopology and holds none"))
	}
	if err := errors.Join(errs...); err != nil {
		return Config{}, err
	}
	return b.config()
}

// builder collects the documents of one stream.
type builder struct {
	topology *v1alpha1.StockSyncTopology
	doc      document
	children []childDocument
	secrets  []values
	configs  []values
}

type childDocument struct {
	doc    document
	object v1alpha1.ChildStore
	// bad says why the document could not be decoded; name, storeID and mode of object hold even so.
	bad error
}

func (b *builder) add(r role, d document) error {
	switch r {
	case topology:
		if b.topology != nil {
			return fmt.Errorf("%s: document %d already is a StockSyncTopology; a file must hold one", d, b.doc.number)
		}
		b.topology, b.doc = &v1alpha1.StockSyncTopology{}, d
		return d.decode(b.topology)
	case child:
		c := childDocument{doc: d}
		if c.bad = d.decode(&c.object); c.bad != nil {
			// Which store is meant must be known: one that seems to have left would be forgotten.
			id, mode, ok := d.least()
			if !ok {
				return c.bad
			}
			c.object = v1alpha1.ChildStore{}
			c.object.Name, c.object.Namespace = d.meta.Name, d.meta.Namespace
			c.object.Spec.StoreID, c.object.Spec.Mode = id, mode
		}
		if id := c.object.EffectiveStoreID(); !storeID.MatchString(id) || len(id) > 40 {
			return fmt.Errorf("%s: %w", d, firstOf(c.bad, errors.New("spec.storeID (or metadata.name where it is omitted): "+labelRule)))
		}
		b.children = append(b.children, c)
	case secret:
		b.secrets = append(b.secrets, readSecret(d))
	case configMap:
		b.configs = append(b.configs, readConfigMap(d))
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) config() (Config, error) {
	t := b.topology
	if found := validateTopology(t); len(found) > 0 {
		return Config{}, fmt.Errorf("%s: %s", b.doc, strings.Join(found, "; "))
	}
	c := Config{
		Topology:     t.Name,
		PublicURL:    strings.TrimSuffix(t.Spec.PublicURL, "/"),
		LagObjective: t.LagObjective(),
		Breaker:      stock.Breaker{Disabled: !t.Spec.CircuitBreaker.On(), SharePercent: t.Spec.CircuitBreaker.MaxSharePercent(), MinimumSKUs: t.Spec.CircuitBreaker.LeastSKUs()},
	}
	c.Requests, c.Problems = requestsOf(t.Annotations)
	c.Sourced = t.Spec.Master.Katana != nil
	c.Identity = Identity{StoreID: t.IdentityStoreID(), Name: t.IdentityName()}
	m := &t.Spec.Master
	master := b.store(b.doc, t.Spec.Master.StoreID, t.EffectiveMode(), ways{m.WooCommerce, m.Kitgenix, m.Katana}, "spec.master.", nil)
	master.Master, master.TakeOver = true, strings.TrimSpace(t.Annotations[v1alpha1.AnnotationTakeOverFrom])
	if misfit := t.Misfit(); misfit != "" {
		master.Settings, master.Invalid = nil, &Problem{v1alpha1.ReasonTopologyMismatch, fmt.Sprintf("%s: %s", b.doc, misfit)}
	}
	if master.Settings != nil {
		master.Settings.Policy = stock.Policy{Master: true, Revert: m.EffectiveEditPolicy() == v1alpha1.EditPolicyRevert}
		master.Settings.Exclusions = NewExclusions(t.Spec.Exclusions)
		master.Settings.MinInterval = (*v1alpha1.Polling)(nil).MinInterval()
		master.Settings.MaxLoad = share((*v1alpha1.Polling)(nil).MaxLoadPercent())
	}
	c.Stores = []Store{master}

	// The older object keeps running; ties by name.
	slices.SortStableFunc(b.children, func(x, y childDocument) int {
		return cmp.Or(x.object.CreationTimestamp.Compare(y.object.CreationTimestamp.Time), strings.Compare(x.object.Name, y.object.Name))
	})
	ids := map[string]string{master.ID: b.doc.String()}
	var taken claims
	taken.claim(master.ID, m.WooCommerce, m.Kitgenix)
	for _, cd := range b.children {
		id := cd.object.EffectiveStoreID()
		if holder, ok := ids[id]; ok {
			c.Problems = append(c.Problems, fmt.Sprintf("%s: spec.storeID: %s already has the storeID %s; it must be the only one", cd.doc, holder, id))
			continue
		}
		ids[id] = cd.doc.String()
		s := b.child(cd)
		if rival := taken.claim(id, cd.object.Spec.WooCommerce, cd.object.Spec.Kitgenix); rival != nil {
			s.Settings, s.Invalid = nil, &Problem{rival.Reason, fmt.Sprintf("%s: %s", cd.doc, rival.Message)}
		}
		c.Stores = append(c.Stores, s)
	}
	slices.SortFunc(c.Stores[1:], func(x, y Store) int { return strings.Compare(x.ID, y.ID) })
	return c, nil
}

// claims are the addresses and plugin ids that stores have, by what they are to people.
type claims struct{ urls, plugins map[string]string }

// claim gives a store what it names, or says who has it already.
func (c *claims) claim(id string, w *v1alpha1.WooCommerce, k *v1alpha1.Kitgenix) *Problem {
	if c.urls == nil {
		c.urls, c.plugins = map[string]string{}, map[string]string{}
	}
	urls := map[string]string{}
	if k != nil {
		urls["spec.kitgenix.url"] = shopOf(k.URL)
		if holder, ok := c.plugins[k.RemoteStoreID]; ok {
			return &Problem{v1alpha1.ReasonDuplicateRemoteStoreID, fmt.Sprintf("spec.kitgenix.remoteStoreID: store %s already has it; a plugin must be given once", holder)}
		}
	}
	if w != nil {
		urls["spec.woocommerce.url"] = shopOf(w.URL)
	}
	for _, field := range slices.Sorted(maps.Keys(urls)) {
		if holder, ok := c.urls[urls[field]]; ok {
			return &Problem{v1alpha1.ReasonDuplicateURL, fmt.Sprintf("%s: store %s already has this URL; a shop must be given once", field, holder)}
		}
	}
	for _, url := range urls {
		c.urls[url] = id
	}
	if k != nil {
		c.plugins[k.RemoteStoreID] = id
	}
	return nil
}

func (b *builder) child(cd childDocument) Store {
	t, c := b.topology, &cd.object
	mode := c.EffectiveMode(t.EffectiveMode())
	if cd.bad != nil {
		return Store{ID: c.EffectiveStoreID(), Mode: engine.Mode(mode), Invalid: &Problem{v1alpha1.ReasonInvalidConfiguration, cd.bad.Error()}}
	}
	found := validateChild(c)
	supply, bad := b.supply(c.Spec.Katana)
	s := b.store(cd.doc, c.EffectiveStoreID(), mode, ways{c.Spec.WooCommerce, c.Spec.Kitgenix, nil}, "spec.", append(found, bad...))
	s.TakeOver = strings.TrimSpace(c.Annotations[v1alpha1.AnnotationTakeOverFrom])
	misfit := c.Misfit(t)
	switch {
	case c.Spec.TopologyRef.Name != t.Name || !sameNamespace(c.Namespace, t.Namespace):
		s.Settings = nil
		s.Invalid = &Problem{v1alpha1.ReasonTopologyNotFound, fmt.Sprintf("%s: spec.topologyRef.name: must be %s, the StockSyncTopology of this configuration, and be in its namespace", cd.doc, t.Name)}
	case s.Invalid == nil && misfit != "":
		s.Settings, s.Invalid = nil, &Problem{v1alpha1.ReasonTopologyMismatch, fmt.Sprintf("%s: %s", cd.doc, misfit)}
	case s.Settings != nil:
		s.Settings.Policy = stock.Policy{
			BufferUnits: c.Spec.BufferUnits(),
			Revert:      c.Spec.EffectiveEditPolicy() == v1alpha1.EditPolicyRevert,
		}
		s.Settings.Exclusions = NewExclusions(t.Spec.Exclusions, c.Spec.Exclusions)
		s.Settings.MinInterval = c.Spec.Polling.MinInterval()
		s.Settings.MaxLoad = share(c.Spec.Polling.MaxLoadPercent())
		s.Settings.Supply, s.Settings.Policy.Source = supply, t.Spec.Master.Katana != nil
		if s.Settings.Kitgenix != nil {
			s.Settings.Checkout = Checkout{Policy: c.Spec.CheckoutValidation.EffectivePolicy(), Grace: t.LagObjective(), MaxAge: c.Spec.CheckoutValidation.MaxAge()}
		}
	}
	return s
}

// ways are the ways into a store that its document gives.
type ways struct {
	woocommerce *v1alpha1.WooCommerce
	kitgenix    *v1alpha1.Kitgenix
	katana      *v1alpha1.Katana
}

// store resolves the Secrets of a store. found are problems seen before.
func (b *builder) store(d document, id string, mode v1alpha1.Mode, w ways, path string, found []string) Store {
	s, out := Store{ID: id, Mode: engine.Mode(mode)}, &Settings{}
	r := resolver{b: b, found: found}
	switch {
	case w.katana != nil && (w.woocommerce != nil || w.kitgenix != nil):
		r.bad(path + "katana: must stand alone: with it `woocommerce` and `kitgenix` must be omitted")
	case w.katana != nil:
		out.Katana = r.katana(w.katana, path+"katana.")
	case w.woocommerce == nil && w.kitgenix == nil:
		ways := "`woocommerce`, `kitgenix` or both"
		if path != "spec." {
			ways += "; or `katana`"
		}
		r.bad(path + "woocommerce: a way to reach the store must be given: " + ways)
	}
	if w.woocommerce != nil {
		out.WooCommerce = r.woocommerce(w.woocommerce, path+"woocommerce.")
	}
	if w.kitgenix != nil {
		out.Kitgenix = r.kitgenix(w.kitgenix, path+"kitgenix.")
		if secrets := out.Kitgenix.Secrets; len(secrets) > 0 && v1alpha1.FragileSecret(string(secrets[0].Value)) {
			s.Warnings = append(s.Warnings, Problem{v1alpha1.ReasonSecretFragile, fmt.Sprintf("%s: %s %s", d, out.Kitgenix.SecretName, v1alpha1.FragileSecretAdvice)})
		}
	}
	if len(r.found) > 0 {
		s.Invalid = &Problem{v1alpha1.ReasonInvalidConfiguration, fmt.Sprintf("%s: %s", d, strings.Join(r.found, "; "))}
		return s
	}
	s.Settings = out
	return s
}

// resolver looks up what a store's ways in name, and collects what is wrong with them.
type resolver struct {
	b     *builder
	found []string
}

// bad adds problems. One missing Secret is one message, however many keys it should have held.
func (r *resolver) bad(problems ...string) {
	for _, p := range problems {
		if p != "" && !slices.Contains(r.found, p) {
			r.found = append(r.found, p)
		}
	}
}

// value is a key of a Secret without the blanks around it: an end of line from `echo` or an editor is no part of a key.
func (r *resolver) value(secret, key string) string {
	v, bad := r.b.value(secret, key)
	if secret != "" {
		r.bad(bad)
	}
	return strings.TrimSpace(v)
}

// plain is a value that must hold nothing that does not belong into a header.
func (r *resolver) plain(secret, key, rule string) Secret {
	v := r.value(secret, key)
	if strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c > '~' || c == ':' }) {
		r.bad(fmt.Sprintf("Secret `%s`: key `%s` must be %s", secret, key, rule))
	}
	return Secret(v)
}

// bundle is the PEM certificates of a reference, and what messages call them.
func (r *resolver) bundle(ref *v1alpha1.SecretKeyReference) (pem, name string) {
	if ref == nil {
		return "", ""
	}
	pem = r.value(ref.Name, ref.Key)
	if pem != "" && !isBundle(pem) {
		r.bad(fmt.Sprintf("Secret `%s`: key `%s` must hold PEM certificates (-----BEGIN CERTIFICATE-----) and nothing else", ref.Name, ref.Key))
	}
	return pem, nameOf(*ref)
}

func nameOf(ref v1alpha1.SecretKeyReference) string {
	return fmt.Sprintf("key `%s` of Secret `%s`", ref.Key, ref.Name)
}

func (r *resolver) woocommerce(w *v1alpha1.WooCommerce, path string) WooCommerce {
	r.bad(validateWooCommerce(w, path)...)
	out := WooCommerce{
		URL: strings.TrimSuffix(w.URL, "/"), Insecure: w.EffectiveTransport() == v1alpha1.TransportInsecureHTTP,
		SecretName: w.CredentialsSecretRef.Name,
	}
	const rule = "the text WooCommerce showed, without blanks"
	out.ConsumerKey = r.plain(w.CredentialsSecretRef.Name, v1alpha1.CredentialsConsumerKey, rule)
	out.ConsumerSecret = r.plain(w.CredentialsSecretRef.Name, v1alpha1.CredentialsConsumerSecret, rule)
	out.CABundle, out.CAName = r.bundle(w.CABundleSecretKeyRef)
	return out
}

func (r *resolver) kitgenix(k *v1alpha1.Kitgenix, path string) *Kitgenix {
	r.bad(validateKitgenix(k, path)...)
	out := &Kitgenix{
		URL: strings.TrimSuffix(k.URL, "/"), Insecure: k.EffectiveTransport() == v1alpha1.TransportInsecureHTTP,
		RemoteStoreID: k.RemoteStoreID, SecretName: nameOf(k.SharedSecretKeyRef),
	}
	out.CABundle, out.CAName = r.bundle(k.CABundleSecretKeyRef)
	ref := k.SharedSecretKeyRef
	current, bad := r.b.value(ref.Name, ref.Key)
	if bad != "" {
		r.bad(bad)
		return out
	}
	out.Secrets = []SharedSecret{{Value: Secret(current)}}
	before, bad := r.b.secretsBefore(ref)
	r.bad(bad)
	out.Secrets = append(out.Secrets, before...)
	return out
}

// secretsBefore are the values that a key had before, each under the key that [v1alpha1.SecretUntilKey] makes.
func (b *builder) secretsBefore(ref v1alpha1.SecretKeyReference) (before []SharedSecret, bad string) {
	for key, value := range b.secret(ref.Name).values {
		until, is, err := v1alpha1.SecretUntil(ref.Key, key)
		switch {
		case err != nil:
			return nil, fmt.Sprintf("Secret `%s`: %v", ref.Name, err)
		case is && trimLine(value) != "":
			before = append(before, SharedSecret{Value: Secret(trimLine(value)), Until: until})
		}
	}
	slices.SortFunc(before, func(x, y SharedSecret) int {
		return cmp.Or(y.Until.Compare(x.Until), strings.Compare(string(x.Value), string(y.Value)))
	})
	return before, ""
}

func (r *resolver) katana(k *v1alpha1.Katana, path string) *Katana {
	r.bad(validateKatana(k, path)...)
	out := &Katana{
		URL: strings.TrimSuffix(k.EffectiveURL(), "/"), SecretName: nameOf(k.TokenSecretKeyRef),
		Poll: k.PollInterval(), Compare: k.CompareInterval(), ImportGrace: k.ImportGrace(),
		WooCommerceSources: k.WooCommerceSources, IgnoreCase: k.SKUComparison == v1alpha1.SKUCaseInsensitive,
	}
	if k.RequestsPerMinute != nil {
		out.RequestsPerMinute = int(*k.RequestsPerMinute)
	}
	out.Token = r.plain(k.TokenSecretKeyRef.Name, k.TokenSecretKeyRef.Key, "the API key as Katana showed it, without blanks")
	out.CABundle, out.CAName = r.bundle(k.CABundleSecretKeyRef)
	return out
}

// supply resolves what a child says of Katana; nil where it says nothing.
func (b *builder) supply(k *v1alpha1.ChildKatana) (*Supply, []string) {
	if k == nil {
		return nil, nil
	}
	out := &Supply{
		Location:  strconv.Itoa(int(k.LocationID)),
		Committed: cmp.Or(k.CommittedOrders, v1alpha1.CommittedAll), Quotes: cmp.Or(k.Quotes, v1alpha1.QuotesIgnore),
		Rounding: cmp.Or(k.Rounding, v1alpha1.RoundDown), BelowZero: cmp.Or(k.BelowZero, v1alpha1.BelowZeroKeep),
		Kits: cmp.Or(k.Kits, v1alpha1.KitsInStock), Drift: cmp.Or(k.Drift, v1alpha1.DriftKeep),
	}
	if k.LinksConfigMapRef == nil {
		return out, nil
	}
	links, bad := b.links(k.LinksConfigMapRef.Name)
	out.Links = links
	return out, bad
}

// links reads the link table of a ConfigMap.
func (b *builder) links(name string) (map[string]int64, []string) {
	i := slices.IndexFunc(b.configs, func(c values) bool {
		return c.doc.meta.Name == name && sameNamespace(c.doc.meta.Namespace, b.topology.Namespace)
	})
	if i < 0 {
		return nil, []string{fmt.Sprintf("ConfigMap `%s` is missing; it must be in the namespace of the StockSyncTopology", name)}
	}
	if bad := b.configs[i].bad; bad != "" {
		return nil, []string{bad}
	}
	links, holders := map[string]int64{}, map[int64]string{}
	for _, variant := range slices.Sorted(maps.Keys(b.configs[i].values)) {
		product, err := strconv.ParseInt(strings.TrimSpace(b.configs[i].values[variant]), 10, 64)
		if id, bad := strconv.ParseInt(variant, 10, 64); bad != nil || id <= 0 || err != nil || product <= 0 {
			return nil, []string{fmt.Sprintf("ConfigMap `%s`: key `%.40s`: key and value must be the id of a Katana variant and the WooCommerce id of its product or variation, such as \"2101\": \"345\"", name, variant)}
		}
		if holder, ok := holders[product]; ok {
			return nil, []string{fmt.Sprintf("ConfigMap `%s`: the variants %s and %s are linked to one WooCommerce id, %d; it must be linked once", name, holder, variant, product)}
		}
		links[variant], holders[product] = product, variant
	}
	return links, nil
}

// secret finds a Secret; it has no document when there is none.
func (b *builder) secret(name string) values {
	// In the cluster all objects are of one namespace; in a file, Secrets of other namespaces may lie around.
	i := slices.IndexFunc(b.secrets, func(s values) bool {
		return s.doc.meta.Name == name && sameNamespace(s.doc.meta.Namespace, b.topology.Namespace)
	})
	if i < 0 {
		return values{bad: fmt.Sprintf("Secret `%s` is missing; it must be in the namespace of the StockSyncTopology", name)}
	}
	return b.secrets[i]
}

// value finds a key of a Secret, without the end of its line, or says what is missing.
func (b *builder) value(name, key string) (value, bad string) {
	s := b.secret(name)
	if s.bad != "" {
		return "", s.bad
	}
	value = trimLine(s.values[key])
	if strings.TrimSpace(value) == "" {
		return "", fmt.Sprintf("Secret `%s` must have the key `%s`, with a value", name, key)
	}
	return value, ""
}

// trimLine drops the end of line that `echo` or an editor left.
func trimLine(s string) string { return strings.TrimRight(s, "\r\n") }

func isBundle(text string) bool {
	rest := []byte(text)
	for n := 0; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return n > 0 && strings.TrimSpace(string(rest)) == ""
		}
		if block.Type != "CERTIFICATE" {
			return false
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
	}
}

func share(percent int) float64 { return float64(percent) / 100 }

func sameNamespace(a, b string) bool { return a == b || a == "" || b == "" }

// shopOf is the form in which two URLs of one shop are equal.
func shopOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	if port == "80" || port == "443" {
		// One shop answers on both.
		port = ""
	}
	return net.JoinHostPort(host, port) + strings.TrimRight(u.EscapedPath(), "/")
}

// Keep fills in, for every store whose new documents cannot be used, the last good settings. The more cautious
// of both modes holds, so that the brake works even then.
func (c Config) Keep(before Config) Config {
	c.Stores = slices.Clone(c.Stores)
	for i, s := range c.Stores {
		if s.Invalid == nil {
			continue
		}
		for _, old := range before.Stores {
			if old.ID == s.ID && old.Master == s.Master && old.Settings != nil {
				c.Stores[i].Settings = old.Settings
				c.Stores[i].Mode = cautious(s.Mode, old.Mode)
			}
		}
	}
	return c
}

func cautious(a, b engine.Mode) engine.Mode {
	for _, m := range []engine.Mode{engine.Off, engine.Observe} {
		if a == m || b == m {
			return m
		}
	}
	return engine.Sync
}
