package report

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that the list of words is complete.
func TestLists(t *testing.T) {
	declared.Type(t, "Word", append([]Word{Sent, Refused, Failed, Waiting}, Withheld...))
}
