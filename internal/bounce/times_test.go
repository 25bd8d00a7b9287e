package bounce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"

	"sekimori/internal/testkit/logs"
)

// pipes is a listener in memory, so that time can be that of package synctest.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "test", Net: "unix"} }

// inTime calls f in a bubble with a connection on which the server has greeted. The bubble ends only when Serve has returned,
// and with it all connections.
func inTime(t *testing.T, f func(t *testing.T, conn net.Conn, in *bufio.Reader, stop func())) {
	t.Helper()
	atDesk(t, &desk{}, f)
}

// atDesk is inTime with a desk.
func atDesk(t *testing.T, d *desk, f func(t *testing.T, conn net.Conn, in *bufio.Reader, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d.failed, d.counts = map[int64][]failure{}, map[Kind]int{}
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan struct{})
		go func() {
			defer close(served)
			if err := Serve(ctx, ln, d.options()); err != nil {
				t.Error(err)
			}
		}()
		ours, theirs := net.Pipe()
		ln.conns <- theirs
		in := bufio.NewReader(ours)
		if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220 ") {
			t.Error(line, err)
		}
		f(t, ours, in, func() { cancel(); <-served })
		_ = ours.Close()
		cancel()
		<-served
	})
}

// say sends a command and returns the last line of the reply, or what ended the connection.
func say(conn net.Conn, in *bufio.Reader, command string) string {
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return err.Error()
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		if len(line) > 3 && line[3] == ' ' {
			return strings.TrimRight(line, "\r\n")
		}
	}
}

// envelope sends everything before the text of a message.
func envelope(t *testing.T, conn net.Conn, in *bufio.Reader) {
	t.Helper()
	for _, c := range []string{"LHLO mx.test", "MAIL FROM:<>", "RCPT TO:<" + address(7) + ">", "DATA"} {
		if r := say(conn, in, c); r[0] != '2' && r[0] != '3' {
			t.Fatalf("%s: %s", c, r)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		inTime(t, func(t *testing.T, _ net.Conn, in *bufio.Reader, _ func()) {
			began := time.Now()
			line, err := in.ReadString('\n')
			if took := time.Since(began); err != nil || !strings.HasPrefix(line, "421 ") || took != maxSilence {
				t.Error(line, err, took)
			}
		})
	})
	t.Run("chatty", func(t *testing.T) {
		inTime(t, func(t *testing.T, conn net.Conn, in *bufio.Reader, _ func()) {
			began := time.Now()
			for strings.HasPrefix(say(conn, in, "NOOP"), "250") {
				time.Sleep(maxSilence - time.Second)
			}
			if took := time.Since(began); took > maxSession+maxSilence || took < maxSession-maxSilence {
				t.Error(took)
			}
		})
	})
	t.Run("trickle", func(t *testing.T) {
		inTime(t, func(t *testing.T, conn net.Conn, in *bufio.Reader, _ func()) {
			envelope(t, conn, in)
			go func() { _, _ = io.Copy(io.Discard, in) }() // a pipe has no buffer
			began := time.Now()
			for {
				if _, err := io.WriteString(conn, "x"); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if took := time.Since(began); took < maxSilence || took > maxSilence+2*time.Second {
				t.Error(took)
			}
		})
	})
	t.Run("deaf", func(t *testing.T) {
		inTime(t, func(t *testing.T, conn net.Conn, _ *bufio.Reader, _ func()) {
			began := time.Now()
			for {
				if _, err := io.WriteString(conn, "NOOP\r\n"); err != nil {
					break
				}
			}
			if took := time.Since(began); took < maxWrite || took > maxSilence {
				t.Error(took)
			}
		})
	})
	t.Run("stop in a message", func(t *testing.T) {
		inTime(t, func(t *testing.T, conn net.Conn, in *bufio.Reader, stop func()) {
			envelope(t, conn, in)
			began := time.Now()
			stop()
			if took := time.Since(began); took != maxDrain {
				t.Error(took)
			}
		})
	})
	t.Run("stop before the end of a message", func(t *testing.T) {
		inTime(t, func(t *testing.T, conn net.Conn, in *bufio.Reader, stop func()) {
			envelope(t, conn, in)
			began := time.Now()
			go stop()
			synctest.Wait()
			if r := say(conn, in, "x\r\n."); !strings.HasPrefix(r, "250 ") {
				t.Error(r)
			}
			if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "421 ") || time.Since(began) != 0 {
				t.Error(line, err, time.Since(began))
			}
		})
	})
	t.Run("stop before the recipient", func(t *testing.T) {
		inTime(t, func(t *testing.T, conn net.Conn, in *bufio.Reader, stop func()) {
			began := time.Now()
			for i, c := range []string{"LHLO mx.test", "MAIL FROM:<>", "RCPT TO:<" + address(7) + ">", "DATA", "x\r\n."} {
				if r := say(conn, in, c); r[0] != '2' && r[0] != '3' {
					t.Fatalf("%s: %s", c, r)
				}
				if i == 1 {
					go stop()
					synctest.Wait()
				}
			}
			if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "421 ") || time.Since(began) != 0 {
				t.Error(line, err, time.Since(began))
			}
		})
	})
	for _, slow := range []string{"Known", "Failed"} {
		t.Run("a store without an answer, "+slow, func(t *testing.T) {
			atDesk(t, &desk{slow: slow}, func(t *testing.T, conn net.Conn, in *bufio.Reader, _ func()) {
				began := time.Now()
				var last string
				for _, c := range []string{"LHLO mx.test", "MAIL FROM:<>", "RCPT TO:<" + address(7) + ">", "DATA", sample(t, "postfix") + "\r\n."} {
					if last = say(conn, in, c); last[0] == '4' {
						break
					}
				}
				if took := time.Since(began); !strings.HasPrefix(last, "451 4.3.0 ") || took != maxSilence {
					t.Error(last, took)
				}
			})
		})
	}
	t.Run("stop", func(t *testing.T) {
		inTime(t, func(t *testing.T, _ net.Conn, in *bufio.Reader, stop func()) {
			go func() { _, _ = io.Copy(io.Discard, in) }()
			began := time.Now()
			stop()
			if took := time.Since(began); took != 0 {
				t.Error(took)
			}
		})
	})
}

// TestPanicIsLogged: a panic is logged, if there is a log.
func TestPanicIsLogged(t *testing.T) {
	for _, logged := range []bool{true, false} {
		var out logs.Buffer
		d := &desk{}
		if logged {
			d.log = slog.New(slog.NewJSONHandler(&out, nil))
		}
		atDesk(t, d, func(t *testing.T, conn net.Conn, in *bufio.Reader, _ func()) {
			for _, c := range []string{"LHLO mx.test", "MAIL FROM:<>", "RCPT TO:<" + address(14) + ">", "DATA"} {
				say(conn, in, c)
			}
			if r := say(conn, in, sample(t, "postfix")+"\r\n."); !strings.HasPrefix(r, "421 ") {
				t.Error(r)
			}
			_ = conn.Close()
			synctest.Wait()
		})
		r := out.Records(t, "the server of bounces failed")
		if (len(r) == 1) != logged || logged && (r[0]["level"] != "ERROR" || !strings.HasPrefix(fmt.Sprint(r[0]["error"]), "panic serving ")) {
			t.Errorf("logged %t: %v", logged, r)
		}
	}
}

// TestLongLines: a line in a message may be long, and a longer one ends the connection.
func TestLongLines(t *testing.T) {
	d := &desk{}
	path, _ := start(t, t.Context(), d)
	text := sample(t, "postfix")
	if err := bring(dial(t, path), address(7), text+strings.Repeat("x", maxCommand-100)+"\r\n"); err != nil {
		t.Error(err)
	}
	var reply *smtp.SMTPError
	if err := bring(dial(t, path), address(7), text+strings.Repeat("x", maxCommand+100)+"\r\n"); !errors.As(err, &reply) || reply.Code != 554 {
		t.Error(err)
	}
	if d.count(KindFailed) != 1 {
		t.Errorf("%v", d.counts)
	}
}
