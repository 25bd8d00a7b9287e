package demo

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"time"

	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/readiness"
	"sekimori/internal/readiness/gather"
	"sekimori/internal/report"
	"sekimori/internal/spf"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/trait"
)

// The generated month: what a domain's MX would have counted in monitor mode. Its truth is known. Its
// classes are those of milterload's corpus and of the simulation in internal/attack.
const (
	monthDays     = 30
	monthMessages = 30_000
	monthSenders  = 60
	monthSpoofers = 24
	shownDomains  = 3
	shownSeed     = 17
)

// monthSender is an honest domain.
type monthSender struct {
	domain   dns.Name
	policy   dmarc.Policy
	signs    float64 // the part of its mail that is signed
	spf      bool    // its own mail passes by SPF
	networks []netip.Addr
	trouble  string // a class of trouble that begins on a day, or ""
	since    int
}

// month makes mail. The same seed makes the same mail.
type month struct {
	rnd     *rand.Rand
	zipf    *rand.Zipf
	senders []monthSender
	n       int
}

// monthMail is a message with its truth.
type monthMail struct {
	e     msgauth.Evaluation
	class string
	truth readiness.Looks
}

// The troubles of honest senders. Each begins on a day and lasts to the end, unless it says otherwise.
const (
	keyBroken    = "broken key"
	newProvider  = "new provider without a key"
	newHost      = "new host that SPF lacks"
	stopsSigning = "stops signing for three days"
	addressLost  = "SPF lost an address"
)

func newMonth(seed uint64) *month {
	m := &month{rnd: rand.New(rand.NewPCG(seed, 2026))} //nolint:gosec // the month must be the same every time
	m.zipf = rand.NewZipf(m.rnd, 1.1, 20, monthSenders-1)
	policies := []dmarc.Policy{dmarc.PolicyReject, dmarc.PolicyReject, dmarc.PolicyQuarantine, dmarc.PolicyNone}
	for n := range monthSenders {
		x := monthSender{domain: dns.Name(fmt.Sprintf("sender%03d.example", n)), policy: policies[n%len(policies)], signs: 1, spf: n%5 != 4}
		switch n % 10 {
		case 3: // never signs
			x.signs, x.spf = 0, true
		case 6: // signs half of its mail
			x.signs, x.spf = 0.5, true
		}
		for i := range 1 + n%4 {
			x.networks = append(x.networks, netip.AddrFrom4([4]byte{45, byte(n), byte(i), 9}))
		}
		troubles := [17]string{2: keyBroken, 5: newProvider, 13: newHost, 8: stopsSigning, 12: addressLost}
		x.trouble, x.since = troubles[n%len(troubles)], 18+n%9
		m.senders = append(m.senders, x)
	}
	return m
}

// next returns a message of a day.
func (m *month) next(day int, at time.Time) monthMail {
	m.n++
	x := &m.senders[m.zipf.Uint64()]
	mail := monthMail{truth: readiness.Author, e: msgauth.Evaluation{Time: at, From: author.From{AuthorDomain: x.domain}, IPRev: iprev.Result{Status: iprev.Pass},
		Envelope: msgauth.Envelope{QueueID: fmt.Sprintf("MONTH%06d", m.n)}}}
	switch roll := m.rnd.Float64(); {
	case roll < 0.80:
		m.direct(&mail, x, day)
	case roll < 0.86:
		m.forwarded(&mail, x)
	case roll < 0.89:
		m.list(&mail, x)
	default:
		m.spoof(&mail, x)
	}
	m.conclude(&mail.e, x)
	return mail
}

// conclude says what DMARC makes of the results.
func (m *month) conclude(e *msgauth.Evaluation, x *monthSender) {
	e.DMARC = dmarc.Evaluation{AuthorDomain: x.domain, OrganizationalDomain: x.domain, PolicyDomain: x.domain, Record: &dmarc.Record{}, Result: dmarc.ResultFail,
		PolicyPublished: x.policy, Disposition: x.policy}
	e.DMARC.AlignedSPF = e.MailFrom.Result == spf.Pass && e.MailFrom.Domain == x.domain
	for i := range e.DKIM {
		passes, own := e.DKIM[i].Result == dkim.Pass, e.DKIM[i].Domain == x.domain
		e.DMARC.AlignedDKIM = e.DMARC.AlignedDKIM || passes && own
		if passes && !own {
			e.Traits.Add(trait.ThirdPartySignature)
		}
	}
	if e.DMARC.AlignedDKIM || e.DMARC.AlignedSPF {
		e.DMARC.Result = dmarc.ResultPass
	}
	e.Envelope.MailFrom = "<bounce@" + string(e.MailFrom.Domain) + ">"
	if e.Has(trait.SRS) {
		e.Envelope.MailFrom = "<SRS0=ab=cd=" + string(x.domain) + "=bounce@" + string(e.MailFrom.Domain) + ">"
	}
}

// openMonth makes the month in a store in the directory, which ends on the day of now. The function seen is
// called with each message, its id and the truth; it may be nil.
func openMonth(ctx context.Context, dir string, seed uint64, now time.Time, seen func(m *monthMail, id string)) (*sqlite.DB, error) {
	db, err := sqlite.Open(ctx, filepath.Join(dir, "month.db"), sqlite.Options{})
	if err != nil {
		return nil, err
	}
	m, today := newMonth(seed), ledger.DayOf(now)
	for day := range monthDays {
		if err := m.day(ctx, db, day, today-monthDays+1+ledger.Day(day), seen); err != nil {
			_ = db.Close() // the error of the day says more
			return nil, err
		}
	}
	return db, nil
}

// day writes a day into the store, as a daemon in monitor mode would have.
func (m *month) day(ctx context.Context, db *sqlite.DB, day int, at ledger.Day, seen func(*monthMail, string)) error {
	usual := map[dns.Name]ledger.Usual{}
	for i := range m.senders {
		if day < ledger.LeastDays { // nothing is usual yet
			break
		}
		d := m.senders[i].domain
		u, err := db.Ledger().Usual(ctx, d, at)
		if err != nil {
			return err
		}
		usual[d] = u
	}
	c := policy.Config{Mode: policy.Monitor}
	table, kept := ledger.NewTable(), []archive.Made{}
	for n := range monthMessages / monthDays {
		when := at.Time().Add(time.Duration(n) * 24 * time.Hour / (monthMessages / monthDays))
		mail := m.next(day, when)
		e := &mail.e
		known := usual[e.From.AuthorDomain]
		e.Traits.Add(known.Signs(e)...)
		v := policy.Decide(e, c)
		if entry, ok := ledger.Observe(e, &v, ledger.Change(policy.LearnedEffect(e, c)), suffix.Owner); ok {
			table.Add(&entry, at)
		}
		if history.Failing.Wants(e, &v, false) == history.Always {
			kept = append(kept, archive.Made{Decision: &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}, At: when})
		}
		if seen != nil {
			seen(&mail, v.ID)
		}
	}
	id := fmt.Sprintf("month %d", day)
	end := at.Time().Add(24*time.Hour - time.Second)
	if err := db.Add(ctx, end, report.Batch{ID: id, Current: report.WindowAt(end, 24*time.Hour), Ledger: table.Take("", 0)}); err != nil {
		return err
	}
	batch, err := archive.Pack(id+" history", "mx.sekimori.example", kept)
	if err != nil {
		return err
	}
	return db.AddHistory(ctx, end, batch)
}

// monthReport judges the month.
func monthReport(ctx context.Context, db *sqlite.DB, now time.Time, days int) (*readiness.Report, *readiness.Judge, error) {
	reader, err := archive.NewReader(func() history.Store { return db })
	if err != nil {
		return nil, nil, err
	}
	rules, err := config.Default().Rules(config.LoadRules)
	if err != nil {
		return nil, nil, err
	}
	rules.Policy.Mode = policy.Monitor
	return gather.Judged(ctx, gather.Options{Ledger: db.Ledger(), History: reader, Policy: rules.Policy, Days: days, Now: now})
}

// showReadiness writes what "sekimori readiness" would say after the generated month.
func showReadiness(ctx context.Context, out io.Writer, dir string, now time.Time) error {
	db, err := openMonth(ctx, dir, shownSeed, now, nil)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // nothing more is written
	r, _, err := monthReport(ctx, db, now, monthDays)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "\nAfter a month of such mail in monitor mode (%d generated messages of %d honest domains, with forwarders, lists, spoofers and senders in trouble), %q says:\n\n",
		monthMessages, monthSenders, "sekimori readiness --days 30"); err != nil {
		return err
	}
	r.Domains = r.Domains[:min(len(r.Domains), shownDomains)]
	return r.Text(out)
}
