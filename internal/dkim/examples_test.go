package dkim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/testkit/nameserver"
)

// TestExamples verifies the messages in testdata/*.txt. Each file has the reason
// for the case, the results that are wanted for the signatures, the zone, and
// the message with LF line ends.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		why, rest, _ := strings.Cut(string(raw), "\n-- want --\n")
		want, rest, _ := strings.Cut(rest, "\n-- zone --\n")
		zoneText, mail, ok := strings.Cut(rest, "-- message --\n")
		if !ok {
			t.Fatalf("%s: a section is missing", file)
		}
		sigs := verify(t, []byte(strings.ReplaceAll(mail, "\n", "\r\n")), nameserver.Zone(t, zoneText), Options{Now: time.Unix(1_790_000_000, 0)})
		var got []string
		for _, s := range sigs {
			word := string(s.Result)
			if s.Reason != "" {
				word += ":" + string(s.Reason)
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s\n%s", file, got, want, why)
		}
	}
}
