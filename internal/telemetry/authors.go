package telemetry

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/distinct"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/ledger"
	"sekimori/internal/msgauth"
)

// publishedPolicies lists the policies that a domain can publish. "" stands for no policy.
var publishedPolicies = []dmarc.Policy{dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject, ""}

// authorDomains counts author domains by published policy without storing their names.
//
// A sender can write any name into From, and can publish records for any number of names
// below its own domain. Therefore authorDomains counts only registered domains, which it
// finds with the public suffix list in the program. The registered domain, or a name
// below it, must also have a DMARC record, an SPF record or a DKIM key in DNS.
type authorDomains struct {
	windows []*distinct.Window // one for each element of publishedPolicies
	owners  *suffix.Memory
	// kept returns the numbers that the store has, of the whole farm, or nil. It is nil without a store.
	kept atomic.Pointer[func() map[dmarc.Policy]float64]
}

// CountAuthors makes sekimori_author_domains show what the store has, once it has said that. The function
// must not block. It returns nil as long as it knows nothing.
func (m *Metrics) CountAuthors(kept func() map[dmarc.Policy]float64) { m.authors.kept.Store(&kept) }

// estimate returns the number of author domains with a policy: that of the store, if it has said one.
func (a *authorDomains) estimate(p dmarc.Policy, own *distinct.Window) float64 {
	if kept := a.kept.Load(); kept != nil {
		if all := (*kept)(); all != nil {
			return math.Round(all[p])
		}
	}
	return math.Round(own.Estimate(time.Now()))
}

func newAuthorDomains(b builder) *authorDomains {
	a := &authorDomains{owners: suffix.NewMemory()}
	for _, p := range publishedPolicies {
		w := distinct.NewWindow()
		a.windows = append(a.windows, w)
		b.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "author_domains",
			Help:        "Registered author domains of the last 30 days by published policy, estimated; with a store, of all its hosts; without one, from zero at a start.",
			ConstLabels: prometheus.Labels{"policy": publishedLabel(p)},
		}, func() float64 { return a.estimate(p, w) }))
	}
	return a
}

// count adds the author domain of an evaluated message. It does not block.
func (a *authorDomains) count(e *msgauth.Evaluation) {
	policy := slices.Index(publishedPolicies, e.DMARC.PolicyPublished)
	if policy < 0 || !ledger.Countable(e) {
		return
	}
	if domain := a.owners.Owner(e.From.AuthorDomain); domain != "" && ledger.Publishes(e, domain) {
		a.windows[policy].Add(string(domain), e.Time)
	}
}
