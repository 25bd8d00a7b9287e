package wholepath

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/opinion"
)

// spfTerms are the terms from which records are generated. %D is replaced by a domain, %H by a
// host. The names say what is special about a term; knownSPF and faulty refer to them.
var spfTerms = []variant{
	{"", "a"}, {"", "a:%H"}, {"", "a:%H/24"}, {"", "a:%H//64"}, {"", "mx"}, {"", "mx:%D"}, {"", "mx:%D/25"}, {"", "ip4:192.0.2.0/24"}, {"", "ip4:203.0.113.9"},
	{"", "ip6:2001:db8::/32"}, {"", "ip6:2001:db9::1"}, {"", "include:%D"}, {"", "include:%D"}, {"", "exists:%H"}, {"", "ptr"}, {"", "ptr:%D"},
	{"macro", "exists:%{ir}.%D"}, {"macro", "a:%{d}"}, {"macro", "include:%{d2}"}, {"macro", "exists:%{l}.%{o}"}, {"macro", "a:%{h}"}, {"macro", "exists:%{p}.%D"},
	{"macro", "exists:%{L1r+-}.%D"}, {"macro", "exists:%{v}.%{i}.%D"}, {"macro", "a:%%%_%-.%D"}, {"bad macro", "exists:%{x}.%D"},
	{"bad macro", "exists:%{d}%"}, {"exp macro", "exists:%{c}.%D"},
	{"bad ip", "ip4:192.0.2.256"}, {"bad mask", "ip4:192.0.2.0/33"}, {"bad mask", "a/99"}, {"bad ip", "ip6:2001:db8"}, {"zero mask", "ip4:1.2.3.4/0"},
	{"leading zero", "ip4:192.0.2.1/024"},
	{"bad", "unknown:%D"}, {"bad", "include:"}, {"bad", "exists"}, {"bad name", "a:..%D"}, {"bad", "all:%D"}, {"bad", "ip4"}, {"top label", "a:host.123"},
	{"modifier", "x-y=%D"}, {"bad modifier macro", "foo=%{bar"}, {"exp", "exp=%D"}, {"redirect", "redirect=%D"}, {"redirect", "redirect=%D"},
	{"8-bit", "a:\u00e9.%D"}, {"capitals", "A:%H"}, {"capitals", "IP4:192.0.2.0/24"}, {"capitals", "Include:%D"}, {"single label", "a:localhost"},
}

// spfCase generates a zone with a few domains that have SPF records, and hosts. Some records are
// faulty and some hosts do not answer.
func spfCase(r *rand.Rand) (zoneText string, features map[string]bool) {
	features = map[string]bool{}
	var b strings.Builder
	domain := func() string { return fmt.Sprintf("d%d.example", r.IntN(6)) }
	host := func() string { return fmt.Sprintf("h%d.example", r.IntN(5)) }
	for i := range 5 { // d5.example is also referred to, but does not exist
		if r.IntN(12) == 0 {
			fmt.Fprintf(&b, "d%d.example A 192.0.2.1\n", i)
			continue
		}
		fmt.Fprintf(&b, "d%d.example TXT \"v=spf1", i)
		for range 1 + r.IntN(4) {
			v := spfTerms[r.IntN(len(spfTerms))]
			if v.name != "" && v.name != "macro" && v.name != "redirect" && r.IntN(3) > 0 {
				v = spfTerms[r.IntN(16)]
			}
			features[v.name] = true
			text := strings.ReplaceAll(strings.ReplaceAll(v.text, "%D", domain()), "%H", host())
			if !strings.Contains(text, "=") {
				text = []string{"", "", "+", "-", "~", "?"}[r.IntN(6)] + text
			}
			b.WriteString(" " + text)
		}
		b.WriteString([]string{"", " -all", " ~all", " ?all", " +all"}[r.IntN(5)] + "\"\n")
		if r.IntN(15) == 0 {
			features["two records"] = true
			fmt.Fprintf(&b, "d%d.example TXT \"v=spf1 +all\"\n", i)
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "d%d.example MX 10 %s\nd%d.example MX 20 %s\n", i, host(), i, host())
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "d%d.example A 192.0.2.%d\n", i, r.IntN(3))
		}
	}
	for i := range 4 { // h4.example is also referred to, but does not exist
		switch r.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "h%d.example A 192.0.2.%d\n", i, r.IntN(3))
		case 1:
			fmt.Fprintf(&b, "h%d.example AAAA 2001:db8::%d\n", i, r.IntN(3))
		case 2:
			fmt.Fprintf(&b, "h%d.example A 203.0.113.%d\nh%d.example AAAA 2001:db8::%d\n", i, r.IntN(3), i, r.IntN(3))
		case 3:
			if r.IntN(3) == 0 {
				features["servfail"] = true
				fmt.Fprintf(&b, "! h%d.example * servfail\n", i)
			}
		}
	}
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "1.2.0.192.in-addr.arpa PTR %s\n", host())
	}
	return b.String(), features
}

// knownSPF lists the known differences between our results and those of blitiri.com.ar/go/spf. The
// pattern "ours" matches our result, written as "result reason: problem". The pattern "theirs"
// matches the result of the other implementation, written as "result (error)". If "voids" or
// "needs" is set, an entry explains a difference only if this condition is met too.
var knownSPF = []struct {
	ours, theirs *regexp.Regexp
	voids        func(n int) bool // returns true if n is allowed; n is the number of questions that found no record
	needs        string           // name of a term or fault that the zone must have
	why          string
}{
	{
		regexp.MustCompile(`^permerror syntax: .*malformed prefix length`), regexp.MustCompile(``), nil, "",
		`RFC 7208 §5.6: ip4-cidr-length = "/" ("0" / %x31-39 0*1DIGIT), without a leading zero`,
	},
	{
		regexp.MustCompile(`^permerror syntax: .*top label is a number`), regexp.MustCompile(``), nil, "",
		`RFC 7208 §7.1: toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum ): it has a letter or a hyphen`,
	},
	{
		regexp.MustCompile(`^permerror syntax: .*ends in neither a macro nor a dot`), regexp.MustCompile(``), nil, "",
		`RFC 7208 §7.1: domain-end = ( "." toplabel [ "." ] ) / macro-expand`,
	},
	{
		regexp.MustCompile(`^permerror syntax: .*not printable US-ASCII`), regexp.MustCompile(``), nil, "",
		`RFC 7208 §7.1: macro-literal = %x21-24 / %x26-7E`,
	},
	{
		regexp.MustCompile(`^permerror syntax: .*"foo=%{bar": unfinished macro`), regexp.MustCompile(``), nil, "",
		`RFC 7208 §6: unknown-modifier = name "=" macro-string: its value is ignored, its syntax is not`,
	},
	{
		regexp.MustCompile(`^permerror syntax: `), regexp.MustCompile(``), nil, "",
		`RFC 7208 §4.6: "if there are any syntax errors anywhere in the record, check_host() returns immediately with the result "permerror", without further ` +
			`interpretation or evaluation"; the other evaluates term by term, and what follows a match, an include's too, is not read`,
	},
	{
		regexp.MustCompile(`^permerror void-limit: `), regexp.MustCompile(``), func(n int) bool { return n > spf.MaxVoidLookups }, "",
		`RFC 7208 §5: an "a" or "mx" asks for the addresses of the client's family, §5.7: exists asks for A only; the other counts a lookup as void only if ` +
			`neither family has an address`,
	},
	{
		regexp.MustCompile(`^permerror void-limit: `), regexp.MustCompile(``), func(n int) bool { return n <= spf.MaxVoidLookups }, "",
		`RFC 7208 §4.6.4: to limit the number of "terms" for which DNS queries return either a positive answer (RCODE 0) with an answer count of 0, or a ` +
			`"Name Error" (RCODE 3) answer: a question asked once counts for each term that needs it, as two ptr do`,
	},
	{
		regexp.MustCompile(`^(pass|fail|softfail|neutral) `), regexp.MustCompile(`^temperror \(lookup .* servfail`), nil, "",
		`RFC 7208 §5.4: "The <ip> is compared to each returned IP address": a match at one MX host leaves nothing to ask of a later one, whose failure the ` +
			`other meets first`,
	},
	{
		regexp.MustCompile(`^(pass|fail|softfail|neutral|temperror) `), regexp.MustCompile(`^permerror \(void lookup limit`), nil, "bad name",
		`RFC 7208 §4.8: "Some implementations choose to treat as a no-match mechanisms, and ignore modifiers, with such names": a name with an empty label is ` +
			`not asked for here, the other counts it as void`,
	},
}

var spfCases = flag.Int("spf-cases", 6000, "how many zones TestSPFDifferences generates")

// TestSPFDifferences compares our results with those of blitiri.com.ar/go/spf on generated zones.
// If the two results differ, an entry of knownSPF must explain this. Each entry of knownSPF must be
// needed at least once.
func TestSPFDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(7208, 4408))
	shown := make([]int, len(knownSPF))
	results, differences := map[spf.Result]int{}, 0
	clients := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("203.0.113.1")}
	for i := range *spfCases {
		text, features := spfCase(r)
		z, err := zone.Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		args := spf.Args{IP: clients[r.IntN(len(clients))], HELO: "h0.example", MailFrom: "a-b@d0.example", Now: today}
		ours := spf.CheckMailFrom(t.Context(), z, args)
		asked := z.Queries()
		sameAhead(t, i, text, ours, z, args)
		theirs, why := opinion.SPF(z, args.IP, args.HELO, args.MailFrom)
		results[ours.Result]++
		if string(ours.Result) == theirs {
			continue
		}
		differences++
		vain := inVain(t, z, asked)
		// We may report a syntax error only if the zone has a term that may be faulty.
		explained := false
		if ours.Reason == spf.ReasonSyntax && !faulty(features) {
			t.Errorf("%d: %s\n%s", i, ours.Problem, text)
		}
		for n, k := range knownSPF {
			if k.ours.MatchString(fmt.Sprintf("%s %s: %s", ours.Result, ours.Reason, ours.Problem)) &&
				k.theirs.MatchString(fmt.Sprintf("%s (%v)", theirs, why)) && (k.voids == nil || k.voids(vain)) && (k.needs == "" || features[k.needs]) {
				explained = true
				shown[n]++
			}
		}
		if !explained {
			t.Errorf("%d: we say %s (%s: %s), the other %s (%v) for %s; features %v\n%s", i, ours.Result, ours.Reason, ours.Problem, theirs, why, args.IP,
				sortedKeys(features), text)
		}
	}
	for n, k := range knownSPF {
		if shown[n] == 0 {
			t.Errorf("nothing shows the difference %s any more: %s", k.ours, k.why)
		}
	}
	for _, want := range []spf.Result{spf.Pass, spf.Fail, spf.SoftFail, spf.Neutral, spf.None, spf.PermError, spf.TempError} {
		if results[want] == 0 {
			t.Errorf("no case is %s", want)
		}
	}
	t.Logf("%v; %d differ, all explained", results, differences)
}

// notAtHand is a zone that behaves like a name server without a cache: only Lookup gives its
// answers, and Peek finds none.
type notAtHand struct {
	dns.LookupOnly
	zone *zone.Zone
}

func (n notAtHand) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return n.zone.Lookup(ctx, name, typ)
}

// sameAhead repeats an SPF check with LookAhead, which asks the questions of several terms at the
// same time. The result must be equal to the argument "ours", which is the result of the check that
// asked one question after the other. Only the counts Ahead and Unneeded may differ.
func sameAhead(t *testing.T, i int, text string, ours spf.Check, z *zone.Zone, args spf.Args) {
	t.Helper()
	args.LookAhead = 10
	ahead := spf.CheckMailFrom(t.Context(), dns.NewAhead(notAtHand{zone: z}), args)
	ahead.Ahead, ahead.Unneeded = 0, 0
	if !reflect.DeepEqual(ahead, ours) {
		t.Errorf("%d: in turn\n%+v\nahead\n%+v\n%s", i, ours, ahead, text)
	}
}

// inVain returns how many of the questions for A, AAAA, MX and PTR records found no record.
func inVain(t *testing.T, z *zone.Zone, asked []string) (n int) {
	t.Helper()
	for _, q := range asked {
		name, typ, _ := strings.Cut(q, " ")
		for _, ty := range []dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypePTR} {
			if ty.String() != typ {
				continue
			}
			if answer, err := z.Lookup(t.Context(), dns.Name(name), ty); err == nil && len(answer.Records) == 0 {
				n++
			}
		}
	}
	return n
}

// faulty reports whether the zone has a term that may break the SPF grammar. exp= and redirect=
// count too, because a record may have one of them twice.
func faulty(features map[string]bool) bool {
	for name := range features {
		switch name {
		case "", "macro", "modifier", "capitals", "servfail", "two records", "zero mask":
		default:
			return true
		}
	}
	return false
}
