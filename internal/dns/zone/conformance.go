package zone

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sekimori/internal/dns"
)

// FromConformance reads a zone as the conformance data has it:
//
//	{"name": [{"type":"TXT","data":["str", ...]}, {"type":"MX","data":[10,"host"]},
//	          {"type":"A","data":"192.0.2.1"}, {"type":"*","rcode":"TIMEOUT"}]}
//
// A lone surrogate \udc80...\udcff is the raw octet 80...ff. The type "*"
// stands for all types of the name without data. Names that could not be
// asked, being too long or having an empty label, are left out.
func FromConformance(raw json.RawMessage) (*Zone, error) {
	hidden, err := hideOctets(raw)
	if err != nil {
		return nil, err
	}
	var doc map[string][]conformanceRecord
	if err := json.Unmarshal(hidden, &doc); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	z := New()
	z.mu.Lock()
	defer z.mu.Unlock()
	for key, records := range doc {
		name, err := conformanceName(key)
		if err != nil {
			continue
		}
		z.touch(name)
		for _, r := range records {
			if err := z.addConformance(name, r); err != nil {
				return nil, fmt.Errorf("zone: %q %s: %w", key, r.Type, err)
			}
		}
	}
	return z, nil
}

type conformanceRecord struct {
	Type  string          `json:"type"`
	RCode string          `json:"rcode"`
	Data  json.RawMessage `json:"data"`
}

// addConformance stores one record. The caller holds mu.
func (z *Zone) addConformance(name dns.Name, c conformanceRecord) error {
	typ, ok := faultTypes[c.Type]
	if !ok {
		return errors.New("unknown type")
	}
	if c.RCode != "" {
		f := Fault{Kind: FaultKind(strings.ToLower(c.RCode))}
		if f.Kind != Timeout && f.Kind != ServFail && f.Kind != Refused {
			return fmt.Errorf("unknown rcode %q", c.RCode)
		}
		n := z.touch(name)
		if typ == typeAny {
			n.rest = f
			return nil
		}
		if n.faults == nil {
			n.faults = map[dns.Type]Fault{}
		}
		n.faults[typ] = f
		return nil
	}
	r, err := conformanceData(typ, c.Data)
	if err != nil {
		return err
	}
	z.add(name, typ, r)
	return nil
}

func conformanceData(typ dns.Type, data json.RawMessage) (record, error) {
	r := record{ttl: DefaultTTL}
	switch typ {
	case dns.TypeTXT, typeSPF:
		parts, err := conformanceStrings(data)
		r.setStrings(parts)
		return r, err
	case dns.TypeMX:
		var host string
		if err := json.Unmarshal(data, &[]any{&r.Preference, &host}); err != nil {
			return r, err
		}
		var err error
		r.Host, err = conformanceName(host)
		return r, err
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return r, err
	}
	var err error
	if typ == dns.TypeA || typ == dns.TypeAAAA {
		if r.Addr, err = netip.ParseAddr(s); err == nil && r.Addr.Is4() != (typ == dns.TypeA) {
			err = errWrongAddress
		}
	} else {
		r.Host, err = conformanceName(s)
	}
	return r, err
}

func conformanceStrings(data json.RawMessage) ([]string, error) {
	var parts []string
	if err := json.Unmarshal(data, &parts); err != nil {
		parts = []string{""}
		if err := json.Unmarshal(data, &parts[0]); err != nil {
			return nil, err
		}
	}
	for i := range parts {
		parts[i] = showOctets(parts[i])
	}
	return parts, nil
}

func conformanceName(s string) (dns.Name, error) {
	if s == "." {
		return "", nil
	}
	if octets := showOctets(s); octets != s {
		return octetName(octets)
	}
	return dns.ParseName(s)
}

// encoding/json replaces lone surrogates by U+FFFD, so they pass through it as
// private-use characters: \udcXX as U+F7XX, which no test data may hold.
const (
	octetFirst = 0xF780
	octetLast  = 0xF7FF
)

var errPrivateUse = errors.New("zone: zone holds a character of U+F780 to U+F7FF")

// hideOctets rewrites the escapes of lone surrogates \udc80...\udcff.
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
		case unit >= 0xD800 && unit < 0xDC00: // first half of a pair
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

// escapedUnit reads the UTF-16 unit of the \uXXXX at the beginning of b.
func escapedUnit(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return n, err == nil
}

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
