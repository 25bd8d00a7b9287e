package replay

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

const snapshotZone = `
a.example       A 192.0.2.1
a.example       TXT "v=spf1 \200\"x -all"
a.example       MX 10 mx.a.example.
www.a.example   CNAME a.example.
1.2.0.192.in-addr.arpa PTR a.example.
! slow.example A servfail
`

// asked is a resolver that counts the questions that are sent to the network.
type asked struct {
	dns.LookupOnly
	next dns.Resolver
	n    atomic.Int64
}

func (a *asked) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	a.n.Add(1)
	return a.next.Lookup(ctx, name, typ)
}

// nobody is a resolver that must not be asked. If it is asked, the test fails.
type nobody struct {
	dns.LookupOnly
	t *testing.T
}

func (n nobody) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	n.t.Errorf("%s %s was asked", name, typ)
	return dns.Answer{}, &dns.Error{Kind: dns.KindNetwork, Name: name, Type: typ}
}

func open(t *testing.T, path string, next dns.Resolver) *Snapshot {
	t.Helper()
	s, err := OpenSnapshot(path, next)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t *testing.T, s *Snapshot) Use {
	t.Helper()
	use, err := s.Close(false)
	if err != nil {
		t.Fatal(err)
	}
	return use
}

// TestSnapshot checks that a second run gets the same answers, octet for octet, and sends no
// question to the network.
func TestSnapshot(t *testing.T) {
	questions := []question{
		{"a.example", dns.TypeA}, {"a.example", dns.TypeTXT}, {"a.example", dns.TypeMX}, {"www.a.example", dns.TypeA},
		{"1.2.0.192.in-addr.arpa", dns.TypePTR}, {"none.example", dns.TypeTXT}, {"a.example", dns.TypeAAAA}, {"slow.example", dns.TypeA},
	}
	path := filepath.Join(t.TempDir(), "dns.jsonl")
	network := &asked{next: nameserver.Zone(t, snapshotZone)}
	s := open(t, path, network)
	var first []dns.Answer
	for range 2 {
		first = nil
		for _, q := range questions {
			a, err := s.Lookup(t.Context(), q.name, q.typ)
			if (err != nil) != (q.name == "slow.example") {
				t.Fatalf("%v: %v", q, err)
			}
			first = append(first, a)
		}
	}
	if use := closed(t, s); use != (Use{FromSnapshot: 8, Asked: 8, Kept: 8, Failures: 2}) || network.n.Load() != 8 {
		t.Errorf("%+v, %d questions", use, network.n.Load())
	}
	s = open(t, path, nobody{t: t})
	for i, q := range questions {
		a, err := s.Lookup(t.Context(), q.name, q.typ)
		if q.name == "slow.example" {
			var failed *dns.Error
			if !errors.As(err, &failed) || failed.Kind != dns.KindServFail || failed.Name != q.name {
				t.Errorf("failure: %v", err)
			}
			continue
		}
		a.Cached, a.Server = first[i].Cached, first[i].Server
		if err != nil || !reflect.DeepEqual(a, first[i]) {
			t.Errorf("%v: %v\ngot  %+v\nwant %+v", q, err, a, first[i])
		}
	}
	if use := closed(t, s); use != (Use{FromSnapshot: 8, Failures: 1}) {
		t.Errorf("second run: %+v", use)
	}
}

func TestSnapshotFile(t *testing.T) {
	const header = `{"sekimori_dns_snapshot":1,"created":"2026-11-22T00:00:00Z"}` + "\n"
	const good = `{"name":"a.example","type":"A","records":[{"addr":"192.0.2.7"}],"ttl":60}` + "\n"
	for _, tt := range []struct {
		name, text string
		err        string
		known      int
		left       string // the content of the file afterwards; "" means that it is still text
	}{
		{"a line that was never finished", header + good + `{"name":"b.exa`, "", 1, header + good},
		{"of two answers the last counts", header + strings.Replace(good, "2.7", "2.8", 1) + good, "", 1, ""},
		{"a failure", header + good + `{"name":"b.example","type":"TXT","error":"timeout"}` + "\n", "", 2, ""},
		{"a newer version's failure", header + good + `{"name":"b.example","type":"TXT","error":"sunspots"}` + "\n", "", 2, ""},
		{"broken in the middle", header + "{\n" + good, "line 2", 0, ""},
		{"no address", header + strings.Replace(good, "192.0.2.7", "here", 1), "line 2", 0, ""},
		{"no type", header + strings.Replace(good, `"A"`, `"a"`, 1), "line 2", 0, ""},
		{"another version", strings.Replace(header, ":1,", ":2,", 1), "version 2", 0, ""},
		{"another file", "mode: enforce\n", "not a DNS snapshot", 0, ""},
		{"another file without a line end", "my only copy", "not a DNS snapshot", 0, ""},
		{"another JSON file", "{}\n", "not a DNS snapshot", 0, ""},
		{"a line that is too long", header + strings.Repeat("x", maxSnapshotLine) + "\n", "line 2", 0, ""},
		{"a good line with too many spaces", header + strings.TrimSpace(good) + strings.Repeat(" ", maxSnapshotLine) + "\n", "line 2", 0, ""},
	} {
		path := write(t, "dns.jsonl", tt.text)
		s, err := OpenSnapshot(path, nameserver.Zone(t, "a.example A 192.0.2.9\n"))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if raw, _ := os.ReadFile(path); string(raw) != tt.text {
				t.Errorf("%s: the file was changed: %.100q", tt.name, raw)
			}
			continue
		}
		if err != nil || len(s.known) != tt.known {
			t.Fatalf("%s: %v, %d answers", tt.name, err, len(s.known))
		}
		if a, err := s.Lookup(t.Context(), "a.example", dns.TypeA); err != nil || a.Records[0].Addr != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("%s: %+v, %v", tt.name, a, err)
		}
		closed(t, s)
		if tt.left == "" {
			tt.left = tt.text
		}
		if raw, _ := os.ReadFile(path); string(raw) != tt.left {
			t.Errorf("%s: the file is %q", tt.name, raw)
		}
	}
	// A snapshot can also be used after a run that was interrupted while it wrote the header.
	path := write(t, "dns.jsonl", header[:30])
	s := open(t, path, nameserver.Zone(t, "a.example A 192.0.2.9\n"))
	if _, err := s.Lookup(t.Context(), "a.example", dns.TypeA); err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	closed(t, open(t, path, nobody{t: t}))
}

// TestSnapshotIsOneRuns checks that a second run cannot open the file at the same time. Otherwise
// the lines of both runs could be mixed.
func TestSnapshotIsOneRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dns.jsonl")
	s := open(t, path, nobody{t: t})
	if _, err := OpenSnapshot(path, nobody{t: t}); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("opened twice: %v", err)
	}
	closed(t, s)
	closed(t, open(t, path, nobody{t: t}))
}

// late is a resolver that answers after some time.
type late struct {
	dns.LookupOnly
	next  dns.Resolver
	after time.Duration
	n     atomic.Int64
}

func (l *late) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	l.n.Add(1)
	select {
	case <-time.After(l.after):
		return l.next.Lookup(ctx, name, typ)
	case <-ctx.Done():
		return dns.Answer{}, &dns.Error{Kind: dns.KindTimeout, Name: name, Type: typ, Err: ctx.Err()}
	}
}

// TestSnapshotOutlivesTheMessage: a message gives up waiting when its time is over, but its
// question continues and the answer is stored. Another message that asks the same question gets
// that answer. Only an interruption of the run ends the question.
func TestSnapshotOutlivesTheMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dns.jsonl")
	z := nameserver.Zone(t, snapshotZone)
	synctest.Test(t, func(t *testing.T) {
		network := &late{next: z, after: 5 * time.Second}
		s := open(t, path, network)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if a, err := s.Lookup(t.Context(), "a.example", dns.TypeA); err != nil || len(a.Records) != 1 {
				t.Errorf("the message that waits: %+v, %v", a, err)
			}
		})
		var failed *dns.Error
		if _, err := s.Lookup(ctx, "a.example", dns.TypeA); !errors.As(err, &failed) || failed.Kind != dns.KindTimeout {
			t.Errorf("the message that gives up: %v", err)
		}
		wg.Wait()
		synctest.Wait()
		go func() { _, _ = s.Lookup(t.Context(), "a.example", dns.TypeMX) }()
		synctest.Wait()
		use, err := s.Close(true)
		if err != nil || use.Kept != 1 || network.n.Load() != 2 {
			t.Errorf("%+v, %v, %d questions", use, err, network.n.Load())
		}
		synctest.Wait()
		s = open(t, path, network)
		if _, err := s.Lookup(t.Context(), "a.example", dns.TypeA); err != nil || network.n.Load() != 2 {
			t.Errorf("%v, %d questions", err, network.n.Load())
		}
		go func() { _, _ = s.Lookup(t.Context(), "a.example", dns.TypeMX) }()
		synctest.Wait()
		if use := closed(t, s); use != (Use{FromSnapshot: 1, Asked: 1, Kept: 1}) {
			t.Errorf("a run that was not interrupted waits: %+v", use)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"name":"a.example","type":"TXT","records":[{"text":{"base64":"/w=="}}]}`))
	f.Add([]byte(`{"name":"a.example","type":"A","error":"timeout"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		s := &Snapshot{known: map[question]*result{}}
		if s.read(line, 2) != nil {
			return
		}
		for q, r := range s.known {
			a, err := r.answer, r.err
			again := newSnapshotLine(q, a, err)
			if b, err2 := again.answer(); (err == nil) != (err2 == nil) || err == nil && !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %+v, then %+v", line, a, b)
			}
		}
	})
}

// TestAskedAfterClose checks that a question after Close fails at once and asks nobody.
func TestAskedAfterClose(t *testing.T) {
	z := nameserver.Zone(t, zoneText())
	s := open(t, filepath.Join(t.TempDir(), "dns.jsonl"), z)
	if s.Expect(t.Context(), "bank.example", dns.TypeTXT) || len(z.Queries()) != 0 {
		t.Error("a question whose answer would not be kept was asked early")
	}
	closed(t, s)
	_, err := s.Lookup(t.Context(), "bank.example", dns.TypeTXT)
	var failed *dns.Error
	if !errors.As(err, &failed) || failed.Kind != dns.KindCanceled || len(z.Queries()) != 0 {
		t.Errorf("%v; asked %q", err, z.Queries())
	}
}
