package readiness

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// Judge gathers what a report needs. The calls come in this order: Total, Hit and Sample; then Know for the
// domains that Wanted names, Carried for its networks, and Broken; then Report. A Judge is for one report and
// one goroutine.
type Judge struct {
	setup Setup

	seen            map[ledger.Day]bool
	messages, fail  int64
	reject, quarant int64
	hits            []ledger.Hit // at most MaxDomains, those with the most hits
	more            int
	moreMessages    int64
	harsher, milder int64
	samples         []sample
	known           map[string]bool // ids of samples
	owners          map[dns.Name]*owner
	carried         map[netip.Prefix][]dns.Name
	hosts           map[hostKey]*host
	clients         map[netip.Addr]*host
	verdicts        map[string]Looks // of samples, by id
	dropped         int64            // messages that the ledger lacks
	historyOff      bool
}

// New returns a Judge.
func New(s Setup) *Judge {
	return &Judge{setup: s, seen: map[ledger.Day]bool{}, known: map[string]bool{}, owners: map[dns.Name]*owner{},
		carried: map[netip.Prefix][]dns.Name{}, hosts: map[hostKey]*host{}, clients: map[netip.Addr]*host{}, verdicts: map[string]Looks{}}
}

// Total adds messages of a day with equal results.
func (j *Judge) Total(t ledger.Total) {
	j.seen[t.Day] = true
	j.messages += t.Messages
	if t.DMARC != string(dmarc.ResultFail) {
		return
	}
	j.fail += t.Messages
	switch t.Policy {
	case dmarc.PolicyReject:
		j.reject += t.Messages
	case dmarc.PolicyQuarantine:
		j.quarant += t.Messages
	case dmarc.PolicyNone:
	}
}

// Hit adds a domain. The domains come in the order in which the store streams them.
func (j *Judge) Hit(h ledger.Hit) {
	j.harsher, j.milder = j.harsher+h.Harsher, j.milder+h.Milder
	if len(j.hits) == MaxDomains {
		j.more++
		j.moreMessages += h.Hits()
		return
	}
	j.hits = append(j.hits, h)
}

// Sampled returns how many samples there are of a domain.
func (j *Judge) Sampled(domain dns.Name) (n int) {
	for i := range j.samples {
		if j.samples[i].owner == domain {
			n++
		}
	}
	return n
}

// Hits returns the domains that are judged, those with the most hits first.
func (j *Judge) Hits() []ledger.Hit { return j.hits }

// Networks returns the networks of the samples, in ascending order.
func (j *Judge) Networks() []netip.Prefix {
	all := map[netip.Prefix]bool{}
	for i := range j.samples {
		if n := j.samples[i].network; n.IsValid() {
			all[n] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), netip.Prefix.Compare)
}

// owner is what is known of an author's registered domain.
type owner struct {
	days     int // of the last ledger.UsualDays, on which mail passed
	counts   ledger.Counts
	networks map[netip.Prefix]int // on how many of these days each delivered mail that passed
	keys     map[string]bool      // by which signatures passed
	failing  map[netip.Prefix]int // samples by network
	broken   []ledger.Breakage
	example  string
}

// Know tells what the ledger has of a domain: its rows and its sources of the last ledger.UsualDays.
func (j *Judge) Know(domain dns.Name, rows []ledger.Row, sources []ledger.Source) {
	o := j.owner(domain)
	days := map[ledger.Day]bool{}
	for i := range rows {
		r := &rows[i]
		o.counts.Add(r.Counts)
		if r.Pass > 0 {
			days[r.Day] = true
		}
		for _, s := range r.Signers {
			if s.Pass > 0 && s.Selector != ledger.Others {
				o.keys[keyName(s.Domain, s.Selector)] = true
			}
		}
		if r.Example != "" {
			o.example = r.Example
		}
	}
	o.days = len(days)
	for i := range sources {
		s := &sources[i]
		o.networks[s.Network] = max(o.networks[s.Network], s.Within(j.setup.Today, ledger.UsualDays))
	}
}

func (j *Judge) owner(domain dns.Name) *owner {
	o := j.owners[domain]
	if o == nil {
		o = &owner{networks: map[netip.Prefix]int{}, keys: map[string]bool{}, failing: map[netip.Prefix]int{}}
		j.owners[domain] = o
	}
	return o
}

// Carried tells from which networks mail of which domains passed. See [ledger.Store.Carried].
func (j *Judge) Carried(all map[netip.Prefix][]dns.Name) { maps.Copy(j.carried, all) }

// Broken tells which senders are in trouble.
func (j *Judge) Broken(all []ledger.Breakage) {
	for _, b := range all {
		if o := j.owners[b.Domain]; o != nil {
			o.broken = append(o.broken, b)
		}
	}
}

// Limits says what the report lacks: messages that the ledger dropped, and the history if it is off.
func (j *Judge) Limits(dropped int64, historyOff bool) {
	j.dropped, j.historyOff = j.dropped+dropped, historyOff
}

// passes reports whether enough mail of the domain passed to call anything usual.
func (o *owner) passes() bool {
	return o.days >= ledger.LeastDays && o.counts.Pass >= ledger.LeastMessages
}

// signs reports whether practically all mail of the domain that passes is signed, by the rule of
// ledger.Usual.AlwaysSigns. Messages that passed by both mechanisms are in PassDKIM and in PassSPF.
func (o *owner) signs() bool {
	alone := o.counts.Pass - o.counts.PassDKIM
	both := o.counts.PassDKIM + o.counts.PassSPF - o.counts.Pass
	const perUnsigned = 200 // as in package ledger
	return o.passes() && alone*perUnsigned <= o.counts.Pass && (alone == 0 || alone*perUnsigned <= both+alone)
}

// fewNetworks reports whether mail of the domain comes from so few networks that another one says something.
func (o *owner) fewNetworks() bool {
	return o.passes() && len(o.networks) > 0 && len(o.networks) <= ledger.MaxUsual
}

// usual reports whether mail that is unlike the domain's usual mail can be told.
func (o *owner) usual() bool { return o.signs() || o.fewNetworks() }

// host is what the samples say of who hands mail over, whoever the authors are.
type host struct {
	samples, indirect, listSigned, srs, spfFail int
	// signing counts samples of authors who sign practically all of their mail, and intact those of them with
	// a signature by a key of the author that the message no longer matches.
	signing, intact int
	owners          map[dns.Name]bool
	usual           map[dns.Name]bool // of the owners, those whose usual mail is known
	keyed           map[dns.Name]bool // of the owners, those whose broken signatures there are
	other           int               // samples in which another domain authenticated
	carried         map[dns.Name]bool // domains whose mail passed from its networks
	names           map[string]bool
	networks        map[netip.Prefix]bool
}

// maxOwners is how many authors of a host are told apart; the rules ask for a few. So are its names and
// networks.
const maxOwners = 64

func note[K comparable](m map[K]bool, k K) {
	if len(m) < maxOwners {
		m[k] = true
	}
}

func newHost() *host {
	return &host{owners: map[dns.Name]bool{}, usual: map[dns.Name]bool{}, keyed: map[dns.Name]bool{}, carried: map[dns.Name]bool{}, names: map[string]bool{},
		networks: map[netip.Prefix]bool{}}
}

// meet counts the hosts of all samples: by the best evidence of who they are, and by address.
func (j *Judge) meet() {
	for i := range j.samples {
		s := &j.samples[i]
		if j.hosts[s.host] == nil {
			j.hosts[s.host] = newHost()
		}
		if j.clients[s.client] == nil {
			j.clients[s.client] = newHost()
		}
		j.owner(s.owner).failing[s.network]++
		j.meetOne(j.hosts[s.host], s)
		j.meetOne(j.clients[s.client], s)
	}
}

func (j *Judge) meetOne(h *host, s *sample) {
	o := j.owner(s.owner)
	h.samples++
	count(&h.indirect, s.indirect)
	count(&h.listSigned, s.listSigned)
	count(&h.srs, s.srs)
	count(&h.spfFail, s.spfFail)
	count(&h.other, s.other)
	keyed := o.signedBy(s)
	if o.signs() {
		h.signing++
		count(&h.intact, keyed)
	}
	if keyed {
		note(h.keyed, s.owner)
	}
	note(h.owners, s.owner)
	if o.usual() {
		note(h.usual, s.owner)
	}
	if s.name != "" {
		note(h.names, s.name)
	}
	note(h.networks, s.network)
	for _, d := range j.carried[s.network] {
		if string(d) != s.host.value { // its own mail says nothing of whose mail it hands on
			note(h.carried, d)
		}
	}
}

func count(n *int, is bool) {
	if is {
		*n++
	}
}

// signedBy reports whether the message has a signature by a key with which other mail of the domain passed.
// The message does not match it any more, so it proves only that its writer had signed mail of the domain.
func (o *owner) signedBy(s *sample) bool {
	return slices.ContainsFunc(s.keys, func(k string) bool { return o.keys[k] })
}

// others returns how many other domains' mail passed from the network of the sample: neither the author's nor
// that of the host.
func (j *Judge) others(s *sample) (n int) {
	for _, d := range j.carried[s.network] {
		count(&n, d != s.owner && string(d) != s.host.value)
	}
	return n
}

// What a host has to show to be taken for a forwarder or a list, or for one that forges.
const (
	// leastCarried is from how many domains mail must have arrived unbroken from its networks.
	leastCarried = 3
	// leastKeyed is of how many domains broken signatures must have come, and manyKeyed how many are enough if
	// the host authenticates and says that it hands mail on, as a list that signs nothing.
	leastKeyed = 2
	manyKeyed  = 5
	// leastForged is in how many names it must write whose usual mail is known, and manyForged in how many if it
	// is not: an author's new provider writes in few, and somebody's mail passes from a provider.
	leastForged = 5
	manyForged  = 10
)

// forwards reports whether the host hands on mail of others. Broken signatures can be copied from other
// mail, so they count only if several domains are affected, and if something else says so.
func (h *host) forwards() bool {
	if h.signing == 0 { // there are no signatures to look at
		return len(h.carried) >= leastCarried && 2*h.indirect >= h.samples
	}
	some := len(h.keyed) >= leastKeyed && (h.listSigned > 0 || h.srs > 0 || len(h.carried) > 0)
	many := len(h.keyed) >= manyKeyed && 2*h.other >= h.samples && 2*h.indirect >= h.samples
	return 2*h.intact >= h.signing && (some || many)
}

// forges reports whether a client writes in the names of many unrelated domains, never signed by them, and
// from networks from which nobody's mail passes. It does not even say that it hands mail on.
func (h *host) forges() bool {
	return (len(h.usual) >= leastForged || len(h.owners) >= manyForged) && len(h.keyed) == 0 && len(h.carried) == 0 && 10*h.indirect <= h.samples
}

// byHits orders domains for the report.
func byHits(a, b Domain) int {
	return cmp.Or(cmp.Compare(b.Hits(), a.Hits()), cmp.Compare(a.Domain, b.Domain))
}
