package policy

import (
	"testing"

	"sekimori/internal/testkit/declared"
)

// TestLists checks that each list of words is complete.
func TestLists(t *testing.T) {
	declared.Type(t, "Action", Actions)
	declared.Type(t, "Class", Classes)
	declared.Type(t, "LearnedRule", LearnedRules)
	declared.Type(t, "MissingWhat", MissingWhats)
	declared.Type(t, "Mode", Modes)
	declared.Type(t, "OverrideType", OverrideTypes)
	declared.Type(t, "QuarantineRule", QuarantineRules)
	declared.Type(t, "Reason", Reasons)
	declared.Type(t, "RejectRule", RejectRules)
}
