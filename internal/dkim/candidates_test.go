package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"io"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/signer"
)

// unsigned removes the lines that begin with a match of the regular expression
// "begin". Each of these lines is a whole field.
func unsigned(eml, begin string) string {
	return regexp.MustCompile(`(?mi)^`+begin+`.*\r\n`).ReplaceAllString(eml, "")
}

// TestDroppedFields checks signatures over fields that MTAs remove. Such a
// signature passes if the field is Return-Path and the envelope gives its value.
// It fails if something else shows that the message was changed. Otherwise it is
// neutral.
func TestDroppedFields(t *testing.T) {
	const bcc, path = "Bcc: carol@example.org\r\n", "Return-Path: <bounce@example.com>\r\n"
	key, ed := rsaKey(t), edKey()
	drop := func(names ...string) func(string) string {
		return func(eml string) string {
			for _, name := range names {
				eml = unsigned(eml, name+":")
			}
			return eml
		}
	}
	then := func(first, second func(string) string) func(string) string {
		return func(eml string) string { return second(first(eml)) }
	}
	replace := func(old, with string) func(string) string {
		return func(eml string) string { return strings.Replace(eml, old, with, 1) }
	}
	for _, tc := range []struct {
		why    string
		fields string // fields that stand above the others when the message is signed
		s      signing
		change func(string) string
		path   string
		want   Result
		reason Reason
	}{
		{"Bcc", bcc, signing{h: "from:to:bcc:subject"}, drop("Bcc"), "", Neutral, ReasonDroppedField},
		{"Bcc in capitals", bcc, signing{h: "FROM:BCC"}, drop("Bcc"), "", Neutral, ReasonDroppedField},
		{"Bcc under simple", bcc, signing{h: "from:to:bcc:subject", c: "simple/simple"}, drop("Bcc"), "", Neutral, ReasonDroppedField},
		{"Bcc under Ed25519", bcc, signing{h: "from:to:bcc:subject", key: ed}, drop("Bcc"), "", Neutral, ReasonDroppedField},
		{"two Bcc", bcc + bcc, signing{h: "from:bcc:bcc"}, drop("Bcc"), "", Neutral, ReasonDroppedField},
		{"Resent-Bcc", "Resent-" + bcc, signing{h: "from:resent-bcc"}, drop("Resent-Bcc"), "", Neutral, ReasonDroppedField},
		{"Content-Length", "Content-Length: 29\r\n", signing{h: "from:content-length"}, drop("Content-Length"), "", Neutral, ReasonDroppedField},
		{"all four", bcc + "Resent-" + bcc + "Content-Length: 29\r\n" + path, signing{h: "from:bcc:resent-bcc:content-length:return-path"},
			drop("Bcc", "Resent-Bcc", "Content-Length", "Return-Path"), "<bounce@example.com>", Neutral, ReasonDroppedField},
		{"oversigned: the message had none of the four", "", signing{h: "from:bcc:resent-bcc:content-length:return-path"}, nil, "<bounce@example.com>", Pass, ""},
		{"Bcc is still there", bcc, signing{h: "from:bcc"}, nil, "", Pass, ""},
		{"Bcc was there, and is another", bcc, signing{h: "from:bcc"}, replace("carol", "dave"), "", Fail, ReasonSignature},
		{"Bcc is still there, and Subject is another", bcc, signing{h: "from:bcc:subject"}, replace("a  test", "a nest"), "", Fail, ReasonSignature},
		{"a field that no MTA removes", "X-A: 1\r\n", signing{h: "from:x-a"}, drop("X-A"), "", Fail, ReasonSignature},
		{"a field whose name only begins with Bcc", "Bcc-X: 1\r\n", signing{h: "from:bcc-x"}, drop("Bcc-X"), "", Fail, ReasonSignature},
		{"a signature that does not name it", bcc, signing{h: "from:subject"}, then(drop("Bcc"), replace("a  test", "a nest")), "", Fail, ReasonSignature},
		{"the body was changed, too", bcc, signing{h: "from:bcc"}, then(drop("Bcc"), replace("Bob,", "Rob,")), "", Fail, ReasonBodyHash},
		{"another key", bcc, signing{h: "from:bcc", key: signer.NewHeavy(t, 2048, 65537)}, drop("Bcc"), "", Fail, ReasonSignature},
		{"a signature that nobody made", bcc, signing{h: "from:bcc", key: unmade{key}}, drop("Bcc"), "", Fail, ReasonSignature},

		{"Return-Path", path, signing{h: "from:return-path"}, drop("Return-Path"), "<bounce@example.com>", Pass, ""},
		{"Return-Path under simple", path, signing{h: "from:return-path", c: "simple/simple"}, drop("Return-Path"), "<bounce@example.com>", Pass, ""},
		{"Return-Path under Ed25519", path, signing{h: "from:return-path", key: ed}, drop("Return-Path"), "<bounce@example.com>", Pass, ""},
		{"Return-Path twice in h=", path, signing{h: "from:return-path:return-path"}, drop("Return-Path"), "<bounce@example.com>", Pass, ""},
		{"Return-Path below another name that the message has not", path, signing{h: "x-absent:from:return-path"}, drop("Return-Path"), "<bounce@example.com>",
			Pass, ""},
		{"Return-Path without brackets", "Return-Path: bounce@example.com\r\n", signing{h: "from:return-path"}, drop("Return-Path"), "<bounce@example.com>",
			Pass, ""},
		{"Return-Path of the null sender", "Return-Path: <>\r\n", signing{h: "from:return-path"}, drop("Return-Path"), "<>", Pass, ""},
		{"Return-Path, but the sender is another", path, signing{h: "from:return-path"}, drop("Return-Path"), "<srs0=x@example.net>", Neutral, ReasonDroppedField},
		{"Return-Path, but the sender is not known", path, signing{h: "from:return-path"}, drop("Return-Path"), "", Neutral, ReasonDroppedField},
		{"Return-Path is there and another", path, signing{h: "from:return-path"}, replace("<bounce@", "<other@"), "<bounce@example.com>", Fail, ReasonSignature},
		{"Return-Path, and Subject is another", path, signing{h: "from:subject:return-path"}, then(drop("Return-Path"), replace("a  test", "a nest")),
			"<bounce@example.com>", Neutral, ReasonDroppedField},
	} {
		mail := sign(t, tc.s, tc.fields+testMail)
		if tc.change != nil {
			changed := tc.change(mail)
			if changed == mail {
				t.Fatalf("%s: nothing changed", tc.why)
			}
			mail = changed
		}
		z := zoneWith(signer.Record(&key.PublicKey))
		if _, ok := tc.s.key.(ed25519.PrivateKey); ok {
			z = zoneWith(signer.Record(ed.Public()))
		}
		expect(t, tc.why, one(t, mail, z, Options{ReturnPath: tc.path}), tc.want, tc.reason)
	}
}

// unmade is a signer that returns a constant instead of a signature.
type unmade struct{ crypto.Signer }

func (unmade) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return bytes.Repeat([]byte{1}, 256), nil
}

// TestDroppedFieldKeys checks that, if a name has several keys, the key that
// made the signature decides the result.
func TestDroppedFieldKeys(t *testing.T) {
	mail := unsigned(sign(t, signing{h: "from:bcc"}, "Bcc: carol@example.org\r\n"+testMail), "Bcc:")
	key, other := signer.Record(&rsaKey(t).PublicKey), signer.Record(signer.NewHeavy(t, 2048, 65537).Public())
	for _, keys := range [][]string{{key, other}, {other, key}, {other, "v=DKIM1; p=", key}} {
		expect(t, "several keys", one(t, mail, zoneWith(keys...), Options{}), Neutral, ReasonDroppedField)
	}
	expect(t, "only others", one(t, mail, zoneWith(other), Options{}), Fail, ReasonSignature)
}

// respaced returns a message as package milter gives it if the MTA does not show
// the first space of a value. Every value then begins with a space, unless it
// begins with a tab.
func respaced(eml string) string {
	head, body, _ := strings.Cut(eml, "\r\n\r\n")
	return regexp.MustCompile(`(?m)^([!-9;-~]+:) ?([^\t])`).ReplaceAllString(head, "$1 $2") + "\r\n\r\n" + body
}

// numbered returns n fields. The parameter "bare" is the number of fields, from
// the first, that have no space before the value.
func numbered(n, bare int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(numberedFrom(i, max(0, bare-i)))
	}
	return b.String()
}

// tabbed returns n fields whose values begin with a tab.
func tabbed(n int) string { return strings.ReplaceAll(numbered(n, 0), ": v", ":\tv") }

func numberedFrom(i, bare int) string {
	if bare > 0 {
		return fmt.Sprintf("X-%d:v\r\n", i)
	}
	return fmt.Sprintf("X-%d: v\r\n", i)
}

func numberedNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("x-%d", i)
	}
	return strings.Join(names, ":")
}

// TestNextSet checks that repeated calls of nextSet give all numbers below 2^10
// with a certain number of 1 bits, in ascending order.
func TestNextSet(t *testing.T) {
	const n = 10
	for size := 1; size <= n; size++ {
		var got, want []uint64
		for set := uint64(1)<<size - 1; set < 1<<n; set = nextSet(set) {
			got = append(got, set)
		}
		for set := uint64(1); set < 1<<n; set++ {
			if bits.OnesCount64(set) == size {
				want = append(want, set)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %d: %b, want %b", size, got, want)
		}
	}
	if got := spread(0b101, []int{1, 3, 63}); got != 1<<1|1<<63 {
		t.Errorf("%b", got)
	}
}

// TestLeadingSpace checks that a signature does not fail because the MTA does not
// show the space before a value.
func TestLeadingSpace(t *testing.T) {
	key, ed := rsaKey(t), edKey()
	const bare = "From:Ann <ann@example.com>\r\nTo:Bob <bob@example.org>\r\nSubject:x\r\n\r\nHello.\r\n"
	const mixed = "From: Ann <ann@example.com>\r\nTo:Bob <bob@example.org>\r\nSubject:\tx\r\n\r\nHello.\r\n"
	for _, tc := range []struct {
		why     string
		mail    string
		s       signing
		change  [2]string
		o       Options
		want    Result
		reason  Reason
		unknown bool
	}{
		{why: "one space, as most signers write", mail: testMail, s: signing{c: "simple/simple"}, want: Pass, unknown: true},
		{why: "one space under Ed25519", mail: testMail, s: signing{c: "simple/simple", key: ed}, want: Pass, unknown: true},
		{why: "two spaces", mail: strings.Replace(testMail, "Subject: ", "Subject:  ", 1), s: signing{c: "simple/relaxed"}, want: Pass, unknown: true},
		{why: "a value that begins on the next line", mail: strings.Replace(testMail, "Subject: ", "Subject: \r\n ", 1), s: signing{c: "simple/simple"},
			want: Pass, unknown: true},
		{why: "a value that begins on the next line, directly", mail: strings.Replace(testMail, "Subject: ", "Subject:\r\n ", 1),
			s: signing{c: "simple/simple"}, want: Pass, unknown: true},
		{why: "such a value, changed", mail: strings.Replace(testMail, "Subject: ", "Subject:\r\n ", 1), s: signing{c: "simple/simple"},
			change: [2]string{"a  test", "a nest"}, want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "some values without", mail: mixed, s: signing{c: "simple/simple"}, want: Pass, unknown: true},
		{why: "no spaces but in the signature", mail: bare, s: signing{c: "simple/simple"}, want: Pass, unknown: true},
		{why: "some values without, under Ed25519", mail: mixed, s: signing{c: "simple/simple", key: ed}, want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "one of twenty without", mail: numbered(20, 1) + mixed, s: signing{c: "simple/simple", h: "from:" + numberedNames(20)}, want: Pass, unknown: true},
		{why: "seventy with", mail: numbered(70, 0) + mixed, s: signing{c: "simple/simple", h: "from:" + numberedNames(70)}, want: Pass, unknown: true},
		{why: "the last of seventy without: too many fields to search", mail: numbered(69, 0) + numberedFrom(69, 1) + mixed,
			s: signing{c: "simple/simple", h: "from:" + numberedNames(70)}, want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "five of twenty without: too many mixtures", mail: numbered(20, 5) + mixed, s: signing{c: "simple/simple", h: "from:" + numberedNames(20)},
			want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "two of twenty without, the 128th mixture", mail: strings.Replace(numbered(20, 0), "X-14: v", "X-14:v", 1) + strings.Replace(mixed, "From: ", "From:", 1),
			s: signing{c: "simple/simple", h: "from:" + numberedNames(20)}, want: Pass, unknown: true},
		{why: "two of twenty without, the 129th mixture", mail: strings.Replace(numbered(20, 1), "X-14: v", "X-14:v", 1) + mixed,
			s: signing{c: "simple/simple", h: "from:" + numberedNames(20)}, want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "two of sixteen, of which fourteen begin with a tab: only the others are tried", mail: tabbed(14) + "X-14:v\r\nX-15:v\r\n" + mixed,
			s: signing{c: "simple/simple", h: "from:" + numberedNames(16)}, want: Pass, unknown: true},
		{why: "too long for a search", mail: strings.ReplaceAll(numbered(10, 1), "v\r\n", strings.Repeat("v", 40_000)+"\r\n") + mixed,
			s: signing{c: "simple/simple", h: "from:" + numberedNames(10)}, want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "the longest for which two mixtures are hashed", mail: strings.ReplaceAll(numbered(4, 1), "v\r\n", strings.Repeat("v", 32_250)+"\r\n") + mixed,
			s: signing{c: "simple/simple", h: "from:" + numberedNames(4)}, want: Pass, unknown: true},
		{why: "too long for two mixtures", mail: strings.ReplaceAll(numbered(4, 1), "v\r\n", strings.Repeat("v", 33_250)+"\r\n") + mixed,
			s: signing{c: "simple/simple", h: "from:" + numberedNames(4)}, want: Neutral, reason: ReasonLeadingSpace, unknown: true},
		{why: "relaxed form, which has no such space", mail: mixed, s: signing{c: "relaxed/simple"}, want: Pass, unknown: true},
		{why: "relaxed, and changed", mail: mixed, s: signing{c: "relaxed/simple"}, change: [2]string{"Ann", "Eve"}, want: Fail, reason: ReasonSignature,
			unknown: true},
		{why: "simple, and perhaps changed", mail: mixed, s: signing{c: "simple/simple"}, change: [2]string{"Ann", "Eve"}, want: Neutral,
			reason: ReasonLeadingSpace, unknown: true},
		{why: "the body was changed", mail: mixed, s: signing{c: "simple/simple"}, change: [2]string{"Hello", "Bye"}, want: Fail, reason: ReasonBodyHash,
			unknown: true},
		{why: "a signature that nobody made", mail: mixed, s: signing{c: "simple/simple", key: unmade{key}}, want: Fail, reason: ReasonSignature, unknown: true},
		{why: "Return-Path as well", mail: "Return-Path: <b@example.com>\r\n" + testMail, s: signing{c: "simple/simple", h: "from:return-path"},
			o: Options{ReturnPath: "<b@example.com>"}, want: Pass, unknown: true},
		{why: "an MTA that shows the spaces", mail: mixed, s: signing{c: "simple/simple"}, want: Fail, reason: ReasonSignature},
	} {
		mail := unsigned(respaced(sign(t, tc.s, tc.mail)), "Return-Path:")
		mail = strings.Replace(mail, tc.change[0], tc.change[1], 1)
		z := zoneWith(signer.Record(&key.PublicKey))
		if _, ok := tc.s.key.(ed25519.PrivateKey); ok {
			z = zoneWith(signer.Record(ed.Public()))
		}
		tc.o.LeadingSpaceUnknown = tc.unknown
		expect(t, tc.why, one(t, mail, z, tc.o), tc.want, tc.reason)
	}
	// This signer writes no spaces at all.
	value := "v=1; a=rsa-sha256; c=simple/relaxed; d=example.com; s=s1; h=from:subject; bh=" + signer.BodyHash("Hello.\r\n") + "; b="
	b := signer.Sign(t, key, "From:Ann <ann@example.com>\r\nSubject:x\r\nDKIM-Signature:"+value)
	mail := "DKIM-Signature:" + value + b + "\r\n" + bare
	for _, unknown := range []bool{true, false} {
		seen := mail
		if unknown {
			seen = respaced(mail)
		}
		expect(t, "no spaces at all", one(t, seen, zoneWith(signer.Record(&key.PublicKey)), Options{LeadingSpaceUnknown: unknown}), Pass, "")
	}
}

// TestFormsCost checks that all forms of a message together count as one operation
// under RSA, and each form as one under Ed25519.
func TestFormsCost(t *testing.T) {
	const path = "Return-Path: <b@example.com>\r\n"
	for _, tc := range []struct {
		why  string
		s    signing
		o    Options
		want float64
	}{
		{"RSA", signing{h: "from:return-path"}, Options{ReturnPath: "<c@example.com>", LeadingSpaceUnknown: true}, 1},
		{"RSA, simple", signing{h: "from:return-path", c: "simple/simple"}, Options{ReturnPath: "<c@example.com>", LeadingSpaceUnknown: true}, 1},
		{"Ed25519, three forms", signing{h: "from:return-path", key: edKey()}, Options{ReturnPath: "<c@example.com>", LeadingSpaceUnknown: true}, 3},
		{"Ed25519, two forms", signing{h: "from:return-path", key: edKey()}, Options{ReturnPath: "<>"}, 2},
		{"Ed25519, nine forms", signing{h: "from:return-path", c: "simple/simple", key: edKey()},
			Options{ReturnPath: "<c@example.com>", LeadingSpaceUnknown: true}, 9},
		{"Ed25519, the path is not signed", signing{h: "from:bcc", key: edKey()}, Options{ReturnPath: "<c@example.com>"}, 1},
		{"Ed25519, the path is not known", signing{h: "from:return-path", key: edKey()}, Options{}, 1},
	} {
		mail := unsigned(sign(t, tc.s, "Bcc: x@example.org\r\n"+path+testMail), "(Return-Path|Bcc):")
		h, body := signer.Split([]byte(mail))
		key := signer.Record(&rsaKey(t).PublicKey)
		if tc.s.key != nil {
			key = signer.Record(edKey().Public())
		}
		v := NewVerifier(h, tc.o)
		v.Start(t.Context(), zoneWith(key))
		_, _ = v.Write(body)
		s := v.Finish(t.Context())
		if s[0].Reason != ReasonDroppedField || v.Message().Operations() != tc.want {
			t.Errorf("%s: %s, %v operations, want %v", tc.why, s[0].Reason, v.Message().Operations(), tc.want)
		}
		v.Close()
	}
}
