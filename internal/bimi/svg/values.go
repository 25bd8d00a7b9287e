package svg

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// values says which values an attribute may have: one of a list as "a|b|c", or one of the words below.
type values string

const (
	drawing  values = "=drawing"  // anything that refers to nothing outside
	free     values = "=free"     // anything; no renderer interprets it
	aName    values = "=name"     // an NCName of XML
	nmTokens values = "=tokens"   // NMTOKENS of XML
	language values = "=language" // a language tag, or nothing
	ratio    values = "=ratio"
	length   values = "=length" // an absolute length
	square   values = "=square" // a viewBox
	local    values = "=local"  // "#id"
)

// check returns "" if the attribute may have the value, otherwise what to change.
func (v values) check(value string) string {
	switch v {
	case free:
		return ""
	case drawing:
		return outside(value)
	case aName:
		return unless(isNCName(strings.Trim(value, space)), "begin it with a letter, and use only letters, digits, \"-\", \"_\" and \".\"")
	case nmTokens:
		return unless(areTokens(value), "use only letters, digits, \"-\", \"_\", \".\" and \":\", or remove the attribute")
	case language:
		return unless(languageTag.MatchString(strings.Trim(value, space)), `write a language tag such as "en"`)
	case ratio:
		return unless(aspectRatio.MatchString(value), `write "xMidYMid meet", or remove the attribute`)
	case length:
		return unless(isLength(value), "write a number of pixels, or remove the attribute")
	case square:
		return unless(isSquare(value), `write the bounds of a square, such as "0 0 100 100"`)
	case local:
		return unless(strings.HasPrefix(value, "#") && isNCName(value[1:]), `write "#" and the id of an element of this picture`)
	}
	allowed := strings.Split(string(v), "|")
	collapsed := strings.Join(strings.FieldsFunc(value, isSpace), " ")
	return unless(slices.Contains(allowed, collapsed), "write "+strings.Join(allowed, ", "))
}

func unless(ok bool, change string) string {
	if ok {
		return ""
	}
	return change
}

func isSpace(r rune) bool { return strings.ContainsRune(space, r) }

var (
	languageTag = regexp.MustCompile(`^(?:[a-zA-Z]{1,8}(?:-[a-zA-Z0-9]{1,8})*)?$`)
	aspectRatio = regexp.MustCompile(`^[ \t\r\n]*(?:none|xMidYMid)[ \t\r\n]*(?:meet)?[ \t\r\n]*$`)
)

// functions are those that a value of an attribute may call. "ref" is a transform of SVG Tiny 1.2.
var functions = words("hsl hsla matrix ref rgb rgba rotate scale skewx skewy translate")

func words(s string) []string { return strings.Fields(s) }

// outside returns "" if a value of a presentation attribute refers to nothing outside the picture,
// otherwise what to change. CSS knows several ways to write a function (CSS Syntax 3 §4.3.4), so this
// allows few of them: no escapes, and only functions of a list.
func outside(value string) string {
	if strings.Contains(value, `\`) {
		return "write it without a backslash"
	}
	for rest := value; ; {
		before, after, found := strings.Cut(rest, "(")
		if !found {
			return ""
		}
		rest = after
		name := strings.ToLower(before[strings.LastIndexFunc(before, func(r rune) bool { return !isOfName(r) })+1:])
		switch {
		case name == "url":
			if !isLocalURL(after) {
				return "url(…) may refer only to an element of this picture: write url(#id)"
			}
		case name != "" && !slices.Contains(functions, name):
			return "the function " + named(name) + "() is not allowed: write a plain value"
		}
	}
}

// isOfName reports whether a character may be in the name of a function of CSS.
func isOfName(r rune) bool {
	return r == '-' || r == '_' || r >= 0x80 || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// isLocalURL reports whether what follows "url(" is "#id)", where quotes may be around "#id".
func isLocalURL(s string) bool {
	target, _, found := strings.Cut(s, ")")
	target = strings.Trim(target, space)
	if len(target) > 1 && (target[0] == '"' || target[0] == '\'') && target[len(target)-1] == target[0] {
		target = target[1 : len(target)-1]
	}
	id, ok := strings.CutPrefix(target, "#")
	return found && ok && isNCName(id)
}

// nameLetters has the letters of names: those that XML 1.0 counts as letters in both its fourth and its
// fifth edition, for the scripts that are common in names of layers.
var nameLetters = &unicode.RangeTable{
	R16: []unicode.Range16{
		{'A', 'Z', 1}, {'a', 'z', 1}, {0xc0, 0xd6, 1}, {0xd8, 0xf6, 1}, {0xf8, 0x131, 1}, {0x134, 0x13e, 1}, {0x141, 0x148, 1},
		{0x14a, 0x17e, 1}, {0x391, 0x3a1, 1}, {0x3a3, 0x3ce, 1}, {0x401, 0x40c, 1}, {0x40e, 0x44f, 1}, {0x451, 0x45c, 1}, {0x45e, 0x481, 1},
		{0x5d0, 0x5ea, 1}, {0x621, 0x63a, 1}, {0x641, 0x64a, 1}, {0xe01, 0xe2e, 1}, {0x3007, 0x3007, 1}, {0x3041, 0x3094, 1},
		{0x30a1, 0x30fa, 1}, {0x4e00, 0x9fa5, 1}, {0xac00, 0xd7a3, 1},
	},
	LatinOffset: 4,
}

// isNCName reports whether s is a name without a colon (Namespaces in XML §3).
func isNCName(s string) bool {
	for i, r := range s {
		switch {
		case r == '_' || unicode.Is(nameLetters, r):
		case i > 0 && (r == '-' || r == '.' || '0' <= r && r <= '9' || r == 0xb7 || r == 0x3005 || r == 0x30fc):
		default:
			return false
		}
	}
	return s != ""
}

// areTokens reports whether s is a list of at least one NMTOKEN (XML 1.0 §2.3).
func areTokens(s string) bool {
	tokens := strings.FieldsFunc(s, isSpace)
	for _, token := range tokens {
		if !isNCName("_" + strings.ReplaceAll(token, ":", "")) {
			return false
		}
	}
	return len(tokens) > 0
}
