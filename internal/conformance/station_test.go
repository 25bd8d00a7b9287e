// Package conformance runs published test suites on the whole daemon. The tests play the MTA and
// the DNS server, and read the daemon's Authentication-Results field. The packages that implement
// SPF, DKIM, ARC and DMARC run the same suites without the daemon around them.
package conformance

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns/zone"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
)

const (
	// authServID is the authserv-id of the two daemons of a station.
	authServID = "mx.sekimori.example"
	// patience is how long the daemon waits for DNS answers. Our server answers at once, but on a busy
	// host even that may take seconds.
	patience = 30 * time.Second
	// dnsTimeout is the same for suites with silent servers. The daemon asks a silent server twice.
	dnsTimeout = time.Second
)

// station is a name server with two daemons that use it: one in enforce mode and one in monitor
// mode.
type station struct {
	*daemon.Pair
	zone *zone.Zone // the DNS zone of the test case that is running
	late []string   // policy records that the message before may still ask for
}

// newStation starts a station. When the test ends, the station is stopped, and the test fails if
// one of its logs has an error or a panic.
func newStation(t *testing.T, change func(*config.Config)) *station {
	t.Helper()
	return &station{Pair: daemon.StartPair(t, zone.New(), authServID, func(cfg *config.Config) {
		cfg.Trusted = config.Trusted{} // trust no network, because in some test cases the client is 127.0.0.1
		cfg.DNS.Timeout, cfg.DNS.MessageBudget = config.Duration(patience), config.Duration(2*patience)
		cfg.Policy.Reject = "always"
		if change != nil {
			change(cfg)
		}
	})}
}

// hasty is a suite's change of the configuration if it has silent servers.
func hasty(cfg *config.Config) {
	cfg.DNS.Timeout, cfg.DNS.MessageBudget = config.Duration(dnsTimeout), config.Default().DNS.MessageBudget
}

// mail is one message and its SMTP session.
type mail struct {
	ip      string // "" means that the MTA does not know the client's address
	helo    string // "" sends no HELO
	from    string // the argument of MAIL, with angle brackets
	queueID string
	raw     []byte
}

// outcome is what a daemon did with a message.
type outcome struct {
	client.Result
	header []client.Field // the header after the daemon's edits; empty if the message was not delivered
	label  authres.Field  // our field
	held   bool           // quarantined
}

// send plays the MTA and sends one message. If the daemon delivers it, our label must be the first
// field and must be parsable, and no other field may have our authserv-id. Otherwise send returns
// an error.
func send(d *daemon.Daemon, m mail) (outcome, error) {
	peer := mta.Peer{HELO: m.helo}
	if m.ip != "" {
		addr, err := netip.ParseAddr(m.ip)
		if err != nil {
			return outcome{}, err
		}
		peer.Addr = netip.AddrPortFrom(addr, 40025)
	}
	if m.queueID == "" {
		m.queueID = "4Q"
	}
	res, err := d.Send(peer, client.Envelope{From: m.from, To: []string{"<rcpt@receiver.example>"}, QueueID: m.queueID}, m.raw)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{Result: res}
	for _, mod := range res.Modifications {
		o.held = o.held || mod.Kind == client.Quarantine
	}
	if !res.Action.Delivers() {
		return o, nil
	}
	return o, o.read(m.raw)
}

// read parses our label and checks the header of the delivered message, as the comment on send
// describes.
func (o *outcome) read(raw []byte) error {
	fields, _ := client.Split(raw)
	o.header = client.Apply(fields, o.Modifications)
	if len(o.header) == 0 || o.header[0].Name != authres.FieldName {
		return fmt.Errorf("our field is not on top: %q", o.header)
	}
	var err error
	if o.label, err = authres.Parse(o.header[0].Value); err != nil {
		return fmt.Errorf("our field does not parse: %w\n%s", err, o.header[0].Value)
	}
	if o.label.AuthServID != authServID {
		return fmt.Errorf("authserv-id %q", o.label.AuthServID)
	}
	for _, f := range o.header[1:] {
		if mta.IsLabel(f, authServID) {
			return fmt.Errorf("another field claims to be ours: %q", f.Value)
		}
	}
	return nil
}

// results returns the label's results of one method. It returns an error if there are none.
func (o *outcome) results(method string) ([]authres.Result, error) {
	var out []authres.Result
	for _, r := range o.label.Results {
		if r.Method == method {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no %s in the label %+v", method, o.label)
	}
	return out, nil
}

// word returns the result of a method that must have exactly one result in the label.
func (o *outcome) word(method string) (authres.Result, error) {
	results, err := o.results(method)
	if err != nil {
		return authres.Result{}, err
	}
	if len(results) != 1 {
		return authres.Result{}, fmt.Errorf("several results of %s: %+v", method, results)
	}
	return results[0], nil
}

// property returns the value of the property ptype.name of a result, or "".
func property(r authres.Result, ptype authres.PType, name string) string {
	for _, p := range r.Properties {
		if p.Type == ptype && p.Name == name {
			return p.Value
		}
	}
	return ""
}

// label sends m to the daemon in monitor mode. It returns an error if that daemon does not deliver
// the message.
func (s *station) label(m mail) (outcome, error) {
	o, err := send(s.Monitor, m)
	if err == nil && !o.Action.Delivers() {
		err = fmt.Errorf("monitor mode answers %s", o.Action)
	}
	return o, err
}
