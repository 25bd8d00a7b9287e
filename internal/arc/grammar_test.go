package arc

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns/zone"
	"sekimori/internal/testkit/octets"
	"sekimori/internal/testkit/signer"
)

// instanceField is the beginning of an ARC-Authentication-Results value (RFC 8617 §4.1.1), with comments
// nested up to four deep.
var instanceField = func() *regexp.Regexp {
	comment := `\(\)`
	for range 4 {
		comment = `\((?:[^()\\]|\\.|` + comment + `)*\)`
	}
	cfws := `(?:[ \t\r\n]|` + comment + `)*`
	return regexp.MustCompile(`(?s)^` + cfws + `i` + cfws + `=` + cfws + `([0-9]*)` + cfws + `;(.*)$`)
}()

func checkInstance(t *testing.T, value string) {
	t.Helper()
	want, payload := 0, ""
	if m := instanceField.FindStringSubmatch(value); m != nil {
		payload = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil && len(m[1]) <= 2 && n <= 50 {
			want = n
		}
	}
	if got, rest := resultsInstance(value); got != want || rest != payload {
		t.Errorf("%q: %d %q, want %d %q", value, got, rest, want, payload)
	}
}

// FuzzPayload compares resultsInstance with the grammar, and remoteIP with a second reader, on values made of pieces.
func FuzzPayload(f *testing.F) {
	pieces := []string{
		"i", "=", "1", ";", "(", ")", `\`, " ", "\r\n\t", "x", "5", "0", `"`, "smtp.remote-ip", "SMTP.Remote-IP", "192.0.2.1", "2001:db8::1", "IPv6:", "::ffff:192.0.2.1", "%eth0", "mx", "reason=",
	}
	for _, s := range []string{" (a (x) \\)) i (x)=\r\n\t 50 ;x", `i=1;mx;x=x reason="x \"" smtp.remote-ip=(x)"IPv6:2001:db8::1";x`} {
		f.Add(octets.Program(s, pieces...))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		value := octets.Chosen(program, pieces...)
		if strings.Count(value, "(") > 4 {
			return // deeper than the expressions know comments
		}
		checkInstance(t, value)
		checkRemoteIP(t, value)
	})
}

// payloadToken is a comment, a quoted string, a separator or a word of a payload. What is not closed goes on to the end.
var payloadToken = func() *regexp.Regexp {
	comment := `\((?:[^()\\]|\\.|\\$)*(?:\)|$)`
	for range 4 {
		comment = `\((?:[^()\\]|\\.|\\$|` + comment + `)*(?:\)|$)`
	}
	return regexp.MustCompile(`(?s)` + comment + `|"(?:[^"\\]|\\.|\\$)*(?:"|$)|[;=]|[^ \t\r\n;=("]+`)
}()

// checkRemoteIP compares remoteIP with a reader that knows the property by its tokens.
func checkRemoteIP(t *testing.T, payload string) {
	t.Helper()
	tokens := slices.DeleteFunc(payloadToken.FindAllString(payload, -1), func(s string) bool { return s[0] == '(' })
	tokens = append(tokens, "", "", "")
	var want netip.Addr
	for i := range len(tokens) - 2 {
		if strings.EqualFold(tokens[i], "smtp.remote-ip") && tokens[i+1] == "=" {
			addr, _ := netip.ParseAddr(strings.TrimPrefix(strings.Trim(tokens[i+2], `"`), "IPv6:"))
			want = addr.WithZone("").Unmap()
			break
		}
	}
	if got := remoteIP(payload); got != want {
		t.Errorf("%q: %s, want %s", payload, got, want)
	}
}

// TestInstanceGrammar compares resultsInstance with the grammar: every short sequence of pieces, and a
// sample cut after each octet.
func TestInstanceGrammar(t *testing.T) {
	check := func(value string) {
		t.Helper()
		checkInstance(t, value)
	}
	for word := range octets.Words(5, "i", "=", "1", ";", "(", ")", `\`, " ", "\r\n\t", "x") {
		check(word)
	}
	for _, value := range []string{"\ti\t=\t1\t;\tx", " (a (b) \\)) i (c)=\r\n 50 ;x", "i=51;", "i=07;x", "i=999;x", "i=;x", " =1; x", " i 1; x", "I=1;"} {
		for _, cut := range octets.Cuts(value) {
			check(cut)
		}
		for _, gap := range octets.Gaps(value) {
			check(gap)
		}
	}
	for n := range 120 {
		for _, text := range []string{fmt.Sprint(n), fmt.Sprintf("0%d", n), fmt.Sprintf("%d ", n), fmt.Sprintf("-%d", n), fmt.Sprintf("+%d", n)} {
			want := 0
			if len(text) <= 2 && n <= maxSets && strings.Trim(text, "0123456789") == "" {
				want = n
			}
			if got := parseInstance(text); got != want {
				t.Errorf("parseInstance(%q) = %d", text, got)
			}
		}
	}
}

// TestDamagedPayload says which address remoteIP finds in payloads that are damaged.
func TestDamagedPayload(t *testing.T) {
	octets.Golden(t, "testdata/remoteip.txt", []string{
		` mx; arc=pass (a (b) \)) reason="x \" y" smtp.remote-ip = "IPv6:2001:db8::1"; spf=pass`,
		"mx;\r\n\tspf=pass\r\n smtp.remote-ip\r\n =(c)192.0.2.10;x",
		`mx; smtp.remote-ip smtp.remote-ip=x smtp.remote-ip=192.0.2.1`,
	}, func(payload string) string { return fmt.Sprint(remoteIP(payload)) })
}

// verdict is the outcome of a chain in one line.
func verdict(r Result) string {
	return fmt.Sprintf("%s %s %d %s %d (%s)", r.Status, r.Reason, r.Instance, r.Signature, r.OldestPass, r.Detail)
}

// TestDamagedSet says what becomes of a chain of one set if an octet of one of its fields is lost, or if
// the field ends early: only where the octet is white space it still passes.
func TestDamagedSet(t *testing.T) {
	mail := chain(t, 1, testMail)
	z, now := zoneFor(), time.Unix(1_790_000_000, 0)
	var fields []string
	rest := mail
	for range 3 {
		end := strings.Index(rest, "\r\nARC-")
		if end < 0 {
			end = strings.Index(rest, "\r\nFrom:")
		}
		fields, rest = append(fields, rest[:end]), rest[end+2:]
	}
	octets.Golden(t, "testdata/damaged.txt", fields, func(field string) string {
		var b strings.Builder
		found := false
		for _, f := range fields {
			if !found && isDamaged(f, field) {
				f, found = field, true
			}
			b.WriteString(f + "\r\n")
		}
		return verdict(validate(t, b.String()+rest, z, dkim.Options{Now: now}))
	})
}

// isDamaged reports whether damaged is a beginning of s, or s without one octet.
func isDamaged(s, damaged string) bool {
	n := 0
	for n < len(damaged) && n < len(s) && damaged[n] == s[n] {
		n++
	}
	return n == len(damaged) || n < len(s) && damaged[n:] == s[n+1:]
}

// chainPieces are header fields: first those of a chain of three sets, from the oldest set to the newest,
// then others that break it.
type chainPieces struct {
	genuine, others []string
	zone            *zone.Zone
}

const hops = 3

func newChainPieces(tb testing.TB) chainPieces {
	tb.Helper()
	p := chainPieces{zone: zoneFor()}
	h, _ := signer.Split([]byte(chain(tb, hops, testMail)))
	for _, f := range h {
		if strings.HasPrefix(f.Name, "ARC-") {
			p.genuine = append([]string{f.String()}, p.genuine...)
		}
	}
	for _, f := range p.genuine {
		for _, change := range [][2]string{{"i=1", "i=2"}, {"i=2", "i=3"}, {"i=3", "i=1"}, {"cv=pass", "cv=fail"}, {"cv=none", "cv=pass"}, {"; d=", "; h=from; d="},
			{"spf=pass", "spf=fail"}, {" i=", " i=(;"}, {"ed25519-sha256", "rsa-sha1"}, {"b=", "b=A"}, {"i=1", "i=0"}, {"i=2", "i=52"}, {"s=s;", "s=t;"}, {"h=from", "h=arc-seal:from"}} {
			if changed := strings.Replace(f, change[0], change[1], 1); changed != f {
				p.others = append(p.others, changed)
			}
		}
	}
	// Seals that their sealers made, with a wrong cv= or over another chain.
	for i := 1; i <= hops; i++ {
		for _, s := range []signer.Set{{I: i, CV: "pass"}, {I: i, CV: "none"}, {I: i, CV: "fail"}, {I: i, CV: "PASS"}, {I: i, AS: "h=from;"}, {I: i, BreakAS: true}} {
			field, _, _ := strings.Cut(seal(tb, s, chain(tb, i-1, testMail)), "\r\nARC-Message")
			if !slices.Contains(p.genuine, field) {
				p.others = append(p.others, field)
			}
		}
	}
	p.others = append(p.others, "From: Eve <eve@example.net>", "Subject: another", "X-Other: 1", "ARC-Seal: i=1; cv=none", "ARC-Authentication-Results: i=4; x", "ARC-Message-Signature: x")
	return p
}

// check validates a message with the chosen fields above its own, and compares with what the fields say:
// the chain passes exactly if the ARC fields are those of the first sets, each once, in any order, and From
// and Subject are signed.
func (p chainPieces) check(t *testing.T, program []byte) {
	t.Helper()
	all := append(append([]string{}, p.genuine...), p.others...)
	var head strings.Builder
	seen := map[string]int{}
	arcFields, broken := 0, false
	for _, c := range program[:min(len(program), 16)] {
		f := all[int(c)%len(all)]
		head.WriteString(f + "\r\n")
		seen[f]++
		arcFields += map[bool]int{true: 1}[strings.HasPrefix(f, "ARC-")]
		broken = broken || strings.HasPrefix(f, "From:")
	}
	want := None
	if arcFields > 0 {
		want = Fail
		for sets := 1; sets <= hops; sets++ {
			whole := arcFields == 3*sets && !broken
			for _, f := range p.genuine[:3*sets] {
				whole = whole && seen[f] == 1
			}
			if whole {
				want = Pass
			}
		}
	}
	r := validate(t, head.String()+testMail, p.zone, dkim.Options{Now: time.Unix(1_790_000_000, 0)})
	if r.Status != want || (r.Status == Pass) != (r.Reason == "" && len(r.Sets) > 0) || len(r.Sets) > arcFields {
		t.Fatalf("%s, want %s: %+v\n%s", r.Status, want, r, head.String())
	}
}

// TestChosenFields checks messages with every choice of the fields of two sets, and a chain with each
// other field in the place of one of its own, or beside it.
func TestChosenFields(t *testing.T) {
	p := newChainPieces(t)
	for set := range 1 << 6 {
		var program []byte
		for i := range 6 {
			if set>>i&1 != 0 {
				program = append(program, byte(i))
			}
		}
		p.check(t, program)
	}
	for n := 1; n <= hops; n++ {
		whole := whole(n)
		for i := range p.others {
			other := byte(len(p.genuine) + i)
			p.check(t, append([]byte{other}, whole...))
			for at := range whole {
				replaced := append([]byte{}, whole...)
				replaced[at] = other
				p.check(t, replaced)
			}
		}
	}
}

// whole returns the fields of the first sets, the newest set on top.
func whole(sets int) []byte { return []byte{8, 7, 6, 5, 4, 3, 2, 1, 0}[3*(hops-sets):] }

// FuzzChain changes a chain and compares the status with what the fields say. at chooses a place, and whether a
// field is replaced or added there. more has further changes, of two octets each.
func FuzzChain(f *testing.F) {
	p := newChainPieces(f)
	for sets := range hops + 1 {
		for at, field := range whole(sets) {
			f.Add(byte(sets), byte(128+at), field, []byte{})
		}
	}
	f.Add(byte(0), byte(0), byte(0), []byte{0, 1, 0, 2})
	f.Fuzz(func(t *testing.T, sets, at, field byte, more []byte) {
		program := slices.Clone(whole(int(sets) % (hops + 1)))
		for c := range slices.Chunk(append([]byte{at, field}, more[:min(len(more), 14)]...), 2) {
			at := int(c[0]) % 128 % (len(program) + 1)
			switch field := c[len(c)-1]; {
			case c[0] < 128:
				program = slices.Insert(program, at, field)
			case at < len(program):
				program[at] = field
			}
		}
		p.check(t, program)
	})
}
