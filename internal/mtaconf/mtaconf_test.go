package mtaconf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestMilters checks the forms of smtpd_milters that Postfix reads.
func TestMilters(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"", ""},
		{"unix:/run/sekimori/milter.sock", "unix:/run/sekimori/milter.sock []"},
		{"local:relative", "unix:relative []"},
		{"inet:127.0.0.1:8891,inet:[::1]:8892  inet:8893@localhost", "inet:127.0.0.1:8891 []; inet:[::1]:8892 []; inet:localhost:8893 []"},
		{"{ unix:/a, default_action=accept }", "unix:/a [[default_action accept]]"},
		{
			"inet:h:1, { inet:h:2, connect_timeout=10s, default_action = accept, { command_timeout = 20s } },unix:b",
			"inet:h:1 []; inet:h:2 [[connect_timeout 10s] [default_action accept] [command_timeout 20s]]; unix:b []",
		},
		{"{inet:h:1}", "inet:h:1 []"},
		{"{ }", "error"},
		{"{ inet:h:1, default_action }", "error"},
		{"{ inet:h:1", "error"},
		{"inet:h:1 }", "error"},
		{"127.0.0.1:8891", "error"},
		{"inet:8891", "error"},
		{"inet:h:1 $more", "error"},
		{"unix:", "error"},
	} {
		milters, err := Milters(tt.value)
		var got []string
		for _, m := range milters {
			got = append(got, fmt.Sprint(m.String(), " ", m.Settings))
		}
		text := strings.Join(got, "; ")
		if err != nil {
			text = "error"
		}
		if text != tt.want {
			t.Errorf("%q: got %q (%v), want %q", tt.value, text, err, tt.want)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration // -1 for an error
	}{
		{"30", 30 * time.Second},
		{"0", 0},
		{"5m", 5 * time.Minute},
		{"1h30m", 90 * time.Minute},
		{"2d", 48 * time.Hour},
		{"1w", 168 * time.Hour},
		{"999h", maxDuration},
		{"999h1s", -1},
		{"", -1},
		{"s", -1},
		{"3x", -1},
		{"-3s", -1},
		{"99999999999w", -1},
		{"999999999999999999999s", -1},
	} {
		got, err := Duration(tt.text, time.Second)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%q: got %v (%v), want %v", tt.text, got, err, tt.want)
		}
	}
}

func TestNetworks(t *testing.T) {
	networks, others := Networks("127.0.0.0/8, [::1]/128 [2001:db8::]/32 192.0.2.7 [::ffff:10.0.0.0]/104 10.1.2.3/8 fe80::1%eth0 !10.0.0.1 cidr:/etc/networks /etc/more x")
	if got := fmt.Sprint(networks); got != "[127.0.0.0/8 ::1/128 2001:db8::/32 192.0.2.7/32 10.0.0.0/8]" {
		t.Error(got)
	}
	if got := fmt.Sprint(others); got != "[10.1.2.3/8 fe80::1%eth0 !10.0.0.1 cidr:/etc/networks /etc/more x]" {
		t.Error(got)
	}
}

const (
	mainCF = `compatibility_level = 3.6
queue_directory = /var/spool/pf
ours = { unix:/run/sekimori/milter.sock, default_action = accept }
smtpd_milters = $ours
unknown_to_postfix = 1
`
	masterCF = `smtp inet n - y - 1 postscreen
smtpd pass - - - - - smtpd
  -o smtpd_milters=$ours,inet:127.0.0.1:1
  -o { smtpd_sender_restrictions = permit, reject }
127.0.0.1:10025 inet n - n - - smtpd -o smtpd_milters= -o receive_override_options=no_milters
old inet n - y - - smtpd
cleanup unix n - y - 0 cleanup
`
)

// TestReadPostfix reads the configuration with the postconf of this host.
func TestReadPostfix(t *testing.T) {
	if _, err := Postconf(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("Postfix is not installed")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), mainCF)
	write(t, filepath.Join(dir, "master.cf"), masterCF)
	p, err := ReadPostfix(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var smtpd []string
	for _, s := range p.SMTPD() {
		value := p.Value(s, "smtpd_milters")
		milters, err := Milters(value)
		if err != nil {
			t.Fatal(err)
		}
		files := ""
		for _, m := range milters {
			files += " " + p.File(s, m)
		}
		smtpd = append(smtpd, fmt.Sprintf("%s %d%s %v", s.Label(), len(milters), files, p.Chrooted(s)))
	}
	want := []string{
		"smtpd/pass 2 /run/sekimori/milter.sock  false",
		"127.0.0.1:10025/inet 0 false",
		"old/inet 1 /var/spool/pf/run/sekimori/milter.sock true",
	}
	if !reflect.DeepEqual(smtpd, want) {
		t.Errorf("got  %q\nwant %q", smtpd, want)
	}
	checkPostfix(t, p)
}

func checkPostfix(t *testing.T, p *Postfix) {
	t.Helper()
	first := p.Service("smtp", "inet")
	if first == nil || first.Command != "postscreen" || first.MaxProc != "1" || p.Service("smtp", "unix") != nil {
		t.Errorf("smtp/inet is %+v", first)
	}
	if got := p.Set["smtpd_milters"]; got != "$ours" {
		t.Errorf("smtpd_milters was read as %q", got)
	}
	if _, set := p.Set["milter_protocol"]; set || p.Value(first, "milter_protocol") != "6" {
		t.Errorf("milter_protocol: set %v, value %q", set, p.Params["milter_protocol"])
	}
	if got := p.Value(p.Service("smtpd", "pass"), "smtpd_sender_restrictions"); got != "permit, reject" {
		t.Errorf("an option with spaces was read as %q", got)
	}
	if !strings.Contains(strings.Join(p.Warnings, "\n"), "unknown_to_postfix") {
		t.Errorf("no warning of a parameter that Postfix does not use: %q", p.Warnings)
	}
}

// TestParsePostfix reads what postconf prints, also on a host without Postfix.
func TestParsePostfix(t *testing.T) {
	p := ParsePostfix("queue_directory = /q\na = 1\nlevel\n", "a = $b\n",
		"#smtp inet n - n - - smtpd\nsmtp inet n - n - 9 /usr/lib/smtpd -o x\nsmtp unix n - y - - smtp\nshort inet n - n - -\nh:25 inet n - - - - smtpd\n",
		"smtp/inet/a = 2 = 3\nh:25/inet/b = 4\nsmtp/inet = 5\nodd = 6\n")
	if len(p.Params) != 2 || len(p.Set) != 1 || p.Set["a"] != "$b" || len(p.Services) != 3 {
		t.Fatalf("%+v", p)
	}
	first := p.Services[0]
	if want := (Service{Name: "smtp", Type: "inet", Chroot: "n", MaxProc: "9", Command: "smtpd", Options: map[string]string{"a": "2 = 3"}}); !reflect.DeepEqual(first, want) {
		t.Errorf("%+v", first)
	}
	for _, tt := range []struct {
		name, kind, a, b, tcp, socket string
	}{
		{"smtp", "inet", "2 = 3", "", "", "/q/s"},
		{"smtp", "unix", "1", "", "", "/q/s"},
		{"h:25", "inet", "1", "4", "", "/q/s"},
		{"h:25", "unix", "1", "", "", "/q/s"}, // there is none
		{"other", "inet", "1", "", "", "/q/s"},
	} {
		s := p.Service(tt.name, tt.kind)
		if s != nil && s.Label() != tt.name+"/"+tt.kind || (s == nil) != (tt.name == "other" || tt.name+tt.kind == "h:25unix") {
			t.Errorf("%s/%s: %+v", tt.name, tt.kind, s)
		}
		if a, b := p.Value(s, "a"), p.Value(s, "b"); a != tt.a || b != tt.b {
			t.Errorf("%s/%s: a is %q, b is %q", tt.name, tt.kind, a, b)
		}
		absolute := "/s"
		if s != nil && p.Chrooted(s) {
			absolute = "/q/s"
		}
		if got := p.File(s, Milter{Network: "inet", Address: "h:1"}) + " " + p.File(s, Milter{Network: "unix", Address: "s"}) + " " +
			p.File(s, Milter{Network: "unix", Address: "/x/../s"}); got != tt.tcp+" "+tt.socket+" "+absolute {
			t.Errorf("%s/%s: %q", tt.name, tt.kind, got)
		}
	}
	if got := p.SMTPD(); len(got) != 2 || got[0].Label() != "smtp/inet" || got[1].Label() != "h:25/inet" {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{"{a}": "a true", "{ a }": "a true", "{}": " true", "{a": " false", "a}": " false", "": " false"} {
		if inner, ok := unbrace(text); fmt.Sprint(inner, " ", ok) != want {
			t.Errorf("%q: %q %v", text, inner, ok)
		}
	}
}

// TestChrootDefault checks what "-" in the column chroot means.
func TestChrootDefault(t *testing.T) {
	for level, want := range map[string]bool{"": true, "0": true, "0.9": true, "1": false, "2": false, "3.6": false, "10": false} {
		p := &Postfix{Params: map[string]string{"compatibility_level": level}}
		if got := p.Chrooted(&Service{Chroot: "-"}); got != want {
			t.Errorf("compatibility_level %q: got %v", level, got)
		}
	}
}

// TestPostconfFails checks the errors of a postconf that hangs, one that refuses, and none.
func TestPostconfFails(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "postconf")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	// The child of the shell keeps the pipes open.
	write(t, script, "#!/bin/sh\nsleep 60 &\nwait\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := ReadPostfix(ctx, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > patience {
		t.Errorf("a postconf that hangs: %v after %v", err, time.Since(begin))
	}
	write(t, script, "#!/bin/sh\necho 'postconf: fatal: open main.cf: no' >&2\nexit 1\n")
	var exit *exec.ExitError
	if _, err := ReadPostfix(t.Context(), "/nowhere"); !errors.As(err, &exit) || !strings.Contains(err.Error(), "open main.cf: no") {
		t.Errorf("a postconf that refuses: %v", err)
	}
	for octets, ok := range map[int]bool{maxOutput - 1: true, maxOutput: false, 2 * maxOutput: false} {
		write(t, script, fmt.Sprintf("#!/bin/sh\nhead -c %d /dev/zero\n", octets))
		if out, _, err := output(t.Context(), script); (err == nil) != ok || len(out) != min(octets, maxOutput) {
			t.Errorf("%d octets: %d, %v", octets, len(out), err)
		}
	}
	write(t, script, "#!/bin/sh\nyes 'a = b'\n")
	if out, _, err := output(ctx, script); err == nil || len(out) > maxOutput {
		t.Errorf("a postconf that writes without end: %v after %d octets", err, len(out))
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

const sendmailCF = ` continues no line
# comment
DjMx.example
D{name}value
D
D}odd
O InputMailFilters=other, sekimori
O DaemonPortOptions=Name=MTA, Family=inet, Port=smtp
O DaemonPortOptions=Name=MSA, Port=587,
	InputMailFilters=sekimori;third
O DaemonPortOptions=Name=Bare, Port=2525, InputMailFilters=
O Milter.LogLevel=9
OT5d
Xsekimori, S=unix:/run/sekimori/milter.sock, F=T, T=C:30s;S:10s;R:1m;E:5m;E;S:x;SR:9s
Xother, S=inet:8891@127.0.0.1
Xodd, S=nothing, F=4
Fw/etc/mail/names
`

func TestParseSendmail(t *testing.T) {
	s := ParseSendmail(sendmailCF)
	if s.Macros["j"] != "Mx.example" || s.Macros["}"] != "odd" || len(s.Macros) != 3 || s.Macros["name"] != "value" || s.Options["Milter.LogLevel"] != "9" {
		t.Errorf("%v %v", s.Macros, s.Options)
	}
	var asked []string
	for i := range s.Daemons {
		asked = append(asked, fmt.Sprint(s.Daemons[i].Name, s.Asked(&s.Daemons[i])))
	}
	if got := fmt.Sprint(asked); got != "[MTA[other sekimori] MSA[sekimori third] Bare[]]" {
		t.Error(got)
	}
	named := map[string]*Filter{}
	for i := range s.Filters {
		named[s.Filters[i].Name] = &s.Filters[i]
	}
	f, other, odd := named["sekimori"], named["other"], named["odd"]
	if f == nil || other == nil || odd == nil || named["none"] != nil {
		t.Fatal(s.Filters)
	}
	if f.Network+f.Address+f.Fail != "unix/run/sekimori/milter.sockT" || !reflect.DeepEqual(f.Timeouts, map[byte]time.Duration{'C': 30 * time.Second, 'S': 10 * time.Second, 'R': time.Minute, 'E': 5 * time.Minute}) {
		t.Errorf("%+v", f)
	}
	if other.Network+other.Address+other.Fail != "inet127.0.0.1:8891" || !reflect.DeepEqual(other.Timeouts, defaultTimeouts()) {
		t.Errorf("%+v", other)
	}
	if odd.Network != "" || odd.Spec != "nothing" || odd.Fail != "4" {
		t.Errorf("%+v", odd)
	}
}

func TestReadSendmail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sendmail.cf")
	if _, err := ReadSendmail(file); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ReadSendmail(filepath.Dir(file)); err == nil {
		t.Error("a directory was read")
	}
	write(t, file, sendmailCF)
	for size, fits := range map[int64]bool{maxFile: true, maxFile + 1: false} {
		if err := os.Truncate(file, size); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSendmail(file); (err == nil) != fits {
			t.Errorf("a file of %d octets: %v", size, err)
		}
	}
	write(t, file, sendmailCF)
	if s, err := ReadSendmail(file); err != nil || s.File != file || len(s.Filters) != 3 {
		t.Errorf("%+v %v", s, err)
	}
}

// FuzzMilters checks that no value makes Milters panic, and that every milter that it returns has an
// address.
func FuzzMilters(f *testing.F) {
	f.Add("inet:h:1, { unix:/a, default_action = accept, { x = y z } }")
	f.Add("{{}}")
	f.Fuzz(func(t *testing.T, value string) {
		milters, err := Milters(value)
		for _, m := range milters {
			if err == nil && m.Address == "" {
				t.Errorf("%q has a milter without an address: %+v", value, m)
			}
		}
		if d, err := Duration(value, time.Second); err == nil && (d < 0 || d > maxDuration) {
			t.Errorf("%q is %v", value, d)
		}
		Networks(value)
	})
}

// FuzzParse checks that no text makes the readers of whole files panic.
func FuzzParse(f *testing.F) {
	f.Add(sendmailCF)
	f.Add("smtp inet n - y - - smtpd\nsmtp/inet/smtpd_milters = x")
	f.Fuzz(func(t *testing.T, text string) {
		s := ParseSendmail(text)
		for i := range s.Daemons {
			for _, name := range s.Asked(&s.Daemons[i]) {
				if name == "" {
					t.Error("a filter without a name is asked")
				}
			}
		}
		p := ParsePostfix(text, text, text, text)
		for _, service := range p.SMTPD() {
			p.File(service, Milter{Network: "unix", Address: p.Value(service, "x")})
		}
	})
}

// TestRuns checks that only the process id of a master counts as a running Postfix.
func TestRuns(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, pid string
		want      bool
	}{
		{"no file", "", false},
		{"no number", "x\n", false},
		{"a process that has ended", fmt.Sprintf("%10d\n", gone.Process.Pid), false},
		{"another program", fmt.Sprint(os.Getpid()), false},
	} {
		queue := t.TempDir()
		if err := os.Mkdir(filepath.Join(queue, "pid"), 0o755); err != nil {
			t.Fatal(err)
		}
		if tt.pid != "" {
			if err := os.WriteFile(filepath.Join(queue, "pid", "master.pid"), []byte(tt.pid), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := Runs(queue); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
