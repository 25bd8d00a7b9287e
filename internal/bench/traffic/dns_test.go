package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"sekimori/internal/dns/zone"
)

// Types of records (RFC 1035 §3.2.2, RFC 6891).
const (
	typeA   = 1
	typePTR = 12
	typeMX  = 15
	typeTXT = 16
	typeOPT = 41

	classIN = 1
)

// query returns a DNS question. The argument "edns" is the UDP payload size in its EDNS record; if
// it is 0, the question has no EDNS record.
func query(name string, typ uint16, edns int) []byte {
	q := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	q = binary.BigEndian.AppendUint16(append(q, 0), typ)
	q = binary.BigEndian.AppendUint16(q, classIN)
	if edns > 0 {
		q[11] = 1
		q = append(q, 0, 0, typeOPT)
		q = binary.BigEndian.AppendUint16(q, uint16(edns))
		q = append(q, 0, 0, 0, 0, 0, 0)
	}
	return q
}

// ask sends a question over UDP and returns the answer, or nil if none arrives.
func ask(t *testing.T, addr string, q []byte) []byte {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(q); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

func testZone(t testing.TB) *zone.Zone {
	t.Helper()
	z := newZone(time.Hour)
	z.addTXT("d.example", "v=spf1 -all")
	z.addTXT("long.d.example", strings.Repeat("x", 700))
	z.addTXT("huge.d.example", strings.Repeat("y", 2000))
	z.addMX("d.example", "mail.d.example")
	z.addA("mail.d.example", netip.MustParseAddr("198.18.0.1"))
	z.addPTR(netip.MustParseAddr("198.18.0.1"), "mail.d.example")
	parsed, err := z.parsed()
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestDNSServer(t *testing.T) {
	s := serve(t, testZone(t), DNSOptions{})
	for _, tc := range []struct {
		why, name string
		typ       uint16
		edns      int
		rcode     dnsmessage.RCode
		answers   int
		truncated bool
		want      string
	}{
		{"a record", "d.example", typeTXT, 0, 0, 1, false, "v=spf1 -all"},
		{"letters of any case come back as they were", "D.eXample", typeTXT, 1232, 0, 1, false, "v=spf1 -all"},
		{"an MX", "d.example", typeMX, 1232, 0, 1, false, ""},
		{"a reverse name", "1.0.18.198.in-addr.arpa", typePTR, 0, 0, 1, false, ""},
		{"no such type", "d.example", typeA, 0, 0, 0, false, ""},
		{"only names below it", "18.198.in-addr.arpa", typePTR, 0, 0, 0, false, ""},
		{"no such name", "x.example", typeTXT, 1232, dnsmessage.RCodeNameError, 0, false, ""},
		{"too long without EDNS", "long.d.example", typeTXT, 0, 0, 0, true, ""},
		{"long with EDNS", "long.d.example", typeTXT, 1232, 0, 1, false, strings.Repeat("x", 700)},
		{"too long for UDP", "huge.d.example", typeTXT, 1232, 0, 0, true, ""},
	} {
		raw := ask(t, s.Addr(), query(tc.name, tc.typ, tc.edns))
		var m dnsmessage.Message
		if err := m.Unpack(raw); err != nil {
			t.Errorf("%s: %v: %x", tc.why, err, raw)
			continue
		}
		if m.ID != 0x1234 || !m.Response || m.RCode != tc.rcode || len(m.Answers) != tc.answers || m.Truncated != tc.truncated ||
			m.Questions[0].Name.String() != tc.name+"." || (tc.edns > 0) != (len(m.Additionals) == 1) {
			t.Errorf("%s: %+v", tc.why, m)
		}
		if (tc.answers == 0 && !tc.truncated) != (len(m.Authorities) == 1) {
			t.Errorf("%s: a \"no\" must say how long it lives: %+v", tc.why, m.Authorities)
		}
		if tc.want != "" {
			txt, ok := m.Answers[0].Body.(*dnsmessage.TXTResource)
			if !ok || strings.Join(txt.TXT, "") != tc.want || m.Answers[0].Header.TTL != 3600 || m.Answers[0].Header.Name != m.Questions[0].Name {
				t.Errorf("%s: %+v", tc.why, m.Answers[0])
			}
		}
	}
	if s.Queries() != 10 {
		t.Errorf("%d queries were counted", s.Queries())
	}
}

func TestDNSOverTCP(t *testing.T) {
	s := serve(t, testZone(t), DNSOptions{Delay: time.Millisecond})
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	q := query("huge.d.example", typeTXT, 0)
	if _, err := c.Write(append([]byte{0, byte(len(q))}, q...)); err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	var buf bytes.Buffer
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	for m.Unpack(append([]byte{}, buf.Bytes()[min(2, buf.Len()):]...)) != nil {
		b := make([]byte, 4096)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		buf.Write(b[:n])
	}
	if len(m.Answers) != 1 || m.Truncated {
		t.Errorf("%+v", m)
	}
}

func TestServeRefusesATakenAddress(t *testing.T) {
	s := serve(t, testZone(t), DNSOptions{})
	if again, err := Serve(testZone(t), DNSOptions{Addr: s.Addr()}); err == nil {
		_ = again.Close()
		t.Error("two servers at one address")
	}
}

func serve(t *testing.T, z *zone.Zone, o DNSOptions) *DNSServer {
	t.Helper()
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	s, err := Serve(z, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestLoss(t *testing.T) {
	s := serve(t, testZone(t), DNSOptions{Loss: 1})
	if answer := ask(t, s.Addr(), query("d.example", typeTXT, 0)); answer != nil || s.Queries() != 1 {
		t.Errorf("an answer that should be lost: %x", answer)
	}
}

// TestRespond checks when a question is answered, lost, or too late, and which of them are counted.
func TestRespond(t *testing.T) {
	z := testZone(t)
	for _, tt := range []struct {
		why     string
		opts    DNSOptions
		query   []byte
		overTCP bool
		end     time.Duration // of the connection
		answers int
		keep    bool
		took    time.Duration
	}{
		{"at once", DNSOptions{}, query("d.example", typeTXT, 0), false, time.Hour, 1, true, 0},
		{"over TCP", DNSOptions{}, query("d.example", typeTXT, 0), true, time.Hour, 1, true, 0},
		{"late", DNSOptions{Delay: time.Second}, query("d.example", typeTXT, 0), false, time.Hour, 1, true, time.Second},
		{"too late", DNSOptions{Delay: time.Second}, query("d.example", typeTXT, 0), true, time.Millisecond, 0, false, time.Millisecond},
		{"lost", DNSOptions{Loss: 1, Delay: time.Second}, query("d.example", typeTXT, 0), false, time.Hour, 0, true, 0},
		{"not lost over TCP", DNSOptions{Loss: 1}, query("d.example", typeTXT, 0), true, time.Hour, 1, true, 0},
		{"no question", DNSOptions{Delay: time.Second}, []byte("x"), false, time.Hour, 0, true, 0},
		{"a flood", DNSOptions{Faults: Mix{{FaultFlood, 1}}}, query("d.example", typeTXT, 0), false, time.Hour, floodAnswers + 1, true, 0},
		{"another length over TCP", DNSOptions{Faults: Mix{{FaultServFail, 1}}}, query("d.example", typeTXT, 0), true, time.Hour, 1, false, 0},
		{"the same length over TCP", DNSOptions{Faults: Mix{{FaultWrongID, 1}}}, query("d.example", typeTXT, 0), true, time.Hour, 1, true, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &DNSServer{zone: z, opts: tt.opts, rng: newRand(1, "loss", 0)}
			ctx, cancel := context.WithTimeout(t.Context(), tt.end)
			defer cancel()
			start := time.Now()
			out, keep := s.respond(ctx, tt.query, tt.overTCP)
			if took := time.Since(start); len(out) != tt.answers || keep != tt.keep || took != tt.took || s.Queries() != 1 {
				t.Errorf("%s: %d answers, %v, after %v, %d counted", tt.why, len(out), keep, took, s.Queries())
			}
		})
	}
	s := &DNSServer{zone: z, opts: DNSOptions{Loss: 0.25}, rng: newRand(1, "loss", 0)}
	answered := 0
	for range 1000 {
		if out, _ := s.respond(t.Context(), query("d.example", typeTXT, 0), false); len(out) > 0 {
			answered++
		}
	}
	if answered < 700 || answered > 800 || s.Queries() != 1000 {
		t.Errorf("%d of 1000 answered", answered)
	}
}
