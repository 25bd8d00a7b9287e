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

// verdict names what a daemon did and checks its reply: one line of printable
// ASCII that begins with an enhanced code of the reply code's class.
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

// checkEdits holds a daemon's edits to what they may be: nothing but one
// Authentication-Results field of ours on top, forged ones deleted, perhaps a
// quarantine. It returns our field as this project's strict parser reads it.
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

// checkOthers: below our field stands what was sent, less some
// Authentication-Results, and nothing of it claims to be ours.
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

// readsAsOurs is a reader who has not heard of this project's parser: it drops
// white space, quotes and comments and looks at the first word.
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

// checkLabel parses our field and checks its form: our id, folds and printable
// ASCII only, each method's results at the beginning of a line, where a reader
// of lines finds them, and nothing else there.
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
		if !slices.Contains([]string{"spf", "dkim", "dmarc", "arc", "iprev"}, r.Method) {
			t.Errorf("result of a method %q", r.Method)
		}
	}
	return field
}

// checkNaive: readers that know no quotes and no comments see what we do.
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

// checkLines: a field of ours is printable ASCII and letters, and whatever follows its first
// line is a continuation.
func checkLines(t *testing.T, lines []string) {
	t.Helper()
	for i, line := range lines {
		if i > 0 && (strings.Trim(line, " ") == "" || line[0] != ' ') {
			t.Errorf("line %q of our field is no continuation", line)
		}
		// Letters may stand there in UTF-8, where the message came with some.
		if strings.ContainsFunc(line, func(r rune) bool {
			return r < ' ' || r > '~' && (r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.Nd))
		}) {
			t.Errorf("octets in our field: %q", line)
		}
	}
}
