package dnswire

import (
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestCutReplies cuts replies after each octet. A beginning is refused, unless the cut is between two records:
// then the records before it are read, as the codec of miekg does, although the header counts more.
func TestCutReplies(t *testing.T) {
	for typ, zone := range map[dns.Type]string{
		dns.TypeMX:  "x.example MX 5 m.example\nx.example MX 6 n.x.example",
		dns.TypeTXT: `x.example TXT "ab" "c"`,
		dns.TypeA:   "x.example CNAME y.example\ny.example A 192.0.2.1",
		dns.TypePTR: "x.example PTR h.example",
	} {
		question, err := NewQuestion("x.example", typ)
		if err != nil {
			t.Fatal(err)
		}
		q := question.Pack(Options{EDNS: true})
		wire := nameserver.Respond(t, q.Packet, 0, zone)
		whole, failed := q.Decode(wire)
		if failed != nil || len(whole.Answer.Records) == 0 {
			t.Fatalf("%s: %+v, %v", typ, whole, failed)
		}
		read := 0
		for n := range wire {
			if q.Match(wire[:n:n]) != Whole {
				continue
			}
			r, err := q.Decode(wire[:n:n])
			if err != nil {
				continue
			}
			if read++; len(r.Answer.Records) >= len(whole.Answer.Records) {
				t.Errorf("%s, %d of %d octets: %+v", typ, n, len(wire), r.Answer)
			}
		}
		if most := strings.Count(zone, "\n") + 1; read > most { // after the question, and after each record but the last
			t.Errorf("%s: %d cuts were read, want at most %d", typ, read, most)
		}
	}
}
