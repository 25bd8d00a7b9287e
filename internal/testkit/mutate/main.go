//go:build linux

// Mutate asks whether the tests of a Go package can fail. It changes the package in many small ways, one
// at a time, runs the package's own tests against each change, and lists the changes that no test noticed.
//
// All mutants of a package are compiled into one test binary (go test -c -overlay), each behind
// zmut.Is(n). The environment variable ZMUT switches one on. The work tree is not touched. Constants, types,
// texts, locks, deferred Close and Helper (of testing.TB) are not changed. The tests run without -race and without other packages' suites.
//
// A survivor is printed as "reached" if some test ran the place and nothing that it checked depended on it,
// and as "never reached" otherwise. It has survived two runs of the tests. A mutant that takes over four times what the tests take and 8 s, or over
// 3 GiB, counts as killed "by the limit".
//
// The file of --known lists mutants that change nothing, one a line:
//
//	FILE[:FUNC[#N]]  TEXT  REASON
//
// with two spaces or a tab between. FILE is the end of the path, and TEXT what is printed, with or without what
// follows "; in:" or "; under:". #2 is the second of the same text in FUNC. Write a line only if you can say why
// no input can tell the two apart.
//
// With --delay, every goroutine of the package and of those that it imports from its module begins later, by a random time that
// the seed chooses. The unchanged tests run --runs times, and the tool lists which of them fail: they count on goroutines that are quick.
// A test that something does not happen ("asked nothing") may pass only because it looks too early. So remove its guard by --at (or
// many lines by --n), with --delay and --run: a mutant counts as killed if each of the runs notices it.
//
// The exit status is 2 if a package could not be judged, and with --strict 1 if a mutant survived that is not known,
// or with --delay if an unchanged test failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var (
	rootFlag   = flag.String("root", "", "the module's root (default: that of the folder stood in)")
	number     = flag.Int("n", 70, "mutants a package")
	seed       = flag.Int64("seed", 1, "another seed chooses other mutants")
	opsFlag    = flag.String("ops", "all", "all, or verdict: only what can change a decision")
	jobs       = flag.Int("jobs", 2, "mutants at a time")
	jsonFile   = flag.String("json", "", "write every mutant and its outcome to this file")
	knownFile  = flag.String("known", "", "file of mutants that change nothing")
	atFlag     = flag.String("at", "", "FILE:LINE[,FILE:LINE...]: every mutant of these lines, instead of a choice")
	strict     = flag.Bool("strict", false, "exit with status 1 if a mutant survives that is not known")
	listOnly   = flag.Bool("list", false, "print every possible mutant and run none")
	runFlag    = flag.String("run", "", "only the tests whose names match, as go test -run has it")
	delay      = flag.Duration("delay", 0, "goroutines begin up to this much later; without --at and --n, only the unchanged tests run")
	runs       = flag.Int("runs", 5, "with --delay, how often; a mutant counts as killed if each run notices it")
	outputFile = flag.String("output", "", "with --delay, write the output of the last failed run to this file")
)

type place struct {
	file string
	line int
}

func wantedAt(at []place, file string, line int) bool {
	return slices.ContainsFunc(at, func(p place) bool { return p.line == line && isSuffix(file, p.file) })
}

// isSuffix reports whether path ends in the whole path elements of suffix.
func isSuffix(path, suffix string) bool {
	return path == suffix || strings.HasSuffix(path, "/"+strings.TrimPrefix(suffix, "./"))
}

func main() {
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: mutate [options] PKG...   (PKG: spf, report/..., ./internal/spf)")
		flag.PrintDefaults()
	}
	flag.Parse()
	scratch, err := os.MkdirTemp("", "mutate.")
	if err == nil {
		err = os.Chmod(scratch, 0o711) // a test may start a server as another user
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err = run(ctx, scratch)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	_ = os.RemoveAll(scratch)
	if errors.Is(err, errSurvived) || errors.Is(err, errDelayed) {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
}

// errSurvived is returned with --strict if a mutant survived that is not known.
var errSurvived = errors.New("mutants survived; write a test that needs what they change, or a line in the known file")

func run(ctx context.Context, scratch string) error {
	root, err := moduleRoot(*rootFlag)
	if err != nil {
		return err
	}
	var only map[string]bool
	switch *opsFlag {
	case "all":
	case "verdict":
		only = verdictOps
	default:
		return fmt.Errorf("--ops is all or verdict, not %q", *opsFlag)
	}
	if *delay < 0 || *runs < 1 {
		return errors.New("--delay must not be negative, --runs at least 1")
	}
	if *number < 1 || *number >= idSpace || *jobs < 1 {
		return fmt.Errorf("--n must be 1 to %d, --jobs at least 1", idSpace-1)
	}
	at, err := parseAt(*atFlag)
	if err != nil {
		return err
	}
	var patterns []string
	for _, p := range flag.Args() {
		patterns = append(patterns, pattern(root, p))
	}
	if len(patterns) == 0 {
		for _, a := range at {
			if d := filepath.Dir(a.file); d != "." {
				patterns = append(patterns, pattern(root, d))
			}
		}
	}
	if len(patterns) == 0 {
		return errors.New("no package named (see --help)")
	}
	known, err := readKnown(*knownFile)
	if err != nil {
		return err
	}
	wanted, own, exports, err := list(root, patterns)
	if err != nil {
		return err
	}
	if len(wanted) == 0 {
		return errors.New("no package of a module matches")
	}
	var reports []*Report
	var failed, late []string
	for i, l := range wanted {
		if ctx.Err() != nil {
			break
		}
		r := &Report{Package: strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, l.Module.Path), "/"), Score: -1, List: []*Mutant{}}
		reports = append(reports, r)
		if err := r.fill(ctx, root, filepath.Join(scratch, strconv.Itoa(i)), l, own, exports, only, at, known); errors.Is(err, errDelayed) {
			late = append(late, r.Package)
		} else if err != nil {
			r.Error = err.Error()
			failed = append(failed, r.Package)
		}
		r.print(os.Stdout)
		_ = os.RemoveAll(filepath.Join(scratch, strconv.Itoa(i)))
	}
	if *jsonFile != "" {
		b, err := json.MarshalIndent(reports, "", " ")
		if err == nil {
			err = os.WriteFile(*jsonFile, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("not judged: %s", strings.Join(failed, ", "))
	}
	if len(late) > 0 {
		return fmt.Errorf("%w: %s", errDelayed, strings.Join(late, ", "))
	}
	if *strict && slices.ContainsFunc(reports, func(r *Report) bool { return r.Survived > 0 }) {
		return errSurvived
	}
	return nil
}

func moduleRoot(dir string) (string, error) {
	cmd := exec.Command("go", "env", "GOMOD")
	cmd.Dir = dir
	b, err := cmd.Output()
	mod := strings.TrimSpace(string(b))
	if err != nil || mod == "" || mod == os.DevNull {
		return "", errors.New("this folder is in no Go module; stand in the checkout or give --root")
	}
	return filepath.Dir(mod), nil
}

// pattern lets spf stand for ./internal/spf, and report/... for ./internal/report/....
func pattern(root, p string) string {
	if filepath.IsAbs(p) || strings.HasPrefix(p, "./") {
		return p
	}
	dir, all := strings.CutSuffix(p, "/...")
	for _, d := range []string{"internal/" + dir, dir} {
		if fi, err := os.Stat(filepath.Join(root, d)); err == nil && fi.IsDir() {
			if all {
				d += "/..."
			}
			return "./" + d
		}
	}
	return p
}

func parseAt(s string) (at []place, err error) {
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		file, line, _ := strings.Cut(f, ":")
		n, err := strconv.Atoi(line)
		if err != nil {
			return nil, fmt.Errorf("--at %s: want FILE:LINE", f)
		}
		at = append(at, place{file, n})
	}
	return at, nil
}
