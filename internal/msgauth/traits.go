package msgauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/iprev"
	"sekimori/internal/lookalike"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/message"
	"sekimori/internal/spf"
	"sekimori/internal/trait"
)

// Has reports whether the message has the trait t.
func (e *Evaluation) Has(t trait.Trait) bool {
	switch t {
	case trait.AuthorSPFFail:
		return e.MailFrom.Result == spf.Fail && e.MailFrom.Domain.Under(e.AuthorScope())
	case trait.IPRevFail:
		return e.IPRev.Status == iprev.Fail
	case trait.ClientUnknown:
		return e.Session.Unknown()
	}
	return e.Traits.Has(t)
}

// detector reports whether a message has one trait. It is called at the end of the message, when
// every other part of e is known. It may look up DKIM keys until ctx ends.
type detector func(ctx context.Context, m *Verification, e *Evaluation) bool

// detectors has an entry for each trait that a trait.Set holds. Evaluation.Has computes the other
// traits from the results.
var detectors = map[trait.Trait]detector{
	trait.List: func(_ context.Context, m *Verification, e *Evaluation) bool {
		return hasListField(m.header) || hasAuthor(e) && isList(m.header, e)
	},
	trait.ListSignature: func(_ context.Context, m *Verification, e *Evaluation) bool {
		lists := listDomains(m.header)
		return slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool {
			return isThirdParty(&s, e) && slices.ContainsFunc(lists, func(list dns.Name) bool { return list.Under(s.Domain) })
		})
	},
	trait.ARC: func(_ context.Context, m *Verification, _ *Evaluation) bool {
		return m.header.Has("ARC-Seal") || m.header.Has("ARC-Message-Signature")
	},
	trait.BrokenAuthorSignature: func(_ context.Context, _ *Verification, e *Evaluation) bool {
		return slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool {
			return hasAuthor(e) && s.Domain.Under(e.AuthorScope()) && IsBroken(s.Reason)
		})
	},
	trait.SRS: func(_ context.Context, m *Verification, _ *Evaluation) bool {
		return mailaddr.IsSRS(m.path.Local)
	},
	trait.Forwarded: func(_ context.Context, m *Verification, _ *Evaluation) bool {
		return slices.ContainsFunc(m.header, func(f message.Field) bool { return isAny(f, forwardFields) })
	},
	trait.AuthorHost: func(_ context.Context, m *Verification, e *Evaluation) bool {
		return isNotification(m.header, m.path) && isAuthorHost(e.IPRev, e.From.AuthorDomain)
	},
	trait.AuthorRecordBroken: func(ctx context.Context, m *Verification, e *Evaluation) bool {
		return hasAuthor(e) && e.DMARC.Result == dmarc.ResultFail && m.authorRecordBroken(ctx, e)
	},
	trait.Bulk: func(_ context.Context, m *Verification, _ *Evaluation) bool {
		return isBulk(m.header)
	},
	trait.RewrittenFrom: func(_ context.Context, _ *Verification, e *Evaluation) bool {
		return hasAuthor(e) && rewritten(e.From)
	},
	trait.ThirdPartySignature: func(_ context.Context, _ *Verification, e *Evaluation) bool {
		return slices.ContainsFunc(e.DKIM, func(s dkim.Signature) bool { return isThirdParty(&s, e) })
	},
	trait.Notification: func(_ context.Context, m *Verification, _ *Evaluation) bool {
		return isNotification(m.header, m.path)
	},
	trait.Lookalike: func(_ context.Context, _ *Verification, e *Evaluation) bool {
		return e.Watch != nil && e.Watch.Lookalike != ""
	},
}

// findTraits fills in e.Traits.
func (m *Verification) findTraits(ctx context.Context, e *Evaluation) {
	for t, found := range detectors {
		if found(ctx, m, e) {
			e.Traits.Add(t)
		}
	}
}

// watch compares the author with the watched domains. It returns nil if the author has nothing to do with
// one.
func (m *Verification) watch(from author.From) *lookalike.Finding {
	w := m.c.v.o.Watch
	if w == nil {
		return nil
	}
	var displays []string
	for _, box := range from.Mailboxes {
		displays = append(displays, box.DisplayName)
	}
	return w.Match(from.AuthorDomain, displays)
}

// hasAuthor reports whether the message names an author. Without an author, no domain counts as the
// author's or as a third party's.
func hasAuthor(e *Evaluation) bool { return e.From.AuthorDomain != "" }

// isThirdParty reports whether s is a passing signature of a domain that is not
// the author's. Without an author, every domain is under the author's scope, which is then the root.
func isThirdParty(s *dkim.Signature, e *Evaluation) bool {
	return s.Result == dkim.Pass && s.Domain != "" && !s.Domain.Under(e.AuthorScope())
}

// listFields are the fields that mailing list software adds and that direct mail rarely has.
// List-Unsubscribe is not among them, because newsletters have it too.
var listFields = []string{"List-Id", "List-Post", "Mailing-List", "X-Mailing-List", "X-BeenThere"}

var forwardFields = []string{
	"Resent-From", "Resent-Sender", "Resent-To", // RFC 5322 §3.6.6
	"X-Forwarded-To", "X-Forwarded-For", // written by large mailbox providers
	"X-Original-To", "Delivered-To", // written on delivery, so the message was delivered before
}

// hasListField reports whether the message has one of listFields, or "Precedence: list".
func hasListField(h message.Header) bool {
	return hasPrecedence(h, "list") || slices.ContainsFunc(h, func(f message.Field) bool { return isAny(f, listFields) })
}

// isBulk reports whether the message says that it went to many recipients.
func isBulk(h message.Header) bool { return hasPrecedence(h, "bulk", "junk") }

// hasPrecedence reports whether a Precedence field has one of these values.
func hasPrecedence(h message.Header, values ...string) bool {
	for value := range h.All("Precedence") {
		if slices.Contains(values, strings.ToLower(strings.TrimSpace(value))) {
			return true
		}
	}
	return false
}

func isAny(f message.Field, names []string) bool {
	for _, n := range names {
		if f.Is(n) {
			return true
		}
	}
	return false
}

// rewritten reports whether a display name in From contains " via ", as in "Ann via Gardeners"
// <gardeners@lists.example>. Lists write such a name when they replace the author's address by
// their own, because the author's policy forbids the original.
func rewritten(from author.From) bool {
	return slices.ContainsFunc(from.Mailboxes, func(m author.Mailbox) bool {
		return strings.Contains(strings.ToLower(m.DisplayName), " via ")
	})
}

// maxListDomains bounds the names that are read from List-Id and List-Post. A real list has one.
const maxListDomains = 4

// listDomains returns the domains that List-Id (RFC 2919 §2) and List-Post (RFC 2369 §3.4) contain.
func listDomains(h message.Header) []dns.Name {
	var out []dns.Name
	for _, f := range h {
		if len(out) == maxListDomains {
			break
		}
		if !f.Is("List-Id") && !f.Is("List-Post") {
			continue
		}
		_, value, ok := strings.Cut(message.Unfold(f.Value), "<")
		value, _, closed := strings.Cut(value, ">")
		if !ok || !closed {
			continue
		}
		value, _, _ = strings.Cut(value, "?") // <mailto:list@lists.example?subject=x>
		value = value[strings.LastIndexByte(value, '@')+1:]
		if name, err := dns.ParseHostname(strings.TrimSpace(value)); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// IsBroken reports whether r is the reason of a signature that does not match the message as
// received, although its key is published. Either the message was changed on the way, or text was
// appended after the part that l= covers, or the MTA removed, cut off or hid a signed part.
func IsBroken(r dkim.Reason) bool {
	switch r {
	case dkim.ReasonBodyHash, dkim.ReasonSignature, dkim.ReasonNotVerifiable, dkim.ReasonBodyLength,
		dkim.ReasonDroppedField, dkim.ReasonLeadingSpace:
		return true
	}
	return false
}

// digest identifies a message by fields that its author wrote. Relays rarely change these fields,
// so the digest is usually the same on every host.
func digest(h message.Header) string {
	var buffer [512]byte // large enough for most messages
	octets := buffer[:0]
	for _, name := range []string{"From", "Date", "Message-ID"} {
		for value := range h.All(name) {
			octets = append(append(octets, value...), 0)
		}
	}
	const size = 16 // octets; a collision is harmless, because no decision depends on the digest
	sum := sha256.Sum256(octets)
	return hex.EncodeToString(sum[:size])
}
