package authres

import (
	"reflect"
	"strings"
	"testing"
)

// TestRFC8601Examples reads the fields of RFC 8601 Appendix B and compares their parts.
func TestRFC8601Examples(t *testing.T) {
	prop := func(typ PType, name, value string) []Property { return []Property{{typ, name, value}} }
	for _, c := range []struct {
		section string
		lines   []string // the lines of the field's value
		want    Field
	}{
		{"B.2: nothing was done", []string{" example.org 1; none"}, Field{AuthServID: "example.org"}},
		{"B.3: one method", []string{" example.com;", "          spf=pass smtp.mailfrom=example.net"},
			Field{AuthServID: "example.com", Results: []Result{{Method: "spf", Value: "pass", Properties: prop("smtp", "mailfrom", "example.net")}}}},
		{"B.4: two methods", []string{" example.com;", "          auth=pass (cram-md5) smtp.auth=sender@example.net;",
			"          spf=pass smtp.mailfrom=example.net"},
			Field{AuthServID: "example.com", Results: []Result{
				{Method: "auth", Value: "pass", Comment: "cram-md5", Properties: prop("smtp", "auth", "sender@example.net")},
				{Method: "spf", Value: "pass", Properties: prop("smtp", "mailfrom", "example.net")}}}},
		{"B.5: another host's view", []string{" example.com; iprev=pass", "          policy.iprev=192.0.2.200"},
			Field{AuthServID: "example.com", Results: []Result{{Method: "iprev", Value: "pass", Properties: prop("policy", "iprev", "192.0.2.200")}}}},
		{"B.6: two signatures", []string{" example.com;", "          dkim=pass reason=\"good signature\"", "            header.i=@mail-router.example.net;",
			"          dkim=fail reason=\"bad signature\"", "            header.i=@newyork.example.com"},
			Field{AuthServID: "example.com", Results: []Result{
				{Method: "dkim", Value: "pass", Reason: "good signature", Properties: prop("header", "i", "@mail-router.example.net")},
				{Method: "dkim", Value: "fail", Reason: "bad signature", Properties: prop("header", "i", "@newyork.example.com")}}}},
		{"RFC 6008 §5: header.b tells them apart", []string{" mail-router.example.net;", "     dkim=pass (good signature) header.d=newyork.example.com",
			"          header.b=oINEO8hg;", "     dkim=fail (bad signature) header.d=newyork.example.com", "          header.b=EToRSuvU"},
			Field{AuthServID: "mail-router.example.net", Results: []Result{
				{Method: "dkim", Value: "pass", Comment: "good signature", Properties: []Property{{"header", "d", "newyork.example.com"}, {"header", "b", "oINEO8hg"}}},
				{Method: "dkim", Value: "fail", Comment: "bad signature", Properties: []Property{{"header", "d", "newyork.example.com"}, {"header", "b", "EToRSuvU"}}}}}},
	} {
		value := strings.Join(c.lines, "\r\n")
		got, err := Parse(value)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", c.section, got, err, c.want)
			continue
		}
		checkFormat(t, got, got.Format())
		if NewIDs(ourID).Claimed(value) {
			t.Errorf("%s: counts as ours", c.section)
		}
	}
}

// hostile are pieces of text that a sender may use to end a quoted string, a comment, a line or a
// result.
var hostile = []string{`"`, `\`, ";", "(", ")", "=", "@", " ", "\r\n ", "\n", "\x00", "a", ".", "é", "\xff"}

// each calls f with every string that consists of n hostile pieces.
func each(n int, f func(s string)) {
	if n == 0 {
		f("")
		return
	}
	each(n-1, func(s string) {
		for _, h := range hostile {
			f(s + h)
		}
	})
}

// TestNothingBreaksOut checks that no text of three hostile pieces can break a field, whichever
// value of the field has the text.
func TestNothingBreaksOut(t *testing.T) {
	seen := 0
	each(3, func(s string) {
		seen++
		for _, utf8 := range []bool{false, true} {
			f := Field{AuthServID: "mx.example.jp", UTF8: utf8, Results: []Result{
				{Method: "spf", Value: "fail", Comment: s, Reason: s, Properties: []Property{{PTypeSMTP, "mailfrom", s}, {PTypeSMTP, "helo", "x" + s + "x"}}},
				{Method: "dmarc", Value: "fail", Properties: []Property{{PTypeHeader, "from", s}}},
			}}
			checkFormat(t, f, f.Format())
		}
		f := Field{AuthServID: s}
		checkFormat(t, f, f.Format())
	})
	if want := len(hostile) * len(hostile) * len(hostile); seen != want {
		t.Errorf("%d strings tried, want %d", seen, want)
	}
}

// TestTruncatedField: some MTAs cut long fields. Wherever the field is cut, Parse must return an
// error, or only results whose methods are those of the whole field.
func TestTruncatedField(t *testing.T) {
	f := Field{AuthServID: "mx.example.jp", Results: []Result{
		{Method: "spf", Value: "fail", Comment: "a; dkim=pass", Reason: `"; dkim=pass`, Properties: []Property{{PTypeSMTP, "mailfrom", `"; dkim=pass`}}},
		{Method: "dmarc", Value: "fail", Properties: []Property{{PTypeHeader, "from", "example.com"}}},
	}}
	value := f.Format()
	for n := range len(value) {
		got, err := Parse(value[:n])
		if err != nil {
			continue
		}
		for i, r := range got.Results {
			if r.Method != f.Results[i].Method {
				t.Errorf("%q has a result %s=%s", value[:n], r.Method, r.Value)
			}
		}
	}
}

// TestClaimedDecorated checks text before and after our id that a program may skip when it reads
// the field. Such text does not hide the id, and it does not turn a longer name into our id.
func TestClaimedDecorated(t *testing.T) {
	skipped := []string{"", " ", "\t", "\r\n ", "\n", "(c)", "((c)\\))", "(;)", `(")`, "\x00", "\x01", "\u200b", "\u00a0", ";", "."}
	for _, a := range skipped {
		for _, b := range skipped {
			for _, id := range []string{"mx.example.jp", "MX.EXAMPLE.JP", `"mx.example.jp"`} {
				if v := a + b + id + b + a + "; dkim=pass"; !NewIDs(ourID).Claimed(v) {
					t.Errorf("%q is not recognised", v)
				}
			}
			for _, id := range []string{"mx.example.jp.attacker.example", "notmx.example.jp", "mx.example.jpx"} {
				if v := a + b + id + b + a + "; dkim=pass"; NewIDs(ourID).Claimed(v) {
					t.Errorf("%q is counts as ours", v)
				}
			}
		}
	}
}

func TestSyntaxErrorText(t *testing.T) {
	_, err := Parse("mx.example.jp spf=pass")
	if err == nil || err.Error() != "authres: expected ';' at octet 14" {
		t.Errorf("got %v", err)
	}
}

func TestPlainAddress(t *testing.T) {
	for s, want := range map[string]bool{
		"a@b.example": true, "@b.example": true, "a.b@c.example": true, "a@b": false, "a": false, "a@": false, "@": false, "": false,
		".a@b.example": false, "a..b@c.example": false, "a@-b.example": false, "a@b-.example": false, "a@b.example.": false,
		"a=b@c.example": false, "a/b@c.example": false, "é@b.example": true, "a@é.example": true, "é b@c.example": false, "a b@c.example": false,
	} {
		if got := isPlainAddress(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

func TestCleanText(t *testing.T) {
	for _, c := range []struct {
		reason, in string
		utf8       bool
		want       string
	}{
		{"exactly the bound", strings.Repeat("x", 255), false, strings.Repeat("x", 255)},
		{"the mark is part of the bound", strings.Repeat("x", 300), false, strings.Repeat("x", 252) + "..."},
		{"a character across the bound", strings.Repeat("x", 254) + "é", true, strings.Repeat("x", 252) + "..."},
		{"a character across the mark's place", strings.Repeat("x", 251) + "é" + strings.Repeat("x", 9), true, strings.Repeat("x", 251) + "..."},
		{"the text is cut after characters are replaced", strings.Repeat("語", 255), false, strings.Repeat("?", 255)},
		{"the replacement character itself is text", "\ufffd", true, "\ufffd"},
		{"an overlong form is not a character", "\xc0\xaf", true, "??"},
		{"a surrogate is not a character", "\xed\xa0\x80", true, "???"},
	} {
		if got := cleanText(c.in, c.utf8); got != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
		}
	}
}
