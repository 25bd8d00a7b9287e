package svg

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

// head is the start tag of the root, and wrap puts elements behind a title.
const head = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.2" baseProfile="tiny-ps" viewBox="0 0 10 10">`

func wrap(elements string) string { return head + `<title>Shop</title>` + elements + `</svg>` }

const declared = `<?xml version="1.0" encoding="UTF-8"?>`

// good has pictures that may be shown.
var good = []struct{ name, svg string }{
	{"smallest", wrap("")},
	{"shapes", wrap(`<rect width="1" height="1"/><circle cx="1" cy="1" r="1"/><path d="M0,0h1v1z"/><polygon points="0 0 1 1 0 1"/>`)},
	{"declaration", declared + "\n" + wrap("")},
	{"declaration in other case and quotes", `<?xml version = '1.0' encoding='utf-8' standalone='yes' ?>` + wrap("")},
	{"declaration without encoding", `<?xml version="1.0"?>` + wrap("")},
	{"byte order mark", "\ufeff" + declared + wrap("")},
	{"comments", declared + "<!-- made by hand -->" + wrap("<!-- - > -->") + "<!-- end -->\n"},
	{"description and metadata", wrap(`<desc>red &amp; white</desc><metadata>by hand</metadata>`)},
	{"gradient", wrap(`<defs><linearGradient id="a" gradientUnits="userSpaceOnUse"><stop offset="0" stop-color="#c00"/></linearGradient></defs><g fill="url(#a)"/>`)},
	{"reference in quotes", wrap(`<g fill="url( '#a' ) #c00" stroke='url("#b")'/>`)},
	{"use", wrap(`<defs><g id="a"><rect/></g></defs><use href="#a" x="1"/><use href="#a" x="3"/>`)},
	{"use of what is not there", wrap(`<use href="#b"/>`)},
	{"name of a layer", wrap(`<g id="レイヤー_1"/>`)},
	{"transforms", wrap(`<g transform="matrix(1 0 0 1 0 0) translate(1,1) rotate(3) scale(2) skewX(1) skewY(1)"/><g transform="ref(svg,0,0)"/>`)},
	{"colours", wrap(`<g fill="rgb(1,2,3)" stroke="RGB(1%,2%,3%)" color="currentColor" stop-color="hsl(1,2%,3%)"/>`)},
	{"text with function-like words", wrap(`<text x="1">url(https://x.example/)</text><desc content="Shop (Tokyo)" about="f(x)"/>`)},
	{"text area", wrap(`<textArea width="auto" height="auto">x</textArea><text editable="none"/>`)},
	{"spaces around words", wrap(`<g fill-rule=" evenodd&#10;" xml:space="preserve"/>`)},
	{"class and language", wrap(`<g class="a b-c d:e" xml:lang="ja-JP"/><g xml:lang=""/>`)},
	{"absolute size", strings.Replace(wrap(""), "viewBox", `width="96px" height="32.5" preserveAspectRatio="xMidYMid meet" viewBox`, 1)},
	{"viewBox with commas", strings.Replace(wrap(""), "0 0 10 10", " -1.5,0 , 1e1\t10.0 ", 1)},
	{"prefix for the namespace", `<s:svg xmlns:s="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps" viewBox="0 0 1 1"><s:title>S</s:title><s:g/></s:svg>`},
	{"namespace that nothing uses", strings.Replace(wrap(""), "<svg", `<svg xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape"`, 1)},
	{"references to characters", wrap(`<desc>&#x65e5;&#26412;&lt;&gt;&quot;&apos;</desc>`)},
	{"title of 64 characters", strings.Replace(wrap(""), "Shop", strings.Repeat("店", maxTitle), 1)},
	{"title in pieces", strings.Replace(wrap(""), "Shop", "Sh<!-- -->op &amp; Co", 1)},
	{"deep", wrap(strings.Repeat("<g>", maxDepth-1) + strings.Repeat("</g>", maxDepth-1))},
	{"attributes over lines", wrap("<rect\n\twidth='1'\r\n\theight='1'\n/>")},
}

// bad has pictures that must be refused, and a part of what is said of each.
var bad = []struct{ name, svg, says string }{
	{"empty", "", "no picture"},
	{"text only", "Shop", "outside of the element svg"},
	{"another root", `<html xmlns="http://www.w3.org/1999/xhtml"/>`, "must begin with <svg"},
	{"root without a namespace", `<svg version="1.2" baseProfile="tiny-ps" viewBox="0 0 1 1"><title>S</title></svg>`, "must begin with <svg"},
	{"root of another namespace", strings.Replace(wrap(""), "2000/svg", "2001/svg", 1), "must begin with <svg"},
	{"root is g", `<g xmlns="http://www.w3.org/2000/svg"/>`, "must begin with <svg"},
	{"second root", wrap("") + `<svg/>`, "second element after svg"},
	{"second root in full", wrap("") + wrap(""), "second element after svg"},
	{"text behind the root", wrap("") + "x", "outside of the element svg"},
	{"reference behind the root", wrap("") + "&#32;", "outside of the element svg"},
	{"no end", head + `<title>S</title>`, "well-formed"},
	{"wrong nesting", wrap(`<g><defs></g></defs>`), "well-formed"},
	{"end tag with another prefix", strings.Replace(wrap(`<g></s:g>`), "<svg", `<svg xmlns:s="http://www.w3.org/2000/svg"`, 1), "well-formed"},
	{"unquoted value", wrap(`<rect width=1/>`), "well-formed"},
	{"no space between attributes", wrap(`<rect width="1"height="1"/>`), "no space"},
	{"attribute twice", wrap(`<rect width="1" width="2"/>`), "twice"},
	{"attribute twice by two prefixes", strings.Replace(wrap(`<g a:x="1" b:x="1"/>`), "<svg", `<svg xmlns:a="u:1" xmlns:b="u:1"`, 1), "twice"},
	{"namespace twice", `<svg xmlns="http://www.w3.org/2000/svg" xmlns="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps" viewBox="0 0 1 1"><title>S</title></svg>`, "twice"},

	{"script", wrap(`<script>1</script>`), "element script is not allowed: remove it; a mark may run nothing"},
	{"script by prefix", wrap(`<s:script xmlns:s="http://www.w3.org/2000/svg">1</s:script>`), "script is not allowed"},
	{"script of HTML", wrap(`<script xmlns="http://www.w3.org/1999/xhtml">1</script>`), "script is not allowed"},
	{"element of HTML with a name of SVG", wrap(`<g xmlns="http://www.w3.org/1999/xhtml"/>`), "element g is not allowed"},
	{"element in another case", wrap(`<SCRIPT>1</SCRIPT><Rect/>`), "SCRIPT is not allowed"},
	{"handler", wrap(`<handler type="application/ecmascript">1</handler>`), "handler"},
	{"style", wrap(`<style>@import url(https://x.example/a.css);</style>`), "write its rules as attributes"},
	{"style attribute", wrap(`<g style="fill:#c00"/>`), "attribute style of g is not allowed: write each"},
	{"onload", strings.Replace(wrap(""), "<svg", `<svg onload="alert(1)"`, 1), "onload"},
	{"onclick on a shape", wrap(`<rect onclick="alert(1)"/>`), "onclick"},
	{"foreignObject", wrap(`<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>`), "foreignObject"},
	{"image", wrap(`<image href="https://x.example/i.png" width="1" height="1"/>`), "draw the picture with paths"},
	{"image as data", wrap(`<image xlink:href="data:image/png;base64,AAAA"/>`), "image is not allowed"},
	{"link", wrap(`<a xlink:href="#x"><rect/></a>`), "element a is not allowed"},
	{"animation", wrap(`<rect><animate attributeName="fill"/></rect>`), "animate is not allowed"},
	{"colour animation", wrap(`<animateColor attributeName="fill"/>`), "animateColor"},
	{"svg within svg", wrap(`<svg/>`), "svg is not allowed"},
	{"svg within g", wrap(`<g><svg viewBox="0 0 1 1"/></g>`), "svg is not allowed"},
	{"switch", wrap(`<switch/>`), "switch"},
	{"font, which the schema allows nowhere", wrap(`<defs><font horiz-adv-x="1"/></defs>`), "convert the text to paths"},
	{"stop outside of a gradient", wrap(`<stop offset="0"/>`), "stop is not allowed in svg"},
	{"shape within a shape", wrap(`<rect><rect/></rect>`), "rect may have no elements in it"},
	{"desc within a group", wrap(`<g><desc>x</desc></g>`), "desc is not allowed in g"},
	{"element within a title", strings.Replace(wrap(""), "Shop", "Shop<g/>", 1), "title may have no elements"},
	{"text in a group", wrap(`<g>x</g>`), "text in the element g"},
	{"text in the root", wrap(`x`), "text in the element svg"},
	{"no-break space in a group", wrap("<g>\u00a0</g>"), "text in the element g"},

	{"no title", head + `</svg>`, "no title"},
	{"title not first", head + `<g/><title>S</title></svg>`, "must be the first"},
	{"title only in a group", head + `<g><title>S</title></g></svg>`, "title is not allowed"},
	{"two titles", wrap(`<title>T</title>`), "second title"},
	{"empty title", head + `<title> </title></svg>`, "title is empty"},
	{"long title", strings.Replace(wrap(""), "Shop", strings.Repeat("店", maxTitle+1), 1), "65 characters"},
	{"no version", strings.Replace(wrap(""), `version="1.2"`, "", 1), `version="1.2"`},
	{"other version", strings.Replace(wrap(""), `"1.2"`, `"1.1"`, 1), "write 1.2"},
	{"no profile", strings.Replace(wrap(""), `baseProfile="tiny-ps"`, "", 1), `baseProfile="tiny-ps"`},
	{"other profile", strings.Replace(wrap(""), "tiny-ps", "tiny", 1), "write tiny-ps"},
	{"no viewBox", strings.Replace(wrap(""), `viewBox="0 0 10 10"`, "", 1), "no attribute viewBox"},
	{"viewBox not square", strings.Replace(wrap(""), "0 0 10 10", "0 0 10 11", 1), "bounds of a square"},
	{"viewBox empty", strings.Replace(wrap(""), "0 0 10 10", "0 0 0 0", 1), "bounds of a square"},
	{"viewBox negative", strings.Replace(wrap(""), "0 0 10 10", "0 0 -1 -1", 1), "bounds of a square"},
	{"viewBox of three", strings.Replace(wrap(""), "0 0 10 10", "0 0 10", 1), "bounds of a square"},
	{"viewBox of five", strings.Replace(wrap(""), "0 0 10 10", "0 0 10 10 10", 1), "bounds of a square"},
	{"viewBox infinite", strings.Replace(wrap(""), "0 0 10 10", "0 0 Inf Inf", 1), "bounds of a square"},
	{"viewBox too large", strings.Replace(wrap(""), "0 0 10 10", "0 0 1e999 1e999", 1), "bounds of a square"},
	{"viewBox with too many commas", strings.Replace(wrap(""), "0 0 10 10", "0,,0,10,10", 1), "bounds of a square"},
	{"relative width", strings.Replace(wrap(""), "viewBox", `width="100%" viewBox`, 1), "number of pixels"},
	{"width in em", strings.Replace(wrap(""), "viewBox", `width="10em" viewBox`, 1), "number of pixels"},
	{"width of nothing", strings.Replace(wrap(""), "viewBox", `width="px" viewBox`, 1), "number of pixels"},
	{"height 0", strings.Replace(wrap(""), "viewBox", `height="0" viewBox`, 1), "number of pixels"},
	{"x on the root", strings.Replace(wrap(""), "viewBox", `x="0" viewBox`, 1), "viewBox has the place"},
	{"y on the root", strings.Replace(wrap(""), "viewBox", `y="0" viewBox`, 1), "viewBox has the place"},
	{"ratio", strings.Replace(wrap(""), "viewBox", `preserveAspectRatio="xMinYMin slice" viewBox`, 1), "xMidYMid meet"},

	{"href to the web", wrap(`<use href="https://x.example/a.svg#b"/>`), `write "#" and the id`},
	{"href to nothing", wrap(`<use href=""/>`), `write "#" and the id`},
	{"href to #", wrap(`<use href="#"/>`), `write "#" and the id`},
	{"href with a space", wrap(`<use href=" #a"/>`), `write "#" and the id`},
	{"href to data", wrap(`<use href="data:image/svg+xml,x#a"/>`), `write "#" and the id`},
	{"xlink:href", wrap(`<use xlink:href="#a"/>`), "write href="},
	{"href in another prefix", wrap(`<use xmlns:z="http://www.w3.org/1999/xlink" z:href="#a"/>`), "xlink:href"},
	{"href of a prefix that is not declared", wrap(`<use q:href="#a"/>`), "another namespace"},
	{"href of the namespace of SVG", wrap(`<use xmlns:s="http://www.w3.org/2000/svg" s:href="#a"/>`), "another namespace"},
	{"href of a shape", wrap(`<rect href="#a"/>`), "href"},
	{"url of the web", wrap(`<g fill="url(https://x.example/a#b)"/>`), "url(#id)"},
	{"url in capitals", wrap(`<g fill="URL(//x.example/a#b)"/>`), "url(#id)"},
	{"url of data", wrap(`<g stroke="url('data:,x')"/>`), "url(#id)"},
	{"url without an end", wrap(`<g fill="url(#a"/>`), "url(#id)"},
	{"url in half quotes", wrap(`<g fill="url('#a)"/>`), "url(#id)"},
	{"second url", wrap(`<g fill="url(#a) url(//x.example)"/>`), "url(#id)"},
	{"url by references", wrap(`<g fill="&#117;rl(//x.example)"/>`), "url(#id)"},
	{"url by an escape", wrap(`<g fill="\75 rl(//x.example)"/>`), "backslash"},
	{"other function that fetches", wrap(`<g fill="image-set('https://x.example/')"/>`), "image-set() is not allowed"},
	{"function behind a letter beyond ASCII", wrap(`<g fill="érgb(1,2,3)"/>`), "is not allowed"},
	{"xml:base", wrap(`<g xml:base="https://x.example/"/>`), "xml:base"},
	{"requiredFonts", wrap(`<g requiredFonts="https://x.example/f"/>`), "requiredFonts"},
	{"word that is not in a list", wrap(`<g fill-rule="odd"/>`), "write inherit, nonzero, evenodd"},
	{"word in another case", wrap(`<g fill-rule="EvenOdd"/>`), "write inherit"},
	{"id with a space", wrap(`<g id="a b"/>`), "begin it with a letter"},
	{"id with a colon", wrap(`<g id="a:b"/>`), "begin it with a letter"},
	{"id that begins with a digit", wrap(`<g id="1a"/>`), "begin it with a letter"},
	{"empty id", wrap(`<g id=""/>`), "begin it with a letter"},
	{"id twice on one element", wrap(`<g id="a" xml:id="b"/>`), "both id and xml:id"},
	{"empty class", wrap(`<g class=" "/>`), "or remove the attribute"},
	{"class with a comma", wrap(`<g class="a,b"/>`), "or remove the attribute"},
	{"language", wrap(`<g xml:lang="de_DE"/>`), "language tag"},
	{"attribute on metadata", wrap(`<metadata id="a">x</metadata>`), "attribute id of metadata"},

	{"DOCTYPE", `<!DOCTYPE svg>` + wrap(""), "DOCTYPE"},
	{"DOCTYPE with a public identifier", declared + `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">` + wrap(""), "DOCTYPE"},
	{"entity", `<!DOCTYPE svg [<!ENTITY a "b">]>` + wrap(`<desc>&a;</desc>`), "DOCTYPE"},
	{"entity that is not declared", wrap(`<desc>&a;</desc>`), "well-formed"},
	{"entity of HTML", wrap(`<desc>&nbsp;</desc>`), "well-formed"},
	{"processing instruction", wrap(`<?php 1 ?>`), "processing instruction <?php"},
	{"style sheet", declared + `<?xml-stylesheet href="https://x.example/a.css"?>` + wrap(""), "xml-stylesheet"},
	{"declaration later", " " + declared + wrap(""), "processing instruction <?xml"},
	{"declaration within", wrap(declared), "processing instruction <?xml"},
	{"declaration behind a comment", "<!-- -->" + declared + wrap(""), "processing instruction <?xml"},
	{"declaration without version", `<?xml encoding="utf-8"?>` + wrap(""), ""},
	{"declaration of XML 1.1", `<?xml version="1.1"?>` + wrap(""), ""},
	{"declaration of another encoding", `<?xml version="1.0" encoding="iso-2022-jp"?>` + wrap(""), ""},
	{"declaration of ASCII", `<?xml version="1.0" encoding="us-ascii"?>` + wrap(""), ""},
	{"CDATA", wrap(`<desc><![CDATA[x><img src=x onerror=alert(1)>]]></desc>`), "CDATA"},
	{"CDATA in a group", wrap(`<g><![CDATA[ ]]></g>`), "CDATA"},
	{"CDATA behind the root", wrap("") + `<![CDATA[ ]]>`, "CDATA"},
	{"comment that ends early in HTML", strings.Replace(wrap(""), "Shop", "Shop<!--><img src=x onerror=alert(1)>-->", 1), "HTML parsers"},
	{"comment that ends early in HTML, with a hyphen", wrap("<!--->x-->"), ""},
	{"two hyphens in a comment", wrap("<!-- -- -->"), "well-formed"},
	{"end of CDATA in text", wrap("<desc>]]></desc>"), "well-formed"},
	{"less-than in a value", wrap(`<g content="<"/>`), "well-formed"},

	{"Latin-1", strings.Replace(wrap(""), "Shop", "Caf\xe9", 1), "not UTF-8"},
	{"broken UTF-8 in a comment", wrap("<!-- \xff -->"), "not UTF-8"},
	{"UTF-16", "\xff\xfe<\x00s\x00v\x00g\x00", "not UTF-8"},
	{"NUL", wrap("<desc>\x00</desc>"), "U+0000"},
	{"control character in a comment", wrap("<!-- \x1b -->"), "U+001B"},
	{"noncharacter", wrap("<desc>\ufffe</desc>"), "U+FFFE"},
	{"reference to a surrogate", wrap("<desc>&#xD800;</desc>"), "of no character"},
	{"reference to a surrogate in a value", wrap(`<g content="&#55296;"/>`), "of no character"},
	{"reference to NUL", wrap("<desc>&#0;</desc>"), "well-formed"},
	{"two byte order marks", "\ufeff\ufeff" + wrap(""), "outside of the element svg"},

	{"declares xml", wrap(`<g xmlns:xml="u:1"/>`), "declaration of the namespace xml"},
	{"declares another prefix for xml", wrap(`<g xmlns:y="http://www.w3.org/XML/1998/namespace" y:base="u:1"/>`), "declaration of the namespace y"},
	{"declares xmlns", wrap(`<g xmlns:xmlns="u:1"/>`), "declaration of the namespace xmlns"},
	{"declares a prefix for nothing", wrap(`<g xmlns:y=""/>`), "declaration of the namespace y"},

	{"use of itself", wrap(`<g id="a"><use href="#a"/></g>`), "contains it"},
	{"use in a circle", wrap(`<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g>`), "contains it"},
	{"use of itself by xml:id", wrap(`<g xml:id="a"><use href="#a"/></g>`), "contains it"},
	{"use of the root", strings.Replace(wrap(`<use href="#r"/>`), "<svg", `<svg id="r"`, 1), "contains it"},
	{"use of an id that is there twice", wrap(`<g id="a"/><g id="a"/><use href="#a"/>`), "id of its own"},
	{"use of a thousand million", wrap(laughs(9)), "20000 or more"},
}

// laughs returns groups of which each uses the one before it ten times.
func laughs(levels int) string {
	text := `<g id="l0"><rect/></g>`
	for i := range levels {
		text += fmt.Sprintf(`<g id="l%d">%s</g>`, i+1, strings.Repeat(fmt.Sprintf(`<use href="#l%d"/>`, i), 10))
	}
	return text
}

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
	_, err := Check([]byte(strings.Replace(wrap("\n<script/>\n<rect onload=''/>\n"), `version="1.2"`, "", 1)))
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
