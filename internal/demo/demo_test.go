package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/web"
)

// TestRun checks that each message of the demo is handled as its title says.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := Run(t.Context(), &out, Options{JSON: true}); err != nil {
		t.Fatal(err)
	}
	want := []struct{ title, verdict, label, reply string }{
		{"the bank's own mail", "delivered", "dmarc=pass header.from=bank.example policy.dmarc=reject", ""},
		{"forwarded by a stranger", "delivered", "dmarc=pass", ""},
		{"RSA and with ed25519", "delivered", "dkim=pass (256-bit ed25519)", ""},
		{"only SPF", "delivered", "dmarc=pass", ""},
		{"as the bank: p=reject", "rejected", "", "550 5.7.1 Email rejected per DMARC policy for bank.example"},
		{"np=reject", "rejected", "", "550 5.7.1 Email rejected per DMARC policy for secure-login.bank.example"},
		{"p=quarantine", "held", "dmarc=fail", "dmarc_quarantine"},
		{"t=y", "held", "policy_test_mode", "dmarc_quarantine"},
		{"mailing list", "held", "mailing_list", "dmarc_indirect"},
		{"forged in our name", "delivered", "dmarc=fail", ""},
		{"without DMARC", "delivered", "dmarc=none", ""},
		{"null sender", "delivered", "spf=pass smtp.helo=mail.lists.example", ""},
		{"two From fields", "rejected", "", "550 5.7.1"},
		{"silent", "delivered", "dmarc=temperror", ""},
	}
	dec := json.NewDecoder(&out)
	for i, w := range want {
		var o Outcome
		if err := dec.Decode(&o); err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
		label := strings.Join(strings.Fields(strings.Join(o.Results, " ")), " ")
		if !strings.Contains(o.Title, w.title) || o.Verdict != w.verdict || !strings.Contains(label, w.label) || !strings.HasPrefix(o.Reply, w.reply) {
			t.Errorf("message %d: %+v, want %+v", i+1, o, w)
		}
		ours := 0
		for _, r := range o.Results {
			if authres.NewIDs(authServID).Claimed(r) {
				ours++
			}
		}
		if o.Verdict == "rejected" != (ours == 0) || ours > 1 {
			t.Errorf("message %d: %d fields in our name", i+1, ours)
		}
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Errorf("more output than messages: %v", err)
	}
}

// golden compares a text with a file of testdata. UPDATE=demo writes the file anew; read the difference.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if os.Getenv("UPDATE") == "demo" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // everybody may read it
			t.Fatal(err)
		}
	}
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines, want := strings.Split(got, "\n"), strings.Split(string(octets), "\n")
	for n := range max(len(lines), len(want)) {
		g, w := "", ""
		if n < len(lines) {
			g = lines[n]
		}
		if n < len(want) {
			w = want[n]
		}
		if g != w {
			t.Fatalf("%s:%d: %q, want %q (UPDATE=demo writes the file anew)", file, n+1, g, w)
		}
	}
}

// changing are the parts of the demo's output that differ from run to run.
var changing = []struct {
	pattern *regexp.Regexp
	put     string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`header\.b=("[^"]+"|[\w+]{8})`), "header.b=SIGNATURE"},
	{regexp.MustCompile(`temperror reason="(dns|dns_timeout|time-limit)"`), `temperror reason="TIME"`}, // of the silent domain
	{regexp.MustCompile(`(?m)([( ])[0-9A-V]{8}(\)|$)`), "${1}ID$2"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d`), "DATE"},
	{regexp.MustCompile(`\d\d:\d\d UTC`), "TIME UTC"},
	{regexp.MustCompile(`<report_id>[^<]+`), "<report_id>ID"},
	{regexp.MustCompile(`<(begin|end)>\d{10}<`), "<$1>TIME<"},
}

// ending ends a context when the end of the report is written.
type ending struct {
	bytes.Buffer
	end func()
}

func (e *ending) Write(b []byte) (int, error) {
	n, err := e.Buffer.Write(b)
	if bytes.Contains(e.Bytes(), []byte("</feedback>\n")) {
		e.end()
	}
	return n, err
}

// TestText compares what the demo prints: the messages, and the report about those whose author is bank.example or
// below it. It ends there, because the month takes long; TestShowsReadiness compares that.
func TestText(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	out := ending{end: end}
	if err := Run(ctx, &out, Options{Version: "v1"}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	text := out.String()
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.put)
	}
	golden(t, "demo.txt", text)
	if strings.Contains(text[strings.Index(text, "<?xml"):], "reader@mx.example") {
		t.Error("a recipient is shown")
	}
}

// TestKeep checks that with Keep the daemon and its metrics stay up until ctx ends, and that neither the report nor the
// month is shown.
func TestKeep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, tt := range []struct {
		json       bool
		last, lack string
	}{
		{false, "staying up: milter inet:127.0.0.1:", "The DMARC report"},
		{true, `"milter":"127.0.0.1:`, "daemon on"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := Run(ctx, w, Options{Keep: true, JSON: tt.json})
			w.Close()
			ended <- err
		}()
		var text strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(text.String(), tt.last) {
			n, err := r.Read(buf)
			if err != nil {
				t.Fatalf("%v after %s", err, text.String())
			}
			text.Write(buf[:n])
		}
		url := regexp.MustCompile(`http://[^\s"]+/metrics`).FindString(text.String())
		if metrics := web.Get(t, url); !strings.Contains(metrics, `sekimori_messages_total{verdict="reject"} 3`) {
			t.Errorf("metrics: %s", metrics)
		}
		milter := regexp.MustCompile(`milter"?:?"? ?(?:inet:)?(127\.0\.0\.1:\d+)[,"]`).FindAllStringSubmatch(text.String(), -1)
		if c, err := client.Dial("tcp", milter[len(milter)-1][1]); err != nil {
			t.Error(err)
		} else if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
			t.Error(err)
		} else if err := c.Quit(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-ended:
			t.Errorf("Run ended: %v", err)
		default:
		}
		cancel()
		if next := "\nNext: README.md puts the daemon behind Postfix or Sendmail; \"sekimori explain FILE.eml --ip ADDRESS\" says why a stored message is decided as it is.\n"; strings.Contains(text.String(), next) == tt.json {
			t.Errorf("the next step: %s", &text)
		}
		rest, err := io.ReadAll(r)
		if err != nil || len(rest) > 0 || strings.Contains(text.String(), tt.lack) || strings.Count(text.String(), "REJECTED: 550 5.7.1 ") != map[bool]int{false: 3}[tt.json] {
			t.Errorf("%v, %s%s", err, &text, rest)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if conn, err := net.Dial("tcp", milter[len(milter)-1][1]); err == nil {
			conn.Close()
			t.Error("the milter outlives Run")
		}
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "sekimori-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %q is left", err, left)
	}
}

// TestJudge has every answer of a milter.
func TestJudge(t *testing.T) {
	raw := []byte("From: a@a.example\r\nAuthentication-results: old\r\nfrom:\r\n b@b.example\r\nX: y\r\n\r\nbody\r\n")
	reply := func(code int) client.Action {
		return client.Action{Kind: client.Custom, Code: code, Lines: []string{"no"}}
	}
	quarantine := client.Modification{Kind: client.Quarantine, Value: "held back"}
	insert := client.Modification{Kind: client.InsertHeader, Name: "Authentication-Results", Value: " new"}
	for _, tt := range []struct {
		action         client.Action
		modifications  []client.Modification
		verdict, reply string
		results        string
	}{
		{client.Action{Kind: client.Accept}, nil, "delivered", "", "old"},
		{client.Action{Kind: client.Continue}, nil, "delivered", "", "old"},
		{client.Action{Kind: client.Continue}, []client.Modification{insert}, "delivered", "", "new old"},
		{client.Action{Kind: client.Continue}, []client.Modification{insert, quarantine}, "held", "held back", "new old"},
		{client.Action{Kind: client.Reject}, []client.Modification{insert, quarantine}, "rejected", "reject", ""},
		{reply(550), nil, "rejected", "550 no", ""},
		{reply(500), nil, "rejected", "500 no", ""},
		{reply(499), nil, "deferred", "499 no", ""},
		{reply(451), []client.Modification{insert, quarantine}, "deferred", "451 no", ""},
		{client.Action{Kind: client.Tempfail}, nil, "deferred", "tempfail", ""},
	} {
		var o Outcome
		o.judge(raw, client.Result{Action: tt.action, Modifications: tt.modifications})
		if strings.Join(o.From, ",") != "a@a.example,b@b.example" || o.Verdict != tt.verdict || o.Reply != tt.reply || strings.Join(o.Results, " ") != tt.results {
			t.Errorf("%s %v: %+v", tt.action, tt.modifications, o)
		}
	}
}

// TestSend has a milter that closes the connection after some answers.
func TestSend(t *testing.T) {
	mail := Mail{Title: "title", Client: "192.0.2.1", HELO: "helo.example", From: "a@a.example", To: "b@b.example", Raw: []byte("From: a@a.example\r\n\r\nbody\r\n")}
	for answers, want := range []string{"demo: EOF", "demo: EOF", "demo: EOF", "demo: client: mail: EOF", "demo: client: rcpt: EOF"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			answer(conn, answers)
		}()
		_, err = send(l.Addr().String(), "Q1", mail)
		if err == nil || err.Error() != want {
			t.Errorf("after %d answers: %v, want %s", answers, err, want)
		}
		l.Close()
		<-ended
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if o, err := send(l.Addr().String(), "Q1", mail); err == nil || !strings.HasPrefix(err.Error(), "demo: dial tcp") || o.Title != "title" {
		t.Errorf("nobody listens: %v, %+v", err, o)
	}
}

// answer answers so many events, the negotiation as one that wants all of them, and reads one more.
func answer(conn net.Conn, n int) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(conn, frame); err != nil || frame[0] != 'D' && n == 0 {
			return
		}
		reply := []byte{0, 0, 0, 1, 'c'}
		switch frame[0] {
		case 'D': // macros
			continue
		case 'O':
			reply = append([]byte{0, 0, 0, 13, 'O', 0, 0, 0, 6}, make([]byte, 8)...)
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
		n--
	}
}

var errFull = errors.New("no space left")

// full takes no text that contains a word.
type full struct{ word string }

func (f full) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(f.word)) {
		return 0, errFull
	}
	return len(b), nil
}

// stopping takes no more after some writes.
type stopping struct {
	left int
	full bool
}

func (s *stopping) Write(b []byte) (int, error) {
	if s.left--; s.left < 0 {
		s.full = true
		return 0, errFull
	}
	return len(b), nil
}

// TestOutputEnds checks that Run says if its output cannot be written, and that it ends with what it shows then.
func TestOutputEnds(t *testing.T) {
	for _, tt := range []struct {
		word string
		json bool
	}{{"two From fields", false}, {"two From fields", true}, {"The DMARC report", false}} {
		if err := Run(t.Context(), full{tt.word}, Options{JSON: tt.json}); !errors.Is(err, errFull) {
			t.Errorf("%s, JSON %t: %v", tt.word, tt.json, err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "gone"))
	if err := Run(t.Context(), full{"not written"}, Options{JSON: true}); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "demo: ") {
		t.Errorf("no temporary directory: %v", err)
	}
}

// TestReportEnds shows the report of a store with one message to outputs and from stores that fail.
func TestReportEnds(t *testing.T) {
	z, mails, err := World("mx.other.example")
	if err != nil {
		t.Fatal(err)
	}
	daemon, server, cfg, err := start(z, "v1", filepath.Join(t.TempDir(), "demo.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	o, err := send(daemon.Addrs()[0].String(), "Q1", mails[0])
	daemon.Stop(t.Context())
	if err != nil || o.Verdict != delivered {
		t.Errorf("%v, %+v", err, o)
	}
	good := 0
	for ; good < 100; good++ { // writes before the output is full
		out := &stopping{left: good}
		if err := showReport(t.Context(), out, cfg, "v1"); !out.full {
			if err != nil {
				t.Error(err)
			}
			break
		} else if !errors.Is(err, errFull) {
			t.Errorf("full after %d writes: %v", good, err)
		}
	}
	if good < 4 || good == 100 {
		t.Errorf("%d writes", good)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := showReport(cancelled, full{"not written"}, cfg, "v1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	cfg.Store.URL = "sqlite:" + t.TempDir()
	if err := showReport(t.Context(), full{"not written"}, cfg, "v1"); err == nil {
		t.Error("a directory was taken for a store")
	}
	forged := bytes.Count(mails[9].Raw, []byte("Authentication-Results: MX.OTHER.EXAMPLE; dmarc=pass"))
	if mails[9].Name != Forged || forged != 1 {
		t.Errorf("%s has %d forged fields", mails[9].Name, forged)
	}
}

// TestTXT checks where a long value is split.
func TestTXT(t *testing.T) {
	for n, want := range map[int][]int{0: {0}, 1: {1}, 254: {254}, 255: {255}, 256: {255, 1}, 510: {255, 255}, 511: {255, 255, 1}} {
		var got []int
		for part := range strings.SplitSeq(txt(strings.Repeat("x", n)), " ") {
			got = append(got, len(part)-2)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d octets: %v, want %v", n, got, want)
		}
	}
}
