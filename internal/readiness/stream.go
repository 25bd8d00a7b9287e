package readiness

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
)

// class is what one failing message shows by itself, with what is known of its author and its network.
type class int

const (
	hidden     class = iota // the client's address is not known
	ownName                 // the client has a verified name of the author, and the message is a notification
	ownNetwork              // mail of the author passes from there
	shared                  // so it does, but another domain authenticated
	broken                  // the author's record is broken
	signed                  // there is a signature by a key of the author
	handed                  // mail of others passes from there
	foreign                 // only another domain authenticated
	listed                  // nothing authenticated; it says that it came through a list or an ARC sealer
	claimed                 // nothing authenticated; it says that it came through a forwarder
	bare                    // nothing authenticated
	steady                  // as claimed and bare, from a network that sends more than once in the name of the author
	ownHost                 // nothing authenticated, but the client has a verified name of the author
	forged                  // the client writes in many names
	passedOn                // the host forwards
)

// classify says what a message shows.
func (j *Judge) classify(s *sample, o *owner, h *host) class {
	known := o.networks[s.network] >= ledger.LeastSourceDays
	others := j.others(s)
	switch {
	case !s.network.IsValid():
		return hidden
	case s.authorHost:
		return ownName
	case h.forwards() && s.indirect:
		return passedOn
	case known && !s.other && (others == 0 || !s.indirect):
		return ownNetwork
	case known:
		return shared
	case h.forwards() && (o.signedBy(s) || !o.signs()):
		return passedOn
	case s.recordBroken:
		return broken
	case o.signedBy(s):
		return signed
	case others > 0:
		return handed
	case j.clients[s.client].forges():
		return forged
	case s.other:
		return foreign
	case s.nameOf(s.owner):
		return ownHost
	case o.failing[s.network] > 1:
		return steady
	case s.listed:
		return listed
	case s.indirect:
		return claimed
	}
	return bare
}

// nameOf reports whether the verified name of the client is of the domain.
func (s *sample) nameOf(domain dns.Name) bool { return dns.Name(s.name).Under(domain) }

// group is the samples of one domain and class, and of one host where that matters.
type group struct {
	owner    dns.Name
	class    class
	host     hostKey
	samples  []*sample
	networks map[netip.Prefix]int
	bare     int // from how many networks all mail of the domain came for which nothing speaks: listed, claimed or bare
	looks    Looks
	reason   Reason
}

type groupKey struct {
	owner dns.Name
	class class
	host  hostKey
}

// groups divides the samples.
func (j *Judge) groups() map[dns.Name][]*group {
	all := map[groupKey]*group{}
	out := map[dns.Name][]*group{}
	for i := range j.samples {
		s := &j.samples[i]
		c := j.classify(s, j.owner(s.owner), j.hosts[s.host])
		k := groupKey{owner: s.owner, class: c}
		switch c {
		case signed, handed, foreign, passedOn, shared:
			k.host = s.host
		default: // the others are judged together, whoever sent them
		}
		g := all[k]
		if g == nil {
			g = &group{owner: s.owner, class: c, host: k.host, networks: map[netip.Prefix]int{}}
			all[k] = g
			out[s.owner] = append(out[s.owner], g)
		}
		g.samples = append(g.samples, s)
		g.networks[s.network]++
	}
	for _, groups := range out {
		addBare(groups)
	}
	return out
}

// addBare counts the networks of the mail of a domain for which nothing speaks. Each such network sent one
// message, so no network is in two of the classes.
func addBare(groups []*group) {
	all := 0
	for _, g := range groups {
		if g.class == listed || g.class == claimed || g.class == bare {
			all += len(g.networks)
		}
	}
	for _, g := range groups {
		g.bare = all
	}
}

// perNetwork estimates how many messages came from each network. scale is how many messages stand behind a
// sample. Few samples of many messages meet few networks twice, so the number of networks is
// estimated from how often they do.
func (g *group) perNetwork(scale float64) float64 {
	n, twice := float64(len(g.samples)), 0.0
	for _, k := range g.networks {
		twice += float64(k) * float64(k-1) / 2
	}
	networks := float64(len(g.networks))
	if scale > 1.5 {
		networks = max(networks, n*(n-1)/2/(twice+1))
	}
	return scale * n / networks
}

// When mail counts as scattered, as a botnet's is. The mail of an honest host keeps coming from where it is.
const (
	// leastScattered is from how many networks it must come if the author always signs, whatever the messages
	// claim: a list or forwarder leaves a signature, or authenticates, or sends more than once. leastUnsigned is
	// for an author who does not; leastUnknown if nothing is known of the author.
	leastScattered = 3
	leastUnsigned  = 5
	leastUnknown   = 10
	// mostSigned, and mostOther, is how many messages there may be for each network.
	mostSigned = 20
	mostOther  = 5
)

// judge says what a group looks like. scale is how many messages stand behind a sample.
func (j *Judge) judge(g *group, scale float64) {
	o, h := j.owner(g.owner), j.hosts[g.host]
	each, networks := g.perNetwork(scale), len(g.networks)
	set := func(l Looks, word string, args ...any) { g.looks, g.reason = l, newReason(word, args...) }
	switch g.class {
	case hidden:
		set(Unclear, "hidden")
	case ownName:
		set(Author, "own_name", string(g.owner))
	case ownNetwork:
		set(Author, "own_network")
	case broken:
		if networks >= leastUnknown && each <= mostOther {
			set(Unclear, "broken_scattered", networks)
		} else {
			set(Author, "own_record")
		}
	case shared:
		if len(o.broken) > 0 {
			set(Author, "shared_broken", string(o.broken[0].Kind))
		} else {
			set(Unclear, "shared")
		}
	case passedOn:
		switch {
		case h.listSigned > 0:
			set(Forwarded, "list", len(h.keyed))
		case len(h.keyed) > 0:
			set(Forwarded, "forwarder", len(h.carried), len(h.keyed))
		default:
			set(Forwarded, "carries", len(h.carried))
		}
	case signed:
		set(Unclear, "signature_only")
	case handed:
		set(Unclear, "carries_others", len(h.carried))
	case forged:
		set(Spoof, "many_names", j.mostNames(g))
	case foreign:
		set(Unclear, "other_name")
	case listed, claimed:
		switch {
		case o.signs() && g.bare >= leastScattered && each <= mostSigned:
			set(Spoof, "claims_list", g.bare)
		case g.class == listed && o.fewNetworks() && networks >= leastUnsigned && each <= mostOther:
			set(Spoof, "claims_scattered", networks) // a list or a sealer is steady, and authenticates
		default:
			set(Unclear, "claims")
		}
	case bare:
		g.looks, g.reason = bareLooks(g, o, each)
	case steady:
		set(Unclear, "steady", networks)
	case ownHost:
		set(Unclear, "own_host", string(g.owner))
	}
}

// bareLooks judges mail for which nothing speaks.
func bareLooks(g *group, o *owner, each float64) (Looks, Reason) {
	networks, spfFail := len(g.networks), 0
	for _, s := range g.samples {
		count(&spfFail, s.spfFail)
	}
	switch {
	case o.signs() && g.bare >= leastScattered && each <= mostSigned:
		return Spoof, newReason("unsigned_scattered", g.bare)
	case o.fewNetworks() && networks >= leastUnsigned && each <= mostOther:
		return Spoof, newReason("scattered", networks, len(o.networks))
	case !o.passes() && networks >= leastUnknown && each <= mostOther && 2*spfFail >= len(g.samples):
		return Spoof, newReason("spf_scattered", networks)
	case !o.passes():
		return Unclear, newReason("unknown_domain", o.counts.Pass, o.days)
	case networks < leastUnsigned:
		return Unclear, newReason("few_networks", networks)
	}
	return Unclear, newReason("unsure")
}

// mostNames returns in how many names the clients of a group write.
func (j *Judge) mostNames(g *group) (n int) {
	for _, s := range g.samples {
		n = max(n, len(j.clients[s.client].owners))
	}
	return n
}

// streams makes the streams of a domain out of its groups. hits is how many messages stand behind them.
func (j *Judge) streams(groups []*group, hits int64) (all []Stream) {
	total := 0
	for _, g := range groups {
		total += len(g.samples)
	}
	scale := float64(hits) / float64(max(total, 1))
	type key struct {
		looks Looks
		word  string
	}
	merged := map[key][]*group{}
	var order []key
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(len(b.samples), len(a.samples)), cmp.Compare(a.class, b.class), cmp.Compare(a.host.kind, b.host.kind), cmp.Compare(a.host.value, b.host.value))
	})
	for _, g := range groups {
		j.judge(g, scale)
		for _, s := range g.samples {
			if s.id != "" {
				j.verdicts[s.id] = g.looks
			}
		}
		k := key{g.looks, g.reason.Word}
		if merged[k] == nil {
			order = append(order, k)
		}
		merged[k] = append(merged[k], g)
	}
	for _, k := range order {
		all = append(all, newStream(merged[k], scale))
	}
	level(all, hits)
	slices.SortStableFunc(all, func(a, b Stream) int { return cmp.Compare(b.Messages, a.Messages) })
	return all
}

// newStream adds up groups that look the same.
func newStream(groups []*group, scale float64) Stream {
	st := Stream{Looks: groups[0].looks, Reason: groups[0].reason}
	networks, hosts := map[netip.Prefix]bool{}, map[hostKey]int{}
	var done [3]int // rejected, quarantined, let through
	for _, g := range groups {
		for _, s := range g.samples {
			st.Samples++
			hosts[s.host]++
			if s.network.IsValid() {
				networks[s.network] = true
			}
			st.Example = cmp.Or(st.Example, s.id)
			switch s.now {
			case policy.Reject:
				done[0]++
			case policy.Quarantine, policy.TempFail:
				done[1]++
			default:
				done[2]++
			}
		}
	}
	round := func(n int) int64 { return int64(math.Round(float64(n) * scale)) }
	st.Messages, st.Networks = round(st.Samples), len(networks)
	st.Rejected, st.Quarantined = round(done[0]), round(done[1])
	for k, n := range hosts {
		if k.value != "" {
			st.Hosts = append(st.Hosts, Host{k.kind, k.value, n})
		}
	}
	slices.SortFunc(st.Hosts, func(a, b Host) int {
		return cmp.Or(cmp.Compare(b.Samples, a.Samples), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	st.Hosts = st.Hosts[:min(len(st.Hosts), maxHosts)]
	return st
}

// level makes the numbers of messages add up to the hits, which rounding may have changed.
func level(all []Stream, hits int64) {
	var sum int64
	for i := range all {
		sum += all[i].Messages
	}
	if len(all) > 0 {
		all[0].Messages += hits - sum
	}
	for i := range all {
		s := &all[i]
		s.Rejected = min(s.Rejected, s.Messages)
		s.Quarantined = min(s.Quarantined, s.Messages-s.Rejected)
		s.Excepted = s.Messages - s.Rejected - s.Quarantined
	}
}
