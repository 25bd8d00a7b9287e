// Package recorder runs a function as a test within a test. With it, the test of a test helper can
// check whether the helper makes a test fail or skip. For tests only.
package recorder

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Run runs f and its cleanups as a test of its own. It returns what this test reported, one line
// for each report: "log: ", "error: ", "fatal: " or "skip: " and the text. Even if f fails, t does
// not fail. Methods of testing.TB that recorder does not define act on t.
func Run(t testing.TB, f func(testing.TB)) string {
	r := &recorder{TB: t}
	r.run(func() { f(r) })
	for len(r.cleanups) > 0 {
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		r.run(last)
	}
	return strings.Join(r.said, "\n")
}

type recorder struct {
	testing.TB
	said     []string
	cleanups []func()
}

// run calls f in a goroutine of its own, because f may end its goroutine, and waits until it has
// ended.
func (r *recorder) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (r *recorder) say(kind, words string) { r.said = append(r.said, kind+": "+words) }

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// Failed reports whether f has failed so far.
func (r *recorder) Failed() bool {
	return slices.ContainsFunc(r.said, func(s string) bool { return strings.HasPrefix(s, "error: ") || strings.HasPrefix(s, "fatal: ") })
}

func (r *recorder) Logf(format string, args ...any)   { r.say("log", fmt.Sprintf(format, args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.say("error", fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.say("error", fmt.Sprint(args...)) }

func (r *recorder) Fatal(args ...any) {
	r.say("fatal", fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.say("fatal", fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.say("skip", fmt.Sprintf(format, args...))
	runtime.Goexit()
}
