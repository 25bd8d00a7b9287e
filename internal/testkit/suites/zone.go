package suites

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
)

// Zone parses a zone in the format of the shared data:
//
//	{"name": [{"type":"TXT","data":["str", ...]}, {"type":"MX","data":[10,"host"]},
//	          {"type":"A","data":"192.0.2.1"}, {"type":"*","rcode":"TIMEOUT"}]}
//
// A lone surrogate \udc80...\udcff in a string stands for the raw octet 80...ff. The type "*"
// stands for all types for which the name has no data. Names that cannot be asked for, because they
// are too long or have an empty label, are left out.
func Zone(raw json.RawMessage) (*zone.Zone, error) {
	hidden, err := hideOctets(raw)
	if err != nil {
		return nil, err
	}
	var doc map[string][]zoneRecord
	if err := json.Unmarshal(hidden, &doc); err != nil {
		return nil, fmt.Errorf("suites: zone: %w", err)
	}
	var text strings.Builder
	for key, records := range doc {
		owner, err := masterName(key)
		if err != nil {
			continue
		}
		lines, err := zoneLines(owner, records)
		if err != nil {
			return nil, fmt.Errorf("suites: zone: %q: %w", key, err)
		}
		text.WriteString(lines)
	}
	return zone.Parse(text.String())
}

type zoneRecord struct {
	Type  string          `json:"type"`
	RCode string          `json:"rcode"`
	Data  json.RawMessage `json:"data"`
}

// zoneTypes are the record types that the shared data uses, apart from "*".
var zoneTypes = []string{"A", "AAAA", "TXT", "SPF", "MX", "PTR", "NS", "CNAME"}

// zoneLines returns the records of one name as zone text.
func zoneLines(owner string, records []zoneRecord) (string, error) {
	var b strings.Builder
	b.WriteString(owner + " HINFO x x\n") // with this record the name exists even if it has no others
	has := map[string]bool{}
	for _, r := range records {
		switch {
		case r.RCode != "" && r.Type == "*":
			continue
		case r.RCode != "":
			fmt.Fprintf(&b, "! %s %s %s\n", owner, r.Type, strings.ToLower(r.RCode))
		default:
			data, err := zoneData(r)
			if err != nil {
				return "", fmt.Errorf("%s: %w", r.Type, err)
			}
			fmt.Fprintf(&b, "%s %s %s\n", owner, r.Type, data)
		}
		has[r.Type] = true
	}
	for _, r := range records {
		for _, typ := range zoneTypes {
			if r.Type == "*" && !has[typ] && !has["CNAME"] {
				fmt.Fprintf(&b, "! %s %s %s\n", owner, typ, strings.ToLower(r.RCode))
			}
		}
	}
	return b.String(), nil
}

// zoneData returns the data of one record as zone text.
func zoneData(r zoneRecord) (string, error) {
	var s string
	switch r.Type {
	case "TXT", "SPF":
		return zoneStrings(r.Data)
	case "MX":
		var preference uint16
		if err := json.Unmarshal(r.Data, &[]any{&preference, &s}); err != nil {
			return "", err
		}
		host, err := masterName(s)
		return fmt.Sprint(preference, " ", host), err
	case "A", "AAAA":
		err := json.Unmarshal(r.Data, &s)
		return s, err
	case "PTR", "NS", "CNAME":
		if err := json.Unmarshal(r.Data, &s); err != nil {
			return "", err
		}
		return masterName(s)
	}
	return "", errors.New("unknown type")
}

func zoneStrings(data json.RawMessage) (string, error) {
	var parts []string
	if err := json.Unmarshal(data, &parts); err != nil {
		parts = []string{""}
		if err := json.Unmarshal(data, &parts[0]); err != nil {
			return "", err
		}
	}
	if len(parts) == 0 {
		parts = []string{""}
	}
	for i, s := range parts {
		parts[i] = `"` + escaped(showOctets(s), " ") + `"`
	}
	return strings.Join(parts, " "), nil
}

// masterName returns a name as zone text. It returns an error for a name that cannot be asked for.
func masterName(s string) (string, error) {
	octets := showOctets(s)
	if octets == s {
		name, err := dns.ParseName(s)
		return escaped(string(name), "") + ".", err
	}
	// dns.ParseName would read the octets as UTF-8. So each octet above 7F is replaced by a letter
	// for this check of the lengths.
	ascii := []byte(octets)
	for i, c := range ascii {
		if c >= 0x80 {
			ascii[i] = 'x'
		}
	}
	if _, err := dns.ParseName(string(ascii)); err != nil {
		return "", err
	}
	return escaped(strings.TrimSuffix(octets, "."), "") + ".", nil
}

// escaped returns s as zone text. Letters, digits, "-", "_", "*", "." and the characters in "more"
// stay as they are. Every other octet becomes \DDD (RFC 1035 §5.1).
func escaped(s, more string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_*."+more, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String()
}

// encoding/json replaces lone surrogates with U+FFFD, and the octet would be lost. So before the
// JSON is parsed, hideOctets replaces \udcXX with the private-use character U+F7XX. The test data
// itself must not contain such characters.
const (
	octetFirst = 0xF780
	octetLast  = 0xF7FF
)

var errPrivateUse = errors.New("suites: the zone holds a character of U+F780 to U+F7FF")

// hideOctets replaces the escapes of lone surrogates \udc80...\udcff as described above.
func hideOctets(raw []byte) ([]byte, error) {
	out := append([]byte(nil), raw...)
	for i := 0; i+1 < len(out); i++ {
		if out[i] != '\\' {
			continue
		}
		unit, ok := escapedUnit(out[i:])
		switch {
		case !ok:
			i++
		case unit >= 0xD800 && unit < 0xDC00: // the first half of a surrogate pair
			i += 5
			if low, ok := escapedUnit(out[i+1:]); ok && low >= 0xDC00 && low < 0xE000 {
				i += 6
			}
		case unit >= 0xDC80 && unit <= 0xDCFF:
			copy(out[i+2:], "f7")
			i += 5
		case unit >= octetFirst && unit <= octetLast:
			return nil, errPrivateUse
		default:
			i += 5
		}
	}
	for _, r := range string(raw) {
		if r >= octetFirst && r <= octetLast {
			return nil, errPrivateUse
		}
	}
	return out, nil
}

// escapedUnit returns the number in the escape \uXXXX at the beginning of b.
func escapedUnit(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return n, err == nil
}

// showOctets turns the private-use characters in a decoded string into the raw octets for which
// they stand.
func showOctets(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= octetFirst && r <= octetLast {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
