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

// Ramp is the share of failing messages on which the author's policy, or one
// that a rule puts in its place, is enforced. The rest is treated one step
// milder.
//
// Which messages those are follows from the author domain and the message's
// Digest (From, Date and Message-ID): each host of a farm, and each retry,
// comes to the same answer, and the shares of two domains are drawn apart. All
// of these facts are the sender's to choose, as is everything that does not
// change from host to host, so that a spoofer can search for a message outside
// of the share. What he wins is what every message gets at 0 percent, which is
// never a pass; at 100 percent there is nothing to search for.
type Ramp struct {
	Percent int // 0 to 100
	// Domains have percentages of their own, for author domains and what is
	// below them; the longest name counts.
	Domains map[dns.Name]int
}

// percent is the share for an author domain.
func (r *Ramp) percent(author dns.Name) int {
	for d := author; d != "" && len(r.Domains) > 0; d = d.Parent() {
		if p, ok := r.Domains[d]; ok {
			return p
		}
	}
	return r.Percent
}

// relax makes the verdict one step milder if the author's policy, or one put in
// its place, led to it and the message is not in the enforced share.
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

// draw is a number from 0 to 99 that the message has on every host.
func draw(e *msgauth.Evaluation) uint64 {
	sum := sha256.Sum256([]byte(string(e.From.AuthorDomain) + "\x00" + e.Digest))
	return binary.BigEndian.Uint64(sum[:]) % 100 // the bias of 2^64 mod 100 is nothing
}
