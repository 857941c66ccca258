package woocommerce

import "slices"

func siteIndex(c *call) (int, any, error) {
	s := c.s
	s.mu.Lock()
	without := s.behaviour.NoWooCommerce
	_, offset := s.now().In(s.o.Location).Zone()
	s.mu.Unlock()
	namespaces := []string{"oembed/1.0"}
	if !without {
		namespaces = append(namespaces, "wc/v3", "wc/store/v1")
	}
	namespaces = append(namespaces, "wp/v2")
	return 200, object{
		{"name", s.o.Name}, {"description", ""}, {"url", s.o.HomeURL}, {"home", s.o.HomeURL},
		{"gmt_offset", float64(offset) / 3600}, {"timezone_string", ""}, {"page_for_posts", 0}, {"page_on_front", 0}, {"show_on_front", "posts"},
		{"namespaces", namespaces}, {"authentication", []any{}}, {"routes", c.routeObjects(!without)},
	}, nil
}

func namespaceIndex(c *call) (int, any, error) {
	return 200, object{{"namespace", "wc/v3"}, {"routes", c.routeObjects(true)},
		{"_links", object{{"up", []object{{{"href", c.home + "/wp-json/"}}}}}}}, nil
}

// routeObjects lists the routes as the index does, numbers as named groups.
func (c *call) routeObjects(shop bool) object {
	if !shop {
		return object{}
	}
	routes := []string{
		"/wc/v3", "/wc/v3/orders", `/wc/v3/orders/(?P<id>[\d]+)`,
		`/wc/v3/orders/(?P<order_id>[\d]+)/refunds`, `/wc/v3/orders/(?P<order_id>[\d]+)/refunds/(?P<id>[\d]+)`,
		"/wc/v3/products", `/wc/v3/products/(?P<id>[\d]+)`, "/wc/v3/products/batch",
		`/wc/v3/products/(?P<product_id>[\d]+)/variations`, `/wc/v3/products/(?P<product_id>[\d]+)/variations/(?P<id>[\d]+)`,
		`/wc/v3/products/(?P<product_id>[\d]+)/variations/batch`,
		"/wc/v3/system_status", "/wc/v3/webhooks", `/wc/v3/webhooks/(?P<id>[\d]+)`,
	}
	if c.s.globalVariations() {
		routes = append(routes, "/wc/v3/variations")
		slices.Sort(routes)
	}
	o := object{}
	for _, r := range routes {
		o = append(o, member{r, object{{"namespace", "wc/v3"}, {"methods", []string{"GET"}}}})
	}
	return o
}

func systemStatus(c *call) (int, any, error) {
	s := c.s
	return 200, object{
		{"environment", object{
			{"home_url", s.o.HomeURL}, {"site_url", s.o.HomeURL}, {"version", s.o.Version}, {"wp_version", s.o.WordPress},
			{"wp_multisite", false}, {"wp_memory_limit", 268435456}, {"wp_debug_mode", false}, {"wp_cron", true}, {"language", "en_US"},
			{"php_version", "8.2.36"}, {"remote_post_successful", nil}, {"remote_get_successful", nil},
		}},
		{"database", object{{"wc_database_version", s.o.Version}, {"database_prefix", "wp_"}}},
		{"active_plugins", []any{}},
		{"settings", object{{"api_enabled", false}, {"currency", "EUR"}, {"currency_symbol", "&euro;"}, {"number_of_decimals", 2}, {"HPOS_enabled", true}}},
	}, nil
}
