package telemetry

import (
	"hash/maphash"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/distinct"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/msgauth"
)

// publishedPolicies are the policies a domain may publish; "" is none.
var publishedPolicies = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""}

// maxKnownAuthors bounds the author domains whose registered domain is
// remembered.
const maxKnownAuthors = 4096

// authorDomains counts author domains by published policy without keeping one.
// A stranger writes any name into From, and can give any number of names below
// his own domain records of their own. What counts is therefore what somebody
// registered, by the public suffix list the program was built with, and only
// when the DNS published something about its mail.
type authorDomains struct {
	windows []*distinct.Window // one for each of publishedPolicies
	// known are fingerprints of author domains, each with the length of its
	// registered domain in the last octet: most mail is from few authors, and
	// the suffix list takes ten times as long.
	known [maxKnownAuthors]atomic.Uint64
	seed  maphash.Seed
}

func newAuthorDomains(b builder) *authorDomains {
	a := &authorDomains{seed: maphash.MakeSeed()}
	for _, p := range publishedPolicies {
		w := distinct.NewWindow()
		a.windows = append(a.windows, w)
		b.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "author_domains",
			Help:        "Registered author domains of the last 30 days by published policy, estimated; from zero at a start.",
			ConstLabels: prometheus.Labels{"policy": publishedLabel(p)},
		}, func() float64 { return math.Round(w.Estimate(time.Now())) }))
	}
	return a
}

// count takes an evaluated message into account. It never waits.
func (a *authorDomains) count(e *msgauth.Evaluation) {
	d := &e.DMARC
	policy := slices.Index(publishedPolicies, d.PolicyPublished)
	switch {
	case policy < 0, e.From.AuthorDomain == "",
		d.PolicyPublished == "" && d.Result != dmarc.ResultNone, // there may be a policy, but it is not known
		d.AuthorExists != nil && !*d.AuthorExists:
		return
	}
	if domain := a.owner(e.From.AuthorDomain); domain != "" && publishes(e, domain) {
		a.windows[policy].Add(string(domain), e.Time)
	}
}

// owner is [suffix.Owner], remembered.
func (a *authorDomains) owner(n dns.Name) dns.Name {
	const lengths = 0xff // a name has at most 253 octets
	hash := maphash.String(a.seed, string(n))
	known := &a.known[hash>>32%maxKnownAuthors]
	if k := known.Load(); k|lengths == hash|lengths && int(k&lengths) <= len(n) {
		return n[len(n)-int(k&lengths):]
	}
	domain := suffix.Owner(n)
	known.Store(hash&^lengths | uint64(len(domain)))
	return domain
}

// publishes reports whether the message showed that domain, or a name below it,
// has a DMARC record, an SPF record or a DKIM key.
func publishes(e *msgauth.Evaluation, domain dns.Name) bool {
	switch {
	case e.DMARC.Record != nil && e.DMARC.PolicyDomain.Under(domain),
		e.MailFrom.Record != "" && e.MailFrom.Domain.Under(domain),
		e.HELO.Record != "" && e.HELO.Domain.Under(domain):
		return true
	}
	for i := range e.DKIM {
		if s := &e.DKIM[i]; s.KeyBits != 0 && s.Domain.Under(domain) {
			return true
		}
	}
	return false
}
