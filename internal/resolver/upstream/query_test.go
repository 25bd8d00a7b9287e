package upstream

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

func mustQuestion(tb testing.TB, name dns.Name, typ dns.Type) question {
	tb.Helper()
	q, err := newQuestion(name, typ)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// A query is read back by a codec that is not the one that wrote it.
func TestPack(t *testing.T) {
	for _, name := range []dns.Name{"", "x.example", "_dmarc.a-b.example", "a\x00\xff\\.example", dns.Name(strings.Repeat("a.", 126) + "b")} {
		for _, o := range []queryOptions{{}, {edns: true}, {ad: true}, {mix: true}, {true, true, true}} {
			var m codec.Msg
			q := mustQuestion(t, name, dns.TypeTXT).pack(o)
			if err := m.Unpack(q.packet); err != nil {
				t.Fatalf("%q %+v: %v", name, o, err)
			}
			want := codec.MsgHdr{Id: m.Id, RecursionDesired: true, AuthenticatedData: o.ad}
			got, _ := nameFromPresentation(m.Question[0].Name)
			if m.MsgHdr != want || len(m.Question) != 1 || got != name || m.Question[0].Qtype != codec.TypeTXT || m.Question[0].Qclass != codec.ClassINET {
				t.Errorf("%q %+v: %v", name, o, &m)
			}
			opt := m.IsEdns0()
			if (opt != nil) != o.edns || (opt != nil && (opt.UDPSize() != ednsSize || opt.Do() || opt.Version() != 0)) {
				t.Errorf("%q %+v: %v", name, o, opt)
			}
			if q.exact != o.mix || (!o.mix && got != "" && m.Question[0].Name != strings.ToLower(m.Question[0].Name)) {
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
		if _, err := newQuestion(name, dns.TypeA); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
}

// What a forger has to guess differs from query to query.
func TestQueriesAreNotPredictable(t *testing.T) {
	q := mustQuestion(t, "abcdefghijklmnopqrstuvwxyz.example", dns.TypeA)
	ids, names := map[string]bool{}, map[string]bool{}
	upper := make([]int, len(q.wire))
	for range 1000 {
		p := q.pack(queryOptions{mix: true}).packet
		ids[string(p[:2])] = true
		asked := p[headerLen : headerLen+len(q.wire)]
		names[string(asked)] = true
		for i, c := range asked {
			if c != q.wire[i] {
				upper[i]++
			}
		}
	}
	if len(ids) < 950 || len(names) != 1000 { // 1000 of 65536 collide about 8 times
		t.Errorf("%d different IDs and %d ways to write the name, of 1000", len(ids), len(names))
	}
	for i, n := range upper {
		if letter := 'a' <= q.wire[i] && q.wire[i] <= 'z'; letter && (n < 350 || n > 650) || !letter && n != 0 {
			t.Errorf("octet %d (%c) was changed %d times of 1000", i, q.wire[i], n)
		}
	}
}

func TestMatch(t *testing.T) {
	question := mustQuestion(t, "a\x00b.example", dns.TypeTXT)
	q := question.pack(queryOptions{edns: true})
	good := func() []byte {
		return nameserver.Message(t, uint16(q.packet[0])<<8|uint16(q.packet[1]), `A\000b.Example.`, dns.TypeTXT, 0, `a\000b.example TXT x`)
	}
	header := func(rcode byte) []byte {
		b := good()[:headerLen]
		copy(b[3:], []byte{rcode, 0, 0, 0, 0, 0, 0, 0, 0})
		return b
	}
	cases := []struct {
		reason string
		want   match
		spoil  func([]byte) []byte
	}{
		{"the answer", whole, func(b []byte) []byte { return b }},
		{"wrong ID", stray, func(b []byte) []byte { b[1]++; return b }},
		{"a query", stray, func(b []byte) []byte { b[2] &^= bitResponse; return b }},
		{"another opcode", stray, func(b []byte) []byte { b[2] |= 0x10; return b }},
		{"no question", stray, func(b []byte) []byte { b[5] = 0; return b }},
		{"two questions", stray, func(b []byte) []byte { b[5] = 2; return b }},
		{"another name", stray, func(b []byte) []byte { b[headerLen+1] = 'x'; return b }},
		{"another length", stray, func(b []byte) []byte { b[headerLen]++; return b }},
		{"another type", stray, func(b []byte) []byte { b[headerLen+14]++; return b }},
		{"another class", stray, func(b []byte) []byte { b[headerLen+16] = 3; return b }},
		{"a type is not a letter", stray, func(b []byte) []byte { b[headerLen+14] |= 0x20; return b }},
		{"cut in the header", stray, func(b []byte) []byte { return b[:headerLen-1] }},
		{"cut in the question", stray, func(b []byte) []byte { return b[:headerLen+15] }},
		{"name that points at itself", stray, func(b []byte) []byte { b[headerLen], b[headerLen+1] = 0xc0, headerLen; return b }},
		{"nothing", stray, func([]byte) []byte { return nil }},
		{"truncated", truncated, func(b []byte) []byte { b[2] |= bitTruncated; return b[:headerLen+17] }},
		{"FORMERR with nothing but a header", whole, func([]byte) []byte { return header(codec.RcodeFormatError) }},
		{"NOTIMP likewise", whole, func([]byte) []byte { return header(codec.RcodeNotImplemented) }},
		{"NXDOMAIN has a question", stray, func([]byte) []byte { return header(codec.RcodeNameError) }},
		{"success as well", stray, func([]byte) []byte { return header(codec.RcodeSuccess) }},
	}
	for _, c := range cases {
		if got := q.match(c.spoil(good())); got != c.want {
			t.Errorf("%s: got %d, want %d", c.reason, got, c.want)
		}
	}
}

// With the case of letters as part of the secret, an answer in other letters
// is not taken, but not ignored either.
func TestMatchCase(t *testing.T) {
	q := mustQuestion(t, "x.example", dns.TypeA).pack(queryOptions{mix: true})
	answer := slices.Clone(q.packet)
	answer[2] |= bitResponse
	if got := q.match(answer); got != whole {
		t.Errorf("the same letters: %d", got)
	}
	copy(answer[headerLen:], bytes.ToLower(answer[headerLen:len(answer)-4]))
	answer[headerLen+1] = q.packet[headerLen+1] ^ 0x20
	if got := q.match(answer); got != recased {
		t.Errorf("other letters: %d", got)
	}
	cut := slices.Clone(answer)
	cut[2] |= bitTruncated
	if got := q.match(cut); got != truncated {
		t.Errorf("other letters, truncated: %d", got)
	}
	q.exact = false
	if got := q.match(answer); got != whole {
		t.Errorf("where the case is no secret: %d", got)
	}
}

// Whatever arrives, only what repeats ID and question is taken for the answer.
func FuzzMatch(f *testing.F) {
	q := mustQuestion(f, "x.example", dns.TypeA).pack(queryOptions{edns: true, mix: true})
	copy(q.packet, "id") // the same in every process
	copy(q.packet[headerLen:], "\x01x\x07eXaMPLE")
	answer := slices.Clone(q.packet)
	answer[2] |= bitResponse
	f.Add(answer)
	f.Add(append(answer[:headerLen:headerLen], bytes.ToUpper(answer[headerLen:])...))
	f.Add(answer[:headerLen])
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := q.match(wire)
		if m == stray || len(wire) == headerLen {
			return
		}
		if !bytes.Equal(wire[:2], q.packet[:2]) {
			t.Fatal("another ID")
		}
		if wire[5] == 1 && !bytes.EqualFold(wire[headerLen:headerLen+len(q.wire)], q.packet[headerLen:headerLen+len(q.wire)]) {
			t.Fatal("another question")
		}
	})
}
