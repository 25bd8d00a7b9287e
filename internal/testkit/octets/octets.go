// Package octets makes inputs for tests of parsers that leave nothing out: a sample cut after each of
// its octets, a sample without each of its octets, and every short sequence of some pieces. What a
// parser says of these inputs is compared with a reference in the test, or with a file that a person
// has read. For tests only.
package octets

import (
	"fmt"
	"iter"
	"os"
	"runtime/debug"
	"strings"
	"testing"
)

// Cuts yields s cut after each octet, the shortest first. The last is s itself.
func Cuts(s string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for n := range len(s) + 1 {
			if !yield(n, s[:n]) {
				return
			}
		}
	}
}

// Gaps yields s without each of its octets.
func Gaps(s string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for n := range len(s) {
			if !yield(n, s[:n]+s[n+1:]) {
				return
			}
		}
	}
}

// Words yields every sequence of at most n pieces, the empty one first. There are about
// len(pieces)^n of them.
func Words(n int, pieces ...string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var more func(begin string, left int) bool
		more = func(begin string, left int) bool {
			if !yield(begin) {
				return false
			}
			for _, p := range pieces {
				if left > 0 && !more(begin+p, left-1) {
					return false
				}
			}
			return true
		}
		more("", n)
	}
}

// Chosen returns the pieces that the octets of program choose, one after the other. A fuzzer that
// changes program so makes inputs of whole pieces, which it would hardly find octet by octet.
func Chosen(program []byte, pieces ...string) string {
	const most = 64 // pieces; a longer input only makes the fuzzer slower
	var b strings.Builder
	for _, c := range program[:min(len(program), most)] {
		b.WriteString(pieces[int(c)%len(pieces)])
	}
	return b.String()
}

// Program returns the octets with which Chosen returns s, if s can be made of pieces. At each place it
// takes the longest piece that fits. A part of s that is not a piece is left out. It makes seeds for a
// fuzzer.
func Program(s string, pieces ...string) []byte {
	var program []byte
	for s != "" {
		best := -1
		for i, p := range pieces {
			if p != "" && strings.HasPrefix(s, p) && (best < 0 || len(p) > len(pieces[best])) {
				best = i
			}
		}
		if best < 0 {
			s = s[1:]
			continue
		}
		program = append(program, byte(best))
		s = s[len(pieces[best]):]
	}
	return program
}

// Golden compares what say returns for each sample, its cuts and its gaps with a file. The file has a
// paragraph for each sample: what say returns for the whole sample, and then each other outcome with the
// places where the sample was damaged. "cut 3" keeps the first three octets, and "gap 3" leaves out the
// octet at the offset 3. Read every difference before you commit a new file (see [Compare]).
func Golden(tb testing.TB, file string, samples []string, say func(string) string) {
	tb.Helper()
	var b strings.Builder
	for _, s := range samples {
		b.WriteString(paragraph(tb, s, say))
	}
	Compare(tb, file, b.String())
}

// Compare compares text with a file. With UPDATE=octets in the environment, it writes the file anew.
func Compare(tb testing.TB, file, text string) {
	tb.Helper()
	if os.Getenv("UPDATE") == "octets" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	if string(want) == text {
		return
	}
	got, wanted := strings.Split(text, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(got), len(wanted)) {
		if got[i] != wanted[i] {
			tb.Fatalf("%s:%d:\n got %s\nwant %s", file, i+1, got[i], wanted[i])
		}
	}
	tb.Fatalf("%s has %d lines, want %d", file, len(wanted), len(got))
}

// paragraph returns the outcomes of one sample.
func paragraph(tb testing.TB, s string, say func(string) string) string {
	tb.Helper()
	asked := func(input string) string {
		defer func() {
			if p := recover(); p != nil {
				tb.Fatalf("%q: panic: %v\n%s", input, p, debug.Stack())
			}
		}()
		return say(input)
	}
	whole := asked(s)
	var order []string
	places := map[string]*ranges{}
	note := func(how string, n int, outcome string) {
		if outcome == whole {
			return
		}
		r := places[outcome]
		if r == nil {
			r = new(ranges)
			places[outcome] = r
			order = append(order, outcome)
		}
		r.add(how, n)
	}
	for n, cut := range Cuts(s) {
		note("cut", n, asked(cut))
	}
	for n, gap := range Gaps(s) {
		note("gap", n, asked(gap))
	}
	text := fmt.Sprintf("%q\n  whole: %s\n", s, whole)
	for _, outcome := range order {
		text += fmt.Sprintf("  %s: %s\n", places[outcome], outcome)
	}
	return text + "\n"
}

// ranges is a list of places, such as "cut 3-5 9 gap 2".
type ranges struct {
	done        []string
	how         string
	first, last int
}

func (r *ranges) add(how string, n int) {
	if r.how == how && n == r.last+1 {
		r.last = n
		return
	}
	if r.how != "" {
		r.done = append(r.done, r.open())
	}
	if r.how != how {
		r.done = append(r.done, how)
	}
	r.how, r.first, r.last = how, n, n
}

// open returns the range that add may still make longer.
func (r *ranges) open() string {
	if r.first == r.last {
		return fmt.Sprint(r.first)
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

func (r *ranges) String() string { return strings.Join(append(r.done, r.open()), " ") }
