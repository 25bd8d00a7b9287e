package domaincheck

import (
	"context"
	"net/netip"
	"slices"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dns"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/spf"
)

// Report is the answer of "sekimori check".
type Report struct {
	Facts
	Keys []Key `json:"keys,omitempty"` // of the selectors that were given, and of those that were seen
	// Destinations are those of aggregate reports.
	Destinations []Destination `json:"destinations,omitempty"`
}

// Key is the DKIM key of one selector.
type Key struct {
	Domain   dns.Name `json:"domain"` // d=: the domain, or one below it
	Selector string   `json:"selector"`
	Seen     bool     `json:"seen,omitempty"` // a signature with it passed on this host
	Name     dns.Name `json:"name"`           // of the record
	Type     string   `json:"type,omitempty"`
	Bits     int      `json:"bits,omitempty"` // missing if the key is revoked or cannot be read
	Revoked  bool     `json:"revoked,omitempty"`
	Testing  bool     `json:"testing,omitempty"` // t=y
	Strict   bool     `json:"strict,omitempty"`  // t=s: the domain of i= must be d= itself
	Record   string   `json:"record,omitempty"`
}

// Destination is one address that gets aggregate reports about the domain.
type Destination struct {
	URI    string `json:"uri"`
	Usable bool   `json:"usable"` // a receiver that follows RFC 9990 sends reports there
	Detail string `json:"detail"` // what was found out, in words
}

// Check looks at the domain, at the addresses of its mail servers, at the destinations of its reports,
// at the record of its mark, and at the keys of the selectors and of o.Seen.
func Check(ctx context.Context, r dns.Resolver, domain dns.Name, selectors []dns.Name, o Options) *Report {
	l := newLooker(ctx, r, domain, o)
	l.look()
	out := &Report{}
	if l.facts.Exists {
		l.mailHosts()
		l.moreSPF()
		out.Destinations = l.destinations()
		l.moreBIMI()
		for _, s := range selectors {
			out.Keys = append(out.Keys, l.key(Signer{domain, s}))
		}
		for _, s := range o.Seen {
			if s.Domain == domain && slices.Contains(selectors, s.Selector) {
				continue
			}
			k := l.key(s)
			k.Seen = true
			out.Keys = append(out.Keys, k)
		}
	}
	out.Facts = *l.facts
	return out
}

// Passed reports whether nothing is broken or missing, and every lookup was answered.
func (r *Report) Passed() bool {
	return len(r.Unknown) == 0 && !slices.ContainsFunc(r.Faults, func(f Fault) bool { return f.Grade != Weak })
}

// mailHosts looks up the addresses of the mail servers.
func (l *looker) mailHosts() {
	f := l.facts
	if f.Mail == MailNone {
		if addresses := l.addresses(l.domain, "domain"); len(addresses) > 0 {
			f.Mail = MailAddress
			l.add(MXNone, "%s has no MX record, so its mail goes to its own address", l.domain)
		} else {
			l.add(MXNone, "%s has neither MX record nor address, so it takes no mail, without saying so", l.domain)
		}
	}
	for i := range f.MX {
		h := &f.MX[i]
		if _, err := netip.ParseAddr(string(h.Name)); err == nil || h.Name == "" {
			continue
		}
		before := len(f.Unknown)
		h.Addresses = l.addresses(h.Name, "mail server")
		if len(h.Addresses) == 0 && len(f.Unknown) == before {
			l.add(MXHostMissing, "the mail server %s has no address", h.Name)
		}
		if a := l.answered(h.Name, dns.TypeA); a.Canonical != "" && a.Canonical != h.Name {
			l.add(MXHostAlias, "the mail server %s is an alias of %s", h.Name, a.Canonical)
		}
	}
}

func (l *looker) addresses(host dns.Name, what string) []netip.Addr {
	var out []netip.Addr
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		answer, err := l.resolver.Lookup(l.ctx, host, typ)
		if err != nil {
			l.unknown(typ.String()+" of the "+what+" "+string(host), err)
			continue
		}
		for _, r := range answer.Records {
			out = append(out, r.Addr)
		}
	}
	return out
}

// moreSPF evaluates SPF for a client with an IPv6 address too, because a record can break for such
// clients only, and counts the lookups of each term.
func (l *looker) moreSPF() {
	s := &l.facts.SPF
	if !s.Published {
		return
	}
	c := l.checkSPF(stranger4())
	s.Terms = terms(c.Trace)
	six := l.checkSPF(stranger6())
	if six.Result == spf.PermError && c.Result != spf.PermError {
		l.add(wordOf[six.Reason], "for clients with an IPv6 address only: %s", shown(six.Problem))
	}
}

// destinations says where aggregate reports go, by the rules that the daemon has for its own reports.
func (l *looker) destinations() []Destination {
	d := &l.facts.DMARC
	if !d.RUA {
		return nil
	}
	settings := destination.Settings{Send: true, Always: []string{string(d.PolicyDomain)}, MaxDestinations: destination.MaxDestinations, Discovery: l.o.Discovery}
	facts := destination.Facts{
		Job: report.Job{Policy: report.Policy{Domain: d.PolicyDomain}, Messages: 1, Causes: 1},
		Suppression: func(context.Context, string) (report.Suppression, error) {
			return report.Suppression{}, report.ErrUnknown
		},
	}
	decided, err := destination.Decide(l.ctx, l.resolver, settings, facts, l.o.Now)
	if err != nil {
		l.unknown("the destinations of reports", err)
		return nil
	}
	var out []Destination
	for _, to := range decided.Destinations {
		out = append(out, Destination{URI: to.URI, Usable: to.Word == "", Detail: to.Detail})
		switch to.Word {
		case "":
		case report.Waiting:
			l.facts.Unknown = append(l.facts.Unknown, to.Detail)
		case report.WithheldUnverified:
			l.add(RUAUnverified, "no report goes to %s: %s", shown(to.URI), to.Detail)
		case report.WithheldUndeliverable:
			l.add(RUAUndeliverable, "no report goes to %s: %s", shown(to.URI), to.Detail)
		default:
			l.add(RUAUnusable, "no report goes to %s: %s", shown(to.URI), to.Detail)
		}
	}
	return out
}

// The sizes of RSA keys in bits that RFC 8301 section 3.2 names.
const (
	leastBits   = 1024
	advisedBits = 2048
)

// key looks at the key of one selector.
func (l *looker) key(s Signer) Key {
	k := Key{Domain: s.Domain, Selector: string(s.Selector)}
	name, err := syntax.KeyName(s.Domain, s.Selector)
	if err != nil {
		l.add(KeyMissing, "the name of the key of selector %s is too long", s.Selector)
		return k
	}
	k.Name = name
	answer, err := l.resolver.Lookup(l.ctx, name, dns.TypeTXT)
	if err != nil {
		l.unknown("the key "+string(name), err)
		return k
	}
	read := 0
	var bad *syntax.Error
	for _, r := range answer.Records {
		key, err := syntax.ParseKey(r.Text)
		switch {
		case err != nil && err.Fault == syntax.FaultNotKey: // by a wildcard, there may be any text
		case err != nil:
			bad, k.Record = err, r.Text
		default:
			read++
			k.Type, k.Bits, k.Testing, k.Strict, k.Record = key.Type, key.Bits, key.Testing, key.Strict, r.Text
			l.judge(&k, &key)
		}
	}
	switch {
	case read > 1:
		l.add(KeySeveral, "there are %d keys at %s", read, name)
	case read == 0 && bad != nil:
		l.add(KeySyntax, "the key at %s cannot be read: %s", name, bad.Detail)
	case read == 0:
		l.add(KeyMissing, "there is no key at %s", name)
	}
	return k
}

// judge says which signatures a key can verify.
func (l *looker) judge(k *Key, key *syntax.Key) {
	use := syntax.Params{Algorithm: syntax.RSASHA256}
	rsa := key.Type != "ed25519"
	if !rsa {
		use.Algorithm = syntax.Ed25519SHA256
	}
	switch err := key.Check(&use); {
	case err != nil && err.Fault == syntax.FaultKeyRevoked:
		k.Revoked = true
		l.add(KeyRevoked, "the key at %s is revoked", k.Name)
	case err != nil:
		l.add(KeyUnusable, "at %s, %s", k.Name, err.Detail)
	case key.SmallOrder:
		l.add(KeyUnusable, "anybody can sign with the key at %s", k.Name)
	case rsa && key.Bits < leastBits:
		l.add(KeyShort, "the key at %s has %d bits", k.Name, key.Bits)
	case rsa && key.Bits < advisedBits:
		l.add(KeySmall, "the key at %s has %d bits", k.Name, key.Bits)
	}
	if key.Testing {
		l.add(KeyTesting, "the key at %s has t=y", k.Name)
	}
}
