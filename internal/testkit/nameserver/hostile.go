package nameserver

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

// lie is an address that the hostile servers give in forged answers. A resolver must not return it.
const lie = "203.0.113.66"

// HostileServers returns the addresses that the servers of Hostile have. The resolver does not vary
// upper and lower case in questions to the last server, because that address is on loopback.
func HostileServers() []string { return []string{"192.0.2.1", "192.0.2.2", "127.0.0.1"} }

// Hostile returns servers that lie, delay, truncate, flood or close the connection. The name in the
// query decides what the servers do. Probes get a normal answer.
func Hostile(tb testing.TB) Script {
	return func(network, _ string, query []byte, conn net.Conn) {
		if AsksRoot(tb, query, conn) {
			return
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(QuestionName(query)))
		hostility[h.Sum32()%uint32(len(hostility))].do(tb, network, query, conn)
	}
}

// AskHostile looks up many names, several times each, with a resolver r that uses the servers of
// Hostile. Every lookup must end in time, and no answer may contain the address "lie". AskHostile
// must be called within a bubble of testing/synctest.
func AskHostile(tb testing.TB, r dns.Resolver) {
	tb.Helper()
	const askers, rounds = 12, 12
	var wg sync.WaitGroup
	for i := range askers {
		wg.Go(func() {
			for n := range rounds {
				for _, typ := range []dns.Type{dns.TypeA, dns.TypeTXT} {
					ask(tb, r, dns.Name(fmt.Sprintf("n%d.example", (i*7+n*13)%150)), typ)
				}
				time.Sleep(time.Duration(i) * time.Second)
			}
		})
	}
	wg.Wait()
}

func ask(tb testing.TB, r dns.Resolver, name dns.Name, typ dns.Type) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	begin := time.Now()
	a, err := r.Lookup(ctx, name, typ)
	if took := time.Since(begin); took > 10*time.Second {
		tb.Errorf("a lookup took %s", took)
	}
	for _, record := range a.Records {
		if err == nil && record.Addr.String() == lie {
			tb.Error("a lie was believed")
		}
	}
}

// hostility lists the things that a hostile server may do with a query.
var hostility = []struct {
	name string
	do   func(t testing.TB, network string, query []byte, conn net.Conn)
}{
	{"truth", func(t testing.TB, network string, query []byte, conn net.Conn) {
		send(network, conn, Respond(t, query, 0, QuestionName(query)+" 20 A 192.0.2.1"))
	}},
	{"silence", func(testing.TB, string, []byte, net.Conn) {}},
	{"delay", func(t testing.TB, network string, query []byte, conn net.Conn) {
		time.Sleep(1900 * time.Millisecond)
		send(network, conn, Respond(t, query, 0, QuestionName(query)+" A 192.0.2.1"))
	}},
	{"too late", func(t testing.TB, network string, query []byte, conn net.Conn) {
		time.Sleep(3 * time.Second)
		send(network, conn, Respond(t, query, 0, QuestionName(query)+" A 192.0.2.1"))
	}},
	{"another name", func(t testing.TB, network string, query []byte, conn net.Conn) {
		b := Respond(t, query, 0, QuestionName(query)+" A 192.0.2.1")
		b[headerLen+1] ^= 1
		send(network, conn, b)
	}},
	{"records of others", func(t testing.TB, network string, query []byte, conn net.Conn) {
		send(network, conn, Respond(t, query, 0, strings.Repeat("bank.example A "+lie+"\n", 200)))
	}},
	{"truncation for ever", func(t testing.TB, network string, query []byte, conn net.Conn) {
		b := Respond(t, query, 0, "")
		b[2] |= BitTruncated
		send(network, conn, b)
	}},
	{"a length and no more", func(t testing.TB, network string, query []byte, conn net.Conn) {
		if network == "udp" {
			b := Respond(t, query, 0, "")
			b[2] |= BitTruncated
			send(network, conn, b)
			return
		}
		_, _ = conn.Write([]byte{0xff, 0xff, 0})
	}},
	{"an octet at a time", func(t testing.TB, network string, query []byte, conn net.Conn) {
		b := Respond(t, query, 0, "")
		b[2] |= BitTruncated
		if network == "udp" {
			send(network, conn, b)
			return
		}
		for _, c := range Framed(Respond(t, query, 0, QuestionName(query)+" A 192.0.2.1")) {
			time.Sleep(500 * time.Millisecond)
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
		}
	}},
	{"flood", func(t testing.TB, network string, query []byte, conn net.Conn) {
		b := Respond(t, query, 0, QuestionName(query)+" A "+lie)
		b[0] ^= 1
		if network == "tcp" {
			b = Framed(b)
		}
		for {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}},
	{"close", func(_ testing.TB, _ string, _ []byte, conn net.Conn) { _ = conn.Close() }},
	{"chain without end", func(t testing.TB, network string, query []byte, conn net.Conn) {
		name := QuestionName(query)
		send(network, conn, Respond(t, query, 0, name+" CNAME x"+name[:min(len(name), 40)]+"example."))
	}},
	{"FORMERR for ever", func(t testing.TB, network string, query []byte, conn net.Conn) {
		send(network, conn, Respond(t, query, codec.RcodeFormatError, ""))
	}},
	{"as much as is read", func(t testing.TB, network string, query []byte, conn net.Conn) {
		b := Respond(t, query, 0, "")
		if network == "udp" {
			b[2] |= BitTruncated
			send(network, conn, b)
			return
		}
		send(network, conn, Respond(t, query, 0, strings.Repeat(QuestionName(query)+" TXT "+strings.Repeat("k", 250)+"\n", 240)))
	}},
}

func send(network string, conn net.Conn, b []byte) {
	if network == "tcp" {
		b = Framed(b)
	}
	_, _ = conn.Write(b)
}
