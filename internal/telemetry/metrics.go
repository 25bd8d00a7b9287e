// Package telemetry makes metrics and log records from decisions. Label values of the
// metrics come from closed sets or from the configuration. Text of a message, such as a
// domain or an address, is not used as a label value, because a sender could then create
// any number of series.
package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/iprev"
	"sekimori/internal/judge"
	"sekimori/internal/milter"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

const namespace = "sekimori"

// durationBuckets are the bucket limits for durations in seconds. The shortest durations
// come from cached answers; the longest is the DNS budget of a message.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// spfResults lists the seven results of RFC 7208 §2.6. Their series exist from the start,
// so a table of the results has no gaps.
var spfResults = []spf.Result{spf.None, spf.Neutral, spf.Pass, spf.Fail, spf.SoftFail, spf.TempError, spf.PermError}

// Metrics holds the series of the daemon, except the series about DNS, which are in
// package resolver.
type Metrics struct {
	messages      *counters[string]
	held          prometheus.Counter
	probes        *counters[string]
	tls           *counters[string]
	messageWait   *waits
	stageDuration *series[string, prometheus.Observer]
	messageBytes  prometheus.Histogram

	dmarc         *counters[[3]string]
	undecided     *counters[[3]string]
	dmarcOverride *counters[string]
	dmarcAligned  *counters[string]
	ruleHits      *counters[string]
	rampRelaxed   prometheus.Counter
	shadow        *counters[[2]string]
	iprevDMARC    *counters[[2]string]
	authors       *authorDomains
	watch         *counters[[2]string]

	spf            *counters[[2]string]
	dkimSignatures *counters[[3]string]
	dkimReason     *counters[string]
	arc            *counters[string]
	iprev          *counters[string]
	clientUnknown  prometheus.Counter
	relayClients   *counters[string]
	budget         *counters[string]
	noRoom         *counters[string]
	spfAhead       *counters[string]

	bimi    bimiMetrics
	consent consentMetrics
	maps    mapMetrics

	sessionsInflight prometheus.Gauge
	sessionsLimit    prometheus.Gauge
	memoryLimit      prometheus.Gauge
	sessions         *counters[string]
	sessionsRejected *counters[string]
	protocolErrors   *counters[string]
	oversize         *counters[string]

	reloadSuccessful prometheus.Gauge
	reloadTime       prometheus.Gauge
	configHash       *prometheus.GaugeVec
	enforcementMode  *prometheus.GaugeVec
	panics           *counters[string]
}

// New creates Metrics and registers all series with reg. The series that alerts read
// have the value 0 from the start, because an alert cannot evaluate a series that is
// absent.
func New(reg prometheus.Registerer) *Metrics {
	b := builder{reg}
	m := &Metrics{
		messages:      b.counters("messages_total", "Messages by what was decided; in monitor mode what would have been.", "verdict"),
		held:          b.counter("messages_held_total", "Messages that the MTA was asked to put on hold."),
		probes:        b.counters("probe_messages_total", "Messages of sekimori probe by what was decided; no other series counts them.", "verdict"),
		tls:           b.counters("messages_tls_total", "Evaluated messages by the TLS version of the connection that brought them.", "version"),
		messageWait:   newWaits(b),
		stageDuration: b.histograms("stage_duration_seconds", "Wall time of each stage, mostly overlapping the transfer.", "stage"),
		messageBytes:  b.histogram("message_bytes", "Size of messages, header and body, in octets.", prometheus.ExponentialBuckets(1024, 4, 9)),

		dmarc: b.counters3("dmarc_total",
			"Messages by DMARC result, published policy and disposition; in monitor mode what it would have been.",
			"result", "policy", "disposition"),
		undecided: b.counters3("temperror_total",
			"Messages that are not decided because an answer is missing, by the first that is, why, and what was decided instead.",
			"missing", "cause", "verdict"),
		dmarcOverride: b.counters("dmarc_override_total", "Deviations from the published policy by RFC 9990 reason.", "reason"),
		dmarcAligned:  b.counters("dmarc_aligned_total", "Messages with a DMARC policy by the mechanism that aligned.", "by"),
		ruleHits:      b.counters("override_rule_hits_total", "Messages that a rule of policy.overrides matched first.", "rule"),
		rampRelaxed:   b.counter("ramp_relaxed_total", "Messages treated one step milder because policy.ramp does not enforce them."),
		shadow:        b.counters2("shadow_total", "Messages by what the live and the candidate policy decided.", "live", "shadow"),
		iprevDMARC:    b.counters2("iprev_dmarc_total", "Messages by iprev and DMARC result.", "iprev", "dmarc"),

		authors: newAuthorDomains(b),
		watch:   b.counters2("watch_messages_total", "Messages of watched domains by DMARC result, and of authors who look like them.", "watch", "result"),

		spf: b.counters2("spf_total", "SPF checks by identity and result.", "identity", "result"),
		dkimSignatures: b.counters3("dkim_signatures_total",
			"DKIM signatures by result, algorithm and key size.", "result", "algorithm", "key_bits"),
		dkimReason:    b.counters("dkim_reason_total", "DKIM signatures that did not pass, by reason.", "reason"),
		arc:           b.counters("arc_total", "Messages by ARC chain validation status.", "result"),
		iprev:         b.counters("iprev_total", "Messages by result of the reverse name check.", "result"),
		clientUnknown: b.counter("client_unknown_total", "Messages whose client cannot be known: its address is private, or the MTA has none."),
		relayClients:  b.counters("relay_clients_total", "Messages that a relay handed on, by what its Received field told about the client.", "result"),
		budget:        b.counters("dns_budget_exceeded_total", "Lookups refused because the message's share was used up.", "mechanism"),
		noRoom:        b.counters("dns_no_room_total", "Lookups without an answer because those of others took the room there is.", "mechanism"),
		spfAhead:      b.counters("spf_ahead_total", "Questions that SPF checks asked early, by whether they were needed.", "use"),

		bimi:    newBIMIMetrics(b),
		consent: newConsentMetrics(b),
		maps:    newMapMetrics(b),

		sessionsInflight: b.gauge("sessions_inflight", "Milter connections open now."),
		sessionsLimit:    b.gauge("sessions_limit", "limits.max_sessions of the running configuration."),
		memoryLimit:      b.gauge("memory_limit_bytes", "limits.memory of the running configuration; 0 is no budget."),
		sessions:         b.counters("sessions_total", "Milter connections by how they ended.", "end"),
		sessionsRejected: b.counters("sessions_rejected_total", "Milter connections refused.", "reason"),
		protocolErrors:   b.counters("protocol_errors_total", "Malformed or misplaced milter packets.", "kind"),
		oversize:         b.counters("oversize_total", "Messages over one of the limits.", "what"),

		reloadSuccessful: b.gauge("config_last_reload_successful", "Whether the last load of the configuration succeeded."),
		reloadTime:       b.gauge("config_last_reload_success_timestamp_seconds", "Time of the last successful load."),
		configHash:       b.gaugeVec("config_hash_info", "Hash of the running configuration.", "hash"),
		enforcementMode:  b.gaugeVec("enforcement_mode_info", "The mode messages are handled in.", "mode"),
		panics:           b.counters("panics_total", "Bugs that cost a message or a stage its result.", "component"),
	}
	m.startAtZero()
	return m
}

// The values of the label "use" of the series spf_ahead_total.
const (
	aheadNeeded   = "needed"
	aheadUnneeded = "unneeded"
)

func (m *Metrics) startAtZero() {
	for _, a := range policy.Actions {
		m.messages.with(string(a))
		m.probes.with(string(a))
	}
	for _, version := range append([]string{"", tlsOther}, tlsVersions...) {
		m.tls.with(tlsLabel(version))
	}
	for _, t := range policy.OverrideTypes {
		m.dmarcOverride.with(string(t))
	}
	for _, what := range policy.MissingWhats {
		m.undecided.with([3]string{string(what), policy.CauseBudget, string(policy.TempFail)})
	}
	for _, mech := range msgauth.Mechanisms() {
		m.panics.with(string(mech))
		m.budget.with(string(mech))
		m.noRoom.with(string(mech))
	}
	m.spfAhead.with(aheadNeeded)
	m.spfAhead.with(aheadUnneeded)
	m.panics.with(PanicMilter)
	m.panics.with(PanicResolver)
	m.panics.with(PanicConsent)
	m.consent.lookups.with([2]string{"socketmap", "failed"})
	for _, line := range msgauth.RelayLines {
		m.relayClients.with(string(line))
	}
	for _, kind := range milter.ErrorKinds() {
		m.protocolErrors.with(string(kind))
	}
	for _, reason := range milter.RejectReasons() {
		m.sessionsRejected.with(string(reason))
	}
	for _, what := range []string{
		milter.OversizeHeaderFields, milter.OversizeHeaderBytes, milter.OversizeFieldBytes,
		milter.OversizeRecipients, milter.OversizeEnvelope, milter.OversizeMemory,
	} {
		m.oversize.with(what)
	}
	for _, id := range []spf.Identity{spf.MailFrom, spf.HELO} {
		for _, r := range spfResults {
			m.spf.with([2]string{string(id), string(r)})
		}
	}
	for _, end := range milter.Ends() {
		m.sessions.with(string(end))
	}
	for _, r := range []arc.Status{arc.None, arc.Pass, arc.Fail, arc.NotEvaluated} {
		m.arc.with(chainWord(r))
	}
	for _, r := range []iprev.Status{iprev.Pass, iprev.Fail, iprev.TempError, iprev.PermError} {
		m.iprev.with(string(r))
	}
	for _, by := range []string{"spf", "dkim", "both", "neither"} {
		m.dmarcAligned.with(by)
	}
}

// Decided implements filter.Observer. It counts one message.
func (m *Metrics) Decided(d *judge.Decision, took time.Duration) {
	m.messages.with(string(d.Verdict.Action)).Inc()
	if d.Verdict.Applied == policy.Quarantine {
		m.held.Inc()
	}
	m.bimi.countRemoved(d)
	if d.Evaluation != nil {
		m.evaluated(d.Evaluation, &d.Verdict, took)
	}
	if d.Shadow != nil {
		m.shadow.with([2]string{string(d.Shadow.Live.Action), string(d.Shadow.Candidate.Action)}).Inc()
	}
}

// evaluated counts a message that was evaluated. `took` is how long the MTA waited at
// the end of the message.
func (m *Metrics) evaluated(e *msgauth.Evaluation, v *policy.Verdict, took time.Duration) {
	m.messageWait.observe(took, e.Envelope.QueueID, e.Time)
	m.stageDuration.with("eom").Observe(took.Seconds())
	m.tls.with(tlsLabel(e.Session.TLSVersion)).Inc()
	m.messageBytes.Observe(float64(e.Envelope.Size))
	for mech, c := range e.Cost {
		m.stageDuration.with(string(mech)).Observe(c.Elapsed.Seconds())
		if c.Exceeded > 0 {
			m.budget.with(string(mech)).Add(float64(c.Exceeded))
		}
		if c.NoRoom > 0 {
			m.noRoom.with(string(mech)).Add(float64(c.NoRoom))
		}
		m.spfAhead.with(aheadNeeded).Add(float64(c.Ahead - c.Unneeded))
		m.spfAhead.with(aheadUnneeded).Add(float64(c.Unneeded))
	}
	for _, p := range e.Panics {
		m.panics.with(string(p.Component)).Inc()
	}
	m.countMechanisms(e)
	m.bimi.count(e, v)
	m.countConsent(v.Consent)
	m.dmarc.with([3]string{string(e.DMARC.Result), publishedLabel(e.DMARC.PolicyPublished), string(v.Disposition)}).Inc()
	m.authors.count(e)
	m.iprevDMARC.with([2]string{string(e.IPRev.Status), string(e.DMARC.Result)}).Inc()
	m.countUndecided(v)
	m.countSteering(v)
	m.countWatch(e)
	if e.DMARC.Result == dmarc.ResultPass || e.DMARC.Result == dmarc.ResultFail {
		m.dmarcAligned.with(alignedBy(e.DMARC)).Inc()
	}
}

// watchLookalike is the value of the label "result" for an author who looks like a watched domain. For a
// watched domain, the value is the DMARC result.
const watchLookalike = "lookalike"

// countWatch counts a message of a watched domain, or of an author who looks like one. A message without a
// DMARC result, for example for want of a record, is neither a pass nor a fail.
func (m *Metrics) countWatch(e *msgauth.Evaluation) {
	switch {
	case e.Watch == nil:
	case e.Watch.Lookalike != "":
		m.watch.with([2]string{e.Watch.List, watchLookalike}).Inc()
	case e.DMARC.Result == dmarc.ResultPass, e.DMARC.Result == dmarc.ResultFail:
		m.watch.with([2]string{e.Watch.List, string(e.DMARC.Result)}).Inc()
	}
}

// Watching makes the series of the watch lists begin at 0, so that an alert sees their first message.
func (m *Metrics) Watching(lists []string) {
	for _, list := range lists {
		for _, result := range []string{string(dmarc.ResultPass), string(dmarc.ResultFail), watchLookalike} {
			m.watch.with([2]string{list, result})
		}
	}
}

func (m *Metrics) countMechanisms(e *msgauth.Evaluation) {
	m.spf.with([2]string{string(spf.MailFrom), string(e.MailFrom.Result)}).Inc()
	m.spf.with([2]string{string(spf.HELO), string(e.HELO.Result)}).Inc()
	m.arc.with(chainWord(e.ARC.Status)).Inc()
	m.iprev.with(string(e.IPRev.Status)).Inc()
	if e.Session.Unknown() {
		m.clientUnknown.Inc()
	}
	if line := e.Session.RelayLine; line != "" {
		m.relayClients.with(string(line)).Inc()
	}
	if len(e.DKIM) == 0 {
		m.dkimSignatures.with([3]string{string(dkim.None), "", ""}).Inc()
	}
	for i := range e.DKIM {
		s := &e.DKIM[i]
		m.dkimSignatures.with([3]string{string(s.Result), algorithmLabel(s.Algorithm), bitsLabel(s.KeyBits)}).Inc()
		if s.Result != dkim.Pass && s.Reason != "" {
			m.dkimReason.with(string(s.Reason)).Inc()
		}
	}
}

// chainWord returns the status of an ARC chain as the log and the metrics write it.
func chainWord(s arc.Status) string {
	if s == arc.NotEvaluated {
		return "not_evaluated"
	}
	return string(s)
}

// publishedLabel returns the label value for a published policy. It is "absent" if there is
// no policy.
func publishedLabel(p dmarc.Policy) string {
	if p == "" {
		return "absent"
	}
	return string(p)
}

func alignedBy(d dmarc.Evaluation) string {
	switch {
	case d.AlignedSPF && d.AlignedDKIM:
		return "both"
	case d.AlignedSPF:
		return "spf"
	case d.AlignedDKIM:
		return "dkim"
	}
	return "neither"
}

// algorithmLabel returns the label value for an algorithm. Any unknown name gets the
// value "other", because a sender can write any text into the tag "a=".
func algorithmLabel(a string) string {
	switch a {
	case "rsa-sha256", "ed25519-sha256", "rsa-sha1":
		return a
	}
	return "other"
}

// bitsLabel returns the label value for a key size. Unusual sizes get the value
// "below_1024" or "other".
func bitsLabel(bits int) string {
	switch {
	case bits == 0:
		return ""
	case bits == 2048:
		return "2048"
	case bits == 256, bits == 1024, bits == 1536, bits == 3072, bits == 4096:
		return strconv.Itoa(bits)
	case bits < 1024:
		return "below_1024"
	}
	return "other"
}

// ReloadFailed records that a configuration could not be loaded, so the earlier one stays
// in effect.
func (m *Metrics) ReloadFailed() { m.reloadSuccessful.Set(0) }

// ConfigLoaded records that a new configuration came into effect.
func (m *Metrics) ConfigLoaded(hash string, mode policy.Mode, at time.Time) {
	m.configHash.Reset()
	m.configHash.WithLabelValues(hash).Set(1)
	m.enforcementMode.Reset()
	m.enforcementMode.WithLabelValues(string(mode)).Set(1)
	m.reloadSuccessful.Set(1)
	m.reloadTime.Set(float64(at.Unix()))
}
