package policy

import (
	"cmp"
	"slices"

	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
)

func hasAuthor(e *msgauth.Evaluation) bool { return e.FromError == nil && e.From.AuthorDomain != "" }

// pass: an identifier of the author authenticated. A display name that is nothing
// but an address of another domain misleads the many who see no more than the
// name, so that the message is tagged; the author is still who he says.
func (v *Verdict) pass(e *msgauth.Evaluation) {
	v.Action, v.Reason = Accept, ReasonAligned
	if slices.Contains(e.From.Notes, author.NoteOtherName) {
		v.Action, v.Reason = Tag, ReasonOtherName
	}
}

// invalidFrom: RFC 9989 §4.2 leaves such messages out of its scope and §11.5
// warns of them, so that local policy must decide.
func (v *Verdict) invalidFrom(e *msgauth.Evaluation, c Config) {
	cause := "it names no author"
	if e.FromError != nil {
		cause = cmp.Or(e.FromError.Detail, cause)
		v.Evidence = append(v.Evidence, e.FromError.Text())
	}
	v.Action, v.Reason = c.InvalidFrom, ReasonInvalidFrom
	if isNamelessBounce(e) {
		v.Action, v.Reason = Tag, ReasonNamelessBounce
	}
	v.Reply = smtp.New(smtp.CodeRefused, smtp.EnhancedRefused, "From header field refused: "+cause+" ("+v.ID+")")
}

// isNamelessBounce reports a notification whose From is a word such as
// MAILER-DAEMON. It borrows nobody's domain, and refusing it loses it for good,
// for nobody is told of it (RFC 5321 §4.5.5, §6.1).
func isNamelessBounce(e *msgauth.Evaluation) bool {
	return e.MailFrom.NullSender && e.FromError != nil && e.FromError.Kind == author.KindNoAddress
}
