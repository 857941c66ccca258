package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stocksync.dev/stocksync/api/v1alpha1"
	"stocksync.dev/stocksync/internal/stock"
)

// Exclusions are the SKUs that are left alone in a store. The zero value excludes nothing.
type Exclusions struct {
	keys     map[stock.Key]bool
	patterns [][]rune
}

// NewExclusions joins lists of exclusions; a nil one adds nothing.
func NewExclusions(lists ...*v1alpha1.Exclusions) Exclusions {
	e := Exclusions{keys: map[stock.Key]bool{}}
	for _, l := range lists {
		if l == nil {
			continue
		}
		for _, sku := range l.SKUs {
			e.keys[stock.KeyOf(sku)] = true
		}
		for _, p := range l.SKUPatterns {
			e.patterns = append(e.patterns, []rune(stock.KeyOf(p)))
		}
	}
	return e
}

// text is the same for two that exclude the same by the same words.
func (e Exclusions) text() string {
	var out strings.Builder
	for _, k := range slices.Sorted(maps.Keys(e.keys)) {
		fmt.Fprintf(&out, "%q,", k)
	}
	for _, p := range e.patterns {
		fmt.Fprintf(&out, "~%q,", string(p))
	}
	return out.String()
}

// Excludes tells whether a SKU is left alone.
func (e Exclusions) Excludes(key stock.Key) bool {
	if e.keys[key] {
		return true
	}
	var text []rune
	for _, p := range e.patterns {
		if text == nil {
			text = []rune(key)
		}
		if match(p, text) {
			return true
		}
	}
	return false
}

// match tells whether a pattern fits a text in full; * stands for any characters, ? for one. Only the last
// star is ever tried again, so the time is at most the product of both lengths.
func match(pattern, text []rune) bool {
	p, t := 0, 0
	star, retry := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			retry++
			p, t = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
