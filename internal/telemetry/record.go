package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/printable"
)

// maxLogged is the largest length of a value in the log that the sender chose, in octets.
const maxLogged = 256

// record is a log record that is being written. Its methods add attributes, in the order in
// which they appear in the log.
type record interface {
	str(key, value string)
	client(msgauth.Session)
	num(key string, value int64)
	seconds(key string, value time.Duration)
	flag(key string, value bool)
	signatures(key string, value []dkim.Signature)
}

// evaluated adds the attributes for a message that was evaluated: first the queue id,
// then identities, results, policy, verdict and times. Results are written in the words
// of the RFCs.
func evaluated(r record, d *judge.Decision, took time.Duration) {
	e, v := d.Evaluation, &d.Verdict
	r.str("queue_id", clip(e.Envelope.QueueID))
	r.client(e.Session)
	relay(r, e.Session)
	r.str("client_name", clip(e.Session.ClientName))
	r.str("helo", clip(e.Session.HELO))
	r.str("mail_from", clip(e.Envelope.MailFrom))
	r.num("recipients", int64(len(e.Envelope.Recipients)))
	r.str("header_from", string(e.From.AuthorDomain))
	r.str("spf", string(e.MailFrom.Result))
	r.str("spf_domain", string(e.MailFrom.Domain))
	r.str("spf_mechanism", clip(e.MailFrom.Mechanism))
	r.str("spf_helo", string(e.HELO.Result))
	r.signatures("dkim", e.DKIM)
	r.str("arc", chainWord(e.ARC.Status))
	if sealer := newestSealer(e); sealer != "" {
		r.str("arc_sealer", string(sealer))
	}
	r.str("iprev", string(e.IPRev.Status))
	if e.IPRev.Name != "" {
		r.str("iprev_name", clip(string(e.IPRev.Name)))
	}
	r.str("dmarc", string(e.DMARC.Result))
	r.str("policy_domain", string(e.DMARC.PolicyDomain))
	r.str("policy", string(e.DMARC.PolicyPublished))
	r.flag("aligned_spf", e.DMARC.AlignedSPF)
	r.flag("aligned_dkim", e.DMARC.AlignedDKIM)
	addMark(r, e, v)
	r.str("verdict", string(v.Action))
	r.str("applied", string(v.Applied))
	r.flag("enforced", v.Enforced)
	r.str("disposition", string(v.Disposition))
	r.str("reason", string(v.Reason))
	r.str("id", v.ID)
	if len(v.Evidence) > 0 {
		r.str("evidence", clip(strings.Join(v.Evidence, "; ")))
	}
	if len(v.Missing) > 0 {
		r.str("not_decided", words(v.Missing, ", "))
	}
	if len(v.Spoofing) > 0 {
		r.str("spoofing", words(v.Spoofing, " "))
	}
	if len(v.Indirect) > 0 {
		r.str("indirect", words(v.Indirect, " "))
	}
	if len(v.Learned) > 0 {
		r.str("learned", words(v.Learned, " "))
	}
	if v.Rule != "" {
		r.str("rule", v.Rule)
	}
	if v.Override != nil {
		r.str("override", string(v.Override.Type))
		r.str("override_comment", clip(v.Override.Comment))
	}
	if v.Consent.Asked() {
		r.num("consent_in", int64(v.Consent.In))
		r.num("consent_out", int64(v.Consent.Out))
	}
	if v.Would != "" {
		r.str("would", string(v.Would))
	}
	if e.FromError != nil {
		r.str("from_error", clip(e.FromError.Text()))
	}
	r.num("bytes", e.Envelope.Size)
	r.num("dns_lookups", int64(e.Lookups()))
	r.seconds("dns_seconds", e.DNSTime())
	r.seconds("duration_seconds", took)
}

// notEvaluated adds the attributes for a message that was skipped or over a limit.
func notEvaluated(r record, d *judge.Decision) {
	v := &d.Verdict
	r.str("queue_id", clip(d.Envelope.QueueID))
	r.client(d.Session)
	relay(r, d.Session)
	r.str("mail_from", clip(d.Envelope.MailFrom))
	r.str("authenticated", clip(d.Session.Authenticated))
	r.str("verdict", string(v.Action))
	r.str("applied", string(v.Applied))
	r.str("reason", string(v.Reason))
	r.str("evidence", clip(strings.Join(v.Evidence, "; ")))
}

// relay adds the attributes for a message that a relay handed on. The attributes of the client
// are then from the relay's Received field.
func relay(r record, s msgauth.Session) {
	if s.Relay.IsValid() {
		r.str("relay_ip", s.Relay.String())
		r.str("relay_line", string(s.RelayLine))
	}
}

// Records is an observer that writes the log records of each message.
type Records struct {
	Log *slog.Logger
	// MaskLocalParts says that user names and local parts are masked in all records (see
	// Masked).
	MaskLocalParts bool
	// Probe says that the messages are those of probes. Their records have the attribute
	// probe=true.
	Probe bool
}

// Decided implements filter.Observer. It writes one record about the message, one if the
// candidate policy decided differently, and one for each panic.
func (r Records) Decided(d *judge.Decision, took time.Duration) {
	if r.MaskLocalParts {
		d = Masked(d)
	}
	if d.Evaluation == nil {
		r.write("not evaluated", func(to record) {
			notEvaluated(to, d)
			r.mark(to)
		})
		return
	}
	if d.Shadow != nil && !r.Probe {
		r.compared(d.Evaluation, d.Shadow)
	}
	r.write("evaluated", func(to record) {
		evaluated(to, d, took)
		r.mark(to)
	})
	for _, p := range d.Evaluation.Panics {
		r.Log.Error("panic", "queue_id", d.Envelope.QueueID, "component", p.Component, "value", p.Value, "stack", p.Stack)
	}
}

// mark adds the attribute that only the records of probes have.
func (r Records) mark(to record) {
	if r.Probe {
		to.flag("probe", true)
	}
}

// write writes a record with the attributes that `fill` adds. It writes nothing if the
// level of the log is above info.
func (r Records) write(msg string, fill func(record)) {
	ctx := context.Background()
	h := r.Log.Handler()
	if !h.Enabled(ctx, slog.LevelInfo) {
		return
	}
	if l, ok := h.(*leveled); ok {
		h = l.of(slog.LevelInfo)
	}
	if direct, ok := h.(*jsonHandler); ok && direct.write(time.Now(), msg, fill) {
		return
	}
	a := make(attrs, 0, usualAttrs)
	fill(&a)
	r.Log.LogAttrs(ctx, slog.LevelInfo, msg, a...)
}

// usualAttrs is the first capacity of attrs. No record has more attributes.
const usualAttrs = 46

// attrs is a record that collects slog.Attr values. It is used for all handlers except
// jsonHandler.
type attrs []slog.Attr

func (a *attrs) str(key, value string)       { *a = append(*a, slog.String(key, value)) }
func (a *attrs) client(s msgauth.Session)    { a.str("client_ip", addr(s)) }
func (a *attrs) num(key string, value int64) { *a = append(*a, slog.Int64(key, value)) }
func (a *attrs) flag(key string, value bool) { *a = append(*a, slog.Bool(key, value)) }

func (a *attrs) seconds(key string, value time.Duration) {
	*a = append(*a, slog.Float64(key, value.Seconds()))
}

func (a *attrs) signatures(key string, value []dkim.Signature) {
	*a = append(*a, slog.Any(key, signatures(value)))
}

// signature is one DKIM signature, as the log shows it.
type signature struct {
	Result    string `json:"result"`
	Domain    string `json:"d,omitempty"`
	Selector  string `json:"s,omitempty"`
	Algorithm string `json:"a,omitempty"`
	KeyBits   int    `json:"bits,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

func signatures(all []dkim.Signature) []signature {
	out := make([]signature, 0, len(all))
	for i := range all {
		s := &all[i]
		out = append(out, signature{
			Result: string(s.Result), Domain: string(s.Domain), Selector: clip(s.Selector),
			Algorithm: clip(s.Algorithm), KeyBits: s.KeyBits, Reason: string(s.Reason),
		})
	}
	return out
}

// newestSealer returns the domain that sealed the newest set of a valid ARC chain. It
// returns "" if the chain is not valid, because anybody could have written the name.
func newestSealer(e *msgauth.Evaluation) dns.Name {
	if n := len(e.ARC.Sets); n > 0 && e.ARC.Status == arc.Pass {
		return e.ARC.Sets[n-1].Sealer
	}
	return ""
}

func addr(s msgauth.Session) string {
	if !s.Client.IsValid() {
		return "unknown"
	}
	return s.Client.String()
}

// clip cuts a text that the sender chose to maxLogged octets. The log handler makes it
// printable later.
func clip(s string) string { return printable.Clip(s, maxLogged) }
