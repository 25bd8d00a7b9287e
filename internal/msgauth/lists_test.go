package msgauth

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that each list of words is complete.
func TestLists(t *testing.T) {
	declared.Type(t, "Mechanism", Mechanisms())
	declared.Type(t, "RelayLine", RelayLines)
}
