package consent

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
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
