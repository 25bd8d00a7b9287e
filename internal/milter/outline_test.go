package milter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

// outliner is a session that goes on with a message over a limit.
type outliner struct{ session }

func (s *outliner) Oversize(what string) milter.Reply {
	s.w.note("oversize %s", what)
	return milter.Outline
}

func (s *outliner) HeaderStart(name, start string) {
	s.w.note("start %s %d", name, len(start))
	if strings.HasPrefix(name, "Panic") {
		panic("here")
	}
}

// TestOutline checks what an Outliner gets after a message exceeds a limit: the beginning of the
// field that exceeds it and of all later fields, and the end of the message. No memory is
// reserved for the message any more.
func TestOutline(t *testing.T) {
	big := "Big\x00 " + strings.Repeat("x", 300<<10) + "\x00"
	open := frame('M', "<a>\x00") + frame('R', "<x>\x00")
	rest := frame('N', "") + frame('B', "body") + frame('E', "more")
	for _, tc := range []struct {
		why, sent string
		want      []string
	}{
		{"fields", open + strings.Repeat(frame('L', "A\x00 b\x00"), 4) + rest,
			[]string{"mail <a> []", "rcpt <x> []", `header "A: b"`, `header "A: b"`, `header "A: b"`,
				"+oversize header_fields", "oversize header_fields", "start A 2", "eom", "end", "abort"}},
		{"a field", open + frame('L', big) + frame('L', "A\x00 b\x00") + rest,
			[]string{"mail <a> []", "rcpt <x> []", "+oversize field_bytes", "oversize field_bytes", "start Big 8192", "start A 2", "eom", "end", "abort"}},
		{"a field longer than a frame may be", open + frame('L', "Huge\x00 "+strings.Repeat("x", 3<<20)+"\x00") + frame('L', "A\x00 b\x00") + rest,
			[]string{"mail <a> []", "rcpt <x> []", "+oversize field_bytes", "oversize field_bytes", "start Huge 8192", "start A 2", "eom", "end", "abort"}},
		{"recipients", open + frame('R', "<y>\x00") + frame('R', "<z>\x00") + frame('R', "<z>\x00") + frame('L', "A\x00 b\x00") + rest,
			[]string{"mail <a> []", "rcpt <x> []", "rcpt <y> []", "+oversize recipients", "oversize recipients", "start A 2", "eom", "end", "abort"}},
		{"memory, with MAIL", frame('M', "<"+strings.Repeat("a", 30<<10)+">\x00") + frame('R', "<x>\x00") + frame('L', "A\x00 b\x00") + rest,
			[]string{"mail <" + strings.Repeat("a", 30<<10) + "> []", "+oversize memory", "oversize memory", "start A 2", "eom", "end", "abort"}},
		{"abandoned", open + strings.Repeat(frame('L', "A\x00 b\x00"), 4) + open,
			[]string{"mail <a> []", "rcpt <x> []", `header "A: b"`, `header "A: b"`, `header "A: b"`,
				"+oversize header_fields", "oversize header_fields", "start A 2", "abort", "mail <a> []", "rcpt <x> []", "abort"}},
		{"a bug", open + strings.Repeat(frame('L', "Panic\x00 b\x00"), 5) + rest,
			[]string{"mail <a> []", "rcpt <x> []", `header "Panic: b"`, `header "Panic: b"`, `header "Panic: b"`,
				"+oversize header_fields", "oversize header_fields", "start Panic 2", "+panic milter.header_start", "abort"}},
	} {
		t.Run(tc.why, func(t *testing.T) {
			var w *world
			w = newWorld(t, given{
				NewSession: func(c *milter.Conn) milter.Session { return &outliner{session{w: w, conn: c}} },
				Limits:     milter.Limits{MaxHeaderFields: 3, MaxRecipients: 2, Memory: 128 << 10},
			})
			w.eom = func(_ context.Context, s *session, _ *milter.Modifier) milter.Reply {
				if got := w.server.Reserved(); got != 64<<10 {
					t.Errorf("%d octets are reserved", got)
				}
				return s.event("end", "")
			}
			w.converse(tc.sent)
			got := w.log()
			for i, e := range got {
				if e == "close quit" {
					got = got[:i]
					break
				}
			}
			expect(t, got[2:], tc.want...) // the first two events are +started and connect
		})
	}
}

// TestManyDeletions checks that edits which do not fit into the write buffer are all sent before
// the reply, the highest index first.
func TestManyDeletions(t *testing.T) {
	const n = 20_000
	res, _ := edited(t, client.PostfixOffer(), mail, func(m *milter.Modifier) milter.Reply {
		if err := m.DeleteHeaders("X-Y", n, func(i int) bool { return i%2 == 0 }); err != nil {
			t.Error(err)
		}
		if err := m.DeleteHeaders("X:", n, nil); err == nil {
			t.Error("an invalid name was accepted")
		}
		if err := m.InsertHeader(0, "Ours", "v"); err != nil {
			t.Error(err)
		}
		return milter.Accept
	})
	if res.Action.Kind != client.Accept || len(res.Modifications) != n/2+1 || res.Modifications[n/2].Name != "Ours" {
		t.Fatalf("%s, %d edits", res.Action, len(res.Modifications))
	}
	for i, m := range res.Modifications[:n/2] {
		if m.Kind != client.DeleteHeader || m.Index != n-2*i {
			t.Fatalf("edit %d: %+v", i, m)
		}
	}
	offer := client.PostfixOffer()
	offer.Actions = 1
	edited(t, offer, mail, func(m *milter.Modifier) milter.Reply {
		if err := m.DeleteHeaders("X-Y", n, nil); !errors.Is(err, milter.ErrNotNegotiated) {
			t.Error(err)
		}
		return milter.Accept
	})
}

// TestDeletionsForNobody checks that the server stops sending a long list of edits when the MTA
// has gone.
func TestDeletionsForNobody(t *testing.T) {
	w := newWorld(t, given{})
	asked := 0
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.serve(ln)
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const n = 50_000_000 // these edits are more than a gigabyte
	w.eom = func(_ context.Context, _ *session, m *milter.Modifier) milter.Reply {
		_ = nc.Close()
		_ = m.DeleteHeaders("X-Y", n, func(int) bool { asked++; return true })
		return milter.Accept
	}
	if _, err := io.WriteString(nc, optneg()+frame('C', "h\x00U")+frame('M', "<a>\x00")+frame('R', "<x>\x00")+frame('N', "")+frame('E', "")); err != nil {
		t.Fatal(err)
	}
	if end := w.end(); end != milter.EndEOF || asked == n {
		t.Error(fmt.Sprint(end, " after ", asked))
	}
}
