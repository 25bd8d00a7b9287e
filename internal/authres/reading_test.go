package authres

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// This file has a second reader of a field, simple and slow. It takes one part after the other from the
// beginning of the value by regular expressions. It only reads what Parse accepts.

const (
	aFold    = `\r\n[ \t]`
	aPair    = `\\[^\x00-\x08\x0a-\x1f\x7f]`
	aQuoted  = `"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|` + aPair + `|` + aFold + `)*"`
	aKeyword = `([A-Za-z0-9-]*[A-Za-z0-9])`
)

var aID, aResult, aReason, aProperty, aComment = func() (id, result, reason, property, comments *regexp.Regexp) {
	comment := `\(\)`
	for range 4 {
		comment = `\((?:[^()\\\x00-\x08\x0a-\x1f\x7f]|` + aPair + `|` + aFold + `|` + comment + `)*\)`
	}
	cfws := `(?:[ \t]|` + aFold + `|` + comment + `)*`
	return regexp.MustCompile(`^` + cfws + `(` + aQuoted + `|[^\s;("]+)` + cfws + `(?:0*1` + cfws + `)?`),
		regexp.MustCompile(`^;` + cfws + aKeyword + cfws + `(?:/` + cfws + `(?:0*1` + cfws + `)?)?=` + cfws + aKeyword + `(` + cfws + `)`),
		regexp.MustCompile(`^(?i:reason)` + cfws + `=` + cfws + `(` + aQuoted + `|[^\s;("]+)` + cfws),
		regexp.MustCompile(`^` + aKeyword + cfws + `(?:\.` + cfws + aKeyword + cfws + `)?=` + cfws + `(` + aQuoted + `(?:@[^\s;("]+)?|[^\s;("]+)` + cfws), regexp.MustCompile(comment)
}()

var aEscape = regexp.MustCompile(`(?s)\\(.)`)

// aText returns the text of a comment or a quoted-string without folds and backslashes.
func aText(s string) string { return aEscape.ReplaceAllString(strings.ReplaceAll(s, "\r\n", ""), "$1") }

// aPlain returns a value without its quotes. An address with a quoted local part keeps them.
func aPlain(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	end := strings.LastIndex(s, `"`)
	text := aText(s[1:end])
	if s[end+1:] == "" {
		return text
	}
	return quote(text) + s[end+1:]
}

// readSlowly returns what the field says, as shown does.
func readSlowly(value string) string {
	m := aID.FindStringSubmatch(value)
	if m == nil {
		return "no id"
	}
	out, rest := fmt.Sprintf("%q", aPlain(m[1])), value[len(m[0]):]
	for {
		m := aResult.FindStringSubmatch(rest)
		if m == nil {
			break
		}
		out, rest = out+fmt.Sprintf("; %s=%s", m[1], m[2]), rest[len(m[0]):]
		if c := aComment.FindString(m[3]); c != "" && c != "()" {
			out += fmt.Sprintf(" (%q)", aText(c[1:len(c)-1]))
		}
		for fresh := true; ; {
			if m := aReason.FindStringSubmatch(rest); m != nil && fresh {
				out += fmt.Sprintf(" reason=%q", aPlain(m[1]))
				rest, fresh = rest[len(m[0]):], false
				continue
			}
			m := aProperty.FindStringSubmatch(rest)
			if m == nil {
				break
			}
			if m[2] != "" {
				out, fresh = out+fmt.Sprintf(" %s.%s=%q", m[1], m[2], aPlain(m[3])), false
			}
			rest = rest[len(m[0]):]
		}
	}
	return out
}

func shown(f Field) string {
	out := fmt.Sprintf("%q", f.AuthServID)
	for _, r := range f.Results {
		out += fmt.Sprintf("; %s=%s", r.Method, r.Value)
		if r.Comment != "" {
			out += fmt.Sprintf(" (%q)", r.Comment)
		}
		if r.Reason != "" {
			out += fmt.Sprintf(" reason=%q", r.Reason)
		}
		for _, p := range r.Properties {
			out += fmt.Sprintf(" %s.%s=%q", p.Type, p.Name, p.Value)
		}
	}
	return out
}

// checkReading compares what Parse reads with what readSlowly reads. An empty reason is left out: Parse
// cannot tell it from none.
func checkReading(t *testing.T, value string, f Field) {
	t.Helper()
	if strings.Count(value, "(") > 4 || len(value) > 2<<10 || strings.Contains(value, `""`) {
		return
	}
	if got, want := shown(f), readSlowly(value); got != want {
		t.Errorf("Parse(%q) reads\n%s, the slow reader\n%s", value, got, want)
	}
}
