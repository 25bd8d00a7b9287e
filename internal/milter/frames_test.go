package milter

import (
	"io"
	"net"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"sekimori/internal/milter/dialogue"
	"sekimori/internal/milter/wire"
	"sekimori/internal/smtp"
)

// editor is a milter that uses go-milter alone. It makes the edits of m with the Modifier of
// go-milter.
type editor struct {
	gomilter.NoOpMilter
	m *Modifier
}

func (e editor) Body(w *gomilter.Modifier) (gomilter.Response, error) {
	for _, c := range e.m.changes {
		if err := w.ChangeHeader(c.index, c.name, e.m.lead(c.value)); err != nil {
			return nil, err
		}
	}
	for _, d := range e.m.deletes {
		if err := w.ChangeHeader(d.index, d.name, ""); err != nil {
			return nil, err
		}
	}
	for _, i := range e.m.inserts {
		if err := w.InsertHeader(i.index, i.name, e.m.lead(i.value)); err != nil {
			return nil, err
		}
	}
	if err := w.Quarantine(e.m.quarantine); err != nil {
		return nil, err
	}
	return gomilter.NewResponseStr(wire.CodeReply, "550 5.7.1 no"), nil
}

// pipe is a listener that returns the one connection that the channel holds.
type pipe chan net.Conn

func (p pipe) Accept() (net.Conn, error) {
	nc, ok := <-p
	if !ok {
		return nil, io.EOF
	}
	return nc, nil
}

func (p pipe) Close() error   { return nil }
func (p pipe) Addr() net.Addr { return &net.UnixAddr{} }

// answered returns the octets that a milter which uses go-milter alone sends in answer to
// frames.
func answered(t *testing.T, s *gomilter.Server, frames string) string {
	t.Helper()
	client, server := net.Pipe()
	p := make(pipe, 1)
	p <- server
	close(p)
	_ = s.Serve(p) // Serve returns io.EOF at once; a goroutine of go-milter serves the connection
	go func() { _, _ = io.WriteString(client, frames+"\x00\x00\x00\x01Q") }()
	out, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// written returns the octets that f writes to the transport.
func written(f func(t *wire.Transport)) string {
	t := wire.NewTransport(nil, nil, &wire.Buffers{})
	f(t)
	return string(t.Appended())
}

// TestEditsAsGoMilterWritesThem checks that our edits and replies are, octet for octet, those of
// go-milter.
func TestEditsAsGoMilterWritesThem(t *testing.T) {
	for _, tc := range []struct {
		why   string
		offer wire.Offer
	}{
		{"with the leading space", wire.Offer{Version: 6, Actions: 0x1ff, Protocol: 0x1fffff}},
		{"without", wire.Offer{Version: 6, Actions: 0x1ff, Protocol: 0}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			m := &Modifier{conn: &Conn{terms: dialogue.Negotiate(tc.offer, ReplyAt{}.to)}}
			for _, err := range []error{
				m.ChangeHeader("Subject", 70000, " a fold\r\n\tand another\n in LF\r\n  and one more"),
				m.DeleteHeader("authentication-results", 3),
				m.InsertHeader(0, "Authentication-Results", "mx.example.jp;\r\n spf=pass"),
				m.InsertHeader(2, "X-Empty", ""),
				m.Quarantine("held for a reason"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			server := &gomilter.Server{NewMilter: func() gomilter.Milter { return editor{m: m} }}
			want := answered(t, server, "\x00\x00\x00\x01E")
			got := written(func(t *wire.Transport) {
				m.write(t)
				t.Reply(string(Custom(smtp.New(550, "5.7.1", "no"))))
			})
			if got != want {
				t.Errorf("%q\n%q", got, want)
			}
		})
	}
}
