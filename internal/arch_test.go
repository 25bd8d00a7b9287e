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

// floor is a layer of packages. A package may import packages on lower floors; imports within a
// floor must be listed in sameFloor.
type floor int

// The floors, from the lowest to the highest. ARCHITECTURE.md has a heading for each.
const (
	words      floor = iota // the types that packages on higher floors use, and the code that talks to sockets
	evaluators              // each evaluates one mechanism: values in, a result out
	facts                   // the facts about a message, and its verdict
	parts                   // the parts from which the daemon is assembled
	daemon                  // the daemon itself
	programs                // the work of a command, without its flags and output
	commands                // the commands, and the tests that run the whole program
)

func (f floor) String() string {
	return [...]string{"words", "evaluators", "facts and verdict", "parts", "daemon", "programs", "commands"}[f]
}

// floors has the floor of every package. The test fails for a package that is not listed, so
// that the developer who adds a package has to choose its floor.
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
	"internal/mtaconf":        words,
	"internal/topology":       parts,
	"internal/milter":         words,
	"internal/milter/client":  words,
	"internal/milter/sockets": words,
	"internal/milter/wire":    words,
	// Package author finds the author in the field From.
	"internal/mailaddr/author":      words,
	"internal/mailaddr/encodedword": words,
	// Package dialogue has the rules of the dialogue with an MTA.
	"internal/milter/dialogue": words,

	// These packages are for tests only.
	"internal/testkit/suites":   words,
	"internal/testkit/logs":     words,
	"internal/testkit/loopback": words,
	"internal/testkit/mta":      words,
	"internal/testkit/recorder": words,
	"internal/testkit/signer":   words,
	"internal/testkit/opinion":  words,
	"internal/testkit/naive":    words,
	"internal/testkit/octets":   words,
	"internal/testkit/readers":  words,
	"internal/testkit/web":      words,
	"internal/testkit/cluster":  words,
	"internal/testkit/website":  words,
	"internal/testkit/declared": words,
	"internal/testkit/mutate":   commands,

	"internal/testkit/nameserver": words,
	"internal/testkit/markca":     words,
	"internal/testkit/countries":  words,

	// Package identity says whether report mail would pass DMARC.
	"internal/report/identity": facts,
	"internal/reporting":       programs,

	"internal/spf":   evaluators,
	"internal/dkim":  evaluators,
	"internal/dmarc": evaluators,
	"internal/iprev": evaluators,
	"internal/arc":   evaluators,
	"internal/bimi":  evaluators,

	"internal/bimi/mark": evaluators,
	"internal/bimi/svg":  evaluators,
	"internal/lookalike": evaluators,

	"internal/msgauth": facts,
	"internal/policy":  facts,

	"internal/received": facts,
	"internal/farm":     facts,
	"internal/clock":    facts,
	"internal/history":  facts,
	"internal/report":   facts,
	"internal/ledger":   facts,
	"internal/senders":  facts,

	"internal/report/destination": facts,

	"internal/report/aggregate": facts,
	"internal/report/compose":   facts,
	"internal/report/failure":   facts,
	"internal/report/sign":      facts,

	"internal/filter":    parts,
	"internal/judge":     parts,
	"internal/label":     parts,
	"internal/resolver":  parts,
	"internal/admin":     parts,
	"internal/config":    parts,
	"internal/consent":   parts,
	"internal/telemetry": parts,
	"internal/recent":    parts,
	"internal/collect":   parts,
	"internal/learn":     parts,
	"internal/watchlist": parts,
	// Package readiness says what enforcing policies would do; package forwarders finds rules for it.
	"internal/forwarders":       parts,
	"internal/readiness":        parts,
	"internal/readiness/gather": parts,
	"internal/status":           parts,
	"internal/submit":           parts,
	"internal/bounce":           parts,
	// Package indicators fetches and remembers the marks of BIMI.
	"internal/indicators": parts,
	"internal/webfetch":   parts,

	"internal/history/archive": parts,

	"internal/geo":   parts,
	"internal/stats": facts,

	"internal/store/postgres":  parts,
	"internal/store":           parts,
	"internal/store/sqlite":    parts,
	"internal/store/storetest": parts, // for tests only

	"internal/explain": parts,
	"internal/console": parts,

	"internal/dispatch":          parts,
	"internal/dispatch/failures": parts,

	"internal/resolver/upstream": parts,
	"internal/resolver/dnswire":  evaluators,

	"internal/app": daemon,

	// This package is for tests only.
	"internal/testkit/daemon": programs,

	// These packages do the work of the commands: demo, replay and doctor of sekimori, and bench/load and
	// bench/traffic of milterload.
	"internal/demo":       programs,
	"internal/markcheck":  programs,
	"internal/probe":      programs,
	"internal/replay":     programs,
	"internal/doctor":     programs,
	"internal/holdqueue":  programs,
	"internal/bench/load": programs,
	"internal/setup":      programs,

	"internal/domaincheck": programs,
	"internal/survey":      programs,

	"internal/bench/traffic": programs,
	"internal/bench/postfix": programs,

	"cmd/sekimori":         commands,
	"cmd/milterload":       commands,
	"internal/bench/peers": commands,
	// These packages test the whole program from outside.
	"internal/e2e":         commands,
	"internal/conformance": commands,
	"internal/attack":      commands,
	"internal/wholepath":   commands,
	"internal/dist":        commands,
	"internal/dist/sbom":   commands,
	"internal/faults":      commands,
	"internal/field":       commands,
}

// sameFloor lists the imports that are allowed within one floor, with the reason where it is not
// obvious.
var sameFloor = map[string][]string{
	"internal/survey": {"internal/domaincheck"}, // it looks at each domain as the command check does
	// Package store chooses between the two.
	"internal/store": {"internal/store/postgres", "internal/store/sqlite"},
	// The tests of a store run the suite for all stores.
	"internal/store/postgres": {"internal/store/storetest"},
	"internal/store/sqlite":   {"internal/store/storetest"},

	// Packages dns, authres, smtp, taglist, term and milter use package printable to make text from
	// strangers safe to print, or to ask whether text is ASCII.
	"internal/dns":     {"internal/printable"},
	"internal/authres": {"internal/printable"},
	"internal/smtp":    {"internal/printable"},
	"internal/taglist": {"internal/printable"},
	"internal/term":    {"internal/printable"},
	"internal/milter":  {"internal/printable", "internal/milter/dialogue", "internal/milter/wire", "internal/smtp"}, // its replies are of type smtp.Reply

	// Package author reads an address in every way in which mail clients might read it, and finds
	// the domains in it.
	"internal/mailaddr/author": {"internal/dns", "internal/dns/suffix", "internal/mailaddr", "internal/mailaddr/encodedword", "internal/printable"},

	"internal/dns/suffix":      {"internal/dns"}, // it cuts names of package dns
	"internal/dns/zone":        {"internal/dns"},
	"internal/dkim/syntax":     {"internal/dns", "internal/taglist"}, // a signature is a list of tags, and some tags are domain names
	"internal/mailaddr":        {"internal/dns"},                     // an address has a domain name
	"internal/milter/client":   {"internal/milter/wire"},             // packages client and wire speak the same protocol
	"internal/testkit/cluster": {"internal/testkit/loopback"},
	"internal/testkit/mta":     {"internal/authres", "internal/milter", "internal/milter/client"},
	"internal/testkit/signer":  {"internal/message"},
	"internal/testkit/opinion": {"internal/dns"},
	"internal/testkit/readers": {"internal/testkit/naive"},
	// Packages aggregate and failure write what packages report, msgauth and policy found.
	"internal/report/aggregate": {"internal/policy", "internal/report", "internal/report/compose"},
	"internal/report/identity":  {"internal/report/sign"}, // it names the key record that is missing
	"internal/report/failure":   {"internal/msgauth", "internal/policy", "internal/report/compose"},
	"internal/arc":              {"internal/dkim"},                      // ARC uses DKIM's canonicalization and hashes
	"internal/bimi/mark":        {"internal/bimi", "internal/bimi/svg"}, // it makes a mark of package bimi, and checks its picture
	"internal/policy":           {"internal/msgauth"},                   // it decides on an Evaluation of msgauth
	"internal/received":         {"internal/msgauth"},                   // it reads a Session and an Envelope of msgauth
	"internal/config":           {"internal/label"},                     // keys have the types label.Style and label.ShowMailFrom
	"internal/config/strict":    {"internal/printable"},                 // it quotes lines of a file in errors
	"internal/bimi":             {"internal/dkim", "internal/dmarc"},    // it judges their results
	// Package history decides by the Evaluation and the Verdict whether a decision is kept.
	"internal/history": {"internal/msgauth", "internal/policy"},

	"internal/ledger":             {"internal/msgauth", "internal/policy"}, // an Entry is made from an Evaluation and a Verdict
	"internal/stats":              {"internal/ledger"},                     // it adds up what the ledger has
	"internal/senders":            {"internal/ledger"},
	"internal/report":             {"internal/ledger", "internal/msgauth", "internal/policy"}, // so is an Observation; a Batch has a part of the ledger
	"internal/report/destination": {"internal/report"},                                        // it decides on a Job

	"internal/dispatch":          {"internal/submit", "internal/store/sqlite"}, // it hands the mails with reports to package submit; its tests use a real store
	"internal/dispatch/failures": {"internal/dispatch", "internal/submit"},

	// Package status shows the counts of packages topology, resolver and telemetry; its tests also use
	// judge and upstream.
	"internal/status": {"internal/topology", "internal/judge", "internal/resolver", "internal/resolver/upstream", "internal/telemetry"},
	// Package explain explains a Decision with its edits, and reads the Decisions that package
	// recent kept.
	"internal/explain":    {"internal/judge", "internal/label", "internal/recent"},
	"internal/indicators": {"internal/webfetch"},
	// Package forwarders reads Entries of package recent; its tests also use the log and the configuration.
	"internal/forwarders": {"internal/config", "internal/judge", "internal/recent", "internal/telemetry"},
	// Package readiness proposes rules of package forwarders. Package gather reads for it what the store has;
	// its tests use a real store.
	"internal/readiness":        {"internal/forwarders", "internal/config"},
	"internal/readiness/gather": {"internal/readiness", "internal/history/archive", "internal/recent", "internal/judge", "internal/store/sqlite"},
	"internal/webfetch":         {"internal/resolver/upstream"},       // its tests ask a name server
	"internal/recent":           {"internal/judge"},                   // it keeps Decisions of package judge
	"internal/collect":          {"internal/judge", "internal/label"}, // it counts Decisions of package judge
	// Package filter translates milter events into a Case and edits into milter replies, and tells
	// package topology what it sees.
	"internal/filter": {"internal/topology", "internal/judge", "internal/label"},
	// Package telemetry counts and logs Decisions, what package topology noticed and what package collect
	// counted; its tests make a Decision with edits.
	"internal/telemetry": {"internal/topology", "internal/judge", "internal/label", "internal/collect", "internal/learn", "internal/indicators", "internal/webfetch", "internal/history/archive"},
	"internal/judge":     {"internal/label"}, // a Decision contains edits of package label
	"internal/watchlist": {"internal/judge"}, // it sees Decisions
	// Package archive keeps the Entries of package recent, and writes them as package collect does; its
	// tests use a real store.
	"internal/history/archive": {"internal/collect", "internal/judge", "internal/recent", "internal/store/sqlite"},
	// Package load sends the mail of package traffic.
	"internal/bench/load": {"internal/bench/traffic"},
	// Package probe plays messages of package demo to a private daemon.
	"internal/demo":  {"internal/reporting"}, // it shows the report about its messages
	"internal/probe": {"internal/demo"},
	// Package console shows what packages explain, recent, archive, status and readiness know; its tests also use
	// config, judge and telemetry.
	"internal/console": {"internal/config", "internal/explain", "internal/history/archive", "internal/judge", "internal/recent", "internal/status", "internal/telemetry", "internal/indicators", "internal/watchlist", "internal/readiness", "internal/forwarders"},
	// Packages dialogue and wire are parts of one protocol.
	"internal/milter/dialogue": {"internal/milter/wire"},
	// Package resolver puts a cache in front of package upstream.
	"internal/resolver":           {"internal/resolver/upstream"},
	"internal/testkit/nameserver": {"internal/dns", "internal/dns/zone"},
	"internal/testkit/suites":     {"internal/dns", "internal/dns/zone"},
}

// free are directories with data, which every package may embed.
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
		return // the tests of this directory
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

// testkit is the beginning of the paths of packages that only tests may import.
const testkit = "internal/testkit/"

// allowedInTests reports whether tests may import a package, whatever floor they are on.
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
