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

// publishedPolicies lists the policies that a domain can publish. "" stands for no policy.
var publishedPolicies = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""}

// maxKnownAuthors is the number of author domains whose registered domain can be
// remembered.
const maxKnownAuthors = 4096

// authorDomains counts author domains by published policy without storing their names.
//
// A sender can write any name into From, and can publish records for any number of names
// below its own domain. Therefore authorDomains counts only registered domains, which it
// finds with the public suffix list in the program. The registered domain, or a name
// below it, must also have a DMARC record, an SPF record or a DKIM key in DNS.
type authorDomains struct {
	windows []*distinct.Window // one for each element of publishedPolicies
	// known remembers the registered domains of author domains, because a search in the
	// suffix list takes ten times as long. Each element is a hash of an author domain. The
	// last octet of the hash is replaced by the length of the registered domain.
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

// count adds the author domain of an evaluated message. It does not block.
func (a *authorDomains) count(e *msgauth.Evaluation) {
	d := &e.DMARC
	policy := slices.Index(publishedPolicies, d.PolicyPublished)
	switch {
	case policy < 0, e.From.AuthorDomain == "",
		d.PolicyPublished == "" && d.Result != dmarc.ResultNone, // the lookup failed, so there may be a policy
		d.AuthorExists != nil && !*d.AuthorExists:
		return
	}
	if domain := a.owner(e.From.AuthorDomain); domain != "" && publishes(e, domain) {
		a.windows[policy].Add(string(domain), e.Time)
	}
}

// owner returns [suffix.Owner](n), which is usually the registered domain of n, and
// remembers it.
func (a *authorDomains) owner(n dns.Name) dns.Name {
	const lengths = 0xff // a name has at most 253 octets, so its length fits into the last octet
	hash := maphash.String(a.seed, string(n))
	known := &a.known[hash>>32%maxKnownAuthors]
	if k := known.Load(); k|lengths == hash|lengths && int(k&lengths) <= len(n) {
		return n[len(n)-int(k&lengths):]
	}
	domain := suffix.Owner(n)
	known.Store(hash&^lengths | uint64(len(domain)))
	return domain
}

// publishes reports whether the evaluation found a DMARC record, an SPF record or a DKIM
// key at the registered domain or at a name below it.
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
