package octets

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/recorder"
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
	// All ranges can be left early: a yield after the end would panic.
	for s := range Words(9, "a", "b") {
		if s == "aa" {
			break
		}
	}
	for range Cuts("abc") {
		break
	}
	for range Gaps("abc") {
		break
	}
	pieces := []string{"a", "ab", ";", ""}
	if got := Program("xab;a", pieces...); !slices.Equal(got, []byte{1, 2, 0}) {
		t.Errorf("program %v", got)
	}
	if got := Program("abb", "ab", "a", "b", "b"); !slices.Equal(got, []byte{0, 2}) {
		t.Errorf("program %v, want the longest piece, and the first of two that are the same", got)
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
	say := func(s string) string { return strings.ToUpper(s[:min(len(s), 2)]) }
	const want = `"abc"
  whole: AB
  cut 0: 
  cut 1: A
  gap 0: BC
  gap 1: AC

"aab"
  whole: AA
  cut 0: 
  cut 1: A
  gap 0-1: AB

`
	t.Setenv("UPDATE", "octets")
	Golden(t, file, []string{"abc", "aab"}, say)
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	t.Setenv("UPDATE", "")
	Golden(t, file, []string{"abc", "aab"}, say)
	for name, tt := range map[string]struct {
		f    func(testing.TB)
		said string
	}{
		"a panic": {func(tb testing.TB) { Golden(tb, file, []string{"abc"}, func(string) string { panic("boom") }) },
			"fatal: \"abc\": panic: boom\ngoroutine "},
		"another outcome": {func(tb testing.TB) {
			Golden(tb, file, []string{"abc", "aab"}, func(s string) string { return strings.Replace(say(s), "BC", "C", 1) })
		}, "fatal: " + file + ":5:\n got   gap 0: C\nwant   gap 0: BC"},
		"a paragraph is missing": {func(tb testing.TB) { Golden(tb, file, []string{"abc"}, say) }, "fatal: " + file + ":8:\n got \nwant \"aab\""},
		"the end is missing":     {func(tb testing.TB) { Compare(tb, file, strings.TrimSuffix(want, "\n")) }, "fatal: " + file + " has 14 lines, want 13"},
		"no file":                {func(tb testing.TB) { Compare(tb, file+"x", want) }, "fatal: open " + file + "x: no such file"},
		"not writable": {func(tb testing.TB) {
			t.Setenv("UPDATE", "octets")
			defer t.Setenv("UPDATE", "")
			Compare(tb, t.TempDir(), want)
		}, "fatal: open "},
	} {
		if said := recorder.Run(t, tt.f); !strings.HasPrefix(said, tt.said) || strings.Count(said, "fatal: ") != 1 {
			t.Errorf("%s: %q, want %q", name, said, tt.said)
		}
	}
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
