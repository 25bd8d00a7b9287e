package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekimori/internal/milter/client"
	"sekimori/internal/mtaconf"
	"sekimori/internal/status"
	"sekimori/internal/topology"
)

// TestFindings compares every word of the findings with testdata/findings.txt. "UPDATE=findings go test -run
// TestFindings" writes the file anew; read the difference. It needs neither an MTA nor a network.
func TestFindings(t *testing.T) {
	update := os.Getenv("UPDATE") == "findings"
	file := filepath.Join("testdata", "findings.txt")
	want := map[string]string{}
	if !update {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq("\n"+string(text), "\n== ") {
			name, rest, _ := strings.Cut(part, "\n")
			want[name] = strings.TrimSuffix(rest, "\n")
		}
	}
	all := ""
	compare := func(name string, found []Finding, skipped []string) {
		var b strings.Builder
		for _, f := range found {
			fmt.Fprintf(&b, "%s %s: %s\n  why  %s\n  fix  %s\n", f.Area, f.Kind, f.What, f.Why, f.Fix)
		}
		for _, s := range skipped {
			fmt.Fprintf(&b, "not judged: %s\n", s)
		}
		all += "== " + name + "\n" + b.String()
		if got := strings.TrimSuffix(b.String(), "\n"); !update && got != want[name] {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want[name])
		}
	}
	for _, tt := range postfixFindings {
		o := fakeOurs()
		if tt.edit != nil {
			tt.edit(o)
		}
		p := postfixOf(tt.main, tt.master, tt.options)
		p.Warnings = tt.warnings
		found, skipped := CheckPostfix(p, o)
		compare("postfix, "+tt.name, found, skipped)
	}
	for _, tt := range sendmailFindings {
		o := fakeOurs()
		if tt.edit != nil {
			tt.edit(o)
		}
		s := mtaconf.ParseSendmail(tt.cf)
		s.File = "sendmail.cf"
		found, skipped := CheckSendmail(s, o)
		compare("sendmail, "+tt.name, found, skipped)
	}
	for _, tt := range dnsFindings {
		p := healthyProbes()
		tt.edit(p)
		found, skipped := JudgeDNS(p)
		compare("dns, "+tt.name, found, skipped)
	}
	for _, k := range append(topology.Kinds, "of_the_future") {
		s := seenHealthy()
		s.Topology = []string{string(k)}
		compare("seen, "+string(k), CheckSeen(s), nil)
	}
	for _, tt := range seenFindings {
		s := seenHealthy()
		tt.edit(s)
		compare("seen, "+tt.name, CheckSeen(s), nil)
	}
	now := time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		monitor bool
		changed time.Time
	}{
		{"long", true, now.Add(-topology.LongTime)}, {"not long", true, now.Add(1 - topology.LongTime)},
		{"enforce", false, now.Add(-topology.LongTime)}, {"no file", true, time.Time{}},
	} {
		compare("mode, "+tt.name, judgeMode(tt.monitor, tt.changed, now), nil)
	}
	if update {
		if err := os.WriteFile(file, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const ourSocket = "/run/sekimori/milter.sock"

// fakeOurs is a daemon at a socket and a port, on a host with a few other sockets and ports.
func fakeOurs() *Ours {
	return &Ours{
		Listen: []Address{{"unix", ourSocket}, {"inet", "127.0.0.1:8891"}}, Enforce: true, AuthservID: "mx.here.example",
		Budget: 20 * time.Second, Idle: 5 * time.Minute,
		Trusts: func(n netip.Prefix) bool { return netip.MustParsePrefix("10.0.0.0/8").Overlaps(n) && n.Bits() >= 8 },
		Own:    func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.10") },
		Same:   func(a, b string) bool { return a == ourSocket && b == "/run/link.sock" },
		Socket: func(path string) SocketFile {
			switch path {
			case ourSocket, "/run/link.sock", "/run/another.sock":
				return SocketFile{}
			case "/run/odd.sock":
				return SocketFile{Err: errors.New("permission denied")}
			case "/run/denied.sock":
				return SocketFile{Denied: true, Mode: "600", Group: "sekimori"}
			}
			return SocketFile{Missing: true}
		},
		Ask: func(_, address string) error {
			switch address {
			case "127.0.0.1:1", "192.0.2.10:1":
				return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
			case "127.0.0.1:2", "/run/another.sock", "name.example:2":
				return client.ErrAnother
			case "127.0.0.1:3":
				return context.DeadlineExceeded
			case "127.0.0.1:4":
				return syscall.EACCES
			}
			return nil
		},
		ReadFile: func(path string) ([]byte, error) {
			text, ok := map[string]string{
				"/etc/replace": "# x IGNORE\n/^a/ REPLACE b\n", "/etc/ignore": "/^a/ IGNORE\n", "/etc/strip": "/^a/ WARN\n/^a/\tSTRIP x\n",
				"/etc/refuse": "#/^a/ IGNORE\n/REPLACE/ REJECT\n/^a/ IGNORED\n",
			}[path]
			if !ok {
				return nil, os.ErrNotExist
			}
			return []byte(text), nil
		},
	}
}

// postfixOf returns a configuration without a mistake, with changes.
func postfixOf(main, master, options string) *mtaconf.Postfix {
	if master == "" {
		master = "smtp inet n - n - - smtpd\n"
	}
	return mtaconf.ParsePostfix("compatibility_level = 3.6\nqueue_directory = /q\nmyhostname = mx.here.example\nmynetworks = 10.0.0.0/8 192.0.2.10/32\n"+
		"smtpd_milters = unix:"+ourSocket+"\nmilter_protocol = 6\nmilter_default_action = tempfail\nmilter_connect_timeout = 5s\nmilter_command_timeout = 5s\n"+
		"milter_content_timeout = 20s\ncleanup_service_name = cleanup\nlocal_header_rewrite_clients = permit_inet_interfaces\n"+main, "", master+"cleanup unix n - n - 0 cleanup\n", options)
}

var postfixFindings = []struct {
	name, main, master, options string
	warnings                    []string
	edit                        func(*Ours)
}{
	{name: "healthy"},
	{name: "nothing can be asked", edit: func(o *Ours) { o.Ask, o.Socket = nil, nil }},
	// Services.
	{name: "no service for other hosts", master: "submission inet n - n - - smtpd\n127.0.0.1:25 inet n - n - - smtpd\n"},
	{name: "the second asks", main: "smtpd_milters =\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n127.0.0.1:26 inet n - n - - smtpd\n",
		options: "25/inet/smtpd_milters = inet:127.0.0.1:8891\n127.0.0.1:26/inet/smtpd_milters = inet:127.0.0.1:8891\n"},
	{name: "the first asks", main: "non_smtpd_milters = unix:" + ourSocket + "\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n", options: "25/inet/smtpd_milters =\n"},
	{name: "no one asks", main: "smtpd_milters =\nnon_smtpd_milters = unix:" + ourSocket + "\n"},
	{name: "proxy filter", main: "smtpd_proxy_filter = a:1\n"},
	{name: "proxy filter in master.cf", options: "smtp/inet/smtpd_proxy_filter = a:1\n"},
	{name: "no_milters", main: "receive_override_options = no_address_mappings,no_milters\n"},
	{name: "maps", main: "smtpd_milter_maps = cidr:/etc/x\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n"},
	{name: "a list that cannot be read", main: "smtpd_milters = $x\n"},
	{name: "a list in master.cf that cannot be read", options: "smtp/inet/smtpd_milters = { unix:/x\n"},
	// Missing.
	{name: "no milter", main: "smtpd_milters =\n", edit: func(o *Ours) { o.Listen = nil }},
	{name: "other milters", main: "smtpd_milters = inet:a:1, { unix:/b, protocol = 6 }\n"},
	{name: "other milters, and unknown sockets", main: "smtpd_milters = inet:a:1\n", edit: func(o *Ours) { o.Listen, o.Unknown = nil, true }},
	{name: "no milter, and unknown sockets", main: "smtpd_milters =\n", edit: func(o *Ours) { o.Listen, o.Unknown = nil, true }},
	{name: "chroot", main: "smtpd_milters = inet:a:1 unix:" + ourSocket + "\n", master: "smtp inet n - y - - smtpd\n"},
	{name: "chroot, and another socket", main: "smtpd_milters = unix:/run/x\n", master: "smtp inet n - y - - smtpd\n"},
	{name: "chroot, and TCP elsewhere", main: "smtpd_milters = inet:127.0.0.1:8892\n", master: "smtp inet n - y - - smtpd\n", edit: func(o *Ours) { o.Unknown = true }},
	{name: "a socket in the chroot", master: "smtp inet n - y - - smtpd\n", edit: func(o *Ours) { o.Listen[0].Address = "/q" + ourSocket; o.Socket = nil }},
	// Listeners and sockets.
	{name: "another program", main: "smtpd_milters = { inet:127.0.0.1:2, protocol = 2 }\n", edit: func(o *Ours) { o.Listen[1].Address = "127.0.0.1:2" }},
	{name: "another program at a socket", main: "smtpd_milters = unix:/run/another.sock\n", edit: func(o *Ours) { o.Listen[0].Address = "/run/another.sock" }},
	{name: "another program at a name", main: "smtpd_milters = inet:name.example:2\n", edit: func(o *Ours) { o.Listen[1].Address = "0.0.0.0:2" }},
	{name: "a name", main: "smtpd_milters = inet:name.example:8891\n"},
	{name: "a name, and nothing can be asked", main: "smtpd_milters = inet:name.example:2\n", edit: func(o *Ours) { o.Listen[1].Address = "0.0.0.0:2"; o.Ask = nil }},
	{name: "nobody listens", main: "smtpd_milters = inet:127.0.0.1:1\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n", edit: func(o *Ours) { o.Listen[1].Address = "127.0.0.1:1" }},
	{name: "nobody listens at another address of this host", main: "smtpd_milters = inet:192.0.2.10:1\n", edit: func(o *Ours) { o.Listen[1].Address = "0.0.0.0:1" }},
	{name: "another host", main: "smtpd_milters = inet:192.0.2.11:1\n", edit: func(o *Ours) {
		o.Listen[1].Address = "0.0.0.0:1"
		o.Ask = func(_, _ string) error { return syscall.ECONNREFUSED }
	}},
	{name: "no answer", main: "smtpd_milters = inet:127.0.0.1:3\n", edit: func(o *Ours) { o.Listen[1].Address = "127.0.0.1:3" }},
	{name: "a missing right", main: "smtpd_milters = inet:127.0.0.1:4\n", edit: func(o *Ours) { o.Listen[1].Address = "127.0.0.1:4" }},
	{name: "a link to the socket", main: "smtpd_milters = unix:/run/link.sock\n"},
	{name: "no socket file", main: "smtpd_milters = unix:/run/gone.sock\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n", edit: func(o *Ours) {
		o.Listen[0].Address = "/run/gone.sock"
		o.Ask = func(_, _ string) error { return syscall.ECONNREFUSED }
	}},
	{name: "a socket that is not for Postfix", main: "smtpd_milters = unix:/run/denied.sock\n", edit: func(o *Ours) { o.Listen[0].Address = "/run/denied.sock" }},
	{name: "a socket that cannot be looked at", main: "smtpd_milters = unix:/run/odd.sock\n", edit: func(o *Ours) {
		o.Listen[0].Address = "/run/odd.sock"
		o.Ask = func(_, _ string) error { return syscall.ECONNREFUSED }
	}},
	// Settings.
	{name: "another milter before", main: "smtpd_milters = inet:a:1 unix:/b unix:" + ourSocket + "\n"},
	{name: "another milter before, in master.cf", options: "smtp/inet/smtpd_milters = inet:a:1 unix:" + ourSocket + "\n"},
	{name: "protocol 5", main: "milter_protocol = 5\n"},
	{name: "protocol 6 and a word", main: "milter_protocol = 6 no_header_reply\n"},
	{name: "protocol 0", main: "milter_protocol = 0 x\n"},
	{name: "protocol 10", main: "milter_protocol = 10\n"},
	{name: "protocol without a number", main: "milter_protocol = /\n"},
	{name: "no protocol", main: "milter_protocol =\n"},
	{name: "own settings", main: "milter_protocol = 2\nsmtpd_milters = { unix:" + ourSocket + ", protocol = 4, default_action = accept, connect_timeout = 4s, command_timeout = 4s, content_timeout = 19s }\n"},
	{name: "own settings that are right", main: "milter_protocol = 2\nmilter_default_action = reject\nmilter_connect_timeout = 1s\nsmtpd_milters = { unix:" + ourSocket + ", protocol = 6, default_action = quarantine, connect_timeout = 5s }\n"},
	{name: "accept", main: "milter_default_action = accept\n"},
	{name: "accept in monitor", main: "milter_default_action = accept\n", edit: func(o *Ours) { o.Enforce = false }},
	{name: "reject in monitor", main: "milter_default_action = reject\n", edit: func(o *Ours) { o.Enforce = false }},
	{name: "short times in master.cf", options: "smtp/inet/milter_connect_timeout = 4s\nsmtp/inet/milter_command_timeout = 4s\nsmtp/inet/milter_content_timeout = 19s\n"},
	{name: "times that are none", main: "milter_connect_timeout = x\nmilter_command_timeout =\nmilter_content_timeout = 1h\n"},
	// Rewriting.
	{name: "tables that change", main: "header_checks = pcre:/etc/replace, regexp:/etc/refuse\nmime_header_checks = regexp:/etc/ignore\nnested_header_checks = pcre:/etc/strip\nbody_checks = pcre:/etc/strip\n"},
	{name: "tables that change in master.cf", options: "cleanup/unix/body_checks = pcre:/etc/ignore\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n"},
	{name: "another cleanup", main: "body_checks = pcre:/etc/ignore\n", options: "other/unix/body_checks =\nsmtp/inet/cleanup_service_name = other\n", master: "smtp inet n - n - - smtpd\nother unix n - n - 0 cleanup\n"},
	{name: "no cleanup service named", main: "cleanup_service_name =\n", options: "cleanup/unix/body_checks = pcre:/etc/ignore\n"},
	{name: "tables that cannot be read", main: "header_checks = hash:/etc/replace pcre:etc/replace pcre:/etc/none static:x\n", master: "smtp inet n - n - - smtpd\n25 inet n - n - - smtpd\n"},
	{name: "addresses of others", main: "local_header_rewrite_clients = permit_mynetworks, static:all\n"},
	{name: "domain for others", main: "remote_header_rewrite_domain = domain.invalid\n"},
	// Submission.
	{name: "mail of programs", main: "non_smtpd_milters = inet:a:1 unix:" + ourSocket + "\n"},
	{name: "mail of programs, in a chroot", main: "non_smtpd_milters = unix:" + ourSocket + "\n", options: "x/unix/y = z\n", master: "smtp inet n - n - - smtpd\ncleanup unix n - y - 0 cleanup\n"},
	{name: "mail of programs, unreadable", main: "non_smtpd_milters = $x\n"},
	{name: "asked twice", master: "smtp inet n - n - - smtpd\n127.0.0.1:10025 inet n - n - - smtpd\nlocalhost:10026 inet n - n - - smtpd\n[::1]:10027 inet n - n - - smtpd\n" +
		"192.0.2.10:587 inet n - n - - smtpd\n127.0.0.1:10028 inet n - n - - smtpd\n127.0.0.1:10029 inet n - n - - smtpd\nsubmission inet n - n - - smtpd\n127.0.0.1:10030 inet n - n - - smtpd\n",
		options: "127.0.0.1:10028/inet/smtpd_milters = inet:a:1\n127.0.0.1:10029/inet/receive_override_options = no_milters\n[::1]:10027/inet/smtpd_milters = $x\n"},
	// Networks, names and the rest.
	{name: "networks", main: "mynetworks = 10.1.0.0/16 11.0.0.0/8 [::ffff:10.0.0.0]/104 hash:/etc/x !10.0.0.1 192.0.2.10/32 192.0.2.10/31 192.0.2.11/32 [::1]/128\n"},
	{name: "one network", main: "mynetworks = 10.0.0.0/8 11.0.0.0/8\n"},
	{name: "another name", main: "myhostname = mail.elsewhere.example\n"},
	{name: "a name of the same owner", main: "myhostname = mail.here.example\n", edit: func(o *Ours) { o.AuthservID = "HERE.example." }},
	{name: "a short name", main: "myhostname = mail\n"},
	{name: "no name", main: "myhostname =\n"},
	{name: "no authserv-id", main: "myhostname = mail.elsewhere.example\n", edit: func(o *Ours) { o.AuthservID = "" }},
	{name: "soft_bounce", main: "soft_bounce = yes\n"},
	{name: "warnings", main: "soft_bounce = no\n", warnings: []string{"main.cf: unused parameter: smtpd_milter=x", "main.cf: unused parameter: a=b", "a milter", "main.cf: unused parameter: smtpd_milter=x"}},
}

const healthyCF = "Xsekimori, S=unix:" + ourSocket + ", F=T, T=C:5s;S:5s;R:10s;E:20s\nO Timeout.command=5m\nO InputMailFilters=sekimori\nDjmx.here.example\n"

var sendmailFindings = []struct {
	name, cf string
	edit     func(*Ours)
}{
	{name: "healthy", cf: healthyCF},
	{name: "no filter", cf: "O Timeout.command=5m\n"},
	{name: "no filter, and TCP first", cf: "Djmail.elsewhere.example\n", edit: func(o *Ours) { o.Listen = []Address{{"inet", "[::1]:8891"}, {"unix", "/x"}} }},
	{name: "no filter, and no address", cf: "", edit: func(o *Ours) { o.Listen = nil }},
	{name: "no filter, and an odd address", cf: "Dj$w.elsewhere.example\n", edit: func(o *Ours) { o.Listen = []Address{{"inet", "8891"}} }},
	{name: "no filter, and a path with a colon", cf: "", edit: func(o *Ours) { o.Listen = []Address{{"unix", "/run/a:b"}} }},
	{name: "no filter, and unknown sockets", cf: "", edit: func(o *Ours) { o.Unknown = true }},
	{name: "another filter, and unknown sockets", cf: "Xa, S=unix:/a\n", edit: func(o *Ours) { o.Unknown = true }},
	{name: "the second filter", cf: "Xa, S=unix:/a\n" + healthyCF + "O InputMailFilters=a, sekimori\n", edit: func(o *Ours) { o.Unknown = true }},
	{name: "another program", cf: "Xsekimori, S=inet:2@127.0.0.1\n", edit: func(o *Ours) { o.Listen[1].Address = "127.0.0.1:2" }},
	{name: "no F=", cf: strings.Replace(healthyCF, " F=T,", "", 1)},
	{name: "no F= in monitor", cf: strings.Replace(healthyCF, " F=T,", "", 1), edit: func(o *Ours) { o.Enforce = false }},
	{name: "F=R in monitor", cf: strings.Replace(healthyCF, "F=T", "F=R", 1), edit: func(o *Ours) { o.Enforce = false }},
	{name: "F=4", cf: strings.Replace(healthyCF, "F=T", "F=4", 1)},
	{name: "short times", cf: strings.Replace(healthyCF, "C:5s;S:5s;R:10s;E:20s", "C:4s;S:4s;R:9s;E:19s", 1)},
	{name: "the times of Sendmail", cf: strings.Replace(healthyCF, ", T=C:5s;S:5s;R:10s;E:20s", "", 1)},
	{name: "idle", cf: strings.Replace(healthyCF, "5m", "301s", 1)},
	{name: "idle without a unit", cf: strings.Replace(healthyCF, "5m", "6", 1)},
	{name: "idle by default", cf: strings.Replace(healthyCF, "O Timeout.command=5m\n", "", 1)},
	{name: "idle by default, and that is right", cf: strings.Replace(healthyCF, "O Timeout.command=5m\n", "", 1), edit: func(o *Ours) { o.Idle = time.Hour }},
	{name: "idle that is no time", cf: strings.Replace(healthyCF, "5m", "x", 1)},
	{name: "no socket file", cf: strings.Replace(healthyCF, ourSocket, "/run/gone.sock", 1), edit: func(o *Ours) { o.Listen[0].Address = "/run/gone.sock" }},
	{name: "a socket that cannot be looked at", cf: strings.Replace(healthyCF, ourSocket, "/run/odd.sock", 1), edit: func(o *Ours) { o.Listen[0].Address = "/run/odd.sock" }},
	{name: "nobody listens", cf: strings.Replace(healthyCF, "unix:"+ourSocket, "inet:1@127.0.0.1", 1), edit: func(o *Ours) { o.Listen[1].Address = "127.0.0.1:1" }},
	{name: "listeners", cf: healthyCF + "Xa, S=inet:9@a.example\nO InputMailFilters=a\nO DaemonPortOptions=Name=one\nO DaemonPortOptions=Name=two, Port=587\nO DaemonPortOptions=Name=three, P=submission\n" +
		"O DaemonPortOptions=Name=four, Port=smtps\nO DaemonPortOptions=Name=five, Port=465\nO DaemonPortOptions=Name=six, Addr=127.0.0.1\nO DaemonPortOptions=Name=seven, A=::1\n" +
		"O DaemonPortOptions=Name=eight, Addr=192.0.2.1, Port=25, InputMailFilters=a;sekimori\nO DaemonPortOptions=Name=nine, InputMailFilters=sekimori;a\n"},
	{name: "nobody asks the filter", cf: strings.Replace(healthyCF, "Filters=sekimori", "Filters=", 1)},
}

func good(records int) Asked { return Asked{Rcode: "NOERROR", EDNS: true, Records: records} }

var (
	nothing = Asked{Err: errors.New("no answer")}
	refused = Asked{Rcode: "REFUSED", EDNS: true}
	absent  = Asked{Rcode: "NXDOMAIN", EDNS: true}
)

// healthyProbes are the answers of a server that has no fault.
func healthyProbes() *Probes {
	return &Probes{
		Server: "192.0.2.53:53", UDP: []Asked{good(13), good(13), good(13)}, TCP: good(13),
		Invented: map[string]Asked{"A of x.invalid.": absent, "TXT of x.com.": absent},
		Known:    []Known{{"a.example", good(1), good(2), good(2)}, {"b.example", good(1), good(1), good(1)}},
	}
}

// known replaces the answers for both names.
func (p *Probes) known(mx, txt, tcp Asked) {
	for i := range p.Known {
		p.Known[i].MX, p.Known[i].TXT, p.Known[i].TCP = mx, txt, tcp
	}
}

var dnsFindings = []struct {
	name string
	edit func(*Probes)
}{
	{"healthy", func(*Probes) {}},
	{"one of three answers over UDP, without EDNS", func(p *Probes) { p.UDP = []Asked{nothing, {Rcode: "NOERROR"}, {Rcode: ""}} }},
	{"one of three has EDNS", func(p *Probes) { p.UDP = []Asked{{Rcode: "REFUSED"}, {Rcode: "NOERROR"}, refused} }},
	{"no UDP", func(p *Probes) { p.UDP = []Asked{nothing, nothing} }},
	{"no TCP", func(p *Probes) { p.TCP = nothing; p.Invented["A of x.invalid."] = good(1) }},
	{"neither", func(p *Probes) { p.UDP, p.TCP = nil, nothing; p.known(nothing, nothing, nothing) }},
	{"TLS", func(p *Probes) { p.TLS, p.UDP = true, nil }},
	{"TLS that is silent", func(p *Probes) { p.TLS, p.UDP, p.TCP = true, nil, nothing; p.Invented = nil }},
	{"TLS that invents, and cuts", func(p *Probes) {
		p.TLS, p.UDP = true, nil
		p.Invented["A of x.invalid."], p.Invented["TXT of x.com."] = good(1), good(2)
		p.Known[0].TXT.Records = 1
	}},
	{"as slow as a server may be", func(p *Probes) { p.UDP[0].Took, p.UDP[1].Took = slow, slow }},
	{"slow", func(p *Probes) {
		p.UDP[0].Took, p.UDP[1].Took, p.UDP[2].Took = time.Hour, slow+1500*time.Microsecond, 0
	}},
	{"slow, two answers", func(p *Probes) { p.UDP[0].Took, p.UDP[1].Took, p.UDP[2] = 0, time.Second, nothing }},
	{"a slow answer that is none", func(p *Probes) {
		p.UDP[1] = Asked{Err: nothing.Err, Rcode: "NOERROR", Took: time.Hour}
		p.UDP[2] = p.UDP[1]
	}},
	{"dead end", func(p *Probes) {
		p.Invented = map[string]Asked{"a": nothing, "b": {Rcode: "SERVFAIL"}, "c": refused, "d": nothing, "e": refused}
		p.known(refused, nothing, good(1))
	}},
	{"dead end, and no names", func(p *Probes) { p.Invented, p.Known = map[string]Asked{"a": refused}, nil }},
	{"dead end of IPv6", func(p *Probes) {
		p.Server, p.Invented, p.Known = "[2001:db8::53]:5353", map[string]Asked{"a": refused}, nil
	}},
	{"dead end by TLS", func(p *Probes) {
		p.Server, p.Invented, p.Known = "tls://192.0.2.53:853#dns.example", map[string]Asked{"a": refused}, nil
	}},
	{"dead end of a name", func(p *Probes) { p.Server, p.Invented, p.Known = "resolver", map[string]Asked{"a": refused}, nil }},
	{"dead end, and no invented names", func(p *Probes) { p.Invented = nil; p.known(refused, refused, refused) }},
	{"nothing was asked", func(p *Probes) { p.Invented, p.Known = nil, nil }},
	{"no dead end: one MX", func(p *Probes) {
		p.Invented = map[string]Asked{"a": refused}
		p.known(refused, refused, refused)
		p.Known[1].MX = absent
	}},
	{"no dead end: one TXT", func(p *Probes) {
		p.Invented = map[string]Asked{"a": refused}
		p.known(refused, refused, refused)
		p.Known[0].TXT = good(0)
	}},
	{"no dead end: one invented name", func(p *Probes) {
		p.Invented = map[string]Asked{"a": refused, "b": absent}
		p.known(refused, refused, refused)
	}},
	{"invents", func(p *Probes) {
		p.Invented = map[string]Asked{"b": good(1), "a": good(2), "c": good(0), "d": {Rcode: "NXDOMAIN", Records: 1}}
	}},
	{"none of the names", func(p *Probes) { p.known(good(0), good(0), good(0)) }},
	{"one of the names", func(p *Probes) { p.known(absent, absent, absent); p.Known[1].MX = good(1); p.Known[1].TXT = good(1) }},
	{"no TXT", func(p *Probes) { p.known(good(1), good(0), good(0)) }},
	{"TXT over UDP alone", func(p *Probes) { p.known(good(1), good(1), nothing) }},
	{"TXT over TCP alone", func(p *Probes) { p.known(good(1), nothing, good(1)) }},
	{"TXT of one name", func(p *Probes) {
		p.known(good(1), good(0), good(0))
		p.Known[0].TCP = good(1)
		p.Known[0].TXT.Truncated = true
	}},
	{"cut, and the rest over TCP", func(p *Probes) { p.Known[0].TXT = Asked{Rcode: "NOERROR", Truncated: true} }},
	{"cut, and no rest", func(p *Probes) {
		p.Known[0].TXT, p.Known[0].TCP = Asked{Rcode: "NOERROR", Truncated: true, Records: 1}, refused
	}},
	{"cut, and TCP does not answer", func(p *Probes) { p.Known[0].TXT, p.Known[0].TCP = Asked{Rcode: "NOERROR", Truncated: true}, nothing }},
	{"cut, and said otherwise", func(p *Probes) { p.Known[0].TXT.Records = 1 }},
	{"more over UDP", func(p *Probes) { p.Known[0].TXT.Records = 3 }},
	{"no TXT over UDP", func(p *Probes) { p.Known[0].TXT = nothing }},
	{"no TXT record over UDP", func(p *Probes) { p.Known[0].TXT = good(0) }},
}

func seenHealthy() *status.Status {
	s := &status.Status{Config: status.Config{LastReloadOK: true}}
	s.DNS.Servers = []status.Server{{Address: "192.0.2.53", Up: true}}
	return s
}

var seenFindings = []struct {
	name string
	edit func(*status.Status)
}{
	{"healthy", func(*status.Status) {}},
	{"two kinds", func(s *status.Status) { s.Topology = []string{"socket_lost", "clock_off"} }},
	{"an MTA lacks", func(s *status.Status) { s.MTALacks = map[string]int64{"quarantine": 3, "macros": 0, "add_header": 1} }},
	{"not ready", func(s *status.Status) { s.NotReady = "socket lost" }},
	{"reload", func(s *status.Status) { s.Config.LastReloadOK = false }},
	{"servers", func(s *status.Status) {
		s.DNS.Servers = append(s.DNS.Servers, status.Server{Address: "192.0.2.54"}, status.Server{Place: "2"})
	}},
}

// TestPublicServices: which services take mail from other hosts.
func TestPublicServices(t *testing.T) {
	for name, want := range map[string]bool{
		"smtp/inet": true, "25/inet": true, "2525/inet": true, "192.0.2.1:25/inet": true, "[2001:db8::1]:25/inet": true, "smtpd/pass": true, "localhost:x/pass": false,
		"127.0.0.1:25/inet": false, "127.9.9.9:25/inet": false, "[::1]:25/inet": false, "localhost:25/inet": false, "smtpd/unix": false,
		"submission/inet": false, "submissions/inet": false, "smtps/inet": false, "587/inet": false, "465/inet": false, "192.0.2.1:587/inet": false, "submission/pass": true,
	} {
		at := strings.LastIndexByte(name, '/')
		p := mtaconf.ParsePostfix("", "", name[:at]+" "+name[at+1:]+" n - n - - smtpd\nsmtp unix n - n - - smtp\n", "")
		if got := (&postfixCheck{p: p}).public(); (len(got) == 1) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestOurs: which addresses are ours, and which are this host's.
func TestOurs(t *testing.T) {
	o := fakeOurs()
	for _, tt := range []struct {
		network, address string
		local, name      bool
	}{
		{"unix", "/x", true, true}, {"inet", "x", false, true}, {"inet", "localhost:1", true, false}, {"inet", "127.9.9.9:1", true, false}, {"inet", "[::1]:1", true, false},
		{"inet", "192.0.2.10:1", true, false}, {"inet", "192.0.2.11:1", false, false}, {"inet", "a.example:1", false, true},
	} {
		if got := o.local(tt.network, tt.address); got != tt.local {
			t.Errorf("%s:%s is of this host: %v", tt.network, tt.address, got)
		}
		if got := isName(tt.address); got != tt.name {
			t.Errorf("%s has a name: %v", tt.address, got)
		}
	}
	for text, want := range map[string]string{"unix:/x": "unix:/x true", "inet:8891@::1": "inet:[::1]:8891 true", "systemd:milter": ": false"} {
		if a, ok := ParseListen(text); fmt.Sprint(a, " ", ok) != want {
			t.Errorf("%s: %v %v", text, a, ok)
		}
	}
	own := ownAddress()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, err := netip.ParsePrefix(a.String()); err == nil && (!own(n.Addr()) || n.Addr().Is4() && !own(netip.AddrFrom16(n.Addr().As16()))) {
			t.Errorf("%v is not of this host", a)
		}
	}
	if own(netip.MustParseAddr("192.0.2.77")) {
		t.Error("an address of nobody is of this host")
	}
}
