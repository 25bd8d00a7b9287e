package milter_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"sekimori/internal/milter"
)

// quiet is a Session that adds one field and does nothing else, so that the benchmarks measure
// the protocol only.
type quiet struct{ conn *milter.Conn }

func (quiet) Connect(milter.Connect) milter.Reply { return milter.Continue }
func (quiet) Helo(string) milter.Reply            { return milter.Continue }
func (quiet) Mail(string, []string) milter.Reply  { return milter.Continue }
func (quiet) Rcpt(string, []string) milter.Reply  { return milter.Continue }
func (quiet) Data() milter.Reply                  { return milter.Continue }
func (quiet) Header(string, string) milter.Reply  { return milter.Continue }
func (quiet) EndOfHeader() milter.Reply           { return milter.Continue }
func (quiet) Body([]byte) milter.Reply            { return milter.Continue }
func (quiet) Abort()                              {}
func (quiet) Close(milter.End)                    {}
func (q quiet) EndOfMessage(_ context.Context, m *milter.Modifier) milter.Reply {
	if q.conn.Macro("i") == "" || m.InsertHeader(0, "Authentication-Results", "mx.example.jp; spf=pass;\r\n\tdkim=pass") != nil {
		return milter.Tempfail
	}
	return milter.Continue
}

// burst returns all frames of one message, with the macros that Postfix sends.
func burst(header []string, body string) string {
	macro := func(cmd string) string { return frame('D', cmd+"i\x004XyzAbc123\x00") }
	s := frame('D', "M{mail_addr}\x00bounce@news.example.com\x00{mail_host}\x00example.com\x00{mail_mailer}\x00smtp\x00") +
		frame('M', "<bounce@news.example.com>\x00SIZE=2048\x00") +
		frame('D', "Ri\x004XyzAbc123\x00{rcpt_addr}\x00b@example.jp\x00{rcpt_host}\x00example.jp\x00{rcpt_mailer}\x00local\x00") +
		frame('R', "<b@example.jp>\x00") + macro("T") + frame('T', "")
	for _, field := range header {
		name, value, _ := strings.Cut(field, ":")
		s += macro("L") + frame('L', name+"\x00"+value+"\x00")
	}
	s += macro("N") + frame('N', "")
	for ; len(body) > 65535; body = body[65535:] {
		s += macro("B") + frame('B', body[:65535])
	}
	return s + macro("B") + frame('B', body) + macro("E") + frame('E', "")
}

// fields returns header fields like those of a real message. With the body in BenchmarkMessage
// they are 2 KB.
func fields() []string {
	return []string{
		"Received: from mail.example.com (mail.example.com [192.0.2.1])\n" +
			"\tby mx.example.jp (Postfix) with ESMTPS id 4XyzAbc123\n\tfor <b@example.jp>; Mon, 1 Jun 2026 09:00:00 +0900 (JST)",
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1;\n" +
			"\th=from:to:subject:date:message-id; bh=" + strings.Repeat("x", 44) + ";\n\tb=" + strings.Repeat("y", 344),
		"From: News <news@example.com>", "To: b@example.jp", "Subject: this week's news",
		"Date: Mon, 01 Jun 2026 09:00:00 +0900", "Message-ID: <20260601090000.1@example.com>", "MIME-Version: 1.0",
		"Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "List-Unsubscribe: <https://example.com/u>",
	}
}

const hello1 = connectFrame + "\x00\x00\x00\x07Hhelo1\x00"

// benchmark starts a server on a unix socket. dial connects to the server, and answer is how
// many octets the server sends in answer to one message.
func benchmark(b testing.TB) (dial func() net.Conn, answer int) {
	server := milter.New(milter.Options{NewSession: func(c *milter.Conn) milter.Session { return quiet{c} }})
	path := b.TempDir() + "/s"
	ln, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	edit := frame('i', "\x00\x00\x00\x00Authentication-Results\x00 mx.example.jp; spf=pass;\n\tdkim=pass\x00") + frame('c', "")
	b.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(ctx) // Shutdown returns the error of ctx, which does not matter here
	})
	return func() net.Conn {
		nc, err := net.Dial("unix", path)
		if err != nil {
			b.Fatal(err)
		}
		return nc
	}, len(edit)
}

// exchange writes the octets in "sent", and then fills "answer" with octets that it reads.
func exchange(b testing.TB, nc net.Conn, sent []byte, answer []byte) {
	if _, err := nc.Write(sent); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(nc, answer); err != nil {
		b.Fatal(err)
	}
}

// greeted returns a connection on which negotiation, CONNECT and HELO are done.
func greeted(b testing.TB, dial func() net.Conn) net.Conn {
	nc := dial()
	b.Cleanup(func() { _ = nc.Close() })
	if _, err := io.WriteString(nc, optneg()+hello1); err != nil {
		b.Fatal(err)
	}
	skipFrame(b, nc)
	return nc
}

// TestAllocationsPerFrame checks how many allocations the server makes for one more frame of a
// message: none for a part of the body or for repeated macros, and one for a header field.
func TestAllocationsPerFrame(t *testing.T) {
	const more = 100
	dial, n := benchmark(t)
	nc := greeted(t, dial)
	answer := make([]byte, n)
	count := func(extra string, before byte) float64 {
		at := frame(before, "")
		sent := []byte(strings.Replace(burst(fields(), "body\r\n"), at, extra+at, 1) + frame('A', ""))
		return testing.AllocsPerRun(50, func() { exchange(t, nc, sent, answer) })
	}
	macro := func(cmd string) string { return frame('D', cmd+"i\x004XyzAbc123\x00") }
	base := count("", 'N')
	for _, tc := range []struct {
		why    string
		frame  string
		before byte
		each   float64
	}{
		{"macros", macro("N"), 'N', 0},
		{"parts of the body", macro("B") + frame('B', "more\r\n"), 'E', 0},
		{"fields", macro("L") + frame('L', "X-Field\x00 folded\n\tvalue\x00"), 'N', 1},
	} {
		// The garbage collector may empty the pools during the measurement, so the test allows a
		// few more allocations.
		if got := count(strings.Repeat(tc.frame, more), tc.before) - base; got > tc.each*more+more/5 {
			t.Errorf("%d more %s: %.0f allocations", more, tc.why, got)
		}
	}
}

func benchmarkMessages(b *testing.B, body string) {
	dial, n := benchmark(b)
	nc := greeted(b, dial)
	message := []byte(burst(fields(), body) + frame('A', ""))
	answer := make([]byte, n)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, nc, message, answer)
		if answer[n-1] != 'c' {
			b.Fatalf("answer %q", answer)
		}
	}
}

// skipFrame reads a frame and discards it.
func skipFrame(b testing.TB, r io.Reader) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, int64(head[2])<<8|int64(head[3])); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMessage sends messages of 2 KB on one connection.
func BenchmarkMessage(b *testing.B) { benchmarkMessages(b, strings.Repeat("0123456789abcdef\r\n", 50)) }

// BenchmarkBigMessage sends messages of 5 MB on one connection.
func BenchmarkBigMessage(b *testing.B) {
	benchmarkMessages(b, strings.Repeat("0123456789abcdef\r\n", 5<<20/18))
}

// BenchmarkConnection opens a new connection for each message of 2 KB.
func BenchmarkConnection(b *testing.B) {
	dial, n := benchmark(b)
	message := []byte(hello1 + burst(fields(), strings.Repeat("0123456789abcdef\r\n", 50)))
	end := []byte(frame('A', "") + frame('Q', ""))
	answer, offer := make([]byte, n), []byte(optneg())
	b.ReportAllocs()
	for b.Loop() {
		nc := dial()
		if _, err := nc.Write(offer); err != nil {
			b.Fatal(err)
		}
		skipFrame(b, nc)
		exchange(b, nc, message, answer)
		if _, err := nc.Write(end); err != nil {
			b.Fatal(err)
		}
		_ = nc.Close()
	}
}
