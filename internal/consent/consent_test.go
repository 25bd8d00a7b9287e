package consent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/policy"
)

// tally records the calls of the functions in Options.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	loads  []error
	panics int
}

func (c *tally) options(o Options) Options {
	c.counts = map[string]int{}
	o.Count = func(source, result string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counts[source+" "+result]++
	}
	o.Loaded = func(_ time.Time, err error) { c.loads = append(c.loads, err) }
	o.OnPanic = func(any) { c.panics++ }
	if o.Default == "" {
		o.Default = policy.In
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

func open(t *testing.T, o Options) (*Directory, *tally) {
	t.Helper()
	c := &tally{}
	d, err := New(c.options(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, c
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "exceptions")
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const exceptions = `# opted out
Taro@Example.JP
@quiet.example   # everybody there
user+tag@example.jp
"we ird"@example.jp
a#b@example.jp
@例え.example
`

func TestFile(t *testing.T) {
	d, seen := open(t, Options{File: write(t, "", exceptions)})
	for _, tt := range []struct {
		typed, rewritten string
		want             policy.Class
		why              string
	}{
		{"<taro@example.jp>", "", policy.Out, "listed"},
		{"<TARO@EXAMPLE.jp>", "", policy.Out, "case says nothing, in the local part too"},
		{"taro@example.jp", "", policy.Out, "typed without brackets"},
		{"<@relay.example,@b.example:taro@example.jp>", "", policy.Out, "a route is dropped"},
		{`<"taro"@example.jp>`, "", policy.Out, "quotes that need not be"},
		{`<"ta\ro"@example.jp>`, "", policy.Out, "quoted pairs that need not be"},
		{"<taro@example.jp.>", "", policy.Out, "the root's dot"},
		{"<hanako@example.jp>", "", policy.In, "not listed"},
		{"<anyone@QUIET.example>", "", policy.Out, "a whole domain"},
		{"<anyone@sub.quiet.example>", "", policy.In, "not its subdomains"},
		{"<taro@example.jp@quiet.example.org>", "", policy.Out, "no address: failed"},
		{"<user+tag@example.jp>", "", policy.Out, "an address with a tag is one of its own"},
		{"<user@example.jp>", "", policy.In, "and says nothing of the one without"},
		{`<"we ird"@example.jp>`, "", policy.Out, "a space in quotes"},
		{"<a#b@example.jp>", "", policy.Out, "a # within an address begins no comment"},
		{"<x@xn--r8jz45g.example>", "", policy.Out, "A-labels"},
		{"<x@例え.example>", "", policy.Out, "U-labels"},
		{"<taro>", "taro@example.jp", policy.Out, "the MTA added the domain"},
		{"<taro%example.jp@mx.example>", "taro@example.jp", policy.Out, "the MTA follows the percent sign"},
		{"<taro@example.jp>", "taro", policy.Out, "Sendmail's form for local mail: the typed one says more"},
		{`<"we ird"@example.jp>`, "we ird@example.jp", policy.Out, "an internal form that is not an address"},
		{"<postmaster>", "", policy.In, "no domain, not listed"},
		{"<taro@[192.0.2.1]>", "", policy.In, "a literal is another address"},
		{"<>", "", policy.Out, "the null address: failed"},
		{"", "", policy.Out, "nothing: failed"},
		{"<ta\x00ro@example.jp>", "", policy.Out, "NUL: failed"},
		{"<a b@example.jp>", "", policy.Out, "a space without quotes: failed"},
		{"<hanako+\x01@example.jp>", "hanako+\x01@example.jp", policy.In, "a control octet, which Postfix delivers"},
		{"<\"hanako+\x7f\"@example.jp>", "hanako+\x7f@example.jp", policy.In, "another, in quotes"},
		{"<hanako+\x01@example.jp>", "hanako+\x01", policy.In, "Sendmail's form of it"},
		{"<hanako+\xff@example.jp>", "", policy.In, "8-bit octets that are not UTF-8"},
		{`<""@example.jp>`, "@example.jp", policy.In, "an empty local part, which Postfix may accept"},
		{"<@example.jp>", "", policy.In, "the same"},
		{"<@quiet.example>", "@quiet.example", policy.Out, "an empty local part at a domain that is listed"},
		{"<@>", "", policy.Out, "neither a local part nor a domain: failed"},
		{"<x\x01@quiet.example>", "", policy.Out, "whose whole domain is listed"},
		{"<" + strings.Repeat("x", 3000) + "@example.jp>", "", policy.Out, "too long: failed"},
	} {
		got, ok := d.Known(tt.typed, tt.rewritten)
		if !ok || got != tt.want {
			t.Errorf("%q %q: %s, %t; want %s: %s", tt.typed, tt.rewritten, got, ok, tt.want, tt.why)
		}
	}
	if seen.counts["address failed"] != 7 || seen.counts["file out"] == 0 || seen.counts["default in"] == 0 {
		t.Errorf("counted %v", seen.counts)
	}
}

// TestDefaultOut checks that with the default out, the recipients in the file
// have the class in.
func TestDefaultOut(t *testing.T) {
	d, _ := open(t, Options{Default: policy.Out, File: write(t, "", "agreed@example.jp\n")})
	for typed, want := range map[string]policy.Class{"<agreed@example.jp>": policy.In, "<other@example.jp>": policy.Out, "<a@b@c>": policy.Out} {
		if got, ok := d.Known(typed, ""); !ok || got != want {
			t.Errorf("%s: %s", typed, got)
		}
	}
	all, _ := open(t, Options{Default: policy.Out})
	if got, ok := all.Known("<a@b.example>", ""); !ok || got != policy.Out {
		t.Errorf("without any list: %s", got)
	}
}

func TestBadFile(t *testing.T) {
	for _, tt := range []struct{ reason, text, want string }{
		{"a word", "taro@example.jp\n\nnobody\n", `:3: "nobody" is neither an address`},
		{"a value beside the address", "taro@example.jp out\n", `:1: "taro@example.jp out" is neither`},
		{"two addresses", "a@b.example,c@d.example\n", ":1: "},
		{"brackets", "<a@b.example>\n", ":1: "},
		{"an at sign alone", "@\n", ":1: "},
		{"no local part, which would be a whole domain", "\"\"@b.example\n", ":1: "},
		{"a control octet", "a\x01b@c.example\n", ":1: "},
		{"a domain that is not a host name", "a@b..example\n", ":1: "},
		{"a wildcard", "*@b.example\n@*.b.example\n", ":2: "},
		{"an address literal", "a@[192.0.2.1]\n", ":1: "},
		{"NUL", "a\x00b@c.example\n", ":1: "},
		{"Latin-1", "a@b.example\nm\xfcller@b.example\n", ":2: the line is not UTF-8"},
		{"a long line", "a@b.example\n" + strings.Repeat("x", maxListLine+3) + "\n", ":2: the line is longer than 1024 octets"},
		{"a comment too close", "a@b.example# mine\n", ":1: "},
	} {
		path := write(t, "", tt.text)
		seen := &tally{}
		_, err := New(seen.options(Options{File: path}))
		if err == nil || !strings.HasPrefix(err.Error(), "consent: "+path+tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
		}
		if len(seen.loads) != 1 || seen.loads[0] == nil {
			t.Errorf("%s: the load was told as %v", tt.reason, seen.loads)
		}
	}
	if _, err := New((&tally{}).options(Options{File: "/no/such/file"})); err == nil {
		t.Error("a missing file was taken for an empty one")
	}
	if _, err := parseList("x", strings.NewReader("\ufeffa@b.example\r\n\r\n  # c\r\n@d.example")); err != nil {
		t.Errorf("byte order mark, CRLF, no end of line: %v", err)
	}
}

// endless is a reader that returns lines of comments without end.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
		if e.n++; e.n%1000 == 0 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}

func TestHugeFile(t *testing.T) {
	if _, err := parseList("x", &endless{}); err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Error(err)
	}
}

func TestReload(t *testing.T) {
	path := write(t, "", "a@b.example\n")
	d, seen := open(t, Options{File: path})
	class := func() policy.Class {
		c, _ := d.Known("<a@b.example>", "")
		return c
	}
	if class() != policy.Out {
		t.Fatal("the file is not read")
	}
	write(t, path, "a@b.example\nbroken\n")
	if err := d.Reload(); err == nil || class() != policy.Out {
		t.Errorf("a broken file: %v; the list before must stay", err)
	}
	write(t, path, "")
	if err := d.Reload(); err != nil || class() != policy.In {
		t.Errorf("an empty file: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := d.Reload(); err == nil || class() != policy.In {
		t.Errorf("a file that vanished: %v", err)
	}
	if len(seen.loads) != 4 || seen.loads[0] != nil || seen.loads[1] == nil || seen.loads[2] != nil || seen.loads[3] == nil {
		t.Errorf("loads were told as %v", seen.loads)
	}
}

func TestSocketmap(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		s := serve(t, network,
			table(map[string]string{"in@example.jp": "OK in", "out@example.jp": "OK Out ", "file@example.jp": "OK in", "we ird@example.jp": "OK out"}))
		d, seen := open(t, Options{Socketmap: s.target(), File: write(t, "", "file@example.jp"), CacheTTL: time.Hour})
		for range 2 { // the second round is answered from the cache
			for typed, want := range map[string]policy.Class{
				"<IN@Example.jp>": policy.In, "<out@example.jp>": policy.Out, "<nobody@example.jp>": policy.In,
				"<file@example.jp>": policy.Out, `<"we ird"@example.jp>`: policy.Out,
			} {
				if got := d.Lookup(t.Context(), typed, ""); got != want {
					t.Errorf("%s: %s, want %s", typed, got, want)
				}
			}
		}
		want := map[string]int{"socketmap in": 1, "socketmap out": 2, "default in": 1, "cache in": 2, "cache out": 2, "file out": 2}
		if !maps.Equal(seen.counts, want) {
			t.Errorf("counted %v, want %v", seen.counts, want)
		}
		if q := s.asked(); len(q) != 4 || !strings.HasPrefix(q[0], "consent ") {
			t.Errorf("asked %q", q)
		}
		if n := s.connections(); n > maxConnections {
			t.Errorf("%d connections", n)
		}
		if _, ok := d.Known("<new@example.jp>", ""); ok {
			t.Error("known without having been asked for")
		}
	}
}

// TestSocketmapFails checks that a recipient counts as opted out if the
// server's answer is a failure or cannot be parsed, and that the next lookup
// asks the server again.
func TestSocketmapFails(t *testing.T) {
	for _, tt := range []struct{ reason, answer string }{
		{"TEMP", netstring("TEMP database is away")},
		{"TIMEOUT", netstring("TIMEOUT ")},
		{"PERM", netstring("PERM no such map")},
		{"a word that is none", netstring("OK maybe")},
		{"no word", netstring("OK ")},
		{"an unknown status", netstring("YES in")},
		{"nothing", netstring("")},
		{"no netstring", "OK in\n"},
		{"a length without an end", "999999999999999999999:"},
		{"a long length", "99999:x"},
		{"over the limit", netstring("OK " + strings.Repeat("in", maxReply/2))},
		{"a negative length", "-1:,"},
		{"a leading zero", "05:OK in,"},
		{"no comma", "5:OK in;"},
		{"two answers", netstring("OK in") + netstring("OK in")},
		{"a hang-up", ""},
	} {
		s := serve(t, "tcp", func(string) string { return tt.answer })
		d, seen := open(t, Options{Socketmap: s.target(), CacheTTL: time.Hour})
		for n := range 2 {
			if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out || seen.counts["socketmap failed"] != n+1 {
				t.Errorf("%s: %s, counted %v", tt.reason, got, seen.counts)
			}
		}
	}
}

func TestSocketmapSilent(t *testing.T) {
	block := make(chan struct{})
	s := serve(t, "tcp", func(string) string { <-block; return "" })
	t.Cleanup(func() { close(block) }) // cleanups run in reverse order, so this runs before the server's stop waits
	d, seen := open(t, Options{Socketmap: s.target(), Timeout: 20 * time.Millisecond})
	for range maxSilent + 1 {
		if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out {
			t.Errorf("got %s", got)
		}
	}
	if seen.counts["socketmap failed"] != maxSilent+1 || len(s.asked()) > maxSilent {
		t.Errorf("asked %d times, counted %v: a server that is not there is left alone", len(s.asked()), seen.counts)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := d.Lookup(ctx, "<a@b.example>", ""); got != policy.Out {
		t.Errorf("an abandoned message: %s", got)
	}
}

// TestPause checks that a pause ends after its time, and that one further
// lookup without an answer then does not begin another.
func TestPause(t *testing.T) {
	m := newSocketmap(Target{}, time.Second, slog.New(slog.DiscardHandler))
	for range maxSilent {
		m.note(false, errNetstring)
	}
	if m.admit() == nil {
		t.Error("no pause")
	}
	m.paused = time.Now().Add(-time.Nanosecond)
	if err := m.admit(); err != nil {
		t.Error(err)
	}
	m.note(true, nil)
	m.note(false, errNetstring)
	if err := m.admit(); err != nil {
		t.Errorf("one lookup without an answer: %v", err)
	}
}

// TestWarningsAreBounded checks that lookups that fail and succeed in turn do
// not fill the log, and that a lasting failure is logged again when sayAfter
// has passed.
func TestWarningsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := newSocketmap(Target{}, time.Second, slog.New(slog.NewTextHandler(&log, nil)))
		told := func(what string) int { return strings.Count(log.String(), what) }
		for range 1000 {
			m.note(true, errNetstring)
			m.note(true, nil)
		}
		if w, i := told("level=WARN"), told("level=INFO"); w != 1 || i != 1 {
			t.Errorf("%d warnings, %d that it is over", w, i)
		}
		m.note(true, errNetstring)
		time.Sleep(sayAfter)
		for range 3 {
			m.note(true, errNetstring)
		}
		if w, i := told("level=WARN"), told("level=INFO"); w != 2 || i != 1 {
			t.Errorf("a minute later: %d warnings, %d that it is over", w, i)
		}
	})
}

// TestBusy checks that lookups that fail because all connections are busy do
// not lead to a pause.
func TestBusy(t *testing.T) {
	m := newSocketmap(Target{Network: "unix", Address: "/nowhere"}, time.Millisecond, slog.New(slog.DiscardHandler))
	for range maxConnections {
		<-m.slots
	}
	for range 2 * maxSilent {
		if _, _, err := m.lookup(t.Context(), "a@b.example"); !errors.Is(err, errBusy) {
			t.Fatal(err)
		}
	}
	if err := m.admit(); err != nil {
		t.Errorf("a full queue: %v", err)
	}
}

// TestReconnect checks that no lookup fails because the server closed the idle
// connections.
func TestReconnect(t *testing.T) {
	s := serve(t, "tcp", says("OK in"))
	d, seen := open(t, Options{Socketmap: s.target(), Default: policy.Out})
	for range 3 * maxConnections {
		if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.In {
			t.Fatalf("got %s, counted %v", got, seen.counts)
		}
		s.hangUp()
	}
}

// TestConcurrent checks that each of many concurrent lookups gets the answer to
// its own question, and that there are at most maxConnections connections.
func TestConcurrent(t *testing.T) {
	s := serve(t, "unix", func(q string) string {
		if strings.Contains(q, "out") {
			return netstring("OK out")
		}
		return netstring("OK in")
	})
	d, _ := open(t, Options{Socketmap: s.target()})
	var wg sync.WaitGroup
	for i := range 64 {
		typed, want := "<in@b.example>", policy.In
		if i%2 == 0 {
			typed, want = "<out@b.example>", policy.Out
		}
		wg.Go(func() {
			for range 20 {
				if got := d.Lookup(t.Context(), typed, ""); got != want {
					t.Errorf("%s: %s", typed, got)
				}
			}
		})
	}
	wg.Wait()
	if n := s.connections(); n > maxConnections {
		t.Errorf("%d connections at a time", n)
	}
}

// TestLogNamesNobody checks that the log does not show the address that a
// server repeats in its answer.
func TestLogNamesNobody(t *testing.T) {
	for _, answer := range []string{"PERM no user <Taro@example.jp> here", "OK taro@example.jp"} {
		var log strings.Builder
		s := serve(t, "tcp", says(answer))
		d, _ := open(t, Options{Socketmap: s.target(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		d.Lookup(t.Context(), "<taro@example.jp>", "")
		if got := strings.ToLower(log.String()); !strings.Contains(got, "***") || strings.Contains(got, "taro") {
			t.Errorf("logged %s", got)
		}
	}
}

// TestNoInjection checks that an address with the characters of a netstring is
// sent as part of one question.
func TestNoInjection(t *testing.T) {
	s := serve(t, "tcp", says("NOTFOUND "))
	d, _ := open(t, Options{Socketmap: s.target(), Default: policy.Out})
	d.Lookup(t.Context(), `<"x,7:a b@c.d,"@b.example>`, "")
	if q := s.asked(); len(q) != 1 || q[0] != "consent x,7:a b@c.d,@b.example" {
		t.Errorf("asked %q", q)
	}
}

func TestCacheIsBounded(t *testing.T) {
	c, err := newCache(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxCached + 1000 {
		c.put(string(rune('a'+i%26))+strings.Repeat("x", i%3)+time.Duration(i).String(), policy.In)
	}
	c.store.CleanUp()
	if n := c.store.EstimatedSize(); n > maxCached {
		t.Errorf("%d answers are kept", n)
	}
	old := &cache{ttl: time.Hour, start: time.Now().Add(-2 * time.Hour), store: c.store}
	c.put("a", policy.In)
	if _, ok := old.get("a"); ok {
		t.Error("an answer past its time is used")
	}
	if _, ok := c.get("a"); !ok {
		t.Error("an answer in its time is not")
	}
}

func TestClosed(t *testing.T) {
	s := serve(t, "tcp", says("OK in"))
	d, _ := open(t, Options{Socketmap: s.target()})
	if got := d.Lookup(t.Context(), "<a@b.example>", ""); got != policy.In {
		t.Fatalf("got %s", got)
	}
	d.Close()
	d.Close()
	if got := d.Lookup(t.Context(), "<b@b.example>", ""); got != policy.Out {
		t.Errorf("after Close: %s", got)
	}
}

func TestPanic(t *testing.T) {
	d, seen := open(t, Options{Socketmap: "unix:/nowhere:x"})
	d.ask = nil
	d.o.Default = policy.In
	d.seen = nil
	// This Directory has no cache, so Lookup panics.
	if got := (&Directory{o: d.o, ask: &socketmap{}}).Lookup(t.Context(), "<a@b.example>", ""); got != policy.Out || seen.panics != 1 {
		t.Errorf("got %s, %d panics", got, seen.panics)
	}
}

func TestParseSocketmap(t *testing.T) {
	for in, want := range map[string]Target{
		"unix:/run/map.sock:consent": {"unix", "/run/map.sock", "consent"},
		"unix:/run/a:b:consent":      {"unix", "/run/a:b", "consent"},
		"inet:localhost:9999:x":      {"tcp", "localhost:9999", "x"},
		"inet:[::1]:9999:x":          {"tcp", "[::1]:9999", "x"},
	} {
		if got, err := ParseSocketmap(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "unix:", "unix:/x", "unix:/x:", "unix:x:y", "inet:x:y", "inet::9:y", "inet:h::y", "hash:/x:y", "unix:/x:a b", "unix::x"} {
		if got, err := ParseSocketmap(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}
