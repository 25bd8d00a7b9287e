package dist

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// undecided matches those findings of lintian about which the owner of the project must decide: the
// licence and the maintainer's address.
var undecided = regexp.MustCompile(`^[EW]: sekimori: (no-copyright-file|bogus-mail-host(-in-debian-changelog)? .*)$`)

// TestLintian checks that lintian finds nothing in the deb except the findings in undecided.
func TestLintian(t *testing.T) {
	need(t, "lintian")
	deb := filepath.Join(build(t, "1.0"), "sekimori_1.0-1_amd64.deb")
	// Ignore the exit code, which is 1 if lintian finds an error. The output is what matters.
	out, _ := exec.Command("lintian", "--allow-root", "--no-tag-display-limit", deb).Output()
	found := strings.Split(strings.TrimSpace(string(out)), "\n")
	if !strings.Contains(string(out), "no-copyright-file") {
		t.Fatalf("lintian did not look at the package, or there is a licence by now: %q", out)
	}
	for _, line := range found {
		if !undecided.MatchString(line) {
			t.Error(line)
		}
	}
}
