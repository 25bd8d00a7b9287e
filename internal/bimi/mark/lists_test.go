package mark

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that the list of words is complete.
func TestLists(t *testing.T) { declared.Prefix(t, "word", Words()) }
