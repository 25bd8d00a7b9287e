package setup

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/mtaconf"
)

// describe returns everything that a plan says.
func describe(p Plan) string {
	return fmt.Sprintf("mta %s, instance %q, group %q, listens %v, done %v, offline %v, by hand %v %v\n%s",
		p.MTA, p.Instance, p.Group, p.Listens, p.Done(), p.Offline != "", p.Daemon.ByHand, p.Mail.ByHand, p)
}

// sections reads testdata/plans.txt: a line "== NAME" begins the text of a plan.
func sections(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "plans.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for part := range strings.SplitSeq("\n"+string(text), "\n== ") {
		name, plan, _ := strings.Cut(part, "\n")
		out[name] = plan
	}
	return out
}

// TestPlanTexts compares whole plans with testdata/plans.txt. "UPDATE=plans go test -run TestPlanTexts" writes
// the file anew; read the difference.
func TestPlanTexts(t *testing.T) {
	want, got := map[string]string{}, ""
	if os.Getenv("UPDATE") != "plans" {
		want = sections(t)
	}
	compare := func(name string, p Plan) {
		text := describe(p)
		got += "== " + name + "\n" + text
		if os.Getenv("UPDATE") != "plans" && strings.TrimSuffix(want[name], "\n") != strings.TrimSuffix(text, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", name, text, want[name])
		}
	}
	for _, tt := range postfixPlans {
		p, d := postfixOf(tt.master, tt.options, tt.main), daemonOf(t, tt.yaml, tt.units...)
		if tt.edit != nil {
			tt.edit(&p, &d)
		}
		compare("postfix, "+tt.name, PlanPostfix(p, d))
	}
	for _, tt := range sendmailPlans {
		d := daemonOf(t, tt.yaml)
		if tt.edit != nil {
			tt.edit(&d)
		}
		compare("sendmail, "+tt.name, PlanSendmail(Sendmail{Path: "sendmail.mc", Text: []byte(tt.mc)}, d))
	}
	if os.Getenv("UPDATE") == "plans" {
		write(t, filepath.Join("testdata", "plans.txt"), got, 0o644)
	}
}

const named = "authserv_id: mx.reader.example\n" // nothing is missing in the configuration

// socketWith returns the unit of the package with another group and mode.
func socketWith(group, mode string) func(*Postfix, *Daemon) {
	return func(_ *Postfix, d *Daemon) {
		d.Units[0].Text = []byte(strings.NewReplacer("Group=sekimori", "Group="+group, "0660", mode).Replace(socketText))
	}
}

var postfixPlans = []struct {
	name, yaml      string
	units           []Unit
	master, options string
	main            string
	edit            func(*Postfix, *Daemon)
}{
	{name: "package", yaml: packageYAML, master: chrooted},
	{name: "nothing to do", yaml: sourceYAML + named, master: free, main: "smtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail, protocol=6, connect_timeout=30s, command_timeout=30s, content_timeout=300s }\n"},
	{name: "another program has the address", yaml: sourceYAML, master: free, edit: func(p *Postfix, d *Daemon) {
		d.Taken = []Endpoint{{Network: "tcp", Address: "127.0.0.1:8891"}, {Network: "unix", Address: "/run/x.sock"}}
		p.Default, p.ConfigDir = false, "/etc/postfix-in"
	}},
	{name: "no name, and nothing else to do", yaml: sourceYAML, master: free, main: "smtpd_milters = { inet:127.0.0.1:8891, default_action=tempfail, protocol=6, connect_timeout=30s, command_timeout=30s, content_timeout=300s }\n"},
	{name: "the new socket is named already", yaml: packageYAML + named, master: chrooted, main: "smtpd_milters = unix:sekimori/milter.sock $x\n"},
	// Which services are looked at.
	{name: "a problem behind a service that is not public", yaml: sourceYAML + named, master: "submission inet n - y - - smtpd\nsmtp inet n - y - - smtpd\n25 inet n - y - - smtpd\n",
		options: "submission/inet/smtpd_milters = inet:a:1\nsmtp/inet/smtpd_milters =\n25/inet/smtpd_proxy_filter = 127.0.0.1:10024\n25/inet/receive_override_options = no_milters\n"},
	{name: "one of two is chrooted", yaml: packageYAML + named, master: free + "submission inet n - y - - smtpd\n"},
	// Which socket is chosen.
	{name: "socket that all may open, no chroot", yaml: packageYAML, master: free, edit: socketWith("sekimori", "0666")},
	{name: "socket that all may open, chroot", yaml: packageYAML, master: chrooted, edit: socketWith("sekimori", "0667")},
	{name: "socket of the right group, no chroot", yaml: packageYAML, master: free, edit: socketWith("postfix", "0660")},
	{name: "socket of the right group, chroot", yaml: packageYAML, master: chrooted, edit: socketWith("postfix", "0660")},
	{name: "socket of the right group in the chroot", yaml: packageYAML, master: chrooted, edit: func(_ *Postfix, d *Daemon) {
		d.Units[0].Text = []byte("[Socket]\nListenStream=/var/spool/postfix/run/s\nSocketGroup=postfix\nSocketMode=0660\n")
	}},
	{name: "TCP and a socket of systemd that smtpd sees", yaml: "listen: [\"inet:127.0.0.1:8891\", \"systemd:milter\"]\nmode: monitor\n" + named, master: free},
	{name: "TCP and a socket of systemd that smtpd does not see", yaml: "listen: [\"systemd:milter\", \"inet:127.0.0.1:8891\"]\nmode: monitor\n" + named, master: chrooted},
	{name: "TCP and no unit", yaml: "listen: [\"systemd:milter\", \"inet:127.0.0.1:8891\"]\nmode: monitor\n", master: free,
		edit: func(_ *Postfix, d *Daemon) { d.Units = nil }},
	{name: "two sockets", yaml: "listen: [\"unix:/run/x.sock\", {address: \"unix:/var/spool/postfix/x.sock\", mode: \"0666\"}]\nmode: monitor\n" + named, master: chrooted},
	{name: "a socket in another directory of the same beginning", yaml: "listen: [\"unix:/var/spool/postfix2/x.sock\"]\nmode: monitor\n" + named, master: chrooted},
	{name: "a socket of the right group", yaml: "listen: [{address: \"unix:/run/x.sock\", mode: \"0660\", group: postfix}]\nmode: monitor\n" + named, master: free},
	{name: "a socket that its group may read alone", yaml: "listen: [{address: \"unix:/run/x.sock\", mode: \"0640\", group: postfix}]\nmode: monitor\n" + named, master: free},
	{name: "a socket for others and not for its group", yaml: "listen: [{address: \"unix:/run/x.sock\", mode: \"0606\", group: postfix}]\nmode: monitor\n" + named, master: free},
	{name: "a socket that others may read alone", yaml: "listen: [\"inet:127.0.0.1:8891\", {address: \"unix:/run/x.sock\", mode: \"0664\"}]\nmode: monitor\n" + named, master: free},
	{name: "a socket and TCP", yaml: "listen: [\"inet:127.0.0.1:8891\", {address: \"unix:/run/x.sock\", mode: \"0666\"}]\nmode: monitor\n" + named, master: free},
	{name: "TCP after a socket that smtpd does not see", yaml: "listen: [\"unix:/run/x.sock\", \"inet6:[::1]:8891\"]\nmode: monitor\n" + named, master: chrooted},
	// Drop-ins.
	{name: "a unit gives the sockets to another group", yaml: packageYAML + named, master: free,
		units: []Unit{{Path: "/usr/lib/systemd/system/sekimori.socket.d/a.conf", Text: []byte("[Socket]\nSocketGroup=smmsp\n")}}},
	{name: "a drop-in gives the sockets to another group", yaml: packageYAML + named, master: chrooted,
		units: []Unit{{Path: dropIns + "/a.conf", Text: []byte("[Socket]\nSocketGroup=smmsp\n")}}},
	{name: "our drop-in is there, and does something else", yaml: packageYAML + named, master: chrooted,
		units: []Unit{{Path: dropIns + "/a.conf", Text: []byte("[Socket]\nBacklog=9\n")}, {Path: dropIns + "/postfix.conf", Text: []byte("[Socket]\nBacklog=9\n")}}},
	{name: "an instance without a name", yaml: packageYAML + named, master: chrooted, main: "queue_directory = /var/spool/postfix-out/\n",
		edit: func(p *Postfix, _ *Daemon) { p.Default, p.ConfigDir = false, "/etc/postfix-out" }},
	{name: "an instance with a name", yaml: sourceYAML, master: chrooted, main: "multi_instance_name = in\n",
		edit: func(p *Postfix, _ *Daemon) { p.Default, p.ConfigDir, p.Running = false, "/etc/postfix-in", false }},
	{name: "the default instance has a name", yaml: packageYAML, master: chrooted, main: "multi_instance_name = in\n"},
	// Names and networks.
	{name: "a name without a dot", yaml: sourceYAML, master: free, main: "myhostname = mx\n"},
	{name: "no full name, and the configuration has one", yaml: sourceYAML + named, master: free, main: "myhostname = mx.localdomain\n"},
	{name: "the same name in other letters", yaml: sourceYAML + "authserv_id: MX.reader.example\n", master: free},
	{name: "one of several names", yaml: sourceYAML + "authserv_id: all.example\nauthserv_id_also: [mx.reader.example]\n", master: free},
	{name: "another name", yaml: sourceYAML + "authserv_id: all.example\n", master: free},
	{name: "networks that cannot be said", yaml: sourceYAML, master: free, main: "mynetworks = hash:/etc/x 10.0.0.0/8 !10.0.0.1 0.0.0.0/0\n"},
	{name: "networks that cannot be said, kept", yaml: sourceYAML, master: free, main: "mynetworks = hash:/etc/x 10.0.0.0/8\n",
		edit: func(_ *Postfix, d *Daemon) { d.KeepTrusted = true }},
	{name: "networks of interfaces", yaml: sourceYAML + named, master: free,
		edit: func(p *Postfix, _ *Daemon) { p.Conf.Params["mynetworks"] = "10.0.0.0/8 [2001:db8::]/32" }},
	{name: "networks by hand", yaml: "listen: [\"inet:127.0.0.1:8891\"]\ntrusted: {authenticated: true}\nmode: monitor\n", master: free, main: "mynetworks = 10.0.0.0/8 [2001:db8::]/32\n"},
	// The other milters.
	{name: "silent milters", yaml: sourceYAML + named, master: free, main: "smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:2, inet:[::1]:3\n", edit: func(p *Postfix, _ *Daemon) {
		p.Silent = []string{"inet:localhost:8891", "$x", "inet:127.0.0.1:2", "inet:[::1]:3"}
	}},
	{name: "settings stay", yaml: sourceYAML + named, master: free, main: "smtpd_milters = inet:a:1, { inet:8891@localhost, protocol = 4, command_timeout = 9s, { macro_list = a, b }, { x = c d } }, { inet:b:2, protocol = 6 }\n"},
	{name: "the daemon twice", yaml: sourceYAML + named, master: free, main: "smtpd_milters = inet:127.0.0.1:8891 inet:a:1 inet:localhost:8891\n"},
	{name: "a milter without an address", yaml: sourceYAML + named, master: free, main: "smtpd_milters = inet:a:1 { }\n"},
	{name: "by way of another parameter", yaml: sourceYAML + named, master: free, main: "smtpd_milters = $all\n",
		edit: func(p *Postfix, _ *Daemon) { p.Conf.Params["smtpd_milters"] = "inet:127.0.0.1:8891 inet:a:1" }},
	{name: "not by way of another parameter", yaml: sourceYAML + named, master: free, main: "smtpd_milters = inet:127.0.0.1:8891 $all\n",
		edit: func(p *Postfix, _ *Daemon) { p.Conf.Params["smtpd_milters"] = "inet:127.0.0.1:8891 inet:a:1" }},
	{name: "an older address of the daemon", yaml: packageYAML + named, master: chrooted, main: "smtpd_milters = unix:/run/sekimori/milter.sock, unix:/sekimori/milter.sock, unix:/run/other\n",
		units: []Unit{{Path: dropIns + "/postfix.conf", Text: []byte("[Socket]\nListenStream=/var/spool/postfix/sekimori/milter.sock\nSocketGroup=postfix\n")}}},
	{name: "the parameter twice", yaml: sourceYAML + named, master: free, main: "smtpd_milters = inet:a:1\nsmtpd_milters = inet:b:1\n"},
	// Versions.
	{name: "2.11", yaml: sourceYAML + named, master: free, main: "mail_version = 2.11.3\n"},
	{name: "3.0", yaml: sourceYAML + named, master: free, main: "mail_version = 3.0.0\n"},
	{name: "3.10", yaml: sourceYAML + named, master: free, main: "mail_version = 3.10.9\n"},
	{name: "4.0 of a day", yaml: sourceYAML + named, master: free, main: "mail_version = 4.0-20300101\n"},
	// Commands.
	{name: "the socket of systemd, which does not run", yaml: packageYAML + named, master: chrooted, edit: func(_ *Postfix, d *Daemon) { d.Systemd = false }},
	{name: "Postfix does not run", yaml: sourceYAML, master: free, edit: func(p *Postfix, _ *Daemon) { p.Running = false }},
	{name: "socket of systemd that its group may read alone", yaml: packageYAML, master: free, edit: socketWith("postfix", "0640")},
	{name: "socket of systemd for others and not for its group", yaml: packageYAML, master: free, edit: socketWith("postfix", "0606")},
	{name: "socket of systemd of another group with such a mode", yaml: packageYAML, master: free, edit: socketWith("sekimori", "0640")},
	{name: "socket of systemd that others may write alone", yaml: packageYAML, master: free, edit: socketWith("sekimori", "0662")},
	{name: "a reload by systemd", yaml: packageYAML, master: free, edit: socketWith("postfix", "0660")},
}

var sendmailPlans = []struct {
	name, yaml, mc string
	edit           func(*Daemon)
}{
	{name: "package", yaml: packageYAML, mc: "define(`confRUN_AS_USER', `mail:mail')dnl\nINPUT_MAIL_FILTER(`a', `S=inet:1@b')\nMAIL_FILTER(`c', `S=inet:2@b')\nMAILER(`smtp')\n"},
	{name: "a user and TCP", yaml: sourceYAML, mc: "define(`confRUN_AS_USER', `mail')dnl\nMAILER(`smtp')\n"},
	{name: "a socket after TCP", yaml: "listen: [\"inet:127.0.0.1:8891\", \"unix:/run/x.sock\"]\nmode: monitor\n", mc: "MAILER(`smtp')\n"},
	{name: "another program has the address", yaml: sourceYAML, mc: "MAILER(`smtp')\n",
		edit: func(d *Daemon) { d.Taken = []Endpoint{{Network: "tcp", Address: "127.0.0.1:8891"}} }},
	{name: "no unit", yaml: packageYAML, mc: "MAILER(`smtp')\n", edit: func(d *Daemon) { d.Units = nil }},
	{name: "no address", yaml: sourceYAML, mc: "MAILER(`smtp')\n", edit: func(d *Daemon) { d.Config.Listen = nil }},
	{name: "done", yaml: sourceYAML, mc: "  INPUT_MAIL_FILTER(`sekimori', `S=inet:8891@127.0.0.1, F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\nMAILER(`smtp')\n"},
	{name: "included", yaml: sourceYAML, mc: "include(`/etc/mail/m4/sekimori.m4')dnl\nMAILER(`smtp')\n"},
	{name: "included, and the list by itself", yaml: sourceYAML, mc: "include(`sekimori.m4')dnl\ndefine(`confINPUT_MAIL_FILTERS', `a')\n"},
	{name: "no mailer", yaml: sourceYAML, mc: "dnl MAILER(`smtp')\n"},
	{name: "no mailer, but a filter", yaml: sourceYAML, mc: "MAIL_FILTER(`a', `S=inet:1@b')\n"},
	{name: "line ends", yaml: sourceYAML, mc: "MAILER(`smtp')\r\n"},
	{name: "systemd does not run", yaml: packageYAML, mc: "MAILER(`smtp')\n", edit: func(d *Daemon) { d.Systemd = false }},
	{name: "no systemd is needed", yaml: sourceYAML, mc: "MAILER(`smtp')\n", edit: func(d *Daemon) { d.Systemd = false }},
}

// TestPublic: mail from the Internet comes in at port 25 of an address that is not a loopback address,
// or by postscreen.
func TestPublic(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		want       bool
	}{
		{"smtp", "inet", true}, {"25", "inet", true}, {"192.0.2.1:25", "inet", true}, {"[2001:db8::1]:smtp", "inet", true},
		{"smtpd", "pass", true}, {"submission", "inet", false}, {"587", "inet", false}, {"192.0.2.1:587", "inet", false},
		{"smtp", "unix", false}, {"25", "unix", false}, {"smtpd", "unix", false}, {"localhost:25", "inet", false},
		{"[::1]:25", "inet", false}, {"127.0.0.2:smtp", "inet", false}, {"128.0.0.1:25", "inet", true}, {"25:", "inet", false},
	} {
		if got := public(&mtaconf.Service{Name: tt.name, Type: tt.kind}); got != tt.want {
			t.Errorf("%s/%s: %v", tt.name, tt.kind, got)
		}
	}
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]version{"": {}, "3": {3, 0}, "3.7.11": {3, 7}, "2.11.3": {2, 11}, "3.12-20260801": {3, 12}, "x.y": {}, "x.2": {0, 2}} {
		if got := parseVersion(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for _, tt := range []struct {
		v            version
		major, minor int
		want         bool
	}{
		{version{3, 0}, 3, 0, true}, {version{2, 11}, 3, 0, false}, {version{3, 10}, 3, 11, false}, {version{3, 11}, 3, 11, true},
		{version{3, 12}, 3, 11, true}, {version{4, 0}, 3, 11, true}, {version{2, 12}, 3, 11, false},
	} {
		if got := tt.v.atLeast(tt.major, tt.minor); got != tt.want {
			t.Errorf("%v at least %d.%d: %v", tt.v, tt.major, tt.minor, got)
		}
	}
}

// TestMissing: a network is missing unless a trusted network contains it.
func TestMissing(t *testing.T) {
	trusted := []config.Network{{Prefix: netip.MustParsePrefix("10.1.0.0/16")}, {Prefix: netip.MustParsePrefix("2001:db8::/32")}}
	for _, tt := range []struct{ in, want string }{
		{"10.1.0.0/16", ""}, {"10.1.2.0/24", ""}, {"10.0.0.0/15", "10.0.0.0/15"}, {"10.1.0.0/15", "10.1.0.0/15"}, {"10.2.0.0/16", "10.2.0.0/16"},
		{"2001:db8:1::/48", ""}, {"2001:db9::/32", "2001:db9::/32"}, {"192.0.2.0/24 192.0.2.7/32 192.0.2.0/24", "192.0.2.0/24"},
		{"192.0.2.7/32 192.0.2.0/24", "192.0.2.7/32 192.0.2.0/24"},
	} {
		var in []netip.Prefix
		for _, s := range strings.Fields(tt.in) {
			in = append(in, netip.MustParsePrefix(s))
		}
		var got []string
		for _, n := range missing(in, trusted) {
			got = append(got, n.String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.in, got, tt.want)
		}
	}
}
