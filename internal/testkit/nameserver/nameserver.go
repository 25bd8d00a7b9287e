// Package nameserver provides DNS for tests: zones from text, a server on real sockets whose
// options make it misbehave, and servers in memory for which the test decides every octet that they
// send. It also has helpers to compare answers and DNS metrics. For tests only.
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

// headerLen is the length of a DNS message's header (RFC 1035 §4.1.1).
const headerLen = 12

// Bits of the DNS header. QR and TC are in the third octet, AD is in the fourth.
const (
	BitResponse  = 0x80
	BitTruncated = 0x02
	BitAuthentic = 0x20
)

// Script plays all name servers of a test. It is called once for each connection, with the first
// query and the server's end of the connection, and may write anything.
type Script func(network, addr string, query []byte, conn net.Conn)

// Dialer returns two functions. dial connects to s in memory; it uses net.Pipe, which keeps packets
// apart as UDP does. dialed returns the connections made so far, each as "network addr".
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
			_, _ = io.Copy(io.Discard, far) // until the client closes the connection
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

// ReadFramed reads one message that has its length in front (RFC 1035 §4.2.2).
func ReadFramed(conn net.Conn) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}

// Framed returns the message with its length in front.
func Framed(b []byte) []byte { return zone.Framed(b) }

// Message returns a packed response to a question for name and typ. The argument "sections" is zone
// text: the records of the answer section, then an empty line and the records of the authority
// section.
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

// Respond returns a packed response to query. The argument "sections" has the same form as in
// Message.
func Respond(tb testing.TB, query []byte, rcode int, sections string) []byte {
	tb.Helper()
	var m codec.Msg
	if err := m.Unpack(query); err != nil || len(m.Question) != 1 {
		tb.Errorf("query %x: %v", query, err)
		return nil
	}
	return Message(tb, m.Id, m.Question[0].Name, dns.Type(m.Question[0].Qtype), rcode, sections)
}

// QuestionName returns the name in the question of a query, in lower case and in the notation of
// package codec.
func QuestionName(query []byte) string {
	name, _, _ := codec.UnpackDomainName(query, headerLen)
	return strings.ToLower(name)
}

// AsksRoot answers a query for the root, which the resolver sends as a probe, and returns true. It
// returns false for any other query.
func AsksRoot(tb testing.TB, query []byte, conn net.Conn) bool {
	tb.Helper()
	if QuestionName(query) != "." {
		return false
	}
	_, _ = conn.Write(Respond(tb, query, 0, ". NS a.root.example"))
	return true
}

// Zone parses zone text (see [zone.Parse]). It ends the test if there is an error.
func Zone(tb testing.TB, zoneText string) *zone.Zone {
	tb.Helper()
	z, err := zone.Parse(zoneText)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}
