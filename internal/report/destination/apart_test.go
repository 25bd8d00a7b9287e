package destination

import "testing"

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
