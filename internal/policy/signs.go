package policy

import (
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/spf"
)

// Sign is a piece of evidence in a message that fails DMARC; the words are
// those of the log and of the label.
type Sign string

// What speaks for a direct spoof.
const (
	SignAuthorSPFFail Sign = "author_spf_fail" // SPF fail of the author's own domain
	SignIPRevFail     Sign = "iprev_fail"      // the client's reverse name does not point back
)

// What speaks for indirect mail, or against a verdict on what nobody can know:
// see msgauth.Traits for those that are not explained here.
const (
	SignList                  Sign = "list"
	SignListSignature         Sign = "list_signature"
	SignARC                   Sign = "arc"
	SignBrokenAuthorSignature Sign = "broken_author_signature"
	SignSRS                   Sign = "srs"
	SignForwarded             Sign = "forwarded"
	SignAuthorHost            Sign = "author_host"
	SignAuthorRecordBroken    Sign = "author_record_broken"
	SignClientUnknown         Sign = "client_unknown" // see msgauth.Session.Unknown
)

// SpoofingSigns and IndirectSigns list every sign.
var (
	SpoofingSigns = []Sign{SignAuthorSPFFail, SignIPRevFail}
	IndirectSigns = []Sign{SignList, SignListSignature, SignARC, SignBrokenAuthorSignature, SignSRS, SignForwarded, SignAuthorHost, SignAuthorRecordBroken, SignClientUnknown}
)

// signs lists what speaks for direct spoofing and what for indirect mail.
func signs(e *msgauth.Evaluation) (spoofing, indirect []Sign) {
	if e.MailFrom.Result == spf.Fail && e.MailFrom.Domain.Under(e.AuthorScope()) {
		spoofing = append(spoofing, SignAuthorSPFFail)
	}
	if e.IPRev.Status == iprev.Fail {
		spoofing = append(spoofing, SignIPRevFail)
	}
	for _, t := range []struct {
		is   bool
		sign Sign
	}{
		{e.Traits.List, SignList},
		{e.Traits.ListSignature, SignListSignature},
		{e.Traits.ARC, SignARC},
		{e.Traits.BrokenAuthorSignature, SignBrokenAuthorSignature},
		{e.Traits.SRS, SignSRS},
		{e.Traits.Forwarded, SignForwarded},
		{e.Traits.AuthorHost, SignAuthorHost},
		{e.Traits.AuthorRecordBroken, SignAuthorRecordBroken},
		{e.Session.Unknown(), SignClientUnknown},
	} {
		if t.is {
			indirect = append(indirect, t.sign)
		}
	}
	return spoofing, indirect
}
