package mtaconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Milter is one element of smtpd_milters or non_smtpd_milters.
type Milter struct {
	Raw     string // the whole element, as it was written
	Written string // its address, as it was written
	Network string // "unix" or "inet"; "" if Written is not an address, such as $name
	Address string // a path, or HOST:PORT
	// Settings has the names and values that the form in braces gives to this milter alone, such as
	// default_action, connect_timeout, command_timeout, content_timeout and protocol.
	Settings [][2]string
}

// Setting returns the value of a setting in braces. ok is false if the milter does not have it.
func (m Milter) Setting(name string) (value string, ok bool) {
	for _, s := range m.Settings {
		if s[0] == name {
			value, ok = s[1], true
		}
	}
	return value, ok
}

// String returns the milter's address in the form in which Postfix writes it.
func (m Milter) String() string { return m.Network + ":" + m.Address }

// Milters reads the value of smtpd_milters or non_smtpd_milters. An element is an address or has
// the form { address, name = value, … }.
func Milters(value string) ([]Milter, error) {
	items, err := Split(value)
	if err != nil {
		return nil, err
	}
	var out []Milter
	for _, item := range items {
		m, err := ParseMilter(item)
		if err != nil {
			return nil, err
		}
		if m.Network == "" {
			return nil, fmt.Errorf("mtaconf: %q is not the address of a milter; write unix:/PATH or inet:HOST:PORT", m.Written)
		}
		out = append(out, m)
	}
	return out, nil
}

// ParseMilter reads one element of a list of milters. Its address may be something else than an
// address, such as the name of another parameter.
func ParseMilter(item string) (Milter, error) {
	m := Milter{Raw: item, Written: item}
	if inner, ok := unbrace(item); ok {
		parts, err := Split(inner)
		if err != nil {
			return m, err
		}
		if len(parts) == 0 {
			return m, errors.New("mtaconf: a milter in braces has no address; write { unix:/PATH, default_action = … }")
		}
		m.Written = parts[0]
		if err := m.set(parts[1:]); err != nil {
			return m, err
		}
	}
	if network, address, ok := ParseAddress(m.Written); ok {
		m.Network, m.Address = network, address
	}
	return m, nil
}

// set reads settings of the forms "name=value", "name = value" and "{ name = value }".
func (m *Milter) set(parts []string) error {
	text := ""
	for _, part := range parts {
		if inner, ok := unbrace(part); ok {
			name, value, _ := strings.Cut(inner, "=")
			m.Settings = append(m.Settings, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
			continue
		}
		// The commas and spaces are gone, so "name", "=" and "value" may be separate parts. They
		// are joined until they are one setting.
		text += part
		if name, value, _ := strings.Cut(text, "="); value != "" {
			m.Settings, text = append(m.Settings, [2]string{name, value}), ""
		}
	}
	if text != "" {
		return fmt.Errorf("mtaconf: %q in the braces of a milter is not a setting; write name = value", text)
	}
	return nil
}

// Split cuts a list at commas and white space, but not within braces.
func Split(list string) ([]string, error) {
	var out []string
	depth, start := 0, -1
	for i, r := range list {
		separator := strings.ContainsRune(", \t\r\n", r)
		switch {
		case depth == 0 && separator:
			if start >= 0 {
				out, start = append(out, list[start:i]), -1
			}
			continue
		case r == '{':
			depth++
		case r == '}':
			depth--
		}
		if depth < 0 {
			return nil, errors.New("mtaconf: a list has a '}' without a '{'; remove it")
		}
		if start < 0 {
			start = i
		}
	}
	if depth > 0 {
		return nil, errors.New("mtaconf: a list has a '{' without a '}'; add it")
	}
	if start >= 0 {
		out = append(out, list[start:])
	}
	return out, nil
}

func unbrace(s string) (string, bool) {
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
		return "", false
	}
	return strings.TrimSpace(s[1 : len(s)-1]), true
}

// ParseAddress reads an address as Postfix, Sendmail and the key "listen" of sekimori write it:
// unix:PATH, local:PATH, inet:HOST:PORT, inet6:[HOST]:PORT, inet:PORT@HOST. It returns "unix" and
// the path, or "inet" and HOST:PORT.
func ParseAddress(s string) (network, address string, ok bool) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch strings.ToLower(scheme) {
	case "unix", "local":
		return "unix", rest, rest != ""
	case "inet", "inet6":
	default:
		return "", "", false
	}
	if port, host, ok := strings.Cut(rest, "@"); ok {
		return "inet", net.JoinHostPort(strings.Trim(host, "[]"), port), port != ""
	}
	host, port, _ := net.SplitHostPort(rest) // with an error, there is no port
	if port == "" {
		return "", "", false
	}
	return "inet", net.JoinHostPort(host, port), true
}

// units are the letters that may follow a number in a time.
var units = map[byte]time.Duration{
	's': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour,
}

// maxDuration bounds a time that is read, so that sums of times do not overflow.
const maxDuration = 999 * time.Hour

// Duration reads a time such as "30s", "1h30m" or "300", as Postfix and Sendmail write it. unit is
// the unit of a number without a letter.
func Duration(s string, unit time.Duration) (time.Duration, error) {
	bad := fmt.Errorf("mtaconf: %q is not a time; write a number with s, m, h, d or w", s)
	var sum time.Duration
	for rest := s; rest != "" || s == ""; {
		end := 0
		for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
			end++
		}
		n, err := strconv.ParseInt(rest[:end], 10, 64)
		if err != nil {
			return 0, bad
		}
		one := unit
		if rest = rest[end:]; rest != "" {
			known := false
			if one, known = units[rest[0]]; !known {
				return 0, bad
			}
			rest = rest[1:]
		}
		if one > 0 && n > int64((maxDuration-sum)/one) {
			return 0, bad
		}
		sum += time.Duration(n) * one
	}
	return sum, nil
}

// Networks reads the value of mynetworks. The second result has the elements that are not addresses
// or networks, such as "!192.0.2.1", "/etc/postfix/networks" and "cidr:/etc/postfix/networks". They
// are returned as they were written, because only Postfix knows what they stand for. An IPv4 network
// in the form of IPv6 is returned as one of IPv4.
func Networks(value string) (networks []netip.Prefix, others []string) {
	for _, item := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		if n, ok := network(item); ok {
			networks = append(networks, n)
			continue
		}
		others = append(others, item)
	}
	return networks, others
}

// network reads one network as Postfix writes it: 192.0.2.0/24, 192.0.2.1, [2001:db8::]/32 or
// [::ffff:127.0.0.0]/104. Postfix does not accept an address within a network in its place.
func network(item string) (netip.Prefix, bool) {
	plain := strings.NewReplacer("[", "", "]", "").Replace(item)
	n, err := netip.ParsePrefix(plain)
	if err != nil {
		a, err := netip.ParseAddr(plain)
		if err != nil || a.Zone() != "" {
			return n, false
		}
		n = netip.PrefixFrom(a, a.BitLen())
	}
	if n.Addr().Is4In6() {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n, n.IsValid() && n == n.Masked()
}
