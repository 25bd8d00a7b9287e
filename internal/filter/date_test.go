package filter

import (
	"strings"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	want := time.Date(2026, 11, 9, 6, 5, 4, 0, time.UTC)
	for _, tt := range []struct {
		reason, value string
		ok            bool
	}{
		{"the usual form", " Mon, 09 Nov 2026 15:05:04 +0900\r\n", true},
		{"a day of one digit", "Mon, 9 Nov 2026 06:05:04 +0000", true},
		{"a comment with the zone", "Mon, 09 Nov 2026 15:05:04 +0900 (JST)", true},
		{"GMT", "Mon, 09 Nov 2026 06:05:04 GMT", true},
		{"64 octets", "Mon, 09 Nov 2026 06:05:04 GMT (" + strings.Repeat("x", 64-32) + ")", true},
		{"65 octets", "Mon, 09 Nov 2026 06:05:04 GMT (" + strings.Repeat("x", 65-32) + ")", false},
		{"another form", "2026-11-09T06:05:04Z", false},
		{"nothing", "", false},
	} {
		got, ok := parseDate(tt.value)
		if ok != tt.ok || ok && !got.Equal(want) {
			t.Errorf("%s: %v %v", tt.reason, got, ok)
		}
	}
	if n := testing.AllocsPerRun(100, func() { parseDate("Mon, 09 Nov 2026 15:05:04 +0900 (JST)") }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
