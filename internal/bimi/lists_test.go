package bimi

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that each list of words is complete.
func TestLists(t *testing.T) {
	declared.Type(t, "MarkType", MarkTypes())
	declared.Type(t, "Result", Results())
	declared.Prefix(t, "Reason", Reasons())
}
