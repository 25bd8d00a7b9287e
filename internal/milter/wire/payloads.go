package wire

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Offer is what the MTA proposes in its first frame.
type Offer struct{ Version, Actions, Protocol uint32 }

// ParseOffer reads it. A version older than any this program can speak is an
// error.
func ParseOffer(data []byte) (Offer, error) {
	if len(data) < 12 {
		return Offer{}, Malformed{KindMalformedNegotiation}
	}
	o := Offer{
		Version:  binary.BigEndian.Uint32(data),
		Actions:  binary.BigEndian.Uint32(data[4:]),
		Protocol: binary.BigEndian.Uint32(data[8:]),
	}
	if o.Version < oldestVersion {
		return Offer{}, Malformed{KindUnsupportedVersion}
	}
	return o, nil
}

// cString takes a NUL-terminated string off data.
func cString(data []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(data, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(data[:i]), data[i+1:], true
}

// ParseStrings takes data apart into NUL-terminated strings.
func ParseStrings(data []byte) ([]string, bool) {
	if len(data) == 0 {
		return nil, true
	}
	if data[len(data)-1] != 0 {
		return nil, false
	}
	return strings.Split(string(data[:len(data)-1]), "\x00"), true
}

// ParseConnect reads a CONNECT event: host name, family, and for all but an
// unknown one a port and an address. The zero AddrPort means that there is no IP
// address, or none that can be read.
func ParseConnect(data []byte) (host string, family byte, addr netip.AddrPort, err error) {
	bad := Malformed{KindMalformedConnect}
	host, rest, ok := cString(data)
	if !ok || len(rest) == 0 {
		return "", 0, addr, bad
	}
	family, rest = rest[0], rest[1:]
	switch family {
	case FamilyUnknown, FamilyUnix:
		return host, family, addr, nil // what follows is no IP address
	case FamilyIPv4, FamilyIPv6:
	default:
		return "", 0, addr, bad
	}
	if len(rest) < 3 {
		return "", 0, addr, bad
	}
	port := binary.BigEndian.Uint16(rest)
	text, _, ok := cString(rest[2:])
	if !ok {
		return "", 0, addr, bad
	}
	// Sendmail and Postfix's macros write "IPv6:" before an IPv6 address
	// (RFC 5321 §4.1.3).
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text = text[5:]
	}
	if ip, err := netip.ParseAddr(text); err == nil {
		addr = netip.AddrPortFrom(ip.Unmap().WithZone(""), port)
	}
	return host, family, addr, nil
}

// ParseHelo reads a HELO event.
func ParseHelo(data []byte) (string, error) {
	name, rest, ok := cString(data)
	if !ok || len(rest) != 0 {
		return "", Malformed{KindMalformedHelo}
	}
	return name, nil
}

// ParseHeader reads a header field; leadingSpace says that the MTA was asked to
// keep the space before its value. Anything but exactly two strings is an
// error: a field that is passed over would be missing from the verifier's view
// but not from the reader's. White space before the colon (RFC 5322 §4.5) is
// lost, as Postfix loses it: readers take "From : x" for a From, so everybody
// behind here must.
func ParseHeader(data []byte, leadingSpace bool) (name, value string, err error) {
	return ParseHeaderStart(data, leadingSpace, len(data))
}

// ParseHeaderStart is ParseHeader for no more than the first limit octets of the
// value, and of the name.
func ParseHeaderStart(data []byte, leadingSpace bool, limit int) (name, start string, err error) {
	first, rest, _ := bytes.Cut(data, []byte{0})
	second, rest, ok := bytes.Cut(rest, []byte{0})
	first = bytes.TrimRight(first, " \t")
	if !ok || len(rest) != 0 || len(first) == 0 {
		return "", "", Malformed{KindMalformedHeader}
	}
	name, start = field(first[:min(len(first), limit)], second[:min(len(second), limit)], leadingSpace)
	return name, start, nil
}

// field undoes what the MTA did to a field's value: folds come as LF, and
// unless it was asked to keep it one leading space was taken off (a tab is not).
// Both strings are parts of one.
func field(name, value []byte, leadingSpace bool) (string, string) {
	var b strings.Builder
	b.Grow(len(name) + 1 + len(value) + bytes.Count(value, []byte{'\n'}))
	b.Write(name)
	if !leadingSpace && !bytes.HasPrefix(value, []byte{'\t'}) {
		b.WriteByte(' ')
	}
	for {
		i := bytes.IndexByte(value, '\n')
		if i < 0 {
			break
		}
		b.Write(value[:i])
		if i == 0 || value[i-1] != '\r' {
			b.WriteByte('\r')
		}
		b.WriteByte('\n')
		value = value[i+1:]
	}
	b.Write(value)
	s := b.String()
	return s[:len(name)], s[len(name):]
}
