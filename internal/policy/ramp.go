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
// that a rule puts in its place, is enforced. The others are treated one step
// milder.
//
// The author domain and the message's Digest (From, Date and Message-ID) say
// whether a message is in the share. So each host of a farm, and each retry,
// comes to the same answer, and the draws for two domains do not depend on each
// other. A spoofer can choose all of these facts, and so can search for a
// message outside of the share. By that he gains no more than what every
// message gets at 0 percent, and that is never a pass. At 100 percent there is
// nothing to search for.
type Ramp struct {
	Percent int // 0 to 100
	// Domains has percentages for author domains and the names below them. The
	// longest name counts.
	Domains map[dns.Name]int
}

// percent returns the share for an author domain.
func (r *Ramp) percent(author dns.Name) int {
	for d := author; d != "" && len(r.Domains) > 0; d = d.Parent() {
		if p, ok := r.Domains[d]; ok {
			return p
		}
	}
	return r.Percent
}

// relax makes the verdict one step milder if it follows from the author's
// policy, or from one put in its place, and the message is not in the share.
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

// draw returns a number from 0 to 99, the same for the message on every host.
func draw(e *msgauth.Evaluation) uint64 {
	sum := sha256.Sum256([]byte(string(e.From.AuthorDomain) + "\x00" + e.Digest))
	return binary.BigEndian.Uint64(sum[:]) % 100 // 2^64 is not a multiple of 100, but the bias is too small to matter
}
