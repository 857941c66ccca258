package woocommerce

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/driver/httpfault"
	"stocksync.dev/stocksync/internal/engine"
)

// unexpected is a fault about an answer that cannot be used. A write so answered may have happened.
func unexpected(message string) *engine.Fault {
	return &engine.Fault{Reason: v1alpha1.ReasonUnexpectedContent, Message: message}
}

// errorCode is the code of a WordPress error; empty if the body is not one.
func errorCode(body []byte) string {
	var e struct {
		Code text `json:"code"`
	}
	if json.Unmarshal(bytes.TrimPrefix(body, utf8BOM), &e) != nil {
		return ""
	}
	return safeCode(e.Code)
}

// safeCode lets through what looks like a WordPress error code, so that it is safe to show.
func safeCode(code text) string {
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}
	if len(code) > 100 || strings.ContainsFunc(string(code), strange) {
		return ""
	}
	return string(code)
}

// classify turns an answer into a fault, or nil when it is a success in JSON. readable tells that the key
// could read a moment ago. A refused write is Unsent only where WordPress itself, or a limiter in front of
// it, says that it did not begin; after anything else it may have happened.
func classify(r request, a answer, readable bool) *engine.Fault {
	coded := a.code != ""
	fault := func(reason string, unsent bool, format string, args ...any) *engine.Fault {
		return &engine.Fault{Reason: reason, Unsent: unsent, Message: fmt.Sprintf(format, args...)}
	}
	waiting := func(f *engine.Fault) *engine.Fault {
		f.RetryAfter = httpfault.RetryAfter(a.header)
		return f
	}
	switch {
	case a.tooLarge:
		return unexpected(fmt.Sprintf("the answer is larger than %d MiB", maxBody>>20))
	case a.status >= 300 && a.status < 400:
		return redirect(a.header.Get("Location"))
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return refused(r, a, readable)
	case a.status == http.StatusNotFound && a.code == "rest_no_route":
		return fault(v1alpha1.ReasonWooCommerceMissing, true, "WordPress answers, but WooCommerce's REST API is not there: install and activate WooCommerce")
	case a.status == http.StatusNotFound && coded:
		return fault(v1alpha1.ReasonUnexpectedContent, true, "the shop does not know what was asked for (%s)", a.code)
	case a.status == http.StatusNotFound:
		return fault(v1alpha1.ReasonUnexpectedContent, false, "there is no WordPress REST API at %s: check the URL, and set permalinks to anything but Plain", apiPath)
	case a.status == http.StatusRequestEntityTooLarge:
		f := fault(v1alpha1.ReasonUnexpectedContent, true, "the shop, or a server in front of it, refuses a request of this size")
		f.TooLarge = true
		return f
	case a.status == http.StatusTooManyRequests:
		return waiting(fault(v1alpha1.ReasonRateLimited, true, "the shop's host asks for fewer requests"))
	case a.status == http.StatusServiceUnavailable && (a.code == "wp_die" || bytes.Contains(bytes.ToLower(a.body), []byte("maintenance"))):
		return waiting(fault(v1alpha1.ReasonMaintenance, false, "the shop shows its maintenance page; it is tried again later"))
	case a.status == http.StatusGatewayTimeout || a.status == 524:
		return waiting(fault(v1alpha1.ReasonTimeout, false, "the web server in front of the shop gave up waiting for it (HTTP %d)", a.status))
	case a.status >= 500:
		return waiting(fault(v1alpha1.ReasonServerError, false, "the shop answered HTTP %d%s; its PHP error log says more", a.status, suffix(a.code)))
	case a.status == http.StatusBadRequest && coded:
		return fault(v1alpha1.ReasonUnexpectedContent, true, "the shop refuses the request as wrong (%s)", a.code)
	case a.status < 200 || a.status >= 300:
		return fault(v1alpha1.ReasonUnexpectedContent, false, "the shop answered HTTP %d%s", a.status, suffix(a.code))
	}
	return content(a.body)
}

// content tells what a success holds that is not JSON.
func content(body []byte) *engine.Fault {
	body = bytes.TrimPrefix(body, utf8BOM)
	if json.Valid(body) {
		return nil
	}
	start := bytes.TrimSpace(bytes.ToLower(body[:min(len(body), 4096)]))
	contains := func(s string) bool { return bytes.Contains(start, []byte(s)) }
	switch {
	case len(start) == 0:
		return unexpected("the answer is empty: PHP may have died; its error log says more")
	case start[0] == '{' || start[0] == '[':
		return unexpected("the answer was cut short, or a plugin of the shop writes something behind it")
	case contains("<b>warning</b>") || contains("<b>notice</b>") || contains("<b>deprecated</b>"):
		return unexpected("PHP warnings stand in the answer: switch display_errors (WP_DEBUG_DISPLAY) off in the shop")
	case contains("captcha") || contains("challenge"):
		return unexpected("a captcha or challenge page answers instead of the REST API: let the agent's address through to /wp-json/ in the shop's firewall")
	case contains("<"):
		return unexpected("an HTML page answers instead of the REST API: a firewall, a login page, a cache or a coming-soon page; let the agent through to /wp-json/")
	}
	return unexpected("something else than JSON answers instead of the REST API")
}

func redirect(location string) *engine.Fault {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Host == "":
		return unexpected("the shop redirects the REST API to another path: use the URL under which it answers itself")
	case u.Scheme == "http":
		return &engine.Fault{Reason: v1alpha1.ReasonPlainHTTP, Message: "the shop redirects to plain HTTP: set its address to https:// in WordPress's general settings"}
	}
	return unexpected(fmt.Sprintf("the shop redirects to %s://%s, and keys are not sent elsewhere: use that address as URL if it is the shop's", u.Scheme, u.Host))
}

// refused sorts 401 and 403. WooCommerce says the same code for a wrong secret and for a key that may only
// read; what tells them apart is whether the key can read.
func refused(r request, a answer, readable bool) *engine.Fault {
	f := &engine.Fault{Reason: v1alpha1.ReasonAuthenticationFailed, Unsent: a.code != ""}
	ours := strings.HasPrefix(a.code, "woocommerce_rest_")
	switch {
	case !ours && a.header.Get("WWW-Authenticate") != "":
		f.Message = "the web server in front of the shop asks for a password of its own: take that protection off /wp-json/"
	case a.code == "" && a.status == http.StatusForbidden:
		f.Reason = v1alpha1.ReasonUnexpectedContent
		f.Message = "a firewall in front of the shop forbids the request: let the agent's address through to /wp-json/"
	case !ours:
		f.Message = fmt.Sprintf("the REST API is closed to the key (HTTP %d%s): a security plugin of the shop may restrict it", a.status, suffix(a.code))
	case r.write() && (readable || a.status == http.StatusForbidden || bytes.Contains(a.body, []byte("write permissions"))):
		f.Reason = v1alpha1.ReasonReadOnlyKey
		f.Message = "the REST key may read but not write: give it the permission Read/Write, and a user who may edit products"
	case a.status == http.StatusForbidden:
		f.Message = fmt.Sprintf("the REST key's user may not see this (%s): use a key of an administrator or shop manager", a.code)
	default:
		f.Message = "the shop refuses the REST key: check consumerKey and consumerSecret, that the key was not revoked, and that the web server passes the Authorization header on to PHP"
	}
	return f
}

func suffix(code string) string {
	if code == "" {
		return ""
	}
	return " (" + code + ")"
}
