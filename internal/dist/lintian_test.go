package dist

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// undecided are the findings of lintian that only the owner of the project can
// settle: the licence, and the maintainer's address.
var undecided = regexp.MustCompile(`^[EW]: sekimori: (no-copyright-file|bogus-mail-host(-in-debian-changelog)? .*)$`)

// TestLintian: lintian finds nothing in the deb but what is undecided.
func TestLintian(t *testing.T) {
	need(t, "lintian")
	deb := filepath.Join(build(t, "1.0"), "sekimori_1.0-1_amd64.deb")
	// lintian exits with 1 if it finds an error. What counts is its output.
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
