package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/dns"
)

// Duration is a time.Duration, written "2s", "5m" or "1h30m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write a number and a unit, such as 500ms, 2s, 5m or 24h", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String leaves out the zero units that time.Duration prints: 24h, not 24h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size is a number of octets, written "64MiB", "1MB" or as a plain number.
type Size int64

// sizeUnits lists the units of a Size. The binary units come first, the largest
// of them at the top; String uses only the binary units.
var sizeUnits = []struct {
	name   string
	octets int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(t, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err == nil && (n > math.MaxInt64/u.octets || n < math.MinInt64/u.octets) {
			return fmt.Errorf("%q is too large", text)
		}
		if err == nil {
			*s = Size(n * u.octets)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size; write a number of octets, or one with a unit, such as 64MiB", text)
}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && int64(s)%u.octets == 0 {
			return strconv.FormatInt(int64(s)/u.octets, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Network is a range of addresses, written in CIDR form. A single address is
// also allowed.
type Network struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Network) UnmarshalText(text []byte) error {
	s := string(text)
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		n.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a network; write an address or CIDR, such as 192.0.2.0/24 or 2001:db8::/32", s)
	case p.Addr().Is4In6():
		return fmt.Errorf("%q: write an IPv4 network in its own form", s)
	case p != p.Masked():
		return fmt.Errorf("%q has bits set beyond its length; did you mean %s or %s?", s, p.Masked(), p.Addr())
	}
	n.Prefix = p
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// String returns the network in CIDR form, or a single host as an address
// alone.
func (n Network) String() string {
	if n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.Prefix.String()
}

// Listener is an address at which MTAs connect. It is written as plain text, or
// as a mapping if the mode or the group of a unix socket's file is set too.
type Listener struct {
	Address string   `yaml:"address"` // in the forms that sockets.Config describes
	Mode    FileMode `yaml:"mode"`
	Group   Group    `yaml:"group"`
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Listener) UnmarshalText(text []byte) error {
	*l = Listener{Address: string(text)}
	return nil
}

// String returns the address.
func (l Listener) String() string { return l.Address }

// Relay is a host in front of the MTA; see judge.Relay. It is written as a
// network, or as a mapping if its names are set too.
type Relay struct {
	Network Network   `yaml:"network"`
	By      []Pattern `yaml:"by"` // the names that it writes after "by" in its Received field; empty for any
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Relay) UnmarshalText(text []byte) error { return r.Network.UnmarshalText(text) }

// FileMode has the permission bits of a file. It is written in octal, such as
// 0660.
type FileMode fs.FileMode

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *FileMode) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(strings.TrimPrefix(string(text), "0o"), 8, 32)
	if err != nil || v == 0 || v > 0o777 {
		return fmt.Errorf("%q is not a file mode; write its permission bits in octal, such as 0660", text)
	}
	*m = FileMode(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (m FileMode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(m)), nil }

// Group is the name or the number of a group.
type Group string

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *Group) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("the name of the group is empty")
	}
	*g = Group(text)
	return nil
}

// Domain is a domain name of two labels or more, in A-labels.
type Domain dns.Name

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Domain) UnmarshalText(text []byte) error {
	n, err := dns.ParseHostname(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a domain; write one, such as lists.example.org", text)
	}
	*d = Domain(n)
	return nil
}
