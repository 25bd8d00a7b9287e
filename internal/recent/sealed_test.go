package recent

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/smtp"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// ordinary returns a decision as most mail has it: one signature, SPF with an include, p=reject.
func ordinary() *judge.Decision {
	const domain, client = dns.Name("news.bank.example"), "192.0.2.1"
	addr, signed := netip.MustParseAddr(client), int64(1795305600)
	exists := true
	found := spf.Check{
		Identity: spf.MailFrom, Result: spf.Pass, Domain: domain, Sender: "bounce@news.bank.example", Mechanism: "ip4:192.0.2.0/24",
		Record: "v=spf1 include:_spf.bank.example -all", Lookups: 1, Queries: 2,
		Trace: []spf.Step{
			{Domain: domain, Term: "include:_spf.bank.example", Outcome: "match"},
			{Domain: "_spf.bank.example", Term: "ip4:192.0.2.0/24", Outcome: "match", Detail: client, Depth: 1},
		},
	}
	helo := found
	helo.Identity, helo.Domain, helo.Trace = spf.HELO, "mx.bank.example", found.Trace[:1]
	e := &msgauth.Evaluation{
		Session: msgauth.Session{Client: addr, ClientName: "mx.bank.example", HELO: "mx.bank.example", TLSVersion: "TLSv1.3"},
		Envelope: msgauth.Envelope{QueueID: "4dQZ7x2wJ1z9sP", MailFrom: "<bounce@news.bank.example>",
			Recipients: []string{"<ann@here.example>"}, Size: 2345},
		From: author.From{Mailboxes: []author.Mailbox{{DisplayName: "Bank", Local: "news", Domain: domain}}, AuthorDomain: domain,
			Domains: []dns.Name{domain}},
		IPRev: iprev.Result{Status: iprev.Pass, IP: addr, Name: "mx.bank.example", Names: []dns.Name{"mx.bank.example"}, Trace: []iprev.Step{
			{Name: "1.2.0.192.in-addr.arpa", Type: dns.TypePTR, Detail: "mx.bank.example"}, {Name: "mx.bank.example", Type: dns.TypeA, Detail: client},
		}},
		HELO: helo, MailFrom: found,
		DKIM: []dkim.Signature{{
			Result: dkim.Pass, Domain: domain, Identity: "@news.bank.example", Selector: "s2026", Algorithm: "rsa-sha256",
			Canonicalization: "relaxed/relaxed", SignedHeaders: strings.Fields("from to subject date message-id mime-version content-type"),
			Timestamp: &signed, B: "dGhpcyBpcyBub3Q", KeyType: "rsa", KeyBits: 2048,
		}},
		ARC: arc.Result{Status: arc.None},
		DMARC: dmarc.Evaluation{
			Result: dmarc.ResultPass, AuthorDomain: domain, Method: "dns", OrganizationalDomain: "bank.example", PolicyDomain: "bank.example",
			Record: &dmarc.Record{P: dmarc.PolicyReject, ADKIM: "r", ASPF: "r", PSD: "u", RUA: []string{"mailto:dmarc@bank.example"},
				FO: []string{"0"}, Raw: "v=DMARC1; p=reject; rua=mailto:dmarc@bank.example"},
			PolicyPublished: dmarc.PolicyReject, Tag: "p", Disposition: dmarc.PolicyReject, AuthorExists: &exists, AlignedSPF: true, AlignedDKIM: true,
			Alignments: []dmarc.Alignment{
				{Identifier: dmarc.Identifier{Mechanism: "spf", Domain: domain, State: "pass"}, Mode: "r", Aligned: true},
				{Identifier: dmarc.Identifier{Mechanism: "dkim", Domain: domain, State: "pass", Label: "s2026"}, Mode: "r", Aligned: true},
			},
			Trace: []dmarc.Step{{Name: "_dmarc.news.bank.example", Type: dns.TypeTXT, Found: "none"},
				{Name: "_dmarc.bank.example", Type: dns.TypeTXT, Found: "record"}},
		},
		Time: epoch.In(time.FixedZone("JST", 9*3600)), Digest: strings.Repeat("0f", 16), Wait: 250 * time.Microsecond,
		Cost: map[msgauth.Mechanism]msgauth.Cost{
			msgauth.SPF: {Lookups: 3, Elapsed: 81234}, msgauth.DKIM: {Lookups: 1, Elapsed: 71234, Operations: 1.5},
			msgauth.DMARC: {Lookups: 2, Elapsed: 12345},
		},
	}
	e.Traits.Add(trait.List)
	return decided(e, policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Enforced: true, Reason: policy.ReasonAligned, ID: "7G3K0A2B"})
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// checkSame checks that the Ring shows the decision as it was made, octet for octet.
func checkSame(t *testing.T, d *judge.Decision) {
	t.Helper()
	r := New(Options{Entries: 1, Now: func() time.Time { return epoch }})
	r.Decided(d, time.Second)
	found, _ := r.Search(Query{QueueID: d.Envelope.QueueID, ID: d.Verdict.ID, Client: d.Session.Client})
	if len(found) != 1 || found[0].Truncated {
		t.Fatalf("%d entries: %+v", len(found), found)
	}
	want := Entry{
		Time: epoch, QueueID: d.Envelope.QueueID, ID: d.Verdict.ID, Client: d.Session.Client, Mode: policy.Monitor,
		Verdict: d.Verdict, Shadow: d.Shadow, Evaluation: d.Evaluation,
	}
	if d.Verdict.Enforced {
		want.Mode = policy.Enforce
	}
	if d.Evaluation != nil {
		want.Took, want.AuthorDomain = time.Second, d.Evaluation.From.AuthorDomain
	} else {
		want.Session, want.Envelope = &d.Session, &d.Envelope
	}
	if got, want := asJSON(t, found[0]), asJSON(t, want); got != want {
		t.Errorf("remembered: %s\n      decided: %s", got, want)
	}
}

// TestEntryIsTheDecision checks that nothing of a decision is lost or changed.
func TestEntryIsTheDecision(t *testing.T) {
	rejected := policy.Verdict{
		Action: policy.Reject, Applied: policy.Quarantine, Reason: policy.ReasonReject, Evidence: []string{}, Spoofing: []trait.Trait{trait.List},
		Override: &policy.Override{Comment: "\xff\x00"}, Reply: smtp.Reply{Code: 550, Enhanced: "5.7.1", Text: "no"},
		Consent: policy.Consent{In: -1, Elapsed: -time.Second}, ID: "X",
	}
	checkSame(t, ordinary())
	shadowed := ordinary()
	shadowed.Shadow = &judge.Comparison{Live: shadowed.Verdict, Candidate: rejected}
	checkSame(t, shadowed)
	checkSame(t, &judge.Decision{
		Session:  msgauth.Session{Client: netip.MustParseAddr("fe80::1%eth0"), NoLeadingSpace: true},
		Envelope: msgauth.Envelope{QueueID: "Q", Recipients: []string{"", "<b@c>"}, Size: -1}, Verdict: rejected,
	})
	checkSame(t, &judge.Decision{})
	checkSame(t, decided(&msgauth.Evaluation{DMARC: dmarc.Evaluation{Trace: []dmarc.Step{}}}, policy.Verdict{}))
}

// random sets v to a random value: every field of it, and the elements of its lists and maps.
func random(v reflect.Value, rnd *rand.Rand, text func() string) {
	if rnd.IntN(3) == 0 && v.Kind() != reflect.Struct {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text())
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64() >> rnd.IntN(64) * (1 - 2*rnd.Int64N(2)))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(rnd.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(rnd.NormFloat64())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		random(v.Elem(), rnd, text)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(4), 4))
		for i := range v.Len() {
			random(v.Index(i), rnd, text)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rnd.IntN(4) {
			key, element := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			random(key, rnd, text)
			random(element, rnd, text)
			v.SetMapIndex(key, element)
		}
	case reflect.Struct:
		switch s := v.Addr().Interface().(type) {
		case *time.Time:
			*s = time.Unix(rnd.Int64N(1<<32), rnd.Int64N(1e9)).In(time.FixedZone("", rnd.IntN(24)*3600))
		case *netip.Addr:
			*s = netip.AddrFrom4([4]byte{192, 0, 2, byte(rnd.Uint32())})
		case *trait.Set:
			s.Add(trait.Held()[:rnd.IntN(4)]...)
		default:
			for i := range v.NumField() {
				if f := v.Field(i); f.CanSet() {
					random(f, rnd, text)
				}
			}
		}
	default:
	}
}

// FuzzEntryIsTheDecision checks decisions with values of all kinds in every field, and that the
// texts of a stranger are kept as they are.
func FuzzEntryIsTheDecision(f *testing.F) {
	for i := range uint64(200) {
		f.Add(i, "stranger\x00\xffé")
	}
	f.Fuzz(func(t *testing.T, seed uint64, stranger string) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		text := func() string { return stranger[:rnd.IntN(min(len(stranger), 40)+1)] }
		var e msgauth.Evaluation
		var v policy.Verdict
		random(reflect.ValueOf(&e).Elem(), rnd, text)
		random(reflect.ValueOf(&v).Elem(), rnd, text)
		d := decided(&e, v)
		if rnd.IntN(4) == 0 {
			d.Evaluation = nil
		}
		if rnd.IntN(4) == 0 {
			d.Shadow = &judge.Comparison{Live: v}
		}
		checkSame(t, d)
	})
}

// TestEntryIsCompact checks how much memory an ordinary decision takes, and that it costs few
// allocations.
func TestEntryIsCompact(t *testing.T) {
	r, d := New(Options{Entries: 1}), ordinary()
	r.Decided(d, time.Second)
	if r.bytes > 1000 {
		t.Errorf("%d octets", r.bytes)
	}
	if n := testing.AllocsPerRun(100, func() { r.Decided(d, time.Second) }); n > 10 { // the race detector empties the pool of encoders
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecided(b *testing.B) {
	r, d := New(Options{Entries: 2000}), ordinary()
	b.ReportAllocs()
	for b.Loop() {
		r.Decided(d, time.Second)
	}
}

func BenchmarkSearch(b *testing.B) {
	r, d := New(Options{Entries: 2000}), ordinary()
	for range 2000 {
		r.Decided(d, time.Second)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Search(Query{QueueID: "none"})
	}
}
