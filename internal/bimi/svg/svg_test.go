package svg

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

func TestGood(t *testing.T) {
	for _, c := range good {
		plain, err := Check([]byte(c.svg))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if string(plain) != c.svg {
			t.Errorf("%s: the octets were changed", c.name)
		}
	}
}

func TestBad(t *testing.T) {
	for _, c := range bad {
		plain, err := Check([]byte(c.svg))
		if err == nil || plain != nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if !strings.Contains(told(err), c.says) {
			t.Errorf("%s: says %q, want %q in it", c.name, told(err), c.says)
		}
	}
}

func told(err error) string {
	var all []string
	for _, p := range Problems(err) {
		all = append(all, p.String())
	}
	return strings.Join(all, "\n")
}

// TestProblems checks that all problems are told, with their lines, up to a limit.
func TestProblems(t *testing.T) {
	_, err := Check([]byte(strings.Replace(wrap("\n<script/>\n<rect onload='x'/>\n"), `version="1.2"`, "", 1)))
	want := "line 1: svg has no attribute version: write version=\"1.2\"\nline 2: the element script is not allowed: remove it; a mark may run nothing\n" +
		"line 3: the attribute onload of rect is not allowed: remove it"
	if told(err) != want {
		t.Errorf("told:\n%s\nwant:\n%s", told(err), want)
	}
	if want := "svg: line 1: svg has no attribute version: write version=\"1.2\" (and 2 more)"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	_, err = Check([]byte(wrap("<script/>")))
	if strings.Contains(err.Error(), "more") {
		t.Errorf("one problem: %q", err)
	}
	_, err = Check([]byte(wrap(strings.Repeat("<script/>", 2*maxProblems))))
	if n := len(Problems(err)); n != maxProblems {
		t.Errorf("%d problems are told, want %d", n, maxProblems)
	}
	_, err = Check([]byte(wrap("<" + strings.Repeat("x", 500) + "/>")))
	if n := len(told(err)); n > 200 {
		t.Errorf("a long name makes a problem of %d octets", n)
	}
	if Problems(errors.New("x")) != nil || Problems(nil) != nil {
		t.Error("problems of another error")
	}
}

// TestExactly checks what is told in full: one problem, and where it is.
func TestExactly(t *testing.T) {
	attributes := ""
	for i := range 2 * maxProblems {
		attributes += fmt.Sprintf(" on%d=''", i)
	}
	for i := range 8 {
		if _, err := Check([]byte(wrap(`<g fill="` + string("09-_azAZ"[i]) + `rgb(1)"/>`))); err == nil {
			t.Errorf("a function that begins with %q is accepted", "09-_azAZ"[i])
		}
	}
	for _, c := range []struct{ svg, want string }{
		{head + `<title> </title></svg>`, "the title is empty: write the brand's name in it"},
		{head + `</svg>`, "there is no title: put <title>the brand's name</title> first in svg"},
		{strings.Replace(wrap(""), "Shop", strings.Repeat("x", 65), 1), "the title has 65 characters, and may have 64: shorten it"},
		{wrap("\n" + strings.Repeat("<g>", 2*maxDepth) + strings.Repeat("</g>", 2*maxDepth)), "line 2: more than 64 elements are within each other: use fewer groups"},
		{"\n<html onload='x'><script/></html>", `line 2: the picture must begin with <svg xmlns="http://www.w3.org/2000/svg" …>, and begins with <html>`},
		{wrap("\n\n<rect><rect onload='x'/></rect>"), "line 3: the element rect may have no elements in it: move rect out of it"},
		{wrap("\n<use href='#a'/><g\nid='a'>\n<use href='#a'/></g>"), "line 4: use refers to an element that contains it: remove it"},
		{wrap("<g id='a'/><g id='a'/>\n<use href='#a'/>"), "line 2: two elements have the id a, to which use refers: give each an id of its own"},
		{"", "there is no picture in the file: it must have the element svg"},
		{wrap("\n<g></h>"), "line 2: this is not well-formed XML (element <g> closed by </h>): save the picture again, or check it with xmllint"},
	} {
		_, err := Check([]byte(c.svg))
		if got := told(err); got != c.want {
			t.Errorf("told %q, want %q", got, c.want)
		}
	}
	if _, err := Check([]byte(wrap("<rect" + attributes + "/>"))); len(Problems(err)) != maxProblems {
		t.Errorf("%d problems of one element are told", len(Problems(err)))
	}
}

// TestRefusedElementsAreSkipped checks that nothing is told about what is in an element that goes away.
func TestRefusedElementsAreSkipped(t *testing.T) {
	_, err := Check([]byte(wrap(`<style><b onload="x">text</b>url(//x)</style>`)))
	if n := len(Problems(err)); n != 1 {
		t.Errorf("%d problems: %s", n, told(err))
	}
}

func TestBounds(t *testing.T) {
	filled := func(size int) []byte {
		text := wrap("<desc></desc>")
		return []byte(strings.Replace(text, "<desc>", "<desc>"+strings.Repeat("x", size-len(text)), 1))
	}
	rects := func(n int) string { return wrap(strings.Repeat("<g/>", n)) }
	laughing := func(n int) string { // root, title, g, rect, and n uses of g with rect, each with itself
		return wrap(`<g id="a"><rect/></g>` + strings.Repeat(`<use href="#a"/>`, n))
	}
	for _, c := range []struct {
		name string
		svg  []byte
		ok   bool
	}{
		{"size", filled(MaxOctets), true},
		{"size+1", filled(MaxOctets + 1), false},
		{"compressed", compress(t, filled(MaxOctets)), true},
		{"compressed+1", compress(t, filled(MaxOctets+1)), false},
		{"depth", []byte(wrap(strings.Repeat("<g>", maxDepth-1) + strings.Repeat("</g>", maxDepth-1))), true},
		{"depth+1", []byte(wrap(strings.Repeat("<g>", maxDepth) + strings.Repeat("</g>", maxDepth))), false},
		{"title", []byte(strings.Replace(wrap(""), "Shop", strings.Repeat("é", maxTitle), 1)), true},
		{"title+1", []byte(strings.Replace(wrap(""), "Shop", strings.Repeat("é", maxTitle+1), 1)), false},
		{"many", []byte(rects(6000)), true},
		{"drawn", []byte(laughing(1900)), true},
	} {
		if _, err := Check(c.svg); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestBoundOfReading checks that nothing after the bound is read: damage there does not matter.
func TestBoundOfReading(t *testing.T) {
	noise := make([]byte, MaxOctets*3/2)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for i, b := range noise {
		noise[i] = 'a' + b%8
	}
	damaged := compress(t, noise)
	damaged = damaged[:len(damaged)*9/10]
	_, err := Check(damaged)
	if err == nil || !strings.Contains(err.Error(), "octets when it is uncompressed") {
		t.Errorf("%d compressed octets: %v", len(damaged), err)
	}
}

// TestTokens checks the bound on tokens. A picture of MaxOctets has at most 16,384 tokens, so that the
// bound holds only together with a larger picture.
func TestTokens(t *testing.T) {
	for n, ok := range map[int]bool{maxTokens - 5: true, maxTokens - 4: false} { // root, title, text, and two end tags
		c := newChecker([]byte(wrap(strings.Repeat("<g/>", n/2) + strings.Repeat("<!---->", n%2))))
		c.run()
		if (len(c.problems) == 0) != ok {
			t.Errorf("%d tokens within: %v", n, c.problems)
		}
	}
}

// TestDrawn checks the bound on what is drawn, which is exact.
func TestDrawn(t *testing.T) {
	for over, ok := range map[int]bool{0: true, 1: false} {
		tree := tree{ids: map[string]int{"a": 1}}
		root := frame{node: tree.add(nil)}
		big := frame{node: tree.add(&root)}
		for range 98 {
			tree.add(&big)
		}
		// The root and the group with 98 elements are 100; each use draws itself and the 99 of the group.
		for range 199 {
			tree.use(tree.add(&root), "a", 1)
		}
		for range over {
			tree.add(&root)
		}
		c := newChecker(nil)
		tree.check(c)
		if (len(c.problems) == 0) != ok {
			t.Errorf("%d over the limit: %v", over, c.problems)
		}
	}
}

func compress(tb testing.TB, octets []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(octets); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestUncompress(t *testing.T) {
	picture := []byte(wrap(""))
	once := compress(t, picture)
	bomb := compress(t, make([]byte, 64<<20))
	for _, c := range []struct {
		name string
		in   []byte
		says string // "": accepted
	}{
		{"plain", picture, ""},
		{"compressed", once, ""},
		{"twice", compress(t, once), "compressed twice"},
		{"bomb", bomb[:min(len(bomb), maxCompressed)], "more than 32768 octets"},
		{"bomb in a bomb", compress(t, bomb), "octets"},
		{"two pictures", append(bytes.Clone(once), once...), "after the compressed picture"},
		{"something behind", append(bytes.Clone(once), 0), "after the compressed picture"},
		{"cut", once[:len(once)-9], "not valid gzip"},
		{"wrong sum", append(bytes.Clone(once[:len(once)-8]), make([]byte, 8)...), "not valid gzip"},
		{"head only", once[:5], "not valid gzip"},
		{"large", append(bytes.Clone(once), make([]byte, maxCompressed)...), "compressed picture has"},
	} {
		plain, err := Check(c.in)
		switch {
		case c.says == "" && (err != nil || !bytes.Equal(plain, picture)):
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
	}
}

// TestShared checks the pictures of the shared data.
func TestShared(t *testing.T) {
	passed, total := 0, 0
	for name, picture := range suites.BIMI(t, "svg") {
		if strings.HasSuffix(name, ".rng") {
			continue
		}
		total++
		if _, err := Check(picture); (err == nil) != !strings.HasPrefix(name, "hostile-") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		passed++
	}
	suites.Log(t, "bimi/svg", passed, total, "")
}

func FuzzCheck(f *testing.F) {
	for _, c := range good {
		f.Add([]byte(c.svg))
	}
	for _, c := range bad {
		f.Add([]byte(c.svg))
	}
	f.Add(compress(f, []byte(wrap(""))))
	f.Fuzz(func(t *testing.T, picture []byte) {
		plain, err := Check(picture)
		if err != nil {
			if plain != nil || len(Problems(err)) == 0 || len(Problems(err)) > maxProblems {
				t.Fatalf("%d octets and %v", len(plain), err)
			}
			return
		}
		if len(plain) > MaxOctets {
			t.Fatalf("%d octets", len(plain))
		}
		for _, never := range []string{"<!DOCTYPE", "<![CDATA[", "<script"} {
			if bytes.Contains(withoutComments(plain), []byte(never)) {
				t.Fatalf("accepted %q", never)
			}
		}
		again, err := Check(plain)
		if err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("not accepted again: %v", err)
		}
	})
}

func withoutComments(b []byte) []byte {
	for {
		before, after, found := bytes.Cut(b, []byte("<!--"))
		if !found {
			return b
		}
		_, rest, _ := bytes.Cut(after, []byte("-->"))
		b = append(bytes.Clone(before), rest...)
	}
}
