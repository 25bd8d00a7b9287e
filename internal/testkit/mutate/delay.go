//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errDelayed is returned if the unchanged tests fail with delays.
var errDelayed = errors.New("tests failed with delays; wait until nothing is under way (synctest.Wait), not for a time")

// delayed collects, for the wanted package and the packages of its module that it imports, a delay in
// front of each goroutine's first statement. It returns them by file.
func delayed(l listed, own []listed) (map[string][]*candidate, error) {
	out := map[string][]*candidate{}
	n := 0
	for _, p := range slices.Concat([]listed{l}, own) {
		for _, name := range p.GoFiles {
			full := filepath.Join(p.Dir, name)
			if _, done := out[full]; done {
				continue
			}
			text, err := os.ReadFile(full)
			if err != nil {
				return nil, err
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, full, text, 0)
			if err != nil {
				return nil, err
			}
			out[full] = delaysOf(fset, file, &n)
		}
	}
	return out, nil
}

// delaysOf finds where goroutines begin in a file: the statement go, and a function that is given to a method or
// function called Go or AfterFunc. n numbers them.
func delaysOf(fset *token.FileSet, file *ast.File, n *int) (out []*candidate) {
	add := func(f ast.Expr) {
		*n++
		start, end := fset.Position(f.Pos()).Offset, fset.Position(f.End()).Offset
		before, after := "zmut.Late("+strconv.Itoa(*n)+", ", ")"
		if lit, ok := f.(*ast.FuncLit); ok {
			start = fset.Position(lit.Body.Lbrace).Offset
			end = start + len("{")
			before, after = "", " zmut.Delay("+strconv.Itoa(*n)+");"
		}
		c := &candidate{Mutant: Mutant{Start: start, End: end}, depth: -1}
		c.render = func(emit emitter, _ string) string { return before + emit(start, end) + after }
		out = append(out, c)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			add(node.Call.Fun)
		case *ast.CallExpr:
			if s, ok := node.Fun.(*ast.SelectorExpr); ok && len(node.Args) > 0 && (s.Sel.Name == "Go" || s.Sel.Name == "AfterFunc") {
				add(node.Args[len(node.Args)-1])
			}
		}
		return true
	})
	return out
}

var failedTest = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)|^(?:panic|fatal error): .*`)

// unsteady runs the unchanged tests *runs times, each time with other delays, and writes which of them fail.
func (r *Report) unsteady(ctx context.Context, t *tester, w io.Writer) error {
	times := map[string]int{}
	var order []string
	failed := 0
	for i := range *runs {
		o := t.once(ctx, 0, "", baseLimit, *seed+int64(i))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.Seconds = max(r.Seconds, o.took.Seconds())
		if o.what == "survived" {
			continue
		}
		failed++
		names := failedTest.FindAllString(o.output, -1)
		if len(names) == 0 {
			names = []string{o.why}
		}
		for _, name := range names {
			name = strings.TrimPrefix(strings.TrimSpace(name), "--- FAIL: ")
			if times[name] == 0 {
				order = append(order, name)
			}
			times[name]++
		}
		if file := *outputFile; file != "" {
			if err := os.WriteFile(file, []byte(o.output), 0o644); err != nil {
				return err
			}
		}
	}
	for _, name := range order {
		fmt.Fprintf(w, "%s: %s: %d of %d runs\n", r.Package, name, times[name], *runs)
	}
	fmt.Fprintf(w, "%s: %d places where a goroutine begins, %d of %d runs failed, %.1f s\n", r.Package, t.places, failed, *runs, r.Seconds)
	if failed > 0 {
		return errDelayed
	}
	return nil
}

// withMutants reports whether mutants are wanted with the delays.
func withMutants() (wanted bool) {
	flag.Visit(func(f *flag.Flag) { wanted = wanted || f.Name == "at" || f.Name == "n" })
	return wanted
}

// delaySettings is what the switch package reads.
func delaySettings(seed int64) []string {
	return []string{"ZMUT_DELAY=" + strconv.FormatInt(int64(*delay/time.Nanosecond), 10), "ZMUT_SEED=" + strconv.FormatInt(seed, 10)}
}
