package woocommerce

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var webhookStatuses = []string{"active", "paused", "disabled"}

var webhookListArgs = append([]arg{
	{name: "status", typ: "string", enum: append([]string{"all"}, webhookStatuses...)},
	{name: "include", typ: "ids"}, {name: "exclude", typ: "ids"},
	{name: "orderby", typ: "string", enum: []string{"date", "id", "title"}},
	{name: "search", typ: "string"},
}, pageArgs...)

var webhookArgs = []arg{
	{name: "name", typ: "string"},
	{name: "status", typ: "string", enum: webhookStatuses},
	{name: "topic", typ: "string"}, {name: "secret", typ: "string"}, {name: "delivery_url", typ: "string"},
}

var (
	errWebhookID    = fail(404, "woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.")
	errWebhookTopic = fail(400, "woocommerce_rest_shop_webhook_invalid_topic", "Webhook topic is required and must be valid.")
	errWebhookURL   = fail(400, "woocommerce_rest_shop_webhook_invalid_delivery_url",
		"Webhook delivery URL must be a valid URL starting with http:// or https://.")
)

// validTopic tells whether WooCommerce accepts a topic.
func validTopic(topic string) bool {
	resource, event, ok := strings.Cut(topic, ".")
	if resource == "action" {
		return strings.HasPrefix(event, "woocommerce_") || strings.HasPrefix(event, "wc_")
	}
	return ok && slices.Contains([]string{"coupon", "customer", "order", "product"}, resource) &&
		slices.Contains([]string{"created", "updated", "deleted", "restored"}, event)
}

func validDelivery(address string) bool {
	return strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")
}

func listWebhooks(c *call) (int, any, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	status, search := c.params.str("status", "all"), strings.ToLower(c.params.str("search", ""))
	include, hasInclude := c.params.ids("include")
	exclude, _ := c.params.ids("exclude")
	rows := []*webhook{}
	for _, w := range s.st.Webhooks {
		if (status == "all" || w.Status == status) && strings.Contains(strings.ToLower(w.Name), search) &&
			(!hasInclude || slices.Contains(include, w.ID)) && !slices.Contains(exclude, w.ID) {
			rows = append(rows, w)
		}
	}
	desc := c.params.str("order", "desc") == "desc"
	slices.SortFunc(rows, func(a, b *webhook) int {
		n := cmp.Compare(a.ID, b.ID)
		if c.params.str("orderby", "date") == "title" {
			n = cmp.Or(cmp.Compare(a.Name, b.Name), n)
		}
		if desc {
			return -n
		}
		return n
	})
	objects := []object{}
	for _, w := range page(c, rows) {
		objects = append(objects, c.webhookObject(w))
	}
	return 200, objects, nil
}

func viewWebhook(c *call) (int, any, error) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	w := c.s.st.Webhooks[c.ids[0]]
	if w == nil {
		return 0, nil, errWebhookID
	}
	return 200, c.webhookObject(w), nil
}

func createWebhook(c *call) (int, any, error) {
	s, p := c.s, c.params
	topic, address := p.str("topic", ""), p.str("delivery_url", "")
	if !validTopic(topic) {
		return 0, nil, errWebhookTopic
	}
	if !validDelivery(address) {
		return 0, nil, errWebhookURL
	}
	secret := p.str("secret", "")
	if secret == "" {
		secret = s.token(50)
	}
	s.mu.Lock()
	now := s.now().Truncate(time.Second)
	name := p.str("name", "")
	if name == "" {
		name = "Webhook created on " + now.Format("Jan 2, 2006 @ 03:04 PM")
	}
	w := &webhook{ID: s.st.NextWebhook, Name: name, Status: p.str("status", "active"), Topic: topic, URL: address, Secret: secret, Created: now}
	s.st.NextWebhook++
	s.st.Webhooks[w.ID] = w
	body := c.webhookObject(w)
	s.mu.Unlock()
	s.ping(c.run.ctx, w.ID, address)
	c.header.Set("Location", fmt.Sprintf("%s/wp-json/wc/v3/webhooks/%d", c.home, w.ID))
	return 201, body, nil
}

func editWebhook(c *call) (int, any, error) {
	s, p := c.s, c.params
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.st.Webhooks[c.ids[0]]
	if w == nil {
		return 0, nil, errWebhookID
	}
	if _, ok := p["topic"]; ok && !validTopic(p.str("topic", "")) {
		return 0, nil, errWebhookTopic
	}
	if _, ok := p["delivery_url"]; ok && !validDelivery(p.str("delivery_url", "")) {
		return 0, nil, errWebhookURL
	}
	w.Name, w.Status = p.str("name", w.Name), p.str("status", w.Status)
	w.Topic, w.URL = p.str("topic", w.Topic), p.str("delivery_url", w.URL)
	if secret := p.str("secret", ""); secret != "" {
		w.Secret = secret
	}
	w.Modified = s.now().Truncate(time.Second)
	return 200, c.webhookObject(w), nil
}

func deleteWebhook(c *call) (int, any, error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.params.bool("force") {
		return 0, nil, fail(501, "woocommerce_rest_trash_not_supported", "Webhooks do not support trashing.")
	}
	w := s.st.Webhooks[c.ids[0]]
	if w == nil {
		return 0, nil, errWebhookID
	}
	delete(s.st.Webhooks, w.ID)
	s.st.Queue = slices.DeleteFunc(slices.Clone(s.st.Queue), func(j job) bool { return j.Webhook == w.ID })
	return 200, c.webhookObject(w), nil
}

// webhookObject is a webhook without its secret and its failure count: REST shows neither. The lock is held.
func (c *call) webhookObject(w *webhook) object {
	resource, event, _ := strings.Cut(w.Topic, ".")
	b := &builder{want: wanted(c.itemFields(object{{"_links", nil}}))}
	b.put("id", w.ID)
	b.put("name", w.Name)
	b.put("status", w.Status)
	b.put("topic", w.Topic)
	b.put("resource", resource)
	b.put("event", event)
	b.put("hooks", hooksOf(resource, event))
	b.put("delivery_url", w.URL)
	c.s.putDates(b, "date_created", w.Created)
	c.s.putDates(b, "date_modified", w.Modified)
	b.put("_links", links(fmt.Sprintf("%s/wp-json/wc/v3/webhooks/%d", c.home, w.ID), c.home+"/wp-json/wc/v3/webhooks", "", allowItem))
	return b.obj
}

func hooksOf(resource, event string) []string {
	if resource == "action" {
		return []string{event}
	}
	switch resource + "." + event {
	case "product.created":
		return []string{"woocommerce_process_product_meta", "woocommerce_new_product", "woocommerce_new_product_variation"}
	case "product.updated":
		return []string{"woocommerce_process_product_meta", "woocommerce_update_product", "woocommerce_update_product_variation"}
	case "order.created":
		return []string{"woocommerce_new_order"}
	case "order.updated":
		return []string{"woocommerce_update_order", "woocommerce_order_refunded"}
	}
	if event == "deleted" {
		return []string{"wp_trash_post"}
	}
	if event == "restored" {
		return []string{"untrashed_post"}
	}
	return []string{"woocommerce_" + event + "_" + resource}
}

// WebhookInfo is what the site's owner sees of a webhook.
type WebhookInfo struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Topic    string `json:"topic"`
	Status   string `json:"status"`
	URL      string `json:"deliveryURL"`
	Failures int    `json:"failures"`
}

// Webhooks lists the webhooks by number.
func (s *Store) Webhooks() []WebhookInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []WebhookInfo
	for _, id := range slices.Sorted(maps.Keys(s.st.Webhooks)) {
		w := s.st.Webhooks[id]
		list = append(list, WebhookInfo{w.ID, w.Name, w.Topic, w.Status, w.URL, w.Failures})
	}
	return list
}

// SetWebhookStatus does what the owner does in the settings page; false when there is no such webhook.
func (s *Store) SetWebhookStatus(id int64, status string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.st.Webhooks[id]
	if w == nil || !slices.Contains(webhookStatuses, status) {
		return false
	}
	w.Status, w.Modified = status, s.now().Truncate(time.Second)
	return true
}

// DeleteWebhook removes a webhook as its owner would; false when there is none.
func (s *Store) DeleteWebhook(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.st.Webhooks[id]
	delete(s.st.Webhooks, id)
	return ok
}
