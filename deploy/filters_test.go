package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/label"
)

// wordActions has what the example files do with each verdict word; "" means that they do nothing.
var wordActions = map[string]struct{ sieve, postfix string }{
	label.WordFailQuarantine:  {"folder Junk", "REDIRECT quarantine@example.jp"},
	label.WordQuarantine:      {"folder Junk", "REDIRECT quarantine@example.jp"},
	label.WordInvalidFrom:     {"folder Junk", "HOLD no single author"},
	label.WordFailNone:        {"$Unverified", "WARN fails DMARC, its domain asks for nothing"},
	label.WordFailRamp:        {"$Unverified", ""},
	label.WordFailMonitor:     {"$Unverified", ""},
	label.WordFailOptedOut:    {"$Unverified", ""},
	label.WordNoPolicySPFFail: {"$Unverified", ""},
	label.WordPass:            {},
	label.WordForwarder:       {},
	label.WordFailAccepted:    {},
	label.WordNoPolicy:        {},
	label.WordNoPolicyPass:    {},
	label.WordTempError:       {},
}

// TestWords checks that the examples and docs/configure.md cover every verdict word, and that the
// Sieve script has no unknown word.
func TestWords(t *testing.T) {
	page := readFile(t, "docs/configure.md")
	for _, w := range label.Words {
		if _, ok := wordActions[w]; !ok {
			t.Errorf("what becomes of %s is not decided here", w)
		}
		if !strings.Contains(page, "`"+w+"`") {
			t.Errorf("docs/configure.md does not explain %s", w)
		}
	}
	if len(wordActions) != len(label.Words) {
		t.Errorf("%d words here, %d in the code", len(wordActions), len(label.Words))
	}
	for _, quoted := range regexp.MustCompile(`"([a-z-]+-[a-z-]+)"`).FindAllStringSubmatch(readFile(t, "sieve/sekimori.sieve"), -1) {
		if !slices.Contains(label.Words, quoted[1]) {
			t.Errorf("the Sieve script looks for %s", quoted[1])
		}
	}
}

// TestSieve checks that Pigeonhole compiles the Sieve script, and that the script does what
// wordActions says for each word.
func TestSieve(t *testing.T) {
	need(t, "sievec", "dovecot-sieve")
	need(t, "sieve-test", "dovecot-sieve")
	dir, uid := anyonesDir(t)
	writeFile(t, filepath.Join(dir, "sekimori.sieve"), readFile(t, "sieve/sekimori.sieve"), 0o644)
	writeFile(t, filepath.Join(dir, "dovecot.conf"),
		fmt.Sprintf("mail_uid=%[2]d\nmail_gid=%[2]d\nfirst_valid_uid=1\nssl=no\nmail_home=%[1]s\nmail_location=maildir:%[1]s/mail\n", dir, uid), 0o644)
	if _, stderr := run(t, dir, "sievec", "-c", "dovecot.conf", "sekimori.sieve", "sekimori.svbin"); stderr != "" {
		t.Error(stderr)
	}
	for word, want := range wordActions {
		writeFile(t, filepath.Join(dir, "message"), "From: a@b.example\nX-Sekimori-Verdict: "+word+"\n\nx\n", 0o644)
		out, stderr := run(t, dir, "sieve-test", "-c", "dovecot.conf", "sekimori.sieve", "message")
		got := ""
		switch out += stderr; {
		case strings.Contains(out, "folder: Junk"):
			got = "folder Junk"
		case strings.Contains(out, "$Unverified"):
			got = "$Unverified"
		case strings.Contains(out, "store message in folder: INBOX"):
		default:
			got = out
		}
		if got != want.sieve {
			t.Errorf("%s: %q, want %q", word, got, want.sieve)
		}
	}
}

// anyonesDir returns a directory, and the id of a user who can write to it. Pigeonhole runs as this
// user: it refuses to run as root, and other users cannot enter t.TempDir.
func anyonesDir(t *testing.T) (dir string, uid int) {
	t.Helper()
	if uid = os.Getuid(); uid != 0 {
		return t.TempDir(), uid
	}
	const nobody = 65534 // user id of nobody on Debian
	dir, err := os.MkdirTemp("/tmp", "sekimori-sieve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir, nobody
}

// TestMilterHeaderChecks checks that Postfix finds the action in wordActions for each word. A test
// in internal/e2e checks that Postfix carries out the action.
func TestMilterHeaderChecks(t *testing.T) {
	need(t, "postmap", "postfix")
	table := "regexp:" + filepath.Join(t.TempDir(), "milter_header_checks")
	writeFile(t, strings.TrimPrefix(table, "regexp:"), readFile(t, "postfix/milter_header_checks"), 0o644)
	var lines, want strings.Builder
	for _, word := range label.Words {
		fmt.Fprintf(&lines, "X-Sekimori-Verdict: %s\n", word)
		if a := wordActions[word].postfix; a != "" {
			fmt.Fprintf(&want, "X-Sekimori-Verdict: %s\t%s\n", word, a)
		}
	}
	fmt.Fprintf(&lines, "X-Other: fail-quarantine\nX-Sekimori-Verdict: fail-quarantine no\n")
	if got := lookUp(t, table, lines.String()); got != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
}

// lookUp looks up each line in a lookup table of Postfix.
func lookUp(t *testing.T, table, lines string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\n", 0o644)
	writeFile(t, filepath.Join(dir, "lines"), lines, 0o644)
	stdout, stderr := run(t, dir, "sh", "-c", `exec postmap -c "$1" -q - "$2" <lines`, "sh", dir, table)
	if stderr != "" {
		t.Error(stderr)
	}
	return stdout
}
