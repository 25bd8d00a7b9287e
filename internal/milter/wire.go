package milter

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Commands of the milter protocol (Sendmail's libmilter, mfdef.h).
const (
	cmdNegotiate   = 'O'
	cmdMacro       = 'D'
	cmdConnect     = 'C'
	cmdHelo        = 'H'
	cmdMail        = 'M'
	cmdRcpt        = 'R'
	cmdData        = 'T'
	cmdUnknown     = 'U' // an SMTP command the MTA does not know
	cmdHeader      = 'L'
	cmdEndOfHeader = 'N'
	cmdBody        = 'B'
	cmdEndOfBody   = 'E'
	cmdAbort       = 'A'
	cmdQuit        = 'Q'
	cmdQuitNC      = 'K' // quit, and the connection is used for another session
)

// malformed is an error a frame itself has; the connection cannot go on.
type malformed struct{ kind ErrorKind }

func (m malformed) Error() string { return "milter: " + string(m.kind) }

// offer is what the MTA proposes in its first frame.
type offer struct{ version, actions, protocol uint32 }

func parseOffer(data []byte) (offer, error) {
	if len(data) < 12 {
		return offer{}, malformed{KindMalformedNegotiation}
	}
	o := offer{
		version:  binary.BigEndian.Uint32(data),
		actions:  binary.BigEndian.Uint32(data[4:]),
		protocol: binary.BigEndian.Uint32(data[8:]),
	}
	if o.version < oldestVersion {
		return offer{}, malformed{KindUnsupportedVersion}
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

// parseStrings takes data apart into NUL-terminated strings.
func parseStrings(data []byte) ([]string, bool) {
	if len(data) == 0 {
		return nil, true
	}
	if data[len(data)-1] != 0 {
		return nil, false
	}
	return strings.Split(string(data[:len(data)-1]), "\x00"), true
}

// parseConnect reads a CONNECT event: host name, family, and for all but an
// unknown one a port and an address.
func parseConnect(data []byte) (Connect, error) {
	bad := malformed{KindMalformedConnect}
	host, rest, ok := cString(data)
	if !ok || len(rest) == 0 {
		return Connect{}, bad
	}
	c := Connect{Hostname: host, Family: Family(rest[0])}
	rest = rest[1:]
	switch c.Family {
	case FamilyUnknown, FamilyUnix:
		return c, nil // what follows is no IP address
	case FamilyIPv4, FamilyIPv6:
	default:
		return Connect{}, bad
	}
	if len(rest) < 3 {
		return Connect{}, bad
	}
	port := binary.BigEndian.Uint16(rest)
	addr, _, ok := cString(rest[2:])
	if !ok {
		return Connect{}, bad
	}
	// Sendmail and Postfix's macros write "IPv6:" before an IPv6 address
	// (RFC 5321 §4.1.3).
	if len(addr) > 5 && strings.EqualFold(addr[:5], "IPv6:") {
		addr = addr[5:]
	}
	if ip, err := netip.ParseAddr(addr); err == nil {
		c.Addr = netip.AddrPortFrom(ip.Unmap().WithZone(""), port)
	}
	return c, nil
}

func parseHelo(data []byte) (string, error) {
	name, rest, ok := cString(data)
	if !ok || len(rest) != 0 {
		return "", malformed{KindMalformedHelo}
	}
	return name, nil
}

// parseHeader reads a header field. Anything but exactly two strings is an
// error: a field that is passed over would be missing from the verifier's view
// but not from the reader's. White space before the colon (RFC 5322 §4.5) is
// lost, as Postfix loses it: readers take "From : x" for a From, so everybody
// behind here must.
func parseHeader(data []byte, leadingSpace bool) (name, value string, err error) {
	first, rest, _ := bytes.Cut(data, []byte{0})
	second, rest, ok := bytes.Cut(rest, []byte{0})
	first = bytes.TrimRight(first, " \t")
	if !ok || len(rest) != 0 || len(first) == 0 {
		return "", "", malformed{KindMalformedHeader}
	}
	name, value = field(first, second, leadingSpace)
	return name, value, nil
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
