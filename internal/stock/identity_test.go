package stock

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAnyNewNamesAreReached: whatever the new names of a shop's items are (chains, rings, names of the others), the
// steps lead there. The shop refuses a SKU that another item has, and any step may not be done: a crash, a refusal.
// No item ever gets a SKU that another one has.
func TestAnyNewNamesAreReached(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "items")
		var names []string
		for i := range n + 2 {
			names = append(names, fmt.Sprintf("SKU-%d", i))
		}
		had, wanted := rapid.Permutation(names).Draw(t, "had")[:n], rapid.Permutation(names).Draw(t, "wanted")[:n]
		shop := slices.Clone(had)
		faults := rapid.IntRange(0, 12).Draw(t, "faults")
		most := 3 + faults
		for rounds := 0; !slices.Equal(shop, wanted); rounds++ {
			if rounds > most {
				t.Fatalf("after %d rounds the shop has %v instead of %v", rounds, shop, wanted)
			}
			var items []Misnamed
			for i := range n {
				if KeyOf(shop[i]) != KeyOf(wanted[i]) {
					items = append(items, Misnamed{Pool: int64(i), Has: shop[i], Wanted: wanted[i], Temporary: fmt.Sprintf("tmp-%d", i)})
				}
			}
			steps := NameSteps(items)
			if len(steps) == 0 {
				t.Fatalf("nothing to do, but the shop has %v instead of %v", shop, wanted)
			}
			for _, s := range steps {
				if faults > 0 && rapid.IntRange(0, 3).Draw(t, "fault") == 0 {
					faults--
					if rapid.Bool().Draw(t, "end of the request") {
						break
					}
					continue
				}
				if slices.ContainsFunc(shop, func(sku string) bool { return KeyOf(sku) == KeyOf(s.SKU) }) {
					continue // the shop refuses it
				}
				shop[s.Pool] = s.SKU
			}
		}
	})
}

// TestStepsMeetNoNameInUse: where nothing goes wrong not one step is refused, and two rounds are enough.
func TestStepsMeetNoNameInUse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "items")
		var had []string
		for i := range n {
			had = append(had, fmt.Sprintf("SKU-%d", i))
		}
		wanted := rapid.Permutation(had).Draw(t, "wanted")
		shop := slices.Clone(had)
		for range 2 {
			var items []Misnamed
			for i := range n {
				if shop[i] != wanted[i] {
					items = append(items, Misnamed{Pool: int64(i), Has: shop[i], Wanted: wanted[i], Temporary: fmt.Sprintf("tmp-%d", i)})
				}
			}
			for _, s := range NameSteps(items) {
				if slices.Contains(shop, s.SKU) {
					t.Fatalf("%v to %v: item %d gets %q, which another has in %v", had, wanted, s.Pool, s.SKU, shop)
				}
				shop[s.Pool] = s.SKU
			}
		}
		if !slices.Equal(shop, wanted) {
			t.Fatalf("%v became %v instead of %v", had, shop, wanted)
		}
	})
}

// TestRefusedNamesKeepNothingElse: what waits for a name that another item keeps, waits, in a ring too, and no item of
// it is left with a temporary name; all else is named.
func TestRefusedNamesKeepNothingElse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		items []Misnamed
		want  []NameStep
	}{
		{"a chain behind a refused name", []Misnamed{{Pool: 1, Has: "a", Wanted: "b"}, {Pool: 2, Has: "b", Wanted: "c", Refused: true}, {Pool: 3, Has: "x", Wanted: "y"}},
			[]NameStep{{3, "y"}}},
		{"a chain, its head met last", []Misnamed{{Pool: 2, Has: "b", Wanted: "c", Refused: true}, {Pool: 1, Has: "a", Wanted: "b"}}, nil},
		{"a ring", []Misnamed{{Pool: 1, Has: "a", Wanted: "b", Temporary: "t"}, {Pool: 2, Has: "b", Wanted: "a", Refused: true}}, nil},
		{"a chain from its end", []Misnamed{{Pool: 1, Has: "a", Wanted: "b"}, {Pool: 2, Has: "b", Wanted: "c"}}, []NameStep{{2, "c"}, {1, "b"}}},
		{"a ring goes on from its temporary name", []Misnamed{{Pool: 1, Has: "t", Wanted: "b", Temporary: "t"}}, []NameStep{{1, "b"}}},
		{"compared as WooCommerce does", []Misnamed{{Pool: 1, Has: "A", Wanted: "B"}, {Pool: 2, Has: " b", Wanted: "c"}}, []NameStep{{2, "c"}, {1, "B"}}},
	} {
		if got := NameSteps(tt.items); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestMovers: any permutation of the master's names is taken on in whatever order its items are read, and no key is
// ever two pools'.
func TestMovers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "items")
		var names []Key
		for i := range n + 2 {
			names = append(names, Key(fmt.Sprintf("sku-%d", i)))
		}
		owned := map[Key]int64{}
		shown := map[int64]Key{}
		for i, k := range names[:n] {
			owned[k], shown[int64(i+1)] = int64(i+1), k
		}
		now := rapid.Permutation(names).Draw(t, "renamed")[:n]
		// Twice, since what was read first met names that were not known to be given up.
		for range 2 {
			for _, i := range rapid.Permutation(slices.Collect(func(yield func(int) bool) {
				for i := range n {
					if !yield(i) {
						return
					}
				}
			})).Draw(t, "read") {
				id := int64(i + 1)
				if shown[id] = now[i]; owned[now[i]] == id {
					continue
				}
				moving, holder := Movers(id, func(p int64) (Key, bool) { return shown[p], true }, func(k Key) int64 { return owned[k] })
				if holder == 0 {
					for k, p := range owned {
						if slices.Contains(moving, p) {
							delete(owned, k)
						}
					}
					for _, p := range moving {
						if owned[shown[p]] != 0 {
							t.Fatalf("%q is of pools %d and %d", shown[p], owned[shown[p]], p)
						}
						owned[shown[p]] = p
					}
				}
			}
		}
		for i, k := range now {
			if owned[k] != int64(i+1) {
				t.Fatalf("%q is of pool %d instead of %d", k, owned[k], i+1)
			}
		}
	})
}

func TestMoversKeepApart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		shows  map[int64]Key
		chain  []int64
		holder int64
	}{
		{"a name another item shows as well", map[int64]Key{1: "b", 2: "b"}, []int64{1, 2}, 2},
		{"a name of an item that is gone", map[int64]Key{1: "b"}, []int64{1}, 2},
		{"a chain whose end two items show", map[int64]Key{1: "b", 2: "c", 3: "b"}, []int64{1, 2, 3}, 2},
	} {
		owned := map[Key]int64{"a": 1, "b": 2, "c": 3}
		moving, holder := Movers(1, func(p int64) (Key, bool) { k, ok := tt.shows[p]; return k, ok }, func(k Key) int64 { return owned[k] })
		if !slices.Equal(moving, tt.chain) || holder != tt.holder {
			t.Errorf("%s: moving %v, holder %d; want %v, held by %d", tt.name, moving, holder, tt.chain, tt.holder)
		}
	}
}

// TestWhoFollowsTheMaster says whose items get a new name.
func TestWhoFollowsTheMaster(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	renamed := Pool{ID: 1, SKU: "MUG", GID: NewGID()}
	Rename(&renamed, "CUP")
	for _, tt := range []struct {
		name string
		pool Pool
		p    Placement
		pol  Policy
		want string
	}{
		{"a child's item", renamed, Placement{SKU: "MUG"}, Policy{}, "CUP"},
		{"one that manages no stock", renamed, Placement{SKU: "MUG", Blocked: string(Unmanaged)}, Policy{}, "CUP"},
		{"one that has the name, however spelled", renamed, Placement{SKU: " cup"}, Policy{}, ""},
		{"one that a person renamed", renamed, Placement{SKU: "MUG", Blocked: string(Renamed)}, Policy{}, ""},
		{"the master's own", renamed, Placement{SKU: "MUG"}, Policy{Master: true}, ""},
		{"one whose pool was never renamed", Pool{SKU: "CUP"}, Placement{SKU: "MUG"}, Policy{}, ""},
	} {
		Plan(tt.pool, &tt.p, tt.pol, now)
		if tt.p.Naming.Todo != tt.want {
			t.Errorf("%s: to be named %q, want %q", tt.name, tt.p.Naming.Todo, tt.want)
		}
	}
	p := Placement{SKU: "MUG"}
	Plan(renamed, &p, Policy{}, now)
	if !p.Naming.Refuse("CUP", now) || p.Naming.Refuse("CUP", now) {
		t.Error("a refusal must be news once")
	}
	if Plan(renamed, &p, Policy{}, now); p.Naming.Again != now.Add(time.Hour) {
		t.Errorf("tried again at %v", p.Naming.Again)
	}
	if Rename(&renamed, "POT"); renamed.SKU != "POT" {
		t.Fatal(renamed.SKU)
	}
	if Plan(renamed, &p, Policy{}, now); p.Naming.Todo != "POT" || p.Naming.Refused != "" || !p.Naming.Again.IsZero() {
		t.Errorf("after another renaming: %+v", p.Naming)
	}
}

// TestPoolKnowsItsNames: names it has, had, and has for a moment are its own; those of others are not.
func TestPoolKnowsItsNames(t *testing.T) {
	t.Parallel()
	pool := Pool{ID: 1, SKU: "MUG", GID: NewGID()}
	for i := range 2 * maxFormer {
		Rename(&pool, fmt.Sprintf("MUG-%d", i))
	}
	Rename(&pool, "CUP")
	if len(pool.Former) != maxFormer {
		t.Errorf("%d former names", len(pool.Former))
	}
	for _, known := range []string{"cup", " MUG-31 ", TemporaryName(pool)} {
		if !pool.Knows(KeyOf(known)) {
			t.Errorf("%q is not known", known)
		}
	}
	for _, other := range []string{"", "MUG", "TEA", TemporaryName(Pool{ID: 2}), TemporaryName(Pool{GID: NewGID()})} {
		if pool.Knows(KeyOf(other)) {
			t.Errorf("%q is known", other)
		}
	}
}

func TestGIDs(t *testing.T) {
	t.Parallel()
	a, b := NewGID(), NewGID()
	if a == b || !IsGID(a) || a[14] != '4' {
		t.Errorf("%s and %s", a, b)
	}
	for _, odd := range []string{"", "1", a + "0", a[:35], a[:35] + "g", a[:8] + "0" + a[9:], "é" + a[2:]} {
		if IsGID(odd) {
			t.Errorf("%q is taken for an id", odd)
		}
	}
}
