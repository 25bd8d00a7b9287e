package dkim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/testkit/signer"
)

// TestAlteredBounds has a field of each length around the one at which MTAs cut, and each end of a fold.
func TestAlteredBounds(t *testing.T) {
	for n, want := range map[int]bool{truncatedLen - 1: false, truncatedLen: true, truncatedLen + 1: true} {
		if got := alteredByMTA(message.Field{Name: "Subject", Value: strings.Repeat("x", n-len("Subject"))}); got != want {
			t.Errorf("a field of %d octets: %t", n, got)
		}
	}
	for value, want := range map[string]bool{"\r\n ": false, "x\r\n\t": false, "\r\n \r\n ": false, "\r\n": true, "\r": true, "\n": true, "\x00": true,
		"\r\n x\r\n": true, "\r\nx": true, "\r\n \n": true, "\r\r\n ": true, "\n\r\n ": true, "": false,
		"\rx ": true, "\n\n ": true, "\x00\n ": true} {
		if got := alteredByMTA(message.Field{Name: "A", Value: value}); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}

// TestKeyAtTheEnd checks that a key which has come counts, even if the time is over at the same moment.
func TestKeyAtTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	there := make(chan struct{})
	close(there)
	for range 200 { // a choice by chance would be noticed
		l := &Lookup{started: true, done: there, keys: []syntax.Key{{Bits: 256}}}
		if keys, err := l.wait(ctx); err != nil || len(keys) != 1 || l.givenUp {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
	}
	for why, tt := range map[string]struct {
		keys []syntax.Key
		want bool
	}{"none": {nil, false}, "revoked": {[]syntax.Key{{}}, false}, "one of them is of use": {[]syntax.Key{{}, {Bits: 256}}, true}} {
		l := &Lookup{started: true, keys: tt.keys}
		if got := l.Published(ctx); got != tt.want {
			t.Errorf("%s: published %t", why, got)
		}
	}
	if l := (&Lookup{started: true, err: errNoKey, keys: []syntax.Key{{Bits: 256}}}); l.Published(ctx) {
		t.Error("published in spite of an error")
	}
}

// TestLookupFailures has the result of each kind of failed lookup (RFC 6376 §6.1.2): only those that would
// fail again are permanent.
func TestLookupFailures(t *testing.T) {
	for kind := dns.KindTimeout; kind.String() != "unknown"; kind++ {
		want := TempError
		if kind == dns.KindLoop || kind == dns.KindTooLarge {
			want = PermError
		}
		for _, err := range []error{&dns.Error{Kind: kind}, fmt.Errorf("wrapped: %w", &dns.Error{Kind: kind})} {
			if got := dnsError(err); got.Result != want || got.Reason != Reason("dns_"+kind.String()) || got.Detail == "" {
				t.Errorf("%v: %+v", err, got)
			}
		}
	}
}

// TestManyKeys checks how many keys of a name are tried, and which error is given if none is of use.
func TestManyKeys(t *testing.T) {
	mail := sign(t, signing{key: edKey()}, testMail)
	key := signer.Record(edKey().Public())
	other := signer.Record(&rsaKey(t).PublicKey)
	for _, tt := range []struct {
		why     string
		records []string
		want    Result
		reason  Reason
	}{
		{"the last that is tried", append(slices.Repeat([]string{other}, maxKeys-1), key), Pass, ""},
		{"one more is not tried", append(slices.Repeat([]string{other}, maxKeys), key), PermError, ReasonKeyType},
		{"other texts do not count", append(slices.Repeat([]string{"text"}, maxKeys+1), key), Pass, ""},
		{"broken keys do not count", append(slices.Repeat([]string{"v=DKIM1; p=!"}, maxKeys+1), key), Pass, ""},
		{"no record", nil, PermError, ReasonKeyNotFound},
		{"only another text", []string{"text"}, PermError, ReasonKeyNotFound},
		{"a broken key says more than another text", []string{"text", "v=DKIM1; p=!"}, PermError, ReasonKeySyntax},
		{"and is not forgotten", []string{"v=DKIM1; p=!", "text"}, PermError, ReasonKeySyntax},
		{"the first key gives the error", []string{"v=DKIM1; p=", other}, PermError, ReasonKeyRevoked},
		{"whatever comes later", []string{other, "v=DKIM1; p="}, PermError, ReasonKeyType},
	} {
		expect(t, tt.why, one(t, mail, zoneWith(tt.records...), Options{}), tt.want, tt.reason)
	}
}

// TestLeavesOpen has the order of the errors of several keys.
func TestLeavesOpen(t *testing.T) {
	for _, tt := range []struct {
		err  *Error
		want int
	}{
		{errNoWork(), 2}, {&Error{Neutral, ReasonDroppedField, ""}, 1}, {&Error{Neutral, ReasonNotVerifiable, ""}, 1}, {errMismatch(), 0},
		{&Error{PermError, ReasonKeyType, ""}, 0}, {&Error{Policy, ReasonWeakKey, ""}, 0}, {&Error{TempError, ReasonInternal, ""}, 0},
	} {
		if got := leavesOpen(tt.err); got != tt.want {
			t.Errorf("%v: %d", tt.err, got)
		}
	}
}

// TestCheckLength has each policy for l= with and without octets that it does not cover.
func TestCheckLength(t *testing.T) {
	five := int64(5)
	for _, policy := range append([]BodyLengthPolicy{""}, BodyLengthPolicies...) {
		for _, uncovered := range []int64{0, 1} {
			o := Options{BodyLength: policy}.WithDefaults()
			if err := checkLength(&syntax.Params{}, uncovered, o); err != nil {
				t.Errorf("%s without l=: %v", policy, err)
			}
			want := Result("")
			switch {
			case policy == BodyLengthFail:
				want = Fail
			case policy != BodyLengthAccept && uncovered > 0:
				want = Policy
			}
			got := Result("")
			if err := checkLength(&syntax.Params{BodyLength: &five}, uncovered, o); err != nil {
				got = err.Result
			}
			if got != want {
				t.Errorf("%s, %d octets uncovered: %q, want %q", policy, uncovered, got, want)
			}
		}
	}
}

// TestReserve has the work that is set aside for each size of b=, and what is left of the work of a message.
func TestReserve(t *testing.T) {
	for _, tt := range []struct {
		algorithm string
		octets    int
		want      float64 // in ordinary operations
	}{
		{syntax.RSASHA256, 128, 0.25}, {syntax.RSASHA256, 256, 1}, {syntax.RSASHA256, 257, 2.25}, {syntax.RSASHA256, MaxRSABits / 8, 16},
		{syntax.RSASHA256, MaxRSABits/8 + 1, 0}, {syntax.Ed25519SHA256, 64, 1}, {syntax.Ed25519SHA256, 2000, 1},
	} {
		m := NewVerifier(nil, Options{}).Message()
		p := Pending{Params: syntax.Params{Algorithm: tt.algorithm, Signature: make([]byte, tt.octets)}}
		before := m.budget.free
		if !m.Reserve(&p) || float64(before-m.budget.free)/ordinaryWork != tt.want {
			t.Errorf("%s of %d octets: %d units", tt.algorithm, tt.octets, before-m.budget.free)
		}
		m.Release(&p)
		m.Release(&p) // twice changes nothing
		if m.budget.free != before {
			t.Errorf("%s of %d octets: %d of %d units came back", tt.algorithm, tt.octets, m.budget.free, before)
		}
	}
	m := NewVerifier(nil, Options{}).Message()
	ed := func() *Pending { return &Pending{Params: syntax.Params{Algorithm: syntax.Ed25519SHA256}} }
	for n := range maxOperations {
		if !m.Reserve(ed()) {
			t.Fatalf("no work is left after %d", n)
		}
	}
	if m.Reserve(ed()) || m.budget.free != 0 {
		t.Error("more work than a message may cause")
	}
}

// TestSpend takes work from the reserve of a signature first, then from the rest, or nothing.
func TestSpend(t *testing.T) {
	for _, tt := range []struct {
		free, reserved, work     int64
		ok                       bool
		freeAfter, reservedAfter int64
	}{
		{10, 5, 3, true, 10, 2}, {10, 5, 5, true, 10, 0}, {10, 5, 6, true, 9, 0}, {10, 5, 15, true, 0, 0}, {10, 5, 16, false, 10, 5}, {0, 0, 0, true, 0, 0}, {0, 0, 1, false, 0, 0},
	} {
		b, p := budget{free: tt.free}, &Pending{reserved: tt.reserved}
		spent := map[bool]int64{true: tt.work}[tt.ok]
		if got := b.spend(p, tt.work); got != tt.ok || b.free != tt.freeAfter || p.reserved != tt.reservedAfter || b.spent != spent {
			t.Errorf("%+v: %t, %+v, reserved %d", tt, got, b, p.reserved)
		}
	}
}

// TestForms lists the forms of a message, the likeliest first.
func TestForms(t *testing.T) {
	const folded = 0b10
	for _, tt := range []struct {
		path    string
		unknown bool
		want    []form
	}{
		{"", false, []form{{}}},
		{"<>", false, []form{{}, {0, "<>"}}},
		{"<b@x>", false, []form{{}, {0, "<b@x>"}, {0, "b@x"}}},
		{"", true, []form{{}, {folded, ""}, {math.MaxUint64, ""}}},
		{"<b@x>", true, []form{{}, {folded, ""}, {math.MaxUint64, ""}, {0, "<b@x>"}, {folded, "<b@x>"}, {math.MaxUint64, "<b@x>"},
			{0, "b@x"}, {folded, "b@x"}, {math.MaxUint64, "b@x"}}},
	} {
		c := candidates{path: tt.path, spacesUnknown: tt.unknown, folded: folded}
		var got []form
		for i := range c.forms() {
			got = append(got, c.form(i))
		}
		if !slices.Equal(got, tt.want) || len(got) > maxForms {
			t.Errorf("%q, %t: %v, want %v", tt.path, tt.unknown, got, tt.want)
		}
	}
}

// TestFormsNeedWork checks that forms are tried only while work is left.
func TestFormsNeedWork(t *testing.T) {
	mail := unsigned(sign(t, signing{h: "from:return-path", key: edKey()}, "Return-Path: <b@example.com>\r\n"+testMail), "Return-Path:")
	h, body := signer.Split([]byte(mail))
	v := NewVerifier(h, Options{ReturnPath: "<b@example.com>"})
	defer v.Close()
	m := v.Message()
	for m.Reserve(&Pending{Params: syntax.Params{Algorithm: syntax.Ed25519SHA256}}) { // the first form has its own reserve
	}
	v.Start(t.Context(), zoneWith(signer.Record(edKey().Public())))
	_, _ = v.Write(body)
	expect(t, "the second form would pass", v.Finish(t.Context())[0], Policy, ReasonWorkLimit)
}

// TestKeyCacheAtItsBound fills the cache to exactly its bound, and then adds one key more.
func TestKeyCacheAtItsBound(t *testing.T) {
	const size = 2048 // of each entry
	var c keyCache
	record := func(i int) string { return fmt.Sprintf("%0*d", size-keyOverhead-256/8, i) }
	const most = maxCachedKeyBytes / 2 / size
	for i := range most {
		c.add(record(i), syntax.Key{Bits: 256})
		c.add(record(i), syntax.Key{Bits: 256}) // it is there already
	}
	if len(c.recent) != most || c.past != nil || c.bytes != maxCachedKeyBytes/2 {
		t.Errorf("%d recent keys of %d octets, %d past", len(c.recent), c.bytes, len(c.past))
	}
	c.add(record(most), syntax.Key{Bits: 256})
	if len(c.recent) != 1 || len(c.past) != most || c.bytes != size {
		t.Errorf("after one more: %d recent keys of %d octets, %d past", len(c.recent), c.bytes, len(c.past))
	}
}

// TestCanonicalizationText has each value of c=.
func TestCanonicalizationText(t *testing.T) {
	const relaxed, simple = syntax.Relaxed, syntax.Simple
	for want, c := range map[string][2]syntax.Canonicalization{"relaxed/relaxed": {relaxed, relaxed}, "relaxed/simple": {relaxed, simple},
		"simple/relaxed": {simple, relaxed}, "simple/simple": {simple, simple}, "": {}} {
		if got := canonicalizationText(c[0], c[1]); got != want {
			t.Errorf("%v: %q", c, got)
		}
	}
}

// TestLower has each octet of a field name.
func TestLower(t *testing.T) {
	for c := range 128 {
		s := string([]byte{byte(c)})
		if got, want := string(appendLower(nil, s)), strings.ToLower(s); got != want || !isLowerOf([]byte(want), s) || isLowerOf([]byte(want), s+"x") {
			t.Errorf("%q: %q", s, got)
		}
	}
}

// TestArrivedStays checks that a second Start goes on to tell the same channel, and that Close may be called
// again.
func TestArrivedStays(t *testing.T) {
	v := NewVerifier(nil, Options{Cache: NewCache()})
	m := v.Message()
	r := resolverFunc(func(context.Context) (dns.Answer, error) { return dns.Answer{}, nil })
	m.WantKeyAt("a.example", "s")
	m.Start(t.Context(), r)
	first := v.Arrived()
	m.WantKeyAt("b.example", "s")
	m.Start(t.Context(), r)
	if first == nil || v.Arrived() != first {
		t.Error("another channel")
	}
	v.Close()
	v.Close()
}
