package traffic

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// askAll sends a question over UDP and returns the datagrams that arrive first, as many as "want"
// says. If "want" is 0, it waits only a short time and returns one datagram if one has arrived.
func askAll(t *testing.T, addr string, q []byte, want int) [][]byte {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(q); err != nil {
		t.Fatal(err)
	}
	wait := 5 * time.Second
	if want == 0 {
		wait = 200 * time.Millisecond // how long to wait before concluding that nothing more arrives
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	var out [][]byte
	for buf := make([]byte, 4096); len(out) < max(want, 1); {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		out = append(out, bytes.Clone(buf[:n]))
	}
	return out
}

func TestFaultsOverUDP(t *testing.T) {
	q := query("d.example", typeTXT, 1232)
	for kind, tc := range map[string]struct {
		answers int
		check   func(last []byte, p dnsmessage.Message, err error) bool
	}{
		FaultNone: {1, func(_ []byte, p dnsmessage.Message, err error) bool {
			return err == nil && len(p.Answers) == 1 && p.ID == 0x1234
		}},
		FaultServFail: {1, func(_ []byte, p dnsmessage.Message, err error) bool {
			return err == nil && p.RCode == dnsmessage.RCodeServerFailure && len(p.Answers) == 0
		}},
		FaultRefused: {1, func(_ []byte, p dnsmessage.Message, err error) bool {
			return err == nil && p.RCode == dnsmessage.RCodeRefused
		}},
		FaultSilent: {0, nil},
		FaultTruncate: {1, func(_ []byte, p dnsmessage.Message, err error) bool {
			return err == nil && p.Truncated && len(p.Answers) == 0
		}},
		FaultClose:   {1, func(_ []byte, p dnsmessage.Message, err error) bool { return err == nil && p.Truncated }},
		FaultGarbage: {1, func(_ []byte, _ dnsmessage.Message, err error) bool { return err != nil }},
		FaultWrongID: {1, func(_ []byte, p dnsmessage.Message, err error) bool { return err == nil && p.ID != 0x1234 }},
		FaultWrongQuestion: {1, func(_ []byte, p dnsmessage.Message, err error) bool {
			return err == nil && p.ID == 0x1234 && p.Questions[0].Name.String() != "d.example."
		}},
		FaultFlood: {floodAnswers + 1, func(_ []byte, p dnsmessage.Message, err error) bool {
			return err == nil && p.ID == 0x1234 && len(p.Answers) == 1
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, testZone(t), DNSOptions{Faults: Mix{{kind, 1}}})
			got := askAll(t, s.Addr(), q, tc.answers)
			if len(got) != tc.answers {
				t.Fatalf("%d answers, want %d", len(got), tc.answers)
			}
			if tc.answers == 0 {
				return
			}
			var p dnsmessage.Message
			last := got[len(got)-1]
			err := p.Unpack(last)
			if !tc.check(last, p, err) {
				t.Errorf("%v %v: % x", p, err, last)
			}
			for _, forged := range got[:len(got)-1] {
				if binary.BigEndian.Uint16(forged) == 0x1234 {
					t.Error("a forged answer has the true id")
				}
			}
		})
	}
}

func TestFaultsOverTCP(t *testing.T) {
	q := query("d.example", typeTXT, 1232)
	for kind, want := range map[string]func(announced, came int) bool{
		FaultNone:     func(a, c int) bool { return a > headerLen && c == a },
		FaultServFail: func(a, c int) bool { return a > headerLen && c == a },
		FaultTruncate: func(a, c int) bool { return c < a },
		FaultClose:    func(_, c int) bool { return c == -2 },
		FaultSilent:   func(_, c int) bool { return c == -2 },
		FaultGarbage:  func(a, c int) bool { return a == 3 && c == 3 },
	} {
		t.Run(kind, func(t *testing.T) {
			s := serve(t, testZone(t), DNSOptions{Faults: Mix{{kind, 1}}})
			c, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)); err != nil {
				t.Fatal(err)
			}
			if kind == FaultNone { // this fault leaves the connection open, so ReadAll would not return
				head := make([]byte, 2)
				if _, err := io.ReadFull(c, head); err != nil {
					t.Fatal(err)
				}
				rest := make([]byte, binary.BigEndian.Uint16(head))
				n, _ := io.ReadFull(c, rest)
				if !want(len(rest), n) {
					t.Errorf("%d of %d octets", n, len(rest))
				}
				return
			}
			all, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			announced := 0
			if len(all) >= 2 {
				announced = int(binary.BigEndian.Uint16(all))
			}
			if !want(announced, len(all)-2) {
				t.Errorf("%d octets announced, %d came", announced, len(all)-2)
			}
		})
	}
}

// TestSpoil checks the octets of each fault: over UDP, and over TCP those after the length.
func TestSpoil(t *testing.T) {
	const head, question, record = "\x12\x34\x85\x83\x00\x01\x05\x02\x06\x03\x07\x04", "\x01d\x02ex\x00\x00\x10\x00\x01", "a record"
	const none = "\x00\x01\x00\x00\x00\x00\x00\x00"
	for kind, want := range map[string]struct{ udp, tcp string }{
		FaultNone:          {head + question + record, "\x00\x1e" + head + question + record},
		FaultServFail:      {"\x12\x34\x85\x82" + none + question, "\x00\x16\x12\x34\x85\x82" + none + question},
		FaultRefused:       {"\x12\x34\x85\x85" + none + question, "\x00\x16\x12\x34\x85\x85" + none + question},
		FaultSilent:        {"", ""},
		FaultTruncate:      {"\x12\x34\x87\x80" + none + question, "\x00\x1e" + head + "\x01d\x02"},
		FaultClose:         {"\x12\x34\x87\x80" + none + question, ""},
		FaultGarbage:       {"\x12\x34\xff\xff\xc0\x0c\xc0", "\x00\x03\xff\xff\xff"},
		FaultWrongID:       {"\x47" + head[1:] + question + record, "\x00\x1e\x47" + head[1:] + question + record},
		FaultWrongQuestion: {head + "\x01f" + question[2:] + record, "\x00\x1e" + head + "\x01f" + question[2:] + record},
		FaultFlood:         {head + question + record, "\x00\x1e" + head + question + record},
	} {
		answer := []byte(head + question + record)
		var last []byte
		if got := spoil(kind, answer); len(got) > 0 {
			last = got[len(got)-1]
		}
		if string(last) != want.udp {
			t.Errorf("%s: %q, want %q", kind, last, want.udp)
		}
		framed := append([]byte{0, byte(len(answer))}, answer...)
		if got := spoilTCP(kind, framed); string(got) != want.tcp {
			t.Errorf("%s over TCP: %q, want %q", kind, got, want.tcp)
		}
		if got := spoil(kind, answer[:headerLen-1]); got != nil {
			t.Errorf("%s of no answer: %q", kind, got)
		}
	}
	ids := map[string]bool{}
	for _, a := range spoil(FaultFlood, []byte(head)) {
		ids[string(a[:2])] = true
	}
	if len(ids) != 65 {
		t.Errorf("%d IDs in a flood", len(ids))
	}
	for _, cut := range []string{head, head + "\x01", head + "\x01d", head + "\x01d\x02ex\x00\x00\x10"} {
		if got := failure([]byte(cut), rcodeServ); string(got) != "\x12\x34\x85\x82\x00\x01\x00\x00\x00\x00\x00\x00"+cut[headerLen:] {
			t.Errorf("failure of %q: %q", cut, got)
		}
	}
}

func TestFaultsAreChecked(t *testing.T) {
	const bounds = "; the loss is from 0 to 1, the delay is not negative"
	for _, tt := range []struct {
		o    DNSOptions
		want string
	}{
		{DNSOptions{}, ""},
		{DNSOptions{Loss: 1, Delay: time.Hour, Faults: Mix{{"none", 1}, {"flood", 1}}}, ""},
		{DNSOptions{Loss: 1.5}, "loss 1.5, delay 0s" + bounds},
		{DNSOptions{Loss: -0.1}, "loss -0.1, delay 0s" + bounds},
		{DNSOptions{Delay: -1}, "loss 0, delay -1ns" + bounds},
	} {
		if err := tt.o.Validate(); (err == nil) != (tt.want == "") || err != nil && err.Error() != "traffic: DNS: "+tt.want {
			t.Errorf("%+v: %v", tt.o, err)
		}
		if tt.o.Addr = "127.0.0.1:0"; tt.want == "" {
			continue
		}
		if s, err := Serve(testZone(t), tt.o); err == nil {
			_ = s.Close()
			t.Errorf("%+v: served", tt.o)
		}
	}
	want := `traffic: DNS faults: "lies" is none of none, servfail, refused, silent, truncate, close, garbage, wrongid, wrongquestion, flood`
	if err := (DNSOptions{Faults: Mix{{"none", 1}, {"lies", 1}}}).Validate(); err == nil || err.Error() != want {
		t.Error(err)
	}
}

// TestZoneText checks what is written, and where a long text is parted.
func TestZoneText(t *testing.T) {
	z := newZone(90 * time.Second)
	if want := "$TTL 90\n. SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 90\n"; z.text.String() != want {
		t.Errorf("%q", z.text.String())
	}
	for n, parts := range map[int][]int{0: {0}, 254: {254}, 255: {255}, 256: {255, 1}, 510: {255, 255}, 511: {255, 255, 1}} {
		z := &zoneWriter{}
		z.addTXT("a.example", strings.Repeat("x", n))
		want := "a.example. TXT"
		for _, p := range parts {
			want += " \"" + strings.Repeat("x", p) + "\""
		}
		if z.text.String() != want+"\n" {
			t.Errorf("%d octets: %q", n, z.text.String())
		}
	}
}
