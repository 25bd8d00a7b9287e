package authres

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

// These patterns match lines of the doctest. docParse matches a statement that parses a field.
// docAsk matches a statement that asks for a part of the field; the line after it has the expected
// value. docPart matches the name of that part. docPrinted matches a line that shows a field as
// Python prints it.
var (
	docParse   = regexp.MustCompile(`(\w*arobj) = [\w.]+\.parse\('(.*)'\)$`)
	docAsk     = regexp.MustCompile(`^>>> str\(\w*arobj\.([\w.\[\]]+)\)$`)
	docPart    = regexp.MustCompile(`^results\[(\d)\](?:\.properties\[(\d)\])?(?:\.(\w+))?$`)
	docPrinted = regexp.MustCompile(`^['"](Authentication-Results: .*)['"]$`)
)

// TestConformanceAuthres runs the doctest of Python's authres. The doctest has the examples of RFC
// 5451, RFC 7601 and RFC 8601, and of methods that were registered later. The doctest states each
// part of these fields. It also has values that are not valid fields.
func TestConformanceAuthres(t *testing.T) {
	raw := suites.Read(t, "authres/authres-doctest.txt")
	passed, total := 0, 0
	check := func(at int, ok bool, format string, args ...any) {
		total++
		if ok {
			passed++
			return
		}
		t.Errorf("line %d: "+format, append([]any{at}, args...)...)
	}
	var field Field
	var parseErr error
	lines := strings.Split(string(raw), "\n")
	for i, line := range lines {
		if m := docParse.FindStringSubmatch(line); m != nil {
			_, value, _ := strings.Cut(m[2], ":")
			field, parseErr = Parse(value)
			// If the doctest expects an error for this field, one of the next lines says so.
			bad := strings.Contains(strings.Join(lines[i+1:min(i+4, len(lines))], "\n"), "Syntax error:")
			check(i+1, bad == (parseErr != nil), "%s: %v", value, parseErr)
		} else if m := docAsk.FindStringSubmatch(line); m != nil && parseErr == nil && i+1 < len(lines) {
			want := strings.Trim(lines[i+1], "'")
			got := docValue(field, m[1])
			// The doctest prints keywords in lower case, and Parse keeps their case. Case has no
			// meaning in a keyword (RFC 5321 §2.4).
			keywords := !strings.HasSuffix(m[1], "value") && !strings.Contains(m[1], "_")
			check(i+1, got == want || keywords && strings.EqualFold(got, want), "%s = %q, want %q", m[1], got, want)
		} else if m := docPrinted.FindStringSubmatch(line); m != nil {
			_, value, _ := strings.Cut(m[1], ":")
			f, err := Parse(value)
			again, againErr := Parse(f.Format())
			check(i+1, err == nil && againErr == nil && reflect.DeepEqual(f, again), "%s: %v; printed and read again: %+v, %v", value, err, again, againErr)
		}
	}
	suites.Log(t, "authres/doctest in process", passed, total, "")
	if total < 180 {
		t.Errorf("%d statements found: the doctest has changed", total)
	}
}

// docValue returns the part of f for which the doctest asks, as Python prints it.
func docValue(f Field, expr string) string {
	if expr == "authserv_id" {
		return f.AuthServID
	}
	m := docPart.FindStringSubmatch(expr)
	if m == nil {
		return "?" + expr
	}
	at, _ := strconv.Atoi(m[1])
	if at >= len(f.Results) {
		return "no such result"
	}
	r := f.Results[at]
	if m[2] != "" {
		at, _ = strconv.Atoi(m[2])
		if at >= len(r.Properties) {
			return "no such property"
		}
		p := r.Properties[at]
		return map[string]string{"type": string(p.Type), "name": p.Name, "value": p.Value}[m[3]]
	}
	switch m[3] {
	case "":
		return docResult(r)
	case "method":
		return r.Method
	case "result":
		return r.Value
	case "reason":
		return orNone(r.Reason)
	}
	ptype, name, _ := strings.Cut(m[3], "_")
	for _, p := range r.Properties {
		if string(p.Type) == ptype && p.Name == name {
			return p.Value
		}
	}
	return "None"
}

func orNone(s string) string {
	if s == "" {
		return "None"
	}
	return s
}

// docResult returns a result without its comment, as Python prints it.
func docResult(r Result) string {
	r.Comment = ""
	value := Field{AuthServID: "x", Results: []Result{r}}.Format()
	_, value, _ = strings.Cut(value, ";")
	return strings.Join(strings.Fields(value), " ")
}
