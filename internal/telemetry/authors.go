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

// publishedPolicies are the policies that a domain may publish; "" is no policy.
var publishedPolicies = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""}

// maxKnownAuthors is how many author domains are remembered with their registered
// domains.
const maxKnownAuthors = 4096

// authorDomains counts author domains by published policy without storing the names.
// A stranger can write any name into From, and can publish records for any number of
// names below its own domain. Therefore only registered domains are counted, by the
// public suffix list that the program was built with, and only domains about whose
// mail DNS publishes something.
type authorDomains struct {
	windows []*distinct.Window // one for each of publishedPolicies
	// known are fingerprints of author domains, each with the length of the registered
	// domain in its last octet. Most mail comes from few author domains, and a search
	// in the suffix list takes ten times as long.
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

// count counts the author domain of an evaluated message. It never waits.
func (a *authorDomains) count(e *msgauth.Evaluation) {
	d := &e.DMARC
	policy := slices.Index(publishedPolicies, d.PolicyPublished)
	switch {
	case policy < 0, e.From.AuthorDomain == "",
		d.PolicyPublished == "" && d.Result != dmarc.ResultNone, // it is not known whether there is a policy
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

// publishes reports whether the evaluation found a DMARC record, an SPF record or a
// DKIM key at the domain or below it.
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
