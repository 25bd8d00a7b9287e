package setup

import (
	"strings"
	"testing"

	"sekimori/internal/config"
	"sekimori/internal/mtaconf"
)

const (
	packageYAML = "listen: [\"systemd:milter\"]\ntrusted:\n  networks: [127.0.0.0/8, \"::1\"]\n\n# Keep this the last line.\nmode: monitor\n"
	sourceYAML  = "listen: [\"inet:127.0.0.1:8891\"]\nmode: monitor\n"
	socketText  = "[Unit]\nDescription=x\n[Socket]\nListenStream=/run/sekimori/milter.sock\nSocketUser=sekimori\nSocketGroup=sekimori\nSocketMode=0660\n"
	dropIns     = "/etc/systemd/system/sekimori.socket.d"
	chrooted    = "smtp       inet  n       -       y       -       -       smtpd\nretry unix - - n - - error\n"
	free        = "smtp       inet  n       -       n       -       -       smtpd\n"
)

// daemonOf returns a daemon with a configuration and, if its socket is systemd's, with the unit of
// the package.
func daemonOf(t *testing.T, yaml string, more ...Unit) Daemon {
	t.Helper()
	cfg, err := config.Parse("sekimori.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	d := Daemon{Path: "sekimori.yaml", Text: []byte(yaml), Config: cfg, DropIns: dropIns, Systemd: true}
	if strings.Contains(yaml, "systemd:") {
		d.Units = append([]Unit{{Path: "/usr/lib/systemd/system/sekimori.socket", Text: []byte(socketText)}}, more...)
	}
	return d
}

// postfixOf returns an instance of Postfix with a main.cf, as postconf of a version would show it.
func postfixOf(master, overrides, main string) Postfix {
	params := "compatibility_level = 3.6\nconfig_directory = /etc/postfix\nmail_owner = postfix\nmail_version = 3.7.11\n" +
		"multi_instance_name =\nmyhostname = mx.reader.example\nmynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\n" +
		"queue_directory = /var/spool/postfix\nreceive_override_options =\nsmtpd_milters =\nsmtpd_proxy_filter =\n" + main
	return Postfix{ConfigDir: "/etc/postfix", Default: true, Main: []byte("# mine\n" + main + "biff = no\n"),
		Conf: mtaconf.ParsePostfix(params, main, master, overrides), Group: "postfix", Running: true}
}

// changes returns the changes of a plan as text: what is removed with -, what is added with +.
func changes(p Plan) string {
	var b strings.Builder
	for _, s := range []Stage{p.Daemon, p.Mail} {
		for _, c := range s.Changes {
			h := diff(string(c.Before), string(c.After))
			for line := range strings.Lines(h.Old) {
				b.WriteString("-" + strings.TrimSuffix(line, "\n") + "\n")
			}
			for line := range strings.Lines(h.New) {
				if !strings.HasPrefix(line, "#") && line != "\n" {
					b.WriteString("+" + strings.TrimSuffix(line, "\n") + "\n")
				}
			}
		}
		for _, argv := range s.Runs {
			b.WriteString("$" + strings.Join(argv, " ") + "\n")
		}
	}
	return b.String()
}

const settings = "default_action=tempfail, protocol=6, connect_timeout=30s, command_timeout=30s, content_timeout=300s }"

func TestPlanPostfix(t *testing.T) {
	const (
		id       = "+authserv_id: mx.reader.example\n"
		socket   = "+[Socket]\n+ListenStream=/var/spool/postfix/sekimori/milter.sock\n+SocketGroup=postfix\n"
		restart  = "$systemctl daemon-reload\n$systemctl restart sekimori.socket sekimori.service\n"
		reloaded = "$systemctl reload sekimori.service\n"
		self     = "$sekimori reload --config sekimori.yaml\n"
		reload   = "$postfix reload\n"
		inside   = "+smtpd_milters = { unix:sekimori/milter.sock, " + settings
		tcp      = "+smtpd_milters = { inet:127.0.0.1:8891, " + settings
	)
	mine := Unit{Path: dropIns + "/postfix.conf", Text: []byte("[Socket]\nListenStream=/var/spool/postfix/sekimori/milter.sock\nSocketGroup=postfix\n")}
	for _, tt := range []struct {
		name, yaml      string
		units           []Unit
		master, options string
		main            string
		want            string
	}{
		{"package, chroot", packageYAML, nil, chrooted, "", "", socket + id + restart + inside + "\n" + reload},
		{"package, no chroot", packageYAML, nil, free, "", "",
			"+[Socket]\n+SocketGroup=postfix\n" + id + restart + "+smtpd_milters = { unix:/run/sekimori/milter.sock, " + settings + "\n" + reload},
		{"package with the drop-in", packageYAML, []Unit{mine}, chrooted, "", "", id + reloaded + inside + "\n" + reload},
		{"source", sourceYAML, nil, chrooted, "", "", id + self + tcp + "\n" + reload},
		{"done", sourceYAML + "authserv_id: mx.reader.example\n", nil, chrooted, "", "smtpd_milters = { inet:127.0.0.1:8891, " + settings + "\n", ""},
		{"done, other spaces", sourceYAML + "authserv_id: mx.reader.example\n", nil, chrooted, "",
			"smtpd_milters = {inet:localhost:8891 " + strings.ReplaceAll(settings, ",", "") + "\n",
			"-smtpd_milters = {inet:localhost:8891 " + strings.ReplaceAll(settings, ",", "") + "\n" + tcp + "\n" + reload},
		{"the old README", packageYAML, []Unit{mine}, chrooted, "", "smtpd_milters = unix:sekimori/milter.sock\n",
			id + reloaded + "-smtpd_milters = unix:sekimori/milter.sock\n" + inside + "\n" + reload},
		{"other milters", sourceYAML, nil, chrooted, "", "smtpd_milters = inet:localhost:11332, $signers\n",
			id + self + "-smtpd_milters = inet:localhost:11332, $signers\n" + tcp + " inet:localhost:11332 $signers\n" + reload},
		{"ours is last", sourceYAML + "authserv_id: mx.reader.example\n", nil, chrooted, "",
			"smtpd_milters = inet:[::1]:11332 { inet:127.0.0.1:8891, default_action=accept, protocol=2 }\n",
			"-smtpd_milters = inet:[::1]:11332 { inet:127.0.0.1:8891, default_action=accept, protocol=2 }\n" +
				"+smtpd_milters = { inet:127.0.0.1:8891, default_action=accept, protocol=6, connect_timeout=30s, command_timeout=30s, content_timeout=300s } inet:[::1]:11332\n" + reload},
		{"networks", packageYAML + "authserv_id: all.example\n", []Unit{mine}, chrooted, "", "mynetworks = 127.0.0.0/8, 10.0.0.0/8 10.1.0.0/16 [2001:db8::]/32 192.0.2.1\n",
			"-  networks: [127.0.0.0/8, \"::1\"]\n+  networks: [127.0.0.0/8, \"::1\", 10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1]\n" + reloaded + inside + "\n" + reload},
		{"networks without the key", sourceYAML + "authserv_id: all.example\n", nil, chrooted, "", "mynetworks = 10.0.0.0/8\n",
			"+trusted:\n+  networks: [127.0.0.0/8, \"::1\", 10.0.0.0/8]\n" + self + tcp + "\n" + reload},
		{"postscreen", sourceYAML, nil, "smtp inet n - y - 1 postscreen\nsmtpd pass - - y - - smtpd\n", "", "", id + self + tcp + "\n" + reload},
		{"submission has none", sourceYAML, nil, chrooted + "submission inet n - y - - smtpd\n", "submission/inet/smtpd_milters =\n", "", id + self + tcp + "\n" + reload},
		{"a filter's way back", sourceYAML, nil, chrooted + "127.0.0.1:25 inet n - y - - smtpd\n", "127.0.0.1:25/inet/smtpd_milters =\n", "", id + self + tcp + "\n" + reload},
		{"3.11", sourceYAML, nil, chrooted, "", "mail_version = 3.11.2\n", id + self + strings.Replace(tcp, "tempfail", "shutdown", 1) + "\n" + reload},
		{"no full name", sourceYAML, nil, chrooted, "", "myhostname = mx.localdomain\n", tcp + "\n" + reload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := PlanPostfix(postfixOf(tt.master, tt.options, tt.main), daemonOf(t, tt.yaml, tt.units...))
			if len(plan.Problems) > 0 {
				t.Errorf("problems: %q", plan.Problems)
			}
			if got := changes(plan); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestPlanPostfixProblems(t *testing.T) {
	for _, tt := range []struct {
		name, yaml      string
		units           []Unit
		master, options string
		main            string
		want            string
	}{
		{"old", sourceYAML, nil, chrooted, "", "mail_version = 2.11.3\n", "older than 3.0"},
		{"own milters", sourceYAML, nil, chrooted, "smtp/inet/smtpd_milters = inet:a:1\n", "", "smtp/inet in /etc/postfix/master.cf has its own smtpd_milters"},
		{"proxy filter", sourceYAML, nil, chrooted, "smtp/inet/smtpd_proxy_filter = 127.0.0.1:10024\n", "", "smtpd_proxy_filter=127.0.0.1:10024"},
		{"proxy filter in main.cf", sourceYAML, nil, chrooted, "", "smtpd_proxy_filter = 127.0.0.1:10024\n", "smtpd_proxy_filter=127.0.0.1:10024"},
		{"no milters", sourceYAML, nil, chrooted, "", "receive_override_options = no_address_mappings,no_milters\n", "no_milters"},
		{"no smtpd", sourceYAML, nil, "submission inet n - y - - smtpd\n", "", "", "no smtpd on port 25"},
		{"table", sourceYAML, nil, chrooted, "", "mynetworks = 127.0.0.0/8 hash:/etc/postfix/networks\n", "hash:/etc/postfix/networks"},
		{"exclusion", sourceYAML, nil, chrooted, "", "mynetworks = !10.0.0.1 10.0.0.0/8\n", "!10.0.0.1"},
		{"everybody", sourceYAML, nil, chrooted, "", "mynetworks = 0.0.0.0/0\n", "0.0.0.0/0"},
		{"braces", sourceYAML, nil, chrooted, "", "smtpd_milters = { inet:a:1\n", "a '{' without a '}'"},
		{"twice", sourceYAML, nil, chrooted, "", "smtpd_milters = inet:a:1\nsmtpd_milters = inet:a:1\n", "sets smtpd_milters twice (lines 2 and 3)"},
		{"no unit", "listen: [\"systemd:milter\"]\nmode: monitor\n", []Unit{}, chrooted, "", "", "no sekimori.socket"},
		{"socket out of sight", "listen: [\"unix:/run/x.sock\"]\nmode: monitor\n", nil, chrooted, "", "", "sees no socket of the daemon"},
		{"socket of another group", "listen: [\"unix:/run/x.sock\"]\nmode: monitor\n", nil, free, "", "", "group postfix, in which smtpd is, may not open the socket /run/x.sock"},
		{"a drop-in of another kind", packageYAML, []Unit{{Path: dropIns + "/postfix.conf", Text: []byte("[Socket]\nBacklog=9\n")}}, chrooted, "", "", "does not do what smtpd needs"},
		{"a drop-in for another group", packageYAML, []Unit{{Path: dropIns + "/a.conf", Text: []byte("[Socket]\nSocketGroup=smmsp\n")}}, chrooted, "", "",
			"gives the sockets to group smmsp"},
		{"networks in another form", "listen: [\"inet:127.0.0.1:8891\"]\ntrusted: {authenticated: true}\nmode: monitor\n", nil, chrooted, "", "mynetworks = 10.0.0.0/8\n", "write by hand"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := daemonOf(t, tt.yaml, tt.units...)
			if tt.name == "no unit" {
				d.Units = nil
			}
			plan := PlanPostfix(postfixOf(tt.master, tt.options, tt.main), d)
			if got := strings.Join(plan.Problems, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("problems: %q, want %q", got, tt.want)
			}
			if plan.Done() {
				t.Error("the plan counts as done")
			}
		})
	}
}

// TestPlanPostfixOffline checks that a plan for a socket of systemd says what to do where systemd does
// not run, also if the daemon's own files need no change.
func TestPlanPostfixOffline(t *testing.T) {
	for _, tt := range []struct {
		yaml    string
		systemd bool
		want    bool
	}{{packageYAML, false, true}, {packageYAML, true, false}, {sourceYAML, false, false}} {
		d := daemonOf(t, tt.yaml)
		d.Systemd = tt.systemd
		plan := PlanPostfix(postfixOf(chrooted, "", ""), d)
		if got := strings.Contains(plan.Offline, "sekimori serve") && strings.Contains(plan.Offline, "--no-run"); got != tt.want {
			t.Errorf("%q, systemd %v: %q", tt.yaml, tt.systemd, plan.Offline)
		}
	}
}

// TestPlanPostfixHidden checks that it is a problem if smtpd_milters names the daemon by way of
// another parameter.
func TestPlanPostfixHidden(t *testing.T) {
	p := postfixOf(chrooted, "", "smtpd_milters = $all\n")
	p.Conf.Params = mtaconf.ParsePostfix("mail_version = 3.7.11\nqueue_directory = /var/spool/postfix\nmyhostname = mx.reader.example\nsmtpd_milters = inet:127.0.0.1:8891 inet:a:1\n", "", "", "").Params
	if got := PlanPostfix(p, daemonOf(t, sourceYAML)).Problems; len(got) != 1 || !strings.Contains(got[0], "by way of another parameter") {
		t.Errorf("problems: %q", got)
	}
}

// TestNetworksOfInterfaces: if main.cf does not set mynetworks, the plan has a note about it.
func TestNetworksOfInterfaces(t *testing.T) {
	for _, main := range []string{"", "mynetworks = 10.0.0.0/8\n"} {
		p := postfixOf(chrooted, "", main)
		p.Conf.Params["mynetworks"] = "10.0.0.0/8"
		notes := strings.Join(PlanPostfix(p, daemonOf(t, sourceYAML)).Notes, "\n")
		if strings.Contains(notes, "from the interfaces") != (main == "") {
			t.Errorf("main.cf %q: notes %q", main, notes)
		}
	}
}

// TestKeepTrusted: with --keep-trusted, it is not a problem if trusted.networks cannot express
// mynetworks.
func TestKeepTrusted(t *testing.T) {
	d := daemonOf(t, sourceYAML)
	d.KeepTrusted = true
	plan := PlanPostfix(postfixOf(chrooted, "", "mynetworks = hash:/etc/x 10.0.0.0/8\n"), d)
	if got := changes(plan); len(plan.Problems) > 0 || strings.Contains(got, "trusted") {
		t.Errorf("problems %q, changes\n%s", plan.Problems, got)
	}
}

// TestInstances: each instance of Postfix has its own drop-in, and is reloaded by its directory.
func TestInstances(t *testing.T) {
	p := postfixOf(chrooted, "", "multi_instance_name = postfix-in\nqueue_directory = /var/spool/postfix-in\n")
	p.Default, p.ConfigDir = false, "/etc/postfix-in"
	first := Unit{Path: dropIns + "/postfix.conf", Text: []byte("[Socket]\nListenStream=/var/spool/postfix/sekimori/milter.sock\nSocketGroup=postfix\n")}
	plan := PlanPostfix(p, daemonOf(t, packageYAML, first))
	if got := plan.Daemon.Changes[0].Path; got != dropIns+"/postfix-in.conf" {
		t.Errorf("the drop-in is %s", got)
	}
	got := changes(plan)
	if plan.Instance != "/etc/postfix-in" {
		t.Errorf("the instance is %q", plan.Instance)
	}
	for _, want := range []string{"+ListenStream=/var/spool/postfix-in/sekimori/milter.sock\n+SocketGroup=postfix\n", "{ unix:sekimori/milter.sock,", "$postfix -c /etc/postfix-in reload\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
