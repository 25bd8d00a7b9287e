package dnswire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

func mustQuestion(tb testing.TB, name dns.Name, typ dns.Type) Question {
	tb.Helper()
	q, err := NewQuestion(name, typ)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// TestPack reads each query with a codec other than the one that wrote it.
func TestPack(t *testing.T) {
	for _, name := range []dns.Name{"", "x.example", "_dmarc.a-b.example", "a\x00\xff\\.example", dns.Name(strings.Repeat("a.", 126) + "b")} {
		for _, o := range []Options{{}, {EDNS: true}, {AD: true}, {Mix: true}, {true, true, true}} {
			var m codec.Msg
			q := mustQuestion(t, name, dns.TypeTXT).Pack(o)
			if err := m.Unpack(q.Packet); err != nil {
				t.Fatalf("%q %+v: %v", name, o, err)
			}
			want := codec.MsgHdr{Id: m.Id, RecursionDesired: true, AuthenticatedData: o.AD}
			got, _ := nameFromPresentation(m.Question[0].Name)
			if m.MsgHdr != want || len(m.Question) != 1 || got != name || m.Question[0].Qtype != codec.TypeTXT || m.Question[0].Qclass != codec.ClassINET {
				t.Errorf("%q %+v: %v", name, o, &m)
			}
			opt := m.IsEdns0()
			if (opt != nil) != o.EDNS || (opt != nil && (opt.UDPSize() != ednsSize || opt.Do() || opt.Version() != 0)) {
				t.Errorf("%q %+v: %v", name, o, opt)
			}
			if o.EDNS && (q.Packet[11] != 1 || !bytes.HasSuffix(q.Packet, append([]byte{0, 0, typeOPT, ednsSize >> 8, ednsSize & 0xff}, make([]byte, 6)...))) {
				t.Errorf("%q %+v: %x", name, o, q.Packet)
			}
			if q.Exact != o.Mix || (!o.Mix && got != "" && m.Question[0].Name != strings.ToLower(m.Question[0].Name)) {
				t.Errorf("%q %+v: asked as %s", name, o, m.Question[0].Name)
			}
		}
	}
}

func TestNewQuestionRefuses(t *testing.T) {
	for name, want := range map[dns.Name]error{
		dns.Name(strings.Repeat("a.", 127) + "a"):      dns.ErrLongName,
		dns.Name(strings.Repeat("a", 64)):              dns.ErrLongLabel,
		dns.Name(strings.Repeat("a", 63) + "..x"):      dns.ErrEmptyLabel,
		dns.Name("." + strings.Repeat("a", 63) + ".x"): dns.ErrEmptyLabel,
	} {
		if _, err := NewQuestion(name, dns.TypeA); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
}

// TestQueriesAreNotPredictable: the random parts of a query, which a forger has to guess, differ
// from query to query.
func TestQueriesAreNotPredictable(t *testing.T) {
	q := mustQuestion(t, "abcdefghijklmnopqrstuvwxyz.example", dns.TypeA)
	ids, names := map[string]bool{}, map[string]bool{}
	upper := make([]int, len(q.wire))
	changes := make([]string, len(q.wire)) // of each octet
	for range 1000 {
		p := q.Pack(Options{Mix: true}).Packet
		ids[string(p[:2])] = true
		asked := p[HeaderLen : HeaderLen+len(q.wire)]
		names[string(asked)] = true
		for i, c := range asked {
			if c != q.wire[i] {
				upper[i]++
			}
			changes[i] += string(rune(c ^ q.wire[i]))
		}
	}
	if len(ids) < 950 || len(names) != 1000 { // of 1,000 random IDs, about 8 equal an earlier one
		t.Errorf("%d different IDs and %d ways to write the name, of 1000", len(ids), len(names))
	}
	for i, n := range upper {
		if letter := 'a' <= q.wire[i] && q.wire[i] <= 'z'; letter && (n < 350 || n > 650) || !letter && n != 0 {
			t.Errorf("octet %d (%c) was changed %d times of 1000", i, q.wire[i], n)
		}
		if same := slices.Index(changes, changes[i]); n > 0 && same != i {
			t.Errorf("octet %d is always changed with octet %d", i, same)
		}
	}
}

func TestMatch(t *testing.T) {
	question := mustQuestion(t, "a\x00b.example", dns.TypeTXT)
	q := question.Pack(Options{EDNS: true})
	good := func() []byte {
		return nameserver.Message(t, uint16(q.Packet[0])<<8|uint16(q.Packet[1]), `A\000b.Example.`, dns.TypeTXT, 0, `a\000b.example TXT x`)
	}
	header := func(rcode byte) []byte {
		b := good()[:HeaderLen]
		copy(b[3:], []byte{rcode, 0, 0, 0, 0, 0, 0, 0, 0})
		return b
	}
	cases := []struct {
		reason string
		want   Match
		spoil  func([]byte) []byte
	}{
		{"the answer", Whole, func(b []byte) []byte { return b }},
		{"wrong ID", Stray, func(b []byte) []byte { b[1]++; return b }},
		{"a query", Stray, func(b []byte) []byte { b[2] &^= bitResponse; return b }},
		{"another opcode", Stray, func(b []byte) []byte { b[2] |= 0x10; return b }},
		{"no question", Stray, func(b []byte) []byte { b[5] = 0; return b }},
		{"two questions", Stray, func(b []byte) []byte { b[5] = 2; return b }},
		{"another name", Stray, func(b []byte) []byte { b[HeaderLen+1] = 'x'; return b }},
		{"another length", Stray, func(b []byte) []byte { b[HeaderLen]++; return b }},
		{"another type", Stray, func(b []byte) []byte { b[HeaderLen+14]++; return b }},
		{"another class", Stray, func(b []byte) []byte { b[HeaderLen+16] = 3; return b }},
		{"a type is not a letter", Stray, func(b []byte) []byte { b[HeaderLen+14] |= 0x20; return b }},
		{"cut in the header", Stray, func(b []byte) []byte { return b[:HeaderLen-1] }},
		{"cut in the question", Stray, func(b []byte) []byte { return b[:HeaderLen+15] }},
		{"name that points at itself", Stray, func(b []byte) []byte { b[HeaderLen], b[HeaderLen+1] = 0xc0, HeaderLen; return b }},
		{"nothing", Stray, func([]byte) []byte { return nil }},
		{"truncated", Truncated, func(b []byte) []byte { b[2] |= bitTruncated; return b[:HeaderLen+17] }},
		{"FORMERR with nothing but a header", Whole, func([]byte) []byte { return header(codec.RcodeFormatError) }},
		{"FORMERR to another question", Stray, func(b []byte) []byte { b[3] = codec.RcodeFormatError; b[HeaderLen+1] = 'x'; return b }},
		{"NOTIMP to two questions", Stray, func(b []byte) []byte { b[3] = codec.RcodeNotImplemented; b[5] = 2; return b }},
		{"NOTIMP likewise", Whole, func([]byte) []byte { return header(codec.RcodeNotImplemented) }},
		{"NXDOMAIN has a question", Stray, func([]byte) []byte { return header(codec.RcodeNameError) }},
		{"so has success", Stray, func([]byte) []byte { return header(codec.RcodeSuccess) }},
	}
	for _, c := range cases {
		if got := q.Match(slices.Clip(c.spoil(good()))); got != c.want { // nothing is read beyond the end
			t.Errorf("%s: got %d, want %d", c.reason, got, c.want)
		}
	}
}

// TestMatchCase: if the query has random letter case, Match reports an answer with another letter
// case as Recased, unless the answer is truncated.
func TestMatchCase(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA).Pack(Options{Mix: true})
	answer := slices.Clone(q.Packet)
	answer[2] |= bitResponse
	if got := q.Match(answer); got != Whole {
		t.Errorf("the same letters: %d", got)
	}
	copy(answer[HeaderLen:], bytes.ToLower(answer[HeaderLen:len(answer)-4]))
	answer[HeaderLen+1] = q.Packet[HeaderLen+1] ^ 0x20
	if got := q.Match(answer); got != Recased {
		t.Errorf("other letters: %d", got)
	}
	cut := slices.Clone(answer)
	cut[2] |= bitTruncated
	if got := q.Match(cut); got != Truncated {
		t.Errorf("other letters, truncated: %d", got)
	}
	q.Exact = false
	if got := q.Match(answer); got != Whole {
		t.Errorf("letter case not random: %d", got)
	}
}

// FuzzMatch: a message that consists of more than a header matches only if it repeats the ID and
// the question.
func FuzzMatch(f *testing.F) {
	q := mustQuestion(f, "x.example", dns.TypeA).Pack(Options{EDNS: true, Mix: true})
	copy(q.Packet, "id") // the same ID in every process
	copy(q.Packet[HeaderLen:], "\x01x\x07eXaMPLE")
	answer := slices.Clone(q.Packet)
	answer[2] |= bitResponse
	f.Add(answer)
	f.Add(append(answer[:HeaderLen:HeaderLen], bytes.ToUpper(answer[HeaderLen:])...))
	f.Add(answer[:HeaderLen])
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := q.Match(wire)
		if m == Stray || len(wire) == HeaderLen {
			return
		}
		if !bytes.Equal(wire[:2], q.Packet[:2]) {
			t.Fatal("another ID")
		}
		if wire[5] == 1 && !bytes.EqualFold(wire[HeaderLen:HeaderLen+len(q.wire)], q.Packet[HeaderLen:HeaderLen+len(q.wire)]) {
			t.Fatal("another question")
		}
	})
}

func TestRejected(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA)
	for _, tt := range []struct {
		reason string
		rcode  int
		want   bool
	}{
		{"an answer", codec.RcodeSuccess, false},
		{"FORMERR (RFC 6891 §7)", codec.RcodeFormatError, true},
		{"NOTIMP, of older servers", codec.RcodeNotImplemented, true},
		{"SERVFAIL is about the name", codec.RcodeServerFailure, false},
		{"any other", codec.RcodeYXDomain, false},
	} {
		_, err := q.Decode(nameserver.Message(t, 7, "x.example.", dns.TypeA, tt.rcode, ""))
		if got := Rejected(err); got != tt.want {
			t.Errorf("%s: %v of %v", tt.reason, got, err)
		}
	}
}

// TestMixChangesNoType: only the name gets another letter case. The last octet of the type SPF (99) is that of a "c".
func TestMixChangesNoType(t *testing.T) {
	q := mustQuestion(t, "x.example", typeSPF)
	for range 64 {
		p := q.Pack(Options{Mix: true}).Packet
		if end := p[len(p)-4:]; !bytes.Equal(end, []byte{0, typeSPF, 0, classIN}) {
			t.Fatalf("type and class %x", end)
		}
	}
}
