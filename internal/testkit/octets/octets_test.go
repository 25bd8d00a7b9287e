package octets

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func collect[K any](seq func(func(K, string) bool)) (out []string) {
	seq(func(_ K, s string) bool {
		out = append(out, s)
		return true
	})
	return out
}

func TestInputs(t *testing.T) {
	if got := collect(Cuts("abc")); !slices.Equal(got, []string{"", "a", "ab", "abc"}) {
		t.Errorf("cuts %q", got)
	}
	if got := collect(Gaps("abc")); !slices.Equal(got, []string{"bc", "ac", "ab"}) {
		t.Errorf("gaps %q", got)
	}
	if got := slices.Collect(Words(2, "a", "b")); !slices.Equal(got, []string{"", "a", "aa", "ab", "b", "ba", "bb"}) {
		t.Errorf("words %q", got)
	}
	for s := range Words(9, "a") {
		if s == "aa" {
			break // all ranges can be left early
		}
	}
	pieces := []string{"a", "ab", ";", ""}
	if got := Program("xab;a", pieces...); !slices.Equal(got, []byte{1, 2, 0}) {
		t.Errorf("program %v", got)
	}
	if got := Chosen([]byte{1, 2, 4, 3}, pieces...); got != "ab;a" {
		t.Errorf("chosen %q", got)
	}
	if got := Chosen(make([]byte, 1000), "a"); len(got) != 64 {
		t.Errorf("%d pieces", len(got))
	}
}

// TestGolden checks the form of a paragraph, and that a file that differs is an error.
func TestGolden(t *testing.T) {
	file := filepath.Join(t.TempDir(), "golden.txt")
	say := func(s string) string { return strings.ToUpper(s[:min(len(s), 1)]) }
	const want = `"abc"
  whole: A
  cut 0: 
  gap 0: B

"aaba"
  whole: A
  cut 0: 

`
	t.Setenv("UPDATE", "octets")
	Golden(t, file, []string{"abc", "aaba"}, say)
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("UPDATE", "")
	Golden(t, file, []string{"abc", "aaba"}, say)
	for why, other := range map[string]func(string) string{
		"a panic":         func(string) string { panic("boom") },
		"another outcome": func(s string) string { return say(s) + "!" },
	} {
		f := &failing{TB: t}
		func() {
			defer func() { _ = recover() }()
			Golden(f, file, []string{"abc", "aaba"}, other)
		}()
		if !f.failed {
			t.Errorf("%s is not noticed", why)
		}
	}
	f := &failing{TB: t}
	func() {
		defer func() { _ = recover() }()
		Golden(f, file, []string{"abc"}, say)
	}()
	if !f.failed {
		t.Error("a paragraph that is missing is not noticed")
	}
}

// failing notes a failure instead of ending the test.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(string, ...any) {
	f.failed = true
	panic("failed")
}

func TestRanges(t *testing.T) {
	r := new(ranges)
	for _, n := range []int{0, 1, 2, 4, 7, 8} {
		r.add("cut", n)
	}
	r.add("gap", 9)
	if got := r.String(); got != "cut 0-2 4 7-8 gap 9" {
		t.Errorf("got %q", got)
	}
}
