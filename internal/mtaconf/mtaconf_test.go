package mtaconf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func notAddress(s string) string {
	return fmt.Sprintf("mtaconf: %q is not the address of a milter; write unix:/PATH or inet:HOST:PORT", s)
}

// TestParseMilter checks what is known of an element, also if it is wrong.
func TestParseMilter(t *testing.T) {
	for _, tt := range []struct {
		item, want, err string
	}{
		{"$name", "$name|$name||[]", ""},
		{"{ $name, a=1, b=2, a=3 }", "{ $name, a=1, b=2, a=3 }|$name||[[a 1] [b 2] [a 3]]", ""},
		{"{ inet:h:1, a=1 }", "{ inet:h:1, a=1 }|inet:h:1|inet h:1|[[a 1]]", ""},
		{"{ a } { b }", "{ a } { b }|{ a } { b }||[]", "mtaconf: a list has a '}' without a '{'; remove it"},
		{"{}", "{}|{}||[]", "mtaconf: a milter in braces has no address; write { unix:/PATH, default_action = … }"},
		{"{ inet:h:1, a=1, b }", "{ inet:h:1, a=1, b }|inet:h:1||[[a 1]]", `mtaconf: "b" in the braces of a milter is not a setting; write name = value`},
	} {
		m, err := ParseMilter(tt.item)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got := fmt.Sprint(m.Raw, "|", m.Written, "|", strings.TrimSpace(m.Network+" "+m.Address), "|", m.Settings); got != tt.want || text != tt.err {
			t.Errorf("%s: got %s (%s), want %s (%s)", tt.item, got, text, tt.want, tt.err)
		}
	}
	m, err := ParseMilter("{ inet:h:1, a=1, b=2, a=3 }")
	for name, want := range map[string]string{"a": "3 true", "b": "2 true", "c": " false"} {
		if value, ok := m.Setting(name); fmt.Sprint(value, " ", ok) != want || err != nil {
			t.Errorf("%s: %q %v, %v", name, value, ok, err)
		}
	}
}

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
		{"\tinet:h:1,,\r\ninet:h:2\t", "inet:h:1 []; inet:h:2 []"},
		{"INET6:[::1]:1 Unix:/A Local:b inet:25@[::1]", "inet:[::1]:1 []; unix:/A []; unix:b []; inet:[::1]:25 []"},
		{"{ inet:h:1, { a }, { b = }, { c = d = e }, f=g=h }", "inet:h:1 [[a ] [b ] [c d = e] [f g=h]]"},
		{"{ }", "mtaconf: a milter in braces has no address; write { unix:/PATH, default_action = … }"},
		{"{ inet:h:1, default_action }", `mtaconf: "default_action" in the braces of a milter is not a setting; write name = value`},
		{"{ inet:h:1, a = }", `mtaconf: "a=" in the braces of a milter is not a setting; write name = value`},
		{"{ inet:h:1", "mtaconf: a list has a '{' without a '}'; add it"},
		{"inet:h:1 }", "mtaconf: a list has a '}' without a '{'; remove it"},
		{"127.0.0.1:8891", notAddress("127.0.0.1:8891")},
		{"inet:8891", notAddress("inet:8891")},
		{"inet:h:", notAddress("inet:h:")},
		{"inet:@h", notAddress("inet:@h")},
		{"inet:h:1 $more", notAddress("$more")},
		{"inet:h:1, { $more, a=b }", notAddress("$more")},
		{"unix:", notAddress("unix:")},
	} {
		milters, err := Milters(tt.value)
		var got []string
		for _, m := range milters {
			got = append(got, fmt.Sprint(m.String(), " ", m.Settings))
		}
		text := strings.Join(got, "; ")
		if err != nil {
			text += err.Error()
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
		{"998h60m", maxDuration},
		{"998h61m", -1},
		{"7s2", 9 * time.Second},
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
		if want := fmt.Sprintf("mtaconf: %q is not a time; write a number with s, m, h, d or w", tt.text); err != nil && err.Error() != want {
			t.Errorf("error %q, want %q", err, want)
		}
	}
	for unit, want := range map[time.Duration]time.Duration{time.Hour: 3*time.Hour + time.Second, time.Millisecond: time.Second + 3*time.Millisecond, 0: time.Second} {
		if got, err := Duration("1s3", unit); got != want || err != nil {
			t.Errorf("unit %v: %v, %v", unit, got, err)
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
	networks, others = Networks("\t[::ffff:10.0.0.0]/96,[::ffff:10.0.0.1]\r\n[::ffff:0.0.0.0]/96 [::]/95 ::/0 0.0.0.0/0 [::ffff:0:0]/95 [::ffff:10.0.0.1]/127\n")
	if got := fmt.Sprint(networks, others); got != "[10.0.0.1/32 0.0.0.0/0 ::/95 ::/0 0.0.0.0/0] [[::ffff:10.0.0.0]/96 [::ffff:0:0]/95 [::ffff:10.0.0.1]/127]" {
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
	for level, want := range map[string]bool{"": true, "0": true, " 0 ": true, "0.9": true, "00": false, "1": false, "2": false, "3.6": false, "10": false} {
		p := &Postfix{Params: map[string]string{"compatibility_level": level}}
		for chroot, want := range map[string]bool{"-": want, "y": true, "n": false} {
			if got := p.Chrooted(&Service{Chroot: chroot}); got != want {
				t.Errorf("compatibility_level %q, %s: got %v", level, chroot, got)
			}
		}
	}
}

// TestPostconfFails checks the errors of a postconf that hangs, one that refuses, and none.
func TestPostconfFails(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "postconf")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	// The child of the shell keeps the pipes open.
	for _, hangs := range []string{"sleep 60 &\nwait\n", "setsid sleep 20 &\nwait\n"} { // the second leaves the group
		write(t, script, "#!/bin/sh\n"+hangs)
		testHangs(t, script)
	}
	write(t, script, "#!/bin/sh\necho 'postconf: fatal: open main.cf: no' >&2\nexit 1\n")
	var exit *exec.ExitError
	if p, err := ReadPostfix(t.Context(), "/nowhere"); p != nil || !errors.As(err, &exit) ||
		err.Error() != "mtaconf: "+script+" -c /nowhere -x: exit status 1: postconf: fatal: open main.cf: no" {
		t.Errorf("a postconf that refuses: %v", err)
	}
	for octets, ok := range map[int]bool{maxOutput - 1: true, maxOutput: false, 2 * maxOutput: false} {
		write(t, script, fmt.Sprintf("#!/bin/sh\nhead -c %d /dev/zero\n", octets))
		if out, _, err := output(t.Context(), script); (err == nil) != ok || len(out) != min(octets, maxOutput) ||
			err != nil && err.Error() != "mtaconf: "+script+"  printed more than 4194304 octets" {
			t.Errorf("%d octets: %d, %v", octets, len(out), err)
		}
	}
	write(t, script, "#!/bin/sh\nyes 'a = b'\n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if out, _, err := output(ctx, script); err == nil || len(out) > maxOutput {
		t.Errorf("a postconf that writes without end: %v after %d octets", err, len(out))
	}
}

func testHangs(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if p, err := ReadPostfix(ctx, ""); p != nil || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > patience ||
		err.Error() != "mtaconf: "+script+" -x did not answer within 5s: context deadline exceeded" {
		t.Errorf("a postconf that hangs: %v after %v", err, time.Since(begin))
	}
}

// TestPostconfAnswers runs a postconf that prints what it was asked, in which language, and warnings.
func TestPostconfAnswers(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("LC_ALL", "ja_JP")
	write(t, filepath.Join(dir, "postconf"), `#!/bin/sh
echo "asked = $* in $LC_ALL"
echo " postconf: warning: one" >&2
echo >&2
echo "two $3" >&2
case "$*" in *-M) echo "smtp inet n - n - - smtpd" ;; *-Px) echo "smtp/inet/a = b" ;; esac
`)
	p, err := ReadPostfix(t.Context(), "/etc/one")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Dir, p.Params, p.Set, p.Services, p.Warnings); got !=
		"/etc/onemap[asked:-c /etc/one -x in C] map[asked:-c /etc/one -n in C] [{smtp inet n - smtpd map[a:b]}] [one two -x two -n two -M two -Px]" {
		t.Error(got)
	}
	if p, err := ReadPostfix(t.Context(), ""); err != nil || p.Params["asked"] != "-x in C" {
		t.Errorf("the default directory: %+v, %v", p, err)
	}
}

// TestProgram checks where programs are looked for, and what is said if there is none.
func TestProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	write(t, filepath.Join(dir, "postconf"), "#!/bin/sh\n")
	if got, err := Postconf(); got != filepath.Join(dir, "postconf") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := Program("sekimori-absent"); got != "" || err == nil ||
		err.Error() != "mtaconf: there is no program sekimori-absent, neither in PATH nor in /usr/sbin; is its package installed?" {
		t.Errorf("%s, %v", got, err)
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
	if got := fmt.Sprint(s.Daemons[0].Options, s.Daemons[1].Options); got != "map[Family:inet Name:MTA Port:smtp] map[InputMailFilters:sekimori;third Name:MSA Port:587]" {
		t.Error(got)
	}
	if odd.Network != "" || odd.Spec != "nothing" || odd.Fail != "4" {
		t.Errorf("%+v", odd)
	}
}

// TestSendmailLines reads lines one by one.
func TestSendmailLines(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "map[] map[] [] []",
		"\n\nDjx\n\n":                   "map[j:x] map[] [] []",
		"Djx\r\n y\r\n\tz\r\n":          "map[j:x y\tz] map[] [] []",
		"Djx\n# y\n z\n":                "map[j:x z] map[] [] []",
		" a\n\tb\nDjx":                  "map[j:x] map[] [] []",
		"D{a}b\nD{c\nDde}f\nD{}g":       "map[:g a:b d:e}f {:c] map[] [] []",
		"O A=b\nOA=c\nO D\nO  E = f \n": "map[] map[A:b E:f] [] []",
		"O A=b\nO A=c=d":                "map[] map[A:c=d] [] []",
		"O InputMailFilters=a;b,c d\te\nO InputMailFilters=x": "map[] map[InputMailFilters:x] [x] []",
		"O DaemonPortOptions=N=a, I=b":                        "map[] map[DaemonPortOptions:N=a, I=b] [] [{a map[I:b N:a] [b] true}]",
		"O DaemonPortOptions=NAME=a,inputMAILfilters=b c":     "map[] map[DaemonPortOptions:NAME=a,inputMAILfilters=b c] [] [{a map[NAME:a inputMAILfilters:b c] [b c] true}]",
		"O DaemonPortOptions=n=a,i=b,Port":                    "map[] map[DaemonPortOptions:n=a,i=b,Port] [] [{ map[Port: i:b n:a] [] false}]",
	} {
		s := ParseSendmail(text)
		if got := fmt.Sprint(s.Macros, s.Options, s.Input, s.Daemons); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"Xa": "[{a     map[67:5m0s 69:5m0s 82:10s 83:10s]}]",
		"X a , S = unix:/x , F = R , T = C:1s; E : 2s;S:3": "[{a unix /x unix:/x R map[67:1s 69:5m0s 82:10s 83:3s]}]",
		"Xa, s=unix:/x, T=":           "[{a     map[67:5m0s 69:5m0s 82:10s 83:10s]}]",
		"Xa, T=:1s;C:;SR:1s;R:x;E:1m": "[{a     map[67:5m0s 69:1m0s 82:10s 83:10s]}]",
	} {
		if got := fmt.Sprint(ParseSendmail(text).Filters); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestReadSendmail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sendmail.cf")
	if s, err := ReadSendmail(file); s != nil || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if s, err := ReadSendmail(filepath.Dir(file)); s != nil || err == nil ||
		err.Error() != "mtaconf: "+filepath.Dir(file)+" is not a sendmail.cf: it must be a file of at most 4194304 octets" {
		t.Errorf("a directory: %v", err)
	}
	if s, err := ReadSendmail("/proc/self/mem"); runtime.GOOS == "linux" && (s != nil || !errors.Is(err, syscall.EIO)) { // nothing is at its beginning
		t.Errorf("a file that cannot be read: %v", err)
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
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "master")
	if err := os.Symlink(sleep, link); err != nil {
		t.Fatal(err)
	}
	master := exec.Command(link, "60")
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = master.Process.Kill()
		_ = master.Wait()
	}()
	if !alive(os.Getpid()) || alive(gone.Process.Pid) {
		t.Error("alive is wrong")
	}
	for _, tt := range []struct {
		name, pid string
		want      bool
	}{
		{"no file", "", false},
		{"no number", "x\n", false},
		{"a process that has ended", fmt.Sprintf("%10d\n", gone.Process.Pid), false},
		{"another program", strconv.Itoa(os.Getpid()), false},
		{"a group", "0", false},
		{"everything", "-1", false},
		{"a number that is too large", strings.Repeat("9", 20), false},
		{"a master", strconv.Itoa(master.Process.Pid) + "\n", true},
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
