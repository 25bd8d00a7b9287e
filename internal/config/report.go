package config

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
)

// Report is the section for DMARC reports (RFC 9990, RFC 9991). Nothing is
// collected unless there is a store.
type Report struct {
	Keep         Duration       `yaml:"keep"`         // how long a report is kept after it was sent
	Organization string         `yaml:"organization"` // org_name in the reports
	Domain       OptionalDomain `yaml:"domain"`       // of the author and the bounce address of report mail
	Contact      string         `yaml:"contact"`      // mail address for questions about a report
	ContactInfo  string         `yaml:"contact_info"` // extra_contact_info: a URL or another text
	Mail         ReportMail     `yaml:"mail"`
	Aggregate    Aggregate      `yaml:"aggregate"`
	Failure      Failure        `yaml:"failure"`
}

// Sends reports whether any kind of report is sent.
func (r Report) Sends() bool { return r.Aggregate.Send || r.Failure.Send }

// ReportMail says how reports are handed to the MTA, and how their echo comes
// back.
type ReportMail struct {
	Server       string     `yaml:"server"` // HOST:PORT
	TLS          string     `yaml:"tls"`    // TLSOpportunistic, TLSRequired or TLSNone
	User         string     `yaml:"user"`   // for AUTH; "" for no AUTH
	PasswordFile string     `yaml:"password_file"`
	From         string     `yaml:"from"`    // local part of the author
	Bounce       string     `yaml:"bounce"`  // local part of the bounce address, before "+" and the token
	Bounces      Listener   `yaml:"bounces"` // where bounces come in over LMTP; its Address is "" for nowhere
	DKIM         ReportDKIM `yaml:"dkim"`
}

// The values of ReportMail.TLS.
const (
	TLSOpportunistic = "opportunistic" // if the server offers it; the certificate is checked unless the server is on loopback
	TLSRequired      = "required"      // with a valid certificate for the server's name
	TLSNone          = "none"
)

// ReportDKIM is the key that signs report mail. Both are "" if the MTA signs.
type ReportDKIM struct {
	Selector string `yaml:"selector"`
	KeyFile  string `yaml:"key_file"`
}

// Aggregate configures aggregate reports (RFC 9990).
type Aggregate struct {
	Send            bool        `yaml:"send"`
	Interval        Duration    `yaml:"interval"`         // length of a report's window; a divisor of 24 h
	Spread          Duration    `yaml:"spread"`           // over which the sending of a window's reports is spread
	Rate            int         `yaml:"rate"`             // report mails a second, in total
	RatePerHost     int         `yaml:"rate_per_host"`    // report mails a second to the destinations below one registered domain
	MaxRows         int         `yaml:"max_rows"`         // of one report
	MaxDestinations int         `yaml:"max_destinations"` // of one report
	EnvelopeTo      bool        `yaml:"envelope_to"`      // whether rows have the domain of the recipients
	Correspondents  bool        `yaml:"correspondents"`   // whether domains that users write to are established by it
	Always          []Pattern   `yaml:"always"`           // policy domains that count as established
	Never           []ReportFor `yaml:"never"`
	SpamSign        []SpamSign  `yaml:"spam_sign"`
	DNSBL           []Domain    `yaml:"dnsbl"` // zones of DNS block lists of domains
}

// Failure configures failure reports (RFC 9991).
type Failure struct {
	Send      bool      `yaml:"send"`
	Domains   []Pattern `yaml:"domains"` // policy domains that get them; empty for all
	Subject   bool      `yaml:"subject"` // whether the Subject is in them
	PerDomain int       `yaml:"per_domain"`
	Total     int       `yaml:"total"`
}

// OptionalDomain is a Domain, or "".
type OptionalDomain dns.Name

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *OptionalDomain) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = ""
		return nil
	}
	return (*Domain)(d).UnmarshalText(text)
}

// ReportFor selects reports that are never sent: those of a policy domain
// (example.com), those to an address (a@example.com), to the addresses of a
// domain (@example.com), or those of and to all domains below one
// (.example.com). Domains are in A-labels and lower case.
type ReportFor string

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *ReportFor) UnmarshalText(text []byte) error {
	local, domain, at := strings.Cut(string(text), "@")
	prefix := ""
	switch {
	case at:
		prefix = local + "@"
	case strings.HasPrefix(local, "."):
		prefix, domain = ".", local[1:]
	default:
		domain = local
	}
	n, err := dns.ParseHostname(domain)
	if err != nil || at && local != "" && !dotAtom(local) {
		return fmt.Errorf("%q is not a domain or address; write example.com, .example.com, @example.com or a@example.com", text)
	}
	*r = ReportFor(prefix + string(n))
	return nil
}

// SpamSign is a header field by which an earlier filter marked a message as
// spam, written "Name" or "Name: value". The value is compared without regard to
// case with the beginning of the field's value.
type SpamSign struct{ Name, Value string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *SpamSign) UnmarshalText(text []byte) error {
	name, value, _ := strings.Cut(string(text), ":")
	value = strings.TrimSpace(value)
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsFunc(value, notPrintable) {
		return fmt.Errorf(`%q is not a header field; write its name, or "X-Spam-Flag: YES" in quotes`, text)
	}
	*s = SpamSign{name, value}
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s SpamSign) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the sign as it is written in the file.
func (s SpamSign) String() string {
	if s.Value == "" {
		return s.Name
	}
	return s.Name + ": " + s.Value
}

// The limits of the section report.
const (
	maxReportText      = 255        // octets of organization, contact and contact_info; they stand in every report
	maxBounceLocal     = 20         // "+" and the token follow it, and a local part has 64 octets
	maxReportRows      = 10_000_000 // a report of more rows would not fit into a mail
	maxReportAddresses = 20         // of one report; each costs a mail, and twelve questions
	maxReportRate      = 1000
	maxReportList      = 10_000 // entries of always, never and domains, which are searched for every report
	maxSpamSigns       = 20     // each is compared with every header field
	maxDNSBLs          = 8      // each costs a question for the domain and one for each destination
	maxFailures        = 1_000_000
	leastInterval      = time.Hour
)

func defaultReport() Report {
	return Report{
		Keep: Duration(72 * time.Hour),
		Mail: ReportMail{Server: "127.0.0.1:25", TLS: TLSOpportunistic, From: "noreply", Bounce: "dmarc-bounce",
			Bounces: Listener{Address: "systemd:bounces"}},
		Aggregate: Aggregate{Interval: Duration(24 * time.Hour), Spread: Duration(4 * time.Hour), Rate: 10, RatePerHost: 1,
			MaxRows: 100_000, MaxDestinations: 5},
		Failure: Failure{PerDomain: 10, Total: 1000},
	}
}

func (k *checker) report(c *Config) {
	r := c.Report
	k.positive("report.keep", r.Keep)
	k.reportText("report.organization", r.Organization)
	k.reportText("report.contact_info", r.ContactInfo)
	if r.Contact != "" && !address(r.Contact) {
		k.add("report.contact", "%q is not a mail address, such as postmaster@isp.example", r.Contact)
	}
	if u, err := url.Parse(r.ContactInfo); strings.Contains(r.ContactInfo, "://") && (err != nil || u.Host == "") {
		k.add("report.contact_info", "%q is not a URL, such as https://isp.example/dmarc", r.ContactInfo)
	}
	k.reportMail(r.Mail)
	k.aggregate(r.Aggregate)
	k.failure(r.Failure)
	k.sending(c)
}

// sending checks that everything is set that a report needs.
func (k *checker) sending(c *Config) {
	if !c.Report.Sends() {
		return
	}
	which := "report.aggregate.send"
	if !c.Report.Aggregate.Send {
		which = "report.failure.send"
	}
	for _, need := range []struct {
		set        bool
		path, what string
	}{
		{c.Store.On(), "store.url", "the store that keeps what is to be reported"},
		{c.Report.Domain != "", "report.domain", "the domain that report mail comes from"},
		{c.Report.Organization != "", "report.organization", "the name of the reporter"},
		{c.Report.Contact != "", "report.contact", "a mail address for questions about reports"},
	} {
		if !need.set {
			k.add(which, "needs %s, %s", need.path, need.what)
		}
	}
}

func (k *checker) reportText(path, s string) {
	switch {
	case len(s) > maxReportText:
		k.add(path, "longer than %d octets", maxReportText)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || s != strings.TrimSpace(s):
		k.add(path, "%q has control characters, or spaces at an end", s)
	}
}

func (k *checker) reportMail(m ReportMail) {
	const path = "report.mail."
	k.hostPort(path+"server", m.Server)
	word(k, path+"tls", m.TLS, []string{TLSOpportunistic, TLSRequired, TLSNone})
	if (m.User == "") != (m.PasswordFile == "") {
		k.add(path+"user", "user and password_file are set together, or neither")
	}
	if m.User != "" && m.TLS == TLSNone {
		k.add(path+"tls", "a password is sent only over TLS; write tls: required")
	}
	k.localPart(path+"from", m.From)
	k.localPart(path+"bounce", m.Bounce)
	if len(m.Bounce) > maxBounceLocal {
		k.add(path+"bounce", "longer than %d octets", maxBounceLocal)
	}
	if m.Bounces.Address != "" {
		k.listener(path+"bounces", m.Bounces)
	}
	if (m.DKIM.Selector == "") != (m.DKIM.KeyFile == "") {
		k.add(path+"dkim", "selector and key_file are set together, or neither")
	}
	if s := m.DKIM.Selector; s != "" {
		if _, err := dns.ParseHostname(s + ".example"); err != nil {
			k.add(path+"dkim.selector", "%q is not a selector, such as dmarc1", s)
		}
	}
}

func (k *checker) localPart(path, s string) {
	if !dotAtom(s) || strings.Contains(s, "+") {
		k.add(path, `%q is not the part of an address before the "@", such as noreply`, s)
	}
}

func (k *checker) aggregate(a Aggregate) {
	const path = "report.aggregate."
	if d := time.Duration(a.Interval); d < leastInterval || 24*time.Hour%d != 0 {
		k.add(path+"interval", "%s is not a divisor of 24h of at least %s; write 24h, 12h, 8h, 6h, 4h, 3h, 2h or 1h", a.Interval, Duration(leastInterval))
	}
	k.notNegative(path+"spread", a.Spread)
	if a.Spread > a.Interval {
		k.add(path+"spread", "%s is longer than report.aggregate.interval, %s", a.Spread, a.Interval)
	}
	k.between(path+"rate", a.Rate, 1, maxReportRate)
	k.between(path+"rate_per_host", a.RatePerHost, 1, maxReportRate)
	k.between(path+"max_rows", a.MaxRows, 1, maxReportRows)
	k.between(path+"max_destinations", a.MaxDestinations, 1, maxReportAddresses)
	atMost(k, path+"always", a.Always, maxReportList)
	atMost(k, path+"never", a.Never, maxReportList)
	atMost(k, path+"spam_sign", a.SpamSign, maxSpamSigns)
	atMost(k, path+"dnsbl", a.DNSBL, maxDNSBLs)
}

func (k *checker) failure(f Failure) {
	const path = "report.failure."
	atMost(k, path+"domains", f.Domains, maxReportList)
	k.between(path+"per_domain", f.PerDomain, 1, maxFailures)
	k.between(path+"total", f.Total, 1, maxFailures)
}

// atMost adds a problem if the list has more than the given number of items, or
// an item twice.
func atMost[T comparable](k *checker, path string, list []T, most int) {
	if len(list) > most {
		k.add(path, "%d entries; at most %d", len(list), most)
	}
	seen := map[T]bool{}
	for i, v := range list {
		if seen[v] {
			k.add(path+"["+strconv.Itoa(i)+"]", "%q is listed twice", fmt.Sprint(v))
		}
		seen[v] = true
	}
}

// address reports whether s is a plain mail address in ASCII.
func address(s string) bool {
	local, domain, _ := strings.Cut(s, "@")
	_, err := dns.ParseHostname(domain)
	return err == nil && dotAtom(local)
}

// dotAtom reports whether s is a local part that needs no quotes, in ASCII.
func dotAtom(s string) bool {
	if len(s) > 64 {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r >= 0x80 || !mailaddr.IsAtom(byte(r)) }) {
			return false
		}
	}
	return true
}
