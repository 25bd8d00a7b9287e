package authres

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/octets"
)

// TestFormatLengths compares Format with the reference: fields whose items fill a line to every length, and
// fields that are around the bound of a whole field.
func TestFormatLengths(t *testing.T) {
	long := strings.Repeat("x", maxValueLen)
	for n := range maxValueLen + 2 {
		text := strings.Repeat("y", n)
		short := Field{AuthServID: text, Results: []Result{{Method: "m", Value: "r", Comment: text, Reason: text, EndComment: "e",
			Properties: []Property{{"p", "n", text}, {"p", "n", text}, {"p", "n", "v"}}}}}
		checkEndComment(t, short)
		short.Results[0].EndComment = ""
		checkFormat(t, short, short.Format())
	}
	around := func(n int) Field { // the longer n is, the longer the field
		f := Field{AuthServID: "mx", Results: []Result{{Method: "m", Value: "r", Comment: strings.Repeat("y", n), Reason: long[:128]}}}
		for i := range 60 {
			f.Results = append(f.Results, Result{Method: "m", Value: "r", Properties: []Property{{"p", "n", long[:maxValueLen-i%2]}}})
		}
		return f
	}
	least := 0
	for ; least < maxValueLen && !strings.Contains(around(least).Format(), omitted); least++ {
	}
	if least < 2 || least == maxValueLen {
		t.Fatalf("the bound of a field is not among these lengths: %d", least)
	}
	for n := least - 2; n < least+2; n++ {
		f := around(n)
		checkFormat(t, f, f.Format())
	}
	for n := range maxKeywordLen + 3 {
		f := Field{AuthServID: "mx", Results: []Result{{Method: strings.Repeat("m", n), Value: strings.Repeat("-", n) + "r", Properties: []Property{{PType("-" + strings.Repeat("p", n)), "n", "v"}}}}}
		checkFormat(t, f, f.Format())
	}
	for _, n := range []int{maxResults - 1, maxResults, maxResults + 1} {
		f := Field{AuthServID: "mx", Results: slices.Repeat([]Result{{Method: "m", Value: "r"}}, n)}
		checkFormat(t, f, f.Format())
		if got := strings.Count(f.Format(), "m=r"); got != min(n, maxResults) {
			t.Errorf("%d of %d results", got, n)
		}
	}
	for _, n := range []int{maxProperties - 1, maxProperties, maxProperties + 1} {
		f := Field{AuthServID: "mx", Results: []Result{{Method: "m", Value: "r", Properties: slices.Repeat([]Property{{"p", "n", "v"}}, n)}}}
		if got := strings.Count(f.Format(), "p.n=v"); got != min(n, maxProperties) {
			t.Errorf("%d of %d properties", got, n)
		}
	}
}

// checkEndComment checks that a comment after the properties is the last item, with a fold before it if
// the line is full.
func checkEndComment(t *testing.T, f Field) {
	t.Helper()
	got := f.Format()
	f.Results[0].EndComment = ""
	without := f.Format()
	last := without[strings.LastIndex(without, "\r\n")+len("\r\n"):]
	space := " "
	if len(last)+len(" (e);") > lineLen {
		space = "\r\n "
	}
	if got != without+space+"(e)" {
		t.Errorf("%q, without the comment %q", got, without)
	}
}

// TestKeywords compares cleanKeyword with the grammar: every short sequence of pieces.
func TestKeywords(t *testing.T) {
	whole := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
	for s := range octets.Words(4, "a", "Z", "0", "-", ".", "é", " ") {
		got := cleanKeyword(s)
		if !whole.MatchString(got) || whole.MatchString(s) != isKeyword(s) || isKeyword(s) && got != s {
			t.Errorf("%q becomes %q, keyword %t", s, got, isKeyword(s))
		}
	}
}

// TestOctets compares the sets of characters with the grammar.
func TestOctets(t *testing.T) {
	for c := range 256 {
		s := string([]byte{byte(c)})
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		ascii := c < 0x80
		for _, tt := range []struct {
			what      string
			got, want bool
		}{
			{"alnum", isAlnum(byte(c)), letter},
			{"token", isToken("a" + s), ascii && (letter || strings.Contains("!#$%&'*+-.^_`{|}~", s))},
			{"atext", isAtext(byte(c)), !ascii || letter || strings.Contains("!#$%&'*+-/=?^_`{|}~", s)},
			{"base64", isBase64(byte(c)), letter || s == "+" || s == "/"},
			{"control", isControl(byte(c)), c < ' ' && c != '\t' || c == 0x7f},
			{"value", isWritable("a"+s, false), ascii && c > ' ' && c < 0x7f && !strings.Contains(`;"\(),<>=`, s)},
			{"comment", commentChars[c&0x7f], c&0x7f >= ' ' && c&0x7f < 0x7f && !strings.Contains(`;"\()`, string([]byte{byte(c & 0x7f)}))},
			{"reason", reasonChars[c&0x7f], c&0x7f >= ' ' && c&0x7f < 0x7f && !strings.Contains(`;"\`, string([]byte{byte(c & 0x7f)}))},
		} {
			if tt.got != tt.want {
				t.Errorf("%s %q: %t", tt.what, s, tt.got)
			}
		}
	}
	label := regexp.MustCompile(`^[a-z\x{80}-\x{10ffff}]([a-z\x{80}-\x{10ffff}-]*[a-z\x{80}-\x{10ffff}])?$`)
	atom := regexp.MustCompile(`^[^.@(]+(\.[^.@(]+)*$`)
	for s := range octets.Words(5, "a", "-", ".", "é", "@", "(") {
		name := true
		for _, l := range strings.Split(s, ".") {
			name = name && label.MatchString(l)
		}
		if got := isDomainName(s); got != name {
			t.Errorf("domain %q: %t", s, got)
		}
		if got := isDotAtom(s); got != atom.MatchString(s) {
			t.Errorf("dot-atom %q: %t", s, got)
		}
		local, domain, found := strings.Cut(s, "@")
		want := found && (local == "" || atom.MatchString(local)) && isDomainName(domain) && strings.Contains(domain, ".")
		if got := isPlainAddress(s); got != want {
			t.Errorf("address %q: %t", s, got)
		}
	}
}

// TestPrefixesBySearch compares SignaturePrefixes with a search for the shortest prefixes.
func TestPrefixesBySearch(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		in := make([]string, r.IntN(5))
		plain := make([]string, len(in))
		for i := range in {
			for n := r.IntN(80); n > 0; n-- {
				in[i] += []string{"a", "a", "a", "a", "a", "a", "a", "a", "b", " ", "=", "\r\n "}[r.IntN(12)]
			}
			plain[i] = strings.NewReplacer(" ", "", "=", "", "\r\n", "").Replace(in[i])
			plain[i] = plain[i][:min(len(plain[i]), maxPrefix)]
		}
		got := SignaturePrefixes(in)
		for i, s := range plain {
			n := minPrefix
			for j, other := range plain {
				if i != j {
					same := 0
					for same < min(len(s), len(other)) && s[same] == other[same] {
						same++
					}
					n = max(n, same+1)
				}
			}
			if want := s[:min(n, len(s))]; got[i] != want {
				t.Fatalf("%q: prefix %d is %q, want %q", in, i, got[i], want)
			}
		}
	}
}

// TestClaimedSPFGrammar compares with a plain reading of Received-SPF: every short sequence of pieces without
// quotes.
func TestClaimedSPFGrammar(t *testing.T) {
	ids := NewIDs("mx.o")
	receiver := regexp.MustCompile(`(?i)(?:^|[ ;,])receiver *=([^;]*)`)
	word := regexp.MustCompile(`(?:^|[^-_a-zA-Z0-9.])\.*(?i:mx\.o)\.*(?:$|[^-_a-zA-Z0-9.])`)
	for value := range octets.Words(4, "receiver", "=", "mx.o", "(", ")", `\`, ";", " ", "x") {
		var comments, rest strings.Builder
		depth := 0
		for i := 0; i < len(value); i++ {
			to := &rest
			if depth > 0 {
				to = &comments
			}
			switch c := value[i]; {
			case c == '\\' && depth > 0 && i+1 < len(value):
				i++
				to.WriteByte(value[i])
			case c == '(':
				depth++
				comments.WriteByte(' ')
				rest.WriteByte(' ')
			case c == ')' && depth > 0:
				depth--
			default:
				to.WriteByte(c)
			}
		}
		receivers := ""
		for _, m := range receiver.FindAllStringSubmatch(rest.String(), -1) {
			receivers += m[1] + " "
		}
		named := word.MatchString(comments.String()) || word.MatchString(receivers)
		signed := strings.TrimSpace(comments.String()+receivers) != ""
		if got := ids.NamedInSPF(value); got != named {
			t.Errorf("%q names us: %t", value, got)
		}
		if got := ids.ClaimedSPF(value); got != (named || !signed) {
			t.Errorf("%q claims us: %t", value, got)
		}
	}
	for n, want := range map[int]bool{maxTraceLen - 1: false, maxTraceLen: false, maxTraceLen + 1: true} {
		if got := ids.NamedInSPF("pass (x) " + strings.Repeat("y", n-len("pass (x) "))); got != want {
			t.Errorf("%d octets: %t", n, got)
		}
	}
}
