package dmarc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestSameOrganization checks that the alignment of two domains is certain if,
// and only if, it is the same for all records that there may be at the names
// whose lookup failed.
func TestSameOrganization(t *testing.T) {
	names := []dns.Name{"a.x.example", "b.x.example", "x.example", "example"}
	var certain, open int
	for _, author := range []dns.Name{names[0], names[2]} {
		for _, signer := range append(slices.Clone(names), "y.example") {
			if signer == author {
				continue
			}
			for holds := range 1 << len(names) {
				for fails := 1; fails < 1<<len(names); fails++ {
					failed, text := pick(names, fails&^indexBit(names, author)), record(author, "")
					if len(failed) == 0 || len(failed) > 2 {
						continue
					}
					for _, n := range pick(names, holds&^fails&^indexBit(names, author)) {
						text += record(n, "")
					}
					got := aligns(t, text+failing(failed), author, signer)
					all := outcomes(t, text, failed, author, signer)
					switch {
					case len(all) == 1 && got != all[0], len(all) > 1 && got != "open":
						t.Fatalf("%s by %s: %q is %s, may be %v", author, signer, text+failing(failed), got, all)
					case len(all) == 1:
						certain++
					default:
						open++
					}
				}
			}
		}
	}
	if certain == 0 || open == 0 {
		t.Errorf("%d certain, %d open", certain, open)
	}
}

// outcomes returns the different results of aligns for all records that there
// may be at the names whose lookup failed.
func outcomes(t *testing.T, text string, failed []dns.Name, author, signer dns.Name) (all []string) {
	t.Helper()
	if len(failed) == 0 {
		return []string{aligns(t, text, author, signer)}
	}
	for _, held := range []string{"", record(failed[0], ""), record(failed[0], "; psd=n"), record(failed[0], "; psd=y")} {
		for _, o := range outcomes(t, text+held, failed[1:], author, signer) {
			if !slices.Contains(all, o) {
				all = append(all, o)
			}
		}
	}
	return all
}

// aligns evaluates a message with one signature. It returns "true", "false" or,
// if it is not certain whether signer aligns with author, "open".
func aligns(t *testing.T, text string, author, signer dns.Name) string {
	t.Helper()
	z := nameserver.Zone(t, text)
	d := Discover(t.Context(), z, author, Options{})
	a := d.Evaluate(t.Context(), z, []Identifier{{DKIM, signer, StatePass, "s"}}).Alignments[0]
	if a.Error != nil {
		return "open"
	}
	return fmt.Sprint(a.Aligned)
}

func pick(names []dns.Name, set int) (out []dns.Name) {
	for i, n := range names {
		if set>>i&1 != 0 {
			out = append(out, n)
		}
	}
	return out
}

func indexBit(names []dns.Name, n dns.Name) int { return 1 << slices.Index(names, n) }

func record(n dns.Name, psd string) string {
	return fmt.Sprintf("_dmarc.%s TXT \"v=DMARC1; p=reject%s\"\n", n, psd)
}

func failing(names []dns.Name) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "! _dmarc.%s TXT servfail\n", n)
	}
	return b.String()
}

// TestManyFailed checks that the alignment is not certain if the lookups of more
// than maxSupposed names fail.
func TestManyFailed(t *testing.T) {
	const author, signer = "f.e.d.c.b.example", "e.d.c.b.example"
	text := record(author, "") + record(signer, "")
	above := []dns.Name{"d.c.b.example", "c.b.example", "b.example", "example"}
	for n := range len(above) + 1 {
		want := "true"
		if n > maxSupposed {
			want = "open"
		}
		if got := aligns(t, text+failing(above[:n]), author, signer); got != want {
			t.Errorf("%d names fail: %s, want %s", n, got, want)
		}
		// A second identifier whose alignment is not certain must not make a pass.
		z := nameserver.Zone(t, text+failing(above[:n]))
		ids := []Identifier{{DKIM, signer, StatePass, "s"}, {DKIM, "x." + signer, StatePass, "s"}}
		e := Discover(t.Context(), z, author, Options{}).Evaluate(t.Context(), z, ids)
		for _, a := range e.Alignments {
			if (a.Error == nil) != (want == "true") || a.Aligned != (want == "true") {
				t.Errorf("%d names fail: %+v", n, a)
			}
		}
		if (e.Result == ResultPass) != (want == "true") || e.AlignedDKIM != (want == "true") {
			t.Errorf("%d names fail: %s", n, e.Result)
		}
	}
}
