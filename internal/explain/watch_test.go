package explain

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/lookalike"
	"sekimori/internal/msgauth"
)

// TestWatchedAuthor checks what the text says of an author who is watched, or looks like one who is.
func TestWatchedAuthor(t *testing.T) {
	for want, finding := range map[string]*lookalike.Finding{
		"the author is watched by the list banks":                             {List: "banks", Of: "bank.example"},
		"the author looks like bank.example of the list banks, by its domain": {List: "banks", Of: "bank.example", Lookalike: lookalike.KindDomain},
	} {
		p := &printer{}
		(&Explanation{Evaluation: &msgauth.Evaluation{Watch: finding}}).author(p)
		if got := fmt.Sprint(p.sections); !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}
