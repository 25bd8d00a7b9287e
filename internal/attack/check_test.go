package attack

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sekimori/internal/authres"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/naive"
)

// verdict returns what the daemon did as one word, and the text of its SMTP reply. It checks that
// the reply is one line of printable ASCII without "%", and that it begins with an enhanced status
// code of the same class as the reply code.
func verdict(t *testing.T, res client.Result) (action, reply string) {
	t.Helper()
	if res.Action.Kind == client.Custom {
		if len(res.Action.Lines) != 1 {
			t.Errorf("a reply of %d lines: %q", len(res.Action.Lines), res.Action.Lines)
		}
		reply = strings.Join(res.Action.Lines, "\n")
		if !strings.HasPrefix(reply, fmt.Sprint(res.Action.Code/100)+".") || len(reply) > 400 ||
			strings.ContainsFunc(reply, func(r rune) bool { return r < ' ' || r > '~' || r == '%' }) {
			t.Errorf("reply %d %q", res.Action.Code, reply)
		}
		if res.Action.Code/100 == 4 {
			return "tempfail", reply
		}
		return "reject", reply
	}
	if !res.Action.Delivers() {
		t.Errorf("answer %v at %s", res.Action, res.Stage)
		return res.Action.String(), ""
	}
	for _, m := range res.Modifications {
		if m.Kind == client.Quarantine {
			return "quarantine", ""
		}
	}
	return "accept", ""
}

// checkEdits checks the daemon's edits. The daemon must put exactly one Authentication-Results
// field on top. It may also delete Authentication-Results fields, add one Received-SPF field and
// quarantine the message, but nothing else. checkEdits returns our field as parsed by package
// authres.
func checkEdits(t *testing.T, a attempt, res client.Result) authres.Field {
	t.Helper()
	inserted, received := 0, 0
	for _, m := range res.Modifications {
		switch {
		case m.Kind == client.Quarantine:
			if len(m.Value) > 100 || strings.ContainsFunc(m.Value, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("quarantine reason %q", m.Value)
			}
		case m.Kind == client.InsertHeader && m.Index == 0 && m.Name == authres.FieldName:
			inserted++
		case m.Kind == client.InsertHeader && m.Index == 0 && m.Name == authres.ReceivedSPFName:
			received++
			checkLines(t, strings.Split(strings.ReplaceAll(m.Value, "\n", "\r\n"), "\r\n"))
		case m.Kind == client.DeleteHeader && strings.EqualFold(m.Name, authres.FieldName):
		default:
			t.Errorf("edit %+v", m)
		}
	}
	if inserted != 1 || received > 1 {
		t.Fatalf("%d and %d fields of ours inserted", inserted, received)
	}
	sent, _ := client.Split(a.message())
	header := client.Apply(sent, res.Modifications)
	checkOthers(t, sent, header[1+received:])
	if header[0].Name != authres.FieldName {
		t.Fatalf("on top is %q", header[0])
	}
	return checkLabel(t, header[0].Value)
}

// checkOthers checks the header below our fields. Every field that was sent must still be there,
// except that Authentication-Results fields may be missing. readsAsOurs must return false for each
// Authentication-Results field that remains.
func checkOthers(t *testing.T, sent, rest []client.Field) {
	t.Helper()
	kept := 0
	for _, f := range sent {
		if kept < len(rest) && f == rest[kept] {
			kept++
		} else if !strings.EqualFold(f.Name, authres.FieldName) {
			t.Errorf("field %.80q is gone", f)
		}
	}
	if kept != len(rest) {
		t.Errorf("%d fields are not the sender's", len(rest)-kept)
	}
	for _, f := range rest {
		if strings.EqualFold(f.Name, authres.FieldName) && readsAsOurs(f.Value) {
			t.Errorf("a forged field stays: %.200q", f.Value)
		}
	}
}

// readsAsOurs reports whether a program with a simple parser would believe that our host wrote the
// field. It does not use our own parser: it drops comments, quotes, backslashes, control characters
// and all characters beyond ASCII, and compares the first word with our authserv-id.
func readsAsOurs(value string) bool {
	head, _, _ := strings.Cut(stripComments(value), ";")
	head = strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r < ' ' || r > '~' {
			return -1
		}
		return r
	}, head)
	words := strings.Fields(head)
	return len(words) > 0 && strings.EqualFold(strings.TrimSuffix(words[0], "."), authServID)
}

func stripComments(s string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			if i++; depth == 0 {
				b.WriteByte(s[i])
			}
		case s[i] == '(':
			depth++
			b.WriteByte(' ')
		case s[i] == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// checkLabel parses our field and checks its form. The field must have our authserv-id. Each result
// must begin a new line, because some programs read the field line by line. No other line may look
// like a result.
func checkLabel(t *testing.T, value string) authres.Field {
	t.Helper()
	field, err := authres.Parse(value)
	if err != nil {
		t.Fatalf("our own field does not parse: %v\n%s", err, value)
	}
	if field.AuthServID != authServID || len(value) > 17<<10 {
		t.Errorf("field of %q, %d octets", field.AuthServID, len(value))
	}
	lines := strings.Split(value, "\r\n")
	checkLines(t, lines)
	checkNaive(t, value, field)
	begun := 0
	for _, line := range lines {
		for _, r := range field.Results {
			if strings.HasPrefix(line, " "+r.Method+"=") {
				begun++
				break
			}
		}
	}
	if begun != len(field.Results) {
		t.Errorf("%d results, %d lines that begin with one:\n%s", len(field.Results), begun, value)
	}
	for _, r := range field.Results {
		if !slices.Contains([]string{"spf", "dkim", "dmarc", "arc", "iprev", "bimi"}, r.Method) {
			t.Errorf("result of a method %q", r.Method)
		}
	}
	return field
}

// checkNaive checks that the simple parsers of package naive, which do not fully understand quotes
// and comments, find the same results as our own parser.
func checkNaive(t *testing.T, value string, field authres.Field) {
	t.Helper()
	var want naive.Field
	for _, r := range field.Results {
		want.Results = append(want.Results, naive.Result{Method: r.Method, Value: r.Value})
		for _, p := range r.Properties {
			if r.Method == "dmarc" && p.Name == "from" {
				want.From = p.Value
			}
		}
	}
	labels.add(value, want)
	for _, wrong := range naive.Check(value, want) {
		t.Errorf("%s:\n%s", wrong, value)
	}
}

// checkLines checks the lines of a field that the daemon wrote. The lines may contain only
// printable ASCII characters, and letters and digits outside ASCII. Every line after the first must
// be a continuation line.
func checkLines(t *testing.T, lines []string) {
	t.Helper()
	for i, line := range lines {
		if i > 0 && (strings.Trim(line, " ") == "" || line[0] != ' ') {
			t.Errorf("line %q of our field is not a continuation", line)
		}
		// Letters outside ASCII are allowed, because the field of a message with UTF-8 header
		// fields may have such letters.
		if strings.ContainsFunc(line, func(r rune) bool {
			return r < ' ' || r > '~' && (r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.Nd))
		}) {
			t.Errorf("octets in our field: %q", line)
		}
	}
}
