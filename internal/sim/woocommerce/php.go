package woocommerce

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// maxQuantity keeps sums of quantities exact; what PHP would do beyond is not worth imitating.
const maxQuantity = 1 << 53

// phpFloat is PHP's floatval: the number a value starts with, 0 when there is none.
func phpFloat(v any) float64 {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
	case int64:
		return float64(v)
	case float64:
		return v
	case json.Number:
		return phpFloat(v.String())
	case string:
		s := strings.TrimLeft(v, " \t\n\r\v\f")
		f, err := strconv.ParseFloat(s[:numericPrefix(s)], 64)
		if err != nil && math.IsInf(f, 0) {
			return math.Copysign(maxQuantity, f)
		}
		return f
	case []any:
		if len(v) > 0 {
			return 1
		}
	case map[string]any:
		if len(v) > 0 {
			return 1
		}
	}
	return 0
}

// phpInt is PHP's intval as a float: cut towards zero and kept in the range where floats are exact.
func phpInt(v any) float64 {
	return max(-maxQuantity, min(maxQuantity, math.Trunc(phpFloat(v))))
}

// numericPrefix is the length of the decimal number s starts with.
func numericPrefix(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	start := 0
	if start < len(s) && (s[start] == '+' || s[start] == '-') {
		start++
	}
	end := digits(start)
	n := end - start
	if end < len(s) && s[end] == '.' {
		frac := digits(end + 1)
		n += frac - end - 1
		end = frac
	}
	if n == 0 {
		return 0
	}
	if end < len(s) && (s[end] == 'e' || s[end] == 'E') {
		exp := end + 1
		if exp < len(s) && (s[exp] == '+' || s[exp] == '-') {
			exp++
		}
		if stop := digits(exp); stop > exp {
			end = stop
		}
	}
	return end
}

// phpNumeric tells whether the value is a number or a string that is one, and which.
func phpNumeric(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		return phpFloat(v), true
	case string:
		s := strings.Trim(v, " \t\n\r\v\f")
		if s == "" || numericPrefix(s) != len(s) {
			return 0, false
		}
		return phpFloat(s), true
	}
	return 0, false
}

// phpString is PHP's strval of a scalar; anything else is the empty string.
func phpString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		if v {
			return "1"
		}
	}
	return ""
}

// wcBool is WooCommerce's wc_string_to_bool.
func wcBool(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case json.Number:
		return phpFloat(v) == 1
	case string:
		switch strings.ToLower(v) {
		case "yes", "true", "1":
			return true
		}
	}
	return false
}
