package wholepath

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	oracle "github.com/emersion/go-msgauth/dkim"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/message"
	"sekimori/internal/testkit/signer"
)

// variant is one possible text for a part of a generated signature, message, key or SPF record. The
// name of the plain variant is "".
type variant struct{ name, text string }

// part lists the variants of one part. The first is the plain variant; pick chooses it most often.
type part []variant

func (p part) pick(r *rand.Rand, features map[string]bool) string {
	v := p[0]
	if r.IntN(4) == 0 {
		v = p[r.IntN(len(p))]
	}
	features[v.name] = true
	return v.text
}

// The parts of a DKIM-Signature field and of a key record. %FUTURE and %JUST are replaced by a time
// in the future and a time that has just passed, %ALL by the length of the body.
var (
	vPart = part{{"", "v=1; "}, {"v=2", "v=2; "}, {"no v=", ""}}
	aPart = part{{"", "a=ed25519-sha256; "}, {"a= in capitals", "a=ED25519-SHA256; "}, {"a= unknown", "a=ed25519-sha512; "}, {"a=rsa", "a=rsa-sha256; "}}
	dPart = part{{"", "d=example.com; "}, {"d= in capitals", "d=EXAMPLE.com; "}, {"d= below", "d=sub.example.com; "},
		{"d= with a dot last", "d=example.com.; "}, {"d= empty", "d=; "}}
	iPart = part{{"", ""}, {"i= plain", "i=@example.com; "}, {"i= below", "i=x@sub.example.com; "}, {"i= elsewhere", "i=x@evil.example; "},
		{"i= in capitals", "i=x@EXAMPLE.COM; "}, {"i= encoded", "i=a=40b=40example.com; "}, {"i= ends alike", "i=x@evil-example.com; "},
		{"i= only ends alike", "i=evil@x.y.example.com; "}, {"i= no address", "i=sub.example.com; "}}
	tPart = part{{"", ""}, {"t= past", "t=1000; "}, {"t= future", "t=%FUTURE; "}, {"t= no number", "t=now; "}, {"t= negative", "t=-1; "}}
	xPart = part{{"", ""}, {"x= future", "x=%FUTURE; "}, {"x= past", "x=1000; "}, {"x= just past", "x=%JUST; "}, {"x= no number", "x=never; "}}
	qPart = part{{"", ""}, {"q= plain", "q=dns/txt; "}, {"q=dns", "q=dns; "}, {"q= two", "q=http:dns/txt; "}, {"q= other", "q=http; "}}
	cPart = part{{"", "c=relaxed/relaxed; "}, {"c= folded", "c=relaxed\r\n /relaxed; "}, {"c= in capitals", "c=Relaxed/RELAXED; "},
		{"c= unknown", "c=relaxed/x; "}}
	hPart = part{{"", "h=from:subject; "}, {"h= oversigned", "h=from:subject:from:subject; "}, {"h= spaced", "h=From :\r\n\t Subject; "},
		{"h= of absent", "h=from:x-none:to; "}, {"h= no From", "h=subject:to; "}, {"h= empty name", "h=from::subject; "}, {"h= ends in a colon", "h=from:subject:; "}}
	lPart = part{{"", ""}, {"l= all", "l=%ALL; "}, {"l= part", "l=1; "}, {"l= too much", "l=100000; "}}
	more  = part{{"", ""}, {"an unknown tag", "zz=a b; "}, {"an empty tag", "; "}, {"a tag twice", "zz=1; zz=2; "}, {"a tag without =", "zz; "},
		{"a tag name with a dash", "z-z=1; "}, {"a control in a tag", "zz=\x01; "}, {"8-bit in a tag", "zz=\xe9; "}}

	keyPart = part{{"", "v=DKIM1; k=ed25519; p=%P"}, {"key without v=", "k=ed25519; p=%P"}, {"key v= not first", "k=ed25519; v=DKIM1; p=%P"},
		{"key v=DKIM2", "v=DKIM2; k=ed25519; p=%P"}, {"key k= in capitals", "v=DKIM1; k=Ed25519; p=%P"}, {"key h=sha1", "v=DKIM1; h=sha1; k=ed25519; p=%P"},
		{"key h= in capitals", "v=DKIM1; h=SHA256; k=ed25519; p=%P"}, {"key s=email", "v=DKIM1; s=email; k=ed25519; p=%P"},
		{"key s=other", "v=DKIM1; s=tlsrpt; k=ed25519; p=%P"},
		{"key s=*", "v=DKIM1; s=a:*; k=ed25519; p=%P"}, {"key s= in capitals", "v=DKIM1; s=EMAIL; k=ed25519; p=%P"}, {"key t=s", "v=DKIM1; t=s; k=ed25519; p=%P"},
		{"key t=y", "v=DKIM1; t=y; k=ed25519; p=%P"}, {"key revoked", "v=DKIM1; k=ed25519; p="}, {"key p= spaced", "v=DKIM1; k=ed25519; p= %SPACED "},
		{"key p= tabbed", "v=DKIM1; k=ed25519; p=%TABBED"}, {"key p= unpadded", "v=DKIM1; k=ed25519; p=%UNPADDED"},
		{"key p= twice", "v=DKIM1; k=ed25519; p=%P; p=%P"},
		{"key with empty tags", "v=DKIM1;; k=ed25519; p=%P;;"}, {"key ends in ;", "v=DKIM1; k=ed25519; p=%P; "}, {"key of another", "v=DKIM1; k=ed25519; p=%OTHER"},
		{"key without p=", "v=DKIM1; k=ed25519"}, {"key small order", "v=DKIM1; k=ed25519; p=AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}
	besides = part{{"", ""}, {"", ""}, {"TXT beside", "v=spf1 -all"}, {"a second key", "v=DKIM1; k=ed25519; p=%OTHER"}}
)

// changes are the changes that can be made to a message after it has been signed. The first three
// leave the message as it is, so that some messages stay unchanged.
var changes = []struct {
	name string
	f    func(string) string
}{
	{"", func(s string) string { return s }},
	{"", func(s string) string { return s }},
	{"", func(s string) string { return s }},
	{"Subject above", func(s string) string { return "Subject: pay\r\n" + s }},
	{"From above", func(s string) string { return "From: eve@evil.example\r\n" + s }},
	{"To above", func(s string) string { return "To: x@example.net\r\n" + s }},
	{"Subject changed", func(s string) string { return strings.Replace(s, "Subject: ", "Subject: pay ", 1) }},
	{"body changed", func(s string) string { return s + "pay\r\n" }},
	{"empty lines appended", func(s string) string { return s + "\r\n\r\n" }},
	{"folded otherwise", func(s string) string { return strings.Replace(s, "Subject: ", "Subject:\r\n\t ", 1) }},
	{"field name in capitals", func(s string) string { return strings.Replace(s, "Subject:", "SUBJECT:", 1) }},
	{"b= cut", func(s string) string { return strings.Replace(s, "==\r\nReceived", "\r\nReceived", 1) }},
	{"b= folded", func(s string) string {
		return regexp.MustCompile(`b=(.{20})(.{60,})\r\nReceived`).ReplaceAllString(s, "b=$1\r\n  $2\r\nReceived")
	}},
	{"DKIM-Signature in lower case", func(s string) string { return strings.Replace(s, "DKIM-Signature:", "dkim-signature:", 1) }},
}

// knownDKIM lists the known differences between our results and those of go-msgauth. An entry
// allows a difference only for a message that has the variant or change named in "feature". The
// field "ours" says which of the two implementations may pass such a message while the other one
// does not.
var knownDKIM = []struct {
	feature string
	ours    bool   // true: only we say pass; false: only go-msgauth says pass
	says    string // if "ours" is true, a part of go-msgauth's error; otherwise the reason in our result
	why     string
}{
	{"l= all", true, "insecure body length", `RFC 6376 §3.5: l= "MUST NOT be greater than the actual number of octets in the canonicalized message body": ` +
		`as large it covers all; go-msgauth refuses every l=`},
	{"From above", false, "multiple_from", `RFC 6376 §3.8: "Verifiers SHOULD take reasonable steps to ensure that the messages they are processing are ` +
		`valid according to [RFC5322]"; go-msgauth takes the lowest From`},
	{"x= future", false, "syntax", `RFC 6376 §3.5: "The value of the "x=" tag MUST be greater than the value of the "t=" tag if both are present"`},
	{"x= just past", true, "expired", `RFC 6376 §3.5: "Signatures MAY be considered invalid if the verification time at the Verifier is past the ` +
		`expiration date": five minutes are left for clocks that differ`},
	{"i= in capitals", true, "domain mismatch",
		`RFC 6376 §3.5: i= is in d= or a subdomain of it, and domain names compare without case (RFC 1034 §3.1); go-msgauth compares octets`},
	{"d= in capitals", true, "domain mismatch", `as i= in capitals`},
	{"i= no address", false, "syntax", `RFC 6376 §3.5: i= is "[ Local-part ] "@" domain-name"; go-msgauth takes anything that ends in ".d"`},
	{"d= empty", false, "missing_tag", `RFC 6376 §3.5: d= is REQUIRED and a domain name`},
	{"d= with a dot last", false, "domain", `RFC 6376 §3.5: domain-name is sub-domain 1*("." sub-domain), without a dot at the end`},
	{"q=dns", true, "query method", `the spelling of drafts and of RFC 4870; RFC 6376 §3.5: "Unrecognized query mechanisms MUST be ignored", and the ` +
		`default is dns/txt`},
	{"c= folded", false, "canonicalization", `RFC 6376 §3.5: sig-c-tag-alg [ "/" sig-c-tag-alg ] has no white space inside; go-msgauth takes it out`},
	{"c= in capitals", true, "canonicalization algorithm", `RFC 6376 §3.5: literals of the grammar are without case (RFC 5234 §2.3)`},
	{"a= in capitals", true, "algorithm", `RFC 5234 §2.3: literals are without case`},
	{"a tag name with a dash", false, "syntax", `RFC 6376 §3.2: tag-name = ALPHA *ALNUMPUNC, and "_" is the only punctuation`},
	{"a control in a tag", false, "syntax", `RFC 6376 §3.2: VALCHAR is %x21-3A / %x3C-7E`},
	{"an empty tag", false, "syntax", `RFC 6376 §3.2: tag-list = tag-spec *( ";" tag-spec ) [ ";" ]`},
	{"h= empty name", false, "syntax", `RFC 6376 §3.5: h= is hdr-name *( ":" hdr-name ), and a name has a character`},
	{"h= ends in a colon", false, "syntax", `as h= empty name`},
	{"TXT beside", true, "multiple TXT", `RFC 6376 §6.1.2: "the Verifier can choose one of the key records or may cycle through the key records"; ` +
		`go-msgauth takes one TXT record only`},
	{"a second key", true, "multiple TXT", `as TXT beside; RFC 6376 §3.6.2.2 leaves it undefined`},
	{"key t=s", false, "strict_identity", `RFC 6376 §3.6.1, s: "Any DKIM-Signature header fields using the "i=" tag MUST have the same domain value on the ` +
		`right-hand side of the "@" in the "i=" tag and the value of the "d=" tag"; go-msgauth does not look`},
	{"key k= in capitals", true, "unsupported key algorithm", `RFC 5234 §2.3: literals are without case`},
	{"key h= in capitals", true, "inappropriate hash", `as key k= in capitals`},
	{"key s= in capitals", true, "inappropriate service", `as key k= in capitals`},
	{"key v= not first", false, "key_syntax", `RFC 6376 §3.6.1: "This tag MUST be the first tag in the record"`},
	{"key p= tabbed", true, "key syntax", `RFC 6376 §3.6.1: base64string may hold FWS, a tab too; go-msgauth takes out spaces only`},
	{"key p= unpadded", true, "key syntax", `RFC 4648 §3.2 lets the referring specification decide; key generators leave padding out`},
	{"b= cut", true, "malformed signature", `as key p= unpadded`},
	{"t= negative", false, "syntax", `RFC 6376 §3.5: t= is 1*12DIGIT`},
}

// dkimCase generates one message, which is signed and then changed, and the TXT records at the name
// of its key. It also returns the names of the variants and of the change that it used.
func dkimCase(tb testing.TB, r *rand.Rand) (mail string, records []string, features map[string]bool) {
	tb.Helper()
	features = map[string]bool{}
	now := time.Now().Unix()
	fill := strings.NewReplacer("%FUTURE", fmt.Sprint(now+86_400), "%JUST", fmt.Sprint(now-60))
	body := strings.Repeat("Hello there.\r\n", r.IntN(3))
	fields := []message.Field{{Name: "Received", Value: " by x"}, {Name: "From", Value: " Ann <ann@example.com>"},
		{Name: "Subject", Value: " hello\r\n  there"}, {Name: "To", Value: " bob@example.net"}}
	h := hPart.pick(r, features)
	value := vPart.pick(r, features) + aPart.pick(r, features) + dPart.pick(r, features) + "s=s; " + iPart.pick(r, features) +
		tPart.pick(r, features) + xPart.pick(r, features) + qPart.pick(r, features) + cPart.pick(r, features) + h + lPart.pick(r, features) + more.pick(r, features)
	value = strings.ReplaceAll(fill.Replace(value), "%ALL", fmt.Sprint(len(body)))
	for _, f := range fields {
		mail += f.Name + ":" + f.Value + "\r\n"
	}
	mail = signer.DKIM(tb, bankKey(), value+"bh=%BH; b=", mail+"\r\n"+body)
	change := changes[r.IntN(len(changes))]
	features[change.name] = true
	mail = change.f(mail)

	p := base64.StdEncoding.EncodeToString(bankKey().Public().(ed25519.PublicKey))
	other := base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	keys := strings.NewReplacer("%P", p, "%OTHER", other, "%SPACED", p[:9]+"  "+p[9:], "%TABBED", p[:9]+"\t"+p[9:], "%UNPADDED", strings.TrimRight(p, "="))
	records = []string{keys.Replace(keyPart.pick(r, features))}
	if b := besides.pick(r, features); b != "" {
		records = append([]string{keys.Replace(b)}, records...)
	}
	return mail, records, features
}

// TestDKIMDifferences compares our results with those of go-msgauth on generated messages. If only
// one of the two implementations says pass, an entry of knownDKIM must explain this. Each entry of
// knownDKIM must be needed at least once.
func TestDKIMDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(6376, 8463))
	shown := map[string]int{}
	passes, differences := 0, 0
	for i := range 3000 {
		mail, records, features := dkimCase(t, r)
		z := zone.New()
		for _, domain := range []string{"example.com", "sub.example.com"} {
			for _, text := range records {
				z.Add(dns.Name("s._domainkey."+domain), dns.TypeTXT, dns.Record{Text: text})
			}
		}
		h, body := message.Parse([]byte(mail))
		v := dkim.NewVerifier(h, dkim.Options{})
		v.Start(t.Context(), z)
		_, _ = v.Write(body)
		ours := v.Finish(t.Context())
		theirs, err := oracle.VerifyWithOptions(strings.NewReader(mail), &oracle.VerifyOptions{LookupTXT: func(string) ([]string, error) { return records, nil }})
		if len(ours) != 1 || len(theirs) != 1 {
			t.Fatalf("%d: %d and %d signatures (%v)\n%s", i, len(ours), len(theirs), err, mail)
		}
		pass, oraclePass := ours[0].Result == dkim.Pass, theirs[0].Err == nil && err == nil
		if pass && oraclePass {
			passes++
		}
		if pass == oraclePass {
			continue
		}
		differences++
		explained := false
		for _, k := range knownDKIM {
			says := string(ours[0].Reason) == k.says
			if pass {
				says = strings.Contains(fmt.Sprint(theirs[0].Err), k.says)
			}
			if features[k.feature] && k.ours == pass && says {
				explained = true
				shown[k.feature]++
			}
		}
		if !explained {
			t.Errorf("%d: we say %s (%s %s), go-msgauth %v\nfeatures %v\n%s\n%q", i, ours[0].Result, ours[0].Reason, ours[0].Detail, theirs[0].Err,
				sortedKeys(features), mail, records)
		}
	}
	for _, k := range knownDKIM {
		if shown[k.feature] == 0 {
			t.Errorf("nothing shows the difference %q any more", k.feature)
		}
	}
	if passes < 200 {
		t.Errorf("only %d messages pass with both", passes)
	}
	t.Logf("%d pass with both, %d differ, all explained", passes, differences)
}

func sortedKeys(m map[string]bool) (out []string) {
	for k := range m {
		if k != "" {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
