package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/config/strict"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/policy"
)

// The limits of the values of some keys.
const (
	maxUnixPath       = 107 // octets that fit into sockaddr_un
	maxSignaturesCeil = 50  // each signature costs a key lookup and a result in the label
	maxAuthservID     = 255
	maxRecent         = 100_000 // number of decisions; package recent also limits their memory
)

// leastMemory is the smallest value of limits.memory other than 0. It is enough
// for a hundred connections with ordinary messages.
const leastMemory = 16 << 20

// checker collects the problems of a configuration. Each of its methods checks
// a part and adds the problems that it finds.
type checker struct {
	list  []Problem
	words map[string][]string // if not nil, the words that each key allows, by path; see Schema
}

func (k *checker) add(path, format string, args ...any) {
	k.list = append(k.list, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Validate returns an [*Error] that lists every problem, or nil. It is for
// configurations that were made by a program: Load and Parse do the same
// checks.
func (c *Config) Validate() error { return (*strict.Document)(nil).ErrorOf(c.problems()) }

func (c *Config) problems() []Problem {
	k := &checker{}
	c.check(k)
	return k.list
}

func (c *Config) check(k *checker) {
	k.listeners(c.Listen)
	if c.AuthservID != "" {
		k.authservID("authserv_id", c.AuthservID)
	}
	for i, id := range c.AuthservIDAlso {
		k.authservID("authserv_id_also["+strconv.Itoa(i)+"]", id)
	}
	word(k, "mode", c.Mode, policy.Modes)
	k.relays(c.Trusted.Relays)
	k.dns(c.DNS)
	k.between("dkim.max_signatures", c.DKIM.MaxSignatures, 1, maxSignaturesCeil)
	k.between("dkim.min_rsa_bits", c.DKIM.MinRSABits, dkim.Options{}.WithDefaults().MinRSABits, dkim.MaxRSABits)
	word(k, "dkim.body_length", c.DKIM.BodyLength, dkim.BodyLengthPolicies)
	k.clockSkew(c.DKIM.ClockSkew)
	word(k, "dmarc.organizational_domain", c.DMARC.OrganizationalDomain, dmarc.Methods)
	if c.DMARC.OrganizationalDomain == dmarc.PSL && c.DMARC.PSLFile == "" {
		k.add("dmarc.organizational_domain", "psl needs dmarc.psl_file, the public suffix list to use")
	}
	k.bimi(c.BIMI)
	k.policy(c.Policy)
	k.recipients(c.Policy.Recipients)
	k.headers(c.Headers)
	k.overrides(c)
	k.ramp(c.Policy.Ramp)
	k.watch(c)
	k.store(c.Store)
	k.ledger(c.Ledger)
	k.history(c.History)
	k.geo(c.Geo)
	k.stats(c.Stats)
	k.report(c)
	if c.Admin.Listen != "" {
		k.hostPort("admin.listen", c.Admin.Listen)
	}
	k.between("admin.recent", c.Admin.Recent, 0, maxRecent)
	word(k, "log.format", c.Log.Format, []string{"json", "text"})
	word(k, "log.level", c.Log.Level, []string{"debug", "info", "warn", "error"})
	word(k, "log.privacy", c.Log.Privacy, []string{PrivacyFull, PrivacyLocalParts})
	k.limits(c)
}

func (k *checker) listeners(listen []Listener) {
	if len(listen) == 0 {
		k.add("listen", "name at least one address")
	}
	seen := map[string]bool{}
	for i, l := range listen {
		path := "listen[" + strconv.Itoa(i) + "]"
		if seen[l.Address] {
			k.add(path, "%q is listed twice", l.Address)
		}
		seen[l.Address] = true
		k.listener(path, l)
	}
}

func (k *checker) listener(path string, l Listener) {
	scheme, rest, _ := strings.Cut(l.Address, ":")
	switch scheme {
	case "inet", "inet6":
		if port, host, ok := strings.Cut(rest, "@"); ok { // the form of Sendmail, port@host
			rest = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		k.hostPort(path, rest)
	case "unix", "local":
		switch {
		case !strings.HasPrefix(rest, "/"):
			k.add(path, "%q: the path of a unix socket begins with /", l.Address)
		case len(rest) > maxUnixPath:
			k.add(path, "the path of a unix socket has at most %d octets", maxUnixPath)
		}
		return
	case "systemd":
	default:
		k.add(path, "%q is not a place to listen; write inet:127.0.0.1:8891, inet6:[::1]:8891, "+
			"unix:/run/sekimori/milter.sock or systemd:NAME", l.Address)
	}
	if l.Mode != 0 || l.Group != "" {
		k.add(path, "mode and group are for unix: sockets only")
	}
}

func (k *checker) relays(relays []Relay) {
	for i, r := range relays {
		if !r.Network.IsValid() {
			k.add("trusted.relays["+strconv.Itoa(i)+"]", "name the network of the relay: {network: 192.0.2.7, by: [mx2.example.jp]}")
		}
	}
}

// hostPort adds a problem if s is not HOST:PORT. Port 0 is allowed; the
// operating system then chooses a port.
func (k *checker) hostPort(path, s string) {
	host, port, _ := net.SplitHostPort(s) // beside an error the port is "", which is no number
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
		k.add(path, "%q is not HOST:PORT, such as 127.0.0.1:8891 or [::1]:8891", s)
		return
	}
	if strings.ContainsAny(host, " \t/\\\"'") {
		k.add(path, "%q is not a host", host)
	}
}

// authservID adds a problem if id cannot be written into a header without
// quotes. Some programs do not find an authserv-id in quotes (RFC 8601 §2.5).
func (k *checker) authservID(path, id string) {
	switch {
	case len(id) > maxAuthservID:
		k.add(path, "longer than %d octets", maxAuthservID)
	case strings.ContainsFunc(id, notHostname) || slices.Contains(strings.Split(id, "."), ""): // the second condition finds an empty label
		k.add(path, "%q is not a host name; write one, such as mx.example.jp, in ASCII", id)
	}
}

// notHostname reports whether a host name cannot contain r.
func notHostname(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

func (k *checker) policy(p Policy) {
	word(k, "policy.reject", p.Reject, policy.RejectRules)
	word(k, "policy.quarantine", p.Quarantine, policy.QuarantineRules)
	word(k, "policy.learned", p.Learned, policy.LearnedRules)
	word(k, "policy.none", p.None, policy.NoneActions)
	word(k, "policy.no_policy", p.NoPolicy, policy.UnauthenticatedActions)
	word(k, "policy.spf_fail", p.SPFFail, policy.UnauthenticatedActions)
	word(k, "policy.temperror", p.TempError, policy.TempErrorActions)
	word(k, "policy.temperror_unknown", p.TempErrorUnknown, policy.TempErrorActions)
	word(k, "policy.invalid_from", p.InvalidFrom, policy.InvalidFromActions)
	k.reply(p.Reply)
}

func (k *checker) limits(c *Config) {
	k.atLeastOne("limits.max_sessions", int64(c.Limits.MaxSessions))
	k.positive("limits.idle_timeout", c.Limits.IdleTimeout)
	k.atLeastOne("limits.header_fields", int64(c.Limits.HeaderFields))
	k.atLeastOne("limits.header_bytes", int64(c.Limits.HeaderBytes))
	k.atLeastOne("limits.recipients", int64(c.Limits.Recipients))
	if m := c.Limits.Memory; m != 0 && m < leastMemory {
		k.add("limits.memory", "%s is too small; it must be at least %s, or 0 for no budget", m, Size(leastMemory))
	}
	k.notNegative("limits.shown_wait", c.Limits.ShownWait)
	k.notNegative("drain_timeout", c.DrainTimeout)
}

// word adds a problem if got is not one of the words.
func word[T ~string](k *checker, path string, got T, words []T) {
	if k.words != nil {
		for _, w := range words {
			k.words[path] = append(k.words[path], string(w))
		}
	}
	if !slices.Contains(words, got) {
		k.add(path, "%q is not known; write %s", got, strict.OneOf(words))
	}
}

// words adds a problem for each item of a list that is not one of the known
// words.
func words[T ~string](k *checker, path string, got, known []T) {
	for i, w := range got {
		word(k, path+"["+strconv.Itoa(i)+"]", w, known)
	}
}

func (k *checker) between(path string, got, low, high int) {
	if got < low || got > high {
		k.add(path, "%d is not between %d and %d", got, low, high)
	}
}

func (k *checker) atLeastOne(path string, got int64) {
	if got < 1 {
		k.add(path, "%d is too small; it must be at least 1", got)
	}
}

func (k *checker) positive(path string, got Duration) {
	if got <= 0 {
		k.add(path, "%s is too short; it must be more than 0s", got)
	}
}

// maxClockSkew is the largest value of dkim.clock_skew. A clock that is wrong
// by more than a day is broken, and with a larger value x= would have no
// effect.
const maxClockSkew = 24 * time.Hour

func (k *checker) clockSkew(d Duration) {
	if d < 0 || time.Duration(d) > maxClockSkew {
		k.add("dkim.clock_skew", "%s is not between 0s and %s", d, Duration(maxClockSkew))
	}
}

func (k *checker) notNegative(path string, got Duration) {
	if got < 0 {
		k.add(path, "%s is negative", got)
	}
}
