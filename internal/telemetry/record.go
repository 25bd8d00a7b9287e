package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// maxLogged bounds each stranger's value in the log, in octets.
const maxLogged = 256

// LogEvaluated writes the one record of a message: its queue id first, then
// identities, results, policy, verdict and times, in the RFCs' words.
func LogEvaluated(log *slog.Logger, e *msgauth.Evaluation, v policy.Verdict, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("queue_id", clip(e.Envelope.QueueID)),
		slog.String("client_ip", addr(e.Session)),
		slog.String("client_name", clip(e.Session.ClientName)),
		slog.String("helo", clip(e.Session.HELO)),
		slog.String("mail_from", clip(e.Envelope.MailFrom)),
		slog.Int("recipients", len(e.Envelope.Recipients)),
		slog.String("header_from", string(e.From.AuthorDomain)),
		slog.String("spf", string(e.MailFrom.Result)),
		slog.String("spf_domain", string(e.MailFrom.Domain)),
		slog.String("spf_mechanism", clip(e.MailFrom.Mechanism)),
		slog.String("spf_helo", string(e.HELO.Result)),
		slog.Any("dkim", signatures(e)),
		slog.String("arc", string(e.ARC.Status)),
		slog.String("iprev", string(e.IPRev.Status)),
		slog.String("dmarc", string(e.DMARC.Result)),
		slog.String("policy_domain", string(e.DMARC.PolicyDomain)),
		slog.String("policy", string(e.DMARC.PolicyPublished)),
		slog.Bool("aligned_spf", e.DMARC.AlignedSPF),
		slog.Bool("aligned_dkim", e.DMARC.AlignedDKIM),
		slog.String("verdict", string(v.Action)),
		slog.String("applied", string(v.Applied)),
		slog.Bool("enforced", v.Enforced),
		slog.String("disposition", string(v.Disposition)),
		slog.String("reason", string(v.Reason)),
		slog.String("id", v.ID),
	}
	if len(v.Evidence) > 0 {
		attrs = append(attrs, slog.String("evidence", clip(strings.Join(v.Evidence, "; "))))
	}
	if v.Override != nil {
		attrs = append(attrs, slog.String("override", string(v.Override.Type)), slog.String("override_comment", clip(v.Override.Comment)))
	}
	if e.FromError != nil {
		attrs = append(attrs, slog.String("from_error", clip(e.FromError.Error())))
	}
	attrs = append(attrs,
		slog.Int64("bytes", e.Envelope.Size),
		slog.Int("dns_lookups", e.Lookups()),
		slog.Float64("dns_seconds", e.DNSTime().Seconds()),
		slog.Float64("duration_seconds", took.Seconds()))
	log.LogAttrs(context.Background(), slog.LevelInfo, "evaluated", attrs...)
	for _, p := range e.Panics {
		log.Error("panic", "queue_id", e.Envelope.QueueID, "component", p.Component, "value", p.Value, "stack", p.Stack)
	}
}

// Records is an observer that writes one log record a message.
type Records struct{ Log *slog.Logger }

// Evaluated writes a message's record.
func (r Records) Evaluated(e *msgauth.Evaluation, v policy.Verdict, took time.Duration) {
	LogEvaluated(r.Log, e, v, took)
}

// NotEvaluated writes the record of a message that was skipped, or refused for
// its size.
func (r Records) NotEvaluated(s msgauth.Session, e msgauth.Envelope, v policy.Verdict) {
	r.Log.LogAttrs(context.Background(), slog.LevelInfo, "not evaluated",
		slog.String("queue_id", clip(e.QueueID)),
		slog.String("client_ip", addr(s)),
		slog.String("mail_from", clip(e.MailFrom)),
		slog.String("authenticated", clip(s.Authenticated)),
		slog.String("verdict", string(v.Action)),
		slog.String("applied", string(v.Applied)),
		slog.String("reason", string(v.Reason)),
		slog.String("evidence", clip(strings.Join(v.Evidence, "; "))))
}

// signature is one DKIM result in the log.
type signature struct {
	Result    string `json:"result"`
	Domain    string `json:"d,omitempty"`
	Selector  string `json:"s,omitempty"`
	Algorithm string `json:"a,omitempty"`
	KeyBits   int    `json:"bits,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

func signatures(e *msgauth.Evaluation) []signature {
	out := make([]signature, 0, len(e.DKIM))
	for _, s := range e.DKIM {
		out = append(out, signature{
			Result: string(s.Result), Domain: string(s.Domain), Selector: clip(s.Selector),
			Algorithm: clip(s.Algorithm), KeyBits: s.KeyBits, Reason: string(s.Reason),
		})
	}
	return out
}

func addr(s msgauth.Session) string {
	if !s.Client.IsValid() {
		return "unknown"
	}
	return s.Client.String()
}

func clip(s string) string {
	if len(s) > maxLogged {
		return s[:maxLogged] + "..."
	}
	return s
}
