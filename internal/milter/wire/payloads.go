package wire

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Offer is the MTA's first frame: the protocol version, the actions (SMFIF_*) and the protocol
// flags (SMFIP_*) that it offers.
type Offer struct{ Version, Actions, Protocol uint32 }

// ParseOffer reads an Offer. A version below oldestVersion is an error.
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

// cString returns the string at the beginning of data, which ends with NUL, and the octets after
// it.
func cString(data []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(data, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(data[:i]), data[i+1:], true
}

// ParseStrings reads strings, each of which ends with NUL. It returns false if the last string
// has no NUL.
func ParseStrings(data []byte) ([]string, bool) {
	if len(data) == 0 {
		return nil, true
	}
	if data[len(data)-1] != 0 {
		return nil, false
	}
	return strings.Split(string(data[:len(data)-1]), "\x00"), true
}

// ParseConnect reads a CONNECT event: the host name, the family, and for IPv4 and IPv6 the
// address and port. The zero AddrPort means that the client has no IP address, or that the
// address cannot be parsed.
func ParseConnect(data []byte) (host string, family byte, addr netip.AddrPort, err error) {
	bad := Malformed{KindMalformedConnect}
	host, rest, ok := cString(data)
	if !ok || len(rest) == 0 {
		return "", 0, addr, bad
	}
	family, rest = rest[0], rest[1:]
	switch family {
	case FamilyUnknown, FamilyUnix:
		return host, family, addr, nil // for these families the octets after the family are not an IP address
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
	// Sendmail writes "IPv6:" before an IPv6 address (RFC 5321 §4.1.3). Postfix does so in its
	// macros.
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

// ParseHeader reads a header field. leadingSpace says whether the MTA agreed to keep the space
// before the value. A frame that is not exactly a name and a value is an error. If such a field
// were ignored, the verifier would not see it, but the mail client of the recipient would show it.
// White space before the colon (RFC 5322 §4.5) is removed, as Postfix does, because mail clients
// treat "From : x" as a From field.
func ParseHeader(data []byte, leadingSpace bool) (name, value string, err error) {
	return ParseHeaderStart(data, leadingSpace, len(data))
}

// ParseHeaderStart is like ParseHeader, but returns at most the first limit octets of the
// value and of the name.
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

// field restores the value of a field, which the MTA changed before it sent it: CRLF in folds
// became LF, and one leading space (but not a tab) was removed if the MTA did not agree to keep it.
// Both results are parts of one string, which saves an allocation.
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
