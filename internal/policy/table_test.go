package policy

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dmarc"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

const decisions = "testdata/decisions.md"

// show gives the message a trait.
func show(t trait.Trait, e *msgauth.Evaluation) {
	switch t {
	case trait.AuthorSPFFail:
		e.MailFrom = spf.Check{Result: spf.Fail, Domain: "bank.example"}
	case trait.IPRevFail:
		e.IPRev.Status = iprev.Fail
	case trait.ClientUnknown:
		e.Session.Client = netip.MustParseAddr("10.0.0.7")
	default:
		e.Traits.Add(t)
	}
}

// TestDecisionTable checks the verdict of each row of the first table in
// decisions.md. It also checks that each trait that is a sign of spoofing, of
// indirect mail or of the author's own mail is in a row.
func TestDecisionTable(t *testing.T) {
	table, _, _ := strings.Cut(readTable(t), "\n\n")
	seen := map[trait.Trait]bool{}
	for i, row := range strings.Split(strings.TrimSpace(table), "\n")[2:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 7 {
			t.Fatalf("row %d has %d cells", i+1, len(cells))
		}
		e := failing(dmarc.Policy(cells[0]))
		for _, cell := range cells[2:4] {
			for _, sign := range traitsIn(cell) {
				show(sign, &e)
				seen[sign] = true
			}
		}
		v := Decide(&e, Config{Reject: RejectRule(cells[1]), Learned: LearnedUse})
		override := "-"
		if v.Override != nil {
			override = string(v.Override.Type)
		}
		if got := []string{string(v.Action), string(v.Reason), override}; !slices.Equal(got, cells[4:]) {
			t.Errorf("%s\ngot %v", row, got)
		}
		if !sameTraits(v.Spoofing, traitsIn(cells[2])) || !sameTraits(v.Indirect, traitsIn(cells[3])) {
			t.Errorf("%s\nnames spoofing %v, indirect %v", row, v.Spoofing, v.Indirect)
		}
	}
	for _, sign := range trait.Of(trait.Spoofing, trait.Indirect, trait.Author) {
		if !seen[sign] {
			t.Errorf("no row has %s", sign)
		}
	}
}

func readTable(t *testing.T) string {
	t.Helper()
	table, err := os.ReadFile(decisions)
	if err != nil {
		t.Fatal(err)
	}
	return string(table)
}

func traitsIn(cell string) []trait.Trait {
	if cell == "-" {
		return nil
	}
	var out []trait.Trait
	for word := range strings.FieldsSeq(cell) {
		out = append(out, trait.Trait(word))
	}
	return out
}

// sameTraits reports whether a and b have the same traits in any order.
func sameTraits(a, b []trait.Trait) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// TestHandbookShowsTheTable checks that deploy/docs/policy.md contains the
// tested table unchanged.
func TestHandbookShowsTheTable(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), readTable(t)) {
		t.Errorf("deploy/docs/policy.md does not have the table of %s as it is", decisions)
	}
}
