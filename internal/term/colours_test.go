package term

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// shown writes each escape sequence as "<31m", and the end of a colour as "<0m".
func shown(p []byte) string {
	return strings.ReplaceAll(string(p), "\x1b[", "<")
}

func TestPaint(t *testing.T) {
	for _, tt := range []struct{ reason, in, want string }{
		{"a result of each kind", " spf=pass x;\n dkim=fail;dmarc=temperror", " spf=<32mpass<0m x;\n dkim=<31mfail<0m;dmarc=<33mtemperror<0m"},
		{"a result without a colour", " arc=none;", " arc=none;"},
		{"a verdict begins a line", "REJECT, because it fails\n", "<31mREJECT<0m, because it fails\n"},
		{"the demo's verdict", "    => HELD: x\n", "    => <33mHELD<0m: x\n"},
		{"a result begins an indented line", "  fail for example.com\n  iprev permerror \n", "  <31mfail<0m for example.com\n  iprev <31mpermerror<0m \n"},
		{"a longer word is another word", "  failed to read\nREJECTING: no\n", "  failed to read\nREJECTING: no\n"},
		{"prose is not a result", "mail that does not pass, or fail\n", "mail that does not pass, or fail\n"},
		{"a title", "\nSPF of helo\n  none\n", "\n<1mSPF of helo<0m\n  none\n"},
		{"a sentence is not a title", "Nothing was found.\n", "Nothing was found.\n"},
		{"a finding of doctor", "mta chroot: the smtpd\n  why  x\n  fix  y\n", "<31mmta chroot<0m: the smtpd\n  why  x\n  <1mfix<0m  y\n"},
		{"doctor's last line", "not looked at  x\nnothing is wrong with what\n1 finding(s)\n", "<33mnot looked at<0m  x\n<32mnothing is wrong<0m with what\n<31m1 finding(s)<0m\n"},
		{"status without trouble", "set-up         no problem\ntrouble        none\nDNS servers    192.0.2.1:53 up, 1ms\n", "set-up         no problem\ntrouble        none\nDNS servers    192.0.2.1:53 up, 1ms\n"},
		{"status with trouble", "set-up         clock_off\nDNS servers    a up, 1ms; b silent\n", "set-up         <31mclock_off<0m\nDNS servers    a up, 1ms; <31mb silent<0m\n"},
		{"status after a refused reload", "configuration  a, loaded x; THE NEWEST FILE WAS REFUSED, this\n", "configuration  a, loaded x; <31mTHE NEWEST FILE WAS REFUSED<0m, this\n"},
		{"probe", "   WRONG      x\n   => NOT as the configuration means\n   => as the configuration means\n", "   <31mWRONG<0m      x\n   => <31mNOT as the configuration means<0m\n   => <32mas the configuration means<0m\n"},
		{"replay", "  3 accept -> reject\n  a: reject (x) -> accept (y)\nDNS FAILED for 1\n", "  3 accept -> <31mreject<0m\n  a: reject (x) -> <32maccept<0m (y)\n<33mDNS FAILED for 1<0m\n"},
		{"setup", "  - a\n  + b\nNote: c\nProblem: d\n", "  <31m- a<0m\n  <32m+ b<0m\n<33mNote<0m: c\n<31mProblem<0m: d\n"},
		{"nothing", "", ""},
		{"a JSON list", `[" spf=pass"]`, `[" spf=pass"]`},
		{"JSON", `{"a": " spf=pass"}`, `{"a": " spf=pass"}`},
		{"a JSON string", `  "field": "spf=pass"`, `  "field": "spf=pass"`},
	} {
		if got := shown(paint([]byte(tt.in))); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

// TestColoursOnlyOnTerminals checks that other outputs get no escape sequences.
func TestColoursOnlyOnTerminals(t *testing.T) {
	var b bytes.Buffer
	if out := Colours(&b, func(string) string { return "xterm" }); out != &b {
		t.Errorf("a buffer became a %T", out)
	}
}

// TestColoursWrite checks that Write counts the octets that it was given, and returns the error of the output.
func TestColoursWrite(t *testing.T) {
	var b bytes.Buffer
	const text = " spf=pass\n"
	if n, err := (colours{&b}).Write([]byte(text)); n != len(text) || err != nil || shown(b.Bytes()) != " spf=<32mpass<0m\n" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
	closed, err := os.Create(t.TempDir() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if n, err := (colours{closed}).Write([]byte(text)); n != 0 || err == nil {
		t.Errorf("to a closed file: %d, %v", n, err)
	}
}

// TestColoursOnTerminal checks by a pseudo-terminal when colours are written.
func TestColoursOnTerminal(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	defer tty.Close()
	for _, tt := range []struct {
		reason string
		env    map[string]string
		want   bool
	}{
		{"a terminal", map[string]string{"TERM": "xterm"}, true},
		{"NO_COLOR", map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		{"no capabilities", map[string]string{"TERM": "dumb"}, false},
		{"not known", nil, false},
	} {
		out := Colours(tty, func(key string) string { return tt.env[key] })
		if _, got := out.(colours); got != tt.want {
			t.Errorf("%s: colours %v", tt.reason, got)
		}
		if !IsTerminal(out) {
			t.Errorf("%s: the writer hides the terminal", tt.reason)
		}
	}
}
