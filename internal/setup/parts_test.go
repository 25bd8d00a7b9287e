package setup

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/mtaconf"
)

func TestSplitList(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
		ok   bool
	}{
		{"", nil, true},
		{" a,b\tc\n d ", []string{"a", "b", "c", "d"}, true},
		{"{ a, b = c } d", []string{"{ a, b = c }", "d"}, true},
		{"{a {b}}{c}", []string{"{a {b}}{c}"}, true},
		{"${x?{a b}} c", []string{"${x?{a b}}", "c"}, true},
		{"{ a", nil, false},
		{"a }", nil, false},
	} {
		got, err := mtaconf.Split(tt.in)
		if !slices.Equal(got, tt.want) || (err == nil) != tt.ok {
			t.Errorf("%q: %q, %v", tt.in, got, err)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"inet:127.0.0.1:8891", "inet:127.0.0.1:8891"},
		{"inet:localhost:8891", "inet:127.0.0.1:8891"},
		{"inet:8891@localhost", "inet:127.0.0.1:8891"},
		{"inet:0.0.0.0:8891", "inet:127.0.0.1:8891"},
		{"inet6:[::]:8891", "inet:[::1]:8891"},
		{"inet6:8891@::1", "inet:[::1]:8891"},
		{"inet:MX.example:1", "inet:mx.example:1"},
		{"unix:/run/a/../b.sock", "unix:/run/b.sock"},
		{"local:/b.sock", "unix:/b.sock"},
		{"unix:", ""}, {"$x", ""}, {"", ""}, {"tcp:1", ""},
	} {
		e, ok := parseEndpoint(tt.in)
		if got := e.String(); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%q: %v %v, want %q", tt.in, got, ok, tt.want)
		}
	}
}

func TestReadUnits(t *testing.T) {
	units := []Unit{
		{Path: "/a", Text: []byte("[Unit]\nSocketGroup=no\n[Socket]\nListenStream=/one\nListenStream = 25\nSocketGroup=a\n#SocketGroup=b\n")},
		{Path: "/b", Text: []byte("[Socket]\nListenStream=\nListenStream=/two\n; ListenStream=/no\nSocketGroup=\\\n c\nSocketMode=0666\n[Install]\nListenStream=/no\n")},
	}
	s := readUnits(units)
	if !slices.Equal(s.streams, []string{"/two"}) || s.group != "c" || s.groupFrom != "/b" || !s.open("x") {
		t.Errorf("%+v", s)
	}
	if s := readUnits(units[:1]); !slices.Equal(s.streams, []string{"/one", "25"}) || s.group != "a" || streamEndpoint("25").Address != "127.0.0.1:25" {
		t.Errorf("%+v", s)
	}
}

func TestSetParameter(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "p = new\n"},
		{"a = b", "a = b\np = new\n"},
		{"p = old\n", "p = new\n"},
		{"p=old\n  more\n# comment\n\n\tmore\nb = c\n", "p = new\nb = c\n"},
		{"p = old\n# about b\nb = c\n", "p = new\n# about b\nb = c\n"},
		{"#p = old\nxp = 1\npx = 2\n", "#p = old\nxp = 1\npx = 2\np = new\n"},
		{"p = 1\np = 2\n", ""},
		{"a = b\np = 1\n x\nb = c\np = 2\n", ""},
		{"p\t = old\n \t \n # c\n\t# c\n\n", "p = new\n \t \n # c\n\t# c\n\n"},
		{"p\r=old\n", "p = new\n"},
		{"a = b\n p = x\n", "a = b\n p = x\np = new\n"},
		{"p = old\n x\n\n# c\n y", "p = new\n"},
		{"a = b\np = old\n# c\n\n  x\n# d\nb = c\n", "a = b\np = new\n# d\nb = c\n"},
	} {
		in := append(make([]byte, 0, 99), tt.in...)
		got, err := setParameter(in, "p", "new")
		if string(got) != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if rest := in[len(in):cap(in)]; strings.Trim(string(rest), "\x00") != "" {
			t.Errorf("%q: the text was written to: %q", tt.in, rest)
		}
	}
}

// FuzzSetParameter compares setParameter with postconf's own view of a file: the value is the new
// one, and all other parameters are as they were. It also checks that the change can be undone.
func FuzzSetParameter(f *testing.F) {
	for _, s := range []string{"", "a = b", "p=old\n  more\n# c\n\n\tmore\nb = c\n", "p = 1\np = 2\n", " x\np =\n", "p\r\n=1\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		after, err := setParameter([]byte(text), "p", "new")
		if err != nil {
			return
		}
		before, now := parameters(text), parameters(string(after))
		if now["p"] != "new" {
			t.Errorf("p is %q in %q", now["p"], after)
		}
		delete(before, "p")
		delete(now, "p")
		for name, value := range before {
			if now[name] != value {
				t.Errorf("%s was %q and is %q in %q", name, value, now[name], after)
			}
		}
		h := diff(text, string(after))
		if back, ok := h.undo(string(after)); ok && back != text {
			t.Errorf("undone, %q became %q", text, back)
		}
	})
}

// parameters reads a main.cf as postconf(5) says: a line that begins with white space continues the
// line before, and comments and empty lines do not count.
func parameters(text string) map[string]string {
	out := map[string]string{}
	var logical []string
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case (line[0] == ' ' || line[0] == '\t') && len(logical) > 0:
			logical[len(logical)-1] += " " + trimmed
		default:
			logical = append(logical, line)
		}
	}
	for _, line := range logical {
		if name, value, ok := strings.Cut(line, "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

// FuzzMergeMilters checks that merging a second time changes nothing, and that every other milter
// is still there.
func FuzzMergeMilters(f *testing.F) {
	for _, s := range []string{"", "inet:a:1, unix:b", "{ inet:127.0.0.1:8891, protocol=2 } $x", "{a b = c, d} e", "{ inet:127.0.0.1:8891, { x = a b } }", "{", "{}", "{inet:localhost:8891}"} {
		f.Add(s)
	}
	ours := []Endpoint{{Network: "tcp", Address: "127.0.0.1:8891"}}
	f.Fuzz(func(t *testing.T, value string) {
		merged, others, err := mergeMilters(value, "inet:127.0.0.1:8891", "/q", ours, version{3, 7})
		if err != nil {
			return
		}
		again, rest, err := mergeMilters(merged, "inet:127.0.0.1:8891", "/q", ours, version{3, 7})
		if err != nil || again != merged || len(rest) != len(others) || countOurs(merged, "/q", ours) != 1 {
			t.Errorf("%q: %q, then %q (%v), others %d and %d", value, merged, again, err, len(others), len(rest))
		}
	})
}

func TestConfigure(t *testing.T) {
	networks, strange := networksOf("10.0.0.0/8, [2001:db8::]/32\t192.0.2.7 [::ffff:10.0.0.0]/104 hash:/x !1.2.3.4 10.0.0.1/8 ::/0 fe80::1%eth0 x.example")
	if len(networks) != 4 || !slices.Equal(strange, []string{"hash:/x", "!1.2.3.4", "10.0.0.1/8", "fe80::1%eth0", "x.example", "::/0"}) {
		t.Fatalf("%v, %q", networks, strange)
	}
	networks = missing(networks, nil)
	for _, tt := range []struct{ name, in, want string }{
		{"flow", "trusted:\n  networks: [127.0.0.1] # mine\nmode: monitor\n",
			"trusted:\n  networks: [127.0.0.1, 10.0.0.0/8, \"2001:db8::/32\", 192.0.2.7] # mine\nauthserv_id: mx.example\n\nmode: monitor\n"},
		{"empty", "trusted: {networks: []}\nmode: monitor\n",
			"trusted: {networks: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.7]}\nauthserv_id: mx.example\n\nmode: monitor\n"},
		{"block", "#authserv_id: x\ntrusted:\n  networks:\n    - 127.0.0.1\n    - \"::1\"\n  authenticated: true\nmode: monitor\n",
			"#authserv_id: x\nauthserv_id: mx.example\ntrusted:\n  networks:\n    - 127.0.0.1\n    - \"::1\"\n    - 10.0.0.0/8\n    - \"2001:db8::/32\"\n    - 192.0.2.7\n" +
				"  authenticated: true\nmode: monitor\n"},
		{"flow over lines", "trusted:\n  networks: [127.0.0.1,\n    \"::1\"]\nmode: monitor\n", ""},
		{"another networks", "policy:\n  overrides:\n    - {name: a, match: {networks: [192.0.2.0/24]}, action: accept, owner: x, expires: 2030-01-01}\nmode: monitor\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := daemonOf(t, "mode: monitor\n")
			if !strings.Contains(tt.in, "overrides") {
				cfg = daemonOf(t, tt.in)
			}
			cfg.Text = []byte(tt.in)
			got, err := configure(cfg, "mx.example", networks)
			if string(got) != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("got\n%s%v\nwant\n%s", got, err, tt.want)
			}
		})
	}
}

// TestConfigureRefuses: what this program cannot change is left to the operator.
func TestConfigureRefuses(t *testing.T) {
	ten := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tt := range []struct {
		name, in string
		id       string
		networks []netip.Prefix
		want     string // "" if it is refused
	}{
		{"nothing", "mode: monitor\n", "", nil, "mode: monitor\n"},
		{"a name", "# The mode.\nmode: monitor\n", "mx.example", nil, "authserv_id: mx.example\n\n# The mode.\nmode: monitor\n"},
		{"networks", "mode: monitor\n", "", ten, "trusted:\n  networks: [127.0.0.0/8, \"::1\", 10.0.0.0/8]\n\nmode: monitor\n"},
		{"a name that is no name", "mode: monitor\n", "mx example;", nil, ""},
		{"no line of the mode", "listen: [\"inet:127.0.0.1:1\"]\n", "mx.example", nil, ""},
		{"the mode in a text", "authserv_id: |\n  x\nmode: monitor\n", "mx.example", nil, ""},
		{"a first document", "trusted: {authenticated: true}\nmode: monitor\n", "", ten, ""},
		{"a line that means another key", "mode: monitor\npolicy:\n#authserv_id: x\n  overrides: []\n", "mx.example", nil, ""},
	} {
		d := daemonOf(t, "mode: monitor\n")
		if tt.name == "no line of the mode" {
			d = daemonOf(t, tt.in)
		}
		d.Text = []byte(tt.in)
		got, err := configure(d, tt.id, tt.networks)
		if string(got) != tt.want || (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, errByHand) {
			t.Errorf("%s: got\n%s%v\nwant\n%s", tt.name, got, err, tt.want)
		}
		if string(d.Text) != tt.in {
			t.Errorf("%s: the text was written to", tt.name)
		}
	}
	// A change of another key, which the configuration as it was read does not have.
	d := daemonOf(t, "mode: monitor\n")
	d.Text = []byte("listen: [\"inet:127.0.0.1:1\"]\nmode: monitor\n")
	if got, err := configure(d, "mx.example", nil); !errors.Is(err, errByHand) || got != nil {
		t.Errorf("another key: %s, %v", got, err)
	}
	both := append(slices.Clone(ten), netip.MustParsePrefix("2001:db8::/32"))
	for _, tt := range []struct {
		id       string
		networks []netip.Prefix
		want     string
	}{{"", nil, ""}, {"a", nil, "\n    authserv_id: a"}, {"", ten, "\n    trusted.networks: 10.0.0.0/8"}, {"a", both, "\n    authserv_id: a\n    trusted.networks: 10.0.0.0/8 2001:db8::/32"}} {
		if got := configLines(tt.id, tt.networks); got != tt.want {
			t.Errorf("%q %v: %q", tt.id, tt.networks, got)
		}
	}
}

// TestEndpoints: a path may begin at the queue directory, because Postfix works there.
func TestEndpoints(t *testing.T) {
	for item, want := range map[string]string{
		"inet:localhost:1": "inet:127.0.0.1:1", "unix:a/../b": "unix:/q/b", "unix:/q/a": "unix:/q/a", "unix:/qa": "unix:/qa unix:/q/qa", "$x": "",
	} {
		m, err := mtaconf.ParseMilter(item)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range endpoints(m, "/q") {
			got = append(got, e.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", item, got, want)
		}
	}
	ours := []Endpoint{{"tcp", "127.0.0.1:1"}}
	for value, want := range map[string]int{"": 0, "inet:127.0.0.1:1 {": 0, "inet:127.0.0.1:1 { } inet:1@localhost inet:a:1": 2} {
		if got := countOurs(value, "/q", ours); got != want {
			t.Errorf("%q: %d of ours", value, got)
		}
	}
	if _, _, err := mergeMilters("inet:a:1 }", "inet:127.0.0.1:1", "/q", ours, version{3, 7}); err == nil {
		t.Error("a list that cannot be read was merged")
	}
}

// TestHunks: every change of a few lines can be undone, and the lines around it are not part of it.
func TestHunks(t *testing.T) {
	texts := []string{""}
	for at := 0; at < len(texts) && len(texts[at]) < 6; at++ {
		texts = append(texts, texts[at]+"a\n", texts[at]+"b\n")
	}
	for _, s := range slices.Clone(texts) {
		texts = append(texts, s+"a", s+"c")
	}
	for _, before := range texts {
		for _, after := range texts {
			h := diff(before, after)
			if got, ok := h.undo(after); ok && got != before {
				t.Errorf("%q to %q: undone, it is %q", before, after, got)
			}
			if got, ok := h.undo("a\n" + after); ok && got != "a\n"+before && !strings.Contains(after+before, "a") {
				t.Errorf("%q to %q: undone after a line, it is %q", before, after, got)
			}
		}
	}
	for _, tt := range []struct {
		before, after string
		want          hunk
	}{
		{"a\n", "a\n", hunk{Before: ""}},
		{"", "x\n", hunk{New: "x\n"}},
		{"x\na\n", "a\n", hunk{Old: "x\n"}},
		{"a\nb\nc\n", "a\nB\nx\nc\n", hunk{Before: "a\n", Old: "b\n", New: "B\nx\n"}},
		{"a\nb\na\n", "a\n", hunk{Before: "a\n", Old: "b\na\n"}},
		{"a\n", "a\nb", hunk{Before: "a\n", New: "b"}},
	} {
		if got := diff(tt.before, tt.after); got != tt.want {
			t.Errorf("%q to %q: %+v, want %+v", tt.before, tt.after, got, tt.want)
		}
	}
}

func TestHunk(t *testing.T) {
	h := diff("a\nb\nc\n", "a\nB\nc\n")
	for _, tt := range []struct {
		now, want string
		ok        bool
	}{
		{"a\nB\nc\n", "a\nb\nc\n", true},
		{"new\na\nB\nc\nd\n", "new\na\nb\nc\nd\n", true}, // other lines changed
		{"a\nb\nc\n", "", false},
		{"a\nB\nx\nB\n", "a\nb\nx\nB\n", true}, // the line before says which one
		{"x\nB\nx\nB\n", "", false},
		{"xB\n", "", false}, // not a whole line
	} {
		if got, ok := h.undo(tt.now); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %q %v", tt.now, got, ok)
		}
	}
}

// TestReadPostfix asks the real postconf about an instance.
func TestReadPostfix(t *testing.T) {
	if _, err := exec.LookPath("postconf"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no postconf here (apt-get install postfix)")
		}
		t.Skip("no postconf here (apt-get install postfix)")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "master.cf"), "smtp inet n - - - - smtpd\n  -o { smtpd_milters = inet:a:1 b }\nsubmission inet n - n - - smtpd -o smtpd_milters=\n", 0o644)
	main := "compatibility_level = 3.6\nmydomain = reader.example\nmyhostname = mx.$mydomain\nall = inet:127.0.0.1:1\nsmtpd_milters = { inet:b:1,\n  protocol=6 } $all\n" +
		"mynetworks = 10.0.0.0/8\n"
	write(t, filepath.Join(dir, "main.cf"), main, 0o644)
	p, err := Host{}.ReadPostfix(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if p.ConfigDir != dir || p.Default || p.Running || p.Group != "postfix" || string(p.Main) != main || !slices.Equal(p.Silent, []string{"inet:127.0.0.1:1"}) {
		t.Errorf("%+v", p)
	}
	if p.Conf.Params["myhostname"] != "mx.reader.example" || p.Conf.Set["smtpd_milters"] != "{ inet:b:1, protocol=6 } $all" {
		t.Errorf("%q %q", p.Conf.Params["myhostname"], p.Conf.Set["smtpd_milters"])
	}
	services := p.Conf.SMTPD()
	if len(services) != 2 || p.Conf.Chrooted(services[0]) || services[0].Options["smtpd_milters"] != "inet:a:1 b" || services[1].Options["smtpd_milters"] != "" {
		t.Errorf("%+v", services)
	}
	if after, err := setParameter(p.Main, "smtpd_milters", "x"); err != nil || !strings.Contains(string(after), "inet:127.0.0.1:1\nsmtpd_milters = x\nmynetworks") {
		t.Errorf("%s %v", after, err)
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
