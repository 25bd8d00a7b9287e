package bounce

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"sekimori/internal/printable"
)

// TestSamples has notifications in the shapes that MTAs give them.
func TestSamples(t *testing.T) {
	want := map[string]failure{
		"postfix":         {"5.1.1", "550 5.1.1 <rua@shop.example>: Recipient address rejected: User unknown in virtual mailbox table"},
		"postfix-expired": {"4.4.1", "connect to mail.shop.example[192.0.2.25]:25: Connection timed out"},
		"sendmail":        {"5.2.1", "550 5.2.1 The email account that you tried to reach is disabled"},
		"exim":            {"5.1.1", "550 5.1.1 <rua@shop.example>: Recipient address rejected"},
		"exchange":        {"5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"},
		"several-lines": {"5.1.1", "550-5.1.1 The account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the address " +
			"for typos or 550 5.1.1 unnecessary spaces."},
		"two-recipients": {"5.2.2", ""},
		"wrapped":        {"5.7.1", ""},
		"utf8-base64":    {"5.1.1", "550 5.1.1 <berichte@k?ln.example> unknown"},
	}
	none := []string{"postfix-delayed", "auto-reply", "plain-bounce", "forwarded", "delivered", "feedback", "disposition"}
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) != len(want)+len(none) {
		t.Fatalf("%d samples, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, failed, err := read(bytes.NewReader(text))
		wanted, ok := want[strings.TrimSuffix(filepath.Base(file), ".eml")]
		if err != nil || failed != ok || f != wanted {
			t.Errorf("%s: %+v, %v, %v; want %+v", file, f, failed, err, wanted)
		}
		// The ends of lines and the size of the pieces make no difference.
		g, failed, err := read(iotest.OneByteReader(bytes.NewReader(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))))
		if err != nil || failed != ok || g != f {
			t.Errorf("%s with LF: %+v, %v, %v", file, g, failed, err)
		}
	}
}

// notification returns a notification with the given delivery status.
func notification(status string) string {
	return "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" + status + "\r\n--b--\r\n"
}

func TestStatus(t *testing.T) {
	const head = "Reporting-MTA: dns; x\r\n\r\n"
	long := strings.Repeat("x", 600)
	for _, tc := range []struct {
		name, status string
		want         failure
		failed       bool
	}{
		{"no action", head + "Status: 5.1.1", failure{}, false},
		{"an action of our own", head + "Action: failed-not", failure{}, false},
		{"no status", head + "Action: failed", failure{}, true},
		{"status without groups", "Action: failed\r\nStatus: 5.1.1", failure{status: "5.1.1"}, true},
		{"the first of two fields", head + "Action: delayed\r\nAction: failed", failure{}, false},
		{"behind the end", head + "Status: 5.1.1\r\n--b--\r\n\r\nAction: failed", failure{}, false},
		{"a line of hyphens", head + "Action: failed\r\n--\r\nStatus: 5.1.1", failure{status: "5.1.1"}, true},
		{"folded", head + "Action:\r\n failed\r\nStatus:\r\n\t5.1.2", failure{status: "5.1.2"}, true},
		{"a success", head + "Action: failed\r\nStatus: 2.0.0", failure{}, true},
		{"a text", head + "Action: failed\r\nStatus: five", failure{}, true},
		{"four numbers", head + "Action: failed\r\nStatus: 5.1.1.1", failure{}, true},
		{"a number too long", head + "Action: failed\r\nStatus: 5.1.1000", failure{}, true},
		{"a number with zero", head + "Action: failed\r\nStatus: 5.1.01", failure{}, true},
		{"status from the reply", head + "Action: failed\r\nDiagnostic-Code: smtp; 550 5.1.1 x", failure{"5.1.1", "550 5.1.1 x"}, true},
		{"a better status in the reply", head + "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550 5.1.2 x", failure{"5.1.2", "550 5.1.2 x"}, true},
		{"a reply of another class", head + "Action: failed\r\nStatus: 4.0.0\r\nDiagnostic-Code: smtp; 550 5.1.2 x", failure{"4.0.0", "550 5.1.2 x"}, true},
		{"a status behind a number sign", head + "Action: failed\r\nDiagnostic-Code: smtp; 550 #5.1.2 x", failure{"5.1.2", "550 #5.1.2 x"}, true},
		{"a status later in the reply", head + "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550 see 5.1.2 x", failure{"5.0.0", "550 see 5.1.2 x"}, true},
		{"not a reply", head + "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: X-Unix; 550 5.1.2 x", failure{"5.0.0", "550 5.1.2 x"}, true},
		{"no type", head + "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: 550 5.1.2 x", failure{"5.0.0", "550 5.1.2 x"}, true},
		{"controls", head + "Action: failed\r\nDiagnostic-Code: smtp; a\x00\x1b[31m\xffb\tc", failure{"", "a??[31m?b c"}, true},
		{"a long reply", head + "Action: failed\r\nDiagnostic-Code: smtp; " + long, failure{"", long[:497] + "..."}, true},
	} {
		f, failed, err := read(strings.NewReader(notification(tc.status)))
		if f != tc.want || failed != tc.failed || err != nil {
			t.Errorf("%s: %+v, %v, %v", tc.name, f, failed, err)
		}
	}
}

// TestBounds has what is over a limit, and the same just below it.
func TestBounds(t *testing.T) {
	const failed = "Action: failed\r\nStatus: 5.1.1"
	nested := func(depth int) string {
		text := "--b0\r\nContent-Type: message/delivery-status\r\n\r\n" + failed + "\r\n"
		for i := range depth - 1 {
			text = "--b" + string(rune('1'+i)) + "\r\nContent-Type: multipart/mixed; boundary=b" + string(rune('0'+i)) + "\r\n\r\n" + text
		}
		return "Content-Type: multipart/mixed; boundary=b" + string(rune('0'+depth-1)) + "\r\n\r\n" + text
	}
	filler := func(n int) string { return strings.Repeat("X-Filler: 0123456789012345678901234567\n", n/39) }
	big := func(n int) string {
		return "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", n/64) + notification(failed)[len("Content-Type: multipart/report; boundary=b\r\n\r\n"):]
	}
	for _, tc := range []struct {
		name, text string
		want       bool
	}{
		{"status", notification(filler(maxStatus-1000) + "\n" + failed), true},
		{"status too long", notification(filler(maxStatus) + "\n\n" + failed), false},
		{"scanned", big(maxScanned - 1000), true},
		{"scanned too far", big(maxScanned), false},
		{"behind the end", "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\nContent-Type: message/delivery-status\r\n\r\n" + failed, false},
		{"nested", nested(maxNested), true},
		{"nested too deep", nested(maxNested + 1), false},
		{"long line", strings.Replace(notification(failed), "\r\n\r\n--b", "\r\n\r\n"+strings.Repeat("x", 3*maxLine)+"\r\n--b", 1), true},
		{"long line with a boundary", strings.Replace(notification(failed), "\r\n--b", "\r\n"+strings.Repeat("x", maxLine)+"--b", 1), false},
		{"long type", "Content-Type: multipart/report;" + strings.Repeat("\r\n a=b;", 1000) + strings.TrimPrefix(notification(failed), "Content-Type: multipart/report;"), false},
		{"unknown parameters", "Content-Type: multipart/report; a=b;" + strings.TrimPrefix(notification(failed), "Content-Type: multipart/report;"), true},
	} {
		_, got, err := read(strings.NewReader(tc.text))
		if got != tc.want || err != nil {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
	}
}

// TestLost: a message that is not complete is no notification.
func TestLost(t *testing.T) {
	lost := errors.New("lost")
	text := notification("Action: failed\r\nStatus: 5.1.1")
	if _, failed, err := read(io.MultiReader(strings.NewReader(text[:len(text)-10]), iotest.ErrReader(lost))); failed || !errors.Is(err, lost) {
		t.Error(failed, err)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(notification("Action: failed")))
	f.Add([]byte("Content-Type: multipart/x; boundary=\"\"\n\n--\n--\n"))
	f.Add([]byte("Content-Type: multipart/x; boundary=b\n\n--b\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n" +
		base64.StdEncoding.EncodeToString([]byte("Action: failed\r\n")) + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, failed, err := read(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if !failed && got != (failure{}) || !printable.IsPlain(got.reply) || len(got.reply) > maxReply || got.status != "" && statusCode(got.status) != got.status {
			t.Errorf("%+v, %v", got, failed)
		}
		if failed && !bytes.Contains(bytes.ToLower(text), []byte("delivery-status")) {
			t.Error("a failure without a delivery status")
		}
	})
}
