package msgauth

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/mailaddr"
	"sekimori/internal/message"
)

// isNotification reports whether a program wrote the message about other mail. That is so if the
// message has the null sender (RFC 5321 §4.5.5), or if Auto-Submitted says that it was submitted
// automatically (RFC 3834 §5).
func isNotification(h message.Header, mailFrom mailaddr.Path) bool {
	if mailFrom.Null {
		return true
	}
	for value := range h.All("Auto-Submitted") {
		value = afterComments(message.Unfold(value))
		if end := strings.IndexAny(value, " \t;("); end >= 0 {
			value = value[:end]
		}
		if value != "" && !strings.EqualFold(value, "no") {
			return true
		}
	}
	return false
}

// afterComments returns value from the first octet that is neither white space
// nor in a comment (RFC 3834 §5 allows CFWS before the keyword).
func afterComments(value string) string {
	depth := 0
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0 && c != ' ' && c != '\t':
			return value[i:]
		}
	}
	return ""
}

// isAuthorHost reports whether the client is a host of the author: the name that iprev verified is
// at or below the Author Domain, and looks like the name of a host. Providers also name the access
// lines of their customers after the address or after the kind of line (such as "dsl"). The name of
// such a line does not count, because the customer is not the provider.
func isAuthorHost(r iprev.Result, author dns.Name) bool {
	if r.Status != iprev.Pass || author == "" || !r.Name.Under(author) {
		return false
	}
	below := strings.TrimSuffix(string(r.Name), string(author))
	return !carriesAddress(string(r.Name), r.IP) && !saysLine(below)
}

// lineWords are words that occur in the names of customers' access lines, of address pools for such
// lines, and of addresses without a host.
var lineWords = []string{
	"adsl", "broadband", "cable", "catv", "cgn", "cgnat", "client", "clients", "cpe", "cust", "customer", "customers",
	"dhcp", "dial", "dialin", "dialup", "dsl", "dyn", "dynamic", "dynip", "fiber", "fibre", "ftth", "gprs", "guest",
	"ip", "ipv", "lte", "mobile", "nat", "pool", "pools", "ppp", "pppoe", "ptr", "rdns", "residential", "rev", "reverse",
	"sdsl", "static", "subscriber", "unassigned", "unknown", "unused", "user", "users", "vdsl", "vpn", "wifi", "wimax", "wlan", "xdsl",
}

// saysLine reports whether name contains one of lineWords as a whole word.
func saysLine(name string) bool {
	return slices.ContainsFunc(runs(name, letters), func(word string) bool { return slices.Contains(lineWords, word) })
}

// carriesAddress reports whether the name of a host shows octets of its address: in decimal or
// hexadecimal, with or without leading zeros, in either order, separate or joined, all of them or
// only the last. A wrong true is harmless: the message then only lacks the trait AuthorHost.
func carriesAddress(name string, ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.Is4() {
		o := ip.As4()
		return decimalOctets(name, o) || hexOctets(name, o)
	}
	return hexGroups(name, ip.As16())
}

// runs splits name at the characters that are not in the set "of". It returns the non-empty pieces.
func runs(name, of string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return !strings.ContainsRune(of, r) })
}

const (
	digits    = "0123456789"
	hexDigits = "0123456789abcdef"
	letters   = "abcdefghijklmnopqrstuvwxyz"
)

// squeeze removes the characters that separate the octets of an address.
func squeeze(name string) string { return strings.NewReplacer("-", "", ".", "", "_", "").Replace(name) }

// decimalOctets reports whether name holds octets of an IPv4 address in decimal.
func decimalOctets(name string, o [4]byte) bool {
	last := strconv.Itoa(int(o[3]))
	var seen [4]bool
	n := 0
	for _, run := range runs(name, digits) {
		number := strings.TrimLeft(run, "0")
		if number == "" {
			number = "0"
		}
		switch {
		case number == last && len(run) > 1: // a single digit may also be the number of a host, as in mx1
			return true
		case runTogether(run, o):
			return true
		}
		for i, octet := range o {
			if !seen[i] && number == strconv.Itoa(int(octet)) {
				seen[i] = true
				n++
				break
			}
		}
	}
	return n >= 2
}

// runTogether reports whether a run of digits contains two neighbouring octets of o without a
// separator, or is the whole address as one number.
func runTogether(run string, o [4]byte) bool {
	if run == strconv.FormatUint(uint64(binary.BigEndian.Uint32(o[:])), 10) {
		return true
	}
	for i := range len(o) - 1 {
		for _, pair := range [...][2]byte{{o[i], o[i+1]}, {o[i+1], o[i]}} {
			if strings.Contains(run, fmt.Sprintf("%03d%03d", pair[0], pair[1])) {
				return true
			}
			plain := fmt.Sprintf("%d%d", pair[0], pair[1])
			if len(plain) > 3 && strings.Contains(run, plain) || len(plain) == 3 && run == plain {
				return true
			}
		}
	}
	return false
}

// hexOctets reports whether name holds octets of an IPv4 address in hexadecimal.
func hexOctets(name string, o [4]byte) bool {
	backwards := o
	slices.Reverse(backwards[:])
	squeezed := squeeze(name)
	// The last two octets are enough: a name with all four contains them.
	for _, pair := range []string{hex.EncodeToString(o[2:]), hex.EncodeToString(backwards[:2])} {
		if strings.Contains(squeezed, pair) {
			return true
		}
	}
	n := 0
	words := runs(name, digits+letters)
	for _, octet := range o {
		if slices.Contains(words, strconv.FormatUint(uint64(octet), 16)) { // without leading zeros
			n++
		}
	}
	return n >= 3
}

// hexGroups reports whether name holds groups or nibbles of an IPv6 address.
func hexGroups(name string, o [16]byte) bool {
	const (
		tail = 6 // nibbles: the last half of a MAC address, which differs between the devices of one manufacturer
		few  = 4 // nibbles: a word is unlikely to contain so many hexadecimal digits of the address by chance
	)
	nibbles := hex.EncodeToString(o[:])
	backwards := []byte(nibbles)
	slices.Reverse(backwards)
	squeezed := squeeze(name)
	if strings.Contains(squeezed, nibbles[len(nibbles)-tail:]) || strings.Contains(squeezed, string(backwards[:tail])) {
		return true
	}
	var seen [8]bool
	n := 0
	for _, run := range runs(name, hexDigits) {
		if len(run) >= few && strings.Trim(run, "0") != "" && strings.Contains(nibbles, run) {
			return true
		}
		number := strings.TrimLeft(run, "0")
		for i := range seen {
			group := strings.TrimLeft(nibbles[i*4:i*4+4], "0")
			if seen[i] || group == "" || number != group {
				continue
			}
			if i == len(seen)-1 && len(run) > 1 {
				return true
			}
			seen[i] = true
			n++
			break
		}
	}
	return n >= 2
}
