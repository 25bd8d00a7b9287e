// Package identity finds out whether the mail with our reports would pass DMARC. RFC 9990 asks for
// that, and many readers refuse reports that fail. The From and the MAIL FROM of report mail have the
// same domain, so whatever passes is aligned.
package identity

import (
	"context"
	"crypto"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dkim/syntax"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report/sign"
	"sekimori/internal/spf"
)

// Options say what report mail looks like.
type Options struct {
	Domain   dns.Name // of From and MAIL FROM
	Bounce   string   // local part of MAIL FROM
	Selector dns.Name // of our signature; "" if the MTA signs, or nobody
	// Public is the public half of the key that signs. If it is nil, only the record is looked at.
	Public crypto.PublicKey
	// Signs says that this program signs with Selector. Otherwise Selector is one that the MTA may use.
	Signs bool
	// Addresses are those from which the mail leaves.
	Addresses []netip.Addr
	Discovery dmarc.Options
	Now       time.Time
}

// Subject says what a Finding is about.
type Subject string

// The subjects.
const (
	SPF     Subject = "spf"
	DKIM    Subject = "dkim"
	DMARC   Subject = "dmarc"
	Bounces Subject = "bounces"
	Server  Subject = "server" // the mail server that reports are handed to
)

// Grade says how good or bad a Finding is.
type Grade string

// The grades.
const (
	Good    Grade = "good"
	Warning Grade = "warning"
	Fault   Grade = "fault"
)

// Finding is one fact about report mail.
type Finding struct {
	Subject Subject
	Grade   Grade
	Text    string // a sentence
	Do      string // what to do, or ""
}

// Result says whether report mail passes DMARC, and what was found.
type Result struct {
	// Aligned says that SPF or DKIM would pass, and that there is a DMARC record. Unknown says that a
	// DNS failure leaves this open.
	Aligned, Unknown bool
	Findings         []Finding
}

// addressesChecked is the most addresses for which SPF is checked. Each costs up to spf.MaxLookups
// lookups.
const addressesChecked = 16

// Check looks up SPF, DMARC and the DKIM key of the domain.
func Check(ctx context.Context, r dns.Resolver, o Options) Result {
	c := &checker{resolver: r, o: o}
	record := c.dmarc(ctx)
	spfPasses := c.spf(ctx)
	dkimPasses := c.dkim(ctx)
	c.bounces(ctx)
	c.result.Aligned = record && (spfPasses || dkimPasses)
	if c.result.Aligned {
		c.result.Unknown = false
	}
	return c.result
}

type checker struct {
	resolver dns.Resolver
	o        Options
	result   Result
}

func (c *checker) add(s Subject, g Grade, do, format string, args ...any) {
	c.result.Findings = append(c.result.Findings, Finding{s, g, fmt.Sprintf(format, args...), do})
}

// unknown notes that a lookup failed for now.
func (c *checker) unknown(s Subject, what string, err error) {
	c.result.Unknown = true
	c.add(s, Fault, `look at the DNS servers, then run "sekimori report check"`, "%s cannot be looked up: %v", what, err)
}

func (c *checker) dmarc(ctx context.Context) bool {
	d := dmarc.Discover(ctx, c.resolver, c.o.Domain, c.o.Discovery)
	switch {
	case d.Error != nil:
		c.unknown(DMARC, "the DMARC record of "+string(c.o.Domain), d.Error)
		return false
	case d.Record == nil:
		c.add(DMARC, Fault, fmt.Sprintf(`publish _dmarc.%s TXT "v=DMARC1; p=reject"`, c.o.Domain),
			"%s has no DMARC record, so report mail cannot pass DMARC", c.o.Domain)
		return false
	}
	c.add(DMARC, Good, "", "%s has a DMARC record: %s", d.PolicyDomain, printable.Value(d.Record.Raw))
	if len(d.Record.RUA) > 0 {
		c.add(DMARC, Warning, fmt.Sprintf("publish a record without rua at _dmarc.%s", c.o.Domain),
			"the record of %s asks for reports, so that receivers report to you about your reports", d.PolicyDomain)
	}
	return true
}

// spf checks SPF for each address. It returns true if every address passes.
func (c *checker) spf(ctx context.Context) bool {
	if len(c.o.Addresses) == 0 {
		c.add(SPF, Warning, `check them by "sekimori report check --ip ADDRESS"`, "the address from which reports leave is not known, so SPF cannot be checked")
		return false
	}
	all := true
	for _, ip := range c.o.Addresses[:min(len(c.o.Addresses), addressesChecked)] {
		got := spf.CheckMailFrom(ctx, c.resolver, spf.Args{IP: ip, HELO: string(c.o.Domain), MailFrom: c.o.Bounce + "@" + string(c.o.Domain), Now: c.o.Now})
		switch got.Result {
		case spf.Pass:
			c.add(SPF, Good, "", "SPF passes for %s, by %s", ip, printable.Value(got.Mechanism))
			continue
		case spf.TempError:
			c.unknown(SPF, "the SPF record of "+string(c.o.Domain), fmt.Errorf("%s", got.Problem))
		case spf.None:
			c.add(SPF, Fault, fmt.Sprintf(`publish %s TXT "v=spf1 %s -all"`, c.o.Domain, mechanism(ip)), "%s has no SPF record", c.o.Domain)
			return false
		case spf.PermError:
			c.add(SPF, Fault, "correct the record", "the SPF record of %s cannot be used: %s", c.o.Domain, printable.Value(got.Problem))
			return false
		default:
			c.add(SPF, Fault, fmt.Sprintf("add %s to the SPF record of %s, if reports leave from there", mechanism(ip), c.o.Domain),
				"SPF does not pass for %s: %s by %s", ip, got.Result, printable.Value(got.Mechanism))
		}
		all = false
	}
	return all
}

func mechanism(ip netip.Addr) string {
	if ip.Unmap().Is4() {
		return "ip4:" + ip.Unmap().String()
	}
	return "ip6:" + ip.String()
}

// dkim looks at the key record. It returns true if this program signs and the record has its key.
func (c *checker) dkim(ctx context.Context) bool {
	if c.o.Selector == "" {
		c.add(DKIM, Warning, `let the mail server sign, or set report.mail.dkim; "sekimori report check --selector S" looks at its key`,
			"this program does not sign, and whether your mail server signs cannot be seen from here; SPF alone does not survive forwarding")
		return false
	}
	name, err := syntax.KeyName(c.o.Domain, c.o.Selector)
	if err != nil {
		c.add(DKIM, Fault, "choose a shorter selector", "the name of the key record is too long")
		return false
	}
	answer, err := c.resolver.Lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		c.unknown(DKIM, "the key record "+string(name), err)
		return false
	}
	published := 0
	for _, record := range answer.Records {
		key, bad := syntax.ParseKey(record.Text)
		if bad != nil || key.Public == nil {
			continue
		}
		published++
		if same, ok := key.Public.(interface{ Equal(crypto.PublicKey) bool }); ok && c.o.Signs && same.Equal(c.o.Public) {
			c.add(DKIM, Good, "", "the key at %s is the one that signs", name)
			return true
		}
	}
	switch {
	case published == 0:
		c.add(DKIM, Fault, c.publish(name), "there is no usable key at %s", name)
	case !c.o.Signs:
		c.add(DKIM, Warning, `send yourself a copy ("sekimori report send --domain DOMAIN --to ADDRESS") and look at its DKIM result`,
			"there is a key at %s, and whether your mail server signs with it cannot be seen from here", name)
	case c.o.Public == nil:
		c.add(DKIM, Warning, `run "sekimori report check" as root or as the daemon's user, who can read report.mail.dkim.key_file`,
			"there is a key at %s, but the private key cannot be read to compare them", name)
	default:
		c.add(DKIM, Fault, c.publish(name),
			"the key at %s is another than the one that signs", name)
	}
	return false
}

// publish says which key record is needed.
func (c *checker) publish(name dns.Name) string {
	record, err := sign.KeyRecord(c.o.Public)
	if err != nil { // the mail server signs, or the key cannot be read
		return fmt.Sprintf("publish the public key at %s", name)
	}
	const most = 255 // octets of one string of a TXT record
	text := ""
	for part := range slices.Chunk([]byte(record), most) {
		text += " " + strconv.Quote(string(part))
	}
	return fmt.Sprintf("publish %s TXT%s", name, text)
}

// bounces checks that mail to the domain can come back.
func (c *checker) bounces(ctx context.Context) {
	for _, typ := range []dns.Type{dns.TypeMX, dns.TypeA, dns.TypeAAAA} {
		answer, err := c.resolver.Lookup(ctx, c.o.Domain, typ)
		switch {
		case err != nil:
			c.add(Bounces, Warning, `look at the DNS servers, then run "sekimori report check"`, "the mail servers of %s cannot be looked up: %v", c.o.Domain, err)
			return
		case len(answer.Records) > 0:
			c.add(Bounces, Good, "", "%s has a mail server for %s@%s", c.o.Domain, strings.TrimSuffix(c.o.Bounce, "+"), c.o.Domain)
			return
		}
	}
	c.add(Bounces, Fault, fmt.Sprintf("publish an MX record at %s", c.o.Domain),
		"%s has neither MX nor address, so bounces cannot come back, and many servers refuse its mail", c.o.Domain)
}
