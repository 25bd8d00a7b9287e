package probe

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
)

// Mail is one message, and how its client sends it.
type Mail struct {
	// Name is a word for the message, such as spoof.
	Name string `json:"name"`
	// Title says what the message is meant to show.
	Title string `json:"title"`
	// Client is the address that the message claims to come from. It is absent if the client is
	// unknown to the MTA.
	Client    netip.Addr `json:"client_ip,omitzero"`
	HELO      string     `json:"helo"`
	MailFrom  string     `json:"mail_from"`
	Recipient string     `json:"recipient"`
	// From is the address in the header, of which DMARC speaks.
	From string `json:"header_from"`
	Raw  []byte `json:"-"`
}

// silentDomain is the name of the message whose domain's servers never answer.
const silentDomain = "silent"

// strangers are the addresses that a message can claim. They are for documentation (RFC 5737), so
// no host has them and no domain lets them send, but the daemon treats them as public. So a probe
// also works on a laptop, whose own address is private or in trusted.networks.
var strangers = []netip.Addr{
	netip.AddrFrom4([4]byte{203, 0, 113, 66}), netip.AddrFrom4([4]byte{198, 51, 100, 66}), netip.AddrFrom4([4]byte{192, 0, 2, 66}),
}

// noDomain is a name that never exists (RFC 6761 §6.4). exampleDomain exists, publishes p=reject
// and sends no mail.
const (
	noDomain      = "probe.invalid"
	exampleDomain = dns.Name("example.com")
)

// stranger returns the address of a client that is not trusted.
func (o Options) stranger() (netip.Addr, error) {
	if o.Client.IsValid() {
		if o.Config.Trusted.Contains(o.Client) {
			return netip.Addr{}, fmt.Errorf("probe: %s is in trusted.networks, so its mail is not evaluated; name another address", o.Client)
		}
		return o.Client, nil
	}
	for _, a := range strangers {
		if !o.Config.Trusted.Contains(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("probe: trusted.networks contains %s and two more networks that no host has, so it may contain the whole "+
		"Internet; correct it, or name an address by --client", strangers[0])
}

// domains returns the authors' domains: those that were asked for, or else the domain of this host.
// If this host has no domain, domains returns another one, and note says why.
func (o Options) domains() (names []dns.Name, note string) {
	if len(o.Domains) > 0 {
		return o.Domains, ""
	}
	host := o.Config.ServID()
	if name, err := dns.ParseHostname(host); err == nil {
		if own := suffix.Registered(name); own != "" && suffix.IsTopLevel(lastLabel(own)) {
			return []dns.Name{own}, ""
		}
	}
	return []dns.Name{exampleDomain}, fmt.Sprintf("The name of this host, %q, is not below a domain of the Internet, so %s is the author's domain. "+
		"--domain names another.", host, exampleDomain)
}

func lastLabel(n dns.Name) string { return string(n[strings.LastIndexByte(string(n), '.')+1:]) }

// about returns the messages with authors at the domain d.
func (p *prober) about(ctx context.Context, d dns.Name, stranger netip.Addr) (out []Mail) {
	own := "postmaster@" + string(d)
	to := p.o.Recipient
	if to == "" {
		to = own
	}
	forged := p.forged()
	origin := p.origin(ctx, d)
	if origin.IsValid() {
		out = append(out,
			written(Mail{Name: "pass", Title: "mail of " + string(d) + " from an address that its SPF record allows",
				Client: origin, HELO: string(d), MailFrom: own, Recipient: to, From: own}, ""),
			written(Mail{Name: "forged", Title: "the same mail with results forged in our name, which must be deleted",
				Client: origin, HELO: string(d), MailFrom: own, Recipient: to, From: own}, forged))
	} else {
		p.note(fmt.Sprintf("No message of %s that passes is sent, because no address outside trusted.networks was found that its SPF record allows.", d))
		out = append(out, written(Mail{Name: "forged", Title: "a stranger's mail with results forged in our name, which must be deleted",
			Client: stranger, HELO: noDomain, MailFrom: "postmaster@" + noDomain, Recipient: to, From: "postmaster@" + noDomain}, forged))
	}
	return append(out, written(Mail{Name: "spoof", Title: "mail as " + string(d) + " from an address that has nothing to do with it",
		Client: stranger, HELO: noDomain, MailFrom: own, Recipient: to, From: own}, ""))
}

// nobody returns a message whose verdict needs no DNS: the client is unknown, the sender is null,
// and there are two authors.
func (p *prober) nobody() Mail {
	const a, b = "one@" + noDomain, "two@" + noDomain
	return written(Mail{Name: "quick", Title: "mail with two authors and a forged result, for which no DNS is needed",
		HELO: "[192.0.2.66]", Recipient: "postmaster@" + noDomain, From: a}, "From: "+b+"\r\n"+p.forged())
}

// forged returns a field with a forged result for each of our names, and a field in the name of
// another host, which must stay.
func (p *prober) forged() string {
	var b strings.Builder
	for _, name := range append([]string{p.o.Config.ServID()}, p.o.Config.AuthservIDAlso...) {
		fmt.Fprintf(&b, "Authentication-Results: %s; dmarc=pass header.from=%s\r\n", name, noDomain)
	}
	return b.String() + "Authentication-Results: other." + noDomain + "; dmarc=fail\r\n"
}

// written returns m with its text. more are header fields to write first.
func written(m Mail, more string) Mail {
	now := time.Now()
	m.Raw = fmt.Appendf(nil, "%sFrom: sekimori probe <%s>\r\nTo: %s\r\nSubject: sekimori probe: %s\r\nDate: %s\r\nMessage-ID: <%d@%s>\r\n\r\n"+
		"This is a message of the command \"sekimori probe\".\r\n",
		more, m.From, m.Recipient, m.Name, now.Format(time.RFC1123Z), now.UnixNano(), noDomain)
	return m
}
