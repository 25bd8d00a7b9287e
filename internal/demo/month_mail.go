package demo

import (
	"fmt"
	"net/netip"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/readiness"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// signature returns a signature with the key of a domain's usual selector.
func signature(domain dns.Name, selector string, result dkim.Result) dkim.Signature {
	s := dkim.Signature{Domain: domain, Selector: selector, Result: result, KeyBits: 2048}
	switch result {
	case dkim.Fail:
		s.Reason = dkim.ReasonBodyHash
	case dkim.PermError:
		s.Reason, s.KeyBits = dkim.ReasonKeyNotFound, 0
	default:
	}
	return s
}

// permitted is SPF that passes, and softfail one that does not know the client.
func permitted(domain dns.Name) spf.Check {
	return spf.Check{Result: spf.Pass, Domain: domain, Record: "v=spf1 a -all"}
}

func softfail(domain dns.Name) spf.Check {
	return spf.Check{Result: spf.SoftFail, Domain: domain, Record: "v=spf1 a ~all"}
}

func hardfail(domain dns.Name) spf.Check {
	return spf.Check{Result: spf.Fail, Domain: domain, Record: "v=spf1 a -all"}
}

// of returns an address of one of so many networks.
func (m *month) of(first byte, networks int) netip.Addr {
	n := m.rnd.IntN(networks)
	return netip.AddrFrom4([4]byte{first, byte(n >> 8), byte(n), byte(1 + m.rnd.IntN(250))})
}

// named gives the client a verified name.
func named(mail *monthMail, name string) { mail.e.IPRev.Name = dns.Name(name) }

// direct is mail that the author sends, with its troubles.
func (m *month) direct(mail *monthMail, x *monthSender, day int) {
	e := &mail.e
	mail.class = "direct"
	e.Session.Client = x.networks[m.rnd.IntN(len(x.networks))]
	e.MailFrom = spf.Check{Result: spf.None, Domain: "bounce.provider.example"}
	if x.spf {
		e.MailFrom = permitted(x.domain)
	}
	sign := m.rnd.Float64() < x.signs
	if sign {
		e.DKIM = []dkim.Signature{signature(x.domain, "s1", dkim.Pass)}
	}
	if x.trouble == "" || day < x.since {
		return
	}
	mail.class = x.trouble
	switch x.trouble {
	case keyBroken:
		if sign {
			e.DKIM = []dkim.Signature{{Domain: x.domain, Selector: "s1", Result: dkim.PermError, Reason: dkim.ReasonWeakKey, KeyBits: 512}}
			e.Traits.Add(trait.AuthorRecordBroken)
		}
		if m.rnd.IntN(2) == 0 {
			e.MailFrom = spf.Check{Result: spf.None, Domain: "bounce.provider.example"}
		}
	case newProvider: // half of its mail comes from a provider that signs with its own key only
		if m.rnd.IntN(2) == 0 {
			e.Session.Client = netip.AddrFrom4([4]byte{46, byte(len(m.senders)), byte(x.since), x.networks[0].As4()[1]})
			e.MailFrom = permitted("bounce.newprovider.example")
			e.DKIM = []dkim.Signature{signature("newprovider.example", "k1", dkim.Pass)}
			named(mail, "out.newprovider.example")
		}
	case newHost: // a few messages from a host of its own that neither signs nor is in SPF
		if m.rnd.IntN(4) == 0 {
			n := m.rnd.IntN(2)
			e.Session.Client = netip.AddrFrom4([4]byte{47, x.networks[0].As4()[1], byte(n), 9})
			e.MailFrom, e.DKIM = softfail(x.domain), nil
			if n == 1 {
				named(mail, "new."+string(x.domain))
			}
		}
	case stopsSigning:
		if day < x.since+3 {
			e.DKIM, e.MailFrom = nil, permitted("bounce.provider.example")
			if m.rnd.IntN(2) == 0 {
				e.MailFrom = spf.Check{Result: spf.None, Domain: "bounce.provider.example"}
			}
		}
	case addressLost:
		if e.Session.Client == x.networks[0] {
			e.MailFrom = softfail(x.domain)
			e.MailFrom.Record = "v=spf1 mx ~all"
		}
	}
}

// forwarded is honest mail through one of 4 forwarders: whole or changed, with SRS or the author's own
// return path.
func (m *month) forwarded(mail *monthMail, x *monthSender) {
	e := &mail.e
	mail.class, mail.truth = "forwarded", readiness.Forwarded
	n := m.rnd.IntN(4)
	e.Session.Client = netip.AddrFrom4([4]byte{60, byte(n), 1, 9})
	host := dns.Name(fmt.Sprintf("forwarder%d.example", n))
	named(mail, "mail."+string(host))
	e.Traits.Add(trait.Forwarded)
	if n%2 == 0 {
		e.Traits.Add(trait.SRS)
		e.MailFrom = permitted(host)
	} else {
		e.MailFrom = softfail(x.domain)
	}
	if m.rnd.Float64() < x.signs {
		e.DKIM = []dkim.Signature{signature(x.domain, "s1", dkim.Pass)}
		if m.rnd.IntN(4) == 0 {
			e.DKIM = []dkim.Signature{signature(x.domain, "s1", dkim.Fail)}
			e.Traits.Add(trait.BrokenAuthorSignature)
		}
	}
}

// list is honest mail through one of three lists, which break signatures, and a fourth that removes them.
func (m *month) list(mail *monthMail, x *monthSender) {
	e := &mail.e
	n := m.rnd.IntN(4)
	host := dns.Name(fmt.Sprintf("lists%d.example", n))
	mail.class, mail.truth = "list", readiness.Forwarded
	e.Session.Client = netip.AddrFrom4([4]byte{61, byte(n), 1, 9})
	named(mail, "mail."+string(host))
	e.Traits.Add(trait.List)
	e.MailFrom = permitted(host)
	if m.rnd.Float64() < x.signs {
		if n == 3 {
			mail.class = "list that removes signatures"
		} else {
			e.DKIM = []dkim.Signature{signature(x.domain, "s1", dkim.Fail)}
			e.Traits.Add(trait.BrokenAuthorSignature)
		}
	}
	if n%2 == 0 {
		e.DKIM = append(e.DKIM, signature(host, "list", dkim.Pass))
		e.Traits.Add(trait.ListSignature)
	}
}

// spoof is mail of forgers.
func (m *month) spoof(mail *monthMail, x *monthSender) {
	e := &mail.e
	mail.truth = readiness.Spoof
	e.Session.Client = m.of(90, 20_000)
	nowhere := spf.Check{Result: spf.None, Domain: "nowhere.example"}
	switch roll := m.rnd.Float64(); {
	case roll < 0.34:
		mail.class, e.MailFrom = "spoof: botnet, the author's return path", hardfail(x.domain)
	case roll < 0.52:
		mail.class, e.MailFrom = "spoof: botnet, another return path", nowhere
	case roll < 0.87: // milterload's spoofers: a client with correct records of its own
		n := m.rnd.IntN(monthSpoofers)
		mail.class, e.Session.Client = "spoof: one host in many names", netip.AddrFrom4([4]byte{198, 19, 0, byte(n)})
		e.MailFrom = permitted(dns.Name(fmt.Sprintf("x%02d.example", n)))
		named(mail, fmt.Sprintf("mail.x%02d.example", n))
	case roll < 0.90:
		mail.class, e.MailFrom = "spoof: fields of a list", nowhere
		e.Traits.Add(trait.List)
	case roll < 0.92:
		mail.class, e.MailFrom = "spoof: fields of ARC", nowhere
		e.Traits.Add(trait.ARC)
	case roll < 0.94:
		mail.class, e.MailFrom = "spoof: traces of a forwarder", softfail(x.domain)
		e.Traits.Add(trait.Forwarded)
	case roll < 0.975:
		mail.class, e.MailFrom = "spoof: a signature without a key", nowhere
		e.DKIM = []dkim.Signature{signature(x.domain, "zz", dkim.PermError)}
	case roll < 0.99: // a forger with a domain, who looks like a list that removes signatures
		mail.class, e.MailFrom = "spoof: a list with a name", permitted("forger.example")
		e.Session.Client = netip.AddrFrom4([4]byte{198, 51, 100, 66})
		named(mail, "mail.forger.example")
		e.DKIM = []dkim.Signature{signature("forger.example", "k", dkim.Pass)}
		e.Traits.Add(trait.List)
	default: // a customer of the provider from which the domain's own mail comes
		mail.class, e.MailFrom = "spoof: shared relay", permitted("customer.example")
		e.Session.Client = x.networks[m.rnd.IntN(len(x.networks))]
	}
}
