package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/bounce"
	"sekimori/internal/report"
)

// bounceMC is a configuration of Sendmail that hands bounces to the daemon. Its last lines are those of
// deploy/docs/reports.md.
const bounceMC = "divert(-1)\ninclude(`/usr/share/sendmail/cf/m4/cf.m4')\ndivert(0)dnl\nOSTYPE(`linux')dnl\n" +
	"define(`confDOMAIN_NAME', `mx.test')dnl\ndefine(`QUEUE_DIR', `@DIR@/queue')dnl\ndefine(`confPID_FILE', `@DIR@/pid')dnl\n" +
	"define(`confSERVICE_SWITCH_FILE', `@DIR@/switch')dnl\ndefine(`STATUS_FILE', `')dnl\ndefine(`ALIAS_FILE', `')dnl\ndefine(`confCW_FILE', `')dnl\n" +
	"define(`confQUEUE_LA', `10000')dnl\ndefine(`confREFUSE_LA', `10000')dnl\ndefine(`confDOUBLE_BOUNCE_ADDRESS', `')dnl\n" +
	"FEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\nMAILER(`smtp')dnl\n"

// TestReportBouncesThroughSendmail: Sendmail hands bounces to the daemon by the lines of deploy/docs/reports.md.
func TestReportBouncesThroughSendmail(t *testing.T) {
	needPostfix(t)
	if missing := sendmailMissing(); missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the tests through Sendmail must run in CI, but %s", missing)
		}
		t.Skipf("tests through Sendmail skipped: %s", missing)
	}
	t.Parallel()
	dir, err := os.MkdirTemp("/run", "seki")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	lines := strings.ReplaceAll(documentedLines(t, "LOCAL_DOMAIN("), "/run/sekimori/bounces.sock", filepath.Join(dir, "bounces.sock"))
	mc := strings.ReplaceAll(bounceMC, "@DIR@", dir) + lines
	for name, text := range map[string]string{"switch": "hosts files\naliases files\n", "bounces.mc": mc} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cf, err := exec.Command("m4", "-D_CF_DIR_="+sendmailMacros, filepath.Join(dir, "bounces.mc")).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sendmail.cf"), cf, 0o644); err != nil {
		t.Fatal(err)
	}

	secret := []byte("0123456789abcdef")
	l := serveBounces(t, filepath.Join(dir, "bounces.sock"), secret)
	text, err := os.ReadFile("../bounce/testdata/sendmail.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{
		report.BounceLocal("dmarc-bounce", report.BounceToken(secret, 7)) + "@" + reportDomain,
		"dmarc-bounce+8-abcdefgh@" + reportDomain,
	} {
		// Without a dot in the name of the host, Sendmail waits a minute.
		cmd := exec.Command("unshare", "--uts", "sh", "-c", `hostname mx.test && exec "$@"`, "sh", sendmailProgram(), "-C"+filepath.Join(dir, "sendmail.cf"), "-odi", "-i", "-f", "<>", to)
		cmd.Stdin = bytes.NewReader(text)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil && l.counted(bounce.KindUnknown) == 0 {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if f, ok := l.known(7); !ok || f.status != "5.2.1" || l.counted(bounce.KindUnknown) != 1 || l.counted(bounce.KindFailed) != 1 {
		t.Errorf("%+v, %v; %v", f, ok, l.count)
	}
}
