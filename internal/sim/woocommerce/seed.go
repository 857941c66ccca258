package woocommerce

import "fmt"

// SeedOptions describe a shop to fill a store with.
type SeedOptions struct {
	// Products is the number of simple products, SKU-0001 and so on.
	Products int
	// Quantity gives the n-th simple product's stock, n from 1; 100 for all when nil.
	Quantity func(n int) float64
	// Plain leaves out everything but the simple products.
	Plain bool
}

// Seed fills an empty store: simple products, then, unless Plain, five variable products with sizes S, M
// and L (VAR-1 to VAR-3 with 20 units per size, VAR-4 and VAR-5 with 50 units at the parent), an external
// one (EXT-1), a grouped one (GRP-1), two without SKU and one that manages no stock (NM-1).
// The numbers given to items depend on the options alone.
func (s *Store) Seed(o SeedOptions) error {
	if o.Quantity == nil {
		o.Quantity = func(int) float64 { return 100 }
	}
	for n := 1; n <= o.Products; n++ {
		if _, err := s.Create(NewItem{Name: fmt.Sprintf("Simple %d", n), SKU: fmt.Sprintf("SKU-%04d", n), Quantity: new(o.Quantity(n))}); err != nil {
			return err
		}
	}
	if o.Plain {
		return nil
	}
	for n := 1; n <= 5; n++ {
		parent := NewItem{Kind: Variable, Name: fmt.Sprintf("Variable %d", n), SKU: fmt.Sprintf("VAR-%d", n)}
		var own *float64
		if n > 3 {
			parent.Quantity = new(50.0)
		} else {
			own = new(20.0)
		}
		id, err := s.Create(parent)
		if err != nil {
			return err
		}
		for _, size := range []string{"S", "M", "L"} {
			if _, err := s.Create(NewItem{SKU: parent.SKU + "-" + size, Parent: id, Option: size, Price: "20", Quantity: own}); err != nil {
				return err
			}
		}
	}
	for _, n := range []NewItem{
		{Kind: External, Name: "External 1", SKU: "EXT-1"},
		{Kind: Grouped, Name: "Grouped 1", SKU: "GRP-1"},
		{Name: "No SKU 1", Quantity: new(10.0)},
		{Name: "No SKU 2", Quantity: new(10.0)},
		{Name: "Unmanaged 1", SKU: "NM-1"},
	} {
		if _, err := s.Create(n); err != nil {
			return err
		}
	}
	return nil
}
