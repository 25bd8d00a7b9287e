package ledger

import (
	"math/bits"
	"net/netip"
	"slices"

	"sekimori/internal/dns"
)

// What has to be known of an author domain before anything is called usual.
const (
	UsualDays     = 30  // the days that count, today included
	LeastDays     = 14  // days with passing mail among them
	LeastMessages = 200 // passing messages
	// perUnsigned is how many passing messages there are for each one that passed without an aligned
	// signature: 99.5 % passed with one.
	perUnsigned = 200
	// MaxUsual is how many networks an author domain may have. One with more, such as a provider of
	// mailboxes, has new ones all the time.
	MaxUsual = 64
	// LeastSourceDays is on how many days a network must have delivered mail that passed.
	LeastSourceDays = 3
)

// Usual is what is usual for an author domain. The zero value knows nothing.
type Usual struct {
	Domain dns.Name
	Days   int   // of the last UsualDays, on which mail passed
	Pass   int64 // messages in these days, and the other numbers as [Author] has them
	Signed int64
	Both   int64
	// Networks has the networks that delivered passing mail in the last KeepSources days, in ascending
	// order. There are at most MaxUsual+1; that many mean "too many".
	Networks []Network
}

// Network is one of an author domain's networks.
type Network struct {
	Prefix netip.Prefix
	Days   uint8 // of the last UsualDays, on which mail passed
}

// AlwaysSigns reports whether practically all passing mail of the domain had an aligned signature that passed.
//
// Who sends signed messages of the domain again can add passes by signature, but none by SPF. So those
// that passed by both must outnumber those that passed by SPF alone as well.
func (u *Usual) AlwaysSigns() bool {
	alone := u.Pass - u.Signed
	return u.Days >= LeastDays && u.Pass >= LeastMessages && alone*perUnsigned <= u.Pass && alone*perUnsigned <= u.Both+alone
}

// KnowsNetworks reports whether the domain has few enough networks, seen for long enough, that a network
// which is none of them says something.
func (u *Usual) KnowsNetworks() bool {
	return u.Days >= LeastDays && len(u.Networks) > 0 && len(u.Networks) <= MaxUsual
}

// Network returns on how many days of the last UsualDays the network of the address delivered passing
// mail, and whether it is known at all.
func (u *Usual) Network(client netip.Addr) (days int, known bool) {
	p := NetworkOf(client)
	i, known := slices.BinarySearchFunc(u.Networks, p, func(n Network, p netip.Prefix) int { return n.Prefix.Compare(p) })
	if !known {
		return 0, false
	}
	return int(u.Networks[i].Days), true
}

// Sum makes the Usual of an author domain out of its days and sources. Days after today do not count.
func (u *Usual) Sum(days []Author, sources []Source, today Day) {
	for _, a := range days {
		if a.Day > today || a.Day <= today-UsualDays || a.Pass == 0 {
			continue
		}
		u.Days++
		u.Pass, u.Signed, u.Both = u.Pass+a.Pass, u.Signed+a.Signed, u.Both+a.Both
	}
	for _, s := range sources {
		if s.Last > today || s.Last <= today-KeepSources {
			continue
		}
		u.Networks = append(u.Networks, Network{s.Network, uint8(s.Within(today, UsualDays))}) //nolint:gosec // at most 30
	}
	slices.SortFunc(u.Networks, func(a, b Network) int { return a.Prefix.Compare(b.Prefix) })
	if len(u.Networks) > MaxUsual+1 {
		u.Networks = u.Networks[:MaxUsual+1]
	}
}

// The lengths of the networks that are told apart. Within one, a sender often uses several addresses.
const (
	v4Bits = 24
	v6Bits = 48
)

// NetworkOf returns the network of a client: the /24 of an IPv4 address, the /48 of an IPv6 address. It
// is not valid if the address is not.
func NetworkOf(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	length := v6Bits
	if client.Is4() {
		length = v4Bits
	}
	p, _ := client.Prefix(length)
	return p
}

// Within returns on how many of the n days up to today the source delivered mail.
func (s *Source) Within(today Day, n int) int {
	ago := int64(today) - int64(s.Last)
	if ago < 0 || ago >= int64(n) {
		return 0
	}
	return bits.OnesCount64(uint64(s.Days) & (1<<(int64(n)-ago) - 1))
}

// Merge returns what is known of a source after another batch told of it.
func (s Source) Merge(o Source) Source {
	if o.Last > s.Last {
		s, o = o, s
	}
	s.Days = (s.Days | o.Days<<(int64(s.Last)-int64(o.Last))) & dayBits
	return s
}
