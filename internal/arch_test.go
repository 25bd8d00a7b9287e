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

// floors maps every package to its floor: imports only ever point to a lower
// one. A package that is not listed fails the test, so that nobody adds one
// without deciding where it belongs.
var floors = map[string]int{
	"internal/dns":            0,
	"internal/dns/zone":       0,
	"internal/message":        0,
	"internal/mailaddr":       0,
	"internal/smtp":           0,
	"internal/authres":        0,
	"internal/term":           0,
	"internal/taglist":        0,
	"internal/distinct":       0,
	"internal/slots":          0,
	"internal/blind":          0,
	"internal/milter":         0,
	"internal/milter/client":  0,
	"internal/milter/sockets": 0,
	"internal/milter/wire":    0,
	// For tests alone.
	"internal/testkit/suites":   0,
	"internal/testkit/logs":     0,
	"internal/testkit/mta":      0,
	"internal/testkit/recorder": 0,
	"internal/testkit/signer":   0,
	"internal/testkit/opinion":  0,
	"internal/testkit/naive":    0,
	"internal/testkit/readers":  0,

	"internal/testkit/nameserver": 0,

	"internal/spf":   1,
	"internal/dkim":  1,
	"internal/dmarc": 1,
	"internal/iprev": 1,
	"internal/arc":   1,

	"internal/msgauth": 2,
	"internal/policy":  2,

	"internal/received": 2,

	"internal/filter":    3,
	"internal/judge":     3,
	"internal/label":     3,
	"internal/resolver":  3,
	"internal/admin":     3,
	"internal/config":    3,
	"internal/consent":   3,
	"internal/telemetry": 3,
	"internal/recent":    3,
	"internal/status":    3,

	"internal/explanation": 3,
	"internal/console":     3,

	"internal/resolver/upstream": 3,
	"internal/resolver/dnswire":  1,

	"internal/app": 4,

	// For tests alone.
	"internal/testkit/daemon": 5,

	// Programs in one piece, for the commands of the same name.
	"internal/demo":       5,
	"internal/explain":    5,
	"internal/replay":     5,
	"internal/forwarders": 5,
	"internal/bench/load": 5,

	"cmd/sekimori":         6,
	"cmd/milterload":       6,
	"internal/bench/peers": 6,
	// Tests of the whole, from the MTA's side.
	"internal/e2e":         6,
	"internal/conformance": 6,
	"internal/attack":      6,
	"internal/wholepath":   6,
	"internal/dist":        6,
	"internal/dist/sbom":   6,
	"internal/faults":      6,
	"internal/field":       6,
}

// sameFloor names the imports allowed within one floor, each for a reason.
var sameFloor = map[string][]string{
	"internal/dns/zone":        {"internal/dns"},
	"internal/mailaddr":        {"internal/dns"},         // an address has a domain name
	"internal/milter":          {"internal/milter/wire"}, // one protocol
	"internal/milter/client":   {"internal/milter/wire"}, // one protocol
	"internal/testkit/mta":     {"internal/milter", "internal/milter/client"},
	"internal/testkit/signer":  {"internal/message"},
	"internal/testkit/opinion": {"internal/dns"},
	"internal/testkit/readers": {"internal/testkit/naive"},
	"internal/arc":             {"internal/dkim"},                    // one canonicalization, one set of hashes
	"internal/policy":          {"internal/msgauth"},                 // decides on its Evaluation
	"internal/received":        {"internal/msgauth"},                 // reads its Session and Envelope
	"internal/status":          {"internal/telemetry"},               // its tests read the real metrics
	"internal/explanation":     {"internal/recent"},                  // explains its decisions
	"internal/filter":          {"internal/judge", "internal/label"}, // translates a Case and its edits
	"internal/judge":           {"internal/label"},                   // its decision has edits
	// Its test compares what the daemon, explain and replay make of a message.
	"internal/replay": {"internal/explain"},
	// Shows what these know; its tests make it with the real metrics.
	"internal/console": {"internal/explanation", "internal/recent", "internal/status", "internal/telemetry"},
	// A cache is put in front of what asks.
	"internal/resolver":           {"internal/resolver/upstream"},
	"internal/testkit/nameserver": {"internal/dns", "internal/dns/zone"},
}

// free are not packages of the house but data others may embed.
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
			t.Errorf("%s: %s (floor %d) imports %s (floor %d)", path, pkg, from, target, to)
		}
	}
}

// testkit are packages that no program may be linked with.
const testkit = "internal/testkit/"

// allowedInTests are helpers every floor may use in its tests.
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
