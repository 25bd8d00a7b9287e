package replay

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
)

// TestHeaderIsBounded: of a very long header, only the beginning is kept in memory, and the message
// is judged as one that is over the limit. The next message is judged as usual.
func TestHeaderIsBounded(t *testing.T) {
	huge := "From: a@bank.example\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\n", maxHeader/1000)
	r := replayed(t, write(t, "box",
		delivered("a@bank.example", "192.0.2.1", day, huge+"\nbody\n")+
			delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\nX: "+strings.Repeat("y", 300<<10)+"\n\nbody\n")+
			delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\nbody\n")), func(o *Options) {
		o.Config.Limits.HeaderBytes, o.Config.Limits.HeaderFields = config.Size(64<<20), 1<<30
	})
	if r.Reasons[policy.ReasonOversize] != 2 || r.Reasons[policy.ReasonAligned] != 1 || r.Bad != 0 {
		t.Errorf("%+v", r)
	}
	h, rest, whole, err := readHeader(newLineReader(strings.NewReader(huge)))
	if err != nil || whole || rest != nil || len(h) > maxHeader/1000 {
		t.Errorf("%d fields, whole %t, %v", len(h), whole, err)
	}
	if _, _, _, err := readHeader(newLineReader(strings.NewReader("\n\n"))); err == nil {
		t.Error("an empty message has a header")
	}
	if _, rest, whole, err := readHeader(newLineReader(strings.NewReader("A: 1\r\nno field\r\n\r\nbody"))); err != nil || !whole ||
		string(rest) != "no field\r\n\r\n" {
		t.Errorf("a header that ends by itself: %q, %t, %v", rest, whole, err)
	}
}

// TestSnapshotIsBounded checks that an answer beyond maxAnswers is used, but not kept.
func TestSnapshotIsBounded(t *testing.T) {
	path := t.TempDir() + "/dns.jsonl"
	s := open(t, path, zoneFor(t))
	some := &result{}
	for i := range maxAnswers {
		s.known[question{dns.Name(fmt.Sprintf("n%d", i)), dns.TypeA}] = some
	}
	if a, err := s.Lookup(t.Context(), "bank.example", dns.TypeTXT); err != nil || len(a.Records) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if use := closed(t, s); use.Kept != 0 || use.Asked != 1 {
		t.Errorf("%+v", use)
	}
}
