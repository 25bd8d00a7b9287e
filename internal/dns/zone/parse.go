package zone

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/dns"
)

// faultTypes are the types that a fault line may contain.
var faultTypes = map[string]dns.Type{
	"*": typeAny, "A": dns.TypeA, "AAAA": dns.TypeAAAA, "TXT": dns.TypeTXT, "MX": dns.TypeMX, "PTR": dns.TypePTR,
	"NS": dns.TypeNS, "CNAME": dns.TypeCNAME, "SOA": typeSOA, "SPF": typeSPF,
}

// Parse reads zone text. A record of a type that verifiers do not ask for has only one effect: its
// owner name exists. $INCLUDE is an error. Syntax errors contain the line number.
func Parse(zoneText string) (*Zone, error) {
	z := New()
	lines := strings.Split(zoneText, "\n")
	for i, line := range lines {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "!")
		if !ok {
			continue
		}
		if err := z.parseFault(rest); err != nil {
			return nil, fmt.Errorf("zone: line %d: %w", i+1, err)
		}
		lines[i] = "" // an empty line replaces the fault line, so that the line numbers in errors are right
	}
	zp := codec.NewZoneParser(strings.NewReader(strings.Join(lines, "\n")), ".", "")
	// RFC 1035 §5.1 gives a record without a TTL the last explicit TTL, so its TTL would depend on
	// the lines above. This parser gives such a record DefaultTTL instead. Only text that contains
	// $TTL is parsed as the RFC says.
	keepDefault := !strings.Contains(zoneText, "$TTL")
	for {
		if keepDefault {
			zp.SetDefaultTTL(uint32(DefaultTTL / time.Second))
		}
		rr, ok := zp.Next()
		if !ok {
			break
		}
		if err := z.addRR(rr); err != nil {
			return nil, fmt.Errorf("zone: %q: %w", rr.Header().Name, err)
		}
	}
	if err := zp.Err(); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	return z, nil
}

// parseFault reads a fault line without its "!": "OWNER TYPE|* FAULT...".
func (z *Zone) parseFault(line string) error {
	line, _, _ = strings.Cut(line, ";")
	words := strings.Fields(line)
	if len(words) < 3 {
		return errors.New("a fault line is: ! owner type fault")
	}
	name, err := fromPresentation(words[0])
	if err != nil {
		return err
	}
	typ, ok := faultTypes[strings.ToUpper(words[1])]
	if !ok {
		return fmt.Errorf("unknown type %q", words[1])
	}
	var f Fault
	for _, w := range words[2:] {
		if d, ok := strings.CutPrefix(w, "delay="); ok {
			if f.Delay, err = time.ParseDuration(d); err != nil {
				return err
			}
			continue
		}
		switch k := FaultKind(w); k {
		case ServFail, Refused, Timeout, Garbage, WrongID, WrongQuestion, Truncate, TruncateTCP:
			f.Kind = k
		default:
			return fmt.Errorf("unknown fault %q", w)
		}
	}
	z.Fail(name, typ, f)
	return nil
}

func (z *Zone) addRR(rr codec.RR) error {
	h := rr.Header()
	owner, err := fromPresentation(h.Name)
	if err != nil {
		return err
	}
	r := record{ttl: time.Duration(h.Ttl) * time.Second}
	host := ""
	switch rr := rr.(type) {
	case *codec.A:
		r.Addr, _ = netip.AddrFromSlice(rr.A.To4())
	case *codec.AAAA:
		r.Addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
	case *codec.MX:
		host, r.Preference = rr.Mx, rr.Preference
	case *codec.PTR:
		host = rr.Ptr
	case *codec.NS:
		host = rr.Ns
	case *codec.CNAME:
		host = rr.Target
	case *codec.TXT:
		r.setStrings(unescapeAll(rr.Txt))
	case *codec.SPF:
		r.setStrings(unescapeAll(rr.Txt))
	case *codec.SOA:
		r.minimum = time.Duration(rr.Minttl) * time.Second
	default:
		z.Add(owner, dns.Type(h.Rrtype))
		return nil
	}
	if r.Host, err = fromPresentation(host); err != nil {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.add(owner, dns.Type(h.Rrtype), r)
	return nil
}

func (r *record) setStrings(s []string) {
	r.strings, r.Text = s, strings.Join(s, "")
}

func unescapeAll(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = unescape(s)
	}
	return out
}

// unescape replaces \DDD and \X by the octets they stand for (RFC 1035 §5.1).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+3 <= len(s) {
			if n, err := strconv.ParseUint(s[i:i+3], 10, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// fromPresentation reads a name as it is written in a master file: absolute or relative, with
// escapes. Octets above 127 that are not escaped may be part of a U-label.
func fromPresentation(s string) (dns.Name, error) {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if i++; s[i] == '.' || strings.HasPrefix(s[i:], "046") {
			return "", fmt.Errorf("name %q holds a dot inside a label", s)
		}
	}
	if !strings.Contains(s, `\`) {
		return dns.ParseName(s)
	}
	return octetName(unescape(s))
}

// octetName makes a Name from the octets of s and does not change octets above 127. dns.ParseName
// would read those octets as UTF-8.
func octetName(s string) (dns.Name, error) {
	hidden := []byte(s)
	for i, c := range hidden {
		if c >= 0x80 {
			hidden[i] = 'x'
		} else if 'A' <= c && c <= 'Z' {
			hidden[i] = c + 'a' - 'A'
		}
	}
	checked, err := dns.ParseName(string(hidden)) // checks the lengths
	if err != nil {
		return "", err
	}
	for i := range checked {
		if s[i] >= 0x80 {
			hidden[i] = s[i]
		}
	}
	return dns.Name(hidden[:len(checked)]), nil
}
