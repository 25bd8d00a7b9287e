package reporting

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
	"sekimori/internal/report/identity"
)

// Check is the answer of "sekimori report check".
type Check struct {
	Domain string `json:"domain"` // report.domain
	// Aligned says whether the mail with the reports would pass DMARC. It is missing if a DNS failure
	// leaves that open.
	Aligned  *bool     `json:"aligned,omitempty"`
	Findings []Finding `json:"findings"`
}

// Finding is one fact about the mail with the reports.
type Finding struct {
	Subject string `json:"subject"` // dmarc, spf, dkim, bounces or server
	Grade   string `json:"grade"`   // good, warning or fault
	Text    string `json:"text"`    // a sentence
	Do      string `json:"do,omitempty"`
}

// CheckOptions say what is checked.
type CheckOptions struct {
	Identity identity.Options // its Addresses may be empty: they are then those of the mail server
	Server   string           // HOST:PORT of the mail server
	TLS      string           // opportunistic, required or none
	Login    bool             // whether a user logs in at the mail server
	Resolver dns.Resolver
	// Interfaces returns the addresses of this host. It is a field so that a test can replace it.
	Interfaces func() ([]net.Addr, error)
}

// serverTime is how long the mail server has for its greeting and its answer to EHLO.
const serverTime = 10 * time.Second

// CheckMail looks up what report mail needs in DNS, and asks the mail server what it offers. It sends
// nothing.
func CheckMail(ctx context.Context, o CheckOptions) *Check {
	c := &Check{Domain: string(o.Identity.Domain), Findings: []Finding{}}
	if len(o.Identity.Addresses) == 0 {
		o.Identity.Addresses = o.addresses(ctx)
	}
	found := identity.Check(ctx, o.Resolver, o.Identity)
	if !found.Unknown {
		c.Aligned = &found.Aligned
	}
	for _, f := range append(found.Findings, o.server(ctx)...) {
		c.Findings = append(c.Findings, Finding{string(f.Subject), string(f.Grade), f.Text, f.Do})
	}
	return c
}

// addresses returns the addresses from which the mail server sends, as far as that can be known: those
// of this host if the server is here, else those of the server.
func (o *CheckOptions) addresses(ctx context.Context) []netip.Addr {
	host, _, _ := net.SplitHostPort(o.Server)
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return o.here()
	} else if err == nil {
		return []netip.Addr{ip}
	}
	name, err := dns.ParseHostname(host)
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		answer, err := o.Resolver.Lookup(ctx, name, typ)
		if err != nil {
			return nil // half the addresses would give a wrong answer
		}
		for _, r := range answer.Records {
			out = append(out, r.Addr)
		}
	}
	return out
}

// here returns the addresses of this host that others can reach. Private ones are left out, because
// the mail leaves from another address then.
func (o *CheckOptions) here() []netip.Addr {
	all, err := o.Interfaces()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range all {
		if network, ok := a.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(network.IP)
			if ip = ip.Unmap(); ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.Contains(out, ip) {
				out = append(out, ip)
			}
		}
	}
	return out
}

// server asks the mail server what it offers.
func (o *CheckOptions) server(ctx context.Context) []identity.Finding {
	finding := func(g identity.Grade, do, format string, args ...any) []identity.Finding {
		return []identity.Finding{{Subject: identity.Server, Grade: g, Text: fmt.Sprintf(format, args...), Do: do}}
	}
	offers, err := o.greet(ctx)
	if err != nil {
		return finding(identity.Fault, "start the mail server, or correct report.mail.server", "the mail server %s does not answer: %v", o.Server, err)
	}
	tls := slices.Contains(offers, "STARTTLS")
	switch {
	case o.TLS == "required" && !tls:
		return finding(identity.Fault, "switch on STARTTLS there, or choose another report.mail.tls",
			"the mail server %s does not offer STARTTLS, which report.mail.tls asks for", o.Server)
	case o.Login && !tls && !slices.Contains(offers, "AUTH"): // many servers offer AUTH only after STARTTLS
		return finding(identity.Fault, "correct report.mail.server: the port for submission is 587",
			"the mail server %s offers no login, and report.mail.user is set", o.Server)
	}
	return finding(identity.Good, "", "the mail server %s answers and offers %s", o.Server, strings.Join(offers, ", "))
}

// greet returns the keywords of the server's answer to EHLO.
func (o *CheckOptions) greet(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	const most = 16 << 10 // octets of both replies
	in := bufio.NewReader(io.LimitReader(conn, most))
	if _, err := reply(in, "220"); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "EHLO %s\r\n", o.Identity.Domain); err != nil {
		return nil, err
	}
	lines, err := reply(in, "250")
	if err != nil {
		return nil, err
	}
	_, _ = io.WriteString(conn, "QUIT\r\n") // only politeness
	offers := []string{}
	for _, line := range lines[1:] {
		word, _, _ := strings.Cut(strings.ToUpper(line), " ")
		offers = append(offers, printable.Value(word))
	}
	slices.Sort(offers)
	return offers, nil
}

// reply reads a reply with the given code, and returns its lines without the code.
func reply(in *bufio.Reader, code string) ([]string, error) {
	var lines []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, errors.Join(errors.New("it ended in the middle of a reply"), err)
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 3 || line[:3] != code {
			return nil, fmt.Errorf("it said %s", printable.Value(line))
		}
		if len(line) == 3 || line[3] != '-' {
			return append(lines, line[min(len(line), 4):]), nil
		}
		lines = append(lines, line[4:])
	}
}

// Passed reports whether reports can be sent as things are: the mail would pass DMARC, and the server
// answers.
func (c *Check) Passed() bool {
	return c.Aligned != nil && *c.Aligned && !slices.ContainsFunc(c.Findings, func(f Finding) bool {
		return f.Subject == string(identity.Server) && f.Grade == string(identity.Fault)
	})
}

// Text writes the check for a person.
func (c *Check) Text(out io.Writer) error {
	w := &errWrite{out: out}
	for _, f := range c.Findings {
		mark := map[string]string{string(identity.Good): "ok", string(identity.Warning): "warning", string(identity.Fault): "FAULT"}[f.Grade]
		w.printf("%-8s %-8s %s\n", mark, printable.Value(f.Subject), printable.Value(f.Text))
		if f.Do != "" {
			w.printf("%17s -> %s\n", "", printable.Value(f.Do))
		}
	}
	verdict := "would pass DMARC"
	switch {
	case c.Aligned == nil:
		verdict = "may or may not pass DMARC: a DNS server did not answer"
	case !*c.Aligned:
		verdict = "would NOT pass DMARC, and many receivers would refuse it"
	}
	w.printf("\nMail from %s %s.\n", printable.Value(c.Domain), verdict)
	return w.err
}
