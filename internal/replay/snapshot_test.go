package replay

import (
	"context"
	"encoding/json"
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
	if _, err := OpenSnapshot("/absent/dns.jsonl", nobody{t: t}); err == nil || err.Error() != "replay: DNS snapshot: open /absent/dns.jsonl: no such file or directory" {
		t.Errorf("a file that cannot be made: %v", err)
	}
	// A run can go on after one that was interrupted, also while that wrote the header.
	for _, text := range []string{"", "{", header[:30], header[:len(header)-1], `{"sekimori_dns_snapshot":` + strings.Repeat("7", 300), header, header + good, header + good + good[:7]} {
		path := write(t, "dns.jsonl", text)
		for _, network := range []dns.Resolver{nameserver.Zone(t, "a.example A 192.0.2.7\nb.example A 192.0.2.8\n"), nobody{t: t}} {
			s := open(t, path, network)
			for _, name := range []dns.Name{"a.example", "b.example"} {
				if _, err := s.Lookup(t.Context(), name, dns.TypeA); err != nil {
					t.Errorf("%.40q: %v", text, err)
				}
			}
			closed(t, s)
		}
		if raw, err := os.ReadFile(path); err != nil || strings.Count(string(raw), "\n") != 3 || !strings.HasPrefix(string(raw), header[:len(`{"sekimori_dns_snapshot":1,"created":"20`)]) {
			t.Errorf("%.40q: %v: %q", text, err, raw)
		}
	}
}

// TestSnapshotLine checks what the file has of an answer, and that it is the same answer when it is read.
func TestSnapshotLine(t *testing.T) {
	q := question{"a.example", dns.TypeMX}
	failed := func(k dns.ErrorKind) error { return &dns.Error{Kind: k, Name: "a.example", Type: dns.TypeMX} }
	for _, tt := range []struct {
		name   string
		answer dns.Answer
		err    error
		want   string
	}{
		{"all parts", dns.Answer{Name: "a.example", Type: dns.TypeMX, Canonical: "b.example", TTL: time.Minute, Authenticated: true, Cached: true, Records: []dns.Record{
			{Host: "m.example", Preference: 10}, {Addr: netip.MustParseAddr("192.0.2.1")}, {Text: "t\xff"}}}, nil,
			`{"name":"a.example","type":"MX","canonical":"b.example","records":[{"host":"m.example","preference":10},{"addr":"192.0.2.1"},{"text":{"base64":"dP8="}}],"ttl":60,"ad":true}`},
		{"no such name", dns.Answer{Name: "a.example", Type: dns.TypeMX, Status: dns.NXDomain, Cached: true}, nil, `{"name":"a.example","type":"MX","status":"NXDOMAIN"}`},
		{"a failure", dns.Answer{}, failed(dns.KindTimeout), `{"name":"a.example","type":"MX","error":"timeout"}`},
		{"refused", dns.Answer{}, failed(dns.KindRefused), `{"name":"a.example","type":"MX","error":"refused"}`},
		{"no slot", dns.Answer{}, failed(dns.KindBudget), `null`},
		{"given up", dns.Answer{}, failed(dns.KindCanceled), `null`},
		{"another error", dns.Answer{}, errors.New("odd"), `null`},
	} {
		l := newSnapshotLine(q, tt.answer, tt.err)
		raw, err := json.Marshal(l)
		if err != nil || string(raw) != tt.want {
			t.Errorf("%s: %s, %v", tt.name, raw, err)
			continue
		}
		if l == nil {
			continue
		}
		var read snapshotLine
		if err := json.Unmarshal(raw, &read); err != nil {
			t.Fatal(err)
		}
		if got, err := read.answer(); !reflect.DeepEqual(got, tt.answer) || !reflect.DeepEqual(err, tt.err) {
			t.Errorf("%s: read as %+v, %v", tt.name, got, err)
		}
	}
	if _, err := (&snapshotLine{Name: "a.example", Type: dns.TypeMX, Error: "sunspots"}).answer(); !reflect.DeepEqual(err, failed(dns.KindServFail)) {
		t.Errorf("a newer version's failure: %#v", err)
	}
	var o octets
	for _, text := range []string{`{"base64":"?"}`, `{`, `7`} {
		if err := o.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is read as %q", text, o)
		}
	}
}

// ends is a resolver that answers when its context has ended.
type ends struct {
	dns.LookupOnly
	kind   dns.ErrorKind // 0: it has an answer
	queued bool
}

func (e *ends) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	<-ctx.Done()
	if e.kind == 0 {
		return dns.Answer{Name: name, Type: typ}, nil
	}
	return dns.Answer{}, &dns.Error{Kind: e.kind, Name: name, Type: typ}
}

func (e *ends) Queued() bool { return e.queued }

// TestSnapshotEnds checks how long a question can take, and what is kept of one that did not end in time
// or that ended because the run was interrupted.
func TestSnapshotEnds(t *testing.T) {
	for _, tt := range []struct {
		name      string
		network   ends
		interrupt bool
		want      Use
	}{
		{"too late", ends{kind: dns.KindTimeout}, false, Use{Asked: 1, Kept: 1, Failures: 1}},
		{"given up", ends{kind: dns.KindCanceled}, false, Use{Asked: 1, Failures: 1}},
		{"answered at last", ends{}, false, Use{Asked: 1, Kept: 1}},
		{"interrupted", ends{kind: dns.KindCanceled}, true, Use{Asked: 1, Failures: 1}},
		{"interrupted, with a failure that says nothing", ends{kind: dns.KindNetwork}, true, Use{Asked: 1, Failures: 1}},
		{"interrupted, with an answer", ends{}, true, Use{Asked: 1, Kept: 1}},
	} {
		path := filepath.Join(t.TempDir(), "dns.jsonl")
		synctest.Test(t, func(t *testing.T) {
			s, begin := open(t, path, &tt.network), time.Now()
			go func() { _, _ = s.Lookup(context.WithoutCancel(t.Context()), "a.example", dns.TypeA) }()
			synctest.Wait()
			use, err := s.Close(tt.interrupt)
			took := map[bool]time.Duration{false: 15 * time.Second}[tt.interrupt]
			if err != nil || use != tt.want || time.Since(begin) != took {
				t.Errorf("%s: %+v after %v, %v", tt.name, use, time.Since(begin), err)
			}
		})
	}
	for queued, want := range map[bool]dns.ErrorKind{false: dns.KindTimeout, true: dns.KindBudget} {
		s := open(t, filepath.Join(t.TempDir(), "dns.jsonl"), &ends{queued: queued})
		ctx, cancel := context.WithDeadline(t.Context(), time.Now())
		_, err := s.Lookup(ctx, "a.example", dns.TypeA)
		var failed *dns.Error
		if !errors.As(err, &failed) || failed.Kind != want {
			t.Errorf("queued %t: %v", queued, err)
		}
		cancel()
		if _, err := s.Close(true); err != nil {
			t.Error(err)
		}
	}
}

// TestSnapshotFails checks that after a failed write nothing more is written, that answers are used all the
// same, and that Close says so.
func TestSnapshotFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dns.jsonl")
	s := open(t, path, nameserver.Zone(t, snapshotZone))
	file := s.file
	var err error
	if s.file, err = os.Open(path); err != nil { // only for reading
		t.Fatal(err)
	}
	for range 2 {
		if a, err := s.Lookup(t.Context(), "a.example", dns.TypeA); err != nil || len(a.Records) != 1 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if err := s.file.Close(); err != nil {
		t.Fatal(err)
	}
	s.file = file
	if a, err := s.Lookup(t.Context(), "a.example", dns.TypeMX); err != nil || len(a.Records) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	if use, err := s.Close(false); use != (Use{FromSnapshot: 1, Asked: 2}) || err == nil || err.Error() != "replay: DNS snapshot is not complete: write "+path+": bad file descriptor" {
		t.Errorf("%+v, %v", use, err)
	}
	if raw, err := os.ReadFile(path); err != nil || strings.Count(string(raw), "\n") != 1 {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestSnapshotSyncs checks how often the file is synced to disk.
func TestSnapshotSyncs(t *testing.T) {
	path, z := filepath.Join(t.TempDir(), "dns.jsonl"), nameserver.Zone(t, snapshotZone)
	synctest.Test(t, func(t *testing.T) {
		s, begin := open(t, path, z), time.Now()
		for i, tt := range []struct{ wait, synced time.Duration }{{syncInterval - 1, 0}, {1, syncInterval}, {syncInterval - 1, syncInterval}, {2, 2*syncInterval + 1}} {
			time.Sleep(tt.wait)
			if _, err := s.Lookup(t.Context(), dns.Name(strings.Repeat("x", i+1)+".example"), dns.TypeA); err != nil {
				t.Fatal(err)
			}
			if got := s.synced.Sub(begin); got != tt.synced {
				t.Errorf("answer %d: synced at %v, want %v", i, got, tt.synced)
			}
		}
		closed(t, s)
	})
}

// long is a resolver that answers with one text.
type long struct {
	dns.LookupOnly
	text string
}

func (l *long) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return dns.Answer{Name: name, Type: typ, Records: []dns.Record{{Text: l.text}}}, nil
}

// TestLongestAnswer checks that the longest line that is written can be read, and that a longer one is not
// written.
func TestLongestAnswer(t *testing.T) {
	around := len(`{"name":"a.example","type":"TXT","records":[{"text":""}]}` + "\n")
	for more, want := range map[int]Use{0: {Asked: 1, Kept: 1}, 1: {Asked: 1}} {
		path := filepath.Join(t.TempDir(), "dns.jsonl")
		network := &long{text: strings.Repeat("x", maxSnapshotLine-around+more)}
		s := open(t, path, network)
		if _, err := s.Lookup(t.Context(), "a.example", dns.TypeTXT); err != nil {
			t.Error(err)
		}
		if use := closed(t, s); use != want {
			t.Errorf("%d more: %+v", more, use)
		}
		s = open(t, path, network)
		a, found := s.Peek("a.example", dns.TypeTXT)
		if found != (want.Kept > 0) || found && a.Records[0].Text != network.text {
			t.Errorf("%d more: found %t", more, found)
		}
		if use := closed(t, s); use.FromSnapshot != want.Kept {
			t.Errorf("%d more: %+v", more, use)
		}
	}
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
