package agent

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
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
	// LagObjective is how old a difference may grow before its store is no longer in sync.
	LagObjective time.Duration
	// Breaker says how large a change may be before a person is asked.
	Breaker stock.Breaker
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
}

// Settings are the usable configuration of a store.
type Settings struct {
	Policy     stock.Policy
	Exclusions Exclusions
	// MinInterval is the shortest time between polls, MaxLoad the share of the store's time they may take.
	MinInterval time.Duration
	MaxLoad     float64
	WooCommerce WooCommerce
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

// Parse reads a multi-document YAML stream: one StockSyncTopology, its ChildStores and the Secrets they name,
// in any order; objects of other kinds are passed over. A store that is not usable comes back with its Problem,
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
	secrets  []secretValues
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
	master := b.store(b.doc, t.Spec.Master.StoreID, t.EffectiveMode(), t.Spec.Master.WooCommerce, "spec.master.", nil)
	master.Master, master.TakeOver = true, strings.TrimSpace(t.Annotations[v1alpha1.AnnotationTakeOverFrom])
	if master.Settings != nil {
		master.Settings.Policy = stock.Policy{Master: true, Revert: t.Spec.Master.EffectiveEditPolicy() == v1alpha1.EditPolicyRevert}
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
	urls := map[string]string{}
	if w := t.Spec.Master.WooCommerce; w != nil {
		urls[shopOf(w.URL)] = master.ID
	}
	for _, cd := range b.children {
		id := cd.object.EffectiveStoreID()
		if holder, ok := ids[id]; ok {
			c.Problems = append(c.Problems, fmt.Sprintf("%s: spec.storeID: %s already has the storeID %s; it must be the only one", cd.doc, holder, id))
			continue
		}
		ids[id] = cd.doc.String()
		s := b.child(cd)
		if w := cd.object.Spec.WooCommerce; w != nil {
			if holder, ok := urls[shopOf(w.URL)]; ok {
				s.Settings = nil
				s.Invalid = &Problem{v1alpha1.ReasonDuplicateURL, fmt.Sprintf("%s: spec.woocommerce.url: store %s already has this URL; a shop must be given once", cd.doc, holder)}
			} else {
				urls[shopOf(w.URL)] = id
			}
		}
		c.Stores = append(c.Stores, s)
	}
	slices.SortFunc(c.Stores[1:], func(x, y Store) int { return strings.Compare(x.ID, y.ID) })
	return c, nil
}

func (b *builder) child(cd childDocument) Store {
	t, c := b.topology, &cd.object
	mode := c.EffectiveMode(t.EffectiveMode())
	if cd.bad != nil {
		return Store{ID: c.EffectiveStoreID(), Mode: engine.Mode(mode), Invalid: &Problem{v1alpha1.ReasonInvalidConfiguration, cd.bad.Error()}}
	}
	s := b.store(cd.doc, c.EffectiveStoreID(), mode, c.Spec.WooCommerce, "spec.", validateChild(c))
	s.TakeOver = strings.TrimSpace(c.Annotations[v1alpha1.AnnotationTakeOverFrom])
	switch {
	case c.Spec.TopologyRef.Name != t.Name || !sameNamespace(c.Namespace, t.Namespace):
		s.Settings = nil
		s.Invalid = &Problem{v1alpha1.ReasonTopologyNotFound, fmt.Sprintf("%s: spec.topologyRef.name: must be %s, the StockSyncTopology of this configuration, and be in its namespace", cd.doc, t.Name)}
	case s.Settings != nil:
		s.Settings.Policy = stock.Policy{
			BufferUnits: c.Spec.BufferUnits(),
			Revert:      c.Spec.EffectiveEditPolicy() == v1alpha1.EditPolicyRevert,
		}
		s.Settings.Exclusions = NewExclusions(t.Spec.Exclusions, c.Spec.Exclusions)
		s.Settings.MinInterval = c.Spec.Polling.MinInterval()
		s.Settings.MaxLoad = share(c.Spec.Polling.MaxLoadPercent())
	}
	return s
}

// store resolves the Secrets of a store. found are problems seen before.
func (b *builder) store(d document, id string, mode v1alpha1.Mode, w *v1alpha1.WooCommerce, path string, found []string) Store {
	s := Store{ID: id, Mode: engine.Mode(mode)}
	out := WooCommerce{}
	if w == nil {
		found = append(found, path+"woocommerce: must be given")
	} else {
		found = append(found, validateWooCommerce(w, path+"woocommerce.")...)
		out.URL = strings.TrimSuffix(w.URL, "/")
		out.Insecure = w.EffectiveTransport() == v1alpha1.TransportInsecureHTTP
		out.SecretName = w.CredentialsSecretRef.Name
		value := func(secret, key string) string {
			v, bad := b.value(secret, key)
			// One missing Secret is one message, however many keys it should have held.
			if bad != "" && secret != "" && !slices.Contains(found, bad) {
				found = append(found, bad)
			}
			return v
		}
		out.ConsumerKey = Secret(value(w.CredentialsSecretRef.Name, v1alpha1.CredentialsConsumerKey))
		out.ConsumerSecret = Secret(value(w.CredentialsSecretRef.Name, v1alpha1.CredentialsConsumerSecret))
		if ref := w.CABundleSecretKeyRef; ref != nil {
			out.CAName = fmt.Sprintf("key `%s` of Secret `%s`", ref.Key, ref.Name)
			out.CABundle = value(ref.Name, ref.Key)
			if out.CABundle != "" && !isBundle(out.CABundle) {
				found = append(found, fmt.Sprintf("Secret `%s`: key `%s` must hold PEM certificates (-----BEGIN CERTIFICATE-----) and nothing else", ref.Name, ref.Key))
			}
		}
		for _, k := range []struct {
			name  string
			value Secret
		}{{v1alpha1.CredentialsConsumerKey, out.ConsumerKey}, {v1alpha1.CredentialsConsumerSecret, out.ConsumerSecret}} {
			if strings.ContainsFunc(string(k.value), func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
				found = append(found, fmt.Sprintf("Secret `%s`: key `%s` must be the text WooCommerce showed, without blanks", out.SecretName, k.name))
			}
		}
	}
	if len(found) > 0 {
		s.Invalid = &Problem{v1alpha1.ReasonInvalidConfiguration, fmt.Sprintf("%s: %s", d, strings.Join(found, "; "))}
		return s
	}
	s.Settings = &Settings{WooCommerce: out}
	return s
}

// value finds a key of a Secret, or says what is missing. Blanks around it are dropped: an end of line from
// `echo` or an editor is no part of a key.
func (b *builder) value(name, key string) (value, bad string) {
	// In the cluster all objects are of one namespace; in a file, Secrets of other namespaces may lie around.
	i := slices.IndexFunc(b.secrets, func(s secretValues) bool {
		return s.doc.meta.Name == name && sameNamespace(s.doc.meta.Namespace, b.topology.Namespace)
	})
	if i < 0 {
		return "", fmt.Sprintf("Secret `%s` is missing; it must be in the namespace of the StockSyncTopology", name)
	}
	s := b.secrets[i]
	if s.bad != "" {
		return "", s.bad
	}
	value = strings.TrimSpace(s.values[key])
	if value == "" {
		return "", fmt.Sprintf("Secret `%s` must have the key `%s`, with a value", name, key)
	}
	return value, ""
}

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
