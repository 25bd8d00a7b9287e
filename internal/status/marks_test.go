package status

import (
	"strings"
	"testing"
	"time"
)

func TestMarks(t *testing.T) {
	text := func(m *Marks) string {
		var b strings.Builder
		if err := (&Status{Marks: m}).Text(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := text(nil); !strings.Contains(got, "marks          off (bimi.enabled)\n") {
		t.Error(got)
	}
	end := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	got := text(&Marks{Shown: 3, Refused: 2, FirstEnd: &end, Roots: []MarkRoot{{"A\x1b[31m", end}, {"B", end.AddDate(20, 0, 0)}}})
	want := "marks          3 may be shown, 2 may not or could not be fetched; the first certificate ends on 2027-01-02\n"
	if !strings.Contains(got, want) || strings.Contains(got, "\x1b") || !strings.Contains(got, "               B, until 2047-01-02\n") {
		t.Error(got)
	}
}
