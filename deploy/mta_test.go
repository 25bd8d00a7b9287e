package deploy

import (
	"path/filepath"
	"strings"
	"testing"

	"sekimori/configs"
	"sekimori/internal/config"
	"sekimori/internal/setup"
)

// TestPostfixKnowsEveryParameter checks the names of the parameters in postfix/main.cf. Postfix
// ignores an unknown parameter, but postconf warns about it.
func TestPostfixKnowsEveryParameter(t *testing.T) {
	need(t, "postconf", "postfix")
	snippet := readFile(t, "postfix/main.cf")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\n"+snippet, 0o644)
	writeFile(t, filepath.Join(dir, "master.cf"), "", 0o644)
	stdout, stderr := run(t, dir, "postconf", "-n", "-c", dir)
	if stderr != "" {
		t.Error(stderr)
	}
	seen := 0
	for _, line := range strings.Split(snippet, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		seen++
		if !strings.Contains("\n"+stdout, "\n"+line+"\n") {
			t.Errorf("Postfix does not read %q:\n%s", line, stdout)
		}
	}
	if seen == 0 {
		t.Error("the snippet sets nothing")
	}
}

// TestSetupBuildsSendmail checks that m4 reads the sendmail.mc that "sekimori setup sendmail"
// writes, and that Sendmail, when configured in this way, asks our filter before the others.
func TestSetupBuildsSendmail(t *testing.T) {
	const macros = "/usr/share/sendmail/cf/"
	need(t, "m4", "m4")
	need(t, macros+"m4/cf.m4", "sendmail-cf")
	text := "include(`" + macros + "m4/cf.m4')dnl\nVERSIONID(`test')dnl\nOSTYPE(`debian')dnl\n" +
		"INPUT_MAIL_FILTER(`other', `S=inet:9@localhost')dnl\nMAILER(`smtp')dnl\n"
	c, err := config.Parse("configuration", configs.Example)
	if err != nil {
		t.Fatal(err)
	}
	plan := setup.PlanSendmail(setup.Sendmail{Path: "sendmail.mc", Text: []byte(text)}, setup.Daemon{Path: "sekimori.yaml", Config: c})
	if len(plan.Mail.Changes) != 1 {
		t.Fatal(plan)
	}
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "sendmail.mc"), string(plan.Mail.Changes[0].After), 0o644)
	cf, stderr := run(t, dir, "m4", "-D_CF_DIR_="+macros, "sendmail.mc")
	if stderr != "" {
		t.Error(stderr)
	}
	for _, line := range []string{"O InputMailFilters=sekimori, other", "Xsekimori, S=inet:8891@127.0.0.1, F=T, T=C:30s;S:10s;R:10s;E:5m", "Xother, S=inet:9@localhost"} {
		if !strings.Contains(cf, "\n"+line+"\n") {
			t.Errorf("sendmail.cf lacks %q", line)
		}
	}
}

func TestSendmailBuildsWithTheFilter(t *testing.T) {
	const macros = "/usr/share/sendmail/cf/"
	need(t, "m4", "m4")
	need(t, macros+"m4/cf.m4", "sendmail-cf")
	snippet := readFile(t, "sendmail/sekimori.mc")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "sendmail.mc"), "include(`"+macros+"m4/cf.m4')dnl\nVERSIONID(`test')dnl\nOSTYPE(`debian')dnl\n"+
		snippet+"MAILER(`smtp')dnl\n", 0o644)
	cf, stderr := run(t, dir, "m4", "-D_CF_DIR_="+macros, "sendmail.mc")
	if stderr != "" {
		t.Error(stderr)
	}
	for _, line := range []string{
		"O InputMailFilters=sekimori",
		"Xsekimori, S=unix:/run/sekimori/milter.sock, F=T, T=C:30s;S:10s;R:10s;E:5m",
		"O Timeout.command=5m",
		"O Milter.macros.eom={msg_id}, i",
	} {
		if !strings.Contains(cf, "\n"+line+"\n") {
			t.Errorf("sendmail.cf lacks %q", line)
		}
	}
	if strings.Contains(snippet, "`#") || strings.Contains(cf, "dnl #") {
		t.Error("a comment reached sendmail.cf")
	}
}
