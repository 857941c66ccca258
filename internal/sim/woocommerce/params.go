package woocommerce

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// restError is an answer that is an error; data holds members beyond the status.
type restError struct {
	status  int
	code    string
	message string
	data    object
}

func (e *restError) Error() string { return e.code + ": " + e.message }

func (e *restError) body() object {
	return object{{"code", e.code}, {"message", e.message}, {"data", append(object{{"status", e.status}}, e.data...)}}
}

func fail(status int, code, message string) *restError {
	return &restError{status: status, code: code, message: message}
}

// params are the merged parameters of a request: JSON body before form body before query.
type params map[string]any

// maxBody is what the store reads of a request body; PHP's post_max_size is 8 MB by default.
const maxBody = 8 << 20

// parseParams reads the parameters of a request, and the raw body for the access log.
func parseParams(query string, contentType string, body []byte) (params, *restError) {
	p := params{}
	p.form(query)
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
	case kind == "application/x-www-form-urlencoded":
		p.form(string(body))
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		v, jerr := decodeJSON(body)
		if jerr != nil {
			return p, &restError{status: 400, code: "rest_invalid_json", message: "Invalid JSON body passed.",
				data: object{{"json_error_code", jerr.code}, {"json_error_message", jerr.message}}}
		}
		if m, ok := v.(map[string]any); ok {
			maps.Copy(p, m)
		}
	}
	return p, nil
}

// form adds the pairs of a query string the way PHP reads them; name[]=v and name[k]=v make lists.
func (p params) form(raw string) {
	for pair := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(pair, "=")
		k, err1 := url.QueryUnescape(k)
		v, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil || k == "" {
			continue
		}
		if name, rest, ok := strings.Cut(k, "["); ok && name != "" && strings.HasSuffix(rest, "]") {
			list, _ := p[name].([]any)
			p[name] = append(slices.Clip(list), v)
			continue
		}
		p[k] = v
	}
}

func readBody(r *http.Request) ([]byte, *restError) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return body, fail(400, "rest_invalid_body", "The request body could not be read.")
	}
	if len(body) > maxBody {
		return nil, fail(413, "rest_body_too_large", "The request body exceeds post_max_size.")
	}
	return body, nil
}

// arg describes one parameter of a route.
type arg struct {
	name     string
	typ      string // integer, boolean, manage (boolean or "parent"), string, date, ids, strings, any
	enum     []string
	min, max int64 // both 0: no bound
	null     bool  // null is a value of its own, not a zero
}

// validate checks the parameters a route describes and brings them to one Go type each: int64, bool,
// string, date, []int64 or []string. Others stay as they came.
func (p params) validate(args []arg) *restError {
	bad, details := object{}, object{}
	for _, a := range args {
		v, sent := p[a.name]
		if !sent {
			continue
		}
		if v == nil {
			// A null is not validated, only sanitised: that is how it becomes 0.
			if !a.null {
				p[a.name] = zero(a.typ)
			}
			continue
		}
		clean, code, message := a.check(v)
		if code != "" {
			bad = append(bad, member{a.name, message})
			var data any
			if code == "rest_invalid_type" {
				data = object{{"param", a.name}}
			}
			details = append(details, member{a.name, object{{"code", code}, {"message", message}, {"data", data}}})
			continue
		}
		p[a.name] = clean
	}
	if len(bad) == 0 {
		return nil
	}
	names := make([]string, len(bad))
	for i, m := range bad {
		names[i] = m.key
	}
	return &restError{status: 400, code: "rest_invalid_param", message: "Invalid parameter(s): " + strings.Join(names, ", "),
		data: object{{"params", bad}, {"details", details}}}
}

func zero(typ string) any {
	switch typ {
	case "integer":
		return int64(0)
	case "boolean", "manage":
		return false
	case "string":
		return ""
	}
	return nil
}

//nolint:gocognit // one flat table: what WordPress makes of each type
func (a arg) check(v any) (clean any, code, message string) {
	wrongType := func(typ string) (any, string, string) {
		return nil, "rest_invalid_type", fmt.Sprintf("%s is not of type %s.", a.name, typ)
	}
	switch a.typ {
	case "integer":
		f, ok := phpNumeric(v)
		if !ok || f != math.Trunc(f) {
			return wrongType("integer")
		}
		f = phpInt(v)
		if (a.min != 0 || a.max != 0) && (f < float64(a.min) || f > float64(a.max)) {
			return nil, "rest_out_of_bounds", fmt.Sprintf("%s must be between %d (inclusive) and %d (inclusive)", a.name, a.min, a.max)
		}
		return int64(f), "", ""
	case "boolean":
		switch b := v.(type) {
		case bool:
			return b, "", ""
		case json.Number:
			if f := phpFloat(b); f == 0 || f == 1 {
				return f == 1, "", ""
			}
		case string:
			switch strings.ToLower(b) {
			case "true", "1":
				return true, "", ""
			case "false", "0", "":
				return false, "", ""
			}
		}
		return wrongType("boolean")
	case "manage":
		if v == "parent" {
			return v, "", ""
		}
		return arg{name: a.name, typ: "boolean"}.check(v)
	case "string":
		s, ok := v.(string)
		if !ok {
			return wrongType("string")
		}
		if a.enum != nil && !slices.Contains(a.enum, s) {
			return nil, "rest_not_in_enum", fmt.Sprintf("%s is not one of %s.", a.name, enumeration(a.enum))
		}
		return s, "", ""
	case "date":
		s, ok := v.(string)
		if !ok {
			return wrongType("string")
		}
		d, ok := parseDate(s)
		if !ok {
			return nil, "rest_invalid_date", "Invalid date."
		}
		return d, "", ""
	case "ids":
		ids := []int64{}
		for i, item := range listOf(v) {
			f, ok := phpNumeric(item)
			if !ok || f != math.Trunc(f) {
				return nil, "rest_invalid_type", fmt.Sprintf("%s[%d] is not of type integer.", a.name, i)
			}
			ids = append(ids, int64(phpInt(item)))
		}
		return ids, "", ""
	case "strings":
		list := []string{}
		for i, item := range listOf(v) {
			s, ok := item.(string)
			if !ok {
				return nil, "rest_invalid_type", fmt.Sprintf("%s[%d] is not of type string.", a.name, i)
			}
			if a.enum != nil && !slices.Contains(a.enum, s) {
				return nil, "rest_not_in_enum", fmt.Sprintf("%s[%d] is not one of %s.", a.name, i, enumeration(a.enum))
			}
			list = append(list, s)
		}
		return list, "", ""
	}
	return v, "", ""
}

// enumeration joins allowed values as WordPress's messages do: "a, b, and c".
func enumeration(values []string) string {
	switch len(values) {
	case 1:
		return values[0]
	case 2:
		return values[0] + " and " + values[1]
	}
	return strings.Join(values[:len(values)-1], ", ") + ", and " + values[len(values)-1]
}

// listOf reads a list parameter: a list, or a text split at commas and blanks.
func listOf(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case string:
		list := []any{}
		for _, s := range strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' }) {
			list = append(list, s)
		}
		return list
	}
	return []any{v}
}

func (p params) int(name string, def int64) int64 {
	if v, ok := p[name].(int64); ok {
		return v
	}
	return def
}

func (p params) str(name, def string) string {
	if v, ok := p[name].(string); ok {
		return v
	}
	return def
}

func (p params) bool(name string) bool {
	v, _ := p[name].(bool)
	return v
}

func (p params) ids(name string) ([]int64, bool) {
	v, ok := p[name].([]int64)
	return v, ok && len(v) > 0
}

func (p params) strings(name string) []string {
	v, _ := p[name].([]string)
	return v
}

// fields is the _fields parameter, nil when everything is wanted.
func (p params) fields() []string {
	var fields []string
	for _, v := range listOf(p["_fields"]) {
		if s, ok := v.(string); ok && s != "" {
			fields = append(fields, s)
		}
	}
	return fields
}

// wanted is the set of top-level names in a _fields list.
func wanted(fields []string) map[string]bool {
	if fields == nil {
		return nil
	}
	set := make(map[string]bool, len(fields))
	for _, f := range fields {
		top, _, _ := strings.Cut(f, ".")
		set[top] = true
	}
	return set
}

// filterFields keeps the named members; a.b reaches into objects but not into lists.
func filterFields(v any, fields []string) any {
	if fields == nil {
		return v
	}
	switch v := v.(type) {
	case object:
		return filterObject(v, fields)
	case []object:
		out := make([]any, len(v))
		for i, o := range v {
			out[i] = filterObject(o, fields)
		}
		return out
	}
	return v
}

func filterObject(o object, fields []string) any {
	out := object{}
	for _, m := range o {
		var nested []string
		whole := false
		for _, f := range fields {
			top, rest, deeper := strings.Cut(f, ".")
			if top != m.key {
				continue
			}
			if !deeper {
				whole = true
			} else {
				nested = append(nested, rest)
			}
		}
		if whole {
			out = append(out, m)
		} else if inner, ok := m.value.(object); ok && nested != nil {
			if kept, ok := filterObject(inner, nested).(object); ok {
				out = append(out, member{m.key, kept})
			}
		}
	}
	if len(out) == 0 {
		return []any{}
	}
	return out
}

// date is a date parameter: the digits as written, and the offset if one was.
type date struct {
	naive  time.Time // the digits, read as UTC
	zoned  bool
	offset time.Duration
}

var datePattern = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.\d+)?(Z|z|[+-]\d{2}(?::?\d{2})?)?$`)

func parseDate(s string) (date, bool) {
	m := datePattern.FindStringSubmatch(s)
	if m == nil {
		return date{}, false
	}
	t, err := time.Parse("2006-01-02T15:04:05", m[1]+"T"+m[2])
	if err != nil {
		return date{}, false
	}
	d := date{naive: t}
	switch zone := m[3]; {
	case zone == "":
	case zone == "Z" || zone == "z":
		d.zoned = true
	default:
		d.zoned = true
		// The pattern let only digits through.
		hours, _ := strconv.Atoi(zone[1:3])
		minutes := 0
		if len(zone) > 3 {
			minutes, _ = strconv.Atoi(zone[len(zone)-2:])
		}
		d.offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
		if zone[0] == '-' {
			d.offset = -d.offset
		}
	}
	return d, true
}

// moment is the point in time the store compares with. A zoned date is first brought to site time; with
// gmt that site time is then compared with UTC columns, which is the trap: it is off by the site's offset.
func (d date) moment(site *time.Location, gmt bool) time.Time {
	if d.zoned {
		t := d.naive.Add(-d.offset)
		if !gmt {
			return t
		}
		_, offset := t.In(site).Zone()
		return t.Add(time.Duration(offset) * time.Second)
	}
	if gmt {
		return d.naive
	}
	n := d.naive
	return time.Date(n.Year(), n.Month(), n.Day(), n.Hour(), n.Minute(), n.Second(), 0, site).UTC()
}
