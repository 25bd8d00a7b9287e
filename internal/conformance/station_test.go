// Package conformance runs the published suites through the whole daemon. A test
// plays the MTA and the DNS servers, and reads Authentication-Results. The
// packages of the evaluators run the same suites on the evaluators alone.
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
	// authServID is the authserv-id of the daemons.
	authServID = "mx.sekimori.example"
	// dnsTimeout is for one try. A row with a silent server takes two tries.
	dnsTimeout = time.Second
)

// station is a name server and two daemons that ask it.
type station struct {
	*daemon.Pair
	zone *zone.Zone // of the row
}

// newStation starts a station. The end of the test stops it and looks for panics
// in the logs.
func newStation(t *testing.T, change func(*config.Config)) *station {
	t.Helper()
	return &station{Pair: daemon.StartPair(t, zone.New(), authServID, func(cfg *config.Config) {
		cfg.Trusted = config.Trusted{} // the suites have clients on 127.0.0.1
		cfg.DNS.Timeout = config.Duration(dnsTimeout)
		cfg.Policy.Reject = "always"
		if change != nil {
			change(cfg)
		}
	})}
}

// mail is one message and its SMTP session.
type mail struct {
	ip      string // "" means that the MTA does not know the client's address
	helo    string // "" sends no HELO
	from    string // as in MAIL, with brackets
	queueID string
	raw     []byte
}

// outcome is what became of a message.
type outcome struct {
	client.Result
	header []client.Field // after the edits; empty if the message was not delivered
	label  authres.Field  // our field
	held   bool           // quarantined
}

// send plays the MTA. A delivered message must have our label on top, the label
// must parse, and no other field may claim to be ours. If not, send returns an
// error, for every row of every suite.
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

// read reads the header of the delivered message.
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

// results returns the label's results of one method. It is an error if there are
// none.
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

// word returns the only result of a method. It is an error if there are several.
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

// label sends m to the daemon in monitor mode, which must deliver it.
func (s *station) label(m mail) (outcome, error) {
	o, err := send(s.Monitor, m)
	if err == nil && !o.Action.Delivers() {
		err = fmt.Errorf("monitor mode answers %s", o.Action)
	}
	return o, err
}
