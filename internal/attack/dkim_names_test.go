package attack

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/testkit/signer"
)

// TestDKIMNames tries values of d= and s= that programs could read in different ways. Then the name
// that is looked up, the name that is shown and the name that is compared with the author's domain
// could differ. The attacker signs with a key of his own. This key is published at every name to
// which a trick could lead.
func TestDKIMNames(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	long := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 61)}, ".") // 253 octets
	r := newRig(t, "", nil)
	ds := func(d, s string) string {
		return strings.Replace(tags(""), "d=bank.example; s=s", "d="+d+"; s="+s, 1)
	}
	for _, tc := range []struct {
		why, tags, want string
		asks            bool
	}{
		{"cut at a NUL in d=, as Postfix does", "v=1; a=ed25519-sha256; d=bank.example; b=", "permerror/missing_tag", false},
		{"a DEL in d=", ds("bank.example\x7f.evil.example", "e"), "permerror/syntax", false},
		{"a bell in s=", ds("bank.example", "e\x07"), "permerror/syntax", false},
		{"an escaped NUL in s=", ds("bank.example", `e\000`), "permerror/domain", false},
		{"an escaped dot in d=", ds(`bank\.example.evil.example`, "e"), "permerror/domain", false},
		{"a decimal escape in d=", ds(`bank\046example`, "e"), "permerror/domain", false},
		{"a percent escape in d=", ds("bank%2eexample", "e"), "permerror/domain", false},
		{"a quoted-printable escape in d=", ds("bank=2Eexample", "e"), "permerror/domain", false},
		{"a quoted-printable escape in s=", ds("bank.example", "e=2E"), "permerror/domain", false},
		{"a slash in d=", ds("bank.example/evil.example", "e"), "permerror/domain", false},
		{"a slash in s=", ds("bank.example", "e/../x"), "permerror/domain", false},
		{"a parenthesis in d=", ds("bank.example(.evil.example", "e"), "permerror/domain", false},
		{"an @ in d=", ds("evil.example@bank.example", "e"), "permerror/domain", false},
		{"a colon in d=", ds("bank.example:53", "e"), "permerror/domain", false},
		{"a wildcard in d=", ds("*.bank.example", "e"), "permerror/domain", false},
		{"a wildcard in s=", ds("bank.example", "*"), "permerror/domain", false},
		{"a space in d=", ds("bank.example evil.example", "e"), "permerror/domain", false},
		{"a fold in d=", ds("bank.example\r\n .evil.example", "e"), "permerror/domain", false},
		{"two dots in d=", ds("bank..example", "e"), "permerror/domain", false},
		{"two dots in s=", ds("bank.example", "e..x"), "permerror/domain", false},
		{"a dot first", ds(".bank.example", "e"), "permerror/domain", false},
		{"a dot last", ds("bank.example.", "e"), "permerror/domain", false},
		{"s= ends in a dot", ds("bank.example", "e."), "permerror/domain", false},
		{"s= is a dot", ds("bank.example", "."), "permerror/domain", false},
		{"d= is a dot", ds(".", "e"), "permerror/domain", false},
		{"d= empty", ds("", "e"), "permerror/missing_tag", false},
		{"s= empty", ds("bank.example", ""), "permerror/missing_tag", false},
		{"d= a top-level domain", ds("example", "e"), "permerror/domain", false},
		{"d= an address literal", ds("[198.51.100.66]", "e"), "permerror/domain", false},
		{"a label of 64 octets", ds(label63+"a.example", "e"), "permerror/domain", false},
		{"d= of 253 octets leaves no room for s=", ds(long, "e"), "permerror/domain", false},
		{"d= of 255 octets", ds("aa"+long, "e"), "permerror/domain", false},
		{"s= of 255 octets", ds("bank.example", "aa"+long), "permerror/domain", false},
		{"8-bit that is no UTF-8 in d=", ds("bank\xff.example", "e"), "permerror/domain", false},
		{"a right-to-left override in d=", ds("bank\u202e.example", "e"), "permerror/domain", false},
		{"xn-- that decodes to nothing valid", ds("xn--\xff.example", "e"), "permerror/domain", false},

		{"the attacker's own domain, which is not below the bank's", ds("evil.example", "e"), "pass", true},
		{"the bank's name inside the attacker's", ds("bank.example.evil.example", "e"), "permerror/key_not_found", true},
		{"the bank's domain, the attacker's key elsewhere", ds("bank.example", "e"), "permerror/key_not_found", true},
		{"s= with the attacker's domain in it", ds("bank.example", "e._domainkey.evil.example"), "permerror/key_not_found", true},
		{"a Cyrillic look-alike", ds("b\u0430nk.example", "e"), "pass", true},
		{"a zero-width space is nothing in a name: the bank's", ds("bank\u200b.example", "e"), "permerror/key_not_found", true},
		{"full-width letters are the bank's", ds("ｂank.example", "e"), "permerror/key_not_found", true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			zoneText := txt("e._domainkey.evil.example", edRecord(evilKey())) + txt("e._domainkey.xn--bnk-6cd.example", edRecord(evilKey()))
			g := r.send(t, shot{zone: zoneText, raw: signer.DKIM(t, evilKey(), tc.tags, bankMail)})
			want := "dkim=" + tc.want + " dmarc=fail"
			if got := g.words("dkim", "dmarc"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if asked := strings.Contains(strings.Join(g.queries, "\n"), "_domainkey"); asked != tc.asks {
				t.Errorf("a key was asked for: %v\n%q", asked, g.queries)
			}
		})
	}
}

// TestDKIMHonestNames tries unusual spellings of names that belong to the signing author's domain.
// Mail with them must pass.
func TestDKIMHonestNames(t *testing.T) {
	r := newRig(t, "", nil)
	const idn = "From: a@例え.example\r\nSubject: hello\r\n\r\nHello.\r\n"
	// "bank.example" and "._domainkey." have 12 octets each. A name has at most 253 octets, so 229
	// are left for s=.
	long := strings.Repeat(strings.Repeat("s", 56)+".", 4) + "s"
	for _, tc := range []struct{ why, mail, ds, key, want string }{
		{"capitals", bankMail, "d=BANK.Example; s=S", "s._domainkey.bank.example", "dkim=pass dmarc=pass"},
		{"a selector of several labels", bankMail, "d=bank.example; s=a.b-c.d_e", "a.b-c.d_e._domainkey.bank.example", "dkim=pass dmarc=pass"},
		{"a subdomain aligns by organization", bankMail, "d=news.bank.example; s=s", "s._domainkey.news.bank.example", "dkim=pass dmarc=pass"},
		{"the longest name", bankMail, "d=bank.example; s=" + long, long + "._domainkey.bank.example", "dkim=pass dmarc=pass"},
		{"IDNA, both as U-labels", idn, "d=例え.example; s=選択", "xn--xrup43h._domainkey.xn--r8jz45g.example", "dkim=pass dmarc=pass"},
		{"IDNA, d= as A-label", idn, "d=xn--r8jz45g.example; s=s", "s._domainkey.xn--r8jz45g.example", "dkim=pass dmarc=pass"},
		{"IDNA, d= as U-label", idn, "d=例え.example; s=s", "s._domainkey.xn--r8jz45g.example", "dkim=pass dmarc=pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			set := strings.Replace(tags(""), "d=bank.example; s=s", tc.ds, 1)
			g := r.send(t, shot{zone: txt(tc.key, edRecord(bankKey())) + txt("_dmarc.xn--r8jz45g.example", "v=DMARC1; p=reject"),
				raw: signer.DKIM(t, bankKey(), set, tc.mail)})
			if got := g.words("dkim", "dmarc"); got != tc.want {
				t.Errorf("%s, want %s (asked %q)", got, tc.want, g.queries)
			}
		})
	}
}

// TestDKIMIdentity tries values of i=. The domain in i= must be the domain in d= or a subdomain of
// it. No value may add a result to the label.
func TestDKIMIdentity(t *testing.T) {
	r := newRig(t, "", nil)
	strict := txt("s._domainkey.bank.example", strings.Replace(edRecord(bankKey()), "k=", "t=s; k=", 1))
	for _, tc := range []struct{ why, i, zone, want string }{
		{"in d=", "ann@bank.example", "", "pass"},
		{"no local part", "@bank.example", "", "pass"},
		{"below d=", "@news.bank.example", "", "pass"},
		{"below d= where the key says t=s", "@news.bank.example", strict, "permerror/strict_identity"},
		{"d= where the key says t=s", "ann@bank.example", strict, "pass"},
		{"d= in capitals where the key says t=s", "ann@BANK.EXAMPLE", strict, "pass"},
		{"outside d=", "@evil.example", "", "permerror/domain_mismatch"},
		{"above d=", "@example", "", "permerror/syntax"},
		{"d= is only its end", "@evilbank.example", "", "permerror/domain_mismatch"},
		{"d= is only its beginning", "@bank.example.evil.example", "", "permerror/domain_mismatch"},
		{"two @", "ann@evil.example@bank.example", "", "permerror/syntax"},
		{"an encoded @", "ann=40evil.example", "", "permerror/domain_mismatch"},
		{"an encoded NUL", "ann=00@bank.example", "", "permerror/syntax"},
		{"an encoded CRLF", "ann=0D=0AX@bank.example", "", "permerror/syntax"},
		{"an encoded NUL in the domain", "@evil.example=00.bank.example", "", "permerror/syntax"},
		{"a dot last", "@bank.example.", "", "permerror/syntax"},
		{"no @", "bank.example", "", "permerror/syntax"},
		{"empty", "", "", "permerror/syntax"},
		{"half an escape", "ann=4@bank.example", "", "permerror/syntax"},
		{"a result for careless readers", "x;dmarc=3Dpass(@bank.example", "", "permerror/syntax"},
		{"a result for careless readers, encoded", "x=3Bdmarc=3Dpass=28@bank.example", "", "pass"},
		{"a quoted local part", "=22a=20b=22@bank.example", "", "pass"},
		{"64,000 octets of local part", strings.Repeat("x", 64_000) + "@bank.example", "", "pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if tc.zone == "" {
				tc.zone = bankKeyZone()
			}
			g := r.send(t, shot{zone: tc.zone, raw: signer.DKIM(t, bankKey(), tags("i="+tc.i+"; "), bankMail)})
			expectDKIM(t, g, tc.want)
			if n := len(g.label.Results); n != 5 {
				t.Errorf("%d results where spf, dkim, dmarc, arc and iprev are due: %+v", n, g.label.Results)
			}
		})
	}
}

// TestDKIMManySignatures sends 500 signatures. The lowest one is valid and by the author's domain.
// This signature must be verified, our field must have the results of all methods, and at most 10
// keys may be looked up.
func TestDKIMManySignatures(t *testing.T) {
	own := signer.DKIM(t, bankKey(), tags(""), bankMail)
	sum := signer.DKIM(t, evilKey(), strings.Replace(tags(""), "d=bank.example", "d=evil.example", 1), bankMail)
	evil := sum[:strings.Index(sum, "\r\n")+2]
	field := own[:strings.Index(own, "\r\n")+2]
	stack := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	for _, tc := range []struct {
		why, top string
	}{
		{"malformed ones", stack(499, func(int) string { return "DKIM-Signature: v=1; a=b\r\n" })},
		{"one of the attacker's", stack(499, func(int) string { return evil })},
		{"as many domains", stack(499, func(i int) string { return strings.ReplaceAll(evil, "d=evil.example", fmt.Sprintf("d=e%d.example", i)) })},
		{"as many subdomains of the bank's", stack(499, func(i int) string {
			return strings.ReplaceAll(evil, "d=evil.example", fmt.Sprintf("d=e%d.bank.example", i))
		})},
		{"expired ones of the bank's", stack(499, func(int) string { return strings.Replace(field, "v=1;", "v=1; x=1;", 1) })},
		{"sha1 ones of the bank's", stack(499, func(int) string { return strings.Replace(field, "ed25519-sha256", "rsa-sha1", 1) })},
		{"copies of the bank's own", stack(499, func(int) string { return field })},
	} {
		t.Run(tc.why, func(t *testing.T) {
			r := newRig(t, "", func(c *config.Config) { c.DKIM.MaxSignatures = 10 })
			g := r.send(t, shot{zone: bankKeyZone() + txt("s._domainkey.evil.example", edRecord(evilKey())), raw: tc.top + own})
			if words := g.words("dmarc"); words != "dmarc=pass" {
				t.Errorf("%s", words)
			}
			if keys := strings.Count(strings.Join(g.queries, "\n"), "_domainkey"); keys > 10 {
				t.Errorf("%d keys were asked for", keys)
			}
			for _, method := range []string{"dkim=pass", "dmarc=", "arc=", "iprev="} {
				if !strings.Contains(g.words("dkim", "dmarc", "arc", "iprev"), method) {
					t.Errorf("the label lacks %s", method)
				}
			}
		})
	}
}
