package stock

import (
	"slices"
	"testing"
	"time"
)

func twin(product, variation int64, sku string, day int) Twin {
	return Twin{Ref{product, variation}, sku, time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)}
}

// TestK17: variant code = shop SKU, of products and variations alike, exactly as spelled.
func TestK17(t *testing.T) {
	t.Parallel()
	shop := []Twin{twin(1, 0, "CODE-1", 1), twin(2, 3, "code-2", 1), twin(4, 0, "", 1), twin(5, 0, " code-1", 1)}
	if _, ok := Match("code-1", shop, nil); ok {
		t.Error("code-1 is taken for CODE-1 or for one with a blank")
	}
	if got, ok := Match("code-2", shop, nil); !ok || got != (Ref{2, 3}) {
		t.Errorf("the variation with code-2 is not found: %v %v", got, ok)
	}
	if got, ok := Match("", shop, nil); ok {
		t.Errorf("an empty code matches %v", got)
	}
}

// TestK18: of several SKU matches only the one created last is taken; of one second, the highest id.
func TestK18(t *testing.T) {
	t.Parallel()
	shop := []Twin{twin(9, 0, "A", 1), twin(3, 0, "A", 5), twin(4, 7, "A", 5), twin(5, 6, "A", 5), twin(8, 0, "B", 9)}
	for range len(shop) {
		shop = append(shop[1:], shop[0])
		if got, ok := Match("A", shop, nil); !ok || got != (Ref{4, 7}) {
			t.Errorf("of %v the match is %v", shop, got)
		}
	}
}

// TestLinked: a link counts only where no SKU matches, and only if the shop still has the item.
func TestLinked(t *testing.T) {
	t.Parallel()
	shop := []Twin{twin(1, 0, "OTHER", 1)}
	if got, ok := Match("A", shop, &Ref{1, 0}); !ok || got != (Ref{1, 0}) {
		t.Errorf("the linked item is not found: %v %v", got, ok)
	}
	if got, ok := Match("A", shop, &Ref{2, 0}); ok {
		t.Errorf("a link to what is gone finds %v", got)
	}
	if got, ok := Match("", shop, &Ref{1, 0}); !ok || got != (Ref{1, 0}) {
		t.Errorf("without a code the link counts: %v %v", got, ok)
	}
}

// TestK20: a SKU match beats a different link.
func TestK20(t *testing.T) {
	t.Parallel()
	shop := []Twin{twin(1, 0, "OTHER", 9), twin(2, 0, "A", 1)}
	if got, ok := Match("A", shop, &Ref{1, 0}); !ok || got != (Ref{2, 0}) {
		t.Errorf("the match is %v %v, want the one with the SKU", got, ok)
	}
}

func TestSharedSKUs(t *testing.T) {
	t.Parallel()
	got := SharedSKUs([]SourceItem{{ID: "3", SKU: "A"}, {ID: "1", SKU: "A"}, {ID: "1", SKU: "A"}, {ID: "4", SKU: "B"}, {ID: "5", SKU: "B", Gone: true}, {ID: "6"}, {ID: "7"}, {ID: "8", SKU: "a"}})
	if len(got) != 1 || !slices.Equal(got["A"], []string{"1", "3"}) {
		t.Errorf("shared are %v, want A by 1 and 3", got)
	}
}
