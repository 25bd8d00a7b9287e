package dkim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// one verifies a message with one signature and returns its result.
func one(t *testing.T, eml string, r dns.Resolver, o Options) Signature {
	t.Helper()
	sigs := verify(t, []byte(eml), r, o)
	if len(sigs) != 1 {
		t.Fatalf("%d signatures, want 1", len(sigs))
	}
	return sigs[0]
}

func expect(t *testing.T, why string, s Signature, want Result, reason Reason) {
	t.Helper()
	if s.Result != want || s.Reason != reason {
		t.Errorf("%s: %s (%s: %s), want %s (%s)", why, s.Result, s.Reason, s.Detail, want, reason)
	}
}

func TestVerifyRules(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	key := signer.Record(&rsaKey(t).PublicKey)
	ed := signer.Record(edKey().Public())
	for _, tc := range []struct {
		why    string
		s      signing
		change func(string) string // applied after signing
		keys   []string            // the key records; nil means the RSA key
		o      Options
		want   Result
		reason Reason
		ahead  bool
	}{
		{why: "relaxed/relaxed", want: Pass},
		{why: "simple/simple", s: signing{c: "simple/simple"}, want: Pass},
		{why: "Ed25519, RFC 8463", s: signing{key: edKey()}, keys: []string{ed}, want: Pass},
		{why: "a field added above is not covered", change: func(s string) string { return "X-New: 1\r\n" + s }, want: Pass},
		{why: "a To added above: the lowest is the signed one", change: func(s string) string { return "To: eve@example.net\r\n" + s }, want: Pass},
		{why: "an oversigned To cannot be added", s: signing{h: "from:to:to"},
			change: func(s string) string { return "To: eve@example.net\r\n" + s }, want: Fail, reason: ReasonSignature},
		{why: "a missing signed field is the null input", s: signing{h: "from:x-absent"}, want: Pass},
		{why: "white space changed under relaxed", change: func(s string) string { return strings.Replace(s, "a  test\r\n\twith", "a test with\t", 1) }, want: Pass},
		{why: "white space changed under simple", s: signing{c: "simple/relaxed"},
			change: func(s string) string { return strings.Replace(s, "a  test", "a test", 1) }, want: Fail, reason: ReasonSignature},
		{why: "Subject changed", change: func(s string) string { return strings.Replace(s, "a  test", "a nest", 1) }, want: Fail, reason: ReasonSignature},
		{why: "body changed", change: func(s string) string { return strings.Replace(s, "Bob,", "Rob,", 1) }, want: Fail, reason: ReasonBodyHash},
		{why: "another key", keys: []string{signer.Record(signer.PublicRSA(2048, 65537))}, want: Fail, reason: ReasonSignature},
		{why: "no key", keys: []string{}, want: PermError, reason: ReasonKeyNotFound},
		{why: "no key among the TXT", keys: []string{"v=spf1 -all"}, want: PermError, reason: ReasonKeyNotFound},
		{why: "the key beside other TXT", keys: []string{"v=spf1 -all", key, "hello"}, want: Pass},
		{why: "the second of two keys", keys: []string{signer.Record(signer.PublicRSA(2048, 65537)), key}, want: Pass},
		{why: "the key behind more keys than are tried",
			keys: append(slices.Repeat([]string{signer.Record(signer.PublicRSA(2048, 65537))}, maxKeys), key), want: Fail, reason: ReasonSignature},
		{why: "revoked", keys: []string{"v=DKIM1; p="}, want: PermError, reason: ReasonKeyRevoked},
		{why: "revoked and body changed: the key's objection comes first", keys: []string{"v=DKIM1; p="},
			change: func(s string) string { return s + "more" }, want: PermError, reason: ReasonKeyRevoked},
		{why: "malformed key", keys: []string{"v=DKIM1; p=***"}, want: PermError, reason: ReasonKeySyntax},
		{why: "t=s with i= in a subdomain", s: signing{tags: map[string]string{"i": "@news.example.com"}},
			keys: []string{strings.Replace(key, "k=rsa", "k=rsa; t=s", 1)}, want: PermError, reason: ReasonStrictIdentity},
		{why: "t=s with i= in d=", s: signing{tags: map[string]string{"i": "x@example.com"}},
			keys: []string{strings.Replace(key, "k=rsa", "k=rsa; t=s", 1)}, want: Pass},
		{why: "2048 bits where 3072 are asked", o: Options{MinRSABits: 3072}, want: Policy, reason: ReasonWeakKey},
		{why: "512 bits stay refused whatever is configured", keys: []string{signer.Record(signer.PublicRSA(512, 65537))}, o: Options{MinRSABits: 512},
			want: Policy, reason: ReasonWeakKey},
		{why: "rsa-sha1, RFC 8301 §3.1", s: signing{tags: map[string]string{"a": "rsa-sha1"}}, want: PermError, reason: ReasonAlgorithmSHA1},
		{why: "no v=", s: signing{tags: map[string]string{"v": "-"}}, want: PermError, reason: ReasonMissingTag},
		{why: "From not signed", s: signing{h: "to:subject"}, want: PermError, reason: ReasonFromNotSigned},

		{why: "x= to come", s: signing{tags: map[string]string{"x": "1790000001"}}, want: Pass},
		{why: "x= passed within the skew", s: signing{tags: map[string]string{"x": "1789999700"}}, want: Pass},
		{why: "x= passed", s: signing{tags: map[string]string{"x": "1789999699"}}, want: Fail, reason: ReasonExpired},
		{why: "x= passed by a small skew", s: signing{tags: map[string]string{"x": "1789999998"}}, o: Options{Skew: time.Nanosecond}, want: Fail,
			reason: ReasonExpired},
		{why: "t= to come within the skew", s: signing{tags: map[string]string{"t": "1790000300"}}, want: Pass},
		{why: "t= to come", s: signing{tags: map[string]string{"t": "1790000301"}}, want: Pass, ahead: true},
		{why: "t= to come without any skew", s: signing{tags: map[string]string{"t": "1790000001"}}, o: Options{Skew: -1}, want: Pass, ahead: true},
		{why: "t= now without any skew", s: signing{tags: map[string]string{"t": "1790000000"}}, o: Options{Skew: -1}, want: Pass},
		{why: "t= of many digits", s: signing{tags: map[string]string{"t": strings.Repeat("9", 40)}}, want: Pass, ahead: true},
		{why: "t= to come and x= after it", s: signing{tags: map[string]string{"t": "1790032400", "x": "1790637200"}}, want: Pass, ahead: true},
		{why: "t= to come and the body changed", s: signing{tags: map[string]string{"t": "1790032400"}},
			change: func(s string) string { return strings.Replace(s, "Bob,", "Rob,", 1) }, want: Fail, reason: ReasonBodyHash, ahead: true},
		{why: "x= passed without any skew", s: signing{tags: map[string]string{"x": "1789999999"}}, o: Options{Skew: -1}, want: Fail, reason: ReasonExpired},

		{why: "l= covers the body", s: signing{l: 29}, want: Pass},
		{why: "l= leaves a part", s: signing{l: 9}, want: Policy, reason: ReasonBodyLength},
		{why: "content appended past l=", s: signing{l: 29}, change: func(s string) string { return s + "Buy now!\r\n" }, want: Policy, reason: ReasonBodyLength},
		{why: "empty lines appended past l= are not content", s: signing{l: 29}, change: func(s string) string { return s + "\r\n\r\n" }, want: Pass},
		{why: "content appended, accepted", s: signing{l: 29}, o: Options{BodyLength: BodyLengthAccept},
			change: func(s string) string { return s + "Buy now!\r\n" }, want: Pass},
		{why: "any l= refused", s: signing{l: 29}, o: Options{BodyLength: BodyLengthFail}, want: Fail, reason: ReasonBodyLength},
		{why: "l= beyond the body", s: signing{l: 30}, want: PermError, reason: ReasonBeyondBody},
		{why: "l= beyond any body", s: signing{extra: " l=" + strings.Repeat("9", 76) + ";"}, want: PermError, reason: ReasonBeyondBody},
		{why: "l= of one digit more than the grammar has", s: signing{extra: " l=" + strings.Repeat("9", 77) + ";"}, want: PermError, reason: ReasonSyntax},
		{why: "l= of 76 digits, most of them zeros", s: signing{extra: " l=" + strings.Repeat("0", 74) + "29;"}, want: Pass},
		{why: "l= of 77 digits, most of them zeros", s: signing{extra: " l=" + strings.Repeat("0", 75) + "29;"}, want: PermError, reason: ReasonSyntax},
		{why: "l=0 signs no body at all", s: signing{tags: map[string]string{"bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "l": "0"}}, want: Policy,
			reason: ReasonBodyLength},

		{why: "no From in the message", s: signing{h: "from:to"}, change: func(s string) string { return strings.Replace(s, "From:", "X-From:", 1) },
			want: PermError, reason: ReasonFromMissing},
		{why: "a second From: the reader may see the wrong one", change: func(s string) string { return "From: ceo@example.com\r\n" + s }, want: Policy,
			reason: ReasonMultipleFrom},
		{why: "a signed field that Postfix cut off", change: func(s string) string { return strings.Replace(s, "a  test", strings.Repeat("x", 60_000), 1) },
			want: Neutral, reason: ReasonNotVerifiable},
		{why: "a signed field with a bare LF", change: func(s string) string { return strings.Replace(s, "a  test", "a \n test", 1) },
			want: Neutral, reason: ReasonNotVerifiable},
		{why: "a cut off field that is not signed", change: func(s string) string {
			return strings.Replace("X-Long: "+strings.Repeat("x", 60_000)+"\r\n"+s, "a  test", "a nest", 1)
		}, want: Fail, reason: ReasonSignature},
	} {
		mail := sign(t, tc.s, testMail)
		if tc.change != nil {
			changed := tc.change(mail)
			if changed == mail {
				t.Errorf("%s: nothing changed", tc.why)
			}
			mail = changed
		}
		if tc.keys == nil {
			tc.keys = []string{key}
		}
		if tc.o.Now.IsZero() {
			tc.o.Now = now
		}
		s := one(t, mail, zoneWith(tc.keys...), tc.o)
		expect(t, tc.why, s, tc.want, tc.reason)
		if s.Ahead != tc.ahead {
			t.Errorf("%s: ahead is %t", tc.why, s.Ahead)
		}
	}
}

func TestSignatureFields(t *testing.T) {
	mail := sign(t, signing{l: 9, h: "From:To", tags: map[string]string{"i": "list@news.example.com", "t": "9999999998", "x": "9999999999"}}, testMail)
	z := zoneWith(strings.Replace(signer.Record(&rsaKey(t).PublicKey), "k=rsa", "k=rsa; t=y", 1))
	s := one(t, "X-Top: 1\r\n"+mail, z, Options{})
	if len(s.B) < 300 || strings.ContainsAny(s.B, " \t\r\n") {
		t.Errorf("b=%q", s.B)
	}
	s.B = "B"
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"result":"policy","reason":"body_length","detail":"l= leaves a part of the body unsigned","field":1,` +
		`"domain":"example.com","identity":"list@news.example.com","selector":"s1","algorithm":"rsa-sha256",` +
		`"canonicalization":"relaxed/relaxed","signed_headers":["From","To"],"timestamp":9999999998,"expiration":9999999999,` +
		`"body_length":9,"b":"B","uncovered":20,"key_type":"rsa","key_bits":2048,"ahead":true,"testing":true}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUnsigned(t *testing.T) {
	z := zone.New()
	synctest.Test(t, func(t *testing.T) {
		sigs := verify(t, []byte(testMail), z, Options{})
		synctest.Wait() // a lookup would be made in a goroutine
		if len(sigs) != 0 || len(z.Queries()) != 0 {
			t.Errorf("%v, asked %v", sigs, z.Queries())
		}
	})
}

func TestDNSFailures(t *testing.T) {
	mail := sign(t, signing{}, testMail)
	name := dns.Name("s1._domainkey.example.com")
	for kind, reason := range map[zone.FaultKind]Reason{
		zone.ServFail: "dns_servfail", zone.Refused: "dns_refused", zone.Timeout: "dns_timeout",
	} {
		z := zone.New().Fail(name, dns.TypeTXT, zone.Fault{Kind: kind})
		failed := one(t, mail, z, Options{})
		expect(t, string(kind), failed, TempError, reason)
		if failed.NotWaited {
			t.Errorf("%s: the answer came, and counts as not waited for", kind)
		}
		broken := strings.Replace(mail, "Bob,", "Rob,", 1)
		expect(t, "a changed body fails whatever the key would be", one(t, broken, z, Options{}), Fail, ReasonBodyHash)
	}
	for zoneText, reason := range map[string]Reason{
		string(name) + " CNAME x.example\nx.example CNAME " + string(name):       "dns_loop",
		strings.Repeat(string(name)+" TXT \"v=DKIM1; p=x\"\n", dns.MaxRecords+1): "dns_too_large",
	} {
		expect(t, "asking again would not help", one(t, mail, nameserver.Zone(t, zoneText), Options{}), PermError, reason)
	}
	exists := zone.New().Add(name, dns.TypeA, dns.Record{})
	expect(t, "NODATA is an answer", one(t, mail, exists, Options{}), PermError, ReasonKeyNotFound)
	expect(t, "an error of no known kind", one(t, mail, resolverFunc(func(context.Context) (dns.Answer, error) {
		return dns.Answer{}, errors.New("strange")
	}), Options{}), TempError, "dns_network")
	expect(t, "a wrapped error", one(t, mail, resolverFunc(func(context.Context) (dns.Answer, error) {
		return dns.Answer{}, fmt.Errorf("no: %w", &dns.Error{Kind: dns.KindTimeout})
	}), Options{}), TempError, "dns_timeout")
	s := one(t, mail, resolverFunc(func(context.Context) (dns.Answer, error) { panic("boom") }), Options{})
	expect(t, "a panic is a result", s, TempError, ReasonInternal)
	if !strings.Contains(s.Detail, "boom") {
		t.Errorf("detail %q hides the panic", s.Detail)
	}
	expect(t, "a lookup that never returns", one(t, mail, resolverFunc(func(context.Context) (dns.Answer, error) {
		runtime.Goexit()
		return dns.Answer{}, nil
	}), Options{}), TempError, ReasonInternal)
}

// resolverFunc answers every question with what f returns.
func resolverFunc(f func(ctx context.Context) (dns.Answer, error)) dns.Resolver {
	return nameserver.Func(func(ctx context.Context, _ dns.Name, _ dns.Type) (dns.Answer, error) { return f(ctx) })
}

// TestWaiting checks that Start does not wait, that Finish does not wait longer
// than its context lasts, and that no goroutine goes on after Close or after the
// end of Start's context. synctest fails if one does.
func TestWaiting(t *testing.T) {
	mail := sign(t, signing{}, testMail)
	slow := resolverFunc(func(ctx context.Context) (dns.Answer, error) {
		<-ctx.Done()
		return dns.Answer{}, ctx.Err()
	})
	synctest.Test(t, func(t *testing.T) {
		h, body := signer.Split([]byte(mail))
		v := NewVerifier(h, Options{})
		begin := time.Now()
		v.Start(t.Context(), slow)
		if _, err := v.Write(body); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		sigs := v.Finish(ctx)
		expect(t, "the time runs out", sigs[0], TempError, "dns_timeout")
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("Finish took %v, want the 3 s it was given", d)
		}
		v.Close()
		synctest.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		h, _ := signer.Split([]byte(mail))
		v := NewVerifier(h, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		v.Start(ctx, slow)
		cancel()
		expect(t, "cancelled", v.Finish(t.Context())[0], Fail, ReasonBodyHash) // no body was written
		v.Close()
	})
	h, body := signer.Split([]byte(mail))
	v := NewVerifier(h, Options{})
	_, _ = v.Write(body)
	expect(t, "never started: Finish must not wait for ever", v.Finish(t.Context())[0], TempError, "dns_canceled")
}

func TestManySignatures(t *testing.T) {
	mail := testMail
	z := zone.New()
	for i := range 14 {
		domain := fmt.Sprintf("d%d.example", i)
		if i == 0 { // the author's signature is usually the lowest
			domain = "author.example"
		}
		mail = sign(t, signing{key: edKey(), domain: domain}, mail)
		z.Add(dns.Name("s1._domainkey."+domain), dns.TypeTXT, dns.Record{Text: signer.Record(edKey().Public())})
	}
	sigs := verifyOnce(t, []byte(mail), z, Options{Prefer: "author.example"})
	if len(sigs) != 14 || len(z.Queries()) != 10 {
		t.Fatalf("%d signatures, %d queries", len(sigs), len(z.Queries()))
	}
	for i, s := range sigs {
		switch {
		case i < 9 || i == 13:
			expect(t, fmt.Sprint(i), s, Pass, "")
		default:
			expect(t, fmt.Sprint(i), s, Policy, ReasonTooManySignatures)
		}
		if want := fmt.Sprintf("d%d.example", 13-i); i != 13 && s.Domain != dns.Name(want) {
			t.Errorf("signature %d is of %s, want %s: the order of the fields", i, s.Domain, want)
		}
	}
	sigs = verify(t, []byte(mail), z, Options{Prefer: "news.author.example", MaxSignatures: 1})
	expect(t, "a domain above the author's is preferred", sigs[13], Pass, "")
	expect(t, "and takes the only place", sigs[0], Policy, ReasonTooManySignatures)
}

// TestPreferSkipsBroken checks that a signature that cannot verify does not count
// towards MaxSignatures.
func TestPreferSkipsBroken(t *testing.T) {
	mail := strings.Repeat("DKIM-Signature: v=1; broken\r\n", 20) + sign(t, signing{}, testMail)
	sigs := verify(t, []byte(mail), zoneWith(signer.Record(&rsaKey(t).PublicKey)), Options{MaxSignatures: 1})
	expect(t, "broken", sigs[0], PermError, ReasonSyntax)
	expect(t, "the good one", sigs[20], Pass, "")
}

func TestManyFields(t *testing.T) {
	for _, tc := range []struct {
		why             string
		top             int
		reported, found int
	}{
		{"as many as are reported", maxReported - 1, maxReported, 1},
		{"one more", maxReported, maxReported, 1},
		{"as many as are read", maxFields - 1, maxReported, 1},
		{"one more: the author's is not seen", maxFields, maxReported, 0},
	} {
		mail := strings.Repeat("DKIM-Signature: v=1\r\n", tc.top) + sign(t, signing{}, testMail)
		h, body := signer.Split([]byte(mail))
		v := NewVerifier(h, Options{Prefer: "example.com"})
		v.Start(t.Context(), zoneWith(signer.Record(&rsaKey(t).PublicKey)))
		_, _ = v.Write(body)
		sigs := v.Finish(t.Context())
		passes := 0
		for _, r := range results(sigs) {
			if r == Pass {
				passes++
			}
		}
		if len(sigs) != tc.reported || passes != tc.found || v.Omitted() != tc.top+1-tc.reported {
			t.Errorf("%s: %d results, %d pass, %d omitted", tc.why, len(sigs), passes, v.Omitted())
		}
	}
}

// TestDistance checks the order in which signing domains are verified.
func TestDistance(t *testing.T) {
	v := &Verifier{options: Options{Prefer: "mail.shop.example"}}
	for d, want := range map[dns.Name]int{
		"mail.shop.example": 0, "shop.example": 1, "a.mail.shop.example": 1, "news.shop.example": 2,
		"other.example": 3, "a.other.example": 3, "example": 1,
	} {
		if got := v.distance(d); got != want {
			t.Errorf("%s: %d, want %d", d, got, want)
		}
	}
}

func TestOneLookupForEachKey(t *testing.T) {
	mail := sign(t, signing{}, sign(t, signing{c: "simple/simple"}, testMail))
	h, _ := signer.Split([]byte(mail))
	if got := NewVerifier(h, Options{}).QueryNames(); len(got) != 1 || got[0] != "s1._domainkey.example.com" {
		t.Errorf("would ask %v", got)
	}
	z := zoneWith(signer.Record(&rsaKey(t).PublicKey))
	sigs := verifyOnce(t, []byte(mail), z, Options{})
	if got := results(sigs); !slices.Equal(got, []Result{Pass, Pass}) || len(z.Queries()) != 1 {
		t.Errorf("%v after %v", got, z.Queries())
	}
}

// TestNothingAskedForTheRefused checks that no key is looked up for a signature
// that cannot pass. Lookups are made in goroutines, so the test waits for them. The
// first row shows that a lookup is seen.
func TestNothingAskedForTheRefused(t *testing.T) {
	for i, tags := range []map[string]string{
		{}, {"a": "rsa-sha1"}, {"d": "legitimate.com(.example.com"}, {"s": `s1\000`}, {"s": "*"}, {"x": "5"}, {"d": "com"},
	} {
		mail := sign(t, signing{tags: tags}, testMail)
		synctest.Test(t, func(t *testing.T) {
			z := zone.New()
			s := one(t, mail, z, Options{})
			synctest.Wait()
			if asked := len(z.Queries()) > 0; s.Result == Pass || asked != (i == 0) {
				t.Errorf("%v: %s, asked %v", tags, s.Result, z.Queries())
			}
		})
	}
}

// TestReplay checks that a signature that was copied to another message does not
// verify.
func TestReplay(t *testing.T) {
	signed := sign(t, signing{}, testMail)
	field, _, _ := strings.Cut(signed, "\r\nReceived:")
	other := field + "\r\n" + strings.Replace(testMail, "ann@", "eve@", 1)
	z := zoneWith(signer.Record(&rsaKey(t).PublicKey))
	expect(t, "another From", one(t, other, z, Options{}), Fail, ReasonSignature)
}

func FuzzVerifier(f *testing.F) {
	f.Add([]byte(sign(f, signing{key: edKey()}, testMail)), uint16(7))
	f.Add([]byte(sign(f, signing{key: edKey(), c: "simple/simple", l: 9}, testMail)), uint16(1))
	f.Add([]byte("DKIM-Signature: v=1; a=rsa-sha256; d=a.b; s=c; h=from; bh=; b=x\r\nFrom: x\r\n\r\n"), uint16(0))
	z := zoneWith(signer.Record(edKey().Public()))
	// The holder of the key has signed testMail only. So a message with another
	// From or Subject must not pass, and one with another body must not pass
	// without l=.
	f.Fuzz(func(t *testing.T, eml []byte, chunk uint16) {
		h, body := signer.Split(eml)
		v := NewVerifier(h, Options{Now: time.Unix(1_790_000_000, 0)})
		v.Start(t.Context(), z)
		for p := body; len(p) > 0; p = p[min(int(chunk)+1, len(p)):] {
			_, _ = v.Write(p[:min(int(chunk)+1, len(p))])
		}
		for _, s := range v.Finish(t.Context()) {
			if s.Result == "" || (s.Reason == "") != (s.Result == Pass) {
				t.Fatalf("%+v", s)
			}
			if s.Result != Pass {
				continue
			}
			if from := h.Values("from"); len(from) != 1 || refHeader(syntax.Relaxed, "from", from[0]) != "from:Ann <ann@example.com>" {
				t.Fatalf("passes with From %q", from)
			}
			if got := refBody(syntax.Relaxed, string(body)); got != refBody(syntax.Relaxed, "Hello  Bob,\r\n\r\nthis is \t text. \r\n") {
				t.Fatalf("passes with body %q", got)
			}
		}
	})
}
