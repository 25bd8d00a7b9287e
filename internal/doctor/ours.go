package doctor

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"sekimori/internal/milter/client"
	"sekimori/internal/mtaconf"
)

// Ours is what the judges of an MTA's configuration need to know about sekimori and this host.
type Ours struct {
	// Listen has the milter addresses of the daemon, as mtaconf.ParseAddress returns them.
	Listen []Address
	// Unknown says that the daemon has further addresses that are not known, because systemd opens
	// them and the daemon was not asked.
	Unknown    bool
	Enforce    bool
	AuthservID string        // "" if none is configured
	Budget     time.Duration // dns.message_budget
	Idle       time.Duration // limits.idle_timeout
	// Trusts reports whether the whole network lies within trusted.networks.
	Trusts func(netip.Prefix) bool
	// Own reports whether an address is one of this host's.
	Own func(netip.Addr) bool
	// Socket looks at the file of a unix socket.
	Socket func(path string) SocketFile
	// Ask asks which program listens at an address of this host, as client.Ask does. nil: nothing is
	// tried.
	Ask func(network, address string) error
	// Same reports whether two paths lead to the same file.
	Same func(a, b string) bool
	// ReadFile reads a lookup table of the MTA.
	ReadFile func(path string) ([]byte, error)
}

// SocketFile is the state of the file of a unix socket.
type SocketFile struct {
	Missing bool
	// Denied says that the users of the MTA may not connect. Mode and Group say why.
	Denied      bool
	Mode, Group string
	Err         error // why the file could not be looked at
}

// Address is an address at which a milter is reached.
type Address struct {
	Network string // "unix" or "inet"
	Address string // a path, or HOST:PORT
}

// String returns the address in the form in which Postfix writes it.
func (a Address) String() string { return a.Network + ":" + a.Address }

// reaches reports whether the MTA reaches the daemon at this address. file is the path of a unix
// socket as this host sees it.
func (o *Ours) reaches(network, address, file string) bool {
	for _, l := range o.Listen {
		switch {
		case l.Network != network:
		case network == "unix" && (l.Address == file || o.Same(l.Address, file)):
			return true
		case network == "inet" && sameEndpoint(l.Address, address):
			return !isName(address) || o.Ask == nil || !errors.Is(o.Ask(network, address), client.ErrAnother)
		}
	}
	return false
}

// local reports whether the address is a unix socket or an address of this host.
func (o *Ours) local(network, address string) bool {
	if network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (a.IsLoopback() || o.Own(a))
}

// sameEndpoint reports whether a connection to "to" reaches a listener at "listen". A name instead
// of an address may stand for any address of the daemon's host.
func sameEndpoint(listen, to string) bool {
	lh, lp, err1 := net.SplitHostPort(listen)
	th, tp, err2 := net.SplitHostPort(to)
	if err1 != nil || err2 != nil || lp != tp {
		return false
	}
	la, errL := netip.ParseAddr(lh)
	ta, errT := netip.ParseAddr(th)
	return errL != nil || errT != nil || la.IsUnspecified() || la.Unmap() == ta.Unmap()
}

// another reports whether another program than sekimori answers at an address of this host.
func (o *Ours) another(network, address string) bool {
	return o.Ask != nil && o.local(network, address) && errors.Is(o.Ask(network, address), client.ErrAnother)
}

// isName reports whether an address has a name that may be another host's.
func isName(hostPort string) bool {
	host, _, _ := net.SplitHostPort(hostPort)
	_, err := netip.ParseAddr(host)
	return err != nil && host != "localhost"
}

// example returns an address of the daemon for a line that is proposed.
func (o *Ours) example() string {
	if len(o.Listen) > 0 {
		return o.Listen[0].String()
	}
	return "unix:/run/sekimori/milter.sock"
}

// ParseListen reads an entry of the key listen, or an address as the running daemon gives it.
func ParseListen(text string) (Address, bool) {
	network, address, ok := mtaconf.ParseAddress(text)
	return Address{network, address}, ok
}
