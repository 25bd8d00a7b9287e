package arc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/signer"
)

func TestChain(t *testing.T) {
	one := chain(t, 1, testMail)
	three := chain(t, 3, testMail)
	cut := func(s, field string) string { // removes the first header field that has the name in the parameter "field"
		i := strings.Index(s, field+":")
		end := i + strings.Index(s[i:], "\r\n")
		for s[end+2] == ' ' || s[end+2] == '\t' {
			end += 2 + strings.Index(s[end+2:], "\r\n")
		}
		return s[:i] + s[end+2:]
	}
	replace := func(s, old, to string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(s, old, to, 1)
	}
	for _, tc := range []struct {
		why       string
		mail      string
		status    Status
		reason    Reason
		instance  int
		signature dkim.Reason
		oldest    int
	}{
		{"no chain", testMail, None, "", 0, "", 0},
		{"one set", one, Pass, "", 0, "", 0},
		{"three sets", three, Pass, "", 0, "", 0},
		// The work limit of 64 operations is enough for 50 seals and 14 message
		// signatures.
		{"as many sets as allowed, RFC 8617 §5.2 step 1", chain(t, maxSets, testMail), Pass, "", 0, "", 37},
		{"as many sets as are verified whole", chain(t, 32, testMail), Pass, "", 0, "", 0},
		{"one set too many", chain(t, maxSets+1, testMail), Fail, ReasonTooManySets, 0, "", 0},
		{"the message changed after the last hop", replace(three, "a test", "a nest"), Fail, ReasonMessageSignature, 3, dkim.ReasonSignature, 0},
		{"the body changed after the last hop", three + "footer\r\n", Fail, ReasonMessageSignature, 3, dkim.ReasonBodyHash, 0},
		{"the body changed between hops 1 and 2", seal(t, signer.Set{I: 3}, seal(t, signer.Set{I: 2}, one+"footer\r\n")), Pass, "", 0, "", 2},
		{"the message changed between hops 2 and 3", seal(t, signer.Set{I: 3}, replace(chain(t, 2, testMail), "a test", "[list] a test")), Pass, "", 0, "", 3},
		{"an old message signature that does not verify", seal(t, signer.Set{I: 2}, seal(t, signer.Set{I: 1, BreakAMS: true}, testMail)), Pass, "", 0, "", 2},
		{"the newest message signature is bad", seal(t, signer.Set{I: 2, BreakAMS: true}, one), Fail, ReasonMessageSignature, 2, dkim.ReasonSignature, 0},
		{"the newest seal is bad", seal(t, signer.Set{I: 2, BreakAS: true}, one), Fail, ReasonSealSignature, 2, dkim.ReasonSignature, 0},
		{"an old seal is bad, step 6", seal(t, signer.Set{I: 2}, seal(t, signer.Set{I: 1, BreakAS: true}, testMail)), Fail, ReasonSealSignature, 1,
			dkim.ReasonSignature, 0},
		{"the newest seal is bad, and so is an old message signature", seal(t, signer.Set{I: 2, BreakAS: true}, seal(t, signer.Set{I: 1, BreakAMS: true}, testMail)),
			Fail, ReasonSealSignature, 2, dkim.ReasonSignature, 0},
		{"results changed after sealing", replace(one, "smtp.mailfrom=a@", "smtp.mailfrom=b@"), Fail, ReasonSealSignature, 1, dkim.ReasonSignature, 0},
		{"cv=fail of the newest, step 2", seal(t, signer.Set{I: 2, CV: "fail"}, one), Fail, ReasonChainFailed, 2, "", 0},
		{"cv=fail of an older one", seal(t, signer.Set{I: 2}, seal(t, signer.Set{I: 1, CV: "fail"}, testMail)), Fail, ReasonChainValue, 1, "", 0},
		{"cv=pass of the first, step 3", seal(t, signer.Set{I: 1, CV: "pass"}, testMail), Fail, ReasonChainValue, 1, "", 0},
		{"cv=none of the second", seal(t, signer.Set{I: 2, CV: "none"}, one), Fail, ReasonChainValue, 2, "", 0},
		{"cv= compares with case", seal(t, signer.Set{I: 1, CV: "None"}, testMail), Fail, ReasonChainValue, 1, "", 0},
		{"no seal", cut(one, "ARC-Seal"), Fail, ReasonIncomplete, 1, "", 0},
		{"no message signature", cut(three, "ARC-Message-Signature"), Fail, ReasonIncomplete, 3, "", 0},
		{"no results", cut(one, "ARC-Authentication-Results"), Fail, ReasonIncomplete, 1, "", 0},
		{"a chain without its beginning", seal(t, signer.Set{I: 2}, testMail), Fail, ReasonIncomplete, 2, "", 0},
		{"two results of one instance", "ARC-Authentication-Results: i=1; x\r\n" + three, Fail, ReasonDuplicate, 1, "", 0},
		{"i=0", replace(one, "ARC-Seal: i=1", "ARC-Seal: i=0"), Fail, ReasonInstance, 0, "", 0},
		{"i=51", replace(one, "ARC-Seal: i=1", "ARC-Seal: i=51"), Fail, ReasonInstance, 0, "", 0},
		{"i=1 in three digits", replace(one, "ARC-Seal: i=1", "ARC-Seal: i=001"), Fail, ReasonInstance, 0, "", 0},
		{"i= of the results is not a number", replace(one, "Results: i=1", "Results: i=x"), Fail, ReasonInstance, 0, "", 0},
		{"a seal that is not a tag list", replace(one, "cv=none", "cv"), Fail, ReasonInstance, 0, "", 0},
		{"a seal with h=, RFC 8617 §4.1.3", seal(t, signer.Set{I: 1, AS: "h=from;"}, testMail), Fail, ReasonSealSyntax, 1, dkim.ReasonSyntax, 0},
		{"a seal with bh=", seal(t, signer.Set{I: 1, AS: "bh=AAAA;"}, testMail), Fail, ReasonSealSyntax, 1, dkim.ReasonSyntax, 0},
		{"a seal by rsa-sha1", replace(one, "a=ed25519-sha256; cv", "a=rsa-sha1; cv"), Fail, ReasonSealSyntax, 1, dkim.ReasonAlgorithmSHA1, 0},
		{"a message signature over a seal, §4.1.2", seal(t, signer.Set{I: 2, H: "from:arc-seal"}, one), Fail, ReasonMessageSignature, 2, dkim.ReasonSyntax, 0},
		{"a message signature over results: needless, but seen", seal(t, signer.Set{I: 2, H: "from:arc-authentication-results"}, one), Pass, "", 0, "", 0},
		{"a message signature without From", seal(t, signer.Set{I: 1, H: "subject"}, testMail), Fail, ReasonMessageSignature, 1, dkim.ReasonFromNotSigned, 0},
		{"a second From: the reader may see the wrong one", "From: eve@example.net\r\n" + one, Fail, ReasonMessageSignature, 1, dkim.ReasonMultipleFrom, 0},
		{"a second From with a space before its colon", "From : eve@example.net\r\n" + one, Fail, ReasonMessageSignature, 1, dkim.ReasonMultipleFrom, 0},
		{"no From", replace(one, "From: Ann", "X-From: Ann"), Fail, ReasonMessageSignature, 1, dkim.ReasonFromMissing, 0},
		{"an expired message signature", seal(t, signer.Set{I: 1, AMS: " x=1000;"}, testMail), Fail, ReasonMessageSignature, 1, dkim.ReasonExpired, 0},
		{"l= of another part of the body than bh=", seal(t, signer.Set{I: 1, AMS: " l=5;"}, testMail), Fail, ReasonMessageSignature, 1, dkim.ReasonBodyHash, 0},
		{"a sealer without a key", replace(one, "cv=none; d=hop1", "cv=none; d=nobody"), Fail, ReasonSealSignature, 1, dkim.ReasonKeyNotFound, 0},
		{"a sealer that is not a domain", replace(one, "cv=none; d=hop1.example", "cv=none; d=(x)"), Fail, ReasonSealSyntax, 1, dkim.ReasonDomain, 0},
	} {
		r := validate(t, tc.mail, zoneFor(), dkim.Options{Now: time.Unix(1_790_000_000, 0)})
		got := fmt.Sprint(r.Status, " ", r.Reason, " ", r.Instance, " ", r.Signature, " ", r.OldestPass)
		want := fmt.Sprint(tc.status, " ", tc.reason, " ", tc.instance, " ", tc.signature, " ", tc.oldest)
		if got != want {
			t.Errorf("%s: %s (%s), want %s", tc.why, got, r.Detail, want)
		}
	}
}

func TestResult(t *testing.T) {
	mail := seal(t, signer.Set{I: 1, Results: "a.example; arc=none smtp.remote-ip=192.0.2.1"}, testMail)
	mail = seal(t, signer.Set{I: 2, Results: "b.example; spf=fail; arc=pass (i=1) smtp.remote-ip=\"2001:db8::7\""}, mail+"footer\r\n")
	got, err := json.Marshal(validate(t, mail, zoneFor(), dkim.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"status":"pass","oldest_pass":2,"sets":[` +
		`{"instance":1,"sealer":"hop1.example","selector":"s","cv":"none","message_domain":"hop1.example","message_selector":"s",` +
		`"message_pass":false,"auth_results":" a.example; arc=none smtp.remote-ip=192.0.2.1"},` +
		`{"instance":2,"sealer":"hop2.example","selector":"s","cv":"pass","message_domain":"hop2.example","message_selector":"s",` +
		`"message_pass":true,"auth_results":" b.example; spf=fail; arc=pass (i=1) smtp.remote-ip=\"2001:db8::7\""}],` +
		`"remote_ip":"2001:db8::7"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRemoteIP(t *testing.T) {
	for _, tc := range []struct{ why, payload, want string }{
		{"plain", " mx; arc=pass smtp.remote-ip=192.0.2.1", "192.0.2.1"},
		{"quoted", ` mx; arc=pass smtp.remote-ip="2001:db8::1"`, "2001:db8::1"},
		{"not quoted", " mx; arc=pass smtp.remote-ip=2001:db8::1; spf=pass", "2001:db8::1"},
		{"mapped", ` mx; arc=pass smtp.remote-ip="::ffff:192.0.2.1"`, "192.0.2.1"},
		{"with the tag of SMTP", ` mx; arc=pass smtp.remote-ip="IPv6:2001:db8::1"`, "2001:db8::1"},
		{"white space around", " mx; arc=pass\r\n\tsmtp.remote-ip = 192.0.2.1;", "192.0.2.1"},
		{"in another case", " mx; arc=pass SMTP.Remote-IP=192.0.2.1", "192.0.2.1"},
		{"none", " mx; arc=pass", ""},
		{"no address", " mx; arc=pass smtp.remote-ip=localhost", ""},
		{"in a comment: somebody's text", " mx; spf=pass (smtp.remote-ip=6.6.6.6) x=y", ""},
		{"in a nested comment", ` mx; spf=pass (a (b \) smtp.remote-ip=6.6.6.6) ) smtp.remote-ip=192.0.2.1`, "192.0.2.1"},
		{"in a quoted string", ` mx; spf=pass reason="smtp.remote-ip=6.6.6.6" smtp.remote-ip=192.0.2.1`, "192.0.2.1"},
		{"behind an escaped quote", ` mx; spf=pass reason="\" smtp.remote-ip=6.6.6.6"`, ""},
		{"as the end of another name", " mx; x-smtp.remote-ip=6.6.6.6", ""},
		{"a value missing", " mx; smtp.remote-ip", ""},
		{"an open comment", " mx; (((((", ""},
		{"an open string", ` mx; "abc`, ""},
	} {
		var want netip.Addr
		if tc.want != "" {
			want = netip.MustParseAddr(tc.want)
		}
		if got := remoteIP(tc.payload); got != want {
			t.Errorf("%s: %v, want %v", tc.why, got, want)
		}
	}
}

func TestResultsInstance(t *testing.T) {
	for _, tc := range []struct {
		why, value string
		want       int
		payload    string
	}{
		{"usual", " i=1; mx.example; none", 1, " mx.example; none"},
		{"comments and folds", " (c) i (d)\r\n = (e) 50 (f) ;x", 50, "x"},
		{"no semicolon", " i=1 mx.example", 0, ""},
		{"not first", " mx.example; i=1;", 0, ""},
		{"upper case: the letter is %s\"i\"", " I=1; x", 0, ""},
		{"no number", " i=; x", 0, " x"},
		{"beyond 50", " i=51; x", 0, " x"},
		{"nothing", "", 0, ""},
		{"an open comment", " (i=1;", 0, ""},
	} {
		if got, payload := resultsInstance(tc.value); got != tc.want || payload != tc.payload {
			t.Errorf("%s: %d %q, want %d %q", tc.why, got, payload, tc.want, tc.payload)
		}
	}
}

// TestShared checks that a message signature and a seal with the same key cause
// one lookup, and that the body that is written to the DKIM verifier reaches the
// ARC verifier.
func TestShared(t *testing.T) {
	mail := chain(t, 2, testMail)
	h, body := signer.Split([]byte(mail))
	d := dkim.NewVerifier(h, dkim.Options{})
	a := NewVerifier(d.Message(), dkim.Options{})
	z := zoneFor()
	d.Start(t.Context(), z)
	a.Start(t.Context(), z)
	_, _ = d.Write(body)
	if sigs := d.Finish(t.Context()); len(sigs) != 0 {
		t.Errorf("signatures out of nowhere: %v", sigs)
	}
	if r := a.Finish(t.Context()); r.Status != Pass {
		t.Errorf("%+v", r)
	}
	if got := z.Queries(); len(got) != 2 { // one for each hop, whose message signature and seal have the same key
		t.Errorf("asked %v", got)
	}
}

// TestDNSFailure checks that a DNS failure makes a chain fail (RFC 8617 §5.2.1),
// and that Signature in the result names the DNS failure.
func TestDNSFailure(t *testing.T) {
	mail := chain(t, 2, testMail)
	for name, want := range map[dns.Name]Reason{
		"s._domainkey.hop2.example": ReasonMessageSignature,
		"s._domainkey.hop1.example": ReasonSealSignature,
	} {
		z := zoneFor().Fail(name, dns.TypeTXT, zone.Fault{Kind: zone.ServFail})
		r := validate(t, mail, z, dkim.Options{})
		if r.Status != Fail || r.Reason != want || r.Signature != "dns_servfail" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestBrokenAsksNothing checks that no key is looked up for a chain whose header already shows that it
// fails. The lookups run in goroutines, so the test waits until all of them have ended. The first row
// shows that a lookup is seen.
func TestBrokenAsksNothing(t *testing.T) {
	for _, tt := range []struct {
		why, mail string
		asked     int
	}{
		{"a good chain", chain(t, 2, testMail), 2},
		{"too many sets", chain(t, maxSets+1, testMail), 0},
		{"cv=pass in the first set", seal(t, signer.Set{I: 1, CV: "pass"}, testMail), 0},
		{"cv=fail in the newest set", seal(t, signer.Set{I: 2, CV: "fail"}, chain(t, 1, testMail)), 0},
		{"a set is missing", seal(t, signer.Set{I: 2}, testMail), 0},
		{"a field is missing", "ARC-Seal: i=1; cv=none\r\n" + testMail, 0},
		{"a malformed seal", seal(t, signer.Set{I: 1, AS: "h=from;"}, testMail), 0},
		{"no From", strings.Replace(chain(t, 1, testMail), "From: Ann", "X-From: Ann", 1), 0},
		{"two From", "From: b@example.com\r\n" + chain(t, 1, testMail), 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			z := zoneFor()
			h, body := signer.Split([]byte(tt.mail))
			m := dkim.NewVerifier(h, dkim.Options{}).Message()
			defer m.Close()
			v := NewVerifier(m, dkim.Options{})
			v.Start(t.Context(), z)
			_, _ = m.Write(body)
			synctest.Wait()
			if got := z.Queries(); len(got) != tt.asked {
				t.Errorf("%s: asked %q, want %d", tt.why, got, tt.asked)
			}
			if r := v.Finish(t.Context()); (r.Status == Pass) != (tt.asked > 0) {
				t.Errorf("%s: %+v", tt.why, r)
			}
		})
	}
}

// TestMalformedAsksOnlyForSeals checks that no key is looked up for a message signature that is malformed.
func TestMalformedAsksOnlyForSeals(t *testing.T) {
	for _, tt := range []struct{ h, want string }{
		{"from:subject", "[s._domainkey.other.example s._domainkey.hop1.example]"}, {"from:arc-seal", "[s._domainkey.hop1.example]"},
	} {
		mail := seal(t, signer.Set{I: 1, H: tt.h}, testMail)
		before, after, _ := strings.Cut(mail, "ARC-Message-Signature")
		h, _ := signer.Split([]byte(before + "ARC-Message-Signature" + strings.Replace(after, "d=hop1.example", "d=other.example", 1)))
		m := dkim.NewVerifier(h, dkim.Options{}).Message()
		NewVerifier(m, dkim.Options{})
		if got := fmt.Sprint(m.QueryNames()); got != tt.want {
			t.Errorf("h=%s: would ask %s, want %s", tt.h, got, tt.want)
		}
		m.Close()
	}
}

func TestBudget(t *testing.T) {
	h, body := signer.Split([]byte(chain(t, 1, testMail)))
	synctest.Test(t, func(t *testing.T) {
		m := dkim.NewVerifier(h, dkim.Options{}).Message()
		defer m.Close()
		v := NewVerifier(m, dkim.Options{})
		v.Start(t.Context(), stuck{})
		_, _ = m.Write(body)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r := v.Finish(ctx); r.Status != Fail || r.Signature != "dns_timeout" {
			t.Errorf("%+v", r)
		}
	})
}

type stuck struct{ dns.LookupOnly }

func (stuck) Lookup(ctx context.Context, _ dns.Name, _ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	return dns.Answer{}, ctx.Err()
}

func FuzzVerifier(f *testing.F) {
	f.Add([]byte(chain(f, 1, testMail)))
	f.Add([]byte(chain(f, 3, testMail)))
	f.Add([]byte(seal(f, signer.Set{I: 2}, chain(f, 1, testMail)+"footer\r\n")))
	f.Add([]byte("ARC-Seal: i=1; cv=none\r\nFrom: x\r\n\r\n"))
	z := zoneFor()
	f.Fuzz(func(t *testing.T, eml []byte) {
		r := validate(t, string(eml), z, dkim.Options{Now: time.Unix(1_790_000_000, 0)})
		switch {
		case r.Status == Fail && r.Reason != "", r.Status == None && r.Reason == "" && len(r.Sets) == 0:
			return
		case r.Status != Pass || r.Reason != "" || len(r.Sets) == 0 || len(r.Sets) > maxSets || r.OldestPass > len(r.Sets):
			t.Fatalf("%+v", r)
		}
		// The fuzzer has no key, so it cannot make a valid chain for a message with
		// another From.
		h, _ := signer.Split(eml)
		from := h.Values("from")
		if len(from) == 0 || signer.Field("from", from[len(from)-1]) != "from:Ann <ann@example.com>" {
			t.Fatalf("passes with From %q", from)
		}
	})
}

func FuzzRemoteIP(f *testing.F) {
	f.Add(` mx; arc=pass (c) reason="q" smtp.remote-ip="2001:db8::1"`)
	f.Fuzz(func(t *testing.T, payload string) {
		if addr := remoteIP(payload); addr.IsValid() && (addr.Zone() != "" || addr.Is4In6()) {
			t.Fatalf("%q: %v", payload, addr)
		}
	})
}

func BenchmarkChain(b *testing.B) {
	z := zoneFor()
	for _, n := range []int{1, 5, 25, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			mail := chain(b, n, testMail)
			h, body := signer.Split([]byte(mail))
			b.ReportAllocs()
			for b.Loop() {
				m := dkim.NewVerifier(h, dkim.Options{}).Message()
				v := NewVerifier(m, dkim.Options{})
				v.Start(b.Context(), z)
				_, _ = m.Write(body)
				if r := v.Finish(b.Context()); r.Status != Pass {
					b.Fatal(r)
				}
			}
		})
	}
}
