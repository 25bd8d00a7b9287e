package internal

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floor is a storey of the house. An import points to a lower floor.
type floor int

// The floors, from the ground up. ARCHITECTURE.md has a heading for each.
const (
	words      floor = iota // what everything else is made of, and the wires to the outside
	evaluators              // one mechanism each, from values to a result
	facts                   // what is known about a message, and its verdict
	parts                   // what the daemon is put together from
	daemon                  // the daemon
	programs                // what a command does, in one piece
	commands                // the commands, and the tests of the whole
)

func (f floor) String() string {
	return [...]string{"words", "evaluators", "facts and verdict", "parts", "daemon", "programs", "commands"}[f]
}

// floors maps every package to its floor. A package that is not listed fails
// the test, so that whoever adds a package decides where it belongs.
var floors = map[string]floor{
	"internal/dns":            words,
	"internal/dns/suffix":     words,
	"internal/dns/zone":       words,
	"internal/message":        words,
	"internal/mailaddr":       words,
	"internal/smtp":           words,
	"internal/authres":        words,
	"internal/printable":      words,
	"internal/term":           words,
	"internal/trait":          words,
	"internal/taglist":        words,
	"internal/config/strict":  words,
	"internal/dkim/syntax":    words,
	"internal/distinct":       words,
	"internal/readout":        words,
	"internal/slots":          words,
	"internal/blind":          parts,
	"internal/milter":         words,
	"internal/milter/client":  words,
	"internal/milter/sockets": words,
	"internal/milter/wire":    words,
	// The author in From.
	"internal/mailaddr/author":      words,
	"internal/mailaddr/encodedword": words,
	// The rules of the dialogue with an MTA.
	"internal/milter/dialogue": words,

	// For tests alone.
	"internal/testkit/suites":   words,
	"internal/testkit/logs":     words,
	"internal/testkit/mta":      words,
	"internal/testkit/recorder": words,
	"internal/testkit/signer":   words,
	"internal/testkit/opinion":  words,
	"internal/testkit/naive":    words,
	"internal/testkit/readers":  words,
	"internal/testkit/web":      words,

	"internal/testkit/nameserver": words,

	"internal/spf":   evaluators,
	"internal/dkim":  evaluators,
	"internal/dmarc": evaluators,
	"internal/iprev": evaluators,
	"internal/arc":   evaluators,

	"internal/msgauth": facts,
	"internal/policy":  facts,

	"internal/received": facts,

	"internal/filter":    parts,
	"internal/judge":     parts,
	"internal/label":     parts,
	"internal/resolver":  parts,
	"internal/admin":     parts,
	"internal/config":    parts,
	"internal/consent":   parts,
	"internal/telemetry": parts,
	"internal/recent":    parts,
	"internal/status":    parts,

	"internal/explain": parts,
	"internal/console": parts,

	"internal/resolver/upstream": parts,
	"internal/resolver/dnswire":  evaluators,

	"internal/app": daemon,

	// For tests alone.
	"internal/testkit/daemon": programs,

	// Programs in one piece, for the commands of the same name.
	"internal/demo":       programs,
	"internal/replay":     programs,
	"internal/forwarders": programs,
	"internal/bench/load": programs,

	"internal/bench/traffic": programs,

	"cmd/sekimori":         commands,
	"cmd/milterload":       commands,
	"internal/bench/peers": commands,
	// Tests of the whole, from the MTA's side.
	"internal/e2e":         commands,
	"internal/conformance": commands,
	"internal/attack":      commands,
	"internal/wholepath":   commands,
	"internal/dist":        commands,
	"internal/dist/sbom":   commands,
	"internal/faults":      commands,
	"internal/field":       commands,
}

// sameFloor names the imports allowed within one floor, each for a reason.
var sameFloor = map[string][]string{
	// Each of these repeats what a stranger wrote, or asks whether it is ASCII.
	"internal/dns":     {"internal/printable"},
	"internal/authres": {"internal/printable"},
	"internal/smtp":    {"internal/printable"},
	"internal/taglist": {"internal/printable"},
	"internal/term":    {"internal/printable"},
	"internal/milter":  {"internal/printable", "internal/milter/dialogue", "internal/milter/wire", "internal/smtp"}, // its replies are of package smtp

	// It reads every address as readers might, and finds domains that could exist.
	"internal/mailaddr/author": {"internal/dns", "internal/dns/suffix", "internal/mailaddr", "internal/mailaddr/encodedword", "internal/printable"},

	"internal/dns/suffix":      {"internal/dns"}, // cuts its names
	"internal/dns/zone":        {"internal/dns"},
	"internal/dkim/syntax":     {"internal/dns", "internal/taglist"}, // a signature is a tag list with domain names in it
	"internal/mailaddr":        {"internal/dns"},                     // an address has a domain name
	"internal/milter/client":   {"internal/milter/wire"},             // one protocol
	"internal/testkit/mta":     {"internal/authres", "internal/milter", "internal/milter/client"},
	"internal/testkit/signer":  {"internal/message"},
	"internal/testkit/opinion": {"internal/dns"},
	"internal/testkit/readers": {"internal/testkit/naive"},
	"internal/arc":             {"internal/dkim"},      // one canonicalization, one set of hashes
	"internal/policy":          {"internal/msgauth"},   // decides on its Evaluation
	"internal/received":        {"internal/msgauth"},   // reads its Session and Envelope
	"internal/config":          {"internal/label"},     // its words stand in headers
	"internal/config/strict":   {"internal/printable"}, // shows lines of a file
	// Shows what these count.
	"internal/status": {"internal/blind", "internal/judge", "internal/resolver", "internal/resolver/upstream", "internal/telemetry"},
	// Explains a Decision with its edits, and what recent kept of it.
	"internal/explain": {"internal/judge", "internal/label", "internal/recent"},
	"internal/recent":  {"internal/judge"}, // keeps its decisions
	// Translates a Case and its edits, and tells blind what it sees.
	"internal/filter": {"internal/blind", "internal/judge", "internal/label"},
	// Counts and logs decisions, one with edits in its tests, and what blind noticed.
	"internal/telemetry": {"internal/blind", "internal/judge", "internal/label"},
	"internal/judge":     {"internal/label"}, // its decision has edits
	// Sends its mail.
	"internal/bench/load": {"internal/bench/traffic"},
	// Shows what these know; its tests make it with the real metrics.
	"internal/console": {"internal/explain", "internal/judge", "internal/recent", "internal/status", "internal/telemetry"},
	// One protocol.
	"internal/milter/dialogue": {"internal/milter/wire"},
	// A cache is put in front of what asks.
	"internal/resolver":           {"internal/resolver/upstream"},
	"internal/testkit/nameserver": {"internal/dns", "internal/dns/zone"},
	"internal/testkit/suites":     {"internal/dns", "internal/dns/zone"},
}

// free are directories with data that every package may embed.
var free = map[string]bool{"configs": true}

func TestImportsPointDownwards(t *testing.T) {
	seen := 0
	for _, top := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			seen++
			checkFile(t, path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen == 0 {
		t.Fatal("no Go file was looked at")
	}
}

func checkFile(t *testing.T, path string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), ".."+string(filepath.Separator)))
	if pkg == "internal" {
		return // this test
	}
	isTest := strings.HasSuffix(path, "_test.go")
	from, ok := floors[pkg]
	if !ok {
		t.Errorf("%s: package %s has no floor; give it one in arch_test.go", path, pkg)
		return
	}
	for _, spec := range file.Imports {
		target, _ := strconv.Unquote(spec.Path.Value)
		target, ours := strings.CutPrefix(target, "sekimori/")
		if !ours || free[target] || (isTest && allowedInTests(target)) {
			continue
		}
		if strings.HasPrefix(target, testkit) && !isTest && !strings.HasPrefix(pkg, testkit) {
			t.Errorf("%s: imports %s, which is for tests alone", path, target)
		}
		to, ok := floors[target]
		switch {
		case !ok:
			t.Errorf("%s: imports %s, which has no floor", path, target)
		case to > from, to == from && target != pkg && !contains(sameFloor[pkg], target):
			t.Errorf("%s: %s (floor %s) imports %s (floor %s)", path, pkg, from, target, to)
		}
	}
}

// testkit begins the paths of packages that no program may be linked with.
const testkit = "internal/testkit/"

// allowedInTests reports whether the tests of every floor may import a package.
func allowedInTests(target string) bool {
	return target == "internal/dns/zone" || target == "internal/milter/client" || strings.HasPrefix(target, testkit)
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
