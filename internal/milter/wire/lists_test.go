package wire

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that the list of kinds is complete.
func TestLists(t *testing.T) { declared.Type(t, "Kind", Kinds()) }
