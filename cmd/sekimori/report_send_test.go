package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	reports "sekimori/internal/report"
	"sekimori/internal/reporting"
	"sekimori/internal/store/storetest"
)

// mailServer is an SMTP server that takes every mail, and keeps its recipient, Message-ID and file name.
type mailServer struct {
	mu    sync.Mutex
	mails []string
}

func (m *mailServer) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mails)
}

func (m *mailServer) serve(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.session(conn)
		}
	}()
	return l.Addr().String()
}

var interesting = regexp.MustCompile(`(?i)^RCPT TO:<[^>]*>|^Message-ID: .*|filename="?[^"]*`)

func (m *mailServer) session(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprint(conn, "220 mx ESMTP\r\n")
	inData, mail := false, ""
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		mail += interesting.FindString(lines.Text())
		word, _, _ := strings.Cut(lines.Text(), " ")
		reply := "250 2.0.0 Ok: queued as 4X\r\n"
		switch {
		case inData && lines.Text() != ".":
			continue
		case inData:
			m.mu.Lock()
			m.mails = append(m.mails, mail)
			m.mu.Unlock()
			inData, mail = false, ""
		case word == "DATA":
			inData, reply = true, "354 go\r\n"
		case word == "QUIT":
			return
		}
		_, _ = fmt.Fprint(conn, reply)
	}
}

// TestReportSend sends the report of the day before yesterday to its destination by SMTP, and then once
// more, while another process would have the store open.
func TestReportSend(t *testing.T) {
	conf, store, now := reportWorld(t)
	server := &mailServer{}
	raw, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	conf = file(t, "send.yaml", strings.Replace(string(raw), "mail: {server: '127.0.0.1:1'}", "aggregate: {send: true}\n  mail: {server: '"+server.serve(t)+"', tls: none, bounces: ''}", 1))
	closed := now.AddDate(0, 0, -2)
	for _, at := range []time.Time{now, closed} {
		window := reports.WindowAt(at, 24*time.Hour)
		b := storetest.Batch(fmt.Sprint(at), storetest.Tally(storetest.Policy("shop.example"), window, storetest.Rows(0, 2)))
		b.Current = window
		if err := store.Add(t.Context(), time.Unix(window.Begin, 0), b); err != nil {
			t.Fatal(err)
		}
	}
	send := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := command(t, append([]string{"report", "send", "--config", conf}, args...)...)
		if code != want || stderr != "" {
			t.Fatalf("%s: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return stdout
	}
	if out := send(1, "--domain", "shop.example", "--window", "today"); !strings.Contains(out, "still takes messages") || len(server.taken()) != 0 {
		t.Errorf("an open window: %s", out)
	}
	day := closed.Format(time.DateOnly)
	if out := send(0, "--window", day); !strings.Contains(out, "shop.example, "+day+" UTC, 2 messages: sent to 1 of 2 destinations") || !strings.Contains(out, "rua@shop.example sent, rua@far.example unverified") {
		t.Errorf("sent: %s", out)
	}
	var again reporting.Sent
	if err := json.Unmarshal([]byte(send(0, "--domain", "shop.example", "--window", day, "--json")), &again); err != nil || len(again.Reports) != 1 {
		t.Fatal(again, err)
	}
	mails := server.taken()
	if len(mails) != 2 || mails[0] != mails[1] || !strings.Contains(mails[0], "<rua@shop.example>") || !strings.Contains(mails[0], again.Reports[0].ReportID) ||
		!strings.Contains(mails[0], ".xml.gz") {
		t.Errorf("%q, %+v", mails, again)
	}
	if r := again.Reports[0]; r.State != "done" || r.Outcome != "sent" || r.Failed {
		t.Errorf("%+v", r)
	}
}
