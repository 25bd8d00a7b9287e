package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
)

// Ramp is the share of failing messages on which a policy is enforced: the
// author's policy, or the policy that a rule uses instead. The other messages
// are treated one step milder.
//
// The author domain and the message's Digest (made from From, Date and
// Message-ID) determine whether a message is in the share. So the answer is the
// same on all hosts of a site, and for each retry of a message. The answers for
// two domains are independent of each other.
//
// A spoofer chooses all of these values, and so can search for a message that
// is outside of the share. This message gets the treatment that every message
// gets at 0 percent, which is never milder than a tag. At 100 percent no
// message is outside of the share.
type Ramp struct {
	Percent int // 0 to 100
	// Domains maps a domain to the percentage for authors at or below it. If
	// several domains match, the longest one is used.
	Domains map[dns.Name]int
}

// percent returns the percentage for an author domain.
func (r *Ramp) percent(author dns.Name) int {
	for d := author; d != "" && len(r.Domains) > 0; d = d.Parent() {
		if p, ok := r.Domains[d]; ok {
			return p
		}
	}
	return r.Percent
}

// relax makes the verdict one step milder if the message is not in the share,
// and the verdict follows from the author's policy or from the policy that a
// rule uses instead.
func (v *Verdict) relax(e *msgauth.Evaluation, r *Ramp) {
	if r == nil || (v.Action != Reject && v.Action != Quarantine) {
		return
	}
	switch v.Reason {
	case ReasonReject, ReasonIndirect, ReasonLocalReject, ReasonQuarantine:
	default:
		return
	}
	percent := r.percent(e.From.AuthorDomain)
	if draw(e) < uint64(percent) {
		return
	}
	if v.Action == Reject {
		v.Action, v.Disposition, v.Reply = Quarantine, dmarc.PolicyQuarantine, smtp.Reply{}
	} else {
		v.Action, v.Disposition = Tag, dmarc.PolicyNone
	}
	v.Reason, v.Relaxed = ReasonRamp, true
	comment := fmt.Sprintf("ramp: %d percent are enforced", percent)
	v.note(OverrideLocalPolicy, comment)
}

// draw returns a number from 0 to 99 for the message. It is the same on every
// host.
func draw(e *msgauth.Evaluation) uint64 {
	sum := sha256.Sum256([]byte(string(e.From.AuthorDomain) + "\x00" + e.Digest))
	return binary.BigEndian.Uint64(sum[:]) % 100 // 2^64 is not a multiple of 100, but the bias is too small to matter
}
