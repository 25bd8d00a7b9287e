package svg

import (
	"encoding/xml"
	"strconv"
	"strings"
)

// attributes looks at the attributes of an element that is allowed.
func (c *checker) attributes(t xml.StartElement, rule *element, f *frame) {
	seen := map[xml.Name]bool{}
	for _, a := range t.Attr {
		if seen[a.Name] {
			c.problem("the attribute %s of %s is there twice: remove one", named(a.Name.Local), f.name)
			continue
		}
		seen[a.Name] = true
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			c.declares(a)
			continue
		}
		c.attribute(a, rule, f)
	}
	if seen[xml.Name{Local: "id"}] && seen[xml.Name{Space: xmlSpace, Local: "id"}] {
		c.problem("%s has both id and xml:id: remove xml:id", f.name)
	}
	if f.name == "svg" {
		c.root(seen)
	}
}

// declares looks at the declaration of a namespace. "xml" and "xmlns" are fixed (Namespaces in XML §3).
func (c *checker) declares(a xml.Attr) {
	prefix := a.Name.Local
	if a.Name.Space == "" {
		prefix = "" // the default namespace
	}
	if prefix == "xml" || prefix == "xmlns" || a.Value == xmlSpace || a.Value == xmlnsSpace || prefix != "" && a.Value == "" {
		c.problem("the declaration of the namespace %s is not allowed: remove it", named(a.Name.Local))
	}
}

// attribute looks at one attribute.
func (c *checker) attribute(a xml.Attr, rule *element, f *frame) {
	name := a.Name.Local
	switch a.Name.Space {
	case "":
	case xmlSpace:
		name = "xml:" + name
	case xlinkSpace:
		name = "xlink:" + name
	default: // also a prefix that is not declared
		c.problem("the attribute %s of %s is of another namespace: remove it", named(name), f.name)
		return
	}
	values, ok := rule.attribute(name)
	if !ok {
		c.problem("the attribute %s of %s is not allowed: %s", named(name), f.name, instead(attributeHints, name))
		return
	}
	if change := values.check(a.Value); change != "" {
		c.problem("the attribute %s of %s is %q, which is not allowed: %s", name, f.name, named(a.Value), change)
	}
	switch name {
	case "id", "xml:id":
		c.tree.name(f.node, strings.Trim(a.Value, space))
	case "href":
		c.tree.use(f.node, strings.TrimPrefix(a.Value, "#"), c.line)
	}
}

// root looks at what the attributes of the root must be together.
func (c *checker) root(seen map[xml.Name]bool) {
	for _, a := range []struct{ name, value string }{{"version", "1.2"}, {"baseProfile", "tiny-ps"}} {
		if !seen[xml.Name{Local: a.name}] {
			c.problem("svg has no attribute %s: write %s=%q", a.name, a.name, a.value)
		}
	}
	if !seen[xml.Name{Local: "viewBox"}] {
		c.problem(`svg has no attribute viewBox: write the bounds of the picture, such as viewBox="0 0 100 100"`)
	}
}

// isSquare reports whether the value of viewBox is of a square: four numbers, of which the last two are
// equal and more than 0.
func isSquare(value string) bool {
	parts := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || strings.ContainsRune(space, r) })
	if len(parts) != 4 || strings.Count(value, ",") > 3 {
		return false
	}
	var n [4]float64
	for i, part := range parts {
		if !isNumber(part) {
			return false
		}
		f, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return false
		}
		n[i] = f
	}
	return n[2] > 0 && n[2] == n[3]
}

// isNumber reports whether s is a number of SVG. strconv would also take "Inf" and "0x1p4".
func isNumber(s string) bool {
	return strings.Trim(s, "0123456789+-.eE") == "" && strings.ContainsAny(s, "0123456789")
}

// isLength reports whether s is a length that does not depend on what is around the picture.
func isLength(s string) bool {
	for _, unit := range []string{"px", "pt", "pc", "cm", "mm", "in"} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			s = number
			break
		}
	}
	if !isNumber(s) {
		return false
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && f > 0
}
