//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A Report is what became of one package.
type Report struct {
	Package  string    `json:"package"`
	Possible int       `json:"possible"`
	Mutants  int       `json:"mutants"`
	Killed   int       `json:"killed"` // with those of the limit
	Limit    int       `json:"limit"`
	Survived int       `json:"survived"` // without the known
	Unread   int       `json:"unreached"`
	Known    int       `json:"known"`
	Score    float64   `json:"score"`   // killed in a hundred that are not known; -1: no mutants
	Seconds  float64   `json:"seconds"` // one run of the unchanged tests
	Error    string    `json:"error,omitempty"`
	List     []*Mutant `json:"list"`
}

func (r *Report) fill(ctx context.Context, root, dir string, l listed, own []listed, exports map[string]string, only map[string]bool, at []place, ks []known) error {
	s, err := load(root, l, exports)
	if err != nil {
		return err
	}
	r.Possible = len(s.places)
	if *listOnly {
		for _, c := range s.places {
			if (len(at) == 0 || wantedAt(at, c.File, c.Line)) && (only == nil || only[c.Op]) {
				m := c.Mutant
				m.Change += strings.Join(c.alts, "|")
				r.List = append(r.List, &m)
			}
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o711); err != nil {
		return err
	}
	t := &tester{dir: dir, pkgDir: l.Dir, bin: filepath.Join(dir, "own.test"), memory: limitMemory}
	if *delay > 0 {
		if t.late, err = delayed(l, own); err != nil {
			return err
		}
		for _, d := range t.late {
			t.places += len(d)
		}
	}
	chosen, err := t.build(ctx, s, only, at)
	if err != nil {
		return err
	}
	if *delay > 0 && !withMutants() {
		if len(l.TestGoFiles)+len(l.XTestGoFiles) == 0 {
			return nil
		}
		return r.unsteady(ctx, t, os.Stdout)
	}
	r.Mutants = len(chosen)
	for _, c := range chosen {
		r.List = append(r.List, &c.Mutant)
	}
	if len(chosen) == 0 {
		return nil
	}
	reached := make([]byte, idSpace)
	if len(l.TestGoFiles)+len(l.XTestGoFiles) > 0 {
		if reached, err = t.base(ctx); err != nil {
			return err
		}
	}
	r.Seconds = t.took.Seconds()
	fmt.Fprintf(os.Stderr, "%s: %d of %d possible mutants, tests take %.2f s\n", r.Package, r.Mutants, r.Possible, r.Seconds)
	t.judge(ctx, r.List, reached)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.count(ks, os.Stderr)
}

// count adds up what became of the mutants, and warns of those that are listed as known but were killed.
func (r *Report) count(ks []known, warnings io.Writer) error {
	for _, m := range r.List {
		reason := m.knownBy(ks)
		switch m.Outcome {
		case "killed", "limit":
			r.Killed++
			if m.Outcome == "limit" {
				r.Limit++
			}
			if reason != "" {
				fmt.Fprintf(warnings, "%s:%d: listed as known, but killed: %s\n", m.File, m.Line, m.text())
			}
		case "survived", "unreached":
			if reason != "" {
				m.Known = reason
				r.Known++
				break
			}
			r.Survived++
			if m.Outcome == "unreached" {
				r.Unread++
			}
		default:
			return fmt.Errorf("its tests could not be run: %s", m.By)
		}
	}
	if n := r.Mutants - r.Known; n > 0 {
		r.Score = 100 * float64(r.Killed) / float64(n)
	}
	return nil
}

func (r *Report) print(w io.Writer) {
	for _, m := range r.List {
		if m.Known != "" {
			continue
		}
		if *listOnly {
			fmt.Fprintf(w, "%s:%d  %s\n", m.File, m.Line, m.text())
		}
		switch m.Outcome {
		case "survived":
			how := "reached"
			if *delay > 0 {
				how = fmt.Sprintf("noticed in %d of %d runs", m.Noticed, *runs)
			}
			fmt.Fprintf(w, "%s:%d  %s  (%s)\n", m.File, m.Line, m.text(), how)
		case "unreached":
			fmt.Fprintf(w, "%s:%d  %s  (never reached)\n", m.File, m.Line, m.text())
		}
	}
	switch {
	case r.Error != "":
		fmt.Fprintf(w, "%s: not judged: %s\n", r.Package, r.Error)
	case *listOnly:
		fmt.Fprintf(w, "%s: %d possible\n", r.Package, len(r.List))
	case r.Score < 0 && *delay == 0:
		fmt.Fprintf(w, "%s: no mutants\n", r.Package)
	case r.Score >= 0:
		limit, unread, known := "", "", ""
		if r.Limit > 0 {
			limit = fmt.Sprintf(" (%d by the limit)", r.Limit)
		}
		if r.Unread > 0 {
			unread = fmt.Sprintf(" (%d never reached)", r.Unread)
		}
		if r.Known > 0 {
			known = fmt.Sprintf(", %d known to change nothing", r.Known)
		}
		fmt.Fprintf(w, "%s: %d mutants, %d killed%s, %d survived%s%s, score %.0f %%\n", r.Package, r.Mutants, r.Killed, limit, r.Survived, unread, known, r.Score)
	}
}
