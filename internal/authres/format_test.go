package authres

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestFormatLayout(t *testing.T) {
	f := Field{AuthServID: "mx.example.jp", Results: []Result{
		{Method: "spf", Value: "pass", Properties: []Property{{PTypeSMTP, "mailfrom", "bounce@news.example.com"}}},
		{Method: "dkim", Value: "pass", Comment: "2048-bit rsa", Properties: []Property{
			{PTypeHeader, "d", "example.com"}, {PTypeHeader, "i", "@example.com"}, {PTypeHeader, "s", "s1"},
			{PTypeHeader, "a", "rsa-sha256"}, {PTypeHeader, "b", "TXuCNlsq"}}},
		{Method: "dmarc", Value: "pass", Properties: []Property{{PTypeHeader, "from", "example.com"}, {PTypePolicy, "dmarc", "reject"}}},
		{Method: "arc", Value: "none"},
		{Method: "iprev", Value: "pass", Reason: "all good", Properties: []Property{{PTypePolicy, "iprev", "2001:db8::1"}}},
	}}
	want := strings.Join([]string{
		` mx.example.jp;`,
		` spf=pass smtp.mailfrom=bounce@news.example.com;`,
		` dkim=pass (2048-bit rsa) header.d=example.com header.i=@example.com`,
		` header.s=s1 header.a=rsa-sha256 header.b=TXuCNlsq;`,
		` dmarc=pass header.from=example.com policy.dmarc=reject;`,
		` arc=none;`,
		` iprev=pass reason="all good" policy.iprev="2001:db8::1"`,
	}, "\r\n")
	if got := f.Format(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFormatNone(t *testing.T) {
	if got, want := (Field{AuthServID: "mx.example.jp"}).Format(), " mx.example.jp; none"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFormatPropertyValue checks how Format writes the value of a property, and which values it
// leaves out.
func TestFormatPropertyValue(t *testing.T) {
	const none = "(not written)"
	for _, c := range []struct {
		reason, value string
		utf8          bool
		want          string
	}{
		{"token", "example.com", false, `example.com`},
		{"plain address", "user+tag@example.com", false, `user+tag@example.com`},
		{"an apostrophe, a quote to some", "o'brien@example.com", false, `"o'brien@example.com"`},
		{"at the beginning", "'brien", false, `"'brien"`},
		{"alone", "o'brien", false, `"o'brien"`},
		{"AUID without a local part", "@example.com", false, `@example.com`},
		{"single label", "user@localhost", false, `"user@localhost"`},
		{"an underscore is not part of a domain-name", "user@_a.example.com", false, `"user@_a.example.com"`},
		{"empty label", "user@a..example.com", false, `"user@a..example.com"`},
		{"dot at the end of the local part", "user.@example.com", false, `"user.@example.com"`},
		{"two at signs", "a@b@example.com", false, `"a@b@example.com"`},
		{"base64", "abc/+", false, `"abc/+"`},
		{"IPv6, RFC 8601 §2.7.3", "2001:db8::1", false, `"2001:db8::1"`},
		{"address literal", "[192.0.2.1]", false, `"[192.0.2.1]"`},
		{"255 octets are kept", strings.Repeat("a", 255), false, strings.Repeat("a", 255)},
		{"EAI: an address", "用户@例子.example", true, `用户@例子.example`},
		{"EAI: a domain of U-labels", "例子.example", true, `例子.example`},
		{"EAI: other text", "例/子", true, `"例/子"`},
		{"EAI: the replacement character is text", "a\ufffd@例子.example", true, "a\ufffd@例子.example"},
		// Format leaves out the following values. If it altered them, they would name another
		// domain or address.
		{"empty", "", false, none},
		{"256 octets", strings.Repeat("a", 256), false, none},
		{"BATV address: an equals sign", "prvs=1=u@example.com", false, none},
		{"quoted local part", `"a b"@example.com`, false, none},
		{"a space", "a b", false, none},
		{"a semicolon", "a;b@example.com", false, none},
		{"a comma", "a,b@example.com", false, none},
		{"angle brackets", "<a@example.com>", false, none},
		{"base64 padding", "abc=", false, none},
		{"a new result", "x;dkim=pass", false, none},
		{"out of the quotes", `x"; dkim=pass`, false, none},
		{"out of the quotes past a backslash: the flaw of go-msgauth", `x\"; dkim=pass`, false, none},
		{"backslash at the end", `x\`, false, none},
		{"into a comment", "example.net(.example.com", false, none},
		{"out of a comment", "example.net)", false, none},
		{"a new line", "x\r\n dkim", false, none},
		{"LF", "x\n", false, none},
		{"NUL", "x\x00", false, none},
		{"TAB", "x\tx", false, none},
		{"DEL", "x\x7f", false, none},
		{"ESC", "x\x1b", false, none},
		{"non-ASCII", "日本.example", false, none},
		{"octets that are not UTF-8", "\xff\xfe", false, none},
		{"EAI: octets that are not UTF-8", "a\xff", true, none},
		{"EAI: C1 control as an octet", "a\x85", true, none},
		{"EAI: C1 control", "a\u0085", true, none},
		{"EAI: the right-to-left override", "a\u202eb", true, none},
		{"EAI: the line separator", "a\u2028", true, none},
		{"EAI: zero width space", "a\u200b", true, none},
		{"EAI: ideographic space", "a\u3000b", true, none},
		{"EAI: broken UTF-8", "é\xc3", true, none},
		{"EAI: a mark that would join the equals sign", "\u0338a", true, none},
	} {
		f := Field{AuthServID: "id", UTF8: c.utf8, Results: []Result{{Method: "m", Value: "r", Properties: []Property{{"p", "n", c.value}}}}}
		got := f.Format()
		after := none
		if _, value, found := strings.Cut(got, "p.n="); found {
			after = value
		}
		if after != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, after, c.want)
		}
		checkFormat(t, f, got)
	}
}

func TestFormatOtherParts(t *testing.T) {
	for _, c := range []struct {
		reason string
		field  Field
		want   string
	}{
		{"comment", Field{AuthServID: "id", Results: []Result{{Method: "m", Value: "r", Comment: `a) ; dkim=pass (\`}}},
			" id;\r\n m=r (a_ _ dkim=pass __)"},
		{"reason", Field{AuthServID: "id", Results: []Result{{Method: "m", Value: "r", Reason: `a"b\;(c)`}}},
			" id;\r\n m=r reason=\"a_b__(c)\""},
		{"a single word is quoted as well in a reason", Field{AuthServID: "id", Results: []Result{{Method: "m", Value: "r", Reason: "x"}}},
			" id;\r\n m=r reason=\"x\""},
		{"EAI: a character whose last octet is the least beyond ASCII", Field{AuthServID: "id", UTF8: true, Results: []Result{{Method: "m", Value: "r", Comment: "Ā"}}},
			" id;\r\n m=r (Ā)"},
		{"authserv-id", Field{AuthServID: "a b;c"}, " \"a b;c\"; none"},
		{"empty authserv-id", Field{}, " \"\"; none"},
		{"keywords", Field{AuthServID: "id", Results: []Result{{Method: "d=k m;", Value: "", Properties: []Property{{"-a-", "x.y", "v"}}}}},
			" id;\r\n d-k-m=unknown a.x-y=v"},
		{"long keyword", Field{AuthServID: "id", Results: []Result{{Method: strings.Repeat("m", 1000), Value: "r"}}},
			" id;\r\n " + strings.Repeat("m", 40) + "=r"},
	} {
		got := c.field.Format()
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
		checkFormat(t, c.field, got)
	}
}

// TestFormatBounds: a sender with the longest names and any number of signatures cannot make a line
// or the field too long, and cannot remove the DMARC result from the field.
func TestFormatBounds(t *testing.T) {
	long := strings.Repeat("x", maxValueLen)
	f := Field{AuthServID: "mx.example.jp"}
	for i := range 99 {
		r := Result{Method: "dkim", Value: "fail", Comment: long, Reason: long}
		for j := range 100 {
			r.Properties = append(r.Properties, Property{PTypeHeader, fmt.Sprintf("p%d-%d", i, j), long})
		}
		f.Results = append(f.Results, r)
	}
	f.Results = append(f.Results, Result{Method: "dmarc", Value: "fail", Properties: []Property{{PTypeHeader, "from", "example.com"}}})
	got := f.Format()
	checkFormat(t, f, got)
	if !strings.HasSuffix(got, ";\r\n dmarc=fail header.from=example.com") {
		t.Errorf("the DMARC result is gone: ...%q", got[len(got)-100:])
	}
	if n := strings.Count(got, "dkim=fail"); n != 99 {
		t.Errorf("%d of 99 results left", n)
	}
	if !strings.Contains(got, "dkim=fail (details omitted: too long);") {
		t.Error("nothing says that details were left out")
	}
	f.Results = append(f.Results, f.Results...)
	checkFormat(t, f, f.Format())
}

// checkFormat checks got, which Format returned for f, for the properties that every field must
// have.
func checkFormat(t *testing.T, f Field, got string) {
	t.Helper()
	if len(got) > maxFieldLen {
		t.Errorf("field of %d octets", len(got))
	}
	for i, line := range strings.Split(got, "\r\n") {
		if !strings.HasPrefix(line, " ") {
			t.Errorf("line %d does not begin with a space: %q", i, line)
		}
		if len(FieldName)+1+len(line) > 998 {
			t.Errorf("line %d has %d octets", i, len(line))
		}
		for j := range len(line) {
			if c := line[j]; c < ' ' || c == 0x7f || c >= 0x80 && !f.UTF8 {
				t.Errorf("octet 0x%02x in %q", c, line)
			}
		}
	}
	parsed, err := Parse(got)
	if err != nil {
		t.Fatalf("Parse(%q): %v", got, err)
	}
	if want := f.reference(); got != want {
		t.Errorf("not as the reference writes it:\n%q\n%q", got, want)
	}
	if again := f.AppendFormat([]byte("before")); string(again) != "before"+got {
		t.Errorf("AppendFormat wrote %q", again)
	}
	want := f.clean()
	parsed.UTF8 = want.UTF8 // if the field is all ASCII, Parse cannot know whether UTF8 was set
	if !reflect.DeepEqual(parsed, want) {
		t.Errorf("Parse(Format(x)) != x:\n%#v\n%#v\n%q", parsed, want, got)
	}
	if again := want.clean(); !reflect.DeepEqual(again, want) {
		t.Errorf("clean is not idempotent: %#v, then %#v", want, again)
	}
	if !NewIDs(f.AuthServID).Claimed(got) && want.AuthServID == f.AuthServID {
		t.Errorf("our own field does not claim our id: %q", got)
	}
	// A program that knows neither quotes nor comments finds the same results. It sees no backslash
	// and as many semicolons as there are results.
	if results := got[strings.IndexByte(got, ';'):]; want.AuthServID == f.AuthServID && !strings.Contains(f.AuthServID, ";") &&
		(strings.Count(results, ";") != max(len(want.Results), 1) || strings.ContainsAny(results, `\`)) {
		t.Errorf("%d semicolons for %d results: %q", strings.Count(results, ";"), len(want.Results), got)
	}
	// A program that first removes comments and quoted-strings finds the same results, because it
	// sees as many semicolons as there are results.
	if n := strings.Count(outside(got), ";"); n != max(len(want.Results), 1) {
		t.Errorf("%d semicolons outside quotes for %d results: %q", n, len(want.Results), got)
	}
}

// outside returns the text of s that is outside of quoted-strings and comments.
func outside(s string) string {
	var b strings.Builder
	var closing byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case closing != 0 && c == '\\':
			i++
		case closing != 0:
			if c == closing {
				closing = 0
			}
		case c == '"':
			closing = '"'
		case c == '(':
			closing = ')'
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{"", "example.com", `x"; dkim=pass header.d=a.example`, `\"`, "a)b(c", "a\r\nb: c", "\x00", "\u2028", "\xff",
		"prvs=a@example.com", "a@b.example", `"q p"@example.com`, strings.Repeat(`"`, 300), strings.Repeat("é", 200), "none", "1"} {
		f.Add("mx.example.jp", "dkim", s, s, s, true)
		f.Add(s, s, s, "reason", s, false)
	}
	f.Fuzz(func(t *testing.T, id, method, comment, reason, value string, utf8 bool) {
		field := Field{AuthServID: id, UTF8: utf8, Results: []Result{
			{Method: method, Value: "pass", Comment: comment, Reason: reason, Properties: []Property{{PTypeSMTP, "mailfrom", value}, {PType(method), method, comment}}},
			{Method: "dmarc", Value: "fail", Properties: []Property{{PTypeHeader, "from", value}}},
		}}
		checkFormat(t, field, field.Format())
	})
}

// TestFieldAtItsBound: the details of a result are left out only if the field would be longer than
// maxFieldLen, also after the details of a longer result were left out.
func TestFieldAtItsBound(t *testing.T) {
	signature := func(lengths ...int) Result {
		r := Result{Method: "dkim", Value: "fail"}
		for i, n := range lengths {
			r.Properties = append(r.Properties, Property{PTypeHeader, fmt.Sprintf("b%d", i), strings.Repeat("x", n)})
		}
		return r
	}
	const long = 150
	// The length is estimated: one octet more than there is, and a line break before each item. The comment
	// about the details that were left out needs none.
	for left, tt := range []struct {
		first Result
		most  int
	}{
		{signature(long), maxFieldLen - 1},
		{signature(long, long, long), maxFieldLen - 1 - len("\r\n")},
	} {
		longest, next := 0, false
		for n := maxFieldLen/(long+32) + left; n < maxResults; n++ { // fewer results are too short in any case
			for last := lineLen; last <= maxValueLen; last++ { // too long for the line of its result
				f := Field{AuthServID: "mx.example.jp", Results: []Result{tt.first}}
				for range n {
					f.Results = append(f.Results, signature(long))
				}
				f.Results = append(f.Results, signature(last))
				got := f.Format()
				if strings.Count(got, omitted) > left {
					next = true
					break
				}
				if strings.Count(got, omitted) == left {
					longest = max(longest, len(got))
				}
			}
			if next {
				break
			}
		}
		if longest != tt.most || !next {
			t.Errorf("with %d results left out: at most %d octets, want %d", left, longest, tt.most)
		}
	}
}
