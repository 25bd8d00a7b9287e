package policy

import (
	"cmp"
	"slices"

	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/smtp"
)

func hasAuthor(e *msgauth.Evaluation) bool { return e.FromError == nil && e.From.AuthorDomain != "" }

// pass decides on a message in which the author's domain authenticated. It is
// accepted, unless the display name is only an address of another domain. Then
// it is tagged, because many mail clients show only the display name.
func (v *Verdict) pass(e *msgauth.Evaluation) {
	v.Action, v.Reason = Accept, ReasonAligned
	if slices.Contains(e.From.Notes, author.NoteOtherName) {
		v.Action, v.Reason = Tag, ReasonOtherName
	}
}

// invalidFrom decides on a message without a single author. RFC 9989 §4.2
// leaves such messages out of its scope and §11.5 warns of them, so
// policy.invalid_from decides.
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

// isNamelessBounce reports whether the message is a notification whose From is
// only a word, such as MAILER-DAEMON. Such a From claims no domain. A refused
// notification would be lost without notice, because a server must not send
// another notification about it (RFC 5321 §4.5.5, §6.1).
func isNamelessBounce(e *msgauth.Evaluation) bool {
	return e.MailFrom.NullSender && e.FromError != nil && e.FromError.Kind == author.KindNoAddress
}
