package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/policy"
	"sekimori/internal/received"
)

// TestSameOnAnyCores checks that the summary does not depend on the number of cores.
func TestSameOnAnyCores(t *testing.T) {
	raw, err := os.ReadFile(corpus(t))
	if err != nil {
		t.Fatal(err)
	}
	mail := append(strings.SplitAfter(string(raw), "\n\nFrom "),
		delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\n"+strings.Repeat("long\n", 40_000))) // needs several blocks
	for i := range mail {
		if text, found := strings.CutSuffix(mail[i], "From "); found {
			mail[i], mail[i+1] = text, "From "+mail[i+1]
		}
	}
	mail = slices.Repeat(mail, 10) // more messages than may be in progress
	dir := t.TempDir()
	for i, text := range mail {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.eml", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "005a.eml")); err != nil {
		t.Fatal(err)
	}
	for path, bad := range map[string]string{write(t, "box", strings.Join(mail, "")): `"bad":10,`, dir: `"bad":11,`} {
		snapshot := filepath.Join(t.TempDir(), "dns.jsonl")
		summaryWith(t, 2, path, snapshot) // takes all answers into the snapshot
		first := summaryWith(t, 1, path, snapshot)
		for _, cores := range []int{4, 4, 2} {
			if got := summaryWith(t, cores, path, snapshot); got != first {
				t.Errorf("%s: with %d cores\n%s\nwith one core\n%s", path, cores, got, first)
			}
		}
		if !strings.Contains(first, bad) || !strings.Contains(first, `"different":10,`) || !strings.Contains(first, `"asked":0,`) {
			t.Errorf("the test shows nothing: %s", first)
		}
	}
}

// summaryWith replays a source with the given number of cores and returns the summary as JSON.
func summaryWith(t *testing.T, cores int, path, snapshot string) string {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	s := open(t, snapshot, zoneFor(t))
	r := replayed(t, path, func(o *Options) {
		o.Resolver, o.Candidate = s, config.Default()
		o.Candidate.AuthservID, o.Candidate.Policy.Reject = "mx.here.example", "quarantine"
	})
	use := closed(t, s)
	r.DNS = &use
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// generated is a source of messages that are made when they are read.
type generated struct {
	messages int // how many messages Next has returned
	limit    int
	lines    func() lines
}

func (g *generated) Next() (*Message, error) {
	if g.messages == g.limit {
		return nil, io.EOF
	}
	g.messages++
	return &Message{Number: g.messages, lines: g.lines()}, nil
}
func (g *generated) Progress() (done, total int64) { return int64(g.messages), int64(g.limit) }
func (*generated) Close() error                    { return nil }

// linesFunc is a source of lines.
type linesFunc func() (chunk, error)

func (f linesFunc) next() (chunk, error) { return f() }

func linesOf(text string) lines { return newLineReader(strings.NewReader(text)) }

// stuck is a resolver that answers only after it was released.
type stuck struct {
	dns.LookupOnly
	released chan struct{}
	next     dns.Resolver
}

func (s *stuck) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	<-s.released
	return s.next.Lookup(ctx, name, typ)
}

func from(t *testing.T, source Source) Options {
	t.Helper()
	o := Options{Source: source, Origin: received.Origin{TrustedHosts: []dns.Name{"mx.here.example"}}, Config: config.Default(), Resolver: zoneFor(t)}
	o.Config.AuthservID = "mx.here.example"
	return o
}

// TestInProgressIsBounded checks that a large mbox is not read ahead without limit while all messages
// wait for DNS.
func TestInProgressIsBounded(t *testing.T) {
	mail := strings.SplitAfterN(delivered("a@bank.example", "192.0.2.1", day, "From: a@bank.example\n\nx\n"), "\n", 2)[1]
	synctest.Test(t, func(t *testing.T) {
		source := &generated{limit: 300, lines: func() lines { return linesOf(mail) }}
		o := from(t, source)
		dnsAnswers := &stuck{released: make(chan struct{}), next: o.Resolver}
		o.Resolver = dnsAnswers
		done := make(chan *Summary)
		go func() {
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Error(err)
			}
			done <- r
		}()
		synctest.Wait()
		cores := runtime.GOMAXPROCS(0)
		if most := max(leastInProgress, inProgressPerCore*cores) + 2; source.messages > most || source.messages < most-2 {
			t.Errorf("%d messages are in progress, want %d", source.messages, most)
		}
		close(dnsAnswers.released)
		if r := <-done; r.Messages != 300 || r.Reasons[policy.ReasonAligned] != 300 {
			t.Errorf("%+v", r)
		}
	})
}

// TestInterruptedWithinAMessage checks that a run can be interrupted while it reads an endless message,
// and that it does not keep the message in memory.
func TestInterruptedWithinAMessage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const enough = 256 << 20
	read, part := 0, make([]byte, blockSize)
	o := from(t, &generated{limit: 2, lines: func() lines {
		header := linesOf("Return-Path: <a@bank.example>\nReceived: from h.example (unknown [192.0.2.1]) by mx.here.example (Postfix) " +
			"with ESMTPS id Q1; " + day + "\nFrom: a@bank.example\n\n")
		return linesFunc(func() (chunk, error) {
			if c, err := header.next(); err == nil {
				return c, nil
			}
			if read += len(part); read > enough {
				cancel()
			}
			return chunk{data: part}, nil
		})
	}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Run(ctx, o)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, context.Canceled) || r.Messages != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > enough/4 {
		t.Errorf("%d octets of memory for a message of %d", made, read)
	}
}

// TestFeed checks that a worker gets the text of each message, also with the smallest pool, and that a
// worker that does not read its message gives the blocks back.
func TestFeed(t *testing.T) {
	long := strings.Repeat("0123456789abcde\n", 5*blockSize/16)
	broken := errors.New("broken")
	for _, tt := range []struct {
		name, text string
		err        error
	}{
		{"empty", "", nil}, {"one line", "A: 1\n", nil}, {"a block", long[:blockSize], nil}, {"an octet more", long[:blockSize+1], nil},
		{"many blocks", long, nil}, {"broken off", long[:100], broken},
	} {
		blocks := newPool(2)
		for _, read := range []func(*feed) ([]byte, error){
			func(f *feed) ([]byte, error) { return io.ReadAll(readerOnly{f}) },
			func(f *feed) ([]byte, error) { var b bytes.Buffer; _, err := f.WriteTo(&b); return b.Bytes(), err },
			func(f *feed) ([]byte, error) { return nil, nil },
		} {
			f, in := newFeed(blocks), linesOf(tt.text)
			go f.fill(t.Context(), linesFunc(func() (chunk, error) {
				c, err := in.next()
				if err != nil && tt.err != nil {
					err = tt.err
				}
				return c, err
			}))
			got, err := read(f)
			if got != nil && (string(got) != tt.text || !errors.Is(err, tt.err)) {
				t.Errorf("%s: %d octets of %d, %v", tt.name, len(got), len(tt.text), err)
			}
			f.drain()
			if blocks.more+len(blocks.free) != 2 {
				t.Errorf("%s: %d blocks are free, %d can be made", tt.name, len(blocks.free), blocks.more)
			}
		}
	}
}

// readerOnly hides WriteTo.
type readerOnly struct{ io.Reader }
