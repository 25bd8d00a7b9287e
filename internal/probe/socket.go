package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/filter"
	"sekimori/internal/label"
	"sekimori/internal/milter/client"
)

// Target is the address of a milter socket.
type Target struct{ Network, Address string }

// String returns the address in the form of the key listen.
func (t Target) String() string {
	if t.Network == "unix" {
		return "unix:" + t.Address
	}
	return "inet:" + t.Address
}

// passedSockets are the sockets that systemd opens for the package, and for the entry
// "systemd:milter" of its configuration.
var passedSockets = []string{"/run/sekimori/milter.sock", "/var/spool/postfix/sekimori/milter.sock"}

// targets returns the addresses behind an entry of the key listen. There is none if systemd opens
// the socket at a place other than passedSockets.
func targets(listen string) ([]Target, error) {
	scheme, rest, _ := strings.Cut(listen, ":")
	switch scheme {
	case "unix", "local":
		return []Target{{"unix", rest}}, nil
	case "inet", "inet6":
		if port, host, ok := strings.Cut(rest, "@"); ok { // as Sendmail writes it
			rest = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return nil, fmt.Errorf("probe: %q is not an address; write inet:HOST:PORT or unix:/PATH", listen)
		}
		return []Target{{"tcp", net.JoinHostPort(reachable(host), port)}}, nil
	case "systemd":
		var out []Target
		for _, path := range passedSockets {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				out = append(out, Target{"unix", path})
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("probe: %q is not a socket; write inet:HOST:PORT or unix:/PATH", listen)
}

// reachable returns the host at which a program reaches a listener on "host": the loopback address
// if host is a wildcard address.
func reachable(host string) string {
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && addr.IsUnspecified() && addr.Is4():
		return "127.0.0.1"
	case err == nil && addr.IsUnspecified():
		return "::1"
	}
	return host
}

// find returns the first socket that takes connections, and the connection. If none does, the error
// says for each what is wrong with it.
func (o Options) find(ctx context.Context) (Target, net.Conn, error) {
	listen := []string{o.Socket}
	if o.Socket == "" {
		listen = listen[:0]
		for _, l := range o.Config.Listen {
			listen = append(listen, l.Address)
		}
	}
	var failed []string
	for _, l := range listen {
		found, err := targets(l)
		if err != nil {
			return Target{}, nil, err
		}
		if len(found) == 0 {
			failed = append(failed, l+" is a socket of systemd, and none is at "+strings.Join(passedSockets, " or ")+"; name it by --socket")
		}
		for _, t := range found {
			conn, err := t.dial(ctx)
			if err == nil {
				return t, conn, nil
			}
			failed = append(failed, unreachable(t, err))
		}
	}
	return Target{}, nil, errors.New("probe: the daemon cannot be reached: " + strings.Join(failed, "; "))
}

// dialTimeout is how long a connection may take. All sockets are on this host or near it.
const dialTimeout = 5 * time.Second

func (t Target) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, t.Network, t.Address)
}

// unreachable says why there is no connection, and what to do.
func unreachable(t Target, err error) string {
	advice := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		advice = "there is no such file; does the daemon run? (systemctl status sekimori)"
	case errors.Is(err, fs.ErrPermission):
		advice = "this user may not open it; run the command as root, or as a member of the socket's group"
	case errors.Is(err, syscall.ECONNREFUSED):
		advice = "no program listens there; does the daemon run? (systemctl status sekimori)"
	default:
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		advice = err.Error()
	}
	return t.String() + ": " + advice
}

// send plays an MTA that passes on the message m over the connection conn, or over a new one if conn
// is nil. The error says that the daemon did not answer.
func (t Target) send(ctx context.Context, conn net.Conn, self *label.Identity, m Mail) (_ Outcome, err error) {
	if conn == nil {
		if conn, err = t.dial(ctx); err != nil {
			return Outcome{}, fmt.Errorf("probe: %s", unreachable(t, err))
		}
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c := client.New(conn)
	c.SetMacro("j", self.MTA)
	action, mods, err := converse(c, m)
	switch {
	case err != nil && ctx.Err() != nil:
		return Outcome{Fate: NoAnswer}, nil
	case errors.Is(err, errAnother):
		return Outcome{}, fmt.Errorf("probe: %s: %w", t, err)
	case err != nil:
		return Outcome{}, fmt.Errorf("probe: %s does not answer as a milter: %w", t, err)
	}
	return cameBack(self, m.Raw, action, mods), nil
}

var errAnother = errors.New("another milter than sekimori answers there (OpenDKIM often has port 8891); name sekimori's socket by --socket")

// converse runs a milter session with one message. It returns the last answer and the edits.
func converse(c *client.Client, m Mail) (client.Action, []client.Modification, error) {
	if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
		return client.Action{}, nil, err
	}
	if !c.IsSekimori() {
		return client.Action{}, nil, errAnother
	}
	if err := c.SendMacro('C', filter.ProbeMacro, "1"); err != nil {
		return client.Action{}, nil, err
	}
	var peer netip.AddrPort
	if m.Client.IsValid() {
		peer = netip.AddrPortFrom(m.Client, clientPort)
	}
	for _, step := range []func() (client.Action, error){
		func() (client.Action, error) { return c.Connect(clientName, peer) },
		func() (client.Action, error) { return c.Helo(m.HELO) },
	} {
		if a, err := step(); err != nil || !a.Delivers() {
			return a, nil, err
		}
	}
	res, err := c.SendMessage(client.Envelope{From: "<" + m.MailFrom + ">", To: []string{"<" + m.Recipient + ">"}, QueueID: queueID}, m.Raw)
	if err != nil {
		return res.Action, nil, err
	}
	return res.Action, res.Modifications, c.Quit()
}

const (
	clientPort = 40025     // the port that the claimed client has
	clientName = "unknown" // as Postfix writes it if the reverse name of the client is not verified
	queueID    = "PROBE"
)
