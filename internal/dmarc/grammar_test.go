package dmarc

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/octets"
)

// uri is a URI of RFC 3986 without "!", and size what RFC 7489 allowed after one.
var (
	uri  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@$&'()*+;=]|%[0-9A-Fa-f]{2})+$`)
	size = regexp.MustCompile(`![0-9]+[kmgtKMGT]?$`)
)

// TestURIs compares the URIs of a record with the grammar: every short sequence of pieces, and samples cut
// after each octet.
func TestURIs(t *testing.T) {
	check := func(s string) {
		if got, want := isURI(s), uri.MatchString(s); got != want {
			t.Errorf("isURI(%q) = %t", s, got)
		}
		want := s
		if at := size.FindStringIndex(s); at != nil {
			want = s[:at[0]]
		}
		if got := dropSize(s); got != want {
			t.Errorf("dropSize(%q) = %q, want %q", s, got, want)
		}
	}
	for _, begin := range []string{"", "mailto:", "mailto:a%", "mailto:a!", "a!5"} {
		for word := range octets.Words(3, "a", "%", "4", "f", "A", "F", "g", "G", ":", "!", "+", "-", ".", "0", "9", "k", "T", "@", "é", " ", "/", "`", "{", "[", "Z", "z") {
			check(begin + word)
		}
	}
	for c := range 256 {
		check("a:" + string([]byte{byte(c)}))
		check(string([]byte{byte(c)}) + "x:y")
		check("x" + string([]byte{byte(c)}) + ":y")
		check("x:%" + string([]byte{byte(c)}) + "0")
		check("x:%0" + string([]byte{byte(c)}))
		check("x:y!1" + string([]byte{byte(c)}))
	}
	for _, s := range []string{"mailto:a%4Ab%4a@b.example!10m", "https://h.example/%41?x=%c3%9F#f"} {
		for _, cut := range octets.Cuts(s) {
			check(cut)
		}
	}
}

// records are samples of records with every tag.
var records = []string{
	"v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; psd=n; t=y",
	"V = DMARC1 ;p=none; rua=mailto:a%40b@b.example!10m, https://x; ruf=mailto:c@d.example;fo=d : s;pct=50",
	"v=DMARC1; t=n; psd=y; fo=1; unknown=\xff; ; word; p = Quarantine;",
}

// TestDamagedRecords says what ParseRecord makes of records that are damaged.
func TestDamagedRecords(t *testing.T) {
	octets.Golden(t, "testdata/damaged.txt", records, func(txt string) string {
		r, err := ParseRecord(txt)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("p=%s sp=%s np=%s %s %s psd=%s t=%t pct=%q fo=%v rua=%q ruf=%q invalid=%v", r.P, r.SP, r.NP, r.ADKIM, r.ASPF, r.PSD, r.Test,
			r.Percent, r.FO, r.RUA, r.RUF, r.Invalid)
	})
}

// pieces are what a record is made of.
var pieces = []string{
	"v", "=", "DMARC1", ";", " ", "p", "sp", "np", "rua", "ruf", "adkim", "aspf", "psd", "t", "fo", "pct", "reject", "quarantine", "none", "r", "s", "y", "n", "u",
	"0", "1", "d", ":", ",", "mailto:a@b.example", "https:", "%", "4", "a", "!", "m", "10", "é", "\xff", "\x00", "\t", "x", "NONE", "V", "v=DMARC1;", "p=reject;",
}

// FuzzRecord parses records that are made of pieces.
func FuzzRecord(f *testing.F) {
	for _, s := range records {
		f.Add(octets.Program(s, pieces...))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		checkRecord(t, octets.Chosen(program, pieces...))
		checkRecord(t, "v=DMARC1;"+octets.Chosen(program, pieces...))
	})
}

// checkRecord compares a record with a simpler reading of it: the last tag of a name, of which there may
// be only one, says what the record says.
func checkRecord(t *testing.T, txt string) {
	t.Helper()
	r, err := ParseRecord(txt)
	first, rest, _ := strings.Cut(txt, ";")
	name, value, found := strings.Cut(first, "=")
	if want := found && strings.EqualFold(strings.TrimRight(name, " \t"), "v") && strings.Trim(value, " \t") == "DMARC1"; want == errors.Is(err, ErrNotDMARC) {
		t.Fatalf("%q: %v", txt, err)
	}
	if errors.Is(err, ErrNotDMARC) || strings.ContainsAny(txt, "\r\n\x00\x7f") || len(txt) > 500 || strings.Count(txt, ";") > 100 {
		return
	}
	tags := map[string]string{}
	for piece := range strings.SplitSeq(rest, ";") {
		name, value, found := strings.Cut(piece, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if !found || name != "v" && tagParsers[name] == nil {
			continue
		}
		if _, twice := tags[name]; twice || name == "v" {
			if !errors.Is(err, ErrDuplicateTag) {
				t.Fatalf("%q: %v, want a duplicate", txt, err)
			}
			return
		}
		tags[name] = strings.ToLower(strings.Trim(value, " \t"))
	}
	if err != nil {
		t.Fatalf("%q: %v", txt, err)
	}
	oneOf := func(name string, words ...string) string {
		for _, w := range words[1:] {
			if tags[name] == w {
				return w
			}
		}
		return words[0]
	}
	want := fmt.Sprint(oneOf("p", "", "none", "quarantine", "reject"), oneOf("sp", "", "none", "quarantine", "reject"), oneOf("np", "", "none", "quarantine", "reject"),
		oneOf("adkim", "r", "s"), oneOf("aspf", "r", "s"), oneOf("psd", "u", "y", "n"), tags["t"] == "y")
	if got := fmt.Sprint(r.P, r.SP, r.NP, string(r.ADKIM[0]), string(r.ASPF[0]), r.PSD, r.Test); got != want {
		t.Fatalf("%q: %s, want %s", txt, got, want)
	}
	for _, u := range append(r.RUA, r.RUF...) {
		if !uri.MatchString(u) || size.MatchString(u) {
			t.Fatalf("%q: URI %q", txt, u)
		}
	}
}

// TestBounds has one case at each bound and one beyond it.
func TestBounds(t *testing.T) {
	for n, want := range map[int]error{MaxRecordLen: nil, MaxRecordLen + 1: ErrRecordTooLong} {
		txt := "v=DMARC1; p=none; x="
		if _, err := ParseRecord(txt + strings.Repeat("x", n-len(txt))); !errors.Is(err, want) {
			t.Errorf("a record of %d octets: %v", n, err)
		}
	}
	for n, valid := range map[int]bool{MaxURIs - 1: true, MaxURIs: true, MaxURIs + 1: false} {
		r, err := ParseRecord("v=DMARC1; p=none; ruf=" + strings.TrimSuffix(strings.Repeat("mailto:a@b.example,", n), ","))
		if err != nil || len(r.RUF) != min(n, MaxURIs) || r.invalid("ruf") == valid {
			t.Errorf("%d URIs: %d, invalid %v, %v", n, len(r.RUF), r.Invalid, err)
		}
	}
	for n, ok := range map[int]bool{maxPSLLineLen - 2: true, maxPSLLineLen: false} { // with the line end, and one octet of room that bufio needs
		_, err := LoadPSL(strings.NewReader("com // " + strings.Repeat("x", n-len("com // "))))
		if (err == nil) != ok {
			t.Errorf("a line of %d octets: %v", n, err)
		}
	}
	z := nameserver.Zone(t, `_dmarc.example.com TXT "v=DMARC1; p=reject"`)
	for n, want := range map[int]string{DefaultMaxWalks: "", DefaultMaxWalks + 1: "walk_limit"} {
		ids := []Identifier{{Mechanism: DKIM, Domain: "example.com", State: StatePass}} // the organization itself needs no walk
		for i := range n {
			ids = append(ids, Identifier{Mechanism: DKIM, Domain: dns.Name(fmt.Sprintf("d%d.example.com", i)), State: StatePass})
		}
		d := Discover(t.Context(), z, "a.example.com", Options{})
		e := d.Evaluate(t.Context(), z, ids)
		got := ""
		if last := e.Alignments[n]; last.Error != nil {
			got = last.Error.Kind
		}
		if got != want || e.Result != ResultPass {
			t.Errorf("%d tree walks: %q, %s", n, got, e.Result)
		}
	}
}

// TestWords checks the values that a record, a result and a report can have, each at its place.
func TestWords(t *testing.T) {
	for p, want := range map[Policy]struct {
		lower    Policy
		enforces bool
		strict   int
	}{"": {"", false, 0}, PolicyNone: {PolicyNone, false, 1}, PolicyQuarantine: {PolicyNone, true, 2}, PolicyReject: {PolicyQuarantine, true, 3}, "other": {"other", false, -1}} {
		if p.lower() != want.lower || p.Enforces() != want.enforces || p.strictness() != want.strict {
			t.Errorf("%q: %q, %t, %d", p, p.lower(), p.Enforces(), p.strictness())
		}
	}
	r := &Record{ADKIM: Strict, ASPF: Relaxed}
	if r.Mode(DKIM) != Strict || r.Mode(SPF) != Relaxed || (*Record)(nil).Mode(DKIM) != Relaxed {
		t.Error("modes")
	}
	for want, o := range map[Method]Options{TreeWalk: {PSL: testList(t)}, PSL: {Method: PSL, PSL: testList(t)}} {
		if d := Discover(t.Context(), nameserver.Zone(t, ""), "example.com", o); d.Method != want {
			t.Errorf("method %q, want %q", d.Method, want)
		}
	}
	if fmt.Sprint(Methods) != fmt.Sprint([]Method{TreeWalk, PSL}) {
		t.Errorf("methods %v", Methods)
	}
}
