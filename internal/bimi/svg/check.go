package svg

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"sekimori/internal/printable"
)

const (
	svgSpace   = "http://www.w3.org/2000/svg"
	xlinkSpace = "http://www.w3.org/1999/xlink"
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
	space      = " \t\r\n" // the white space of XML
)

// declaration matches an XML declaration without its end, for UTF-8 (XML 1.0 §2.8).
var declaration = regexp.MustCompile(`^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.0"|'1\.0')` +
	`(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:"(?i:utf-8)"|'(?i:utf-8)'))?` +
	`(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:"(?:yes|no)"|'(?:yes|no)'))?[ \t\r\n]*$`)

const badDeclaration = `the XML declaration is not allowed: write <?xml version="1.0" encoding="UTF-8"?>`

// checker walks over the tokens of one document.
type checker struct {
	doc      []byte // without a byte order mark
	dec      *xml.Decoder
	line     int     // where the current token begins
	open     []frame // the elements around the current token, the root first
	rooted   bool    // the root has begun
	titled   bool    // a title has begun
	title    strings.Builder
	tree     tree // for what "use" repeats
	problems []Problem
}

// frame is an element whose end has not come yet.
type frame struct {
	name string
	rule *element // nil if the element is not allowed; what is in it is passed over
	node int      // its place in checker.tree
}

func newChecker(doc []byte) *checker {
	doc = bytes.TrimPrefix(doc, []byte(byteOrderMark))
	return &checker{doc: doc, dec: xml.NewDecoder(bytes.NewReader(doc)), line: 1}
}

func (c *checker) problem(format string, args ...any) { c.problemAt(c.line, format, args...) }

func (c *checker) problemAt(line int, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, Problem{Line: line, Text: fmt.Sprintf(format, args...)})
	}
}

// run looks at every token. It stops at what is not XML, and when there are enough problems.
func (c *checker) run() {
	if text := plainText(c.doc); text != "" {
		c.problemAt(0, "%s", text)
		return
	}
	if !declared(c.doc) { // encoding/xml would stop there with another error
		c.problem(badDeclaration)
		return
	}
	for tokens := 0; len(c.problems) < maxProblems; tokens++ {
		start := c.dec.InputOffset()
		c.line, _ = c.dec.InputPos()
		token, err := c.dec.Token()
		if errors.Is(err, io.EOF) {
			c.whole()
			return
		}
		if err != nil {
			c.malformed(err)
			return
		}
		if tokens == maxTokens {
			c.problemAt(0, "the picture has more than %d tags and texts: simplify it", maxTokens)
			return
		}
		if !c.token(token, c.doc[start:c.dec.InputOffset()], start == 0) {
			return
		}
	}
}

// declared reports whether a document has no XML declaration, or one for UTF-8.
func declared(doc []byte) bool {
	if !bytes.HasPrefix(doc, []byte("<?xml")) || len(doc) < 6 || !strings.ContainsRune(space, rune(doc[5])) {
		return true
	}
	head, _, _ := bytes.Cut(doc, []byte("?>"))
	return declaration.Match(head)
}

// malformed tells an error of encoding/xml.
func (c *checker) malformed(err error) {
	text := err.Error()
	var syntax *xml.SyntaxError
	if errors.As(err, &syntax) {
		c.line, text = syntax.Line, syntax.Msg
	}
	c.problem("this is not well-formed XML (%s): save the picture again, or check it with xmllint", printable.Marked(text, 2*maxNamed))
}

// token looks at one token. raw is its text. It returns false if it makes no sense to go on.
func (c *checker) token(token xml.Token, raw []byte, first bool) bool {
	switch t := token.(type) {
	case xml.StartElement:
		if len(c.open) == maxDepth {
			c.problem("more than %d elements are within each other: use fewer groups", maxDepth)
			return false
		}
		c.start(t, raw)
	case xml.EndElement:
		c.open = c.open[:len(c.open)-1]
	case xml.CharData:
		c.text(t, raw)
	case xml.Comment:
		if bytes.HasPrefix(t, []byte(">")) || bytes.HasPrefix(t, []byte("->")) {
			c.problem("a comment begins with \">\", where HTML parsers would end it: remove the comment")
		}
	case xml.ProcInst:
		switch {
		case !first || t.Target != "xml":
			c.problem("the processing instruction <?%s …?> is not allowed: remove it", named(t.Target))
		case !declaration.Match(bytes.TrimSuffix(raw, []byte("?>"))): // encoding/xml takes <?xml<version
			c.problem(badDeclaration)
		}
	case xml.Directive:
		c.problem("a DOCTYPE is not allowed, because it can define entities: remove everything from <!DOCTYPE to its >")
	}
	return true
}

// text looks at characters between tags.
func (c *checker) text(text, raw []byte) {
	if bytes.HasPrefix(raw, []byte("<![CDATA[")) {
		c.problem("CDATA is not allowed: write the text without <![CDATA[ and ]]>, and with &lt; and &amp;")
		return
	}
	c.references(raw)
	if len(c.open) == 0 {
		if len(bytes.Trim(raw, space)) > 0 {
			c.problem("there is text outside of the element svg: remove it")
		}
		return
	}
	in := &c.open[len(c.open)-1]
	switch {
	case in.rule == nil: // the element was refused
	case in.rule.text:
		if in.name == "title" {
			c.title.Write(text)
		}
	case len(bytes.Trim(text, space)) > 0:
		c.problem("there is text in the element %s, which may have none: remove it", in.name)
	}
}

// references looks at the character references of a text or tag. encoding/xml takes those of surrogates
// for U+FFFD.
func (c *checker) references(raw []byte) {
	for {
		_, after, found := bytes.Cut(raw, []byte("&#"))
		if !found {
			return
		}
		raw = after
		digits, _, _ := bytes.Cut(after, []byte(";"))
		number, base := string(digits), 10
		if hex, ok := strings.CutPrefix(number, "x"); ok {
			number, base = hex, 16
		}
		n, _ := strconv.ParseUint(number, base, 64) // encoding/xml has read it as a number
		if !utf8.ValidRune(rune(min(n, utf8.MaxRune+1))) {
			c.problem("the reference &#%s; is of no character: remove it", named(string(digits)))
		}
	}
}

// start looks at a start tag. The first element of svg must be its title, and there is no other.
func (c *checker) start(t xml.StartElement, raw []byte) {
	f := frame{name: t.Name.Local}
	defer func() { c.open = append(c.open, f) }()
	c.references(raw)
	if !spaced(raw) {
		c.problem("there is no space between two attributes of <%s>: put one there", named(f.name))
	}
	var around *frame
	if len(c.open) > 0 {
		around = &c.open[len(c.open)-1]
	}
	rule := elements[f.name]
	switch {
	case around == nil && c.rooted:
		c.problem("there is a second element after svg: remove it")
		return
	case around == nil && (t.Name.Space != svgSpace || f.name != "svg"):
		c.rooted = true
		c.problem(`the picture must begin with <svg xmlns=%q …>, and begins with <%s>`, svgSpace, named(f.name))
		return
	case around != nil && around.rule == nil:
		return // within an element that was refused
	case t.Name.Space != svgSpace || rule == nil:
		c.problem("the element %s is not allowed: %s", named(f.name), instead(elementHints, f.name))
		return
	case around != nil && !c.mayBeIn(f.name, around):
		return
	}
	c.rooted = true
	f.rule = rule
	f.node = c.tree.add(around)
	c.attributes(t, rule, &f)
}

// mayBeIn reports whether an element may stand in another. If not, it says why.
func (c *checker) mayBeIn(name string, around *frame) bool {
	root := len(c.open) == 1
	if root && name == "title" {
		if c.titled {
			c.problem("svg has a second title: remove it")
			return false
		}
		c.titled = true
		if len(c.tree.nodes) > 1 {
			c.problem("the title must be the first element in svg: move it there")
		}
		return true
	}
	if around.rule.holds(name) {
		return true
	}
	switch {
	case len(around.rule.children) == 0:
		c.problem("the element %s may have no elements in it: move %s out of it", around.name, name)
	default:
		c.problem("the element %s is not allowed in %s: move or remove it", name, around.name)
	}
	return false
}

// whole looks at what is known only at the end.
func (c *checker) whole() {
	if !c.rooted {
		c.problemAt(0, "there is no picture in the file: it must have the element svg")
		return
	}
	if len(c.tree.nodes) == 0 { // the root is another element
		return
	}
	switch title := strings.Trim(c.title.String(), space); {
	case !c.titled:
		c.problemAt(0, "there is no title: put <title>the brand's name</title> first in svg")
	case title == "":
		c.problemAt(0, "the title is empty: write the brand's name in it")
	case utf8.RuneCountInString(title) > maxTitle:
		c.problemAt(0, "the title has %d characters, and may have %d: shorten it", utf8.RuneCountInString(title), maxTitle)
	}
	c.tree.check(c)
}

// spaced reports whether there is white space before each attribute of a tag except behind the name,
// where encoding/xml has looked. XML 1.0 §3.1 asks for it; encoding/xml does not.
func spaced(tag []byte) bool {
	quote := byte(0)
	for i, b := range tag {
		switch {
		case quote == 0 && (b == '"' || b == '\''):
			quote = b
		case b == quote:
			quote = 0
			if i+1 < len(tag) && !bytes.ContainsRune([]byte(space+"/>"), rune(tag[i+1])) {
				return false
			}
		}
	}
	return true
}

// named makes a name of a stranger safe to print.
func named(s string) string { return printable.Marked(s, maxNamed) }
