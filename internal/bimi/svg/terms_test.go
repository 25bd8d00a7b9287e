package svg

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

// TestValues checks the functions that judge one value, each condition of them alone.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		name  string
		judge func(string) bool
		good  []string
		bad   []string
	}{
		{"isSquare", isSquare,
			[]string{"0 0 1 1", "0,0,1,1", " 0\t0\r\n1 1 ", "-1 +2 1e1 10", ".5 0 1 1"},
			[]string{"", "0 0 1", "0 0 1 1 1", "0 0 1 2", "0 0 0 0", "0 0 -1 -1", "0,,0,,1,1", "a 0 1 1", "0 0 Inf Inf", "0 0 0x1 0x1", "- 0 1 1", "0 0 1e999 1e999", "1e999 0 1 1", "0 0 1 1px"}},
		{"isNumber", isNumber, []string{"1", "-1", "+.5e-3", "0", "9", "1E4"}, []string{"", "e", ".", "-", "Inf", "NaN", "0x1", "1_0", "1 "}},
		{"isLength", isLength,
			[]string{"1", "0.1", "1px", "1pt", "1pc", "1cm", "1mm", "1in"},
			[]string{"", "0", "-1", "px", "1em", "1%", "1 px", "1pxpx", "0px", "1e999", "Inf", "--1"}},
		{"isOfName", func(s string) bool { return isOfName([]rune(s)[0]) },
			strings.Split("-_09azAZ\u0080é", ""), strings.Split("(/:`{@[\x7f,. ", "")},
		{"isNCName", isNCName,
			[]string{"a", "_", "Z", "a-", "a.", "a0", "a9", "レイヤー", "a\u00b7", "a\u3005", "a\u30fc", "é", "_1"},
			[]string{"", "-", ".", "0", "a:b", "a b", "a/", "a,", "a;", "\u00b7", "\u3005", "\u30fc", "×", "a×", "а\u0482", "\xff"}},
		{"areTokens", areTokens, []string{"a", "1", "a b", " a ", ":", "a:b", "-."}, []string{"", " ", "a,b", "a ,", "#"}},
		{"isLocalURL", isLocalURL,
			[]string{"#a)", " #a )", `"#a")`, `'#a')`, "#a) #c00", `"#a") "`},
			[]string{"#a", "a)", "#)", ")", `")`, `"")`, `"#a')`, `'#a")`, `"#a)`, `#a")`, "#1)", `"a")`, "//x)", "#a", "'"}},
		{"outside", func(s string) bool { return outside(s) == "" },
			[]string{"", "red", "(1)", "a ( b", "rgb(1)", "RGB(1)", "1,rgb(1)", "url(#a)", "URL(#a)", "url(#a) rgb(1)", "scale(1)rotate(2)"},
			[]string{`\`, `r\67b(1)`, "url(a)", "url(#a", "f(1)", "xrgb(1)", "-rgb(1)", "rgb(1) f(1)", "rgb(url(x))", "(f(1))", "url(#a) url(x)", "0url(#a)", "\u0080url(#a)"}},
		{"spaced", func(s string) bool { return spaced([]byte(s)) },
			[]string{`<a b="1" c='2'/>`, `<a b="1"/>`, `<a b="1">`, "<a b='1'\tc='2'\r\nd='3'>", `<a b="'c" d='"e'>`, `<a b="1"`, "<a>"},
			[]string{`<a b="1"c='2'>`, `<a b='1'c="2">`, `<a b=""c="">`}},
		{"declared", func(s string) bool { return declared([]byte(s)) },
			[]string{"", "<svg>", "<?xml", "<?xml-stylesheet x?>", `<?xml version="1.0"?>`, "<?xml\tversion='1.0' ?>", "<?xml\nversion='1.0'?>", "<?xm ?>"},
			[]string{"<?xml ", "<?xml ?>", `<?xml version="1.1"?>`, "<?xml\rencoding='x'?>"}},
		{"compressed", func(s string) bool { return compressed([]byte(s)) }, []string{"\x1f\x8b", "\x1f\x8b\x08"}, []string{"", "\x1f", "\x1f\x00", "\x00\x8b"}},
		{"plainText", func(s string) bool { return plainText([]byte(s)) == "" },
			[]string{"", " \t\r\n", "\x7f", "\u0080", "\ufffd", "\ufdd0", "\U0001ffff", "\ufeff"},
			[]string{"\x00", "\x08", "\x0b", "\x0c", "\x0e", "\x1f", "a\x1fb", "\ufffe", "\uffff", "\xff", "\xed\xa0\x80"}},
	} {
		for _, s := range tt.good {
			if !tt.judge(s) {
				t.Errorf("%s: %q is refused", tt.name, s)
			}
		}
		for _, s := range tt.bad {
			if tt.judge(s) {
				t.Errorf("%s: %q is accepted", tt.name, s)
			}
		}
	}
}

// TestReferences checks which character references are of no character.
func TestReferences(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "a&amp;b": 0, "&#65;": 0, "&#x41;": 0, "&#xd7ff;": 0, "&#xd800;": 1, "&#xdfff;": 1, "&#xe000;": 0, "&#55296;": 1,
		"&#x10ffff;": 0, "&#x110000;": 1, "&#1114111;": 0, "&#1114112;": 1, "&#99999999999999999999999;": 1, "&#x1000000000041;": 1,
		"&#xd800;&#65;&#xd801;": 2, "a&#65;&#xd800": 1,
	} {
		c := newChecker(nil)
		c.references([]byte(text))
		if len(c.problems) != want {
			t.Errorf("%q: %v", text, c.problems)
		}
	}
}

// TestOneProblem checks that what is wrong in one way is told once, and what is wrong in two ways twice.
func TestOneProblem(t *testing.T) {
	declare := func(s string) string { return strings.Replace(s, "<svg", `<svg xmlns:q="u:1"`, 1) }
	for _, tt := range []struct{ svg, want string }{
		{declare(wrap(`<g q:fill="url(x)"/>`)), "line 1: the attribute fill of g is of another namespace: remove it"},
		{declare(wrap(`<g q:id="a"/><g id="a"/><use href="#a"/>`)), "line 1: the attribute id of g is of another namespace: remove it"},
		{wrap(`<g href="#g"/>`), "line 1: the attribute href of g is not allowed: remove it"},
		{wrap(`<g fill="f(1)" fill="f(1)"/>`), "line 1: the attribute fill of g is \"f(1)\", which is not allowed: the function f() is not allowed: write a plain value\n" +
			"line 1: the attribute fill of g is there twice: remove one"},
		{wrap(`<g id="a" xml:id="b"/>`), "line 1: g has both id and xml:id: remove xml:id"},
		{wrap(`<![CDATA[x&#xd800;]]>`), "line 1: CDATA is not allowed: write the text without <![CDATA[ and ]]>, and with &lt; and &amp;"},
		{wrap(`<g>x</g>`), "line 1: there is text in the element g, which may have none: remove it"},
		{wrap("") + "x", "line 1: there is text outside of the element svg: remove it"},
		{wrap("") + "<g>x</g>", "line 1: there is a second element after svg: remove it"},
		{wrap("<title>x<g/></title>"), "line 1: svg has a second title: remove it"},
		{wrap("<script>x<script/>&#xd800;</script>"), "line 1: the element script is not allowed: remove it; a mark may run nothing\n" +
			"line 1: the reference &#xd800; is of no character: remove it"},
		{head + "<g/><title>x</title></svg>", "line 1: the title must be the first element in svg: move it there"},
		{head + "<g><title>x</title></g></svg>", "line 1: the element title is not allowed in g: move or remove it\nthere is no title: put <title>the brand's name</title> first in svg"},
		{wrap("<stop/>"), "line 1: the element stop is not allowed in svg: move or remove it"},
		{wrap("<rect><stop/></rect>"), "line 1: the element rect may have no elements in it: move stop out of it"},
		{strings.Replace(wrap(""), ` viewBox="0 0 10 10"`, "", 1), `line 1: svg has no attribute viewBox: write the bounds of the picture, such as viewBox="0 0 100 100"`},
		{strings.Replace(wrap(""), ` baseProfile="tiny-ps"`, "", 1), `line 1: svg has no attribute baseProfile: write baseProfile="tiny-ps"`},
		{strings.Replace(wrap(""), "<svg", `<svg xmlns:xml="u:1"`, 1), "line 1: the declaration of the namespace xml is not allowed: remove it"},
		{wrap("<use href='#a'/><use id='a' href='#a'/>"), "line 1: use refers to an element that contains it: remove it"},
		{wrap("\n<g id='a'/><g id='a'/>"), ""},
		{"<?xml version='1.0'encoding='UTF-8'?>" + wrap(""), "line 1: " + badDeclaration},
		{" <?xml version='1.0'?>" + wrap(""), "line 1: the processing instruction <?xml …?> is not allowed: remove it"},
		{"<?php x?>" + wrap(""), "line 1: the processing instruction <?php …?> is not allowed: remove it"},
		{wrap("<!-->-->"), "line 1: a comment begins with \">\", where HTML parsers would end it: remove the comment"},
		{wrap("<!--->-->"), "line 1: a comment begins with \">\", where HTML parsers would end it: remove the comment"},
		{wrap("<!-- > -->"), ""},
	} {
		if _, err := Check([]byte(tt.svg)); told(err) != tt.want {
			t.Errorf("%s:\n%s\nwant:\n%s", tt.svg, told(err), tt.want)
		}
	}
}

// TestDeclarations checks which declarations of a namespace are refused.
func TestDeclarations(t *testing.T) {
	for _, tt := range []struct {
		name  xml.Name
		value string
		want  bool // accepted
	}{
		{xml.Name{Local: "xmlns"}, svgSpace, true},
		{xml.Name{Local: "xmlns"}, "", true},
		{xml.Name{Local: "xmlns"}, xmlSpace, false},
		{xml.Name{Local: "xmlns"}, xmlnsSpace, false},
		{xml.Name{Space: "xmlns", Local: "q"}, "u:1", true},
		{xml.Name{Space: "xmlns", Local: "q"}, "", false},
		{xml.Name{Space: "xmlns", Local: "q"}, xmlSpace, false},
		{xml.Name{Space: "xmlns", Local: "xml"}, "u:1", false},
		{xml.Name{Space: "xmlns", Local: "xmlns"}, "u:1", false},
	} {
		c := newChecker(nil)
		c.declares(xml.Attr{Name: tt.name, Value: tt.value})
		if (len(c.problems) == 0) != tt.want {
			t.Errorf("%v=%q: %v", tt.name, tt.value, c.problems)
		}
	}
}

// TestCompressedSize checks the bound on a compressed picture at its edge. A field that nobody reads makes the file as long as is wanted.
func TestCompressedSize(t *testing.T) {
	picture := []byte(wrap(""))
	packed := func(filling int) []byte {
		t.Helper()
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Extra = make([]byte, filling)
		if _, err := z.Write(picture); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	around := len(packed(0))
	for size, want := range map[int]bool{maxCompressed - 1: true, maxCompressed: true, maxCompressed + 1: false} {
		file := packed(size - around)
		if _, err := Check(file); (err == nil) != want || len(file) != size {
			t.Errorf("%d octets, want %d: %v", len(file), size, err)
		}
	}
}

// TestProblemString checks how a problem is written, with its line and for the whole picture.
func TestProblemString(t *testing.T) {
	for want, p := range map[string]Problem{"x": {Text: "x"}, "line 1: x": {Line: 1, Text: "x"}} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for n, want := range map[int]string{1: "svg: x0", 2: "svg: x0 (and 1 more)", 3: "svg: x0 (and 2 more)"} {
		r := Refusal{}
		for i := range n {
			r.Problems = append(r.Problems, Problem{Text: fmt.Sprintf("x%d", i)})
		}
		if got := r.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestTree checks how often elements are drawn: what is used twice counts twice, and what is not there nothing.
func TestTree(t *testing.T) {
	for _, tt := range []struct {
		why   string
		build func(*tree, frame)
		want  int
	}{
		{"the root alone", func(*tree, frame) {}, 1},
		{"two elements", func(t *tree, root frame) { t.add(&root); t.add(&root) }, 3},
		{"a use of nothing", func(t *tree, root frame) { t.use(t.add(&root), "x", 1) }, 2},
		{"a use of no id", func(t *tree, root frame) { t.name(t.add(&root), ""); t.use(t.add(&root), "", 1) }, 3},
		{"an element used twice", func(t *tree, root frame) {
			t.name(t.add(&root), "a")
			t.use(t.add(&root), "a", 1)
			t.use(t.add(&root), "a", 1)
		}, 6},
		{"the first of two with the same id", func(t *tree, root frame) {
			group := frame{node: t.add(&root)}
			t.name(group.node, "a")
			t.add(&group)
			t.name(t.add(&root), "a")
			t.use(t.add(&root), "a", 1)
		}, 7},
		{"a use with elements in it", func(t *tree, root frame) {
			t.name(t.add(&root), "a")
			use := frame{node: t.add(&root)}
			t.use(use.node, "a", 1)
			t.add(&use)
		}, 5},
	} {
		var all tree
		tt.build(&all, frame{node: all.add(nil)})
		all.cost = make([]int, len(all.nodes))
		if drawn, cycle := all.count(0); drawn != tt.want || cycle != 0 {
			t.Errorf("%s: %d, cycle %d, want %d", tt.why, drawn, cycle, tt.want)
		}
	}
}
