package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/testkit/signer"
)

// TestDKIMAddedFields adds, removes and changes fields of a message that the bank signed.
func TestDKIMAddedFields(t *testing.T) {
	const evilFrom = "From: Eve <eve@evil.example>"
	r := newRig(t, "", nil)
	plain := signer.DKIM(t, bankKey(), tags(""), bankMail)
	over := signer.DKIM(t, bankKey(), strings.Replace(tags(""), "from:subject", "from:from:subject:subject:to:to:sender", 1), bankMail)
	for _, tc := range []struct {
		why, raw, want string
	}{
		{"as signed", plain, "dkim=pass dmarc=pass"},
		{"as signed, oversigned", over, "dkim=pass dmarc=pass"},
		{"Subject above: the lowest is the signed one, the author is the same", "Subject: pay\r\n" + plain, "dkim=pass dmarc=pass"},
		{"Subject below", insert(plain, "X: y", "To:") + "", "dkim=pass dmarc=pass"},
		{"Subject below the signed one", strings.Replace(plain, "Subject: hello\r\n", "Subject: hello\r\nSubject: pay\r\n", 1),
			"dkim=fail/signature_mismatch dmarc=fail"},
		{"Subject above, oversigned", "Subject: pay\r\n" + over, "dkim=fail/signature_mismatch dmarc=fail"},
		{"From above", evilFrom + "\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"From below", insert(plain, evilFrom, "To:"), "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"From above, oversigned", evilFrom + "\r\n" + over, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"From below, oversigned", insert(over, evilFrom, "To:"), "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"FROM", "FROM: eve@evil.example\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"an empty From", "From:\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"the same From twice", "From: Ann <ann@bank.example>\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"From taken away", strings.Replace(plain, "From: Ann <ann@bank.example>\r\n", "", 1), "dkim=permerror/from_missing dmarc=permerror/missing"},
		{"From changed", strings.Replace(plain, "ann@bank", "ceo@bank", 1), "dkim=fail/signature_mismatch dmarc=fail"},
		{"the display name changed", strings.Replace(plain, "From: Ann", "From: Bob", 1), "dkim=fail/signature_mismatch dmarc=fail"},
		{"Sender, Reply-To, Resent-From outside h=", "Sender: eve@evil.example\r\nReply-To: eve@evil.example\r\nResent-From: eve@evil.example\r\n" + plain,
			"dkim=pass dmarc=pass"},
		{"Sender where its absence was signed", "Sender: eve@evil.example\r\n" + over, "dkim=fail/signature_mismatch dmarc=fail"},
		{"To twice outside h=", "To: eve@evil.example\r\n" + plain, "dkim=pass dmarc=pass"},
		{"To twice, oversigned", "To: eve@evil.example\r\n" + over, "dkim=fail/signature_mismatch dmarc=fail"},
		{"the signature twice", plain[:strings.Index(plain, "\r\n")+2] + plain, "dkim=pass dkim=pass dmarc=pass"},
		{"the name of the signed field in other case", strings.Replace(plain, "Subject:", "SUBJECT:", 1), "dkim=pass dmarc=pass"},
		{"signed content moved into another field", strings.Replace(plain, "Subject: hello", "X-Subject: hello", 1), "dkim=fail/signature_mismatch dmarc=fail"},
		{"body replaced", strings.Replace(plain, "Hello  there", "Pay here", 1), "dkim=fail/body_hash_mismatch dmarc=fail"},
		{"body appended", plain + "Pay here.\r\n", "dkim=fail/body_hash_mismatch dmarc=fail"},
		{"body prepended by a moved end of header", strings.Replace(plain, "\r\n\r\n", "\r\n\r\nPay.\r\n\r\n", 1), "dkim=fail/body_hash_mismatch dmarc=fail"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if g := r.send(t, shot{zone: bankKeyZone(), raw: tc.raw}); g.words("dkim", "dmarc") != tc.want {
				t.Errorf("%s, want %s", g.words("dkim", "dmarc"), tc.want)
			}
		})
	}
}

// TestDKIMSpacedFrom adds a From field with white space before its colon (RFC 5322 §4.5). Some MTAs
// do not remove this space.
func TestDKIMSpacedFrom(t *testing.T) {
	r := newRig(t, "", nil)
	plain := signer.DKIM(t, bankKey(), tags(""), bankMail)
	own := "From: eve@evil.example\r\n"
	for _, tc := range []struct{ why, raw, want string }{
		{"beside the bank's", "From : eve@evil.example\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"with a tab", "From\t: eve@evil.example\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"with both", "From \t : eve@evil.example\r\n" + plain, "dkim=policy/multiple_from dmarc=permerror/multiple_fields"},
		{"the bank's beside one that would pass", own + "From : ceo@bank.example\r\n\r\nHi.\r\n", "dkim=none dmarc=permerror/multiple_fields"},
		{"the bank's before one that would pass", "From : ceo@bank.example\r\n" + own + "\r\nHi.\r\n", "dkim=none dmarc=permerror/multiple_fields"},
		{"the bank's alone", "From : ceo@bank.example\r\n\r\nHi.\r\n", "dkim=none dmarc=fail"},
		{"a result in our name", "Authentication-Results : mx.here.example; dmarc=pass\r\n" + plain, "dkim=pass dmarc=pass"},
	} {
		g := r.send(t, shot{zone: bankKeyZone(), raw: tc.raw})
		if got := g.words("dkim", "dmarc"); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.why, got, tc.want)
		}
	}
}

// TestDKIMBodyLength tries values of l= with each setting of dkim.body_length. The signed body has
// 14 octets after canonicalization.
func TestDKIMBodyLength(t *testing.T) {
	nines := strings.Repeat("9", 76)
	const appended = "Pay here.\r\n"
	cases := []struct {
		why, more, append       string
		covered, accept, refuse string
	}{
		{"l= is the whole body", "l=14; ", "", "pass", "pass", "fail/body_length"},
		{"l= is the whole body, then content", "l=14; ", appended, "policy/body_length", "pass", "fail/body_length"},
		{"l= is the whole body, then empty lines", "l=14; ", "\r\n\r\n", "pass", "pass", "fail/body_length"},
		{"l= is the whole body, then a line of spaces", "l=14; ", " \t \r\n", "pass", "pass", "fail/body_length"},
		{"l= is the whole body, then one octet", "l=14; ", "x", "policy/body_length", "pass", "fail/body_length"},
		{"l= leaves the end of the line", "l=13; ", "", "policy/body_length", "pass", "fail/body_length"},
		{"l= is a part", "l=5; ", "", "policy/body_length", "pass", "fail/body_length"},
		{"l=0", "l=0; ", "", "policy/body_length", "pass", "fail/body_length"},
		{"l=0, then content", "l=0; ", appended, "policy/body_length", "pass", "fail/body_length"},
		{"l=00000014", "l=00000014; ", "", "pass", "pass", "fail/body_length"},
		{"l= beyond the body", "l=15; ", "", "permerror/length_beyond_body", "permerror/length_beyond_body", "permerror/length_beyond_body"},
		{"l= beyond any body", "l=" + nines + "; ", "", "permerror/length_beyond_body", "permerror/length_beyond_body", "permerror/length_beyond_body"},
		{"l= beyond 64 bits", "l=18446744073709551630; ", "", "permerror/length_beyond_body", "permerror/length_beyond_body", "permerror/length_beyond_body"},
		{"l=-1", "l=-1; ", "", "permerror/syntax", "permerror/syntax", "permerror/syntax"},
		{"l=+14", "l=+14; ", "", "permerror/syntax", "permerror/syntax", "permerror/syntax"},
		{"l=0x0e", "l=0x0e; ", "", "permerror/syntax", "permerror/syntax", "permerror/syntax"},
		{"l= empty", "l=; ", "", "permerror/syntax", "permerror/syntax", "permerror/syntax"},
		{"l= with a space", "l=1 4; ", "", "permerror/syntax", "permerror/syntax", "permerror/syntax"},
		{"l= twice", "l=14; l=0; ", "", "permerror/syntax", "permerror/syntax", "permerror/syntax"},
	}
	for _, policy := range dkim.BodyLengthPolicies {
		r := newRig(t, "", func(c *config.Config) { c.DKIM.BodyLength = policy })
		for _, tc := range cases {
			t.Run(string(policy)+"/"+tc.why, func(t *testing.T) {
				result := map[dkim.BodyLengthPolicy]string{
					dkim.BodyLengthCovered: tc.covered, dkim.BodyLengthAccept: tc.accept, dkim.BodyLengthFail: tc.refuse,
				}[policy]
				want := "dkim=" + result + " dmarc=fail"
				if result == "pass" {
					want = "dkim=pass dmarc=pass"
				}
				g := r.send(t, shot{zone: bankKeyZone(), raw: signer.DKIM(t, bankKey(), tags(tc.more), bankMail) + tc.append})
				if g.words("dkim", "dmarc") != want {
					t.Errorf("%s, want %s", g.words("dkim", "dmarc"), want)
				}
			})
		}
	}
}

// TestDKIMSignedHeaders tries values of h=.
func TestDKIMSignedHeaders(t *testing.T) {
	r := newRig(t, "", nil)
	h := func(names string) string { return strings.Replace(tags(""), "from:subject", names, 1) }
	for _, tc := range []struct{ why, tags, want string }{
		{"50,000 names", h("from" + strings.Repeat(":a", 49_999)), "pass"},
		{"50,001 names", h("from" + strings.Repeat(":a", 50_000)), "permerror/too_many_headers"},
		{"the same name 20,000 times", h("from" + strings.Repeat(":subject", 20_000)), "pass"},
		{"From 10,000 times", h("from" + strings.Repeat(":from", 10_000)), "pass"},
		{"no From", h("to:subject"), "permerror/from_not_signed"},
		{"something that ends in From", h("x-from:resent-from"), "permerror/from_not_signed"},
		{"From in any case", h("FrOm"), "pass"},
		{"From with white space around", h(" \r\n\t From \t:\r\n subject"), "pass"},
		{"an empty name", h("from::subject"), "permerror/syntax"},
		{"a colon at the end", h("from:"), "permerror/syntax"},
		{"a space inside", h("from subject"), "permerror/syntax"},
		{"From with a fold inside", h("fr\r\n om"), "permerror/syntax"},
		{"8-bit", h("from:subj\xe9ct"), "permerror/syntax"},
		{"empty", h(""), "permerror/missing_tag"},
		{"none", strings.Replace(tags(""), "h=from:subject; ", "", 1), "permerror/missing_tag"},
		{"its own field", h("from:dkim-signature"), "pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			g := r.send(t, shot{zone: bankKeyZone(), raw: signer.DKIM(t, bankKey(), tc.tags, bankMail)})
			expectDKIM(t, g, tc.want)
		})
	}
}

// expectDKIM checks that there is exactly one signature, and that its result is the one in "want".
// DMARC must pass if the signature passes, have a temporary error if the signature has a temporary
// error, and fail otherwise.
func expectDKIM(t *testing.T, g got, want string) {
	t.Helper()
	dmarc := "fail"
	if want == "pass" {
		dmarc = "pass"
	}
	if strings.HasPrefix(want, "temperror") {
		dmarc = "temperror"
	}
	if got, want := g.words("dkim", "dmarc"), "dkim="+want+" dmarc="+dmarc; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDKIMTags tries variants of the tags in the DKIM-Signature field.
func TestDKIMTags(t *testing.T) {
	r := newRig(t, "", nil)
	std := tags("")
	put := func(old, with string) string {
		if !strings.Contains(std, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(std, old, with, 1)
	}
	for _, tc := range []struct{ why, tags, want string }{
		{"d= twice, the bank's first", put("d=bank.example", "d=bank.example; d=evil.example"), "permerror/syntax"},
		{"d= twice, the bank's last", put("d=bank.example", "d=evil.example; d=bank.example"), "permerror/syntax"},
		{"d= twice the same", put("d=bank.example", "d=bank.example; d=bank.example"), "permerror/syntax"},
		{"an unknown tag twice", tags("zz=1; zz=2; "), "permerror/syntax"},
		{"names compare with case: D= is another tag", tags("D=evil.example; "), "pass"},
		{"b= twice", tags("b=AAAA; "), "permerror/syntax"},
		{"every tag folded", strings.ReplaceAll(std, "; ", ";\r\n\t "), "pass"},
		{"a fold on both sides of =", put("d=bank", "d \r\n\t=\r\n\t bank"), "pass"},
		{"a fold inside d=", put("d=bank.example", "d=bank.\r\n example"), "permerror/domain"},
		{"a tag name folded apart", put("bh=", "b\r\n h="), "permerror/syntax"},
		{"an unknown tag of 200,000 octets", tags("zz=" + strings.Repeat("x", 200_000) + "; "), "pass"},
		{"110 unknown tags", tags(unknownTags(110)), "pass"},
		{"130 unknown tags", tags(unknownTags(130)), "permerror/syntax"},
		{"a tag name of 10,000 octets", tags(strings.Repeat("z", 10_000) + "=1; "), "pass"},
		{"no equals sign", tags("zz; "), "permerror/syntax"},
		{"an empty tag", tags("; "), "permerror/syntax"},
		{"a name that begins with a digit", tags("1z=1; "), "permerror/syntax"},
		{"v=2", put("v=1", "v=2"), "permerror/version"},
		{"v=1.0", put("v=1", "v=1.0"), "permerror/version"},
		{"v=01", put("v=1", "v=01"), "permerror/version"},
		{"no v=", put("v=1; ", ""), "permerror/missing_tag"},
		{"v= at another place", put("v=1; a=ed25519-sha256; ", "a=ed25519-sha256; v=1; "), "pass"},
		{"a= unknown", put("a=ed25519-sha256", "a=ed25519-sha512"), "permerror/algorithm"},
		{"a=none", put("a=ed25519-sha256", "a=none"), "permerror/algorithm"},
		{"a= is of another key type", put("a=ed25519-sha256", "a=rsa-sha256"), "permerror/key_type"},
		{"a=rsa-sha1, RFC 8301 §3.1", put("a=ed25519-sha256", "a=rsa-sha1"), "permerror/algorithm_sha1"},
		{"c= unknown", put("c=relaxed/relaxed", "c=nowsp/relaxed"), "permerror/canonicalization"},
		{"c= of three", put("c=relaxed/relaxed", "c=relaxed/relaxed/simple"), "permerror/canonicalization"},
		{"c= signed as relaxed, said to be simple", put("c=relaxed/relaxed", "c=simple/simple"), "fail/body_hash_mismatch"},
		{"q= unknown", tags("q=http; "), "permerror/query_method"},
		{"q= with one that is known", tags("q=http:dns/txt; "), "pass"},
		{"q= empty", tags("q=; "), "permerror/query_method"},
		{"bh= short", put("bh=%BH", "bh=AAAA"), "permerror/syntax"},
		{"bh= empty", put("bh=%BH", "bh="), "permerror/missing_tag"},
		{"bh= of nothing", put("bh=%BH", "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), "fail/body_hash_mismatch"},
		{"z= with a From for careless readers", tags("z=From:ceo@evil.example; "), "pass"},
		{"a bell in a value", tags("zz=a\x07b; "), "permerror/syntax"},
		{"8-bit in an unknown tag", tags("zz=\xff\xfe; "), "pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			expectDKIM(t, r.send(t, shot{zone: bankKeyZone(), raw: signer.DKIM(t, bankKey(), tc.tags, bankMail)}), tc.want)
		})
	}
}

func unknownTags(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "z%d=1; ", i)
	}
	return b.String()
}

// TestDKIMTimes tries signatures that have expired or have a time in the future, and numbers that
// are no valid times.
func TestDKIMTimes(t *testing.T) {
	r := newRig(t, "", nil)
	now := time.Now().Unix()
	for _, tc := range []struct{ why, more, want string }{
		{"x= an hour to come", fmt.Sprintf("t=%d; x=%d; ", now-60, now+3600), "pass"},
		{"x= a minute ago: clocks differ", fmt.Sprintf("x=%d; ", now-60), "pass"},
		{"x= an hour ago", fmt.Sprintf("x=%d; ", now-3600), "fail/expired"},
		{"x=0", "x=0; ", "fail/expired"},
		{"x= of many digits never comes", "x=" + strings.Repeat("9", 40) + "; ", "pass"},
		{"x= before t=", fmt.Sprintf("t=%d; x=%d; ", now, now-1), "permerror/syntax"},
		{"x= is t=", fmt.Sprintf("t=%d; x=%d; ", now, now), "permerror/syntax"},
		{"x=-1", "x=-1; ", "permerror/syntax"},
		{"x= with letters", "x=1e12; ", "permerror/syntax"},
		{"x= empty", "x=; ", "permerror/syntax"},
		{"t= a minute ahead: clocks differ", fmt.Sprintf("t=%d; ", now+60), "pass"},
		{"t= an hour ahead", fmt.Sprintf("t=%d; ", now+3600), "pass"},
		{"t= nine hours ahead, as with a wrong time zone", fmt.Sprintf("t=%d; ", now+9*3600), "pass"},
		{"t= ahead, x= before it", fmt.Sprintf("t=%d; x=%d; ", now+9*3600, now+3600), "permerror/syntax"},
		{"t= of many digits", "t=" + strings.Repeat("9", 40) + "; ", "pass"},
		{"t=0", "t=0; ", "pass"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			expectDKIM(t, r.send(t, shot{zone: bankKeyZone(), raw: signer.DKIM(t, bankKey(), tags(tc.more), bankMail)}), tc.want)
		})
	}
}
