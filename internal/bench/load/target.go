package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// ErrRemote is returned for an address that is not a loopback address. Such load on another host
// would be an attack on that host.
var ErrRemote = errors.New("load: not a loopback address")

// Target is the address of a milter.
type Target struct {
	network, address, text string
}

// String returns the address as it was given.
func (t Target) String() string { return t.text }

// ParseTarget parses inet:HOST:PORT, HOST:PORT or unix:/PATH. Unless remote is true, all addresses
// of HOST must be loopback addresses, or the error is ErrRemote. The Target then connects to one of
// the addresses that were checked.
func ParseTarget(ctx context.Context, text string, remote bool) (Target, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return Target{"unix", path, text}, nil
	}
	address := strings.TrimPrefix(strings.TrimPrefix(text, "inet6:"), "inet:")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return Target{}, fmt.Errorf("load: %q is neither inet:HOST:PORT nor unix:/PATH", text)
	}
	if remote {
		return Target{"tcp", address, text}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return Target{}, fmt.Errorf("load: %s: %w", text, err)
	}
	for _, a := range addrs {
		if !a.Unmap().IsLoopback() {
			return Target{}, fmt.Errorf("%w: %s is %s", ErrRemote, text, a.Unmap())
		}
	}
	return Target{"tcp", net.JoinHostPort(addrs[0].Unmap().String(), port), text}, nil
}

// CheckDNSAddr returns an error if the address is not a loopback address and remote is false. Other
// hosts must not see the zone that is served there, because its names are invented.
func CheckDNSAddr(text string, remote bool) error {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return fmt.Errorf("load: %q is not ADDRESS:PORT", text)
	}
	if !remote && !a.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%w: %s", ErrRemote, text)
	}
	return nil
}
