package authres

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"sekimori/internal/testkit/octets"
)

// grammar is what Parse accepts, as one regular expression: RFC 8601 §2.2 with the two liberties of
// Parse. Comments are nested up to four deep. An expression cannot say where "reason" is a reasonspec
// and where a property without a ptype, so it must not be used for values that have this word.
var grammar = func() *regexp.Regexp {
	const (
		fold    = `\r\n[ \t]`
		pair    = `\\[^\x00-\x08\x0a-\x1f\x7f]`
		quoted  = `"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|` + pair + `|` + fold + `)*"`
		token   = "[!#$%&'*+\\-.0-9A-Z^_`a-z{|}~]+"
		keyword = `[A-Za-z0-9-]*[A-Za-z0-9]`
		atom    = "[!#$%&'*+\\-/=?^_`{|}~A-Za-z0-9\u0080-\U0010ffff]+"
		alnum   = "[A-Za-z0-9\u0080-\U0010ffff]"
		label   = alnum + "(?:(?:-|" + alnum + ")*" + alnum + ")?"
		domain  = label + `(?:\.` + label + `)*`
		loose   = "[!#$%&'*+\\-.0-9A-Z^_`a-z{|}~/=]+"
		local   = atom + `(?:\.` + atom + `)*`
	)
	comment := `\(\)`
	for range 4 {
		comment = `\((?:[^()\\\x00-\x08\x0a-\x1f\x7f]|` + pair + `|` + fold + `|` + comment + `)*\)`
	}
	space := `(?:[ \t]|` + fold + `|` + comment + `)`
	cfws := space + `*`
	property := keyword + cfws + `(?:\.` + cfws + keyword + cfws + `)?=` + cfws
	// A value without quotes is as long as it can be, so space must follow before the next property.
	ends := property + `(?:` + quoted + cfws + `|(?:(?:` + local + `)?@` + domain + `|` + quoted + `@` + domain + `|` + loose + `|` + domain + `)` + space + `+)`
	last := property + `(?:` + quoted + `|(?:` + local + `)?@` + domain + `|` + quoted + `@` + domain + `|` + loose + `|` + domain + `)`
	result := keyword + cfws + `(?:/` + cfws + `(?:0*1` + cfws + `)?)?=` + cfws + keyword +
		`(?:` + space + `+(?:` + ends + `)*(?:` + last + `)?)?` + cfws
	return regexp.MustCompile(`^` + cfws + `(?:` + token + `|` + quoted + `)` + cfws + `(?:0*1` + cfws + `)?;` + cfws +
		`(?:[nN][oO][nN][eE]` + cfws + `|` + result + `(?:;` + cfws + result + `)*)$`)
}()

// checkGrammar checks that Parse accepts exactly what the grammar has.
func checkGrammar(t *testing.T, value string) {
	t.Helper()
	if !utf8.ValidString(value) || strings.Count(value, "(") > 4 || strings.Contains(strings.ToLower(value), "reason") || len(value) > 2<<10 {
		return
	}
	_, err := Parse(value)
	if want := grammar.MatchString(value); want != (err == nil) {
		t.Errorf("%q: %v, by the grammar %t", value, err, want)
	}
}

// pieces are what a field is made of.
var pieces = []string{
	"a", "1", "-", ".", "@", "=", ";", "/", `"`, `\`, "(", ")", " ", "\r\n ", "\r\n", "none",
	"2", "é", "?", ":", "\x00", "\t", "\xff", "mx.example.jp", "dkim", "pass", "header.d=", " header.i=@a.example", " header.s=s1", " header.b=\"x y\"", " policy.x=y", "reason=", " reason=x", `"q"`, "(c)", "()", "((c)x)", "0", ",", "<", "=?", "?=", "xn--",
}

// TestGrammar compares Parse with the grammar: each short sequence of pieces, at each place of a field.
func TestGrammar(t *testing.T) {
	const structure = 21 // the first of the pieces, which decide what the others are
	for _, place := range []struct{ before, after string }{
		{"", "a;none"}, {"a", ";none"}, {"a;", ""}, {"a;m", "r"}, {"a;m", "=r"}, {"a;m=", ""}, {"a;m=r", ";m=r"}, {"a;m=r p.", "n=v"}, {"a;m=r p", "v"},
		{"a;m=r p.n=", ""}, {"a;m=r p.n=v", "p.n=v"}, {`a;m=r p.n="v"`, ""}, {`a;m=r p.n=v@`, ""}, {`a;m=r("`, `")`}, {`a;m=r("`, ``},
	} {
		for word := range octets.Words(2, pieces[:structure]...) {
			checkGrammar(t, place.before+word+place.after)
		}
	}
	for _, value := range samples {
		for _, cut := range octets.Cuts(value) {
			checkGrammar(t, cut)
		}
		for _, gap := range octets.Gaps(value) {
			checkGrammar(t, gap)
		}
	}
}

// samples are fields in which every part of the grammar occurs.
var samples = []string{
	"\r\n mx.example (a (b) \\)) 1\r\n\t; none (c)",
	`"a \"b" 01;dkim /(v) 1 = pass (good) reason = "r \\s" header . d = (c) a.example header.i="l p"@a.example`,
	"mx (a\x01); none",
	"\"m\x7fx\"; none",
	"mx;\r\n dkim=pass (2048-bit rsa) header.d=a.example header.i=@a.example\r\n header.s=s1 header.a=rsa-sha256 header.b=\"Qg i\" policy.x=y; arc=none",
	"mx; spf=fail smtp.mailfrom=u@é.example action=none header.b=ab/c+d==; dmarc=pass reason=x policy.p=@a.example",
}

// TestGolden says what Parse makes of the samples if they are damaged: nothing may be read into a field
// that was cut, and every error has its place.
func TestGolden(t *testing.T) {
	octets.Golden(t, "testdata/damaged.txt", samples, func(value string) string {
		f, err := Parse(value)
		if err != nil {
			return err.Error()
		}
		s := fmt.Sprintf("%q", f.AuthServID)
		for _, r := range f.Results {
			s += fmt.Sprintf("; %s=%s", r.Method, r.Value)
			if r.Comment != "" {
				s += fmt.Sprintf(" (%s)", r.Comment)
			}
			if r.Reason != "" {
				s += fmt.Sprintf(" reason %q", r.Reason)
			}
			for _, p := range r.Properties {
				s += fmt.Sprintf(" %s.%s=%q", p.Type, p.Name, p.Value)
			}
		}
		return s
	})
}

// TestReason: the first word "reason" of a result is a reasonspec, unless a property comes before it.
// Any other one is a property without a ptype.
func TestReason(t *testing.T) {
	for _, tt := range []struct{ details, reason, value string }{
		{`reason=x`, "x", ""},
		{`REASON="x y" a.b=c`, "x y", "c"},
		{`reason=x reason=y`, "x", ""},
		{`reason="" reason=y`, "y", ""},
		{`a.b=c reason=y`, "", "c"},
		{`reason=x reason=u@a.example`, "x", ""},
		{`other=u@a.example`, "", ""},
		{`reason.b=c`, "", "c"},
	} {
		f, err := Parse("mx;m=r " + tt.details)
		if err != nil {
			t.Errorf("%s: %v", tt.details, err)
			continue
		}
		value := ""
		for _, p := range f.Results[0].Properties {
			value += p.Value
		}
		if f.Results[0].Reason != tt.reason || value != tt.value {
			t.Errorf("%s: %+v", tt.details, f)
		}
	}
	for _, details := range []string{"reason=u@a.example", "reason=", "reason", "reason=x reason=", "reason=a/b"} {
		if f, err := Parse("mx;m=r " + details); err == nil {
			t.Errorf("%s: %+v", details, f)
		}
	}
}

// delimited returns an expression for the comments and quoted-strings of a syntax, with comments nested up to
// five deep. What is not closed goes on to the end.
func delimited(syn syntax) (comment, quoted string) {
	char, text := `[^()]`, `[^"]`
	if syn.escapes {
		char, text = `[^()\\]|\\.|\\$`, `[^"\\]|\\.|\\$`
	}
	comment = `\(\)`
	for range 5 {
		comment = `\((?:` + char + `|` + comment + `)*(?:\)|$)`
	}
	return comment, `"(?:` + text + `)*(?:"|$)`
}

// TestHead compares the places where programs see the end of the text before the results, and the texts
// without comments, with regular expressions: every short sequence of pieces.
func TestHead(t *testing.T) {
	comment, quoted := delimited(syntax{escapes: true})
	nested, simple := regexp.MustCompile(`(?s)`+quoted+`|`+comment), regexp.MustCompile(`(?s)\([^)]*(?:\)|$)`)
	type program struct {
		syntax
		tokens *regexp.Regexp
	}
	var programs []program
	for _, syn := range []syntax{{}, {quotes: true}, {comments: true}, {quotes: true, comments: true}, {quotes: true, escapes: true}, {comments: true, escapes: true},
		{quotes: true, comments: true, escapes: true}} {
		comment, quoted := delimited(syn)
		tokens := `.`
		if syn.quotes {
			tokens = quoted + `|` + tokens
		}
		if syn.comments {
			tokens = comment + `|` + tokens
		}
		programs = append(programs, program{syn, regexp.MustCompile(`(?s)` + tokens)})
	}
	for value := range octets.Words(5, "(", ")", `"`, `\`, ";", "x") {
		longest := 0
		for _, p := range programs {
			want, seen := len(value), false
			for _, at := range p.tokens.FindAllStringIndex(value, -1) {
				token := value[at[0]:at[1]]
				if token == ";" && seen {
					want = at[0]
					break
				}
				if token[0] == '"' && p.escapes {
					token = strings.ReplaceAll(token, `\x`, "") // an escaped letter does not count; so the head can only be longer
				}
				seen = seen || strings.Contains(token, "x") && (token[0] != '(' || !p.comments)
			}
			longest = max(longest, want)
			if got := p.head(value); got != want {
				t.Errorf("%+v: the head of %q has %d octets, want %d", p.syntax, value, got, want)
			}
		}
		if got := headLen(value); got != longest {
			t.Errorf("the longest head of %q has %d octets, want %d", value, got, longest)
		}
		want := nested.ReplaceAllStringFunc(value, func(s string) string {
			if s[0] == '(' {
				return ""
			}
			return s
		})
		if got := uncomment(value, true); got != want {
			t.Errorf("%q without comments: %q, want %q", value, got, want)
		}
		if got := uncomment(value, false); got != simple.ReplaceAllString(value, "") {
			t.Errorf("%q without what a pattern takes for comments: %q", value, got)
		}
	}
}

// TestMarks checks which characters a program may leave out, and which belong to a name.
func TestMarks(t *testing.T) {
	for r, want := range map[rune][3]bool{ // dropped as a mark, dropped as space, part of a name
		'"': {true}, '\'': {true}, '\\': {true}, '<': {true}, '>': {true}, '\ufffd': {true}, '\x00': {true}, '\x7f': {true}, '\u00ad': {true}, '\u200b': {true},
		' ': {false, true}, '\t': {false, true}, '\r': {false, true}, '\n': {false, true}, '\u00a0': {false, true}, '\u3000': {false, true},
		'a': {false, false, true}, '9': {false, false, true}, '-': {false, false, true}, '_': {false, false, true}, '例': {false, false, true}, '\u0301': {false, false, true},
		'.': {}, ';': {}, '/': {}, '(': {}, '=': {}, '@': {}, '!': {},
	} {
		if got := [3]bool{dropMarks(r) < 0, dropSpace(r) < 0, nameRune(r)}; got != want {
			t.Errorf("%q: %v, want %v", r, got, want)
		}
	}
	for _, tt := range []struct {
		text, word string
		want       bool
	}{
		{"mx.o", "mx.o", true}, {"..mx.o..", "mx.o", true}, {"amx.o", "mx.o", false}, {"mx.oa", "mx.o", false}, {"a.mx.o", "mx.o", false}, {"mx.o.a", "mx.o", false},
		{"amx.o mx.o", "mx.o", true}, {"mx.omx.o", "mx.o", false}, {"x!!!", "!!", true}, {"", "mx.o", false}, {"例mx.o", "mx.o", false}, {"mx.o例", "mx.o", false}, {"\xffmx.o\xff", "mx.o", true},
	} {
		if got := hasWord(tt.text, tt.word); got != tt.want {
			t.Errorf("%q has %q: %t", tt.text, tt.word, got)
		}
	}
}

// reader is a program that looks for the id of the host that wrote a field. It knows a part of the
// grammar, and takes the text before the first semicolon that is not part of something it knows.
type reader struct{ quotes, comments, nested, escapes bool }

// id returns the id that the reader sees, without space, quotes and backslashes.
func (r reader) id(value string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && r.escapes && (quoted || depth > 0):
			if i++; i < len(value) && depth == 0 {
				b.WriteByte(value[i])
			}
		case c == '"' && r.quotes && depth == 0:
			quoted = !quoted
		case quoted:
			b.WriteByte(c)
		case c == '(' && r.comments && (depth == 0 || r.nested):
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == ';' && strings.ContainsAny(b.String(), "mox"):
			return b.String()
		case strings.IndexByte("\\\" ;", c) < 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// readers are the programs that Claimed must not be outwitted by.
var readers = []reader{
	{}, {quotes: true}, {comments: true}, {quotes: true, comments: true, nested: true},
	{quotes: true, escapes: true}, {comments: true, nested: true, escapes: true}, {quotes: true, comments: true, nested: true, escapes: true},
}

const readersID = "mx.o"

// checkReaders checks that no reader sees our id where Claimed does not, and that Claimed sees no id in the
// same field of another host. It returns what Claimed says.
func checkReaders(t *testing.T, value string) bool {
	t.Helper()
	ids := NewIDs(readersID)
	got := ids.Claimed(value)
	for _, r := range readers {
		if r.id(value) == readersID && !got {
			t.Errorf("%q: %+v sees our id", value, r)
		}
	}
	if other := strings.ReplaceAll(value, "x.o", "x.other"); ids.Claimed(other) {
		t.Errorf("%q is claimed", other)
	}
	return got
}

var marks = []string{"(", ")", `"`, `\`, ";", " "}

// TestClaimedByReaders has the id within every short sequence of marks, and marks within the id.
func TestClaimedByReaders(t *testing.T) {
	claimed := 0
	for before := range octets.Words(3, append([]string{"x"}, marks...)...) {
		for after := range octets.Words(2, marks...) {
			if checkReaders(t, before+readersID+after) {
				claimed++
			}
		}
		checkReaders(t, `""m`+before+"x.o") // Parse sees another id, an empty one
	}
	if claimed == 0 {
		t.Error("nothing was claimed")
	}
}

// FuzzReaders has the id within marks that the fuzzer chooses.
func FuzzReaders(f *testing.F) {
	pieces := append([]string{readersID, "m", "x.o", "x"}, marks...)
	for _, s := range []string{"mx.o;x", "((x)x)mx.o;", `""m(x)x.o`, `"mx.o\"";`, `(\)mx.o) "(";mx.o`} {
		f.Add(octets.Program(s, pieces...))
	}
	f.Fuzz(func(t *testing.T, program []byte) { checkReaders(t, octets.Chosen(program, pieces...)) })
}
