package attack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/spf"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/trait"
)

// The simulated traffic: 60 days, 200,000 messages of 200 senders, and their forgers, lists and forwarders.
const (
	simulatedDays     = 60
	simulatedMessages = 200_000
	simulatedSenders  = 200
)

// simulated is one sender of the simulation.
type simulated struct {
	domain   dns.Name
	signs    float64 // the part of its mail that is signed
	spf      float64 // the part whose SPF passes, aligned
	softfail bool    // its SPF record ends in ~all
	networks []netip.Addr
	stops    int // the day from which it sends unsigned for three days, and not by its own return path; 0 for never
	rolls    int // the day on which its key is missing
	moves    int // the day on which it changes to another provider
}

type simulation struct {
	rnd     *rand.Rand
	senders []simulated
	zipf    *rand.Zipf
}

func newSimulation() *simulation {
	s := &simulation{rnd: rand.New(rand.NewPCG(17, 2026))}
	s.zipf = rand.NewZipf(s.rnd, 1.3, 10, simulatedSenders-1)
	for n := range simulatedSenders {
		x := simulated{domain: dns.Name(fmt.Sprintf("sender%d.example", n)), signs: 1, spf: 0.7, softfail: n%2 == 0}
		switch n % 10 {
		case 3: // never signs
			x.signs, x.spf = 0, 1
		case 6: // signs half of its mail
			x.signs, x.spf = 0.5, 1
		case 8: // only a provider signs and sends for it
			x.spf = 0
		}
		for i := range 1 + n%4 {
			x.networks = append(x.networks, netip.AddrFrom4([4]byte{45, byte(n), byte(i), 9}))
		}
		if n%7 == 1 {
			x.stops = 35 + n%20
		}
		if n%7 == 2 {
			x.rolls = 30 + n%25
		}
		if n%7 == 4 {
			x.moves = 30 + n%25
		}
		s.senders = append(s.senders, x)
	}
	return s
}

// simulatedMail is one message with its truth.
type simulatedMail struct {
	e     msgauth.Evaluation
	class string
	spoof bool
}

// next returns a message of a day.
func (s *simulation) next(day int, at time.Time) simulatedMail {
	x := &s.senders[s.zipf.Uint64()]
	m := simulatedMail{e: msgauth.Evaluation{Time: at, From: author.From{AuthorDomain: x.domain}, IPRev: iprev.Result{Status: iprev.Pass}}}
	switch roll := s.rnd.Float64(); {
	case roll < 0.72:
		s.direct(&m, x, day)
	case roll < 0.80:
		s.forwarded(&m, x)
	case roll < 0.86:
		s.list(&m, x)
	default:
		m.spoof = true
		s.spoofed(&m, x)
	}
	m.e.DMARC = dmarc.Evaluation{AuthorDomain: x.domain, OrganizationalDomain: x.domain, PolicyDomain: x.domain, Record: &dmarc.Record{}, Result: dmarc.ResultFail,
		PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject}
	d := &m.e.DMARC
	d.AlignedSPF = m.e.MailFrom.Result == spf.Pass && m.e.MailFrom.Domain == x.domain
	for i := range m.e.DKIM {
		d.AlignedDKIM = d.AlignedDKIM || m.e.DKIM[i].Result == dkim.Pass && m.e.DKIM[i].Domain == x.domain
		if m.e.DKIM[i].Result == dkim.Pass && m.e.DKIM[i].Domain != x.domain {
			m.e.Traits.Add(trait.ThirdPartySignature)
		}
	}
	if d.AlignedDKIM || d.AlignedSPF {
		d.Result = dmarc.ResultPass
	}
	return m
}

func signature(domain dns.Name, result dkim.Result) dkim.Signature {
	s := dkim.Signature{Domain: domain, Selector: "s1", Result: result, KeyBits: 2048}
	if result == dkim.Fail {
		s.Reason = dkim.ReasonBodyHash
	}
	return s
}

func passes(domain dns.Name) spf.Check {
	return spf.Check{Result: spf.Pass, Domain: domain, Record: "v=spf1"}
}

// network returns one of the sender's addresses.
func (s *simulation) network(x *simulated) netip.Addr { return x.networks[s.rnd.IntN(len(x.networks))] }

// elsewhere returns an address of one of so many networks of others.
func (s *simulation) elsewhere(first byte, networks int) netip.Addr {
	n := s.rnd.IntN(networks)
	return netip.AddrFrom4([4]byte{first, byte(n >> 8), byte(n), byte(s.rnd.IntN(250))})
}

// direct is the sender's own mail, with the mistakes that senders make.
func (s *simulation) direct(m *simulatedMail, x *simulated, day int) {
	m.class, m.e.Session.Client = "direct", s.network(x)
	m.e.MailFrom = spf.Check{Result: spf.None, Domain: "bounce.provider.example"}
	if s.rnd.Float64() < x.spf {
		m.e.MailFrom = passes(x.domain)
	}
	signed := s.rnd.Float64() < x.signs
	switch {
	case x.stops > 0 && day >= x.stops && day < x.stops+3:
		m.class, signed = "stopped signing", false
		m.e.MailFrom = passes("bounce.provider.example")
		if s.rnd.IntN(2) == 0 {
			m.e.MailFrom = spf.Check{Result: spf.None, Domain: "bounce.provider.example"}
		}
	case x.rolls == day && signed:
		m.class = "key rollover"
		m.e.DKIM = []dkim.Signature{{Domain: x.domain, Selector: "s2", Result: dkim.PermError}}
		signed = false
	case x.moves > 0 && day >= x.moves:
		m.class = "moved"
		m.e.Session.Client = netip.AddrFrom4([4]byte{46, byte(len(x.domain)), byte(x.moves), 7})
	case !signed && x.signs > 0 && x.signs < 1:
		m.e.MailFrom = passes(x.domain)
	}
	if signed {
		m.e.DKIM = []dkim.Signature{signature(x.domain, dkim.Pass)}
	}
}

// forwarded is honest mail that came through a forwarder: whole or changed, with SRS or with the author's
// own return path.
func (s *simulation) forwarded(m *simulatedMail, x *simulated) {
	m.class, m.e.Session.Client = "forwarded", s.elsewhere(60, 300)
	m.e.Traits.Add(trait.Forwarded)
	signed := s.rnd.Float64() < x.signs
	if s.rnd.IntN(2) == 0 {
		m.e.Traits.Add(trait.SRS)
		m.e.MailFrom = passes(dns.Name(fmt.Sprintf("forwarder%d.example", s.rnd.IntN(50))))
	} else {
		m.e.MailFrom = spf.Check{Result: spf.SoftFail, Domain: x.domain, Record: "v=spf1 ~all"}
		if !x.softfail {
			m.e.MailFrom.Result = spf.Fail
		}
	}
	if signed {
		result := dkim.Pass
		if s.rnd.IntN(3) == 0 {
			result = dkim.Fail
			m.e.Traits.Add(trait.BrokenAuthorSignature)
		}
		m.e.DKIM = []dkim.Signature{signature(x.domain, result)}
	}
}

// list is honest mail that came through a list, which breaks or removes signatures.
func (s *simulation) list(m *simulatedMail, x *simulated) {
	host := dns.Name(fmt.Sprintf("lists%d.example", s.rnd.IntN(40)))
	m.class, m.e.Session.Client = "list", s.elsewhere(61, 60)
	m.e.Traits.Add(trait.List)
	m.e.MailFrom = passes(host)
	if s.rnd.Float64() < x.signs {
		m.e.DKIM = []dkim.Signature{signature(x.domain, dkim.Fail)}
		m.e.Traits.Add(trait.BrokenAuthorSignature)
		if s.rnd.IntN(3) == 0 {
			m.class, m.e.DKIM = "list that removes signatures", nil
		}
	}
	if s.rnd.IntN(2) == 0 {
		m.e.DKIM = append(m.e.DKIM, signature(host, dkim.Pass))
		m.e.Traits.Add(trait.ListSignature)
	}
}

// spoofed is mail of forgers.
func (s *simulation) spoofed(m *simulatedMail, x *simulated) {
	m.e.Session.Client = s.elsewhere(90, 20_000)
	nowhere := spf.Check{Result: spf.None, Domain: "nowhere.example"}
	softfail := spf.Check{Result: spf.SoftFail, Domain: x.domain, Record: "v=spf1 ~all"}
	switch s.rnd.IntN(9) {
	case 0, 1: // a botnet that uses the domain's own return path
		m.class, m.e.MailFrom = "spoof: own return path", spf.Check{Result: spf.Fail, Domain: x.domain, Record: "v=spf1 -all"}
		if x.softfail {
			m.e.MailFrom.Result = spf.SoftFail
		}
	case 2:
		m.class, m.e.MailFrom = "spoof: fields of a list", nowhere
		m.e.Traits.Add(trait.List)
	case 3:
		m.class, m.e.MailFrom = "spoof: fields of a list, softfail", softfail
		m.e.Traits.Add(trait.List, trait.Forwarded)
	case 4:
		m.class, m.e.MailFrom = "spoof: fields of ARC", nowhere
		m.e.Traits.Add(trait.ARC)
	case 5:
		m.class, m.e.MailFrom = "spoof: traces of a forwarder", softfail
		m.e.Traits.Add(trait.Forwarded)
	case 6: // a domain of the forger's own authenticates
		m.class, m.e.MailFrom = "spoof: list with a name", passes("forger.example")
		m.e.DKIM = []dkim.Signature{signature("forger.example", dkim.Pass)}
		m.e.Traits.Add(trait.List)
	case 7: // a signature in the domain's name that is made up
		m.class, m.e.MailFrom = "spoof: made-up signature", nowhere
		m.e.DKIM = []dkim.Signature{signature(x.domain, dkim.Fail)}
		m.e.Traits.Add(trait.BrokenAuthorSignature)
	case 8: // a customer of the provider from which the domain's own mail comes
		m.class, m.e.Session.Client, m.e.MailFrom = "spoof: shared relay", s.network(x), passes("customer.example")
	}
}

// TestSimulation lets a daemon with a store learn for 60 days, and compares the verdicts with the learned
// signs and without them.
func TestSimulation(t *testing.T) {
	if testing.Short() {
		t.Skip("200,000 messages")
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := newSimulation()
	begin := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	type outcome struct{ before, after policy.Action }
	counts := map[string]map[outcome]int{}
	wrong, newlyRefused, newlyHeld, refusedBefore, heldBefore, spoofs := 0, 0, 0, 0, 0, 0
	for day := range simulatedDays {
		midnight := begin.AddDate(0, 0, day)
		today := ledger.DayOf(midnight)
		known := map[dns.Name]ledger.Usual{}
		for _, x := range s.senders {
			// What a cache has learned by the day before.
			if known[x.domain], err = db.Ledger().Usual(t.Context(), x.domain, today); err != nil {
				t.Fatal(err)
			}
		}
		table := ledger.NewTable()
		for range simulatedMessages / simulatedDays {
			m := s.next(day, midnight.Add(time.Hour))
			usual := known[m.e.From.AuthorDomain]
			m.e.Traits.Add(usual.Signs(&m.e)...)
			before := policy.Decide(&m.e, policy.Config{Learned: policy.LearnedOff})
			after := policy.Decide(&m.e, policy.Config{Learned: policy.LearnedUse})
			o := outcome{before.Action, after.Action}
			if counts[m.class] == nil {
				counts[m.class] = map[outcome]int{}
			}
			counts[m.class][o]++
			switch {
			case m.spoof:
				spoofs++
				if before.Action == policy.Reject {
					refusedBefore++
				} else {
					heldBefore++
				}
				if after.Action == policy.Reject && before.Action != policy.Reject {
					newlyRefused++
				}
				if before.Action == policy.Reject && after.Action != policy.Reject {
					newlyHeld++
				}
			case after.Action == policy.Reject && before.Action != policy.Reject:
				wrong++
				t.Errorf("day %d: honest mail (%s) of %s is rejected: %v", day, m.class, m.e.From.AuthorDomain, after.Spoofing)
			}
			entry, ok := ledger.Observe(&m.e, &after, ledger.Same, func(n dns.Name) dns.Name { return n })
			if !ok || entry.Owner == "" {
				t.Fatalf("%+v is not counted", m)
			}
			table.Add(&entry, today)
		}
		w := report.WindowAt(midnight, 24*time.Hour)
		if err := db.Add(t.Context(), midnight.Add(23*time.Hour), report.Batch{ID: fmt.Sprint(day), Current: w, Ledger: table.Take("", 0)}); err != nil {
			t.Fatal(err)
		}
	}
	for class, outcomes := range counts {
		t.Logf("%-34s %v", class, outcomes)
	}
	t.Logf("of %d spoofs, %d were rejected and %d held without the learned signs; of those held, %d are rejected with them, and of those rejected, %d are held. Honest mail rejected by them: %d",
		spoofs, refusedBefore, heldBefore, newlyRefused, newlyHeld, wrong)
	if want := heldBefore / 5; newlyRefused < want {
		t.Errorf("only %d of %d spoofs that were held are rejected, want %d", newlyRefused, heldBefore, want)
	}
	if newlyHeld > spoofs/8 {
		t.Errorf("%d of %d spoofs are held instead of rejected", newlyHeld, spoofs)
	}
}
