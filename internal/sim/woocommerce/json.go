package woocommerce

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// object is a JSON object that keeps the order of its members, as PHP arrays do.
type object []member

type member struct {
	key   string
	value any
}

func (o object) get(key string) (any, bool) {
	for _, m := range o {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

func (o object) set(key string, value any) {
	for i := range o {
		if o[i].key == key {
			o[i].value = value
			return
		}
	}
}

// builder collects the members a caller asked for; a nil want takes all.
type builder struct {
	want map[string]bool
	obj  object
}

func (b *builder) put(key string, value any) {
	if b.want == nil || b.want[key] {
		b.obj = append(b.obj, member{key, value})
	}
}

// encodeJSON appends v the way PHP's json_encode writes it: slashes and everything beyond ASCII escaped.
func encodeJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return encodeString(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case *int64:
		if v == nil {
			return append(b, "null"...)
		}
		return strconv.AppendInt(b, *v, 10)
	case float64:
		return encodeFloat(b, v)
	case *float64:
		if v == nil {
			return append(b, "null"...)
		}
		return encodeFloat(b, *v)
	case json.Number:
		return append(b, v...)
	case json.RawMessage:
		if len(v) == 0 {
			return append(b, "null"...)
		}
		return append(b, v...)
	case object:
		b = append(b, '{')
		for i, m := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = encodeString(b, m.key)
			b = append(b, ':')
			b = encodeJSON(b, m.value)
		}
		return append(b, '}')
	case []object:
		return encodeList(b, v)
	case []any:
		return encodeList(b, v)
	case []string:
		return encodeList(b, v)
	case []int64:
		return encodeList(b, v)
	case map[string]any:
		// PHP knows one kind of array: an empty one is written as a list.
		if len(v) == 0 {
			return append(b, "[]"...)
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		o := make(object, len(keys))
		for i, k := range keys {
			o[i] = member{k, v[k]}
		}
		return encodeJSON(b, o)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, raw...)
}

func encodeList[T any](b []byte, list []T) []byte {
	b = append(b, '[')
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = encodeJSON(b, v)
	}
	return append(b, ']')
}

func encodeFloat(b []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return strconv.AppendInt(b, int64(f), 10)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, '0')
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

func encodeString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	unit := func(r rune) {
		b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\' || c == '/':
				b = append(b, '\\', c)
			case c == '\b':
				b = append(b, '\\', 'b')
			case c == '\f':
				b = append(b, '\\', 'f')
			case c == '\n':
				b = append(b, '\\', 'n')
			case c == '\r':
				b = append(b, '\\', 'r')
			case c == '\t':
				b = append(b, '\\', 't')
			case c < ' ':
				unit(rune(c))
			default:
				b = append(b, c)
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if r1, r2 := utf16.EncodeRune(r); r1 != utf8.RuneError {
			unit(r1)
			unit(r2)
		} else {
			unit(r)
		}
	}
	return append(b, '"')
}

// jsonError is PHP's json_last_error and its text.
type jsonError struct {
	code    int
	message string
}

// maxJSONDepth is the nesting PHP's json_decode accepts.
const maxJSONDepth = 512

// decodeJSON reads one JSON text as PHP's json_decode does. Numbers stay [json.Number].
func decodeJSON(body []byte) (any, *jsonError) {
	if !utf8.Valid(body) {
		return nil, &jsonError{5, "Malformed UTF-8 characters, possibly incorrectly encoded"}
	}
	if depth(body) > maxJSONDepth {
		return nil, &jsonError{1, "Maximum stack depth exceeded"}
	}
	syntax := &jsonError{4, "Syntax error"}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, syntax
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, syntax
	}
	return v, nil
}

// depth is the deepest nesting of brackets outside strings.
func depth(body []byte) int {
	deepest, now, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}
