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
		{"a line with spaces between groups", "Action: delayed\r\n \t\r\nAction: failed\r\nStatus: 5.1.3", failure{status: "5.1.3"}, true},
		{"a line without a colon", head + "Action\r\nAction: failed\r\n folded\r\nStatus\r\nStatus: 5.1.1", failure{}, false},
		{"a name without a colon", head + "Action\r\nAction: failed\r\nStatus\r\nStatus: 5.1.1", failure{status: "5.1.1"}, true},
		{"a folded line of another field", head + "Action: failed\r\nStatus: 5.1.1\r\nX-Other: y\r\n 2", failure{status: "5.1.1"}, true},
		{"a comment", head + "Action: failed (for good)\r\nStatus: 5.1.9 (bad mailbox: 7)", failure{status: "5.1.9"}, true},
		{"before a letter", head + "Action: failed\r\nStatus: x5.1.1", failure{}, true},
		{"a middle number with zero", head + "Action: failed\r\nStatus: 5.01.1", failure{}, true},
		{"a middle number too long", head + "Action: failed\r\nStatus: 5.1000.1", failure{}, true},
		{"no middle number", head + "Action: failed\r\nStatus: 5..1", failure{}, true},
		{"the largest numbers", head + "Action: failed\r\nStatus: 4.999.999", failure{status: "4.999.999"}, true},
		{"a good status, and another in the reply", head + "Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.2 x", failure{"5.1.1", "550 5.1.2 x"}, true},
		{"a status with a colon in the reply", head + "Action: failed\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 550 5.1.2: x", failure{"5.0.0", "550 5.1.2: x"}, true},
		{"a status before octet 64 of the reply", head + "Action: failed\r\nDiagnostic-Code: SMTP ; " + long[:58] + " 5.1.2 x", failure{"5.1.2", long[:58] + " 5.1.2 x"}, true},
		{"a status at octet 64 of the reply", head + "Action: failed\r\nDiagnostic-Code: smtp; " + long[:60] + " 5.1.2 x", failure{"", long[:60] + " 5.1.2 x"}, true},
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
		{"status at its bound", notification(strings.Repeat("X: y\n", (maxStatus-16)/5) + "Action:  failed"), true},
		{"status one octet over", notification(strings.Repeat("X: y\n", (maxStatus-16)/5) + "Action:   failed"), false},
		{"a boundary in a line that is cut", strings.Replace(notification(failed), "\r\n--b", "\r\n--b"+strings.Repeat(" ", maxLine-3)+"x", 1), true},
		{"a line of a boundary and more", strings.Replace(notification(failed), "\r\n--b", "\r\n--b"+strings.Repeat(" ", maxLine-4)+"x", 1), false},
		{"a boundary and spaces", strings.Replace(notification(failed), "--b\r\n", "--b \t\r\n", 1), true},
		{"no boundary", "Content-Type: multipart/report\r\n\r\n--\r\nContent-Type: message/delivery-status\r\n\r\n" + failed, false},
		{"a boundary of a text", strings.Replace(notification(failed), "multipart/report", "text/plain", 1), false},
		{"no type", strings.Replace(notification(failed), "Content-Type: multipart/report; boundary=b", "Subject: x", 1), false},
		{"a type in three lines", strings.Replace(notification(failed), "multipart/report; ", "\r\n multipart/report;\r\n\t", 1), true},
		{"a folded line of another field", strings.Replace(notification(failed), "boundary=b\r\n", "boundary=b\r\nSubject: x\r\n ; boundary=c\r\n", 1), true},
		{"a type at its bound", strings.Replace(notification(failed), " boundary=b", "\r\n"+strings.Repeat(" ", maxType-len(" multipart/report;boundary=b"))+"boundary=b", 1), true},
		{"a type one octet over", strings.Replace(notification(failed), " boundary=b", "\r\n"+strings.Repeat(" ", maxType+1-len(" multipart/report;boundary=b"))+"boundary=b", 1), false},
		{"a parameter that is none", strings.Replace(notification(failed), "delivery-status", "delivery-status; =x", 1), true},
		{"two boundaries", strings.Replace(notification(failed), "boundary=b", "boundary=b; boundary=c", 1), false},
		{"many multiparts that do not end", strings.Replace(notification(failed), "--b\r\n", strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\n", 2*maxNested)+"--b\r\n", 1), true},
		{"many multiparts that end", strings.Replace(notification(failed), "--b\r\n", strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n\r\n", 2*maxNested)+"--b\r\n", 1), true},
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
	for end := range len(text) - len("--b--\r\n") {
		if f, failed, err := read(io.MultiReader(strings.NewReader(text[:end]), iotest.ErrReader(lost))); failed || f != (failure{}) || !errors.Is(err, lost) {
			t.Errorf("lost at %d: %+v, %v, %v", end, f, failed, err)
		}
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
