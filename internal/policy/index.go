package policy

import (
	"net/netip"
	"slices"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
)

// fewRules is the largest number of rules without an index. With so few rules, it
// takes less time to compare a message with all of them than to look rules up.
const fewRules = 16

// index finds the rules that may match a message, so that a message need not be
// compared with thousands of rules. Each rule is filed under the values of one
// of its conditions. A rule cannot match a message if it is certain that this
// condition does not hold.
type index struct {
	names    [nameKeys]map[Pattern][]int32 // numbers of rules, by the patterns of one condition
	networks map[netip.Prefix][]int32      // numbers of rules, by the networks of Conditions.Client
	bits     []int                         // the lengths of these networks
	rest     []int32                       // rules that have none of these conditions
}

// The conditions with patterns, as indices into index.names.
const (
	byAuthor = iota
	byDKIM
	bySPF
	byARCSealer
	byClientName
	nameKeys
)

func (w *Conditions) patternsOf(key int) []Pattern {
	return [nameKeys][]Pattern{byAuthor: w.Author, byDKIM: w.DKIM, bySPF: w.SPF, byARCSealer: w.ARCSealer, byClientName: w.ClientName}[key]
}

// IndexRules prepares c for many rules. The caller must call it again after a
// change of c.Rules. It is not needed for correct verdicts, but without it every
// message is compared with every rule.
func (c *Config) IndexRules() {
	c.index = nil
	if len(c.Rules) > fewRules {
		c.index = newIndex(c.Rules)
	}
}

func newIndex(rules []Rule) *index {
	x := &index{networks: map[netip.Prefix][]int32{}}
	for key := range x.names {
		x.names[key] = map[Pattern][]int32{}
	}
	used := countValues(rules)
	for i := range rules {
		x.file(int32(i), &rules[i].When, used)
	}
	for n := range x.networks {
		if !slices.Contains(x.bits, n.Bits()) {
			x.bits = append(x.bits, n.Bits())
		}
	}
	return x
}

// uses has, for each value of a condition, the number of rules that contain it.
type uses struct {
	names    [nameKeys]map[Pattern]int
	networks map[netip.Prefix]int
}

func countValues(rules []Rule) uses {
	u := uses{networks: map[netip.Prefix]int{}}
	for key := range u.names {
		u.names[key] = map[Pattern]int{}
	}
	for i := range rules {
		w := &rules[i].When
		for key := range nameKeys {
			for _, p := range w.patternsOf(key) {
				u.names[key][p]++
			}
		}
		for _, n := range w.Client {
			u.networks[n.Masked()]++
		}
	}
	return u
}

// file files rule i under its condition whose values occur in the fewest rules.
// For example, if thousands of rules name the same author and different signing
// domains, they are filed under the signing domains.
func (x *index) file(i int32, w *Conditions, used uses) {
	const client = nameKeys
	best, fewest := -1, 0
	choose := func(key, count, values int) {
		if values > 0 && (best < 0 || count < fewest) {
			best, fewest = key, count
		}
	}
	for key := range nameKeys {
		count := 0
		for _, p := range w.patternsOf(key) {
			count += used.names[key][p]
		}
		choose(key, count, len(w.patternsOf(key)))
	}
	count := 0
	for _, n := range w.Client {
		count += used.networks[n.Masked()]
	}
	choose(client, count, len(w.Client))
	switch best {
	case -1:
		x.rest = append(x.rest, i)
	case client:
		for _, n := range w.Client {
			x.networks[n.Masked()] = append(x.networks[n.Masked()], i)
		}
	default:
		for _, p := range w.patternsOf(best) {
			x.names[best][p] = append(x.names[best][p], i)
		}
	}
}

// candidates appends to the slice "room" the numbers of all rules that may match
// the message, in order. If x is nil, all of the "count" rules may match.
func (x *index) candidates(e *msgauth.Evaluation, count int, room []int32) []int32 {
	if x == nil || x.anyMayMatch(e) {
		for i := range count {
			room = append(room, int32(i))
		}
		return room
	}
	room = append(room, x.rest...)
	room = x.client(clientOf(e), room)
	room = x.named(byAuthor, e.From.AuthorDomain, room)
	room = x.named(bySPF, e.MailFrom.Domain, room)
	for _, s := range e.DKIM {
		if s.Result == dkim.Pass || s.Result == dkim.TempError {
			room = x.named(byDKIM, s.Domain, room)
		}
	}
	if newest, ok := newestSet(e); ok {
		room = x.named(byARCSealer, newest.Sealer, room)
	}
	if e.IPRev.Status == iprev.Pass {
		room = x.named(byClientName, e.IPRev.Name, room)
	} else if nameCause(e) != "" {
		for _, n := range e.IPRev.Names {
			room = x.named(byClientName, n, room)
		}
	}
	slices.Sort(room)
	return slices.Compact(room)
}

// anyMayMatch reports whether every rule with a name of some kind may match. This
// is so if the message's names of this kind are unknown because we failed to find
// them, and the index has rules with such names.
func (x *index) anyMayMatch(e *msgauth.Evaluation) bool {
	return len(x.names[byARCSealer]) > 0 && panicked(e, msgauth.ARC) ||
		len(x.names[byClientName]) > 0 && nameCause(e) != "" && len(e.IPRev.Names) == 0 ||
		len(x.names[byDKIM]) > 0 && slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool {
			return s.Result == dkim.TempError && s.Domain == ""
		})
}

// named appends the rules filed under patterns of a condition that match name.
func (x *index) named(key int, name dns.Name, room []int32) []int32 {
	filed := x.names[key]
	if len(filed) == 0 || name == "" {
		return room
	}
	room = append(room, filed[Pattern(name)]...)
	for rest := string(name); ; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return room
		}
		room = append(room, filed[Pattern(rest[dot:])]...)
		rest = rest[dot+1:]
	}
}

func (x *index) client(addr netip.Addr, room []int32) []int32 {
	for _, bits := range x.bits {
		if n, err := addr.Prefix(bits); err == nil {
			room = append(room, x.networks[n]...)
		}
	}
	return room
}

// Shadowing calls f with the number of each rule before rule i that may shadow
// it (see Rule.Shadows), in order, until f returns false.
func (c Config) Shadowing(i int, f func(j int) bool) {
	for _, j := range c.index.coverers(&c.Rules[i].When, i) {
		if int(j) >= i || !f(int(j)) {
			return
		}
	}
}

// coverers returns the numbers of all rules whose filed condition may match every
// message that w matches, in order. If x is nil, these are all rules below
// "count".
func (x *index) coverers(w *Conditions, count int) []int32 {
	var out []int32
	if x == nil {
		for i := range count {
			out = append(out, int32(i))
		}
		return out
	}
	out = append(out, x.rest...)
	for key := range nameKeys {
		// All values of w must be covered, so it is enough to look for one.
		if patterns := w.patternsOf(key); len(patterns) > 0 {
			out = append(out, x.names[key][patterns[0]]...)
			out = x.named(key, dns.Name(strings.TrimPrefix(string(patterns[0]), ".")), out)
		}
	}
	if len(w.Client) > 0 {
		out = x.client(w.Client[0].Addr(), out)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
