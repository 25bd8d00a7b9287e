package config

import (
	"strings"
	"time"

	"sekimori/internal/policy"
)

// Recipients says how to find out whether a recipient agreed that verdicts are
// enforced; see policy.Class.
type Recipients struct {
	Default   policy.Class `yaml:"default"`
	File      string       `yaml:"file"`      // path of the list of recipients who are exceptions from Default
	Socketmap string       `yaml:"socketmap"` // unix:/path:NAME or inet:host:port:NAME
	Timeout   Duration     `yaml:"timeout"`   // time after which a lookup fails
	CacheTTL  Duration     `yaml:"cache_ttl"` // how long answers of the socketmap are kept; 0 for not at all
	Mixed     string       `yaml:"mixed"`     // MixedLenient or MixedSplit
}

// The values of Recipients.Mixed.
const (
	MixedLenient = "lenient"
	MixedSplit   = "split"
)

// Asked reports whether consent must be looked up. No lookup is needed if every
// recipient has the class "in".
func (r Recipients) Asked() bool {
	return r.Default != policy.In || r.File != "" || r.Socketmap != ""
}

// maxConsentTimeout is less than the 10 s that Sendmail waits for the answer to
// RCPT.
const maxConsentTimeout = 5 * time.Second

func defaultRecipients() Recipients {
	return Recipients{
		Default: policy.In, Timeout: Duration(2 * time.Second), CacheTTL: Duration(time.Minute), Mixed: MixedLenient,
	}
}

func (k *checker) recipients(r Recipients) {
	const path = "policy.recipients."
	word(k, path+"default", r.Default, policy.Classes)
	word(k, path+"mixed", r.Mixed, []string{MixedLenient, MixedSplit})
	k.positive(path+"timeout", r.Timeout)
	if time.Duration(r.Timeout) > maxConsentTimeout {
		k.add(path+"timeout", "at most %s: MTAs wait for the answer to RCPT", Duration(maxConsentTimeout))
	}
	k.notNegative(path+"cache_ttl", r.CacheTTL)
	if r.Socketmap != "" {
		k.socketmap(path+"socketmap", r.Socketmap)
	}
}

// socketmap checks the address of a socketmap. Postfix uses the same forms
// after "socketmap:".
func (k *checker) socketmap(path, s string) {
	scheme, rest, _ := strings.Cut(s, ":")
	i := strings.LastIndexByte(rest, ':')
	switch {
	case scheme != "unix" && scheme != "inet", i < 1, i == len(rest)-1, strings.ContainsAny(rest, " \t"):
		k.add(path, "%q is not a socketmap; write unix:/path:NAME or inet:host:port:NAME", s)
	case scheme == "inet":
		k.hostPort(path, rest[:i])
	case rest[0] != '/':
		k.add(path, "%q: the path of a unix socket begins with /", s)
	case i > maxUnixPath:
		k.add(path, "the path of a unix socket has at most %d octets", maxUnixPath)
	}
}
