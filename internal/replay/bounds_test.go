package replay

import (
	"strconv"
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

// TestHeaderBound checks the length of the longest header that is read whole.
func TestHeaderBound(t *testing.T) {
	field := []byte("X: " + strings.Repeat("y", 1<<16-5) + "\r\n")
	for more, want := range map[int]bool{-1: true, 0: true, 1: false} {
		var fields []chunk
		for range maxHeader/len(field) - 1 {
			fields = append(fields, chunk{data: field, first: true})
		}
		fields = append(fields, chunk{data: field[:len(field)-2+more], first: true}, chunk{data: []byte("\r\n"), first: true})
		h, rest, whole, err := readHeader(linesFunc(func() (c chunk, err error) {
			c, fields = fields[0], fields[1:]
			return c, nil
		}))
		if err != nil || whole != want || len(rest) > 0 || len(h) != maxHeader/len(field) || len(fields) != 0 {
			t.Errorf("%d octets more: %d fields, whole %t, %q, %v", more, len(h), whole, rest, err)
		}
	}
}

// TestSnapshotIsBounded checks that an answer beyond maxAnswers is used, but not kept.
func TestSnapshotIsBounded(t *testing.T) {
	path := t.TempDir() + "/dns.jsonl"
	s := open(t, path, zoneFor(t))
	s.known = make(map[question]*result, maxAnswers)
	some := &result{}
	for i := range maxAnswers - 1 {
		s.known[question{dns.Name(strconv.Itoa(i)), dns.TypeA}] = some
	}
	for _, name := range []dns.Name{"bank.example", "shop.example"} {
		if a, err := s.Lookup(t.Context(), name, dns.TypeTXT); err != nil || len(a.Records) != 1 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if use := closed(t, s); use.Kept != 1 || use.Asked != 2 || len(s.known) != maxAnswers {
		t.Errorf("%+v, %d known", use, len(s.known))
	}
	for _, want := range []int{maxAnswers, maxAnswers} {
		if err := s.read([]byte(`{"name":"a.example","type":"A"}`), 2); err != nil || len(s.known) != want {
			t.Errorf("%d known, want %d, %v", len(s.known), want, err)
		}
		delete(s.known, question{"1", dns.TypeA})
	}
}
