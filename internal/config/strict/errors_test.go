package strict

import (
	"strings"
	"testing"
)

func TestExcerpt(t *testing.T) {
	lines := []string{"a\tb\x01\u202e", strings.Repeat("語", 200)}
	if got, want := excerpt(lines, 1, 3), "  >   1 | a b??\n        |   ^"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got := excerpt(lines, 2, 190)
	if n := strings.Count(got, "語"); n != maxExcerpt {
		t.Errorf("%d characters of a long line", n)
	}
	if !strings.HasPrefix(got, "      1 | a b??\n  >   2 | ") || !strings.Contains(got, "...\n") {
		t.Errorf("got %q", got)
	}
	if s := strings.Repeat("x", maxExcerpt); show(s) != s || show(s+"x") != s+"..." {
		t.Error("a line is cut at another length")
	}
	for column, want := range map[int]int{0: 1, 1: 1, 2: 2, maxExcerpt: maxExcerpt, maxExcerpt + 1: maxExcerpt} {
		if want, got := "  >   1 | a\n        | "+strings.Repeat(" ", want-1)+"^", excerpt([]string{"a"}, 1, column); got != want {
			t.Errorf("column %d: %q, want %q", column, got, want)
		}
	}
	if got, want := excerpt([]string{"a", "b", "c"}, 3, 1), "      2 | b\n  >   3 | c\n        | ^"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, line := range []int{-1, 0, 3} {
		if got := excerpt(lines, line, 1); got != "" {
			t.Errorf("line %d: %q", line, got)
		}
	}
}
