package readiness

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/forwarders"
	"sekimori/internal/iprev"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// someNames returns a set of n names.
func someNames(n int) map[dns.Name]bool {
	m := map[dns.Name]bool{}
	for i := range n {
		m[dns.Name(fmt.Sprintf("n%d.example", i))] = true
	}
	return m
}

// TestForwards has each bound of a host that hands mail on: one at it, and one below it.
func TestForwards(t *testing.T) {
	for _, tt := range []struct {
		name           string
		h              host // of ten samples
		carried, keyed int
		want           bool
	}{
		{"unsigned mail", host{indirect: 5}, 3, 0, true},
		{"unsigned mail, carries for two", host{indirect: 5}, 2, 0, false},
		{"unsigned mail, seldom says that it hands on", host{indirect: 4}, 3, 0, false},
		{"two keys and a list's signature", host{signing: 8, intact: 4, listSigned: 1}, 0, 2, true},
		{"two keys and SRS", host{signing: 8, intact: 4, srs: 1}, 0, 2, true},
		{"two keys, carries for one", host{signing: 8, intact: 4}, 1, 2, true},
		{"two keys and nothing else", host{signing: 8, intact: 4}, 0, 2, false},
		{"one key", host{signing: 8, intact: 4, listSigned: 1, srs: 1}, 5, 1, false},
		{"two keys, but most signatures are gone", host{signing: 8, intact: 3, listSigned: 1}, 0, 2, false},
		{"five keys", host{signing: 8, intact: 4, other: 5, indirect: 5}, 0, 5, true},
		{"four keys", host{signing: 8, intact: 4, other: 5, indirect: 5}, 0, 4, false},
		{"five keys, seldom authenticates", host{signing: 8, intact: 4, other: 4, indirect: 5}, 0, 5, false},
		{"five keys, seldom says that it hands on", host{signing: 8, intact: 4, other: 5, indirect: 4}, 0, 5, false},
	} {
		h := tt.h
		h.samples, h.carried, h.keyed = 10, someNames(tt.carried), someNames(tt.keyed)
		if got := h.forwards(); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

// TestForges has each bound of a client that writes in many names.
func TestForges(t *testing.T) {
	for _, tt := range []struct {
		usual, owners, keyed, carried, indirect int
		want                                    bool
	}{
		{5, 5, 0, 0, 1, true}, {4, 9, 0, 0, 0, false}, {0, 10, 0, 0, 0, true}, {5, 10, 1, 0, 0, false}, {5, 10, 0, 1, 0, false}, {5, 10, 0, 0, 2, false},
	} {
		h := &host{samples: 10, indirect: tt.indirect, usual: someNames(tt.usual), owners: someNames(tt.owners), keyed: someNames(tt.keyed), carried: someNames(tt.carried)}
		if got := h.forges(); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
}

// nets returns n networks, with as many messages of each.
func nets(n, each int) map[netip.Prefix]int {
	m := map[netip.Prefix]int{}
	for i := range n {
		m[netip.PrefixFrom(netip.AddrFrom4([4]byte{90, 0, byte(i), 0}), 24)] = each
	}
	return m
}

// TestOwner has each bound of what is usual for a domain.
func TestOwner(t *testing.T) {
	const days, most = ledger.LeastDays, int64(ledger.LeastMessages)
	for _, tt := range []struct {
		name              string
		o                 owner
		passes, signs, is bool // is: from few networks
	}{
		{"enough", owner{days: days, counts: ledger.Counts{Pass: most, PassDKIM: most}, networks: nets(1, 1)}, true, true, true},
		{"a day too few", owner{days: days - 1, counts: ledger.Counts{Pass: most, PassDKIM: most}, networks: nets(1, 1)}, false, false, false},
		{"a message too few", owner{days: days, counts: ledger.Counts{Pass: most - 1, PassDKIM: most - 1}, networks: nets(1, 1)}, false, false, false},
		{"no networks", owner{days: days, counts: ledger.Counts{Pass: most}}, true, false, false},
		{"the most networks", owner{days: days, counts: ledger.Counts{Pass: most}, networks: nets(ledger.MaxUsual, 1)}, true, false, true},
		{"one more", owner{days: days, counts: ledger.Counts{Pass: most}, networks: nets(ledger.MaxUsual+1, 1)}, true, false, false},
		{"one of 200 by SPF alone", owner{days: days, counts: ledger.Counts{Pass: 2000, PassDKIM: 1990, PassSPF: 2000}}, true, true, false},
		{"one more by SPF alone", owner{days: days, counts: ledger.Counts{Pass: 2000, PassDKIM: 1989, PassSPF: 2000}}, true, false, false},
		{"half of what SPF passes is not signed", owner{days: days, counts: ledger.Counts{Pass: 2000, PassDKIM: 1999, PassSPF: 2}}, true, false, false},
		{"one of 200 that SPF passes", owner{days: days, counts: ledger.Counts{Pass: 2000, PassDKIM: 1999, PassSPF: 200}}, true, true, false},
		{"one of 199 that SPF passes", owner{days: days, counts: ledger.Counts{Pass: 2000, PassDKIM: 1999, PassSPF: 199}}, true, false, false},
	} {
		if p, s, n := tt.o.passes(), tt.o.signs(), tt.o.fewNetworks(); p != tt.passes || s != tt.signs || n != tt.is || tt.o.usual() != (s || n) {
			t.Errorf("%s: passes %t, signs %t, few networks %t, usual %t", tt.name, p, s, n, tt.o.usual())
		}
	}
}

// TestPerNetwork: few samples of many messages say how many networks there may be.
func TestPerNetwork(t *testing.T) {
	for _, tt := range []struct {
		networks, each int
		more           map[int]int // other networks with so many samples
		scale, want    float64
	}{
		{10, 1, nil, 1.5, 1.5},                 // a sample stands for so few messages that the networks are those that it has
		{10, 1, nil, 2, 2.0 * 10 / 45},         // none twice: 10*9/2 networks
		{6, 1, map[int]int{2: 1}, 2, 16. / 14}, // one pair: 8*7/2/2
		{1, 8, nil, 2, 16},                     // all from one network
	} {
		g := &group{networks: nets(tt.networks, tt.each)}
		for each, n := range tt.more {
			for i := range n {
				g.networks[netip.PrefixFrom(netip.AddrFrom4([4]byte{91, byte(each), byte(i), 0}), 24)] = each
			}
		}
		for _, n := range g.networks {
			g.samples = append(g.samples, make([]*sample, n)...)
		}
		if got := g.perNetwork(tt.scale); got != tt.want {
			t.Errorf("%v: %v messages from each network", tt, got)
		}
	}
}

// TestJudge has each bound of what makes mail look scattered.
func TestJudge(t *testing.T) {
	enough := ledger.Counts{Pass: 1000, PassSPF: 1000}
	signed := ledger.Counts{Pass: 1000, PassSPF: 1000, PassDKIM: 1000}
	signs := owner{days: 20, counts: signed}                                      // from too many networks
	few := owner{days: 20, counts: enough, networks: nets(2, 9)}                  // does not sign
	many := owner{days: 20, counts: enough, networks: nets(ledger.MaxUsual+1, 9)} // neither
	for _, tt := range []struct {
		class          class
		owner          owner
		networks, each int
		bare, fail     int
		want           string
	}{
		{broken, few, 10, 5, 0, 0, "broken_scattered"}, {broken, few, 9, 5, 0, 0, "own_record"}, {broken, few, 10, 6, 0, 0, "own_record"},
		{listed, signs, 1, 20, 3, 0, "claims_list"}, {claimed, signs, 1, 20, 3, 0, "claims_list"}, {claimed, signs, 1, 20, 2, 0, "claims"},
		{listed, signs, 1, 21, 3, 0, "claims"}, {listed, few, 1, 20, 3, 0, "claims"},
		{listed, few, 5, 5, 5, 0, "claims_scattered"}, {listed, few, 4, 5, 4, 0, "claims"}, {listed, few, 5, 6, 5, 0, "claims"},
		{claimed, few, 5, 5, 5, 0, "claims"}, {listed, many, 5, 5, 5, 0, "claims"},
		{bare, signs, 1, 20, 3, 0, "unsigned_scattered"}, {bare, signs, 1, 20, 2, 0, "few_networks"}, {bare, signs, 5, 21, 5, 0, "unsure"},
		{bare, few, 5, 5, 5, 0, "scattered"}, {bare, few, 4, 5, 4, 0, "few_networks"}, {bare, few, 5, 6, 5, 0, "unsure"}, {bare, many, 5, 5, 5, 0, "unsure"},
		{bare, owner{}, 10, 5, 10, 25, "spf_scattered"}, {bare, owner{}, 9, 5, 9, 45, "unknown_domain"}, {bare, owner{}, 10, 6, 10, 60, "unknown_domain"},
		{bare, owner{}, 10, 5, 10, 24, "unknown_domain"}, {bare, few, 4, 5, 4, 20, "few_networks"}, {bare, many, 10, 5, 10, 50, "unsure"},
	} {
		j := New(Setup{})
		j.owners["a.example"] = &tt.owner
		g := &group{owner: "a.example", class: tt.class, networks: nets(tt.networks, tt.each), bare: tt.bare}
		for i := range tt.networks * tt.each {
			g.samples = append(g.samples, &sample{spfFail: i < tt.fail})
		}
		looks := Unclear
		switch tt.want {
		case "own_record":
			looks = Author
		case "claims_list", "claims_scattered", "unsigned_scattered", "scattered", "spf_scattered":
			looks = Spoof
		}
		if j.judge(g, 1); g.reason.Word != tt.want || g.looks != looks {
			t.Errorf("class %d, %d networks with %d messages each, %d bare, %d times SPF fail: %s %s, want %s %s", tt.class, tt.networks, tt.each, tt.bare, tt.fail, g.looks, g.reason.Word, looks, tt.want)
		}
	}
}

// TestJudgeClass has the looks of each class that needs no numbers.
func TestJudgeClass(t *testing.T) {
	for _, tt := range []struct {
		class class
		host  host
		of    int // what of the author's mail is broken
		looks Looks
		want  string
	}{
		{hidden, host{}, 0, Unclear, "hidden"}, {ownName, host{}, 0, Author, "own_name"}, {ownNetwork, host{}, 0, Author, "own_network"},
		{shared, host{}, 0, Unclear, "shared"}, {shared, host{}, 1, Author, "shared_broken"},
		{passedOn, host{listSigned: 1}, 0, Forwarded, "list"}, {passedOn, host{listSigned: 1, keyed: someNames(1)}, 0, Forwarded, "list"},
		{passedOn, host{keyed: someNames(1)}, 0, Forwarded, "forwarder"}, {passedOn, host{}, 0, Forwarded, "carries"},
		{signed, host{}, 0, Unclear, "signature_only"}, {handed, host{}, 0, Unclear, "carries_others"}, {forged, host{}, 0, Spoof, "many_names"},
		{foreign, host{}, 0, Unclear, "other_name"}, {steady, host{}, 0, Unclear, "steady"}, {ownHost, host{}, 0, Unclear, "own_host"},
	} {
		j := New(Setup{})
		g := &group{owner: "a.example", class: tt.class, networks: nets(1, 1), samples: make([]*sample, 1)}
		g.samples[0] = &sample{}
		j.hosts[g.host] = &tt.host
		j.clients[g.samples[0].client] = &tt.host
		j.owner(g.owner).broken = make([]ledger.Breakage, tt.of)
		if j.judge(g, 1); g.reason.Word != tt.want || g.looks != tt.looks {
			t.Errorf("class %d: %s %s, want %s %s", tt.class, g.looks, g.reason.Word, tt.looks, tt.want)
		}
	}
}

// TestAddBare: every group of a domain knows from how many networks the mail came for which nothing speaks.
func TestAddBare(t *testing.T) {
	for of, want := range map[class]int{listed: 3, claimed: 3, bare: 3} {
		groups := []*group{{class: of, networks: nets(3, 1)}, {class: steady, networks: nets(5, 1)}, {class: handed, networks: nets(7, 1)}, {class: hidden, networks: nets(9, 1)}}
		addBare(groups)
		for _, g := range groups {
			if g.bare != want {
				t.Errorf("class %d: %d for class %d, want %d", of, g.bare, g.class, want)
			}
		}
	}
	groups := []*group{{class: listed, networks: nets(1, 1)}, {class: claimed, networks: nets(2, 1)}, {class: bare, networks: nets(4, 1)}, {class: ownHost, networks: nets(8, 1)}}
	if addBare(groups); groups[3].bare != 7 {
		t.Errorf("%d, want 7", groups[3].bare)
	}
}

// TestMeetOne: each count of a host is of its own.
func TestMeetOne(t *testing.T) {
	for want, s := range map[string]sample{
		"1 0 0 0 0 0": {}, "1 1 0 0 0 0": {indirect: true}, "1 0 1 0 0 0": {listSigned: true}, "1 0 0 1 0 0": {srs: true}, "1 0 0 0 1 0": {spfFail: true}, "1 0 0 0 0 1": {other: true},
	} {
		j, h := New(Setup{}), newHost()
		s.owner = "a.example"
		j.meetOne(h, &s)
		if got := fmt.Sprint(h.samples, h.indirect, h.listSigned, h.srs, h.spfFail, h.other); got != want || h.signing != 0 || h.intact != 0 || len(h.owners) != 1 || len(h.usual) != 0 || len(h.keyed) != 0 || len(h.names) != 0 {
			t.Errorf("%+v: %s, %+v", s, got, h)
		}
	}
	for want, s := range map[string]sample{"1 0 0 1": {}, "1 1 1 1": {keys: []string{"k"}}, "1 0 0 1 ": {keys: []string{"x"}}} {
		j, h := New(Setup{}), newHost()
		s.owner = "a.example"
		*j.owner(s.owner) = owner{days: 20, counts: ledger.Counts{Pass: 1000, PassDKIM: 1000}, keys: map[string]bool{"k": true}}
		j.meetOne(h, &s)
		if got := fmt.Sprint(h.signing, h.intact, len(h.keyed), len(h.usual)); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

// TestHelp: what a rule would help, added up.
func TestHelp(t *testing.T) {
	all := map[int]*help{}
	network := netip.MustParsePrefix("192.0.2.0/24")
	add(all, 1, &sample{owner: "a.example", now: policy.Reject, authorHost: true, network: network}, 2)
	add(all, 1, &sample{owner: "b.example", now: policy.Quarantine, network: network}, 3)
	add(all, 2, &sample{owner: "b.example", now: policy.Quarantine}, 3)
	if h := all[1]; h.messages != 5 || h.rejected != 2 || len(h.authors) != 2 || h.networks[network] != 2 || !h.names || all[2].names || all[2].rejected != 0 {
		t.Errorf("%+v, %+v", h, all[2])
	}
	if r := New(Setup{}).ownRule("a b", &help{names: true}); r != nil {
		t.Errorf("a rule for what is no domain: %+v", r)
	}
}

// TestProposeQuarantine: a rule that quarantines helps those that would be rejected.
func TestProposeQuarantine(t *testing.T) {
	j := New(Setup{Today: today})
	k := hostKey{forwarders.ClientName, "fwd.example"}
	j.hosts[k] = &host{samples: 9, owners: someNames(4), keyed: someNames(2), names: map[string]bool{"n.fwd.example": true}, spfFail: 9}
	g := &group{class: passedOn, host: k, looks: Forwarded}
	for i, now := range []policy.Action{policy.Reject, policy.Reject, policy.Reject, policy.Quarantine, policy.Quarantine, policy.TempFail} {
		g.samples = append(g.samples, &sample{owner: dns.Name(fmt.Sprintf("a%d.example", i)), now: now, host: k})
	}
	all, harmed, left := j.propose(map[dns.Name][]*group{"a.example": {g}}, map[dns.Name]float64{"a.example": 1}, 9)
	if len(all) != 1 || all[0].Looks != Forwarded || all[0].Messages != 3 || all[0].Authors != 5 || all[0].Rule.Then != string(policy.Quarantine) || harmed != 5 || left != 2 {
		t.Errorf("%+v, harmed %d, left %d", all, harmed, left)
	}
}

// TestDomainNetworks: the number of a domain's networks is shown if it is small enough to say something.
func TestDomainNetworks(t *testing.T) {
	for networks, want := range map[int]int{0: 0, 1: 1, ledger.MaxUsual: ledger.MaxUsual, ledger.MaxUsual + 1: 0} {
		j := New(Setup{})
		*j.owner("a.example") = owner{days: ledger.LeastDays, counts: ledger.Counts{Pass: ledger.LeastMessages}, networks: nets(networks, 1)}
		if d := j.domain(&ledger.Hit{Domain: "a.example"}, nil); d.Networks != want {
			t.Errorf("%d networks: %d", networks, d.Networks)
		}
	}
}

// TestClassify has each class, and beside it the message that lacks one thing.
func TestClassify(t *testing.T) {
	usual := &owner{days: 20, counts: ledger.Counts{Pass: 1000, PassDKIM: 1000}, keys: map[string]bool{"k": true}}
	home, away := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")
	usual.networks = map[netip.Prefix]int{home: ledger.LeastSourceDays, away: ledger.LeastSourceDays - 1}
	forwards := &host{samples: 2, indirect: 1, carried: someNames(3)}
	key := []string{"k"}
	for _, tt := range []struct {
		name    string
		s       sample
		h       *host
		others  int
		failing int
		unsure  bool // nothing is usual for the author
		want    class
	}{
		{"no address", sample{authorHost: true}, forwards, 0, 0, false, hidden},
		{"a notification", sample{network: away, authorHost: true, indirect: true}, forwards, 0, 0, false, ownName},
		{"handed on", sample{network: home, indirect: true}, forwards, 0, 0, false, passedOn},
		{"the author's network", sample{network: home}, forwards, 3, 0, false, ownNetwork},
		{"the author's network only", sample{network: home, indirect: true}, &host{}, 0, 0, false, ownNetwork},
		{"the author's and others' network", sample{network: home, indirect: true}, &host{}, 1, 0, false, shared},
		{"another domain there", sample{network: home, other: true}, &host{}, 0, 0, false, shared},
		{"one day too few", sample{network: away}, &host{}, 0, 0, false, bare},
		{"a forwarder of signed mail", sample{network: away, keys: key}, forwards, 3, 0, false, passedOn},
		{"a forwarder, the signature lost", sample{network: away}, forwards, 3, 0, false, handed},
		{"a forwarder of mail without signature", sample{network: away}, forwards, 3, 0, true, passedOn},
		{"a broken record", sample{network: away, recordBroken: true, keys: key}, &host{}, 1, 0, false, broken},
		{"a signature", sample{network: away, keys: key}, &host{}, 1, 0, false, signed},
		{"another key", sample{network: away, keys: []string{"x"}}, &host{}, 1, 0, false, handed},
		{"another domain", sample{network: away, other: true, name: "a.example"}, &host{}, 0, 2, false, foreign},
		{"a name of the author", sample{network: away, name: "mx.a.example"}, &host{}, 0, 2, false, ownHost},
		{"a name of somebody", sample{network: away, name: "mx.b.example"}, &host{}, 0, 2, false, steady},
		{"again and again", sample{network: away, listed: true, indirect: true}, &host{}, 0, 2, false, steady},
		{"a list", sample{network: away, listed: true, indirect: true}, &host{}, 0, 1, false, listed},
		{"a forwarder's claim", sample{network: away, indirect: true}, &host{}, 0, 1, false, claimed},
		{"nothing", sample{network: away}, &host{}, 0, 1, false, bare},
	} {
		j := New(Setup{})
		s, o := tt.s, usual
		if tt.unsure {
			o = &owner{networks: usual.networks}
		}
		s.owner, s.host.value = "a.example", "host.example"
		j.clients[s.client] = &host{samples: 1}
		// Mail of the author and of the host itself says nothing of others.
		j.carried[s.network] = append([]dns.Name{"a.example", "host.example"}, slices.Collect(func(yield func(dns.Name) bool) {
			for n := range someNames(tt.others) {
				_ = yield(n)
			}
		})...)
		o.failing = map[netip.Prefix]int{s.network: tt.failing}
		if got := j.classify(&s, o, tt.h); got != tt.want {
			t.Errorf("%s: class %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestSample: what is remembered of a message.
func TestSample(t *testing.T) {
	base := func() *msgauth.Evaluation {
		e := &msgauth.Evaluation{From: author.From{AuthorDomain: "news.a.example"}, IPRev: iprev.Result{Status: iprev.Pass, Name: "mx.isp.example"},
			DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject}}
		e.Session.Client = netip.MustParseAddr("::ffff:192.0.2.7")
		return e
	}
	sig := func(d dns.Name, selector string, r dkim.Result, why dkim.Reason) func(*msgauth.Evaluation) {
		return func(e *msgauth.Evaluation) {
			e.DKIM = append(e.DKIM, dkim.Signature{Domain: d, Selector: selector, Result: r, Reason: why})
		}
	}
	// Each text has what differs from a message without any of it.
	shown := func(s *sample) string {
		var out []string
		for _, x := range []struct {
			is   bool
			name string
		}{{s.other, "other"}, {s.indirect, "indirect"}, {s.listed, "listed"}, {s.listSigned, "listsigned"}, {s.srs, "srs"}, {s.authorHost, "host"}, {s.recordBroken, "record"},
			{s.spfFail, "spffail"}} {
			if x.is {
				out = append(out, x.name)
			}
		}
		return strings.Join(append(out, s.keys...), ",")
	}
	for _, tt := range []struct {
		name   string
		change func(*msgauth.Evaluation)
		want   string
	}{
		{"plain", func(*msgauth.Evaluation) {}, ""},
		{"list", has(trait.List), "indirect,listed"},
		{"list signature", has(trait.ListSignature), "indirect,listed,listsigned"},
		{"ARC trait", has(trait.ARC), "indirect,listed"},
		{"SRS trait", has(trait.SRS), "indirect"},
		{"forwarded", has(trait.Forwarded), "indirect"},
		{"From rewritten", has(trait.RewrittenFrom), ""},
		{"author's host", has(trait.AuthorHost), "host"},
		{"record broken", has(trait.AuthorRecordBroken), "record"},
		{"SRS path", func(e *msgauth.Evaluation) { e.Envelope.MailFrom = "<SRS0=HHH=TT=a.example=x@fwd.example>" }, "srs"},
		{"ARC passes", func(e *msgauth.Evaluation) { e.ARC.Status = arc.Pass }, "other"},
		{"ARC fails", func(e *msgauth.Evaluation) { e.ARC.Status = arc.Fail }, ""},
		{"SPF of another passes", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.Pass, Domain: "b.example"} }, "other"},
		{"SPF of the owner passes", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.Pass, Domain: "x.a.example"} }, ""},
		{"SPF of another fails", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.Fail, Domain: "b.example"} }, ""},
		{"SPF of the owner fails", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.Fail, Domain: "x.a.example"} }, "spffail"},
		{"SPF of the owner doubts", func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.SoftFail, Domain: "x.a.example"} }, ""},
		{"a signature of another", sig("b.example", "s", dkim.Pass, ""), "other"},
		{"a signature of the owner that does not align", sig("a.example", "s", dkim.Pass, ""), ""},
		{"a broken one of another", sig("b.example", "s", dkim.Fail, dkim.ReasonBodyHash), ""},
		{"a broken one of the owner", sig("a.example", "s", dkim.Fail, dkim.ReasonBodyHash), "a.example s"},
		{"one without a selector", sig("a.example", "", dkim.Fail, dkim.ReasonBodyHash), ""},
		{"one that cannot be checked", sig("a.example", "s", dkim.PermError, dkim.ReasonExpired), ""},
	} {
		j := New(Setup{})
		e := base()
		tt.change(e)
		first := j.Sample("", e)
		if second := j.Sample("", e); !first || !second { // without an id, no message is the same as another
			t.Errorf("%s: does not count", tt.name)
			continue
		}
		s := &j.samples[0]
		if got := shown(s); got != tt.want || s.owner != "a.example" || s.network.String() != "192.0.2.0/24" || s.client.String() != "192.0.2.7" || s.name != "mx.isp.example" || tt.want == "" && s.now != policy.Reject {
			t.Errorf("%s: %q, want %q: %+v", tt.name, got, tt.want, s)
		}
	}
	j := New(Setup{})
	for _, tt := range []struct {
		name   string
		id     string
		change func(*msgauth.Evaluation)
		want   bool
	}{
		{"one", "A", func(*msgauth.Evaluation) {}, true},
		{"the same again", "A", func(*msgauth.Evaluation) {}, false},
		{"of an address that is not known", "B", func(e *msgauth.Evaluation) { e.Session.Client = netip.MustParseAddr("10.0.0.1") }, true},
		{"that passed", "C", func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultPass }, false},
		{"under p=none", "D", func(e *msgauth.Evaluation) { e.DMARC.PolicyPublished = dmarc.PolicyNone }, false},
		{"under p=quarantine", "E", func(e *msgauth.Evaluation) { e.DMARC.PolicyPublished = dmarc.PolicyQuarantine }, true},
		{"without an author", "F", func(e *msgauth.Evaluation) { e.From.AuthorDomain = "" }, false},
	} {
		e := base()
		tt.change(e)
		if got := j.Sample(tt.id, e); got != tt.want {
			t.Errorf("a message %s: %t", tt.name, got)
		}
	}
	if j.Sample("G", nil) || len(j.Networks()) != 1 || j.Sampled("a.example") != 3 || j.Sampled("b.example") != 0 {
		t.Errorf("networks %v, %d samples", j.Networks(), j.Sampled("a.example"))
	}
}

// TestDecide has each bound of the verdict.
func TestDecide(t *testing.T) {
	report := func(messages, unclear, left int64, seen, rules int) *Report {
		return &Report{Messages: messages, Reject: 100, Quarantine: 100, Seen: seen, Days: 14, Left: left, Harmed: left + 5, Proposed: make([]Proposal, rules), ByLooks: []Part{{Spoof, 7}, {Unclear, unclear}}}
	}
	for _, tt := range []struct {
		r    *Report
		want string
	}{
		{report(0, 0, 0, 0, 0), "no_mail"},
		{report(1000, 0, 0, 13, 0), "days"}, {report(1000, 0, 0, 14, 0), "now"}, {report(1000, 0, 0, 14, 1), "rules"},
		{report(1000, 40, 0, 14, 0), "now"}, {report(1000, 41, 0, 14, 0), "unclear"},
		{report(50_000, 50, 0, 14, 0), "now"}, {report(50_000, 51, 0, 14, 0), "unclear"},
		{report(1000, 0, 2, 14, 1), "rules"}, {report(1000, 0, 3, 14, 1), "harmed"},
	} {
		if _, got := tt.r.decide(); got.Word != tt.want {
			t.Errorf("%d messages, %d unclear, %d left, %d days, %d rules: %s, want %s", tt.r.Messages, tt.r.of(Unclear), tt.r.Left, tt.r.Seen, len(tt.r.Proposed), got.Word, tt.want)
		}
	}
	if _, got := report(1000, 0, 1, 14, 2).decide(); got.Text != "first 2 rules, to help 5 of the 6 honest messages that would be hit" {
		t.Error(got.Text)
	}
	if r := report(1, 2, 3, 4, 5); r.of(Spoof) != 7 || r.of(Author) != 0 {
		t.Errorf("%d spoofs, %d of the author", r.of(Spoof), r.of(Author))
	}
}

// TestNotes: what limits a report, and that nothing is noted where nothing does.
func TestNotes(t *testing.T) {
	for _, tt := range []struct {
		samples  int
		hits, by int64
		dropped  int64
		off      bool
		more     int
		want     string
	}{
		{5, 5, 5, 0, false, 0, ""},
		{0, 5, 5, 0, true, 0, "[history.what is off, so no message could be looked at]"},
		{0, 5, 5, 0, false, 0, "[the history has no decision on failing mail]"},
		{0, 0, 0, 0, false, 0, ""},
		{4, 5, 5, 0, false, 0, "[4 of 5 messages were looked at; numbers by looks are estimates]"},
		{5, 5, 4, 0, false, 0, "[author domains that do not exist in DNS, or for which there was no room: 1 message]"},
		{5, 5, 5, 1, false, 0, "[the ledger had no room for the domains of 1 message (ledger.max_domains)]"},
		{5, 5, 5, 0, false, 1, "[not judged: 1 further domain with 2 messages]"},
	} {
		j := New(Setup{})
		j.samples = make([]sample, tt.samples)
		j.Limits(tt.dropped-1, false)
		j.Limits(1, tt.off)
		got := ""
		for _, n := range j.notes(&Report{Reject: tt.hits, ByDomain: tt.by, More: tt.more, MoreMessages: 2}) {
			got += "[" + n.Text + "]"
		}
		if got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

// TestLevel: rounded numbers add up, and no part is larger than the whole.
func TestLevel(t *testing.T) {
	for _, tt := range []struct {
		in   []Stream
		hits int64
		want string
	}{
		{nil, 5, "[]"},
		{[]Stream{{Messages: 3, Rejected: 2, Quarantined: 1}, {Messages: 3, Rejected: 1, Quarantined: 1}}, 7, "[{4 2 1 1} {3 1 1 1}]"},
		{[]Stream{{Messages: 3, Rejected: 3, Quarantined: 1}, {Messages: 3, Rejected: 4}}, 5, "[{2 2 0 0} {3 3 0 0}]"},
	} {
		level(tt.in, tt.hits)
		got := make([][4]int64, len(tt.in))
		for i, s := range tt.in {
			got[i] = [4]int64{s.Messages, s.Rejected, s.Quarantined, s.Excepted}
		}
		if text := strings.NewReplacer("[[", "[{", "]]", "}]", "] [", "} {").Replace(fmt.Sprint(got)); text != tt.want {
			t.Errorf("%s, want %s", text, tt.want)
		}
	}
}

// TestNewStream: streams add up the groups, with the hosts that handed most over.
func TestNewStream(t *testing.T) {
	g := func(n int, now policy.Action, value, id string) *group {
		x := &group{looks: Spoof}
		for range n {
			x.samples = append(x.samples, &sample{now: now, host: hostKey{forwarders.Client, value}, id: id, network: netip.MustParsePrefix("192.0.2.0/24")})
		}
		return x
	}
	all := []*group{g(1, policy.Reject, "h1.example", ""), g(2, policy.Quarantine, "h2.example", "ID2"), g(1, policy.TempFail, "h3.example", "ID3"), g(3, policy.Accept, "h4.example", ""),
		g(1, policy.Accept, "h0.example", ""), g(4, policy.Accept, "", ""), g(1, policy.Accept, "h6.example", "")}
	all[0].samples[0].network = netip.Prefix{}
	s := newStream(all, 1.5)
	if s.Samples != 13 || s.Messages != 20 || s.Networks != 1 || s.Rejected != 2 || s.Quarantined != 5 || s.Example != "ID2" || s.Looks != Spoof ||
		fmt.Sprint(s.Hosts) != fmt.Sprintf("[{%[1]s h4.example 3} {%[1]s h2.example 2} {%[1]s h0.example 1} {%[1]s h1.example 1} {%[1]s h3.example 1}]", forwarders.Client) {
		t.Errorf("%+v", s)
	}
}

// TestPropose: which honest mail gets a rule, and what the rules leave.
func TestPropose(t *testing.T) {
	j := New(Setup{Today: today})
	sent := func(d dns.Name, c class, l Looks, now policy.Action, n int, network string) *group {
		g := &group{owner: d, class: c, looks: l}
		for range n {
			g.samples = append(g.samples, &sample{owner: d, now: now, network: netip.MustParsePrefix(network), authorHost: c == ownName})
		}
		return g
	}
	home := netip.MustParsePrefix("192.0.2.0/24")
	for _, d := range []dns.Name{"net.example", "few.example", "quarantine.example", "record.example"} {
		j.owner(d).networks = map[netip.Prefix]int{home: ledger.LeastSourceDays, netip.MustParsePrefix("192.0.3.0/24"): ledger.LeastSourceDays - 1}
	}
	groups := map[dns.Name][]*group{
		"net.example":        {sent("net.example", ownNetwork, Author, policy.Reject, 3, home.String()), sent("net.example", ownNetwork, Author, policy.Accept, 9, home.String())},
		"few.example":        {sent("few.example", ownNetwork, Author, policy.Reject, 2, home.String())},
		"name.example":       {sent("name.example", ownName, Author, policy.Quarantine, 4, "192.0.3.0/24")},
		"elsewhere.example":  {sent("elsewhere.example", ownNetwork, Author, policy.Reject, 8, "192.0.3.0/24")}, // no rule can name it
		"record.example":     {sent("record.example", broken, Author, policy.Reject, 7, home.String())},
		"spoof.example":      {sent("spoof.example", bare, Spoof, policy.Reject, 9, home.String())},
		"quarantine.example": {sent("quarantine.example", ownNetwork, Author, policy.TempFail, 9, home.String())},
	}
	for _, tt := range []struct {
		scale            float64
		hits, hurt, left int64
		want             string
	}{
		{1, 1500, 24, 17, "name.example 4, net.example 3, "},
		{1, 1501, 24, 20, "name.example 4, "}, // less than one in 500 of them is not worth a rule
		{1.5, 1500, 36, 23, "name.example 6, net.example 5, few.example 3, "},
	} {
		scales := map[dns.Name]float64{}
		for d := range groups {
			scales[d] = tt.scale
		}
		all, harmed, left := j.propose(groups, scales, tt.hits)
		got := ""
		for _, p := range all {
			got += fmt.Sprintf("%s %d, ", p.Rule.When["author"][0], p.Messages)
			if p.Looks != Author || p.Authors != 1 || p.Rule.Expires != "2026-12-28" || len(p.Rule.When["client"])+len(p.Rule.When["client_name"]) == 0 {
				t.Errorf("%+v", p)
			}
		}
		if got != tt.want || harmed != tt.hurt || left != tt.left {
			t.Errorf("%v: %s harmed %d, left %d", tt, got, harmed, left)
		}
	}
}

// TestHostRule: which hosts a rule can name, and by what.
func TestHostRule(t *testing.T) {
	k := hostKey{forwarders.ClientName, "fwd.example"}
	for _, tt := range []struct {
		name    string
		k       hostKey
		carried int
		names   int
		spfFail int
		want    string
	}{
		{"signatures are enough", k, leastCarried - 1, 1, 0, "accept map[client_name:[n0.fwd.example] dmarc:[fail]]"},
		{"SPF of authors forbids it", k, leastCarried - 1, 1, 9, "quarantine map[client_name:[n0.fwd.example] dmarc:[fail]]"},
		{"SPF forbids it, but it carries for many", k, leastCarried, 1, 9, "accept map[client_name:[n0.fwd.example] dmarc:[fail]]"},
		{"the most names", k, leastCarried, maxHosts, 0, "accept map[client_name:[n0.fwd.example n1.fwd.example n2.fwd.example n3.fwd.example n4.fwd.example] dmarc:[fail]]"},
		{"more names", k, leastCarried, maxHosts + 1, 0, "accept map[client_name:[.fwd.example] dmarc:[fail]]"},
		{"a signature that no rule can name", hostKey{forwarders.DKIM, "a b"}, leastCarried, 0, 0, ""},
	} {
		j := New(Setup{Today: today})
		x := &host{samples: 9, owners: someNames(4), keyed: someNames(2), carried: someNames(tt.carried), names: map[string]bool{}, spfFail: tt.spfFail}
		for i := range tt.names {
			x.names[fmt.Sprintf("n%d.fwd.example", i)] = true
		}
		j.hosts[tt.k] = x
		got := ""
		if r := j.hostRule(tt.k); r != nil {
			got = fmt.Sprint(r.Then, " ", r.When)
			if want := fmt.Sprintf("hands on mail of 4 authors; signatures of 2 domains arrive broken, and mail of at least %d unbroken", tt.carried); r.Reason != want {
				t.Errorf("%s: %s", tt.name, r.Reason)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}
