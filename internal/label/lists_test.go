package label

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that each list of words is complete.
func TestLists(t *testing.T) {
	declared.Type(t, "MarkFields", MarkFieldsAll)
	declared.Type(t, "ShowMailFrom", MailFroms)
	declared.Type(t, "Style", Styles)
	declared.Prefix(t, "Word", Words)
}
