package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"sekimori/configs"
)

// roff escapes text, so that no part of it is read as a roff request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "§", `\(sc`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// manHead returns the title line of a page and its section NAME.
func manHead(name, section, what string) string {
	return fmt.Sprintf(".TH %q %q %q %q %q\n.SH NAME\n%s \\- %s\n",
		strings.ToUpper(name), section, manDate.Format("2006-01-02"), "sekimori", "sekimori", roff(name), roff(what))
}

// daemonText is the text of sekimori(8). daemonManual replaces @COMMANDS@, @CONFIG@, @ADMIN@ and
// @PAGES@. In a list, a line "= term" begins an item, and the text of the item follows.
const daemonText = `
# SYNOPSIS
sekimori serve [--config FILE]

sekimori COMMAND [--help]

# DESCRIPTION
sekimori is a milter for Postfix and Sendmail. It verifies SPF, DKIM, ARC and DMARC of every inbound message, then rejects, quarantines or
labels the message by the policy that its author's domain publishes. It does not sign mail.

The daemon runs in the foreground. It reads one file of configuration, listens where the MTA connects, and answers HTTP on its admin address
(metrics, health, the console). It writes its log to standard error. Its verdicts are acted on in "mode: enforce"; in "mode: monitor" every
message is evaluated, labelled and counted, and nothing is refused or held.

# COMMANDS
@COMMANDS@

# FILES
= @CONFIG@
The configuration; see sekimori.yaml(5). Only the key "mode" must be there.

= /run/sekimori/milter.sock
The socket for MTAs that the package's sekimori.socket holds. A drop-in adds one in Postfix's chroot.

= /usr/share/doc/sekimori
The handbook (README.md and the pages beside it), and examples for Postfix, Sendmail, systemd, Prometheus and Grafana.

= /etc/resolv.conf
Read where dns.servers is empty, and again when it changes.

= /var/lib/sekimori
The only directory, besides a /tmp of its own, that the unit lets the daemon write to. Without a store (store.url) nothing is kept there. With
one, sekimori.db has the counts for DMARC reports, and spool has what a PostgreSQL server could not take yet.

= /run/sekimori/bounces.sock
The socket at which the MTA delivers bounces of DMARC reports. The package's sekimori-bounces.socket holds it; it is not enabled by the
package.

# SIGNALS
= SIGTERM, SIGINT
The daemon takes no new session and finishes those in flight. A session between messages has 20 seconds to begin its next one. The clients of
sessions that are still there after drain_timeout are told to try again later. A second signal ends the process at once.

= SIGHUP
The configuration and every file that it names are read again. All of it comes into effect, or nothing does and the log says why.

= SIGPIPE
Is ignored, so that the daemon goes on when the reader of its log has ended.

# EXIT STATUS
= 0
The command did what it was asked to do.

= 1
The check or the work failed.

= 2
A mistake in the flags, the arguments or the configuration.

# ENVIRONMENT
= @ADMIN@
The URL of the daemon's admin address, for the commands that ask it. It may hold a name and a password, which then do not appear in the list
of processes.

= GOMEMLIMIT
The memory limit of the Go runtime. Without it the daemon sets the limit after each garbage collection to what is in use and a margin, at
most to limits.memory, the size of the DNS cache and 128 MiB together, or to nine tenths of what systemd's MemoryMax or a container allows.

= GOGC
How much garbage the collector lets pile up below the memory limit, in percent of what is in use. Without it the daemon sets 400.

= NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID
Set by systemd. The daemon says when it is ready, reloads and stops, and twice in each interval that it lives.

= LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID
Set by systemd: the sockets for "systemd:NAME" in listen.

= JOURNAL_STREAM
Set by systemd. Where standard error is the journal, each record has its priority.

# SEE ALSO
@PAGES@, sekimori.yaml(5), postconf(5), systemctl(1)
`

// daemonManual returns the page sekimori(8).
func daemonManual(root *cobra.Command) []byte {
	var commands, pages strings.Builder
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(&commands, "= %s\n%s. See sekimori-%s(1).\n\n", c.Name(), c.Short, c.Name())
			fmt.Fprintf(&pages, ", sekimori-%s(1)", c.Name())
		}
	}
	text := strings.NewReplacer("@COMMANDS@", strings.TrimSpace(commands.String()), "@CONFIG@", defaultConfig, "@ADMIN@", adminEnv,
		"@PAGES@", strings.TrimPrefix(pages.String(), ", ")).Replace(daemonText)
	return []byte(manHead("sekimori", "8", "milter that verifies SPF, DKIM, ARC and DMARC") + page(text))
}

// page converts text in the form of daemonText to roff.
func page(text string) string {
	var b strings.Builder
	gap := false // the line before was empty, so this text begins a paragraph
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			gap = true
			continue
		case strings.HasPrefix(line, "# "):
			fmt.Fprintf(&b, ".SH %s\n", line[2:])
		case strings.HasPrefix(line, "= "):
			fmt.Fprintf(&b, ".TP\n.B %s\n", roff(line[2:]))
		default:
			if gap {
				b.WriteString(".PP\n")
			}
			b.WriteString(wrapped(roff(line)))
		}
		gap = false
	}
	return b.String()
}

// wrapped breaks a line of text at spaces into lines of at most 80 characters.
func wrapped(line string) string {
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(line) {
		switch {
		case i == 0:
		case width+1+len(word) > 78:
			b.WriteByte('\n')
			width = 0
			if strings.HasPrefix(word, ".") || strings.HasPrefix(word, "'") {
				word = `\&` + word
			}
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	return b.String() + "\n"
}

var (
	optionText = regexp.MustCompile(`(?m)^(?:\.PP\n)?(\\fB-.*)\n\t(.*)$`)
	titleDate  = regexp.MustCompile(`"Nov 2026"`)
)

// tidy changes a page made by cobra so that mandoc accepts it without complaint: it writes the
// date in the usual form, makes a list of the options, and breaks long lines. References to
// sekimori(1) become sekimori(8).
func tidy(s string) string {
	s = titleDate.ReplaceAllString(s, `"`+manDate.Format("2006-01-02")+`"`)
	s = optionText.ReplaceAllString(s, ".TP\n$1\n$2")
	s = strings.ReplaceAll(s, "sekimori(1)", "sekimori(8)")
	var b strings.Builder
	filled := true
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, " \n")
		switch line {
		case ".EX", ".nf":
			filled = false
		case ".EE", ".fi":
			filled = true
		}
		if filled && line == "" {
			continue
		}
		if filled && len(line) > 80 && !strings.HasPrefix(line, ".") {
			b.WriteString(wrapped(line))
			continue
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// The kinds of lines in configs/reference.yaml.
var (
	keyLine    = regexp.MustCompile(`^( *)([a-z_]+):(?: (.*))?$`)
	commentary = regexp.MustCompile(`^ *#(?: (.*))?$`)
	word       = regexp.MustCompile(`^[a-z_]+: `)
)

// configurationManual returns the page sekimori.yaml(5), made from the keys and comments of
// configs/reference.yaml. Other tests check that this file has the keys and defaults of the
// program.
func configurationManual(t *testing.T) []byte {
	t.Helper()
	var b strings.Builder
	b.WriteString(manHead("sekimori.yaml", "5", "configuration of sekimori") + ".SH DESCRIPTION\n")
	var path, comment []string
	first := true
	for line := range strings.Lines(string(configs.Reference)) {
		line = strings.TrimRight(line, "\n")
		m := commentary.FindStringSubmatch(line)
		switch key := keyLine.FindStringSubmatch(line); {
		case m != nil:
			comment = append(comment, m[1])
		case line == "" && first: // the first comment is about the whole file
			first = false
			comment[0] = strings.Replace(comment[0], "sekimori: every", "Every", 1)
			b.WriteString(prose(comment, false) + page(descriptionOfFile) + ".SH KEYS\n")
			comment = nil
		case line == "":
		case key == nil:
			t.Fatalf("the reference has a line that is neither comment nor key: %q", line)
		default:
			path = append(path[:len(key[1])/2], key[2])
			heading(&b, strings.Join(path, "."), key[3])
			b.WriteString(prose(comment, len(path) > 1))
			comment = nil
		}
	}
	b.WriteString(page(endOfFile))
	return []byte(b.String())
}

const descriptionOfFile = `
"sekimori config check FILE" says what is wrong with a file, with line and column. A reload (SIGHUP, or "sekimori reload") brings a changed file
into effect. Nested keys are written below each other by indentation, or in braces: policy.reject is "policy: {reject: always}".
`

const endOfFile = `
# FILES
= ` + defaultConfig + `
Where the daemon and the commands look unless --config names another file.

= /usr/share/doc/sekimori/examples/reference.yaml
Every key with its default, as "sekimori config example --full" prints it.

# SEE ALSO
sekimori(8), sekimori-config(1), sekimori-reload(1)
`

// heading writes the heading of a key, or of a section of keys if the key has no value of its
// own.
func heading(b *strings.Builder, path, value string) {
	switch {
	case path == "mode":
		b.WriteString(".SS mode\nIt has no default and must be stated.\n.PP\n")
	case !strings.Contains(path, ".") && value == "":
		fmt.Fprintf(b, ".SS %s\n", path)
	case !strings.Contains(path, "."):
		fmt.Fprintf(b, ".SS %s\nDefault: %s\n.PP\n", path, roff(value))
	case value == "":
		fmt.Fprintf(b, ".TP\n.B %s\n", roff(path))
	default:
		fmt.Fprintf(b, ".TP\n.BR %s \"  (%s)\"\n", roff(path), strings.ReplaceAll(roff(value), `"`, `\(dq`))
	}
}

// prose converts a comment to roff. "item" says whether the text belongs to an item of a list
// instead of a section. A line that begins with a word and a colon begins a list of words if it
// follows the end of a sentence. Other indented lines are an example and keep their line breaks.
func prose(lines []string, item bool) string {
	var b strings.Builder
	end := ".fi\n.RE\n"
	if item {
		end += ".IP\n" // return to the indentation of the item's text
	}
	list, example, before := false, false, "."
	for _, line := range lines {
		setIn := strings.HasPrefix(line, "  ")
		switch {
		case setIn && !list && !example:
			b.WriteString(".RS 2\n.nf\n")
		case !setIn && example:
			b.WriteString(end)
		}
		example = setIn && !list
		switch {
		case line == "":
			b.WriteString(".sp\n")
		case example:
			b.WriteString(roff(strings.TrimPrefix(line, "  ")) + "\n")
		default:
			begins := word.MatchString(line) && (list || strings.HasSuffix(before, ".") || strings.HasSuffix(before, ":"))
			if begins && b.Len() > 0 {
				b.WriteString(".br\n")
			}
			list = begins || list && setIn
			b.WriteString(wrapped(roff(strings.TrimSpace(line))))
		}
		before = line
	}
	if example {
		b.WriteString(end)
	}
	return b.String()
}

// TestConfigurationManualHasEveryKey checks that the manual, which is made line by line from the
// reference, has every key of the reference.
func TestConfigurationManualHasEveryKey(t *testing.T) {
	manual := string(configurationManual(t))
	var all map[string]any
	if err := yaml.Unmarshal(configs.Reference, &all); err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(at string, keys map[string]any)
	walk = func(at string, keys map[string]any) {
		for key, value := range keys {
			path := at + key
			seen++
			if !regexp.MustCompile(`(?m)^\.(SS|B|BR) ` + regexp.QuoteMeta(roff(path)) + `( |$)`).MatchString(manual) {
				t.Errorf("sekimori.yaml(5) does not have %s", path)
			}
			if below, ok := value.(map[string]any); ok {
				walk(path+".", below)
			}
		}
	}
	walk("", all)
	if seen < 60 {
		t.Errorf("the reference has %d keys only", seen)
	}
}

// TestManPagesLint checks that mandoc has no complaint about any page.
func TestManPagesLint(t *testing.T) {
	if _, err := exec.LookPath("mandoc"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("mandoc is not here although CI installs it")
		}
		t.Skip("mandoc is not here; it is in Debian's package mandoc")
	}
	dir := t.TempDir()
	for name, page := range manPages(t) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, page, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "mandoc", "-Tlint", "-Wstyle", path).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
