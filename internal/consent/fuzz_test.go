package consent

import (
	"bufio"
	"strings"
	"testing"

	"sekimori/internal/policy"
)

// FuzzNetstring checks with arbitrary answers of a server that at most maxReply
// octets are read, and that only "OK" with one of the two classes gives a
// class.
func FuzzNetstring(f *testing.F) {
	for _, s := range []string{"5:OK in,", "9:NOTFOUND ,", "0:,", "00:,", "4096:", "9999:x,", ":", "-1:,",
		"5:OK in;", "1:\x00,", "6:OK out,6:OK out,", "11:TEMP reason,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := readNetstring(bufio.NewReader(strings.NewReader(s)))
		if err != nil {
			return
		}
		if len(text) > maxReply || !strings.HasPrefix(s, netstring(text)) || string(appendNetstring(nil, text)) != netstring(text) {
			t.Fatalf("%q was read of %q", text, s)
		}
		c, found, err := parseReply(text)
		if found != (c == policy.In || c == policy.Out) || found && err != nil {
			t.Fatalf("%q: %q %t %v", text, c, found, err)
		}
		if found && !strings.HasPrefix(text, "OK ") {
			t.Fatalf("%q is %s", text, c)
		}
	})
}

// FuzzList checks that a file is either refused as a whole, or that every
// address and domain in it is found.
func FuzzList(f *testing.F) {
	for _, s := range []string{exceptions, "", "\n", "#", "a@b", "@b", "\ufeffa@b.example\r\n", "a@b.example x", "\"#\"@b", "\x00", "a@b\x85c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseList("x", strings.NewReader(s))
		if err != nil {
			if l != nil {
				t.Fatal("half a list")
			}
			return
		}
		for line := range strings.Lines(s) {
			line = strings.TrimSpace(line)
			if !strings.Contains(line, "@") || strings.ContainsAny(line, "#\ufeff\r") {
				continue
			}
			if strings.HasPrefix(line, "@") {
				line = "anyone" + line
			}
			r, ok := parse("<"+line+">", "")
			if !ok || !l.has(r) {
				t.Fatalf("%q is not found again", line)
			}
		}
	})
}

// FuzzAddress checks with arbitrary arguments of RCPT that the key of a
// recipient is not empty and has no control characters.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"<taro@example.jp>", "<>", "<\"a b\"@c>", "<a\x00@b>", "<a@b\r\nRCPT>", "<@x:y@z>", "<\"\\\"\"@b>"} {
		f.Add(s, "")
		f.Add("<a@b>", s)
	}
	f.Fuzz(func(t *testing.T, typed, rewritten string) {
		r, ok := parse(typed, rewritten)
		if !ok {
			return
		}
		if r.key == "" || strings.ContainsFunc(r.key, func(c rune) bool { return c < ' ' || c == 0x7f }) || !strings.HasSuffix(r.key, r.domain) {
			t.Fatalf("%q %q: %+v", typed, rewritten, r)
		}
	})
}
