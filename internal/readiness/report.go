package readiness

import (
	"slices"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// What decides the verdict.
const (
	// mostUnclear is the part of the hits that may be unclear, and leastUnclear the part of all messages below
	// which that does not matter.
	mostUnclear  = 0.2
	leastUnclear = 0.001
	// mostHarmed is the part of all messages that may be honest mail for which there is no rule.
	mostHarmed = 0.002
)

// Report judges all that was told.
func (j *Judge) Report() *Report {
	first := j.setup.Today - ledger.Day(j.setup.Days) + 1
	r := &Report{From: first.Time().Format(time.DateOnly), To: j.setup.Today.Time().Format(time.DateOnly), Days: j.setup.Days, Mode: j.setup.Policy.Mode,
		Learned: j.setup.Policy.Learned, Messages: j.messages, Fail: j.fail, Reject: j.reject, Quarantine: j.quarant, Harsher: j.harsher, Milder: j.milder,
		More: j.more, MoreMessages: j.moreMessages, Samples: len(j.samples), Domains: []Domain{}, Proposed: []Proposal{}}
	for d := range j.seen {
		count(&r.Seen, d >= first && d <= j.setup.Today)
	}
	j.meet()
	groups, scales := j.groups(), map[dns.Name]float64{}
	parts := map[Looks]int64{}
	r.ByDomain = j.moreMessages
	judged := map[dns.Name][]*group{}
	for i := range j.hits {
		h := &j.hits[i]
		d := j.domain(h, groups[h.Domain])
		judged[h.Domain] = groups[h.Domain]
		r.ByDomain += h.Hits()
		n := 0
		for _, s := range d.Streams {
			parts[s.Looks] += s.Messages
			r.Excepted += s.Excepted
			n += s.Samples
		}
		scales[h.Domain] = float64(h.Hits()) / float64(max(n, 1))
		r.Domains = append(r.Domains, d)
	}
	slices.SortFunc(r.Domains, byHits)
	for _, l := range AllLooks {
		r.ByLooks = append(r.ByLooks, Part{l, parts[l]})
	}
	var proposed []Proposal
	proposed, r.Harmed, r.Left = j.propose(judged, scales, r.Hits())
	r.Proposed = append(r.Proposed, proposed...)
	r.Notes = j.notes(r)
	r.Verdict, r.Reason = r.decide()
	return r
}

// Of returns what the message with this explanation id looked like; "" if it was not among the samples. It
// is for use after Report.
func (j *Judge) Of(id string) Looks { return j.verdicts[id] }

func (j *Judge) domain(h *ledger.Hit, groups []*group) Domain {
	o := j.owner(h.Domain)
	d := Domain{Domain: h.Domain, Policy: h.Policy, Messages: h.Messages, Pass: h.Pass, Reject: h.Reject, Quarantine: h.Quarantine, Harsher: h.Harsher, Milder: h.Milder,
		Signs: o.signs(), Broken: o.broken, Streams: j.streams(groups, h.Hits())}
	if o.fewNetworks() {
		d.Networks = len(o.networks)
	}
	if len(d.Streams) == 0 { // nothing says what the present configuration would do
		d.Streams = []Stream{{Looks: Unclear, Reason: newReason("no_samples"), Messages: h.Hits(), Rejected: h.Reject, Quarantined: h.Quarantine, Example: o.example}}
	}
	return d
}

// of returns how many messages have the looks.
func (r *Report) of(l Looks) int64 {
	for _, p := range r.ByLooks {
		if p.Looks == l {
			return p.Messages
		}
	}
	return 0
}

// decide returns the verdict.
func (r *Report) decide() (Verdict, Reason) {
	all, hits := float64(r.Messages), float64(r.Hits())
	unclear := r.of(Unclear)
	switch {
	case r.Messages == 0:
		return Wait, newReason("no_mail")
	case r.Seen < r.Days:
		return Wait, newReason("days", r.Seen, r.Days)
	case float64(unclear) > mostUnclear*hits && float64(unclear) > leastUnclear*all:
		return Wait, newReason("unclear", unclear, r.Hits())
	case float64(r.Left) > mostHarmed*all:
		return Wait, newReason("harmed", r.Left)
	case len(r.Proposed) > 0:
		return Rules, newReason("rules", len(r.Proposed), r.Harmed-r.Left, r.Harmed)
	}
	return Enforce, newReason("now", r.Hits(), r.of(Spoof), r.Harmed)
}

// notes says what limits the report.
func (j *Judge) notes(r *Report) (all []Reason) {
	note := func(is bool, word string, args ...any) {
		if is {
			all = append(all, newReason(word, args...))
		}
	}
	note(j.historyOff, "history_off")
	note(!j.historyOff && len(j.samples) == 0 && r.Hits() > 0, "no_history")
	note(len(j.samples) > 0 && int64(len(j.samples)) < r.Hits(), "sampled", len(j.samples), r.Hits())
	note(r.Hits() > r.ByDomain, "not_by_domain", r.Hits()-r.ByDomain)
	note(j.dropped > 0, "dropped", j.dropped)
	note(r.More > 0, "more", r.More, r.MoreMessages)
	return all
}
