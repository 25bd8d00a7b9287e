package traffic

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sekimori/internal/dns/zone"
)

// zoneWriter writes the zone text of a corpus. Its methods take absolute names without the dot at
// the end.
type zoneWriter struct {
	text strings.Builder
}

// newZone begins a zone. ttl is the TTL of all answers, including negative answers.
func newZone(ttl time.Duration) *zoneWriter {
	z := &zoneWriter{}
	seconds := int64(ttl / time.Second)
	fmt.Fprintf(&z.text, "$TTL %d\n. SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 %d\n", seconds, seconds)
	return z
}

// parsed parses the text written so far and returns the zone.
func (z *zoneWriter) parsed() (*zone.Zone, error) {
	parsed, err := zone.Parse(z.text.String())
	if err != nil {
		return nil, fmt.Errorf("traffic: zone of the corpus: %w", err)
	}
	return parsed, nil
}

// addTXT adds a TXT record. text must not have quotes or backslashes.
func (z *zoneWriter) addTXT(name, text string) {
	fmt.Fprintf(&z.text, "%s. TXT", name)
	for len(text) > 255 { // the longest string in a TXT record (RFC 1035 §3.3)
		fmt.Fprintf(&z.text, " \"%s\"", text[:255])
		text = text[255:]
	}
	fmt.Fprintf(&z.text, " \"%s\"\n", text)
}

func (z *zoneWriter) addA(name string, addr netip.Addr) {
	fmt.Fprintf(&z.text, "%s. A %s\n", name, addr)
}

func (z *zoneWriter) addMX(name, host string) { fmt.Fprintf(&z.text, "%s. MX 10 %s.\n", name, host) }

// addPTR adds the reverse name of an IPv4 address.
func (z *zoneWriter) addPTR(addr netip.Addr, host string) {
	b := addr.As4()
	fmt.Fprintf(&z.text, "%d.%d.%d.%d.in-addr.arpa. PTR %s.\n", b[3], b[2], b[1], b[0], host)
}
