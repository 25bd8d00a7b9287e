package forwarders

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
	"sekimori/internal/telemetry"
	"sekimori/internal/trait"
)

// message returns a message that fails DMARC. The name of its author domain has the given number.
func message(number int, change func(*msgauth.Evaluation)) *msgauth.Evaluation {
	domain := dns.Name(fmt.Sprintf("author%d.example", number))
	e := &msgauth.Evaluation{
		Session:  msgauth.Session{Client: netip.MustParseAddr("198.51.100.7")},
		Envelope: msgauth.Envelope{MailFrom: "<a@" + string(domain) + ">"},
		From:     author.From{AuthorDomain: domain},
		MailFrom: spf.Check{Result: spf.SoftFail, Domain: domain},
		IPRev:    iprev.Result{Status: iprev.Fail},
		DMARC:    dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject},
	}
	if change != nil {
		change(e)
	}
	return e
}

func broken(e *msgauth.Evaluation) {
	e.Traits.Add(trait.BrokenAuthorSignature)
	e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Fail, Reason: dkim.ReasonBodyHash, Domain: "mail." + e.From.AuthorDomain})
}

func named(name string) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) { e.IPRev = iprev.Result{Status: iprev.Pass, Name: dns.Name(name)} }
}

func by(domain string) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		e.DKIM = append(e.DKIM, dkim.Signature{Result: dkim.Pass, Domain: dns.Name(domain)})
	}
}

func srs(domain string) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		e.Envelope.MailFrom, e.MailFrom = "<SRS0=x=y=z=a@"+domain+">", spf.Check{Result: spf.Pass, Domain: dns.Name(domain)}
	}
}

func sealed(domain string, status arc.Status) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		e.ARC = arc.Result{Status: status, Sets: []arc.Set{{Sealer: "first.example"}, {Sealer: dns.Name(domain), AuthResults: "seal.example; dmarc=pass"}}}
	}
}

func all(changes ...func(*msgauth.Evaluation)) func(*msgauth.Evaluation) {
	return func(e *msgauth.Evaluation) {
		for _, c := range changes {
			c(e)
		}
	}
}

var rejected = policy.Verdict{Action: policy.Reject}

// survived makes e a message that passes DMARC by the author's signature.
func survived(e *msgauth.Evaluation) {
	e.DMARC = dmarc.Evaluation{Result: dmarc.ResultPass, PolicyPublished: dmarc.PolicyReject, AlignedDKIM: true}
}

// excluded makes e a message from a host that the author's SPF record does not allow.
func excluded(e *msgauth.Evaluation) {
	e.MailFrom = spf.Check{Result: spf.Fail, Domain: e.From.AuthorDomain}
}

// decided returns the decision v on the message e.
func decided(e *msgauth.Evaluation, v policy.Verdict) *judge.Decision {
	return &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}
}

// found makes n messages that fail DMARC and "intact" messages that pass by the author's
// signature. Each message has a different author. All must have the same source, which found
// returns. It reads the messages from the log and from the memory of the daemon, and checks that
// both give this source.
func found(t *testing.T, n, intact int, change func(*msgauth.Evaluation)) *Source {
	t.Helper()
	var log bytes.Buffer
	logger, err := telemetry.NewLogger(&log, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	ring := recent.New(recent.Options{Entries: 1000})
	for i := range n + intact {
		e, v := message(i, change), rejected
		if i >= n {
			survived(e)
			v = policy.Verdict{Action: policy.Accept}
		}
		telemetry.Records{Log: logger}.Decided(decided(e, v), 0)
		ring.Decided(decided(e, v), 0)
	}
	a, b := New(), New()
	if err := a.ReadLog(&log); err != nil {
		t.Fatal(err)
	}
	decisions, _ := ring.Search(recent.Query{})
	for _, d := range decisions {
		b.AddDecision(d)
	}
	x, y := a.Sources(1), b.Sources(1)
	if len(x) != 1 || len(y) != 1 || a.Records != n+intact || b.Records != n+intact {
		t.Fatalf("%d and %d sources of %d and %d records", len(x), len(y), a.Records, b.Records)
	}
	one, _ := json.Marshal(x[0])
	other, _ := json.Marshal(y[0])
	if string(one) != string(other) {
		t.Errorf("the log says %s, the memory %s", one, other)
	}
	return x[0]
}

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		name      string
		n, intact int
		change    func(*msgauth.Evaluation)
		kind      Kind
		value     string
		want      Confidence
	}{
		{"a list that signs and seals", 12, 3, all(broken, by("list.example"), sealed("seal.example", arc.Pass), named("mx.list.example")),
			ARCSealer, "seal.example", High},
		{"a seal that does not verify proves nothing", 12, 3, all(broken, by("list.example"), sealed("seal.example", arc.Fail)), DKIM, "list.example", High},
		{"a chain that passes, without a seal", 12, 3, all(broken, by("list.example"), func(e *msgauth.Evaluation) { e.ARC.Status = arc.Pass }), DKIM, "list.example", High},
		{"a forwarder with SRS", 12, 3, all(srs("alumni.example"), named("mx.alumni.example")), SPF, "alumni.example", Medium},
		{"SRS that SPF does not confirm", 12, 3,
			all(broken, srs("alumni.example"), func(e *msgauth.Evaluation) { e.MailFrom.Result = spf.Fail }, named("mx.alumni.example")), ClientName,
			"alumni.example", High},
		{"a host by its name, below a public suffix of two labels", 12, 3, all(broken, named("a.b.forwarder.co.jp")), ClientName, "forwarder.co.jp", High},
		{"only mail that a spoofer could write, no intact mail", 500, 0, all(broken, srs("alumni.example"), named("mx.alumni.example")),
			SPF, "alumni.example", Low},
		{"mail of two authors came through", 12, 2, all(broken, named("mx.forwarder.example")), ClientName, "forwarder.example", Medium},
		{"a host that SPF of the authors excludes", 12, 3, all(broken, excluded, named("mx.forwarder.example")), ClientName, "forwarder.example", Medium},
		{"a name that does not point back is not evidence", 12, 3, broken, Client, "198.51.100.0/24", Medium},
		{"a network of IPv6", 12, 3, all(broken, func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr("2001:db8:1:2:3::4") }),
			Client, "2001:db8:1:2::/64", Medium},
		{"a name that is a public suffix itself", 12, 3, all(broken, named("co.jp")), Client, "198.51.100.0/24", Medium},
		{"few messages", 6, 3, all(broken, named("mx.forwarder.example")), ClientName, "forwarder.example", Medium},
		{"fewer", 4, 3, all(broken, named("mx.forwarder.example")), ClientName, "forwarder.example", Low},
		{"one author", 12, 3, all(func(e *msgauth.Evaluation) { e.From.AuthorDomain = "bank.example" }, broken, named("mx.forwarder.example")),
			ClientName, "forwarder.example", Low},
		{"a spoofer: no signature of any author", 500, 0, named("mx.spoofer.example"), ClientName, "spoofer.example", Low},
		{"a spoofer on a host that passes on intact mail", 500, 3, named("mx.spoofer.example"), ClientName, "spoofer.example", Low},
		{"an abused provider signs as itself", 500, 3, by("provider.example"), DKIM, "provider.example", Low},
		{"the author's other domain is not a third party", 12, 3,
			all(broken, func(e *msgauth.Evaluation) { by("x." + string(e.From.AuthorDomain))(e) }), Client, "198.51.100.0/24", Medium},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := found(t, tt.n, tt.intact, tt.change)
			if s.Kind != tt.kind || s.Value != tt.value || s.Confidence != tt.want || s.Failures != tt.n || s.Harmed != tt.n || s.Intact != tt.intact {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestExcluded checks that the mail of a host is never proposed for acceptance if SPF of an author
// does not allow the host.
func TestExcluded(t *testing.T) {
	for name, change := range map[string]func(*msgauth.Evaluation){
		"every message": excluded,
		"one of them": func(e *msgauth.Evaluation) {
			if e.From.AuthorDomain == "author7.example" {
				excluded(e)
			}
		},
		"by a subdomain of the author's": func(e *msgauth.Evaluation) { excluded(e); e.MailFrom.Domain = "mail." + e.MailFrom.Domain },
	} {
		t.Run(name, func(t *testing.T) {
			s := found(t, 12, 5, all(broken, named("mx.forwarder.example"), change))
			p := Propose([]*Source{s}, "me", time.Now())
			var b strings.Builder
			if err := WriteYAML(&b, p); err != nil {
				t.Fatal(err)
			}
			if len(p) != 1 || p[0].Rule.Then != "quarantine" || s.Confidence == High || strings.Contains(b.String(), "accept") ||
				!strings.Contains(b.String(), "SPF of authors excludes") {
				t.Errorf("%+v\n%s", p, &b)
			}
		})
	}
	s := found(t, 12, 5,
		all(broken, named("mx.forwarder.example"), func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.Fail, Domain: "other.example"} }))
	if p := Propose([]*Source{s}, "me", time.Now()); s.AuthorSPFFail != 0 || p[0].Rule.Then != "accept" {
		t.Errorf("SPF of another domain than the author's: %+v", p)
	}
}

// TestConfidence changes one number of sources that just reach a confidence.
func TestConfidence(t *testing.T) {
	high := Source{Kind: DKIM, Failures: highFailures, Authors: highAuthors, IntactAuthors: highIntact, Broken: 8, Bare: 2}
	medium := Source{Kind: Client, Failures: mediumFailures, Authors: mediumAuthors, IntactAuthors: 1, Broken: 3}
	for _, tt := range []struct {
		name   string
		from   Source
		change func(*Source)
		want   Confidence
	}{
		{"as high as needed", high, func(*Source) {}, High},
		{"by SRS", high, func(s *Source) { s.Broken, s.SRS = 0, 8 }, High},
		{"too few failures for high", high, func(s *Source) { s.Failures, s.Bare = 9, 1 }, Medium},
		{"too few authors for high", high, func(s *Source) { s.Authors-- }, Medium},
		{"too few intact authors for high", high, func(s *Source) { s.IntactAuthors-- }, Medium},
		{"SPF of an author excludes it", high, func(s *Source) { s.AuthorSPFFail = 1 }, Medium},
		{"too few are explained for high", high, func(s *Source) { s.Broken-- }, Medium},
		{"too many are not signed", high, func(s *Source) { s.Bare++ }, Medium},
		{"one in a hundred is missing for high", high, func(s *Source) { s.Failures, s.Broken, s.Bare = 100, 79, 20 }, Medium},
		{"one in a hundred is not signed", high, func(s *Source) { s.Failures, s.Broken, s.Bare = 100, 80, 21 }, Medium},
		{"a network only", high, func(s *Source) { s.Kind = Client }, Medium},
		{"as medium as needed", medium, func(*Source) {}, Medium},
		{"just half is explained", medium, func(s *Source) { s.Failures = 6 }, Medium},
		{"less than half is explained", medium, func(s *Source) { s.Broken-- }, Low},
		{"one in a hundred is missing", medium, func(s *Source) { s.Failures, s.Broken = 100, 49 }, Low},
		{"too few failures", medium, func(s *Source) { s.Failures-- }, Low},
		{"too few authors", medium, func(s *Source) { s.Authors-- }, Low},
		{"no intact author", medium, func(s *Source) { s.IntactAuthors-- }, Low},
	} {
		if tt.change(&tt.from); tt.from.confidence() != tt.want {
			t.Errorf("%s: %s", tt.name, tt.from.confidence())
		}
	}
}

// TestIdentity checks what a host is known by: each term of each condition in turn.
func TestIdentity(t *testing.T) {
	whole := Record{
		Client: netip.MustParseAddr("192.0.2.1"), IPRev: iprev.Pass, IPRevName: "mx.host.example", MailFrom: "<SRS0=x=y=z=a@b.example>",
		SPF: spf.Pass, SPFDomain: "b.example", Author: "a.example", ARCSealer: "seal.example",
		Signatures: []Signature{{dkim.Pass, "list.example", ""}, {dkim.Pass, "other.example", ""}},
	}
	unsealed := func(r *Record) { r.ARCSealer = "" }
	unsigned := func(r *Record) { unsealed(r); r.Signatures = nil }
	written := func(r *Record) { unsigned(r); r.MailFrom = "<a@b.example>" }
	unnamed := func(r *Record) { written(r); r.IPRev = iprev.Fail }
	for _, tt := range []struct {
		name   string
		from   func(*Record)
		change func(*Record)
		want   string // kind and value
	}{
		{"everything", nil, nil, "arc_sealer seal.example"},
		{"no seal", unsealed, nil, "dkim list.example"},
		{"the author's own seal", nil, func(r *Record) { r.ARCSealer = "x.a.example" }, "dkim list.example"},
		{"a first signature that fails", unsealed, func(r *Record) { r.Signatures[0].Result = dkim.Fail }, "dkim other.example"},
		{"a first signature without domain", unsealed, func(r *Record) { r.Signatures[0].Domain = "" }, "dkim other.example"},
		{"a first signature of the author", unsealed, func(r *Record) { r.Signatures[0].Domain = "x.a.example" }, "dkim other.example"},
		{"no signature", unsigned, nil, "spf b.example"},
		{"a return path that is not rewritten", unsigned, func(r *Record) { r.MailFrom = "<a@b.example>" }, "client_name host.example"},
		{"a rewritten return path without SPF", unsigned, func(r *Record) { r.SPF = spf.SoftFail }, "client_name host.example"},
		{"a rewritten return path without domain", unsigned, func(r *Record) { r.SPFDomain = "" }, "client_name host.example"},
		{"no name", written, func(r *Record) { r.IPRevName = "" }, "client 192.0.2.0/24"},
		{"a name that is not verified", written, func(r *Record) { r.IPRev = iprev.Fail }, "client 192.0.2.0/24"},
		{"a public suffix", written, func(r *Record) { r.IPRevName = "co.jp" }, "client 192.0.2.0/24"},
		{"no name of DNS", written, func(r *Record) { r.IPRevName = "a..example" }, "client 192.0.2.0/24"},
		{"IPv6", unnamed, func(r *Record) { r.Client = netip.MustParseAddr("2001:db8:1:2:3::4%eth0") }, "client 2001:db8:1:2::/64"},
		{"IPv4 in IPv6", unnamed, func(r *Record) { r.Client = netip.MustParseAddr("::ffff:192.0.2.1") }, "client 192.0.2.0/24"},
		{"nothing", unnamed, func(r *Record) { r.Client = netip.Addr{} }, "- -"},

		{"the author is a public suffix, and so is its seal", nil, func(r *Record) { r.Author, r.ARCSealer = "co.jp", "co.jp" }, "dkim list.example"},
		{"the author and the seal are two public suffixes", nil, func(r *Record) { r.Author, r.ARCSealer = "com", "org" }, "arc_sealer org"},
		{"the author and the seal are of one public suffix", nil, func(r *Record) { r.Author, r.ARCSealer = "a.co.jp", "b.co.jp" }, "arc_sealer b.co.jp"},
	} {
		r := whole
		r.Signatures = slices.Clone(whole.Signatures)
		for _, change := range []func(*Record){tt.from, tt.change} {
			if change != nil {
				change(&r)
			}
		}
		kind, value, ok := r.Identity()
		if !ok {
			kind, value = "-", cmp.Or(value, "-")
		}
		if got := string(kind) + " " + value; got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestOrder checks the order of the sources, and which are left out.
func TestOrder(t *testing.T) {
	f, failed := New(), map[string]int{}
	add := func(kind Kind, value string, failures, authors int) {
		s := &Source{Kind: kind, Value: value, Failures: failures, Broken: failures, authors: map[string]bool{}, intact: map[string]bool{}}
		for i := range authors {
			s.authors[strconv.Itoa(i)], s.intact[strconv.Itoa(i)] = true, true
		}
		f.sources[key{kind, value}], failed[value] = s, failures
	}
	add(DKIM, "none.example", 0, 0)
	add(DKIM, "low.example", 1, 0)
	add(DKIM, "low-more.example", 90, 0)
	add(DKIM, "medium.example", 50, 2)
	add(DKIM, "medium-more.example", 60, 2)
	add(DKIM, "high.example", 20, 3)
	add(DKIM, "high-b.example", 30, 3)
	add(DKIM, "high-a.example", 30, 3)
	add(ARCSealer, "high-c.example", 30, 3)
	want := []string{"high-c.example", "high-a.example", "high-b.example", "high.example", "medium-more.example", "medium.example", "low-more.example", "low.example"}
	for least, n := range map[int]int{-1: 8, 0: 8, 1: 8, 2: 7, 20: 7, 21: 6, 91: 0} {
		var got []string
		for _, s := range f.Sources(least) {
			got = append(got, s.Value)
		}
		if kept := slices.DeleteFunc(slices.Clone(want), func(v string) bool { return failed[v] < least }); !slices.Equal(got, kept) || len(got) != n {
			t.Errorf("at least %d: %q, want %q", least, got, kept)
		}
	}
}

// TestCounts checks what one message adds to the numbers of its source.
func TestCounts(t *testing.T) {
	fail := Record{Client: netip.MustParseAddr("192.0.2.1"), Author: "a.example", DMARC: dmarc.ResultFail}
	signed := func(domain string, reason dkim.Reason) func(*Record) {
		return func(r *Record) { r.Signatures = []Signature{{dkim.Fail, domain, reason}} }
	}
	for _, tt := range []struct {
		name   string
		change func(*Record)
		want   string
	}{
		{"a failure", func(*Record) {}, "failures 1 harmed 0 intact 0 broken 0 bare 1 srs 0 spf 0"},
		{"rejected", func(r *Record) { r.Verdict = policy.Reject }, "failures 1 harmed 1 intact 0 broken 0 bare 1 srs 0 spf 0"},
		{"quarantined", func(r *Record) { r.Verdict = policy.Quarantine }, "failures 1 harmed 1 intact 0 broken 0 bare 1 srs 0 spf 0"},
		{"tagged", func(r *Record) { r.Verdict = policy.Tag }, "failures 1 harmed 0 intact 0 broken 0 bare 1 srs 0 spf 0"},
		{"a broken signature", signed("a.example", dkim.ReasonBodyHash), "failures 1 harmed 0 intact 0 broken 1 bare 0 srs 0 spf 0"},
		{"a broken signature below", signed("x.a.example", dkim.ReasonBodyHash), "failures 1 harmed 0 intact 0 broken 1 bare 0 srs 0 spf 0"},
		{"signed, without a key", signed("a.example", dkim.ReasonKeyNotFound), "failures 1 harmed 0 intact 0 broken 0 bare 0 srs 0 spf 0"},
		{"a broken signature beside", func(r *Record) { r.Author = "x.a.example"; signed("a.example", dkim.ReasonBodyHash)(r) },
			"failures 1 harmed 0 intact 0 broken 0 bare 0 srs 0 spf 0"},
		{"a broken signature of another", signed("b.example", dkim.ReasonBodyHash), "failures 1 harmed 0 intact 0 broken 0 bare 1 srs 0 spf 0"},
		{"SRS", func(r *Record) { r.MailFrom = "<SRS0=x=y=z=a@b.example>" }, "failures 1 harmed 0 intact 0 broken 0 bare 1 srs 1 spf 0"},
		{"excluded", func(r *Record) { r.SPF, r.SPFDomain = spf.Fail, "a.example" }, "failures 1 harmed 0 intact 0 broken 0 bare 1 srs 0 spf 1"},
		{"neutral", func(r *Record) { r.SPF, r.SPFDomain = spf.Neutral, "a.example" }, "failures 1 harmed 0 intact 0 broken 0 bare 1 srs 0 spf 0"},
		{"intact", func(r *Record) { r.DMARC, r.AlignedDKIM = dmarc.ResultPass, true }, "failures 0 harmed 0 intact 1 broken 0 bare 0 srs 0 spf 0"},
		{"passed by SPF too", func(r *Record) { r.DMARC, r.AlignedDKIM, r.AlignedSPF = dmarc.ResultPass, true, true },
			"failures 0 harmed 0 intact 0 broken 0 bare 0 srs 0 spf 0"},
		{"passed by nothing", func(r *Record) { r.DMARC = dmarc.ResultPass }, "failures 0 harmed 0 intact 0 broken 0 bare 0 srs 0 spf 0"},
		{"no policy", func(r *Record) { r.DMARC, r.AlignedDKIM = dmarc.ResultNone, true }, "failures 0 harmed 0 intact 0 broken 0 bare 0 srs 0 spf 0"},
	} {
		r, f := fail, New()
		tt.change(&r)
		f.Add(r)
		if len(f.sources) != 1 {
			t.Errorf("%s: %d sources", tt.name, len(f.sources))
		}
		for _, s := range f.sources {
			if got := fmt.Sprintf("failures %d harmed %d intact %d broken %d bare %d srs %d spf %d", s.Failures, s.Harmed, s.Intact, s.Broken, s.Bare, s.SRS,
				s.AuthorSPFFail); got != tt.want || s.Messages != 1 {
				t.Errorf("%s: %s of %d, want %s", tt.name, got, s.Messages, tt.want)
			}
		}
	}
}

// TestPropose: no rule is made for a source that a rule cannot name, and ids are of simple characters.
func TestPropose(t *testing.T) {
	for _, tt := range []struct {
		source Source
		id     string // "" if there is no rule
	}{
		{Source{Kind: DKIM, Value: "azAZ09.-`{/:_é.example"}, ""},
		{Source{Kind: DKIM, Value: "_az09-.example"}, "forwarder--az09-.example"},
		{Source{Kind: DKIM, Value: "one"}, ""},
		{Source{Kind: ClientName, Value: "host.example", Names: []string{"a.host.example", "a b.host.example"}}, ""},
		{Source{Kind: Client, Value: "2001:db8::/64"}, "forwarder-2001-db8---64"},
		{Source{Kind: Client, Value: "2001:db8::"}, ""},
	} {
		p := Propose([]*Source{&tt.source}, "me", time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC))
		if len(p) != min(1, len(tt.id)) || len(p) == 1 && (p[0].Rule.ID != tt.id || p[0].Rule.Expires != "2027-05-29") {
			t.Errorf("%q: %+v", tt.source.Value, p)
		}
	}
	same := []*Source{
		{Kind: DKIM, Value: "a.example", Failures: 2, Broken: 2}, {Kind: SPF, Value: "a.example", Failures: 2, Broken: 1}, {Kind: DKIM, Value: "A.example"},
	}
	for i, p := range Propose(same, "me", time.Now()) {
		id := []string{"forwarder-a.example", "forwarder-a.example-2", "forwarder-a.example-3"}[i]
		if traits := len(p.Rule.When["traits"]); p.Rule.ID != id || traits != []int{1, 0, 1}[i] {
			t.Errorf("rule %d: id %q, want %q, with %d traits", i, p.Rule.ID, id, traits)
		}
	}
	for value, want := range map[string]string{"azAZ09.-": "x-azaz09.-", "`{/:_é": "x-------", strings.Repeat("a", 54): "x-" + strings.Repeat("a", 54),
		strings.Repeat("a", 55): "x-" + strings.Repeat("a", 54)} {
		if got := RuleID("x-", value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// TestIntact checks that messages that pass DMARC are counted, but not as failures.
func TestIntact(t *testing.T) {
	f := New()
	for i := range 20 {
		r := Record{Client: netip.MustParseAddr("192.0.2.1"), Author: fmt.Sprintf("a%d.example", i), DMARC: dmarc.ResultPass, AlignedDKIM: true}
		if i%2 == 0 {
			r.DMARC, r.AlignedDKIM = dmarc.ResultFail, false
		}
		f.Add(r)
	}
	f.Add(Record{Author: "x.example", DMARC: dmarc.ResultFail}) // this message has no source
	if s := f.Sources(1); len(s) != 1 || s[0].Messages != 20 || s[0].Intact != 10 || s[0].Failures != 10 ||
		s[0].Bare != 10 || s[0].Harmed != 0 || f.Records != 21 {
		t.Errorf("%+v", s[0])
	}
	if len(f.Sources(11)) != 0 {
		t.Error("a source has fewer failures than were asked for")
	}
}

// TestBounded checks the limits for sources, authors and names. Strangers can make any number of
// these.
func TestBounded(t *testing.T) {
	f := New()
	for i := range maxSources + 7 {
		f.Add(Record{ARCSealer: fmt.Sprintf("s%d.example", i), DMARC: dmarc.ResultFail})
	}
	if len(f.sources) != maxSources || f.Dropped != 7 {
		t.Errorf("%d sources, %d dropped", len(f.sources), f.Dropped)
	}
	f = New()
	for i := range maxAuthors + 7 {
		f.Add(Record{ARCSealer: "s.example", Author: fmt.Sprintf("a%d.example", i), DMARC: dmarc.ResultPass, AlignedDKIM: true})
	}
	f.Add(Record{ARCSealer: "s.example", DMARC: dmarc.ResultFail})
	if s := f.Sources(1); len(s) != 1 || s[0].Intact != maxAuthors+7 || s[0].IntactAuthors != maxAuthors {
		t.Errorf("%+v", s)
	}
	f = New()
	for i := range maxAuthors + 7 {
		f.Add(Record{IPRev: iprev.Pass, IPRevName: fmt.Sprintf("n%d.host.example", i), Author: fmt.Sprintf("a%d.example", i), DMARC: dmarc.ResultFail})
	}
	s := f.Sources(1)
	if len(s) != 1 || s[0].Authors != maxAuthors || s[0].Names != nil || len(s[0].names) != maxNames {
		t.Errorf("%d sources, %d authors, %d names", len(s), s[0].Authors, len(s[0].names))
	}
	if p := Propose(s, "me", time.Now()); len(p) != 1 || p[0].Rule.When["client_name"][0] != ".host.example" {
		t.Errorf("%+v", p)
	}
}

// TestNames checks which client names are remembered of a source.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		reason string
		names  []string
		want   []string
	}{
		{"none", []string{""}, nil},
		{"some messages have none", []string{"", "b.example", "", "a.example"}, []string{"a.example", "b.example"}},
		{"as many as there may be, twice each", []string{"a", "b", "c", "d", "e", "a", "b", "c", "d", "e"}, []string{"a", "b", "c", "d", "e"}},
		{"as many as there may be, and none", []string{"a", "b", "c", "d", "e", ""}, []string{"a", "b", "c", "d", "e"}},
		{"one more", []string{"a", "b", "c", "d", "e", "f", "a"}, nil},
		{"two more", []string{"a", "b", "c", "d", "e", "f", "g"}, nil},
	} {
		f := New()
		for _, name := range tt.names {
			f.Add(Record{ARCSealer: "s.example", IPRevName: name, DMARC: dmarc.ResultFail})
		}
		if s := f.Sources(1); len(s) != 1 || !slices.Equal(s[0].Names, tt.want) {
			t.Errorf("%s: %+v", tt.reason, s)
		}
	}
}

// TestYAML compares a whole file.
func TestYAML(t *testing.T) {
	p := Propose([]*Source{
		{Kind: ARCSealer, Value: "seal.example", Confidence: High, Messages: 20, Failures: 12, Harmed: 11, Authors: 3, Intact: 8, IntactAuthors: 4, Broken: 12, SRS: 2},
		{Kind: Client, Value: "192.0.2.0/24", Confidence: Low, Messages: 7, Failures: 6, Authors: 5, Broken: 3, Bare: 2, AuthorSPFFail: 1},
	}, `me "\`, time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC))
	const want = `# Proposed by sekimori forwarders. Anybody can send mail that looks forwarded, so
# nothing here is in effect: take the comment signs off the rules of hosts that
# you know, and delete the last line. Put the rules under policy.overrides, or
# into a file that it names: - {file: /etc/sekimori/forwarders.yaml}

# high confidence, 11 messages quarantined or rejected
# - id: "forwarder-seal.example"
#   owner: "me \"\\"
#   reason: "12 of 20 messages fail DMARC, of 3 authors; 12 with a broken author signature, 0 with none, 2 with SRS, 0 against the author's SPF; 8 of 4 authors passed intact"
#   expires: 2027-05-29
#   when: {arc_sealer: ["seal.example"], dmarc: ["fail"], traits: ["broken_author_signature"]}
#   then: accept

# low confidence, 0 messages quarantined or rejected
# SPF of authors excludes this host: their mail is proposed for quarantine only
# - id: "forwarder-192.0.2.0-24"
#   owner: "me \"\\"
#   reason: "6 of 7 messages fail DMARC, of 5 authors; 3 with a broken author signature, 2 with none, 0 with SRS, 1 against the author's SPF; 0 of 0 authors passed intact"
#   expires: 2027-05-29
#   when: {client: ["192.0.2.0/24"], dmarc: ["fail"]}
#   then: quarantine

[] # no rule is in effect
`
	var b strings.Builder
	if err := WriteYAML(&b, p); err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, &b)
	}
	r, w := io.Pipe()
	_ = r.Close()
	if err := WriteYAML(w, p); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a file that cannot be written: %v", err)
	}
}

// TestRulesLoad checks that the daemon can read the printed file of rules, and that each rule
// matches the messages from which it was made.
func TestRulesLoad(t *testing.T) {
	f := New()
	var mail []*msgauth.Evaluation
	for _, change := range []func(*msgauth.Evaluation){
		all(broken, sealed("seal.example", arc.Pass)), all(broken, by("list.example")), srs("alumni.example"),
		all(broken, named("mx1.host.example")), all(broken, func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr("203.0.113.9") }),
		named("mx.spoofer.example"), all(broken, by("_odd_.example")), all(broken, by("list.example."+strings.Repeat("x", 63)+".example")),
		all(broken, excluded, named("mx.excluded.example")),
	} {
		for i := range 12 {
			e := message(i, change)
			f.AddDecision(&recent.Entry{Evaluation: e, Verdict: rejected})
			if i == 0 {
				mail = append(mail, e)
			}
		}
	}
	var b strings.Builder
	proposals := Propose(f.Sources(1), `Post "master" <p@here.example>`+"\x1b", time.Now())
	if err := WriteYAML(&b, proposals); err != nil {
		t.Fatal(err)
	}
	if rules := load(t, b.String()); len(rules) != 0 {
		t.Fatalf("%d rules are in effect before anybody has said so\n%s", len(rules), &b)
	}
	rules := load(t, uncomment(b.String()))
	if len(rules) != len(proposals) || len(rules) < 6 {
		t.Fatalf("%d rules of %d proposals\n%s", len(rules), len(proposals), &b)
	}
	for i, e := range mail[:5] {
		if v := policy.Decide(e, policy.Config{Rules: rules}); v.Action != policy.Accept || v.Rule == "" {
			t.Errorf("message %d: %s by %q\n%s", i, v.Action, v.Rule, &b)
		}
	}
	if v := policy.Decide(mail[8], policy.Config{Rules: rules}); v.Action != policy.Quarantine || v.Rule == "" {
		t.Errorf("the host that SPF excludes: %s by %q\n%s", v.Action, v.Rule, &b)
	}
	for i, c := range []byte(b.String()) {
		if (c < ' ' && c != '\n') || c > '~' {
			t.Fatalf("octet %#x at %d", c, i)
		}
	}
}

// uncomment edits the file as the text at its top tells an operator to.
func uncomment(text string) string {
	var rules []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "# - ") || strings.HasPrefix(line, "#   ") {
			rules = append(rules, strings.TrimPrefix(line, "# "))
		}
	}
	return strings.Join(rules, "\n") + "\n"
}

// load reads a file of rules in the same way as the daemon.
func load(t *testing.T, text string) []policy.Rule {
	t.Helper()
	path := filepath.Join(t.TempDir(), "forwarders.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("c.yaml", []byte("mode: enforce\nauthserv_id: mx.here.example\npolicy: {overrides: [{file: "+path+"}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := cfg.Rules(config.LoadRules)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if err := rules.Warnings(time.Now()); err != nil {
		t.Error(err)
	}
	return rules.Policy.Rules
}

func TestNothingFound(t *testing.T) {
	var b strings.Builder
	if err := WriteYAML(&b, Propose(New().Sources(1), "me", time.Now())); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "forwarders.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if items, err := config.LoadRules(path); err != nil || len(items) != 0 || !strings.Contains(b.String(), "\n# Nothing looks like a forwarder.\n") {
		t.Errorf("%v, %v\n%s", items, err, &b)
	}
}

func TestReadLog(t *testing.T) {
	var record bytes.Buffer
	telemetry.Records{Log: slog.New(slog.NewJSONHandler(&record, nil))}.Decided(decided(message(1, broken), rejected), 0)
	line := record.String()
	for _, tt := range []struct {
		name, text string
		want       int
	}{
		{"records", line + line, 2},
		{"after what syslog writes", "Nov 22 08:00:00 mx sekimori[123]: " + line, 1},
		{"without a line end", strings.TrimSuffix(line, "\n"), 1},
		{"among others", "hello\n{\n{}\n" + `{"msg":"serving"}` + "\n" + line + "\n", 1},
		{"after a line that is too long", strings.Repeat("x", 3*maxLine) + "\n" + line, 1},
		{"a long line at the end", line + strings.Repeat("x", maxLine), 1},
		{"a line that is just short enough", strings.Repeat(" ", maxLine-len(line)) + line, 1},
		{"a line that is just too long", strings.Repeat(" ", maxLine-len(line)+1) + line, 0},
		{"another kind", strings.Replace(line, `"evaluated"`, `"not evaluated"`, 1), 0},
		{"a message of sekimori probe", strings.Replace(line, `"msg":"evaluated"`, `"msg":"evaluated","probe":true`, 1), 0},
		{"other types", `{"msg":"evaluated","dkim":7}` + "\n", 0},
		{"nothing", "", 0},
	} {
		f := New()
		if err := f.ReadLog(strings.NewReader(tt.text)); err != nil || f.Records != tt.want {
			t.Errorf("%s: %d records, %v", tt.name, f.Records, err)
		}
	}
}

// TestReadLogFails checks that a log that cannot be read to its end is an error.
func TestReadLogFails(t *testing.T) {
	for _, text := range []string{"", "hello\n", "hello", strings.Repeat("x", 2*maxLine)} {
		err := New().ReadLog(io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("disk"))))
		if err == nil || err.Error() != "forwarders: disk" {
			t.Errorf("after %d octets: %v", len(text), err)
		}
	}
	// The second read fails, within a line that is too long, and the others do not.
	if err := New().ReadLog(iotest.TimeoutReader(strings.NewReader(strings.Repeat("x", 2*maxLine)))); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("within a long line: %v", err)
	}
}

// TestDecisions checks what is read of a decision.
func TestDecisions(t *testing.T) {
	f := New()
	f.AddDecision(&recent.Entry{Verdict: rejected}) // nothing was evaluated
	if f.Records != 0 {
		t.Errorf("%d records", f.Records)
	}
	for sets, want := range []string{"", "one.example", "two.example"} {
		e := message(1, nil)
		e.ARC = arc.Result{Status: arc.Pass, Sets: []arc.Set{{Sealer: "one.example"}, {Sealer: "two.example"}}[:sets]}
		if r := RecordOf(e, policy.Accept); r.ARCSealer != want {
			t.Errorf("%d seals: %q, want %q", sets, r.ARCSealer, want)
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add([]byte(`{"msg":"evaluated","client_ip":"::1","dkim":[{"result":"pass","d":"a.example"}],"dmarc":"fail",` +
		`"mail_from":"<SRS0=a@b>","spf":"pass","spf_domain":"b"}`))
	f.Add([]byte(`x {"msg":"evaluated","iprev":"pass","iprev_name":"\u0000.x.example","dmarc":"fail"}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		finder := New()
		if err := finder.ReadLog(bytes.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := WriteYAML(&b, Propose(finder.Sources(1), "me", time.Unix(0, 0))); err != nil {
			t.Fatal(err)
		}
		for i, c := range []byte(b.String()) {
			if (c < ' ' && c != '\n') || c > '~' {
				t.Fatalf("octet %#x at %d of %q", c, i, b.String())
			}
		}
	})
}
