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
	"sekimori/internal/mailaddr"
	"sekimori/internal/message"
)

// Traits are signs of indirect mail. Anyone can write most of them: they may
// make a decision milder by one step, never turn a fail into a pass.
type Traits struct {
	// List: the message says it came through a mailing list, by a field that
	// says so (RFC 2919, 2369), or by its structure: see listKinds.
	List bool `json:"list"`
	// Bulk: the message says it went to many (Precedence: bulk or junk), as
	// newsletters do that come directly. It is no sign of indirect mail.
	Bulk bool `json:"bulk"`
	// RewrittenFrom: the author is shown as "somebody via something", as lists
	// do that put an address of their own into From. The author domain is the
	// list's then, and for it to authenticate: no sign of indirect mail.
	RewrittenFrom bool `json:"rewritten_from"`
	// Forwarded: the message says it was forwarded, resent or delivered before.
	Forwarded bool `json:"forwarded"`
	// SRS: the return path was rewritten by a forwarder.
	SRS bool `json:"srs"`
	// ARC: at least one ARC field is there, valid or not.
	ARC bool `json:"arc"`
	// BrokenAuthorSignature: a signature aligned with the author's domain whose
	// key is published, but whose header or body no longer matches, or cannot
	// be known to match because the MTA does not show what was signed.
	BrokenAuthorSignature bool `json:"broken_author_signature"`
	// ThirdPartySignature: a passing signature of another domain.
	ThirdPartySignature bool `json:"third_party_signature"`
	// ListSignature: a passing signature of the domain that the list's own
	// fields name, which is not the author's: there is such a list, and it sent
	// this.
	ListSignature bool `json:"list_signature"`
	// Notification: the message has the null sender, or says that a program
	// sent it of its own accord (Auto-Submitted, RFC 3834), as bounces and
	// replies of absence do.
	Notification bool `json:"notification"`
	// AuthorHost: a notification whose client is a host of the author: its name,
	// which iprev verified, is at or below the Author Domain and has no octets
	// of its address in it. Such mail is often unsigned, and sent by a host
	// whose HELO name has no SPF record.
	AuthorHost bool `json:"author_host"`
	// AuthorRecordBroken: the SPF record of the author's own domain cannot be
	// evaluated (permerror), or a signature by it was refused for its form while
	// its key is published.
	AuthorRecordBroken bool `json:"author_record_broken"`
}

// Indirect reports whether any trait speaks for a list or a forwarder between
// the author and us.
func (t Traits) Indirect() bool {
	return t.List || t.Forwarded || t.SRS || t.ARC || t.BrokenAuthorSignature || t.ListSignature
}

// listFields are those mailing list software adds and direct mail rarely has.
// List-Unsubscribe is not among them: every newsletter has it.
var listFields = []string{"List-Id", "List-Post", "Mailing-List", "X-Mailing-List", "X-BeenThere"}

var forwardFields = []string{
	"Resent-From", "Resent-Sender", "Resent-To", // RFC 5322 §3.6.6
	"X-Forwarded-To", "X-Forwarded-For", // large mailbox providers
	"X-Original-To", "Delivered-To", // written on delivery, so that it was delivered before
}

func traitsOf(h message.Header, mailFrom mailaddr.Path) Traits {
	t := Traits{SRS: isSRS(mailFrom.Local), Notification: isNotification(h, mailFrom)}
	for _, f := range h {
		switch {
		case isAny(f, listFields):
			t.List = true
		case f.Is("Precedence"):
			switch strings.ToLower(strings.TrimSpace(f.Value)) {
			case "list":
				t.List = true
			case "bulk", "junk":
				t.Bulk = true
			}
		case isAny(f, forwardFields):
			t.Forwarded = true
		case f.Is("ARC-Seal"), f.Is("ARC-Message-Signature"):
			t.ARC = true
		}
	}
	return t
}

func isAny(f message.Field, names []string) bool {
	for _, n := range names {
		if f.Is(n) {
			return true
		}
	}
	return false
}

// isSRS recognises the Sender Rewriting Scheme's local parts.
func isSRS(local string) bool {
	if len(local) < 5 {
		return false
	}
	switch strings.ToUpper(local[:5]) {
	case "SRS0=", "SRS0+", "SRS0-", "SRS1=", "SRS1+", "SRS1-":
		return true
	}
	return false
}

// rewritten recognises what lists make of an author they may not speak for:
// "Ann via Gardeners" <gardeners@lists.example>.
func rewritten(from mailaddr.From) bool {
	return slices.ContainsFunc(from.Mailboxes, func(m mailaddr.Mailbox) bool {
		return strings.Contains(strings.ToLower(m.DisplayName), " via ")
	})
}

// maxListDomains bounds the names read out of List-* fields; a list has one.
const maxListDomains = 4

// listDomains returns the domains that List-Id (RFC 2919 §2) and List-Post
// (RFC 2369 §3.4) name.
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

// broken are the reasons of a signature whose key is published, but which does
// not cover the message as it came: changed on the way, with something appended
// past l=, or with a part that the MTA cut off, removed or does not show.
var broken = map[dkim.Reason]bool{
	dkim.ReasonBodyHash: true, dkim.ReasonSignature: true, dkim.ReasonNotVerifiable: true, dkim.ReasonBodyLength: true,
	dkim.ReasonDroppedField: true, dkim.ReasonLeadingSpace: true,
}

// finishTraits adds the signs that need the results. It may look for a key
// until ctx ends.
func (m *Verification) finishTraits(ctx context.Context, e *Evaluation) {
	if e.From.AuthorDomain == "" {
		return
	}
	e.Traits.List = e.Traits.List || isList(m.header, e)
	e.Traits.RewrittenFrom = rewritten(e.From)
	e.Traits.AuthorHost = e.Traits.Notification && isAuthorHost(e.IPRev, e.From.AuthorDomain)
	e.Traits.AuthorRecordBroken = e.DMARC.Result == dmarc.ResultFail && m.authorRecordBroken(ctx, e)
	for _, s := range e.DKIM {
		ofAuthor := s.Domain.Under(e.AuthorScope())
		switch {
		case s.Result == dkim.Pass && s.Domain != "" && !ofAuthor:
			e.Traits.ThirdPartySignature = true
			e.Traits.ListSignature = e.Traits.ListSignature || slices.ContainsFunc(m.lists, func(list dns.Name) bool { return list.Under(s.Domain) })
		case ofAuthor && broken[s.Reason]:
			e.Traits.BrokenAuthorSignature = true
		}
	}
}

// digest names a message by what its author wrote and every host sees alike.
func digest(h message.Header) string {
	var room [512]byte // for most messages
	octets := room[:0]
	for _, name := range []string{"From", "Date", "Message-ID"} {
		for value := range h.All(name) {
			octets = append(append(octets, value...), 0)
		}
	}
	const size = 16 // octets; the digest decides nothing that a collision would open
	sum := sha256.Sum256(octets)
	return hex.EncodeToString(sum[:size])
}
