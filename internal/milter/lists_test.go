package milter

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that each list of words is complete.
func TestLists(t *testing.T) {
	declared.Type(t, "End", Ends())
	declared.Type(t, "RejectReason", RejectReasons())
}
