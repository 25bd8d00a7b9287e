package bounce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"sekimori/internal/report"
)

var secret = []byte("0123456789abcdef")

// desk has what a server of bounces was told.
type desk struct {
	mu     sync.Mutex
	failed map[int64][]failure
	counts map[Kind]int
	asked  int // how often a token was looked at
	broken atomic.Bool
	wait   chan struct{} // Failed waits until it is closed, if it is not nil
	called chan struct{} // Failed tells it that it waits
	slow   string        // the function that waits until its time is over
	silent bool          // nobody counts
	log    *slog.Logger
}

// answer waits until ctx ends if the function is the slow one.
func (d *desk) answer(ctx context.Context, function string) error {
	if d.slow != function {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (d *desk) options() Options {
	o := d.all()
	if d.silent {
		o.Count = nil
	}
	return o
}

func (d *desk) all() Options {
	return Options{
		Local: "dmarc-bounce", Log: d.log,
		Known: func(ctx context.Context, token string) (int64, error) {
			if err := d.answer(ctx, "Known"); err != nil {
				return 0, err
			}
			d.mu.Lock()
			d.asked++
			d.mu.Unlock()
			id, ok := report.ParseBounceToken(secret, token)
			switch {
			case !ok || id >= 1000: // 1000 and above are too old
				return 0, fmt.Errorf("parse: %w", report.ErrUnknown)
			case d.broken.Load():
				return 0, errors.New("the store is away")
			}
			return id, nil
		},
		Failed: func(ctx context.Context, delivery int64, status, reply string) error {
			if err := d.answer(ctx, "Failed"); err != nil {
				return err
			}
			if d.wait != nil {
				close(d.called)
				<-d.wait
			}
			if delivery == 12 { // was deleted between RCPT and the end of the message
				return report.ErrUnknown
			}
			if delivery == 13 {
				return errors.New("the store is away")
			}
			if delivery == 14 {
				panic("test")
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			d.failed[delivery] = append(d.failed[delivery], failure{status, reply})
			return nil
		},
		Count: func(k Kind) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.counts[k]++
		},
	}
}

func (d *desk) count(k Kind) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[k]
}

// start serves bounces on a unix socket until the test or ctx ends. It returns the path of the
// socket, and a function that waits until Serve has returned.
func start(t testing.TB, ctx context.Context, d *desk) (path string, wait func()) {
	t.Helper()
	d.failed, d.counts = map[int64][]failure{}, map[Kind]int{}
	path = filepath.Join(t.TempDir(), "lmtp")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(ctx, ln, d.options()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return path, wg.Wait
}

func dial(t testing.TB, path string) *smtp.Client {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(conn)
	c.CommandTimeout, c.SubmissionTimeout = 20*time.Second, 20*time.Second
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// bring brings a message, and returns what the server says about it.
func bring(c *smtp.Client, to, text string) error {
	if err := c.Mail("", nil); err != nil {
		return err
	}
	if err := c.Rcpt(to, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}

func address(delivery int64) string {
	return report.BounceLocal("dmarc-bounce", report.BounceToken(secret, delivery)) + "@dmarc.isp.example"
}

func sample(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServe(t *testing.T) {
	d := &desk{}
	path, _ := start(t, t.Context(), d)
	c := dial(t, path)
	forged := strings.Replace(address(7), "+7-", "+8-", 1)
	for _, tc := range []struct {
		to, sample string
		code       int // 0: accepted
		kind       Kind
	}{
		{address(7), "postfix", 0, KindFailed},
		{strings.ToUpper(address(8)), "exchange", 0, KindFailed},
		{address(9), "postfix-delayed", 0, KindOther},
		{address(9), "auto-reply", 0, KindOther},
		{address(9), "plain-bounce", 0, KindOther},
		{forged, "postfix", 550, KindUnknown},
		{address(1000), "postfix", 550, KindUnknown},
		{"dmarc-bounce@dmarc.isp.example", "postfix", 550, KindUnknown},
		{"dmarc-bounce+@dmarc.isp.example", "postfix", 550, KindUnknown},
		{"postmaster@dmarc.isp.example", "postfix", 550, KindUnknown},
		{"a+" + report.BounceToken(secret, 7) + "@dmarc.isp.example", "postfix", 550, KindUnknown},
		{address(12), "postfix", 550, KindUnknown},
		{address(13), "postfix", 451, ""},
		{address(10), "postfix", 0, KindFailed}, // the connection is still good
	} {
		before := d.count(tc.kind)
		err := bring(c, tc.to, sample(t, tc.sample))
		var reply *smtp.SMTPError
		if errors.As(err, &reply) != (tc.code != 0) || reply != nil && reply.Code != tc.code || err != nil && reply == nil {
			t.Errorf("%s to %s: %v", tc.sample, tc.to, err)
		}
		if reply != nil && reply.Code == 451 && reply.EnhancedCode != (smtp.EnhancedCode{4, 3, 0}) {
			t.Error(reply)
		}
		if reply != nil && reply.Code == 550 && reply.EnhancedCode != (smtp.EnhancedCode{5, 1, 1}) {
			t.Error(reply)
		}
		if tc.kind != "" && d.count(tc.kind) != before+1 {
			t.Errorf("%s to %s is not counted", tc.sample, tc.to)
		}
	}
	d.mu.Lock()
	if want := map[Kind]int{KindFailed: 3, KindOther: 3, KindUnknown: 7}; !maps.Equal(d.counts, want) {
		t.Errorf("counted %v, want %v", d.counts, want)
	}
	d.mu.Unlock()
	d.broken.Store(true)
	var reply *smtp.SMTPError
	if err := bring(c, address(7), "x"); !errors.As(err, &reply) || reply.Code != 451 || strings.Contains(reply.Message, "store") {
		t.Error(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed) != 3 || len(d.failed[7]) != 1 || d.failed[7][0].status != "5.1.1" || d.failed[8][0].status != "5.1.10" {
		t.Errorf("%+v", d.failed)
	}
}

// TestNoListener: a listener that fails is told, where one that ctx has ended is not.
func TestNoListener(t *testing.T) {
	ln := &pipes{done: make(chan struct{})}
	_ = ln.Close()
	if err := Serve(t.Context(), ln, Options{}); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// TestPanicLog: of what go-smtp says, a panic alone is logged.
func TestPanicLog(t *testing.T) {
	var out strings.Builder
	log := panicLog{slog.New(slog.NewTextHandler(&out, nil))}
	log.Printf("error reading: %v", io.EOF)
	if out.Len() != 0 {
		t.Error(out.String())
	}
	log.Printf("panic serving %s", "x")
	if !strings.Contains(out.String(), "panic serving x") {
		t.Error(out.String())
	}
}

// TestOneRecipient: a message cannot fail several deliveries at once.
func TestOneRecipient(t *testing.T) {
	d := &desk{}
	path, _ := start(t, t.Context(), d)
	c := dial(t, path)
	if err := c.Mail("", nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt(address(1), nil); err != nil {
		t.Fatal(err)
	}
	var reply *smtp.SMTPError
	if err := c.Rcpt(address(2), nil); !errors.As(err, &reply) || reply.Code != 452 {
		t.Error(err)
	}
}

// TestForgedBounces: thousands of bounces with wrong tokens suppress nothing and are refused before their text comes.
func TestForgedBounces(t *testing.T) {
	d := &desk{}
	path, _ := start(t, t.Context(), d)
	const conns, each = 8, 500
	began := time.Now()
	var wg sync.WaitGroup
	for i := range conns {
		c := dial(t, path)
		wg.Go(func() {
			for j := range each {
				to := fmt.Sprintf("dmarc-bounce+%d-%08d@dmarc.isp.example", i+1, j)
				var reply *smtp.SMTPError
				if err := bring(c, to, "x"); !errors.As(err, &reply) || reply.Code != 550 {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if d.count(KindUnknown) != conns*each || len(d.failed) != 0 {
		t.Errorf("%d refused, failed %v", d.count(KindUnknown), d.failed)
	}
	t.Logf("%.0f forged bounces a second, client included", conns*each/took.Seconds())
}

// BenchmarkForged is what a forged bounce costs, with the client.
func BenchmarkForged(b *testing.B) {
	path, _ := start(b, b.Context(), &desk{})
	c := dial(b, path)
	to := "dmarc-bounce+7-abcdefgh@dmarc.isp.example"
	for b.Loop() {
		if err := bring(c, to, ""); err == nil {
			b.Fatal("accepted")
		}
	}
}

// BenchmarkRead is what a genuine bounce costs to read.
func BenchmarkRead(b *testing.B) {
	text := sample(b, "postfix")
	b.ReportAllocs()
	for b.Loop() {
		if _, failed, err := read(strings.NewReader(text)); !failed || err != nil {
			b.Fatal(failed, err)
		}
	}
}

// TestConnections: more connections than allowed are told to come again, and get a place when another has left.
func TestConnections(t *testing.T) {
	path, _ := start(t, t.Context(), &desk{})
	greeting := func() (net.Conn, string) {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return conn, line
	}
	first, line := greeting()
	for range maxConns - 1 {
		_, line = greeting()
	}
	if line != "220 sekimori LMTP Service Ready\r\n" {
		t.Errorf("the last one got %q", line)
	}
	if _, line = greeting(); line != "421 4.3.2 Too many connections\r\n" {
		t.Errorf("one too many got %q", line)
	}
	if _, err := io.WriteString(first, "QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(first); err != nil || !strings.HasPrefix(string(text), "221") {
		t.Error(string(text), err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, line = greeting(); strings.HasPrefix(line, "220 ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no place became free")
		}
	}
}

// TestStop: a stop ends idle connections at once, and waits for a message that has begun.
func TestStop(t *testing.T) {
	d := &desk{wait: make(chan struct{}), called: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	path, wait := start(t, ctx, d)
	idle, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	in := bufio.NewReader(idle)
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c := dial(t, path)
	brought := make(chan error)
	go func() { brought <- bring(c, address(7), sample(t, "postfix")) }()
	<-d.called
	stop()
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "421 ") {
		t.Errorf("the idle connection got %q, %v", line, err)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("still listening")
	}
	close(d.wait)
	if err := <-brought; err != nil {
		t.Error(err)
	}
	wait()
	if len(d.failed[7]) != 1 {
		t.Error("the bounce was lost")
	}
}

// TestLookUp: nobody is asked about an address without a token.
func TestLookUp(t *testing.T) {
	s := &session{Options: Options{Local: "b", Known: func(_ context.Context, token string) (int64, error) {
		if token != "7-x" {
			t.Errorf("asked about %q", token)
		}
		return 7, nil
	}}}
	for to, known := range map[string]bool{"": false, "@": false, "b": false, "b@x": false, "b+@x": false, "b+7-x": false, "a+7-x@x": false, "b+7-x@": true, "B+7-x@y": true} {
		if got, err := s.lookUp(t.Context(), to); known && (got != 7 || err != nil) || !known && !errors.Is(err, report.ErrUnknown) {
			t.Errorf("%q: %d, %v", to, got, err)
		}
	}
}

// TestNobodyCounts: without a function that counts, a message is taken or refused as ever.
func TestNobodyCounts(t *testing.T) {
	d := &desk{silent: true}
	path, _ := start(t, t.Context(), d)
	c := dial(t, path)
	for _, name := range []string{"plain-bounce", "postfix"} {
		if err := bring(c, address(7), sample(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := bring(c, "x@dmarc.isp.example", "x"); err == nil || len(d.failed[7]) != 1 {
		t.Errorf("%v, %v", err, d.failed)
	}
}

// broken is a connection of which nothing works.
type broken struct{ net.Conn }

var errBroken = errors.New("broken")

func (broken) SetReadDeadline(time.Time) error { return errBroken }
func (broken) Write([]byte) (int, error)       { return 0, errBroken }
func (broken) Close() error                    { return errBroken }

// TestBroken: what a connection says is passed on.
func TestBroken(t *testing.T) {
	c := &conn{Conn: broken{}, gate: &gate{}}
	_, write := c.Write(nil)
	for name, err := range map[string]error{"deadline": c.SetReadDeadline(time.Time{}), "write": write, "close": c.Close()} {
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPanic: a panic costs one connection.
func TestPanic(t *testing.T) {
	d := &desk{}
	path, _ := start(t, t.Context(), d)
	var reply *smtp.SMTPError
	if err := bring(dial(t, path), address(14), sample(t, "postfix")); !errors.As(err, &reply) || reply.Code != 421 {
		t.Error(err)
	}
	if err := bring(dial(t, path), address(7), sample(t, "postfix")); err != nil {
		t.Error(err)
	}
}
