//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	limitFactor = 4               // a mutant may take this many times what the tests take
	limitExtra  = 8 * time.Second // and this
	limitMemory = 3 << 30
	baseRuns    = 3
	baseLimit   = 5 * time.Minute
)

// A tester holds the compiled tests of one package.
type tester struct {
	dir, pkgDir, bin string
	took             time.Duration
	late             map[string][]*candidate // delays by file
	places           int                     // of delays
	memory           int64                   // a mutant may not take more
}

var (
	errorLine = regexp.MustCompile(`^(\S+\.go):(\d+):(\d+): `)
	switchID  = regexp.MustCompile(`zmut\.(?:Is|Err|Add|Mul|Pick)(?:\[[^\]]*\])?\((\d+)`)
)

// build compiles the tests with every mutant in them; a mutant that does not compile gives its place to the next.
func (t *tester) build(ctx context.Context, s *source, only map[string]bool, at []place) ([]*candidate, error) {
	dropped := map[string]bool{}
	for {
		var chosen []*candidate
		if t.late == nil || withMutants() {
			chosen = s.choose(*seed, *number, only, at, dropped)
		}
		if (len(chosen) == 0 && t.late == nil) || len(chosen) >= idSpace {
			return nil, nil
		}
		overlay, written, err := s.write(t.dir, chosen, t.late)
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay", overlay, "-o", t.bin, s.pkg.ImportPath)
		cmd.Dir = s.root
		out, err := cmd.CombinedOutput()
		if err == nil {
			return chosen, nil
		}
		byID := map[string]*candidate{}
		for _, c := range chosen {
			byID[strconv.Itoa(c.ID)] = c
		}
		before := len(dropped)
		for _, line := range strings.Split(string(out), "\n") {
			m := errorLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			for rel, to := range written {
				if filepath.Base(m[1]) != filepath.Base(to) && filepath.Base(m[1]) != filepath.Base(rel) {
					continue
				}
				text, _ := os.ReadFile(to)
				lines := strings.Split(string(text), "\n")
				if n, _ := strconv.Atoi(m[2]); n >= 1 && n <= len(lines) {
					for _, id := range switchID.FindAllStringSubmatch(lines[n-1], -1) {
						dropped[byID[id[1]].key()] = true
					}
				}
			}
		}
		if len(dropped) == before {
			return nil, fmt.Errorf("its tests do not compile: %s", bytes.TrimSpace(out))
		}
	}
}

// base runs the unchanged tests, measures them, and notes which mutants they reach.
func (t *tester) base(ctx context.Context) ([]byte, error) {
	cov := filepath.Join(t.dir, "reached")
	if err := os.WriteFile(cov, make([]byte, idSpace), 0o600); err != nil {
		return nil, err
	}
	for range baseRuns {
		o := t.once(ctx, 0, cov, baseLimit, *seed)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if o.what != "survived" {
			return nil, fmt.Errorf("its tests fail without any change: %s", o.why)
		}
		t.took = max(t.took, o.took)
	}
	return os.ReadFile(cov)
}

func (t *tester) judge(ctx context.Context, ms []*Mutant, reached []byte) {
	queue := make(chan *Mutant)
	var wg sync.WaitGroup
	for range *jobs {
		wg.Go(func() {
			runtime.LockOSThread() // a test process dies with the thread that began it
			for m := range queue {
				limit := limitFactor*t.took + limitExtra
				o := t.once(ctx, m.ID, "", limit, *seed)
				if t.late != nil {
					o = t.always(ctx, m, o, limit)
				} else if o.what == "survived" { // again, because a test with random input or timing may miss it once
					o = t.once(ctx, m.ID, "", limit, *seed)
				}
				m.Outcome, m.By = o.what, o.why
			}
		})
	}
	for _, m := range ms {
		if ctx.Err() != nil {
			break
		}
		if reached[m.ID] == 0 {
			m.Outcome = "unreached"
			continue
		}
		queue <- m
	}
	close(queue)
	wg.Wait()
}

// always runs the tests *runs times in all, each time with other delays. The mutant is killed only if each run notices it.
func (t *tester) always(ctx context.Context, m *Mutant, o outcome, limit time.Duration) outcome {
	missed := outcome{}
	for i := range *runs {
		if i > 0 {
			o = t.once(ctx, m.ID, "", limit, *seed+int64(i))
		}
		if o.what == "survived" {
			missed = o
		} else {
			m.Noticed++
		}
	}
	if missed.what != "" {
		return missed
	}
	return o
}

type outcome struct {
	what, why string
	output    string
	took      time.Duration
}

// once runs the tests with one mutant switched on, in a process group of its own. seed chooses the delays.
func (t *tester) once(ctx context.Context, id int, cov string, limit time.Duration, seed int64) outcome {
	tmp, err := os.MkdirTemp(filepath.Join(t.dir, "tmp"), "")
	if err == nil {
		err = os.Chmod(tmp, 0o711) // see main
	}
	if err != nil {
		return outcome{what: "error", why: err.Error()}
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(t.bin, "-test.failfast="+strconv.FormatBool(id > 0), "-test.run", *runFlag, "-test.timeout", (limit + 5*time.Second).String())
	cmd.Dir = t.pkgDir
	cmd.Env = append(os.Environ(), "PWD="+t.pkgDir, "TMPDIR="+tmp, "ZMUT="+strconv.Itoa(id), "ZMUT_COV="+cov)
	cmd.Env = append(cmd.Env, delaySettings(seed)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	out := &head{}
	cmd.Stdout, cmd.Stderr = out, out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return outcome{what: "error", why: err.Error()}
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	why := ""
	for {
		select {
		case err := <-done:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what the tests left running
			o := outcome{what: "survived", took: time.Since(start)}
			switch {
			case why != "":
				o.what, o.why = "limit", why
			case err != nil && !errors.Is(err, exec.ErrWaitDelay):
				o.what, o.why = "killed", out.firstFailure()
			}
			o.output = out.String()
			return o
		case <-tick.C:
			switch {
			case ctx.Err() != nil:
				why = "interrupted"
			case time.Since(start) > limit:
				why = "time"
			case resident(cmd.Process.Pid) > t.memory:
				why = "memory"
			default:
				continue
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
}

func resident(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // nothing if the process has ended
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ := strconv.ParseInt(f[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}

// A head keeps the first 64 KiB of what is written to it.
type head struct {
	mu sync.Mutex
	b  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := 64<<10 - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.b)
}

func (h *head) firstFailure() string {
	last := ""
	for _, line := range strings.Split(h.String(), "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error") {
			return clip(line)
		}
		if line != "" {
			last = line
		}
	}
	return clip(last)
}
