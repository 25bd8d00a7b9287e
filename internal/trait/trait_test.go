package trait

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// setOf returns the set of these traits.
func setOf(traits ...Trait) (s Set) {
	s.Add(traits...)
	return s
}

// TestTable: the words are unique, consist of lower-case letters and underscores as configuration
// keys do, and have a known side.
func TestTable(t *testing.T) {
	all := All()
	for i, w := range all {
		if slices.Contains(all[:i], w) || w == "" || strings.Trim(string(w), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("row %d has the word %q", i, w)
		}
	}
	if n := len(Of(Spoofing, Indirect, Author, Neither)); n != len(all) {
		t.Errorf("%d of %d traits have a known side", n, len(all))
	}
	if w := Trait("lists"); w.Side() != Neither || w.IsLearned() || w.IsWeak() || setOf(w) != (Set{}) || setOf(all...).Has(w) {
		t.Errorf("the table has %q", w)
	}
}

// TestSides: what each trait is evidence for, and which rest on memory. A side decides whether a message that fails is
// refused, so a change of one is a change of verdicts.
func TestSides(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  []Trait
		want string
	}{
		{"a spoof", Of(Spoofing), "[author_spf_fail iprev_fail unsigned_unlike_usual unknown_source]"},
		{"indirect mail", Of(Indirect), "[list list_signature arc broken_author_signature srs forwarded known_source]"},
		{"mail of the author", Of(Author), "[author_host author_record_broken client_unknown]"},
		{"nothing", Of(Neither), "[bulk rewritten_from third_party_signature notification lookalike]"},
		{"learned", Learned(), "[unsigned_unlike_usual unknown_source known_source]"},
		{"learned, one by one", where(func(r row) bool { return r.trait.IsLearned() }), "[unsigned_unlike_usual unknown_source known_source]"},
		{"weak", where(func(r row) bool { return r.trait.IsWeak() }), "[unknown_source]"},
		{"not held by a set", where(func(r row) bool { return !slices.Contains(Held(), r.trait) }), "[author_spf_fail iprev_fail client_unknown]"},
	} {
		if got := fmt.Sprint(tt.got); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for _, side := range []Side{Spoofing, Indirect, Author, Neither} {
		for _, w := range Of(side) {
			if w.Side() != side {
				t.Errorf("%s: side %q, want %q", w, w.Side(), side)
			}
		}
	}
	const held = "list=true list_signature=false arc=false broken_author_signature=false srs=true forwarded=false author_host=false author_record_broken=false bulk=false " +
		"rewritten_from=false third_party_signature=false notification=false lookalike=false unsigned_unlike_usual=false unknown_source=false known_source=false"
	if got := setOf(SRS, List).String(); got != held {
		t.Error(got)
	}
}

// TestSet: the set of one trait has that trait and no other. It is empty for a trait that a set
// cannot hold.
func TestSet(t *testing.T) {
	for _, w := range All() {
		held := slices.Contains(Held(), w)
		s := setOf(w)
		for _, other := range All() {
			if got := s.Has(other); got != (held && w == other) {
				t.Errorf("the set of %s has %s: %t", w, other, got)
			}
		}
		if got := strings.Contains(s.String(), string(w)+"=true"); got != held {
			t.Errorf("the set of %s is shown as %s", w, s)
		}
	}
}

// TestSetJSON: the JSON of a set has a value for every trait that a set can hold, and gives the
// same set when it is read. Unknown traits are ignored.
func TestSetJSON(t *testing.T) {
	for _, s := range []Set{{}, setOf(SRS, List), setOf(All()...)} {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[Trait]bool
		if err := json.Unmarshal(raw, &keys); err != nil || len(keys) != len(Held()) || keys[SRS] != s.Has(SRS) {
			t.Errorf("%s: %v", raw, err)
		}
		var again Set
		if err := json.Unmarshal(raw, &again); err != nil || again != s {
			t.Errorf("%s is read as %s: %v", raw, again, err)
		}
	}
	var s Set
	if err := json.Unmarshal([]byte(`{"of_a_later_version":true,"srs":true,"list":false}`), &s); err != nil || s != setOf(SRS) {
		t.Errorf("%s: %v", s, err)
	}
	if err := json.Unmarshal([]byte(`["srs"]`), &s); err == nil {
		t.Error("a JSON array was read as a set")
	}
}

// TestSetBinary checks that UnmarshalBinary reads what AppendBinary wrote, and nothing else.
func TestSetBinary(t *testing.T) {
	for n := range len(Held()) {
		var set, back Set
		set.Add(Held()[:n]...)
		data, err := set.AppendBinary(nil)
		if err == nil {
			err = back.UnmarshalBinary(data)
		}
		if err != nil || back != set {
			t.Errorf("%v became %v (%v)", set, back, err)
		}
	}
	var all Set
	if all.UnmarshalBinary([]byte("\xff\xff\xff\xff\x0f")) != nil || all.bits != 1<<32-1 {
		t.Errorf("the largest set is read as %x", all.bits)
	}
	for _, data := range []string{"", "\x80", "\x01\x02", "\x80\x80\x80\x80\x10", "\xff\xff\xff\xff\xff\x01"} {
		var set Set
		if set.UnmarshalBinary([]byte(data)) == nil {
			t.Errorf("%q was read", data)
		}
	}
}
