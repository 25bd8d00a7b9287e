// Package nameserver is the DNS of a test: a zone from text, a server on real
// sockets that misbehaves as its options say, and servers in memory that a
// test scripts octet by octet. It also shows what came of asking them, in
// answers and in metrics. For tests only.
package nameserver

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
)

// headerLen is the length of a message's header (RFC 1035 §4.1.1).
const headerLen = 12

// Bits of the header: QR and TC are in the third octet, AD in the fourth.
const (
	BitResponse  = 0x80
	BitTruncated = 0x02
	BitAuthentic = 0x20
)

// Script plays the servers of a test. For each socket, it gets the server's end
// and the query that came, and writes whatever the test needs.
type Script func(network, addr string, query []byte, conn net.Conn)

// Dialer returns a function that connects to s in memory, and a function that
// returns the sockets so far as "network addr". The sockets are of net.Pipe,
// which keeps packets apart as UDP does.
func (s Script) Dialer() (dial func(context.Context, string, string) (net.Conn, error), dialed func() []string) {
	var mu sync.Mutex
	var log []string
	dial = func(_ context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		log = append(log, network+" "+addr)
		mu.Unlock()
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			query, err := read(network, far)
			if err != nil {
				return
			}
			s(network, addr, query, far)
			_, _ = io.Copy(io.Discard, far) // returns when the client closes
		}()
		return near, nil
	}
	dialed = func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(log)
	}
	return dial, dialed
}

func read(network string, conn net.Conn) ([]byte, error) {
	if network == "tcp" {
		return ReadFramed(conn)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return buf[:n], err
}

// ReadFramed reads one message with its length in front (RFC 1035 §4.2.2).
func ReadFramed(conn net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}

// Framed puts the length in front of a message.
func Framed(b []byte) []byte { return zone.Framed(b) }

// Message packs a response to name and typ. sections are zone lines: the
// answers, then an empty line and the authority section.
func Message(tb testing.TB, id uint16, name string, typ dns.Type, rcode int, sections string) []byte {
	tb.Helper()
	m := codec.Msg{MsgHdr: codec.MsgHdr{Id: id, Response: true, Rcode: rcode, AuthenticatedData: true}}
	m.Question = []codec.Question{{Name: name, Qtype: uint16(typ), Qclass: codec.ClassINET}}
	answer, authority, _ := strings.Cut(sections, "\n\n")
	for _, s := range []struct {
		text string
		to   *[]codec.RR
	}{{answer, &m.Answer}, {authority, &m.Ns}} {
		zp := codec.NewZoneParser(strings.NewReader(s.text), ".", "")
		zp.SetDefaultTTL(300)
		for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
			*s.to = append(*s.to, rr)
		}
		if err := zp.Err(); err != nil {
			tb.Fatal(err)
		}
	}
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return wire
}

// Respond returns a response to query whose answers are zone lines.
func Respond(tb testing.TB, query []byte, rcode int, sections string) []byte {
	tb.Helper()
	var m codec.Msg
	if err := m.Unpack(query); err != nil || len(m.Question) != 1 {
		tb.Errorf("query %x: %v", query, err)
		return nil
	}
	return Message(tb, m.Id, m.Question[0].Name, dns.Type(m.Question[0].Qtype), rcode, sections)
}

// QuestionName returns the name that a query asks for, in lower case and as the
// codec spells it.
func QuestionName(query []byte) string {
	name, _, _ := codec.UnpackDomainName(query, headerLen)
	return strings.ToLower(name)
}

// AsksRoot reports whether a query asks for the root, as the resolver's probes
// do, and then answers it.
func AsksRoot(tb testing.TB, query []byte, conn net.Conn) bool {
	tb.Helper()
	if QuestionName(query) != "." {
		return false
	}
	_, _ = conn.Write(Respond(tb, query, 0, ". NS a.root.example"))
	return true
}

// Zone reads zone text (see [zone.Parse]); an error in it ends the test.
func Zone(tb testing.TB, zoneText string) *zone.Zone {
	tb.Helper()
	z, err := zone.Parse(zoneText)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}
