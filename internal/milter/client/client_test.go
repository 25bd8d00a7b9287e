package client

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		why, raw string
		header   []Field
		body     string
	}{
		{"LF", "A: b\nC: d\n\nbody\n", []Field{{"A", " b"}, {"C", " d"}}, "body\r\n"},
		{"CRLF", "A: b\r\n\r\nbody\r\n", []Field{{"A", " b"}}, "body\r\n"},
		{"a fold", "A: b\n\tc\n d\n\nx\n", []Field{{"A", " b\r\n\tc\r\n d"}}, "x\r\n"},
		{"space before the colon is lost", "Subject : x\n\n", []Field{{"Subject", " x"}}, ""},
		{"no body", "A: b\n", []Field{{"A", " b"}}, ""},
		{"an open last line of the header", "A: b", []Field{{"A", " b"}}, ""},
		{"an open last line of the body", "A: b\n\nx", []Field{{"A", " b"}}, "x\r\n"},
		{"no header", "\nbody\n", nil, "body\r\n"},
		{"a line that is not a field", "A: b\nno field\nC: d\n", []Field{{"A", " b"}}, "no field\r\nC: d\r\n"},
		{"a name with a space", "From me: b\n", nil, "From me: b\r\n"},
		{"no name", ": b\n", nil, ": b\r\n"},
		{"a fold at the start", " a: b\n", nil, " a: b\r\n"},
		{"a stray CR", "A: b\rc\n\nd\re\n", []Field{{"A", " b c"}}, "d e\r\n"},
		{"an empty line first in the body", "A: b\n\n\nx\n", []Field{{"A", " b"}}, "\r\nx\r\n"},
		{"nothing", "", nil, ""},
	} {
		header, body := Split([]byte(tc.raw))
		if !slices.Equal(header, tc.header) || string(body) != tc.body {
			t.Errorf("%s: %q %q", tc.why, header, body)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("A: b\r\n\tc\n\nbody\rx"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		header, body := Split(raw)
		for _, h := range header {
			if h.Name == "" || strings.ContainsAny(h.Name, " \t\r\n:") {
				t.Errorf("name %q", h.Name)
			}
		}
		if s := strings.ReplaceAll(string(body), "\r\n", ""); strings.ContainsAny(s, "\r\n") {
			t.Errorf("body %q", body)
		}
	})
}

func TestApply(t *testing.T) {
	header := []Field{{"A", " 1"}, {"B", " x"}, {"a", " 2"}, {"A", " 3"}}
	for _, tc := range []struct {
		why  string
		mods []Modification
		want string
	}{
		{"insert on top", []Modification{{InsertHeader, 0, "N", " n"}}, "N n|A 1|B x|a 2|A 3"},
		{"insert before the second", []Modification{{InsertHeader, 2, "N", " n"}}, "A 1|N n|B x|a 2|A 3"},
		{"insert beyond the end", []Modification{{InsertHeader, 99, "N", " n"}}, "A 1|B x|a 2|A 3|N n"},
		{"add", []Modification{{AddHeader, 0, "N", " n"}}, "A 1|B x|a 2|A 3|N n"},
		{"ascending deletion leaves one: it renumbers", []Modification{
			{DeleteHeader, 1, "A", ""}, {DeleteHeader, 2, "A", ""}, {DeleteHeader, 3, "A", ""}}, "B x|a 2"},
		{"descending deletion does not", []Modification{
			{DeleteHeader, 3, "A", ""}, {DeleteHeader, 2, "A", ""}, {DeleteHeader, 1, "A", ""}}, "B x"},
		{"change without case", []Modification{{ChangeHeader, 2, "A", " new\n fold"}}, "A 1|B x|A new\r\n fold|A 3"},
		{"change of a missing field adds it", []Modification{{ChangeHeader, 9, "A", " 4"}}, "A 1|B x|a 2|A 3|A 4"},
		{"deletion of a missing field", []Modification{{DeleteHeader, 2, "B", ""}}, "A 1|B x|a 2|A 3"},
		{"quarantine edits nothing", []Modification{{Quarantine, 0, "", "why"}}, "A 1|B x|a 2|A 3"},
	} {
		var got []string
		for _, f := range Apply(header, tc.mods) {
			got = append(got, f.Name+f.Value)
		}
		if s := strings.Join(got, "|"); s != tc.want {
			t.Errorf("%s: %q, want %q", tc.why, s, tc.want)
		}
	}
	if header[0].Value != " 1" || len(header) != 4 {
		t.Error("the argument was changed")
	}
}

func TestParseReply(t *testing.T) {
	for _, tc := range []struct {
		why, data string
		want      string // "" for malformed
	}{
		{"plain", "550 5.7.1 no\x00", "550 5.7.1 no"},
		{"several lines", "451-4.7.1 a\r\n451 4.7.1 b\x00", "451 4.7.1 a 4.7.1 b"},
		{"doubled per cent signs", "550 100%% of 5%%d\x00", "550 00"},
		{"doubled", "550 5.0.0 100%% of\x00", "550 5.0.0 100% of"},
		{"single per cent signs are dropped", "550 5.0.0 5% off\x00", "550 5.0.0 5 off"},
		{"no enhanced code", "550 no\x00", "550 no"},
		{"mixed classes", "550 4.7.1 mixed\x00", ""},
		{"a wrong code", "354 go\x00", ""},
		{"codes differ between lines", "550-5.7.1 a\r\n551 5.7.1 b\x00", ""},
		{"the last line is marked as continued", "550-5.7.1 a\x00", ""},
		{"the first line is not marked as continued", "550 5.7.1 a\r\n550 5.7.1 b\x00", ""},
		{"too short", "55\x00", ""},
		{"only a code", "550\x00", ""},
		{"a code and a space", "550 \x00", "550 "},
		{"no number", "5x0 no\x00", ""},
		{"a negative number", "-50 no\x00", ""},
		{"the lowest code", "400 no\x00", "400 no"},
		{"below it", "399 no\x00", ""},
		{"the highest code", "599 no\x00", "599 no"},
		{"above it", "600 no\x00", ""},
		{"no NUL", "550 no", ""},
		{"two strings", "550 no\x00x\x00", ""},
		{"empty", "", ""},
	} {
		a, err := parseReply([]byte(tc.data))
		switch {
		case tc.why == "doubled per cent signs": // the first digits of the enhanced code and the reply code differ
			if !errors.Is(err, ErrMalformed) {
				t.Error(tc.why, a, err)
			}
		case tc.want == "" && !errors.Is(err, ErrMalformed), tc.want != "" && (err != nil || a.String() != tc.want):
			t.Errorf("%s: %q %v", tc.why, a.String(), err)
		}
	}
}

func TestParseModification(t *testing.T) {
	for _, tc := range []struct {
		why  string
		cmd  byte
		data string
		want Modification
		bad  bool
	}{
		{"insert", 'i', "\x00\x00\x00\x00A\x00 b\x00", Modification{InsertHeader, 0, "A", " b"}, false},
		{"add", 'h', "A\x00 b\x00", Modification{AddHeader, 0, "A", " b"}, false},
		{"change", 'm', "\x00\x00\x00\x02A\x00 b\x00", Modification{ChangeHeader, 2, "A", " b"}, false},
		{"delete", 'm', "\x00\x00\x00\x02A\x00\x00", Modification{DeleteHeader, 2, "A", ""}, false},
		{"quarantine", 'q', "why\x00", Modification{Quarantine, 0, "", "why"}, false},
		{"no index", 'i', "\x00\x00", Modification{}, true},
		{"no name", 'h', "\x00 b\x00", Modification{}, true},
		{"no value", 'h', "A\x00", Modification{}, true},
		{"open value", 'h', "A\x00b", Modification{}, true},
		{"open reason", 'q', "why", Modification{}, true},
		{"body", 'b', "x", Modification{}, true},
	} {
		m, ok, err := parseModification(tc.cmd, []byte(tc.data))
		if (err != nil) != tc.bad || ok == tc.bad || !tc.bad && m != tc.want {
			t.Errorf("%s: %+v %v %v", tc.why, m, ok, err)
		}
	}
	if _, ok, err := parseModification('c', nil); ok || err != nil {
		t.Error("a reply is not an edit:", ok, err)
	}
}

// script starts a milter that answers with fixed octets. The returned function tells which
// octets the milter got.
func script(t *testing.T, answers string) (*Client, func() string) {
	t.Helper()
	ours, theirs := net.Pipe()
	sent := make(chan string)
	go func() {
		go func() { _, _ = io.WriteString(theirs, answers) }()
		b, _ := io.ReadAll(theirs)
		sent <- string(b)
	}()
	c := New(ours)
	return c, func() string {
		_ = ours.Close()
		return <-sent
	}
}

const accepting = "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x00"

func TestSendsAsPostfix(t *testing.T) {
	// The milter says that it answers only the last event, keeps the leading space, and asks for
	// the macro "i" at MAIL only.
	c, sent := script(t, "\x00\x00\x00\x13O\x00\x00\x00\x06\x00\x00\x01\x31\x00\x1f\xf1\x80\x00\x00\x00\x02i\x00"+
		"\x00\x00\x00\x01p\x00\x00\x00\x01a")
	if _, err := c.Negotiate(PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	res, err := c.SendMessage(Envelope{From: "<a@b>", FromArgs: []string{"SIZE=1"}, To: []string{"<c@d>"}, QueueID: "Q1"},
		[]byte("Bcc: secret\nReturn-Path: <x>\nA: b\n c\nN: x\x00y\nL: "+strings.Repeat("x", 70000)+"\n\n"+strings.Repeat("y\n", 40000)))
	if err != nil || res.Action.Kind != Accept || res.Stage != "end_of_message" || c.Progress() != 1 {
		t.Fatal(res, err)
	}
	got := sent()
	for _, want := range []string{
		"DMi\x00Q1\x00\x00\x00\x00\x0eM<a@b>\x00SIZE=1\x00", "LA\x00 b\n c\x00", "LN\x00 x\x00", "\x00\x01\x00\x00By\r\n",
		"\x00\x00\x00\x01E\x00\x00\x00\x01A", "L" + "L\x00 " + strings.Repeat("x", 59999) + "\x00",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %.40q", want)
		}
	}
	for _, not := range []string{"\x00\x00\x00\x02D", "secret", "Return-Path", strings.Repeat("x", 60000)} {
		if strings.Contains(got, not) {
			t.Errorf("%.40q was sent", not)
		}
	}
}

func TestNegotiationRefusesMoreThanOffered(t *testing.T) {
	for _, answer := range []string{
		accepting + "\x00\x00\x00\x01",                              // a protocol flag that was not offered
		"\x00\x00\x00\x01c",                                         // no answer to the negotiation
		"\x00\x00\x00\x05O\x00\x00\x00\x06",                         // too short
		"\x00\x00\x00\x00",                                          // an empty frame
		accepting[:8] + "\x07" + accepting[9:] + "\x00\x00\x00\x00", // a newer version
	} {
		c, sent := script(t, answer)
		if _, err := c.Negotiate(Offer{Version: 6}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", answer, err)
		}
		sent()
	}
}

func TestStopsWhereTheMilterDecides(t *testing.T) {
	const (
		cont   = "\x00\x00\x00\x01c"
		accept = "\x00\x00\x00\x01a"
		reject = "\x00\x00\x00\x01r"
		skip   = "\x00\x00\x00\x01s"
	)
	for _, tc := range []struct {
		answers string
		stage   string
		kind    Kind
	}{
		{reject, "mail", Reject},
		{cont + reject + reject, "rcpt", Reject},
		{cont + accept, "rcpt", Accept},
		{cont + reject + cont + reject, "data", Reject},
		{strings.Repeat(cont, 4) + reject, "header", Reject},
		{strings.Repeat(cont, 5) + reject, "end_of_header", Reject},
		{strings.Repeat(cont, 6) + reject, "body", Reject},
		{strings.Repeat(cont, 6) + skip + reject, "end_of_message", Reject},
		{strings.Repeat(cont, 6) + cont + cont, "body", Continue}, // the answer to the end of the message is added below
	} {
		answers := accepting + "\x00\x00\x00\x00" + tc.answers
		if tc.kind == Continue {
			answers += cont
			tc.stage = "end_of_message"
		}
		c, sent := script(t, answers)
		if _, err := c.Negotiate(PostfixOffer()); err != nil {
			t.Fatal(err)
		}
		res, err := c.SendMessage(Envelope{From: "<>", To: []string{"<a>", "<b>"}}, []byte("A: b\n\n"+strings.Repeat("x", 70000)))
		if err != nil || res.Stage != tc.stage || res.Action.Kind != tc.kind {
			t.Errorf("%q: %+v %v", tc.answers, res, err)
		}
		if got := sent(); !strings.HasSuffix(got, "\x00\x00\x00\x01A") {
			t.Errorf("%q: no ABORT at the end", tc.answers)
		}
	}
}

// TestAnswerCannotBeRead: an error is returned with the stage at which it came.
func TestAnswerCannotBeRead(t *testing.T) {
	const insertion = "\x00\x00\x00\x0aiN\x00\x00\x00\x01x\x00y\x00"
	stages := []string{"mail", "rcpt", "rcpt", "data", "header", "end_of_header", "body", "end_of_message"}
	for n, stage := range stages {
		for _, bad := range []string{"\x00\x00\x00\x00", "\x00\x00\x00\x01z", "\xff\xff\xff\xff"} {
			c, sent := script(t, accepting+"\x00\x00\x00\x00"+strings.Repeat("\x00\x00\x00\x01c", n)+bad)
			if _, err := c.Negotiate(PostfixOffer()); err != nil {
				t.Fatal(err)
			}
			res, err := c.SendMessage(Envelope{From: "<>", To: []string{"<a>", "<b>"}}, []byte("A: b\n\nx"))
			if !errors.Is(err, ErrMalformed) || !strings.HasPrefix(err.Error(), "client: "+stage+": ") || res.Stage != stage || len(res.Recipients) != min(2, max(0, n-1)) {
				t.Errorf("%s, %q: %+v, %v", stage, bad, res, err)
			}
			sent()
		}
	}
	for _, answer := range []string{"\x00\x00\x00\x00", insertion + "\x00\x00\x00\x00"} {
		c, sent := script(t, answer)
		if _, _, err := c.EndOfMessage(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", answer, err)
		}
		sent()
	}
}

// TestConnect checks what is sent of the address of a client.
func TestConnect(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"", "\x00\x00\x00\x04Ch\x00U"},
		{"192.0.2.1:25", "\x00\x00\x00\x2bDC{client_addr}\x00192.0.2.1\x00{client_port}\x0025\x00\x00\x00\x00\x10Ch\x004\x00\x19192.0.2.1\x00"},
		{"[2001:db8::1]:258", "\x00\x00\x00\x33DC{client_addr}\x00IPv6:2001:db8::1\x00{client_port}\x00258\x00\x00\x00\x00\x12Ch\x006\x01\x022001:db8::1\x00"},
	} {
		c, sent := script(t, "\x00\x00\x00\x01c")
		c.wanted = map[byte][]string{'C': {"{client_addr}", "{client_port}"}}
		address, _ := netip.ParseAddrPort(tt.address)
		if a, err := c.Connect("h", address); err != nil || a.Kind != Continue {
			t.Errorf("%s: %v, %v", tt.address, a, err)
		}
		if got := sent(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.address, got, tt.want)
		}
	}
}

func TestConnectionLost(t *testing.T) {
	c, sent := script(t, accepting+"\x00\x00\x00\x00")
	if _, err := c.Negotiate(PostfixOffer()); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, err := c.SendMessage(Envelope{From: "<>", To: []string{"<a>"}}, nil); err == nil || !strings.HasPrefix(err.Error(), "client: mail: ") {
		t.Error(err)
	}
	sent()
	if err := c.SendMacro('C', "x", "y"); err == nil {
		t.Error("a macro was sent")
	}
	for size, want := range map[int]bool{bodyChunk: false, bodyChunk + 1: true} {
		if _, err := c.Body(make([]byte, size)); err == nil || strings.Contains(err.Error(), "body chunk of") != want {
			t.Errorf("a chunk of %d octets: %v", size, err)
		}
	}
}
