package compose

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"usual", "rua@shop.example", "rua@shop.example"},
		{"extension", "rua+dmarc=1@shop.example", "rua+dmarc=1@shop.example"},
		{"local part that is not a dot-atom, as Japanese phones have it", "a..b.@shop.example", `"a..b."@shop.example`},
		{"another script", "büro@shop.example", "büro@shop.example"},
		{"no at sign", "rua", ""},
		{"no local part", "@shop.example", ""},
		{"no domain", "rua@", ""},
		{"two at signs", "a@b@shop.example", ""},
		{"line end", "rua@shop.example\r\nBcc: x@y.example", ""},
		{"line end alone", "rua\n@shop.example", ""},
		{"space", "r ua@shop.example", ""},
		{"comma", "a,b@shop.example", ""},
		{"quote", `"a"@shop.example`, ""},
		{"angle bracket", "a>@shop.example", ""},
		{"comment", "(a)b@shop.example", ""},
		{"NUL", "a\x00@shop.example", ""},
		{"line separator of Unicode", "a\u2028b@shop.example", ""},
		{"next line of C1", "a\u0085b@shop.example", ""},
		{"octets that are not UTF-8", "a\xff@shop.example", ""},
		{"dots in the domain", "a@shop..example", ""},
		{"a letter whose low octet is an at sign", "\u0140@shop.example", "\u0140@shop.example"},
		{"the first character after ASCII", "a\u0080b@shop.example", ""},
		{"as long as possible", strings.Repeat("a", maxAddress-len("@shop.example")) + "@shop.example",
			strings.Repeat("a", maxAddress-len("@shop.example")) + "@shop.example"},
		{"too long", strings.Repeat("a", maxAddress-len("@shop.example")+1) + "@shop.example", ""},
	} {
		got, err := Address(c.in)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %q, %v, want %q", c.why, got, err, c.want)
		}
	}
}

func TestHeader(t *testing.T) {
	usual := Header{FromName: "Example ISP DMARC reports", From: "noreply@dmarc.isp.example", To: "rua@shop.example", Subject: "Report Domain: shop.example",
		Date: time.Date(2026, 11, 29, 4, 5, 6, 0, time.FixedZone("", 3600)), MessageID: "20261128.k7@isp.example", ContentType: "multipart/mixed", Boundary: "=_x"}
	got, err := usual.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "From: \"Example ISP DMARC reports\" <noreply@dmarc.isp.example>\r\nTo: <rua@shop.example>\r\nSubject: Report Domain: shop.example\r\n" +
		"Date: Sun, 29 Nov 2026 03:05:06 +0000\r\nMessage-ID: <20261128.k7@isp.example>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	// Whatever is in a field, the header has the same fields, and short lines.
	for _, hostile := range []string{"a\r\nBcc: x@y.example\r\n\r\nbody", "\r\n", "a\nb", "\x00", `"; \ "`, "名前 \u202e", strings.Repeat("x ", 3000), strings.Repeat("y", 3000),
		strings.Repeat("ü", 3000)} {
		h := usual
		h.FromName, h.Subject = hostile, hostile
		got, err := h.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(bytes.NewReader(got))
		if err != nil {
			t.Fatalf("%q: %v\n%s", hostile, err, got)
		}
		if len(m.Header) != 8 || m.Header.Get("Bcc") != "" {
			t.Errorf("%q: fields %v", hostile, m.Header)
		}
		if from, err := m.Header.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != h.From {
			t.Errorf("%q: From is %v, %v", hostile, from, err)
		}
		if n := len(m.Header.Get("Subject")); n > maxSubject {
			t.Errorf("%q: subject of %d octets", hostile, n)
		}
		for line := range strings.SplitSeq(string(got), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
				t.Errorf("%q: line %q", hostile, line)
			}
		}
	}
	h := usual
	h.FromName = `Büro "Nord" \ Süd`
	got, _ = h.Append(nil)
	m, err := mail.ReadMessage(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if from, err := m.Header.AddressList("From"); err != nil || from[0].Name != h.FromName {
		t.Errorf("name %v, %v", from, err)
	}
	if h.FromName = strings.Repeat("n", 3000); len(phrase(h.FromName)) > maxDisplayName+2 {
		t.Error("the display name is not bounded")
	}

	for why, spoil := range map[string]func(h *Header){
		"From":                    func(h *Header) { h.From = "a@b\r\nX: y" },
		"To":                      func(h *Header) { h.To = "a@b.example, c@d.example" },
		"Message-ID":              func(h *Header) { h.MessageID = "a>\r\nX: <y@z" },
		"Message-ID with UTF-8":   func(h *Header) { h.MessageID = "ä@isp.example" },
		"Message-ID too long":     func(h *Header) { h.MessageID = "a@" + strings.Repeat("b", maxMessageID-1) },
		"Message-ID without an @": func(h *Header) { h.MessageID = "a" },
	} {
		h := usual
		spoil(&h)
		if got, err := h.Append(nil); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v, %s", why, err, got)
		}
	}
}

func TestAppendField(t *testing.T) {
	for _, c := range []struct{ why, value, want string }{
		{"short", "a b", "X: a b\r\n"},
		{"empty", "", "X: \r\n"},
		{"long word first", strings.Repeat("a", 100) + " b", "X: " + strings.Repeat("a", 100) + "\r\n b\r\n"},
		{"folded", strings.Repeat("a", 50) + " " + strings.Repeat("b", 50), "X: " + strings.Repeat("a", 50) + "\r\n " + strings.Repeat("b", 50) + "\r\n"},
		{"spaces only", strings.Repeat(" ", 200), "X: " + strings.Repeat(" ", 200) + "\r\n"},
	} {
		got := string(AppendField(nil, "X", c.value))
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
		if un := strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(got, "\r\n ", " "), "X: "), "\r\n"); un != c.value {
			t.Errorf("%s: unfolded %q, want %q", c.why, un, c.value)
		}
	}
}

func TestTextPart(t *testing.T) {
	for _, c := range []struct{ why, text, encoding string }{
		{"ASCII", "One\nTwo\n", "7bit"},
		{"another script", "Köln\n", "quoted-printable"},
		{"long line", strings.Repeat("x", 2000) + "\n", "quoted-printable"},
		{"a line that could be a boundary", "a\n--=_x\nb\n", "quoted-printable"},
		{"a carriage return", "a\rb\n", "quoted-printable"},
	} {
		got := string(AppendTextPart(nil, "=_x", c.text))
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(head, "--=_x\r\nContent-Type: text/plain; charset=utf-8\r\n") || !strings.HasSuffix(head, "Content-Transfer-Encoding: "+c.encoding) {
			t.Errorf("%s: %s", c.why, head)
		}
		if strings.Contains(body, "--=_x") || strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\n") {
			t.Errorf("%s: body %q", c.why, body)
		}
		if c.encoding == "quoted-printable" {
			decoded, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
			if err != nil {
				t.Fatal(err)
			}
			body = string(decoded)
		}
		if got := strings.ReplaceAll(body, "\r\n", "\n"); got != strings.ReplaceAll(c.text, "\r", "\n") { // a carriage return alone ends a line too
			t.Errorf("%s: %q becomes %q", c.why, c.text, got)
		}
	}
}

func TestWriteBase64(t *testing.T) {
	for _, n := range []int{0, 1, 56, 57, 58, 512 * 57, 512*57 + 1, 100000} {
		want := bytes.Repeat([]byte{0, 0xff, 7}, n/3+1)[:n]
		var b bytes.Buffer
		if err := WriteBase64(&b, iotest.OneByteReader(bytes.NewReader(want))); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
			if len(line) > 76 || strings.ContainsAny(line, "\r\n") {
				t.Fatalf("%d octets: line %q", n, line)
			}
		}
		got, err := base64.StdEncoding.DecodeString(text) // it ignores line ends
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d octets: %d come back, %v", n, len(got), err)
		}
	}
	broken := errors.New("broken")
	if err := WriteBase64(io.Discard, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
	if err := WriteBase64(failing{broken}, strings.NewReader("x")); !errors.Is(err, broken) {
		t.Errorf("broken writer: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestPhrase(t *testing.T) {
	if got := phrase("Köln"); got == "" || func() string { s, _ := new(mime.WordDecoder).DecodeHeader(got); return s }() != "Köln" {
		t.Errorf("got %q", got)
	}
}
