package load

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/bench/traffic"
)

// fakeMTA is an MTA that takes mail over SMTP. replies has the reply to a command, by the first
// word of the command ("." is the end of the message). Commands that are not in replies get a
// positive reply. After an empty reply the connection is closed. got returns every line that the MTA received.
func fakeMTA(t *testing.T, replies map[string]string) (target Target, got func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines []string
	var work sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				talk(c, replies, func(line string) {
					mu.Lock()
					defer mu.Unlock()
					lines = append(lines, line)
				})
			})
		}
	})
	if target, err = ParseTarget(t.Context(), l.Addr().String(), false); err != nil {
		t.Fatal(err)
	}
	return target, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return lines
	}
}

func talk(c net.Conn, replies map[string]string, heard func(string)) {
	good := map[string]string{"PROXY": "220 mx", "DATA": "354 go on", "QUIT": "221 bye"}
	inData := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		heard(line)
		if inData && line != "." {
			continue
		}
		word, _, _ := strings.Cut(line, " ")
		reply, ok := replies[word]
		if !ok {
			if reply, ok = good[word]; !ok {
				reply = "250-mx\r\n250 ok"
			}
		}
		if reply == "" {
			return
		}
		inData = strings.HasPrefix(reply, "354")
		if _, err := fmt.Fprintf(c, "%s\r\n", reply); err != nil {
			return
		}
	}
}

func TestMTA(t *testing.T) {
	o := small()
	o.Messages, o.PerSession, o.Outcomes = 6, 2, mix("pass")
	corpus := newCorpus(t, o)
	for _, tc := range []struct {
		why     string
		replies map[string]string
		want    traffic.Action
		ok      bool
	}{
		{"accepted", nil, traffic.Deliver, true},
		{"refused at the end", map[string]string{".": "550 5.7.1 no"}, traffic.Reject, false},
		{"deferred at the end", map[string]string{".": "451-4.7.1 later\r\n451 4.7.1 please"}, traffic.Tempfail, false},
		{"refused at MAIL", map[string]string{"MAIL": "550 no", "RCPT": "503 no sender", "DATA": "503 no sender"}, traffic.Reject, false},
		{"deferred at RCPT", map[string]string{"RCPT": "451 later", "DATA": "554 no recipients"}, traffic.Tempfail, false},
	} {
		target, _ := fakeMTA(t, tc.replies)
		r, err := Run(t.Context(), corpus, Options{MTA: target, Connections: 2, Check: CheckReplies})
		if err != nil || r.OK() != tc.ok || r.Messages != 6 || r.Errors != 0 || len(r.Verdicts) == 0 {
			t.Errorf("%s: %v %+v", tc.why, err, r)
			continue
		}
		for _, v := range r.Verdicts {
			if v.Got != (traffic.Outcome{Action: tc.want}) {
				t.Errorf("%s: %s", tc.why, v.Got)
			}
		}
	}
	for want, replies := range map[string]map[string]string{
		"load: SMTP: the MTA replied 421 full": {"PROXY": "421 full", "QUIT": "500 no"},
		"load: SMTP: the MTA replied 502 what": {"EHLO": "502 what"},
		`load: SMTP: short response: "sure"`:   {"MAIL": "sure"},
		"load: SMTP: EOF":                      {"EHLO": ""},
		"load: SMTP: EOF ":                     {"RCPT": ""},
		"load: SMTP: EOF  ":                    {".": ""},
	} {
		target, _ := fakeMTA(t, replies)
		if r, err := Run(t.Context(), corpus, Options{MTA: target, Connections: 1, Check: CheckNone}); r != nil || err == nil || err.Error() != strings.TrimSpace(want) {
			t.Errorf("%v: %+v, %v", replies, r, err)
		}
	}
	target, _ := fakeMTA(t, map[string]string{"QUIT": "500 no"})
	r, err := Run(t.Context(), corpus, Options{MTA: target, Connections: 1, Check: CheckNone})
	if err != nil || r.Messages != 6 || r.Errors != 3 || r.LastError != "load: SMTP: the MTA replied 500 no" || r.Session.Max != 0 {
		t.Errorf("a bad end: %+v, %v", r, err)
	}
}

// TestSMTPConnection checks the errors of a connection that ends.
func TestSMTPConnection(t *testing.T) {
	if c, err := dialSMTP(Target{network: "unix", address: t.TempDir() + "/none"}, time.Minute); c != nil || err == nil || !strings.HasPrefix(err.Error(), "load: dial unix ") {
		t.Errorf("%v, %v", c, err)
	}
	for _, closed := range []string{"here", "there"} {
		near, far := net.Pipe()
		c := &smtpClient{conn: near, w: bufio.NewWriter(near), r: textproto.NewReader(bufio.NewReader(near)), timeout: time.Minute}
		if closed == "here" {
			near.Close()
		} else {
			far.Close()
		}
		const want = "load: SMTP: io: read/write on closed pipe"
		for name, call := range map[string]func() error{
			"begin": func() error { return c.begin(traffic.Session{}) },
			"send":  func() error { _, _, err := c.send(&traffic.Message{}); return err },
			"quit":  func() error { return c.expect(221) },
		} {
			if err := call(); err == nil || err.Error() != want {
				t.Errorf("closed %s, %s: %v", closed, name, err)
			}
		}
	}
}

// TestMTAGetsTheMessage checks what the MTA receives, to the letter.
func TestMTAGetsTheMessage(t *testing.T) {
	o := small()
	o.Messages, o.PerSession, o.Sizes, o.Signatures = 1, 1, mix("2KB"), mix("rsa")
	corpus := newCorpus(t, o)
	s := &corpus.Sessions[0]
	m := &s.Messages[0]
	m.Body = []byte(".first\r\nsecond\r\n..third\r\n")
	target, got := fakeMTA(t, nil)
	if r, err := Run(t.Context(), corpus, Options{MTA: target, Connections: 1, Check: CheckNone, Timeout: time.Minute}); err != nil || r.Messages != 1 {
		t.Fatalf("%v %+v", err, r)
	}
	want := []string{
		fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 25252 25", s.Client), "EHLO " + s.Name, "MAIL FROM:" + m.Envelope.From, "RCPT TO:" + m.Envelope.To[0], "DATA",
	}
	for _, f := range m.Header {
		want = append(want, strings.Split(f.Name+":"+f.Value, "\r\n")...)
	}
	want = append(want, "", "..first", "second", "...third", ".", "QUIT")
	if a, b := strings.Join(got(), "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("got\n%s\nwant\n%s", a, b)
	}
}
