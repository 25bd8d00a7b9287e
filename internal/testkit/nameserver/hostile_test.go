package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/recorder"
)

// TestAsk checks that a lookup with hostile servers fails the test if it returns the forged address or takes too long.
func TestAsk(t *testing.T) {
	const forever = time.Hour
	for _, tt := range []struct {
		reason string
		addrs  []string
		wait   time.Duration
		err    error
		want   string
	}{
		{"truth in time", []string{"192.0.2.1"}, time.Second, nil, ""},
		{"truth at the last moment", []string{"192.0.2.1"}, 10 * time.Second, nil, ""},
		{"no answer until its time is over", nil, forever, nil, ""},
		{"a lie", []string{lie}, time.Second, nil, "error: a lie was believed"},
		{"a lie behind the truth", []string{"192.0.2.1", lie}, time.Second, nil, "error: a lie was believed"},
		{"a lie beside an error", []string{lie}, time.Second, errors.ErrUnsupported, ""},
		{"too late", []string{"192.0.2.1"}, 10*time.Second + 1, nil, "error: a lookup took 10.000000001s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := Func(func(ctx context.Context, _ dns.Name, _ dns.Type) (a dns.Answer, err error) {
				if tt.wait == forever {
					<-ctx.Done()
					return a, ctx.Err()
				}
				time.Sleep(tt.wait)
				for _, addr := range tt.addrs {
					a.Records = append(a.Records, dns.Record{Addr: netip.MustParseAddr(addr)})
				}
				return a, tt.err
			})
			if said := recorder.Run(t, func(tb testing.TB) { ask(tb, r, "a.example", dns.TypeA) }); said != tt.want {
				t.Errorf("%s: %q", tt.reason, said)
			}
		})
	}
}

// TestAskHostile checks what AskHostile looks up and when. Several askers ask for some of the names.
func TestAskHostile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		asked, atOnce := map[string]int{}, 0
		AskHostile(t, Func(func(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
			mu.Lock()
			defer mu.Unlock()
			asked[fmt.Sprintf("%s %s", name, typ)]++
			if time.Now().Equal(begin) {
				atOnce++
			}
			return dns.Answer{}, nil
		}))
		took, all := time.Since(begin), 0
		want := map[string]int{}
		for a := range 12 {
			for n := range 12 {
				for _, typ := range []string{"A", "TXT"} {
					want[fmt.Sprintf("n%d.example %s", (7*a+13*n)%150, typ)]++
				}
			}
		}
		for k := range want {
			all += asked[k]
			if asked[k] != want[k] {
				t.Errorf("%s is asked for %d times, want %d", k, asked[k], want[k])
			}
		}
		// The first asker makes no pause, the others do after their two first questions.
		if len(asked) != len(want) || all != 288 || atOnce != 24+11*2 || took != 11*12*time.Second {
			t.Errorf("%d names and types, %d questions, %d of them at once, in %s", len(asked), all, atOnce, took)
		}
	})
}

// client asks for a name and describes what comes within 20 s each, and at most 300 times. The description says NAME for the name,
// which begins with n, and OTHER if it begins with o instead.
func client(t *testing.T, script Script, network, name string) string {
	t.Helper()
	dial, _ := script.Dialer()
	conn, err := dial(t.Context(), network, "192.0.2.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := query(t, name, codec.TypeTXT)
	send(network, conn, q)
	begin, buf := time.Now(), make([]byte, 1<<17)
	var chunks [][]byte
	var times []time.Duration
	for err == nil && len(chunks) < 300 {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		var n int
		if n, err = conn.Read(buf); n > 0 {
			chunks, times = append(chunks, slices.Clone(buf[:n])), append(times, time.Since(begin))
		}
	}
	var said []string
	for i, at := range times {
		switch {
		case i == 0 && at > 0:
			said = append(said, "after "+at.String())
		case i == 1 && at > times[0]:
			said = append(said, "each after "+(at-times[0]).String())
		case i > 1 && at-times[i-1] != times[1]-times[0]:
			said = append(said, "uneven")
		}
	}
	if network == "tcp" {
		chunks = unframe(bytes.Join(chunks, nil))
	}
	for len(chunks) > 0 {
		n := 1
		for n < len(chunks) && bytes.Equal(chunks[n], chunks[0]) {
			n++
		}
		what := describe(chunks[0], q)
		if n > 1 {
			what = fmt.Sprintf("%d times %s", n, what)
		}
		said = append(said, what)
		chunks = chunks[n:]
	}
	if errors.Is(err, io.EOF) {
		said = append(said, "EOF")
	}
	return strings.NewReplacer(name, "NAME", "o"+strings.TrimPrefix(name, "n"), "OTHER").Replace(strings.Join(said, ", "))
}

// unframe returns the messages of a stream, and what is left as if it were one.
func unframe(stream []byte) (all [][]byte) {
	for len(stream) > 0 {
		n := len(stream)
		if n >= 2 && n >= 2+int(binary.BigEndian.Uint16(stream)) {
			n = 2 + int(binary.BigEndian.Uint16(stream))
			all = append(all, stream[2:n])
		} else {
			all = append(all, stream)
		}
		stream = stream[n:]
	}
	return all
}

// describe returns what a response has that its query has not, and in short its records. All records are the same.
func describe(wire, query []byte) string {
	var q, m codec.Msg
	if q.Unpack(query) != nil || m.Unpack(wire) != nil {
		return fmt.Sprintf("%x", wire)
	}
	said := codec.RcodeToString[m.Rcode]
	if m.Id != q.Id {
		said += fmt.Sprintf(" id^%x", m.Id^q.Id)
	}
	if m.Truncated {
		said += " TC"
	}
	if m.RecursionDesired {
		said += " RD"
	}
	if m.Question[0] != q.Question[0] {
		said += " to " + m.Question[0].Name
	}
	if len(m.Answer) > 0 {
		record, _, _ := strings.Cut(m.Answer[0].String(), `"`) // a long text is told by the size below
		said += fmt.Sprintf(" %d of %s", len(m.Answer), strings.TrimSpace(strings.ReplaceAll(record, "\t", " ")))
	}
	if kb := len(wire) >> 10; kb > 0 {
		said += fmt.Sprintf(" %d KiB", kb)
	}
	return said
}

// hostilities are descriptions of what comes over UDP and TCP.
var hostilities = map[string][2]string{
	"truth":                {"NOERROR 1 of NAME 20 IN A 192.0.2.1", "NOERROR 1 of NAME 20 IN A 192.0.2.1"},
	"silence":              {"", ""},
	"delay":                {"after 1.9s, NOERROR 1 of NAME 300 IN A 192.0.2.1", "after 1.9s, NOERROR 1 of NAME 300 IN A 192.0.2.1"},
	"too late":             {"after 3s, NOERROR 1 of NAME 300 IN A 192.0.2.1", "after 3s, NOERROR 1 of NAME 300 IN A 192.0.2.1"},
	"another name":         {"NOERROR to OTHER 1 of OTHER 300 IN A 192.0.2.1", "NOERROR to OTHER 1 of OTHER 300 IN A 192.0.2.1"},
	"records of others":    {"NOERROR 200 of bank.example. 300 IN A 203.0.113.66 3 KiB", "NOERROR 200 of bank.example. 300 IN A 203.0.113.66 3 KiB"},
	"truncation for ever":  {"NOERROR TC", "NOERROR TC"},
	"a length and no more": {"NOERROR TC", "ffff00"},
	"an octet at a time":   {"NOERROR TC", "after 500ms, each after 500ms, NOERROR 1 of NAME 300 IN A 192.0.2.1"},
	"flood":                {"300 times NOERROR id^100 1 of NAME 300 IN A 203.0.113.66", "300 times NOERROR id^100 1 of NAME 300 IN A 203.0.113.66"},
	"close":                {"EOF", "EOF"},
	"chain without end":    {"NOERROR 1 of NAME 300 IN CNAME xNAMEexample.", "NOERROR 1 of NAME 300 IN CNAME xNAMEexample."},
	"FORMERR for ever":     {"FORMERR", "FORMERR"},
	"as much as is read":   {"NOERROR TC", "NOERROR 240 of NAME 300 IN TXT 61 KiB"},
}

// TestHostility checks what each hostility sends, and when.
func TestHostility(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, h := range hostility {
			script := Script(func(network, _ string, query []byte, conn net.Conn) { h.do(t, network, query, conn) })
			for i, network := range []string{"udp", "tcp"} {
				if got, want := client(t, script, network, "n7.example."), hostilities[h.name][i]; got != want {
					t.Errorf("%s over %s: %q, want %q", h.name, network, got, want)
				}
			}
		}
	})
	if len(hostility) != len(hostilities) {
		t.Errorf("%d hostilities are described, there are %d", len(hostilities), len(hostility))
	}
}

// TestLeave checks that a server that sends for a long time ends when its client closes the connection.
func TestLeave(t *testing.T) {
	for _, h := range hostility {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			begin, done := time.Now(), make(chan time.Duration, 1)
			go func() {
				h.do(t, "tcp", query(t, "n7.example.", codec.TypeTXT), far)
				done <- time.Since(begin)
			}()
			_ = near.SetReadDeadline(begin.Add(2 * time.Second))
			for range 3 {
				_, _ = near.Read(make([]byte, 10))
			}
			near.Close()
			if took := <-done; took > 3*time.Second {
				t.Errorf("%s: still sends after %s", h.name, took)
			}
		})
	}
}

// TestChain checks that the names of a chain do not become longer than a name may be.
func TestChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := slices.IndexFunc(hostility, func(h struct {
			name string
			do   func(testing.TB, string, []byte, net.Conn)
		}) bool {
			return h.name == "chain without end"
		})
		script := Script(func(network, _ string, query []byte, conn net.Conn) { hostility[i].do(t, network, query, conn) })
		const label = "nine-and-thirty-octets-are-in-this-name"
		for name, want := range map[string]string{
			label + ".example.":            "xNAME",
			label + ".more.of.it.example.": "x" + label + ".example.",
			"n.example.":                   "xNAMEexample.",
		} {
			_, got, _ := strings.Cut(client(t, script, "udp", name), " CNAME ")
			if got != want {
				t.Errorf("from %s to %q, want %q", name, got, want)
			}
		}
	})
}

// TestHostile checks that the names of AskHostile meet every hostility, and that a probe gets one normal answer.
func TestHostile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		met := map[[2]string]int{}
		for i := range 150 {
			name := fmt.Sprintf("n%d.example.", i)
			met[[2]string{client(t, Hostile(t), "udp", name), client(t, Hostile(t), "tcp", name)}]++
		}
		for name, want := range hostilities {
			if met[want] == 0 {
				t.Errorf("%s is never met", name)
			}
			delete(met, want)
		}
		if len(met) > 0 {
			t.Errorf("also met: %v", met)
		}
		if got, want := client(t, Hostile(t), "udp", "."), "NOERROR 1 of . 300 IN NS a.root.example."; strings.ReplaceAll(got, "NAME", ".") != want {
			t.Errorf("a probe gets %q, want %q", got, want)
		}
	})
}

// TestHostileServers checks that only the last server is on loopback.
func TestHostileServers(t *testing.T) {
	if got := HostileServers(); !slices.Equal(got, []string{"192.0.2.1", "192.0.2.2", "127.0.0.1"}) {
		t.Errorf("%q", got)
	}
}
