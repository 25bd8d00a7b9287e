package setup

import (
	"strings"
	"testing"
)

func TestPlanSendmail(t *testing.T) {
	const (
		unix = "INPUT_MAIL_FILTER(`sekimori', `S=unix:/run/sekimori/milter.sock, F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\n"
		tcp  = "INPUT_MAIL_FILTER(`sekimori', `S=inet:8891@127.0.0.1, F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\n"
		six  = "INPUT_MAIL_FILTER(`sekimori', `S=inet6:8891@::1, F=T, T=C:30s;S:10s;R:10s;E:5m')dnl\n"
	)
	const head, mailers = "OSTYPE(`debian')dnl\ndnl INPUT_MAIL_FILTER(`old', `x')\n", "MAILER_DEFINITIONS\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n"
	for _, tt := range []struct{ name, yaml, in, want, problem, note string }{
		{"package", packageYAML, head + mailers, head + "MAILER_DEFINITIONS\n" + unix + "MAILER(`local')dnl\nMAILER(`smtp')dnl\n", "", ""},
		{"source", sourceYAML, head + "MAILER(`smtp')dnl\n", head + tcp + "MAILER(`smtp')dnl\n", "", ""},
		{"IPv6", "listen: [\"inet6:[::]:8891\"]\nmode: monitor\n", "MAILER(`smtp')\n", six + "MAILER(`smtp')\n", "", ""},
		{"done", packageYAML, unix + mailers, unix + mailers, "", ""},
		{"other filters", packageYAML, "INPUT_MAIL_FILTER(`rspamd', `S=inet:11332@localhost')\n" + mailers,
			unix + "INPUT_MAIL_FILTER(`rspamd', `S=inet:11332@localhost')\n" + mailers, "", ""},
		{"moved", packageYAML, "INPUT_MAIL_FILTER(`a', `S=inet:1@b')\n" + unix + mailers, unix + "INPUT_MAIL_FILTER(`a', `S=inet:1@b')\n" + mailers, "", ""},
		{"fail open", packageYAML, "INPUT_MAIL_FILTER(`sekimori', `S=unix:/run/sekimori/milter.sock')\n" + mailers, "MAILER_DEFINITIONS\n" + unix + "MAILER(`local')dnl\nMAILER(`smtp')dnl\n", "", ""},
		{"user", packageYAML, "define(`confRUN_AS_USER', `mail')\n" + mailers, "define(`confRUN_AS_USER', `mail')\nMAILER_DEFINITIONS\n" + unix + "MAILER(`local')dnl\nMAILER(`smtp')dnl\n", "", "runs as mail"},
		{"included", packageYAML, "include(`/etc/mail/m4/sekimori.m4')dnl\n" + mailers, "include(`/etc/mail/m4/sekimori.m4')dnl\n" + mailers, "", ""},
		{"own list", packageYAML, "define(`confINPUT_MAIL_FILTERS', `a')\n" + mailers, "", "lists the filters by itself", ""},
		{"no mailer", packageYAML, head, "", "no MAILER line", ""},
		{"over two lines", packageYAML, "INPUT_MAIL_FILTER(`sekimori',\n `S=unix:/x')\n" + mailers, "", "write by hand", ""},
		{"foreign line ends", packageYAML, "MAILER(`smtp')\r\n", "", "line ends", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := PlanSendmail(Sendmail{Path: "sendmail.mc", Text: []byte(tt.in)}, daemonOf(t, tt.yaml))
			if got := strings.Join(plan.Problems, "\n"); (got != "") != (tt.problem != "") || !strings.Contains(got, tt.problem) {
				t.Errorf("problems %q, want %q", got, tt.problem)
			}
			if got := strings.Join(plan.Notes, "\n"); !strings.Contains(got, tt.note) {
				t.Errorf("notes %q, want %q", got, tt.note)
			}
			got := tt.in
			for _, c := range plan.Mail.Changes {
				got = string(c.After)
			}
			if tt.problem == "" && got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// FuzzPlaceFilter checks that placing the line a second time changes nothing.
func FuzzPlaceFilter(f *testing.F) {
	for _, s := range []string{"MAILER(x)", "INPUT_MAIL_FILTER(`a', `b')\nMAILER(`x')\n", "INPUT_MAIL_FILTER(`sekimori', `b')", "MAIL_FILTER(`sekimori', `b')\nMAILER(`x')"} {
		f.Add(s)
	}
	const line = "INPUT_MAIL_FILTER(`sekimori', `S=unix:/x, F=T')dnl"
	f.Fuzz(func(t *testing.T, text string) {
		after, _, ok := placeFilter(text, line)
		if !ok {
			return
		}
		again, _, ok := placeFilter(after, line)
		if !ok || again != after || strings.Count(after, line) != 1 {
			t.Errorf("%q became %q, then %q", text, after, again)
		}
	})
}

// TestPlanSendmailOffline checks that a plan for a socket of systemd says what to do where systemd does
// not run, and that no command of systemd is named there.
func TestPlanSendmailOffline(t *testing.T) {
	for _, tt := range []struct {
		yaml    string
		systemd bool
		offline bool
		restart string
	}{
		{packageYAML, false, true, "/etc/init.d/sendmail restart"},
		{packageYAML, true, false, "systemctl restart sendmail"},
		{sourceYAML, false, false, "/etc/init.d/sendmail restart"},
	} {
		d := daemonOf(t, tt.yaml)
		d.Systemd = tt.systemd
		plan := PlanSendmail(Sendmail{Path: "sendmail.mc", Text: []byte("MAILER(`smtp')dnl\n")}, d)
		if got := strings.Contains(plan.Offline, "sekimori serve") && strings.Contains(strings.Join(plan.Notes, "\n"), "--no-run"); got != tt.offline {
			t.Errorf("%q, systemd %v: %q, notes %q", tt.yaml, tt.systemd, plan.Offline, plan.Notes)
		}
		if got := strings.Join(plan.Mail.Runs[1], " "); got != tt.restart || !plan.Mail.ByHand {
			t.Errorf("%q, systemd %v: restart by %q", tt.yaml, tt.systemd, got)
		}
	}
}
