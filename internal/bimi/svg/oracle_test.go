package svg

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

// stricter has, of each rule that is stricter than the schema (see the package's comment), a part of what
// is said when it refuses a picture.
var stricter = []string{
	"not UTF-8", "which XML does not allow", "more than 64 elements", "octets, and may have",
	"DOCTYPE", "CDATA", "processing instruction", "XML declaration is not allowed", "where HTML parsers",
	"the title is empty", "characters, and may have", "no attribute viewBox", "bounds of a square", "number of pixels",
	"xml:base", "requiredFonts", `write "#" and the id`, "url(#id)", "without a backslash", "() is not allowed",
	"refers", "repeats elements", "declaration of the namespace", "begin it with a letter", `use only letters, digits`, "language tag",
}

// oracle asks xmllint which of the pictures are valid by the schema of the profile.
func oracle(t *testing.T, pictures []string) []bool {
	t.Helper()
	schema := suites.Path(t, "bimi/svg/svg-tiny-ps.rng")
	if _, err := exec.LookPath("xmllint"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("xmllint is missing: apt-get install libxml2-utils")
		}
		t.Skip("xmllint is not installed (libxml2-utils): the cases of this package prove the same rules")
	}
	dir := t.TempDir()
	valid := make([]bool, len(pictures))
	for i := range slices.Collect(slices.Chunk(make([]int, len(pictures)), 500)) {
		begin := i * 500
		end := min(begin+500, len(pictures))
		args := []string{"--noout", "--nonet", "--relaxng", schema}
		for n := begin; n < end; n++ {
			name := filepath.Join(dir, fmt.Sprintf("%d.svg", n))
			if err := os.WriteFile(name, []byte(pictures[n]), 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, name)
		}
		out, _ := exec.CommandContext(t.Context(), "xmllint", args...).CombinedOutput() // its status is that of the worst
		said := map[string]bool{}
		for line := range strings.Lines(string(out)) {
			if name, ok := strings.CutSuffix(strings.TrimSpace(line), " validates"); ok {
				said[filepath.Base(name)] = true
			}
		}
		for n := begin; n < end; n++ {
			valid[n] = said[fmt.Sprintf("%d.svg", n)]
		}
	}
	return valid
}

// compare checks that nothing is accepted that the schema refuses, and that what it accepts is refused
// only for a rule that is documented. It returns how many both accept.
func compare(t *testing.T, pictures []string) (both int) {
	t.Helper()
	for i, valid := range oracle(t, pictures) {
		_, err := Check([]byte(pictures[i]))
		switch {
		case err == nil && !valid:
			t.Errorf("accepted, and the schema refuses it: %s", pictures[i])
		case err == nil:
			both++
		case valid && !slices.ContainsFunc(stricter, func(s string) bool { return strings.Contains(told(err), s) }):
			t.Errorf("refused (%v), and the schema accepts it: %s", told(err), pictures[i])
		}
	}
	return both
}

// TestOracleOnCases compares the pictures of the other tests, and those of the shared data.
func TestOracleOnCases(t *testing.T) {
	var pictures []string
	for _, c := range good {
		pictures = append(pictures, c.svg)
	}
	for _, c := range bad {
		pictures = append(pictures, c.svg)
	}
	for name, picture := range suites.BIMI(t, "svg") {
		if strings.HasSuffix(name, ".svg") {
			pictures = append(pictures, string(picture))
		}
	}
	both := compare(t, pictures)
	t.Logf("%d pictures, both accept %d", len(pictures), both)
	if both < len(good) {
		t.Errorf("both accept %d of %d pictures", both, len(pictures))
	}
}

// others are elements and attributes that other profiles of SVG, or other languages, have.
var (
	otherElements = words("font glyph hkern font-face missing-glyph a image script style svg symbol tspan tbreak switch animate set video audio " +
		"handler foreignObject prefetch discard listener clipPath mask pattern filter marker cursor view Path x")
	otherAttributes = words("style onload onclick opacity clip-path mask filter marker-start overflow cursor pointer-events visibility display " +
		"xlink:href xlink:title xlink:type href src begin dur attributeName target type focusHighlight nav-next transform x y width height " +
		"viewBox version baseProfile lang unicode d r editable offset requiredFeatures requiredExtensions requiredFormats xml:base requiredFonts aria-label data-name Fill")
)

func allAttributes() []string {
	names := slices.Clone(otherAttributes)
	for _, e := range elements {
		for _, set := range e.sets {
			for name := range set {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// placedIn returns a picture with an element where it may stand, with attributes and content.
func placedIn(name, attributes, content string) string {
	element := fmt.Sprintf("<%s %s>%s</%s>", name, attributes, content, name)
	switch name {
	case "svg":
		have := attributes
		for _, a := range []string{`version="1.2"`, `baseProfile="tiny-ps"`, `viewBox="0 0 1 1"`} {
			if key, _, _ := strings.Cut(a, "="); !strings.HasPrefix(have, key+"=") {
				attributes += " " + a
			}
		}
		return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` + attributes + `><title>S</title>` + content + `</svg>`
	case "title":
		return head + fmt.Sprintf("<title %s>S%s</title></svg>", attributes, content)
	case "stop":
		return wrap("<linearGradient>" + element + "</linearGradient>")
	}
	return wrap(element)
}

// sample returns values for an attribute: such as it may have, and such as it may not.
func sample(name string) []string {
	list := []string{"1", "inherit", "none", "#a", ""}
	for _, e := range elements {
		if v, ok := e.attribute(name); ok && !strings.HasPrefix(string(v), "=") {
			list = append(list, strings.Split(string(v), "|")...)
		}
	}
	switch name {
	case "id", "xml:id":
		list = append(list, "a", " b ", "a b", "a:b", "-a", "é", "日本", "レイヤー", "a\u0301", "ⅷ", "𠮷", "a.b-c_d", "Ѐ", "ſ", "ĳ")
	case "class":
		list = append(list, "a b", ":a", "a,b", "-", ".", "日 本", "a\u00b7", "\u0301")
	case "xml:lang":
		list = append(list, "ja", "x-klingon", "en-", "toolonglanguage", "de_DE", " en ", "1a")
	case "preserveAspectRatio":
		list = append(list, "xMidYMid", "nonemeet", " xMidYMid meet ", "xMidYMid slice", "xMidYMid&#10;meet", "meet")
	case "viewBox":
		list = append(list, "0 0 1 1", "0 0 1 2", "a b c d")
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestOracleOnAttributes compares every element with every attribute: all of them if CI=true, otherwise an
// eighth, because xmllint takes a millisecond for each.
func TestOracleOnAttributes(t *testing.T) {
	var pictures []string
	for name := range elements {
		for _, attribute := range allAttributes() {
			for _, value := range sample(attribute) {
				pictures = append(pictures, placedIn(name, fmt.Sprintf("%s=%q", attribute, value), ""))
			}
		}
	}
	slices.Sort(pictures)
	if os.Getenv("CI") != "true" {
		pictures = slices.DeleteFunc(pictures, func(p string) bool { return crc32.ChecksumIEEE([]byte(p))%8 > 0 })
	}
	both := compare(t, pictures)
	t.Logf("%d pictures, both accept %d", len(pictures), both)
	if both < len(pictures)/10 {
		t.Errorf("both accept only %d of %d pictures", both, len(pictures))
	}
}

// TestOracleOnElements compares every element within every element, with and without text.
func TestOracleOnElements(t *testing.T) {
	names := slices.Clone(otherElements)
	for name := range elements {
		names = append(names, name)
	}
	slices.Sort(names)
	var pictures []string
	for _, outer := range names {
		for _, text := range []string{"x", " \n", "\u00a0", "&#32;", "<!-- -->"} {
			pictures = append(pictures, placedIn(outer, "", text))
		}
		for _, inner := range names {
			pictures = append(pictures, placedIn(outer, "", "<"+inner+"/>"))
		}
	}
	both := compare(t, pictures)
	t.Logf("%d pictures, both accept %d", len(pictures), both)
	if both < 100 {
		t.Errorf("both accept only %d of %d pictures", both, len(pictures))
	}
}

// TestOracleOnRandomPictures compares pictures that are made at random from the lists, and such with one or
// a few octets or parts changed.
func TestOracleOnRandomPictures(t *testing.T) {
	seed := [2]uint64{20261129, 16}
	r := rand.New(rand.NewPCG(seed[0], seed[1]))
	count := 300
	if os.Getenv("CI") == "true" {
		count = 3000
	}
	var pictures []string
	for range count {
		g := maker{r: r}
		picture := g.picture()
		pictures = append(pictures, picture, mutated(r, picture), mutated(r, mutated(r, picture)))
	}
	both := compare(t, pictures)
	t.Logf("seed %v: %d pictures, both accept %d", seed, len(pictures), both)
	if both < count*8/10 {
		t.Errorf("both accept only %d of %d pictures", both, len(pictures))
	}
}

// maker writes pictures that are in the profile.
type maker struct {
	r *rand.Rand
	b strings.Builder
	n int // ids so far
}

func (g *maker) pick(list []string) string { return list[g.r.IntN(len(list))] }

func (g *maker) picture() string {
	g.b.WriteString(g.pick([]string{"", utf8Declared, utf8Declared + "\n", "<!-- c -->"}))
	g.b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps" viewBox="0 0 10 10"`)
	g.attributes(elements["svg"], "version", "baseProfile", "viewBox")
	g.b.WriteString("><title")
	g.attributes(elements["title"])
	g.b.WriteString(">Shop</title>")
	for range g.r.IntN(6) {
		g.element(elements["svg"], 1)
	}
	g.b.WriteString("</svg>")
	g.b.WriteString(g.pick([]string{"", "\n", "<!-- end -->"}))
	return g.b.String()
}

func (g *maker) element(in *element, depth int) {
	name := g.pick(in.children)
	e := elements[name]
	g.b.WriteString("<" + name)
	g.attributes(e)
	if g.r.IntN(3) == 0 {
		g.b.WriteString("/>")
		return
	}
	g.b.WriteString(">")
	if e.text {
		g.b.WriteString(g.pick([]string{"", "text", "a &amp; b", "日本", "a<!-- c -->b", "&#x41;"}))
	}
	for range g.r.IntN(4) {
		if len(e.children) > 0 && depth < 6 {
			g.element(e, depth+1)
		}
		g.b.WriteString(g.pick([]string{"", "\n", "<!-- c -->"}))
	}
	g.b.WriteString("</" + name + ">")
}

func (g *maker) attributes(e *element, not ...string) {
	seen := append(slices.Clone(not), "xml:id")
	for range g.r.IntN(5) {
		if len(e.sets) == 0 {
			return
		}
		set := e.sets[g.r.IntN(len(e.sets))]
		names := slices.Sorted(func(yield func(string) bool) {
			for name := range set {
				if !yield(name) {
					return
				}
			}
		})
		name := g.pick(names)
		if slices.Contains(seen, name) {
			continue
		}
		seen = append(seen, name)
		v, _ := e.attribute(name)
		fmt.Fprintf(&g.b, " %s=%q", name, g.value(v))
	}
}

func (g *maker) value(v values) string {
	switch v {
	case drawing:
		return g.pick([]string{"1", "#c00", "url(#a)", "rgb(1,2,3)", "M0 0L1 1z", "none", "inherit", "translate(1 2)", "50%"})
	case free:
		return g.pick([]string{"a", "https://x.example/", "f(x)", ""})
	case aName:
		g.n++
		return fmt.Sprintf("%s%d", g.pick([]string{"a", "_", "é", "日", "カ"}), g.n)
	case nmTokens:
		return g.pick([]string{"a", "a b", "1:2"})
	case language:
		return g.pick([]string{"", "ja", "en-GB"})
	case ratio:
		return g.pick([]string{"none", "xMidYMid meet"})
	case length:
		return g.pick([]string{"10", "10px", "3.5mm"})
	case local:
		return "#none" + g.pick([]string{"", "1"})
	}
	return g.pick(strings.Split(string(v), "|"))
}

// mutated returns a picture with a change.
func mutated(r *rand.Rand, s string) string {
	at := r.IntN(len(s))
	pieces := []string{
		"<g>", "</g>", "<rect/>", "<script/>", "x", "&", "&amp;", "&#9;", "\"", "'", "<", ">", "/", "<!--", "-->", "<![CDATA[x]]>", "<?x?>",
		" fill=\"#c00\"", " onload=\"x\"", " id=\"a1\"", " xlink:href=\"#a\"", "\u00a0", "\n", "<title>t</title>", "<desc>d</desc>", "<use href=\"#a1\"/>",
		"xmlns:q=\"u\" ", "q:", "=", " ",
	}
	switch r.IntN(6) {
	case 0: // an octet goes
		return s[:at] + s[at+1:]
	case 1: // an octet changes
		return s[:at] + string(rune(' '+r.IntN(95))) + s[at+1:]
	case 2: // a piece is put between tags
		if i := strings.IndexByte(s[at:], '<'); i >= 0 {
			at += i
		}
		return s[:at] + pieces[r.IntN(len(pieces))] + s[at:]
	case 3: // a piece is put anywhere
		return s[:at] + pieces[r.IntN(len(pieces))] + s[at:]
	case 4: // a part is doubled
		end := min(len(s), at+r.IntN(40))
		return s[:end] + s[at:end] + s[end:]
	}
	// A name becomes another.
	names := append(slices.Clone(otherElements), otherAttributes...)
	begin := strings.LastIndexAny(s[:at], " <") + 1
	end := begin
	for end < len(s) && (s[end] == '-' || s[end] >= 'a' && s[end] <= 'z' || s[end] >= 'A' && s[end] <= 'Z') {
		end++
	}
	return s[:begin] + names[r.IntN(len(names))] + s[end:]
}
