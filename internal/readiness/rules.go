package readiness

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
)

// ruleDays is how long a rule for an author's own mail is valid: until then the author should have been told.
const ruleDays = 30

// leastRule is how many messages a rule must help, and leastShare which part of all that would be hit: one in
// so many. A rule for less is more trouble than help.
const (
	leastRule  = 3
	leastShare = 500
)

// propose makes rules for the honest mail that would be hit. It returns how many messages of it there are,
// and how many the rules leave.
func (j *Judge) propose(groups map[dns.Name][]*group, scales map[dns.Name]float64, hits int64) (all []Proposal, harmed, left int64) {
	hosts, own := map[hostKey]*help{}, map[dns.Name]*help{}
	total := 0.0
	for domain, gs := range groups {
		for _, g := range gs {
			for _, s := range g.samples {
				if g.looks != Forwarded && g.looks != Author || s.now != policy.Reject && s.now != policy.Quarantine {
					continue
				}
				n := scales[domain]
				total += n
				switch {
				case g.looks == Forwarded:
					add(hosts, s.host, s, n)
				case g.class == ownNetwork || g.class == ownName:
					add(own, domain, s, n)
				}
			}
		}
	}
	helped := 0.0
	least := max(leastRule, float64(hits)/leastShare)
	take := func(h *help, looks Looks, r *forwarders.Rule) {
		if r == nil {
			return
		}
		n := h.messages
		if r.Then == string(policy.Quarantine) {
			n = h.rejected // the others are quarantined anyway
		}
		if n >= least {
			all = append(all, Proposal{Looks: looks, Messages: int64(n + 0.5), Authors: len(h.authors), Rule: *r})
			helped += n
		}
	}
	for k, h := range hosts {
		take(h, Forwarded, j.hostRule(k))
	}
	for d, h := range own {
		take(h, Author, j.ownRule(d, h))
	}
	slices.SortFunc(all, func(a, b Proposal) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Rule.ID, b.Rule.ID))
	})
	for len(all) > maxRules {
		helped -= float64(all[len(all)-1].Messages)
		all = all[:len(all)-1]
	}
	harmed = int64(total + 0.5)
	return all, harmed, max(0, int64(total-helped+0.5))
}

// help is what a rule would help.
type help struct {
	messages, rejected float64
	authors            map[dns.Name]bool
	networks           map[netip.Prefix]int
	names              bool // by verified names
}

func add[K comparable](all map[K]*help, k K, s *sample, n float64) {
	h := all[k]
	if h == nil {
		h = &help{authors: map[dns.Name]bool{}, networks: map[netip.Prefix]int{}}
		all[k] = h
	}
	h.messages += n
	if s.now == policy.Reject {
		h.rejected += n
	}
	note(h.authors, s.owner)
	h.networks[s.network]++
	h.names = h.names || s.authorHost
}

// hostRule returns the rule for a host that forwards, or nil if none can name it.
func (j *Judge) hostRule(k hostKey) *forwarders.Rule {
	x := j.hosts[k]
	source := &forwarders.Source{Kind: k.kind, Value: k.value}
	// That SPF of authors forbids the host says nothing if mail of others arrives from it unbroken: then it forwards.
	if len(x.carried) < leastCarried {
		source.AuthorSPFFail = x.spfFail
	}
	if len(x.names) <= maxHosts {
		source.Names = slices.Sorted(maps.Keys(x.names))
	}
	found := forwarders.Propose([]*forwarders.Source{source}, "postmaster", j.now())
	if len(found) == 0 {
		return nil
	}
	r := &found[0].Rule
	r.Reason = fmt.Sprintf("hands on mail of %d authors; signatures of %d domains arrive broken, and mail of at least %d unbroken", len(x.owners), len(x.keyed), len(x.carried))
	delete(r.When, "traits") // the samples need not have all that it hands on
	return r
}

// ownRule returns the rule for an author's own mail that fails by a mistake: from the networks from which mail
// of the author passes, or from hosts with a verified name of the author.
func (j *Judge) ownRule(d dns.Name, h *help) *forwarders.Rule {
	if _, err := policy.ParsePattern(string(d)); err != nil {
		return nil
	}
	authors := []string{string(d), "." + string(d)}
	r := &forwarders.Rule{ID: forwarders.RuleID("own-", string(d)), Owner: "postmaster", Expires: j.now().AddDate(0, 0, ruleDays).Format(time.DateOnly),
		When: map[string][]string{"author": authors, "dmarc": {string(dmarc.ResultFail)}}, Then: string(policy.Accept),
		Reason: "the author's own mail, which fails by a mistake; the author should be told"}
	var networks []netip.Prefix
	for n := range h.networks {
		if j.owner(d).networks[n] >= ledger.LeastSourceDays {
			networks = append(networks, n)
		}
	}
	if len(networks) == 0 {
		if !h.names {
			return nil
		}
		r.When[string(forwarders.ClientName)] = authors
		return r
	}
	slices.SortFunc(networks, func(a, b netip.Prefix) int { return cmp.Or(cmp.Compare(h.networks[b], h.networks[a]), a.Compare(b)) })
	for _, n := range networks[:min(len(networks), maxHosts)] {
		r.When[string(forwarders.Client)] = append(r.When[string(forwarders.Client)], n.String())
	}
	return r
}

// now is the time at which the report is made, to the day.
func (j *Judge) now() time.Time { return j.setup.Today.Time() }
