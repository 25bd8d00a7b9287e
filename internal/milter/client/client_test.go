package client

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
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
		{"a word", "word\n\nx\n", nil, "word\r\n\r\nx\r\n"},
		{"a field behind an empty line", "\nA: b\n", nil, "A: b\r\n"},
		{"a field in a fold behind an empty line", "\n A: b\n", nil, " A: b\r\n"},
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
		{"change of the first", []Modification{{ChangeHeader, 1, "A", " 9"}}, "A 9|B x|a 2|A 3"},
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

// TestActions checks what each answer is, how it is shown, and whether the message goes on.
func TestActions(t *testing.T) {
	for cmd, want := range map[byte]string{'c': "continue true", 'a': "accept true", 's': "skip true", 'r': "reject false", 't': "tempfail false", 'd': "discard false", 'y': "550 no false"} {
		a, err := parseAction(cmd, []byte("550 no\x00"))
		if got := fmt.Sprint(a, " ", a.Delivers()); got != want || err != nil {
			t.Errorf("%c: %q, %v", cmd, got, err)
		}
	}
	if a, err := parseAction('z', nil); a.Kind != "" || !errors.Is(err, ErrMalformed) {
		t.Errorf("%+v, %v", a, err)
	}
	c, sent := script(t, "\x00\x00\x00\x09i\x00\x00\x00\x01N\x00y\x00\x00\x00\x00\x02qx")
	a, mods, err := c.EndOfMessage()
	if a.Kind != "" || len(mods) != 1 || fmt.Sprint(err) != `client: malformed frame from the milter: edit 'q' "x"` {
		t.Errorf("%+v, %+v, %v", a, mods, err)
	}
	sent()
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
		{"nothing but a digit of another class", "550 4\x00", ""},
		{"the least digit", "550 0.0.0\x00", ""},
		{"the greatest digit", "550 9.0.0\x00", ""},
		{"a sign before the digits", "550 /4\x00", "550 /4"},
		{"a sign behind the digits", "550 :4\x00", "550 :4"},
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
		{"two reasons", 'q', "why\x00x\x00", Modification{}, true},
		{"body", 'b', "x", Modification{}, true},
	} {
		m, ok, err := parseModification(tc.cmd, []byte(tc.data))
		if (err != nil) != tc.bad || ok == tc.bad || !tc.bad && m != tc.want {
			t.Errorf("%s: %+v %v %v", tc.why, m, ok, err)
		}
	}
	for _, cmd := range "be+-2" {
		if _, ok, err := parseModification(byte(cmd), []byte("\x00\x00\x00\x01A\x00b\x00")); ok || fmt.Sprint(err) != fmt.Sprintf("client: edit %q is not supported", cmd) {
			t.Errorf("%c: %v, %v", cmd, ok, err)
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
		{cont + "\x00\x00\x00\x01d", "rcpt", Discard},
		{cont + cont + reject + reject, "data", Reject},
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

// TestOffer compares what Postfix offers and sends.
func TestOffer(t *testing.T) {
	if got := PostfixOffer(); got != (Offer{6, 0x1ff, 0x1fffff}) {
		t.Errorf("%+v", got)
	}
	id := []string{"i"}
	want := map[byte][]string{
		'C': {"j", "{daemon_name}", "{daemon_addr}", "v", "_"}, 'H': {"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"},
		'M': {"i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}"},
		'R': {"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"}, 'T': id, 'L': id, 'N': id, 'B': id, 'E': id,
	}
	if got := defaultMacros(); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q", got)
	}
	for stage, commands := range []string{"C", "H", "M", "R", "T", "BE", "LN", ""} {
		c := New(nil)
		if err := c.readSymList(slices.Concat([]byte{0, 0, 0, byte(stage)}, []byte("a  {b}\x00"))); err != nil {
			t.Fatal(err)
		}
		for command, before := range want {
			expected := before
			if strings.ContainsRune(commands, rune(command)) {
				expected = []string{"a", "{b}"}
			}
			if !slices.Equal(c.wanted[command], expected) {
				t.Errorf("stage %d, %c: %q", stage, command, c.wanted[command])
			}
		}
	}
	for list, ok := range map[string]bool{"": true, "\x00\x00\x00\x00\x00": true, "\x00\x00\x00\x00a\x00\x00\x00\x00\x01b\x00": true, "\x00": false, "\x00\x00\x00\x00": false,
		"\x00\x00\x00\x00a": false, "\x00\x00\x00\x00\x00\x00": false} {
		if err := New(nil).readSymList([]byte(list)); (err == nil) != ok || err != nil && (!errors.Is(err, ErrMalformed) || !strings.HasSuffix(err.Error(), ": macro list")) {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// TestEvents sends each event to a milter that does not want it, to one that does not answer it, and to one that
// wants and answers this event alone.
func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		name           string
		skip, silent   uint32
		send           func(*Client) (Action, error)
		sent, stripped string // stripped if the milter did not ask for the leading space
	}{
		{"connect", 0x1, 0x1000, func(c *Client) (Action, error) { return c.Connect("h", netip.AddrPort{}) }, "\x00\x00\x00\x04Ch\x00U", ""},
		{"helo", 0x2, 0x2000, func(c *Client) (Action, error) { return c.Helo("h") }, "\x00\x00\x00\x03Hh\x00", ""},
		{"mail", 0x4, 0x4000, func(c *Client) (Action, error) { return c.Mail("<a@b>", "x") }, "\x00\x00\x00\x12DM{mail_addr}\x00a@b\x00\x00\x00\x00\x09M<a@b>\x00x\x00", ""},
		{"rcpt", 0x8, 0x8000, func(c *Client) (Action, error) { return c.Rcpt("<a@b>") }, "\x00\x00\x00\x12DR{rcpt_addr}\x00a@b\x00\x00\x00\x00\x07R<a@b>\x00", ""},
		{"data", 0x200, 0x10000, func(c *Client) (Action, error) { return c.Data() }, "\x00\x00\x00\x01T", ""},
		{"header", 0x20, 0x80, func(c *Client) (Action, error) { return c.Header("A", " b") }, "\x00\x00\x00\x06LA\x00 b\x00", "\x00\x00\x00\x05LA\x00b\x00"},
		{"end of header", 0x40, 0x40000, func(c *Client) (Action, error) { return c.EndOfHeader() }, "\x00\x00\x00\x01N", ""},
		{"body", 0x10, 0x80000, func(c *Client) (Action, error) { return c.Body([]byte("x")) }, "\x00\x00\x00\x02Bx", ""},
	} {
		const all = 0x1fffff
		for _, flags := range []struct {
			protocol uint32
			answer   Kind
			sent     string
		}{{tt.skip, Continue, ""}, {tt.silent, Continue, cmp.Or(tt.stripped, tt.sent)}, {0, Reject, cmp.Or(tt.stripped, tt.sent)}, {all &^ tt.skip, Continue, tt.sent}, {all &^ tt.skip &^ tt.silent, Reject, tt.sent}} {
			c, sent := script(t, "\x00\x00\x00\x01r")
			c.negotiated.Protocol = flags.protocol
			if a, err := tt.send(c); err != nil || a.Kind != flags.answer {
				t.Errorf("%s, %#x: %+v, %v", tt.name, flags.protocol, a, err)
			}
			if got := sent(); got != flags.sent {
				t.Errorf("%s, %#x: sent %q, want %q", tt.name, flags.protocol, got, flags.sent)
			}
		}
	}
}

// TestMacroIsRemoved: the null sender has no address, and the queue id is that of one message.
func TestMacroIsRemoved(t *testing.T) {
	c, sent := script(t, strings.Repeat("\x00\x00\x00\x01c", 5)+"\x00\x00\x00\x09i\x00\x00\x00\x01N\x00y\x00"+"\x00\x00\x00\x05qwhy\x00"+"\x00\x00\x00\x01a"+"\x00\x00\x00\x01r")
	c.negotiated.Protocol = 0
	_, err := c.Mail("<a@b>")
	res, err2 := c.SendMessage(Envelope{To: []string{"<a>"}, QueueID: "Q1"}, nil)
	if err != nil || err2 != nil || res.Action.Kind != Accept || !slices.Equal(res.Modifications, []Modification{{InsertHeader, 1, "N", "y"}, {Quarantine, 0, "", "why"}}) {
		t.Errorf("%+v, %v, %v", res, err, err2)
	}
	_, _ = c.Mail("<>")
	if got := sent(); !strings.HasSuffix(got, "E\x00\x00\x00\x01A\x00\x00\x00\x04M<>\x00") || !strings.Contains(got, "DMi\x00Q1\x00\x00\x00\x00\x02M\x00") {
		t.Errorf("%q", got)
	}
}

// TestBounds checks the longest frame, and the parts of a body that has an octet more than one part.
func TestBounds(t *testing.T) {
	for n, want := range map[uint32]string{0: "client: malformed frame from the milter: length 0", maxFrame: "<nil>", maxFrame + 1: "client: malformed frame from the milter: length 1048577"} {
		b := &broken{answers: strings.NewReader(string(binary.BigEndian.AppendUint32(nil, n)) + strings.Repeat("c", int(n)))}
		if _, data, err := New(b).readFrame(); fmt.Sprint(err) != want || err == nil && len(data) != int(n)-1 {
			t.Errorf("%d octets: %d, %v", n, len(data), err)
		}
	}
	for answer, want := range map[string]string{"": "EOF", "\x00": "unexpected EOF", "\x00\x00\x00\x02x": "unexpected EOF", "\x00\x00\x00\x02": "EOF", "\x00\x00\x00\x01p": "EOF"} {
		if cmd, data, err := New(&broken{answers: strings.NewReader(answer)}).readFrame(); fmt.Sprint(err) != want {
			t.Errorf("%q: %c %q, %v", answer, cmd, data, err)
		}
	}
	c, sent := script(t, strings.Repeat("\x00\x00\x00\x01c", 7))
	if _, err := c.SendMessage(Envelope{To: []string{"<a>"}}, []byte("\n"+strings.Repeat("x", bodyChunk-1)+"\n")); err != nil {
		t.Error(err)
	}
	if got := sent(); !strings.HasSuffix(got, "x\r\x00\x00\x00\x02B\n\x00\x00\x00\x01E\x00\x00\x00\x01A") {
		t.Errorf("%q", got[len(got)-30:])
	}
}

// TestNegotiates checks the answer to the negotiation that is returned, and what is said of a wrong one.
func TestNegotiates(t *testing.T) {
	const right = "\x00\x00\x00\x05\x00\x00\x00\x01\x00\x00\x00\x02"
	for answer, want := range map[string]string{
		"\x00\x00\x00\x0dO" + right:                                      "{5 1 2} <nil>",
		"\x00\x00\x00\x0dc" + right:                                      "{0 0 0} client: malformed frame from the milter: answer 'c' to the negotiation",
		"\x00\x00\x00\x0cO" + right[1:]:                                  "{0 0 0} client: malformed frame from the milter: answer 'O' to the negotiation",
		"\x00\x00\x00\x0eO" + right + "x":                                "{5 1 2} client: malformed frame from the milter: macro list",
		"\x00\x00\x00\x0dO\x00\x00\x00\x07" + right[4:]:                  "{7 1 2} client: malformed frame from the milter: asked for {Version:7 Actions:1 Protocol:2}, offered was {Version:6 Actions:511 Protocol:2097151}",
		"\x00\x00\x00\x0dO" + right[:4] + "\x00\x00\x02\x00" + right[8:]: "{5 512 2} client: malformed frame from the milter: asked for {Version:5 Actions:512 Protocol:2}, offered was {Version:6 Actions:511 Protocol:2097151}",
		"": "{0 0 0} EOF",
	} {
		o, err := New(&broken{answers: strings.NewReader(answer)}).Negotiate(PostfixOffer())
		if got := fmt.Sprint(o, err); got != want {
			t.Errorf("%q: %s, want %s", answer, got, want)
		}
	}
}

// broken is a connection on which some calls fail. It answers everything with "continue" if it has no answers.
type broken struct {
	net.Conn
	answers io.Reader
	fails   string // reads, writes, read deadline, write deadline, close, or the end of a write
	until   int    // only so many writes fail, if it is not 0
	wrote   []string
	at      time.Time // the last deadline
}

var errBroken = errors.New("broken")

func (b *broken) call(name string) error {
	if b.fails == name {
		return errBroken
	}
	return nil
}
func (b *broken) SetReadDeadline(at time.Time) error  { b.at = at; return b.call("read deadline") }
func (b *broken) SetWriteDeadline(at time.Time) error { b.at = at; return b.call("write deadline") }
func (b *broken) Close() error                        { return b.call("close") }
func (b *broken) Read(p []byte) (int, error) {
	switch {
	case b.fails == "reads":
		return 0, errBroken
	case b.answers != nil:
		return b.answers.Read(p)
	}
	return copy(p, "\x00\x00\x00\x01c"), nil
}

func (b *broken) Write(p []byte) (int, error) {
	b.wrote = append(b.wrote, string(p))
	if b.fails == "writes" && (b.until == 0 || len(b.wrote) <= b.until) || b.fails != "" && strings.HasSuffix(string(p), b.fails) {
		return 0, errBroken
	}
	return len(p), nil
}

// TestErrors checks that no error of the connection is lost, and that each call has the whole time.
func TestErrors(t *testing.T) {
	calls := map[string]func(*Client) error{
		"negotiate":      func(c *Client) error { _, err := c.Negotiate(PostfixOffer()); return err },
		"mail":           func(c *Client) error { _, err := c.Mail("<a@b>"); return err },
		"end of message": func(c *Client) error { _, _, err := c.EndOfMessage(); return err },
		"flushed abort":  func(c *Client) error { return errors.Join(c.Abort(), c.Flush()) },
		"quit":           func(c *Client) error { return c.Quit() },
		"close":          func(c *Client) error { return c.Close() },
		"a long macro":   func(c *Client) error { return c.SendMacro('C', "x", strings.Repeat("y", 2*bufferSize)) },
	}
	for _, tt := range []struct{ fails, calls string }{
		{"reads", "negotiate, mail, end of message"}, {"read deadline", "negotiate, mail, end of message"},
		{"writes", "negotiate, mail, end of message, flushed abort, quit, a long macro"}, {"write deadline", "negotiate, mail, end of message, flushed abort, quit, a long macro"},
		{"close", "quit, close"}, {"", ""},
	} {
		for name, call := range calls {
			for _, buffered := range []bool{false, true} {
				b := &broken{fails: tt.fails}
				c := New(b)
				if c.Timeout != 30*time.Second {
					t.Errorf("a timeout of %v", c.Timeout)
				}
				if c.Timeout = time.Hour; buffered {
					if c.Buffer(); c.bw.Size() != 128<<10 {
						t.Errorf("a buffer of %d", c.bw.Size())
					}
				}
				begin := time.Now()
				err := call(c)
				if want := strings.Contains(tt.calls, name); errors.Is(err, errBroken) != want || !want && err != nil && name != "negotiate" {
					t.Errorf("%s fails, %s, buffered %v: %v", tt.fails, name, buffered, err)
				}
				if name != "close" && (b.at.Before(begin.Add(time.Hour)) || b.at.After(time.Now().Add(time.Hour))) {
					t.Errorf("%s fails, %s, buffered %v: a deadline after %v", tt.fails, name, buffered, b.at.Sub(begin))
				}
			}
		}
	}
	b := &broken{fails: "writes", until: 1}
	if _, err := New(b).Mail("<a@b>"); !errors.Is(err, errBroken) || len(b.wrote) != 1 {
		t.Errorf("the macros are not written: %v, %q", err, b.wrote)
	}
	b = &broken{fails: "\x01A"}
	if _, err := New(b).SendMessage(Envelope{To: []string{"<a>"}}, nil); !errors.Is(err, errBroken) {
		t.Errorf("ABORT is not written: %v", err)
	}
}

// TestDial connects to a milter, and to none.
func TestDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Close(), ln.Close()
	if c, err := Dial("tcp", ln.Addr().String()); c != nil || err == nil {
		t.Errorf("%v, %v", c, err)
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
