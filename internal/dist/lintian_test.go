package dist

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// undecided are what lintian says that only the owner can answer: which
// licence there is, and whose address stands in the package.
var undecided = regexp.MustCompile(`^[EW]: sekimori: (no-copyright-file|bogus-mail-host(-in-debian-changelog)? .*)$`)

// TestLintian: Debian's own check finds nothing else in the deb.
func TestLintian(t *testing.T) {
	need(t, "lintian")
	deb := filepath.Join(build(t, "1.0"), "sekimori_1.0-1_amd64.deb")
	// It ends with an error where it found one; what it found counts.
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
