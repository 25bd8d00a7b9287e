package authres

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

const ourID = "mx.example.jp"

func TestClaimed(t *testing.T) {
	const tail = "; dkim=pass header.d=bank.example"
	for _, c := range []struct {
		reason, value string
	}{
		{"as we write it", " mx.example.jp; none"},
		{"no space", "mx.example.jp" + tail},
		{"case", " MX.Example.JP" + tail},
		{"version", " mx.example.jp 1" + tail},
		{"unknown version, RFC 8601 §5", " mx.example.jp 999" + tail},
		{"version after a slash", " mx.example.jp/1" + tail},
		{"quoted", ` "mx.example.jp"` + tail},
		{"quoted, with escapes", ` "\mx.exam\ple.jp"` + tail},
		{"quoted, with space inside", ` " mx.example.jp "` + tail},
		{"single quotes", ` 'mx.example.jp'` + tail},
		{"angle brackets", ` <mx.example.jp>` + tail},
		{"comments", " (c) mx.example.jp (d) 1" + tail},
		{"nested comments", " (a (b) ; \\) c) mx.example.jp" + tail},
		{"semicolon in a comment", " (;) mx.example.jp" + tail},
		{"semicolon in a comment and a quote", ` (";) mx.example.jp` + tail},
		{"comment inside the name", " mx.(x)example.jp" + tail},
		{"comment that never ends", " (x mx.example.jp" + tail},
		{"comment closed too often", " (x)) mx.example.jp" + tail},
		{"quote that never ends", ` "mx.example.jp` + tail},
		{"quote inside the name", ` mx."example".jp` + tail},
		{"comment sign in quotes, for a reader without quotes", ` "(" ; x) mx.example.jp` + tail},
		{"quote sign in a comment, for a reader without comments", ` (") x;" mx.example.jp` + tail},
		{"folded", "\r\n\tmx.example.jp\r\n " + tail},
		{"folded by bare LF, as Postfix hands it over", "\n mx.example.jp\n " + tail},
		{"space before the semicolon", " mx.example.jp ;none"},
		{"space around the dots", " mx . example . jp" + tail},
		{"fold inside the name", " mx.exam\r\n ple.jp" + tail},
		{"other white space", "\v\fmx.example.jp\u00a0" + tail},
		{"trailing dot", " mx.example.jp." + tail},
		{"dots around", " ..mx.example.jp.." + tail},
		{"no semicolon", " mx.example.jp dkim=pass header.d=bank.example"},
		{"nothing else", "mx.example.jp"},
		{"other separators", " mx.example.jp, dkim=pass"},
		{"equals sign", " mx.example.jp=1" + tail},
		{"empty id first", " ; mx.example.jp" + tail},
		{"comment for an id", " (x); mx.example.jp" + tail},
		{"empty quotes for an id", ` ""; mx.example.jp` + tail},
		{"second word", " relay mx.example.jp" + tail},
		{"first word", " mx.example.jp relay" + tail},
		{"NUL", " mx.example.jp\x00" + tail},
		{"NUL inside", " mx.exam\x00ple.jp" + tail},
		{"8-bit after it", " mx.example.jp\xa0" + tail},
		{"8-bit inside", " mx.exam\xffple.jp" + tail},
		{"soft hyphen inside", " mx.exam\u00adple.jp" + tail},
		{"zero width space inside", " mx.exam\u200bple.jp" + tail},
		{"byte order mark", "\ufeffmx.example.jp" + tail},
		{"full-width letters", " ｍｘ．ｅｘａｍｐｌｅ．ｊｐ" + tail},
		{"full-width letters, and a long text that does not belong to the name", " ｍｘ．ｅｘａｍｐｌｅ．ｊｐ/" + strings.Repeat("x", maxWord) + tail},
		{"a word that is as long as one that is mapped", " ｍｘ．ｅｘａｍｐｌｅ．ｊｐ=" + strings.Repeat("x", maxWord-len("ｍｘ．ｅｘａｍｐｌｅ．ｊｐ=")) + tail},
		{"a backslash at the end of quotes", ` "mx.example.jp\`},
		{"a quoted quote and a semicolon before it", `"a\";" mx.example.jp; none`},
		{"an opening angle bracket in it", " mx.<example.jp" + tail},
		{"ideographic full stop", " mx。example。jp" + tail},
		{"quoted parentheses, which a pattern takes for a comment", ` mx."(x)"example.jp` + tail},
		{"escaped parentheses, likewise", ` mx.\(x\)example.jp` + tail},
		{"encoded-word, Q", " =?utf-8?q?mx=2Eexample=2Ejp?=" + tail},
		{"encoded-word, B", " =?UTF-8?B?bXguZXhhbXBsZS5qcA==?=" + tail},
		{"encoded-words, folded", " =?utf-8?q?mx=2E?=\r\n =?utf-8?q?example=2Ejp?=" + tail},
		{"encoded-word of an unknown charset", " =?x-own?q?mx=2Eexample=2Ejp?=" + tail},
		{"encoded-word, UTF-16", " =?utf-16be?b?AG0AeAAuAGUAeABhAG0AcABsAGUALgBqAHA=?=" + tail},
		{"encoded-word, UTF-7", " =?utf-7?q?mx+AC4-example+AC4-jp?=" + tail},
		{"encoded-word, EBCDIC", " =?cp037?q?=94=A7K=85=A7=81=94=97=93=85K=91=97?=" + tail},
		{"encoded-word with something hidden in it", " =?utf-8?q?mx=2E=E2=80=8Bexample=2Ejp?=" + tail},
		{"encoded-word with a semicolon", " =?utf-8?q?_;mx=2Eexample=2Ejp?=" + tail},
		{"field name again", " Authentication-Results: mx.example.jp" + tail},
		{"far away, after a long comment", " (" + strings.Repeat("x", maxHeadLen) + ") mx.example.jp" + tail},
		{"something hidden after a long comment", " (" + strings.Repeat("x", maxHeadLen) + ") other.example" + tail},
	} {
		for _, id := range []string{ourID, "MX.example.jp", "mx.example.jp."} {
			if !NewIDs(id).Claimed(c.value) {
				t.Errorf("%s: %q is not recognised as %s", c.reason, c.value, id)
			}
		}
	}
}

func TestClaimedForeign(t *testing.T) {
	const tail = `; spf=pass smtp.mailfrom=a@mx.example.jp; dkim=pass (mx.example.jp) header.d="mx.example.jp;"`
	for _, c := range []struct{ reason, value string }{
		{"another host", " relay.example.net" + tail},
		{"another host, quoted", ` "relay.example.net"` + tail},
		{"comment with balanced quotes", ` relay.example.net (a "b" c)` + tail},
		{"ours as a beginning", " mx.example.jp.attacker.net" + tail},
		{"ours as an end", " notmx.example.jp" + tail},
		{"below ours", " a.mx.example.jp" + tail},
		{"with a hyphen before", " a-mx.example.jp" + tail},
		{"with a hyphen after", " mx.example.jp-a.net" + tail},
		{"with an underscore", " _mx.example.jp" + tail},
		{"above ours", " example.jp" + tail},
		{"a digit more", " mx.example.jp2" + tail},
		{"another letter", " mx1.example.jp" + tail},
		{"the dots are not wildcards", " mxxexample.jp" + tail},
		{"a longer label in another script", " émx.example.jp" + tail},
		{"a U-label", " mx.exámple.jp" + tail},
		{"its A-label", " mx.xn--exmple-qta.jp" + tail},
		{"ARC instance first: that is another field", " i=1" + tail},
		{"too long a word to be mapped", " ｍｘ．ｅｘａｍｐｌｅ．ｊｐ=" + strings.Repeat("x", maxWord-len("ｍｘ．ｅｘａｍｐｌｅ．ｊｐ=")+1) + tail},
		{"empty", ""},
		{"nothing but white space", " \r\n "},
		{"broken encoded-word", " =?utf-8?q?relay" + tail},
	} {
		if NewIDs(ourID).Claimed(c.value) {
			t.Errorf("%s: %q counts as ours", c.reason, c.value)
		}
	}
}

// TestClaimedNamesOfOtherScripts: a header of 1 MiB with names in other scripts once took ten
// seconds of processor time, because the names were converted to A-labels. It now takes about a
// tenth of a second.
func TestClaimedNamesOfOtherScripts(t *testing.T) {
	const characters, fields, most = 330, 1000, 3 * time.Second
	ids := NewIDs("mx.example.jp")
	begin := cpuTime(t)
	for i := range fields {
		var name strings.Builder
		for j := range characters {
			name.WriteRune(rune(0x4e00 + (i+37*j)%20000))
		}
		if ids.Claimed(" " + name.String() + "; dmarc=pass") {
			t.Fatalf("%s counts as ours", name.String())
		}
	}
	if took := cpuTime(t) - begin; took > most {
		t.Errorf("it took %s", took)
	}
}

// cpuTime returns the processor time of this process: on a busy machine the time of day says little.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestClaimedInternational(t *testing.T) {
	for _, c := range []struct {
		reason, value, id string
		want              bool
	}{
		{"U-label for our A-label", " mx.例え.jp; none", "mx.xn--r8jz45g.jp", true},
		{"A-label for our U-label", " mx.xn--r8jz45g.jp; none", "mx.例え.jp", true},
		{"U-label in the other case", " mx.BÜCHER.example; none", "mx.bücher.example", true},
		{"an id that is not a host name", ` "the id; of ours"; none`, "the id; of ours", true},
		{"another such", ` "the id"; none`, "the id; of ours", false},
		{"an empty id claims nothing else", " mx.example.jp; none", "", false},
	} {
		if got := NewIDs(c.id).Claimed(c.value); got != c.want {
			t.Errorf("%s: NewIDs(%q).Claimed(%q) = %t", c.reason, c.value, c.id, got)
		}
	}
}

func FuzzClaimed(f *testing.F) {
	for _, s := range []string{"", " ", "(", "(a\\", `"`, "=?utf-8?q?", "=?a?b?====?=", "xn--", "\xff", "((((", "\\", "(;", "\";",
		"foreign.example ", strings.Repeat("mx.example.jp", 20)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		NewIDs(b).Claimed(a)
		// A comment or white space beside the id does not hide the id.
		c := Field{AuthServID: "x", Results: []Result{{Method: "m", Value: "r", Comment: a}}}.clean().Results[0].Comment
		if v := " " + comment(c) + " MX.example.jp " + comment(c) + " 1; none"; !NewIDs(ourID).Claimed(v) {
			t.Errorf("hidden by a comment: %q", v)
		}
		// The id is found if it is a word of its own. Text before it does not hide it.
		if v := strings.ReplaceAll(a, ";", "") + " mx.example.jp ;" + b; !NewIDs(ourID).Claimed(v) {
			t.Errorf("hidden by words: %q", v)
		}
	})
}

// TestEmptyName has an id that software which knows IDNA takes for an empty name.
func TestEmptyName(t *testing.T) {
	for _, id := range []string{"xn--", "XN--."} {
		ids := NewIDs(id)
		for value, want := range map[string]bool{"": false, " ": false, "mx.example.jp; none": false, "é": false, "a.xn--; none": false, " xn--; none": true, "(a) XN--.": true} {
			if got := ids.Claimed(value); got != want {
				t.Errorf("%q is claimed as the field of %q: %t", value, id, got)
			}
		}
	}
	if NewIDs("").Claimed("(") { // no id can be read, which is not the same as an empty one
		t.Error("a field that cannot be read is claimed for an empty id")
	}
}

// TestHostileSizes would take much too long if the work grew faster than the input.
func TestHostileSizes(t *testing.T) {
	const size = 256 << 10
	for _, s := range []string{"(", ")", `"`, `\`, "(\\", ";", " ", "\r\n ", ".", "mx.example.jp", ".mx.example.jp", "=?a?q?",
		"=?utf-8?q?x?= ", "xn--a.", "é", "\xff", "a", "a;", "(a)", `"a"`} {
		value := strings.Repeat(s, size/len(s))
		NewIDs(ourID).Claimed(value)
		NewIDs(ourID).Claimed(" foreign.example; " + value)
		NewIDs(value).Claimed(ourID)
		if _, err := Parse(value); err == nil {
			t.Errorf("%q repeated is well-formed", s)
		}
		f := Field{AuthServID: value, Results: []Result{{Method: value, Value: value, Comment: value, Reason: value, Properties: []Property{{"p", value, value}}}}}
		checkFormat(t, f, f.Format())
		for _, p := range SignaturePrefixes([]string{value, value}) {
			if len(p) > maxPrefix {
				t.Errorf("prefix of %d octets", len(p))
			}
		}
	}
}
