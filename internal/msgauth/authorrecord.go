package msgauth

import (
	"context"
	"slices"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/message"
	"sekimori/internal/spf"
)

// refusedForKey lists the reasons of signatures whose key is published but must not be used to
// verify them, and of signatures whose l= is larger than the body.
var refusedForKey = map[dkim.Reason]bool{
	dkim.ReasonKeySyntax: true, dkim.ReasonKeyType: true, dkim.ReasonKeyHash: true, dkim.ReasonKeyService: true,
	dkim.ReasonStrictIdentity: true, dkim.ReasonWeakKey: true, dkim.ReasonLargeKey: true, dkim.ReasonBeyondBody: true,
}

// refusedForForm lists the reasons of signatures that were refused because of the field itself,
// before the key was looked up.
var refusedForForm = map[dkim.Reason]bool{
	dkim.ReasonSyntax: true, dkim.ReasonMissingTag: true, dkim.ReasonVersion: true, dkim.ReasonAlgorithm: true,
	dkim.ReasonAlgorithmSHA1: true, dkim.ReasonCanonicalization: true, dkim.ReasonQueryMethod: true,
	dkim.ReasonDomainMismatch: true, dkim.ReasonFromNotSigned: true, dkim.ReasonTooManyHeaders: true,
}

// maxFormKeys bounds the key lookups for signatures that were refused for their form. An author's
// message has one signature, or one for each algorithm.
const maxFormKeys = 3

// authorRecordBroken reports whether a mistake of the author keeps the message from passing (RFC
// 9989 §7.4): the author's SPF record cannot be evaluated, or the author's signature was refused
// for its form or its key while the key is published. This is only a hint, because a spoofer, too,
// can write a signature that is refused.
func (m *Verification) authorRecordBroken(ctx context.Context, e *Evaluation) bool {
	scope := e.AuthorScope()
	if e.MailFrom.Result == spf.PermError && e.MailFrom.Domain.Under(scope) {
		return true
	}
	var lookups []*dkim.Lookup
	for i := range e.DKIM {
		s := &e.DKIM[i]
		domain, selector := s.Domain, dns.Name(s.Selector)
		if refusedForForm[s.Reason] && selector == "" { // the selector is read after the domain
			domain, selector = looseName(m.header[s.Field].Value)
		}
		switch {
		case !domain.Under(scope):
		case refusedForKey[s.Reason]:
			return true
		case refusedForForm[s.Reason] && selector != "" && len(lookups) < maxFormKeys:
			lookups = append(lookups, m.dkim.Message().WantKeyAt(domain, selector))
		}
	}
	m.dkim.Message().Start(ctx, &m.dkimStage)
	return slices.ContainsFunc(lookups, func(l *dkim.Lookup) bool { return l.Published(ctx) })
}

// looseName reads d= and s= from a signature that may not be a valid tag list. The caller uses the
// result only to find out whether a key is published for that domain and selector.
func looseName(value string) (domain, selector dns.Name) {
	for tag := range strings.SplitSeq(message.Unfold(value), ";") {
		name, text, _ := strings.Cut(tag, "=")
		text = strings.Join(strings.Fields(text), "")
		if strings.HasSuffix(text, ".") {
			continue
		}
		switch strings.TrimSpace(name) {
		case "d":
			if domain == "" {
				domain, _ = dns.ParseHostname(text)
			}
		case "s":
			if below, err := dns.ParseHostname(text + ".x.x"); err == nil && selector == "" {
				selector = below[:len(below)-len(".x.x")]
			}
		}
	}
	return domain, selector
}
