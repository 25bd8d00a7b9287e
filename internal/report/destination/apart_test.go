package destination

import (
	"testing"

	"sekimori/internal/dns"
)

// TestSuffixWithoutPSD: the record of a public suffix lacks psd=y, so the suffix is the Organizational Domain of all its customers. One of
// them wants the reports on it sent to another.
func TestSuffixWithoutPSD(t *testing.T) {
	const zone = `
_dmarc.evil.github.io TXT "v=DMARC1; p=none; rua=mailto:rua@victim.github.io"
_dmarc.github.io TXT "v=DMARC1; p=none"
victim.github.io MX 10 mx.victim.github.io
`
	f := wanted()
	f.Job.Policy.Domain = "evil.github.io"
	d := decide(t, zone, Settings{Send: true}, f)
	if got, want := show(d), "unverified: rua@victim.github.io=unverified"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	d = decide(t, zone+`evil.github.io._report._dmarc.victim.github.io TXT "v=DMARC1"`, Settings{Send: true}, f)
	if got, want := show(d), "send: rua@victim.github.io=send"; got != want {
		t.Errorf("with agreement: got %s, want %s", got, want)
	}
}

// TestSuffixItself: a suffix has no other owner than itself, so it is one organization with the names below it, in both directions.
func TestSuffixItself(t *testing.T) {
	for _, c := range []struct {
		domain dns.Name
		to     string
	}{
		{"github.io", "rua@reports.github.io"},
		{"pages.github.io", "rua@github.io"},
	} {
		f := wanted()
		f.Job.Policy.Domain = c.domain
		d := decide(t, `
_dmarc.pages.github.io TXT "v=DMARC1; p=none; rua=mailto:rua@github.io"
_dmarc.github.io TXT "v=DMARC1; p=none; rua=mailto:rua@reports.github.io"
reports.github.io MX 10 mx.github.io
github.io MX 10 mx.github.io
`, Settings{Send: true}, f)
		if got, want := show(d), "send: "+c.to+"=send"; got != want {
			t.Errorf("%s: got %s, want %s", c.domain, got, want)
		}
	}
}
