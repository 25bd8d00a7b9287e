package dnswire

import (
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestCutReplies cuts replies after each octet. None of the beginnings is an answer.
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
		for n := range wire {
			if q.Match(wire[:n:n]) != Whole {
				continue
			}
			if r, err := q.Decode(wire[:n:n]); err == nil {
				t.Errorf("%s, %d of %d octets: %+v", typ, n, len(wire), r.Answer)
			}
		}
	}
}
