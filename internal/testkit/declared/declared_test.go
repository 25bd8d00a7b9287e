package declared

import "testing"

// Constants for the tests.
const (
	wordA Word = "a"
	wordB Word = "b"

	freeC       = "c"
	freeD       = "d"
	freeN       = 5
	other Other = "e"
)

// Word and Other are types with constants.
type (
	Word  string
	Other string
)

// told counts the errors of a comparison.
type told struct {
	testing.TB
	errors int
}

func (c *told) Helper()               {}
func (c *told) Errorf(string, ...any) { c.errors++ }

// TestCompare checks that a word that is missing, foreign or there twice is an error.
func TestCompare(t *testing.T) {
	declared := []constant{{"wordA", "Word", string(wordA)}, {"wordB", "Word", string(wordB)}, {"other", "Other", string(other)},
		{"freeC", "", freeC}, {"freeD", "", freeD}, {"x", "", "x"}}
	for _, tt := range []struct {
		why  string
		typ  string
		list []string
		want int
	}{
		{"all", "Word", []string{"b", "a"}, 0},
		{"one is missing", "Word", []string{"a"}, 1},
		{"one is there twice", "Word", []string{"a", "b", "b"}, 1},
		{"a foreign one", "Word", []string{"a", "b", "z"}, 1},
		{"no such type", "Wort", nil, 1},
	} {
		c := &told{TB: t}
		compare(c, tt.typ, tt.list, declared, func(c constant) bool { return c.typ == tt.typ })
		if c.errors != tt.want {
			t.Errorf("%s: %d errors, want %d", tt.why, c.errors, tt.want)
		}
	}
}

// TestSource checks what is read from the source of a package: this one has no words of its own, and its
// tests are not looked at.
func TestSource(t *testing.T) {
	if all := constants(t); len(all) != 0 {
		t.Errorf("read %v", all)
	}
	_ = freeN
	t.Chdir("../../policy")
	Type(t, "Mode", []string{"enforce", "monitor"})
	Prefix(t, "Cause", []string{"budget", "time", "internal"})
}
