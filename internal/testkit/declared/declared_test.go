package declared

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/testkit/recorder"
)

// source is a package with constants of many kinds. Only those of a text itself are compared.
const source = `package p

import "strconv"

func f() string { return strconv.Itoa(freeN) }

type Word string

var WordV Word = "v"

const (
	WordB Word  = "b"
	WordA Word  = ` + "`a`" + `
	WordC       = "free of a type"
	X, Y  Word  = "x", "y"
	OtherE Other = "e"
	WordLong    = WordA + "b"
	Far p2.Word = "far"
)

const Count Word = 5

const Rune Word = 'r'

const (
	FreeD = "d"
	FreeC = "c"
	FreeN = 5
	FreeAgain
	FreeR = 'r'
	FreeSum = "s" + FreeC
)
`

// TestCompare checks that a word that is missing, foreign or there twice is an error, and so is a type without constants.
func TestCompare(t *testing.T) {
	folder(t, map[string]string{
		"p.go": source, "q.go": `package p; const WordQ Word = "q"`,
		"p_test.go": `package p; const WordT Word = "t"`, "README": "no Go at all", "go.md": "neither",
	})
	word := func(list ...string) func(testing.TB) { return func(tb testing.TB) { Type(tb, "Word", list) } }
	free := func(list ...string) func(testing.TB) { return func(tb testing.TB) { Prefix(tb, "Free", list) } }
	for _, tt := range []struct {
		why  string
		do   func(testing.TB)
		want string
	}{
		{"all", word("y", "x", "q", "b", "a"), ""},
		{"one is missing", word("a", "b", "q", "x"), `error: Word: the list has ["a" "b" "q" "x"], declared are ["a" "b" "q" "x" "y"]`},
		{"one is there twice", word("a", "b", "b", "q", "x", "y"),
			`error: Word: the list has ["a" "b" "b" "q" "x" "y"], declared are ["a" "b" "q" "x" "y"]`},
		{"a foreign one", word("a", "b", "q", "x", "y", "z"),
			`error: Word: the list has ["a" "b" "q" "x" "y" "z"], declared are ["a" "b" "q" "x" "y"]`},
		{"another of one type", func(tb testing.TB) { Type(tb, "Other", []string{"e"}) }, ""},
		{"no such type", func(tb testing.TB) { Type[string](tb, "Wort", nil) }, "error: no constant of Wort is declared"},
		{"all with a prefix", free("c", "d"), ""},
		{"one with the prefix is missing", free("d"), `error: Free...: the list has ["d"], declared are ["c" "d"]`},
		{"a prefix of typed ones", func(tb testing.TB) { Prefix(tb, "Word", []string{"free of a type"}) }, ""},
		{"no such prefix", func(tb testing.TB) { Prefix[string](tb, "Frei", nil) }, "error: no constant of Frei... is declared"},
		{"the type of another package", func(tb testing.TB) { Prefix(tb, "Far", []string{"far"}) }, ""},
	} {
		if said := recorder.Run(t, tt.do); said != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, said, tt.want)
		}
	}
}

// folder makes a folder with these files the current one.
func folder(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// TestUnreadable checks that a test ends if its package cannot be read.
func TestUnreadable(t *testing.T) {
	ask := func(tb testing.TB) { Type(tb, "Word", []string{"a"}) }
	folder(t, map[string]string{"p.go": `package p; const WordA Word = "a"`, "q.go": "package p; const"})
	if said := recorder.Run(t, ask); !strings.HasPrefix(said, "fatal: q.go:1:") {
		t.Errorf("with a mistake in a file: %q", said)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if said := recorder.Run(t, ask); !strings.HasPrefix(said, "fatal: ") {
		t.Errorf("without a folder: %q", said)
	}
}

// TestSource checks what is read from the source of a package: this one has no words of its own, and its
// tests are not looked at.
func TestSource(t *testing.T) {
	if all := constants(t); len(all) != 0 {
		t.Errorf("read %v", all)
	}
	t.Chdir("../../policy")
	Type(t, "Mode", []string{"enforce", "monitor"})
	Prefix(t, "Cause", []string{"budget", "time", "internal"})
}
