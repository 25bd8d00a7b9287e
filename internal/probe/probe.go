// Package probe sends messages to the running daemon in the role of the MTA, and says whether what
// came back is what the configuration means. It is the work of the command "sekimori probe".
//
// What the configuration means is decided by package judge in this process, with the configuration
// file and with DNS. So a probe finds a daemon that runs with another configuration than the file,
// that has no DNS, that is behind another socket than the MTA's, or that does not answer.
//
// The daemon counts and logs the messages of a probe apart from mail (see filter.ProbeMacro). The
// exception is a message that goes through the MTA by SMTP ([OverSMTP]): it is mail.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/policy"
)

// Options say what is sent, and to which daemon.
type Options struct {
	// Config is what the daemon should do.
	Config *config.Config
	// Socket is the daemon's socket, written as in the key listen. If it is "", the sockets of the
	// key listen are tried.
	Socket string
	// Resolver answers what this process asks DNS to find out what is meant. If it is nil, the
	// servers of the configuration are asked.
	Resolver dns.Resolver
	// Domains are the authors' domains. If there are none, the domain of this host is used.
	Domains []dns.Name
	// Client is the address that the messages claim to come from. The zero value is an address for
	// documentation.
	Client netip.Addr
	// Recipient is the address in RCPT. "" is the postmaster of the author's domain.
	Recipient string
}

// Report says what was sent and what came back.
type Report struct {
	// Target is the socket or the SMTP server that took the messages.
	Target string `json:"target"`
	// Mode is the mode of the configuration.
	Mode policy.Mode `json:"mode"`
	// OK says that every message got the answer that the configuration asks for.
	OK bool `json:"ok"`
	// Seconds is how long everything took.
	Seconds float64 `json:"seconds"`
	// Error says why nothing could be sent.
	Error string `json:"error,omitempty"`
	// Notes say what was left out, and what the outcome does not show.
	Notes []string `json:"notes,omitempty"`
	Plays []Play   `json:"messages,omitempty"`
}

// Play is one message, with what came back and what was meant.
type Play struct {
	Mail
	// Came is what came back, and Meant what the configuration means.
	Came  Outcome `json:"came"`
	Meant Outcome `json:"meant"`
	// Why is the reason of Meant, in words.
	Why string `json:"why"`
	// OK says that Came is as Meant.
	OK bool `json:"ok"`
	// Problems say how Came differs from Meant, and what to do.
	Problems []Problem `json:"problems,omitempty"`
	// Notes say what is remarkable, though it is as meant.
	Notes []string `json:"notes,omitempty"`
}

// Problem is one difference between what came back and what was meant.
type Problem struct {
	What string `json:"what"`
	ToDo string `json:"to_do"`
}

// Run sends messages of the given domains to the running daemon. The error says that nothing could
// be sent.
func Run(ctx context.Context, o Options) (*Report, error) {
	p, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer p.end()
	stranger, err := o.stranger()
	if err != nil {
		return nil, err
	}
	domains, note := o.domains()
	p.note(note)
	mails := []Mail{}
	for _, d := range domains {
		mails = append(mails, p.about(ctx, d, stranger)...)
	}
	for _, m := range mails {
		if err := p.play(ctx, m); err != nil {
			return nil, err
		}
	}
	return p.done(), nil
}

// Quick sends one message whose verdict needs no DNS. So monitoring gets its answer at once, and
// the answer depends on the daemon and not on the DNS servers. ctx bounds the whole time.
func Quick(ctx context.Context, o Options) (*Report, error) {
	o.Resolver = noDNS{}
	p, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := p.play(ctx, p.nobody()); err != nil {
		return nil, err
	}
	return p.done(), nil
}

// noDNS is a resolver without servers.
type noDNS struct{ dns.LookupOnly }

// Lookup implements dns.Resolver.
func (noDNS) Lookup(_ context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return dns.Answer{}, &dns.Error{Kind: dns.KindNetwork, Name: name, Type: typ, Err: errors.New("a quick probe asks nothing")}
}

// prober plays messages and collects the Report.
type prober struct {
	o      Options
	target Target
	first  net.Conn // the connection that find opened, until a message uses it
	judge  *judge.Judge
	began  time.Time
	known  map[string]string // the DMARC results that follow from the zone of Self
	report Report
	free   func() // frees what judge holds
}

func (p *prober) end() {
	p.free()
	if p.first != nil {
		_ = p.first.Close()
	}
}

// open finds the daemon's socket and makes the judge that says what is meant. The caller calls end.
func (o Options) open(ctx context.Context) (*prober, error) {
	began := time.Now()
	target, conn, err := o.find(ctx)
	if err != nil {
		return nil, err
	}
	p, err := newProber(o)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p.began, p.target, p.first, p.report.Target = began, target, conn, target.String()
	return p, nil
}

func newProber(o Options) (*prober, error) {
	closeDNS := func() {}
	if o.Resolver == nil {
		r, err := app.NewResolver(o.Config, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("probe: %w", err)
		}
		o.Resolver, closeDNS = r, r.Close
	}
	j, end, err := app.NewJudge(o.Config, o.Resolver)
	if err != nil {
		closeDNS()
		return nil, fmt.Errorf("probe: %w", err)
	}
	free := func() {
		end()
		closeDNS()
	}
	return &prober{o: o, judge: j, free: free, began: time.Now(), report: Report{Mode: o.Config.Mode, OK: true}}, nil
}

func (p *prober) note(text string) {
	if text != "" {
		p.report.Notes = append(p.report.Notes, text)
	}
}

// play sends one message to the milter and adds it to the report. The error says that the daemon
// cannot be reached any more.
func (p *prober) play(ctx context.Context, m Mail) error {
	meant, d := p.meant(ctx, m)
	conn := p.first
	p.first = nil
	came, err := p.target.send(ctx, conn, p.self(), m)
	if err != nil {
		return err
	}
	one := Play{Mail: m, Came: came, Meant: meant, Why: why(d)}
	one.checkResult(p.known[m.Name], d)
	p.add(one, d)
	return nil
}

// add judges a play and adds it to the report.
func (p *prober) add(one Play, d *judge.Decision) {
	one.compare(d)
	one.OK = len(one.Problems) == 0
	p.report.OK = p.report.OK && one.OK
	p.report.Plays = append(p.report.Plays, one)
}

func (p *prober) done() *Report {
	p.report.Seconds = time.Since(p.began).Seconds()
	return &p.report
}
