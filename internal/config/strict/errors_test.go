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
	for _, line := range []int{-1, 0, 3} {
		if got := excerpt(lines, line, 1); got != "" {
			t.Errorf("line %d: %q", line, got)
		}
	}
}
