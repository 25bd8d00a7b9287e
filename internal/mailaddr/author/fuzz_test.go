package author

import (
	"errors"
	"mime"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
)

// FuzzParse checks every result of Parse. For an accepted field, it checks that other mail programs
// see the same domain, and writes its mailboxes without names. Parse must return the same mailboxes
// for that text.
func FuzzParse(f *testing.F) {
	for _, c := range fromCases(f) {
		for _, v := range c.values {
			f.Add(v)
		}
	}
	f.Fuzz(checkParse)
}

// checkParse checks the result of Parse for one field.
func checkParse(t *testing.T, value string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the field is %q", value)
		}
	}()
	from, err := Parse([]string{value})
	if err != nil {
		var fe *Error
		if !errors.As(err, &fe) || fe.Detail == "" || fe.Offset < 0 || fe.Offset > len(value) {
			t.Fatalf("bad error %#v", err)
		}
		if from.AuthorDomain != "" || len(from.Mailboxes) > 0 && fe.Kind != KindMultipleDomains {
			t.Fatalf("%+v beside %v", from, err)
		}
		return
	}
	if from.AuthorDomain == "" || len(from.Domains) != 1 || len(from.Mailboxes) == 0 || len(from.Mailboxes) > MaxMailboxes {
		t.Fatalf("accepted %+v", from)
	}
	otherReaders(t, value, from)
	lower := strings.ToLower(value)
	for label := range strings.SplitSeq(string(from.AuthorDomain), ".") {
		u, _ := idna.Punycode.ToUnicode(label)
		if !strings.Contains(lower, label) && !strings.Contains(lower, u) {
			t.Fatalf("label %q is not in the input", label)
		}
	}
	var canonical strings.Builder
	for i, m := range from.Mailboxes {
		if m.Domain != from.AuthorDomain {
			t.Fatalf("mailbox of %q, author domain %q", m.Domain, from.AuthorDomain)
		}
		if !strings.Contains(unfold(value), m.Local) && !strings.Contains(value, `\`) || !utf8.ValidString(m.DisplayName) {
			t.Fatalf("mailbox %+q", m)
		}
		if i > 0 {
			canonical.WriteString(", ")
		}
		local := m.Local
		for j := range len(local) {
			if !mailaddr.IsAtom(local[j]) {
				local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Local) + `"`
				break
			}
		}
		canonical.WriteString("<" + local + "@" + string(m.Domain) + ">")
	}
	if canonical.Len() > MaxFromLen {
		return // the brackets and spaces can make the field longer than Parse allows
	}
	again, err := Parse([]string{canonical.String()})
	if err != nil && slices.Contains(from.Notes, NoteSlip) {
		return // the local part of a slip may have an octet that ends an address in angle brackets
	}
	if err != nil || again.AuthorDomain != from.AuthorDomain || len(again.Mailboxes) != len(from.Mailboxes) {
		t.Fatalf("canonical %q gives %+v, %v", canonical.String(), again, err)
	}
	for i, m := range again.Mailboxes {
		if m.Local != from.Mailboxes[i].Local {
			t.Fatalf("canonical %q gives %+q, want %+q", canonical.String(), m, from.Mailboxes[i])
		}
	}
}

// dottedDomain is a pattern that a program may use to find the domain of an address.
var dottedDomain = regexp.MustCompile(`@[ \t\r\n]*([0-9A-Za-z_-]+\.[0-9A-Za-z_.-]*[0-9A-Za-z_-])`)

// otherReaders compares an accepted field with what other mail programs see in it. The first
// program is Go's parser, which is as strict as RFC 5322, but allows dots in phrases. The next
// programs look for angle brackets. If the field is a slip, or has unquoted commas, colons or
// double-byte text, a third kind of program looks for an "@" with something like a domain after it.
func otherReaders(t *testing.T, value string, from From) {
	t.Helper()
	unfolded := strings.NewReplacer("\r\n", "").Replace(value)
	if list, err := mail.ParseAddressList(unfolded); err == nil {
		for _, a := range list {
			domain := strings.TrimRight(a.Address[strings.LastIndexByte(a.Address, '@')+1:], "'") // the quote in 'a@b.example'
			if name, err := mailaddr.ParseDomain(domain); err != nil || name != from.AuthorDomain {
				t.Fatalf("net/mail reads %q at %q, we at %q", a.Address, domain, from.AuthorDomain)
			}
		}
	}
	for _, syntax := range []reader{{}, {pairs: true}, {comments: true}, {pairs: true, comments: true}} {
		for _, name := range syntax.angles(unfolded) {
			if name != from.AuthorDomain {
				t.Fatalf("%+v reads %q, we %q", syntax, name, from.AuthorDomain)
			}
		}
	}
	p, err := parse(value)
	if err != nil {
		t.Fatalf("second reading: %v", err)
	}
	texts := []string{}
	if p.s != value {
		plain := value
		for _, d := range designations {
			plain = strings.ReplaceAll(plain, d.sequence, "")
		}
		texts = append(texts, value, unfolded, plain)
	}
	if p.slip {
		for _, text := range []string{value, unfolded, stripMarks(unfolded), strings.NewReplacer("\r\n", "", "(", "", ")", "", `"`, "").Replace(value)} {
			texts = append(texts, text)
			if decoded, err := (&mime.WordDecoder{}).DecodeHeader(text); err == nil {
				texts = append(texts, decoded)
			}
		}
	}
	if p.text.at >= 0 && p.text.ats == 0 {
		dec := mime.WordDecoder{}
		decoded, err := dec.DecodeHeader(unfolded)
		if err == nil {
			texts = append(texts, decoded)
		}
		texts = append(texts, value, unfolded)
	}
	for _, text := range texts {
		for _, m := range dottedDomain.FindAllStringSubmatch(text, -1) {
			if p.slip && !isTopLevel(strings.ToLower(m[1][strings.LastIndexByte(m[1], '.')+1:])) {
				continue // a program that removes white space made a domain that cannot exist
			}
			if name, err := mailaddr.ParseDomain(m[1]); err == nil && name != from.AuthorDomain && !strings.HasPrefix(string(from.AuthorDomain), "xn--") {
				t.Fatalf("a pattern reads %q, we %q", name, from.AuthorDomain)
			}
		}
	}
}

// reader is a mail program that uses the addresses in angle brackets as authors. It knows quotes.
// If pairs is set, it also knows quoted pairs. If comments is set, it also knows comments.
type reader struct{ pairs, comments bool }

// angles returns the domains that this reader finds in angle brackets. It leaves out domains
// without a dot, and angle brackets in quotes. If r.comments is set, it also leaves out angle
// brackets in comments.
func (r reader) angles(s string) []dns.Name {
	var out []dns.Name
	open, depth, quoted := -1, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && r.pairs && (quoted || depth > 0):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(' && r.comments:
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '<':
			open = i + 1
		case c == '>' && open >= 0:
			inner := s[open:i]
			open = -1
			at := strings.LastIndexByte(inner, '@')
			if name, err := mailaddr.ParseDomain(strings.TrimSpace(inner[at+1:])); at >= 0 && err == nil && strings.Contains(string(name), ".") {
				out = append(out, name)
			}
		}
	}
	return out
}
