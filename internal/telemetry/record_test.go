package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"sekimori/internal/arc"
	"sekimori/internal/bimi"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
	"sekimori/internal/trait"
)

// sameAsSlog writes the records of a message with our handler and with slog's own handler,
// and compares them. They must be equal, except for characters that could control a
// terminal.
func sameAsSlog(t *testing.T, why string, e *msgauth.Evaluation, v policy.Verdict, took time.Duration) {
	t.Helper()
	var got, want bytes.Buffer
	log, err := NewLogger(&got, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now() // in a synctest bubble the time stands still, so both records have the same time
	probe := len(e.Session.HELO)%2 == 1
	for _, r := range []Records{{Log: log, Probe: probe}, {Log: slog.New(slog.NewJSONHandler(&want, nil)), Probe: probe}} {
		r.Decided(decided(e, v), took)
		r.Decided(&judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: v}, 0)
	}
	if time.Since(at) != 0 {
		t.Fatal("time went on")
	}
	if slogs := printable.Text(want.String()); got.String() != slogs {
		t.Errorf("%s:\n%s%s", why, got.String(), slogs)
	}
}

func TestRecordIsSlogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, mark := range []string{
			"", "mail.example.com", `"`, `\`, "a\tb", "\b\f\n\r", "\x00", "\x7f", "\u009b", "\u202e", "é", "\xff", "\u2028", "<&>", strings.Repeat("x", 300),
			strings.Repeat("é", 300),
		} {
			sameAsSlog(t, mark, message(mark, 2048), rejected, 5*time.Millisecond)
		}
		for _, d := range []time.Duration{
			0, 1, 999, 100, 120, 1000, 1001, 123456, time.Millisecond, time.Second, 90 * time.Second, 1 << 62, -1, -1000, -time.Second,
		} {
			e := message("x", 0)
			e.Cost[msgauth.SPF] = msgauth.Cost{Lookups: 1, DNS: d}
			sameAsSlog(t, d.String(), e, rejected, d)
		}
		for _, client := range []netip.Addr{
			{}, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr(`fe80::1%"`),
		} {
			e := message("x", 1)
			e.Session.Client = client
			sameAsSlog(t, client.String(), e, rejected, time.Second)
		}
		e := message("x", 0)
		e.DKIM, e.Panics = nil, nil
		sameAsSlog(t, "no signature", e, policy.Verdict{}, time.Second)
		e.DKIM = []dkim.Signature{{}, {Result: dkim.Pass}}
		e.FromError = &author.Error{Kind: author.KindAmbiguous, Detail: `"@"`}
		sameAsSlog(t, "empty signatures and a From error", e, policy.Verdict{}, time.Second)
	})
}

// TestRecordText checks the keys and values of a record in the text format.
func TestRecordText(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	e := message("x y", 2048)
	e.Panics = nil
	Records{Log: log}.Decided(decided(e, rejected), time.Second)
	for _, absent := range []string{"relay_ip", "not_decided", "spoofing", "indirect", "learned", "rule", "would", "consent_in", "from_error", "bimi"} {
		if strings.Contains(out.String(), " "+absent+"=") {
			t.Errorf("%s is in the record of a message without it: %s", absent, &out)
		}
	}
	e.FromError = &author.Error{Kind: author.KindAmbiguous, Detail: "route"}
	var refused bytes.Buffer
	log, err = NewLogger(&refused, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	Records{Log: log}.Decided(decided(e, rejected), time.Second)
	if got := refused.String(); !strings.Contains(got, ` from_error="From field ambiguous at octet 0: route" `) {
		t.Errorf("record of a refused From: %s", got)
	}
	if got := out.String(); !strings.Contains(got, ` level=INFO msg=evaluated queue_id=4Q client_ip=192.0.2.1 client_name="x y" `) ||
		!strings.HasSuffix(got, " bytes=100 dns_lookups=3 dns_seconds=1 duration_seconds=1\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("record: %s", got)
	}
}

// TestRecordLevel checks that the records of messages have the level info.
func TestRecordLevel(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		for level, want := range map[string]int{"debug": 2, "info": 2, "warn": 0, "error": 0} {
			var out bytes.Buffer
			log, err := NewLogger(&out, format, level)
			if err != nil {
				t.Fatal(err)
			}
			e := message("x", 0)
			e.Panics = nil
			Records{Log: log}.Decided(decided(e, rejected), time.Second)
			Records{Log: log}.Decided(&judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: rejected}, 0)
			if n := strings.Count(out.String(), "\n"); n != want {
				t.Errorf("%s at level %s: %d records, want %d", format, level, n, want)
			}
		}
	}
}

// TestRecordWith checks that the record of a message also has the attributes of the logger.
func TestRecordWith(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	Records{Log: log.With("host", "mx1")}.Decided(&judge.Decision{Verdict: rejected}, 0)
	if !strings.Contains(out.String(), `"host":"mx1","queue_id":""`) {
		t.Errorf("record: %s", out.String())
	}
}

// TestLineKept checks that the buffer of an ordinary record is kept for reuse, and that the
// buffer of a record with many signatures is not.
func TestLineKept(t *testing.T) {
	l := &jsonLine{b: make([]byte, 0, lineSize)}
	if evaluated(l, decided(message("x", 2048), rejected), time.Second); !l.reusable() {
		t.Errorf("an ordinary record of %d octets", len(l.b))
	}
	e := message(strings.Repeat("x", 250), 2048)
	for range 5 {
		e.DKIM = append(e.DKIM, e.DKIM...)
	}
	if evaluated(l, decided(e, rejected), time.Second); l.reusable() {
		t.Errorf("a record of %d octets is kept", len(l.b))
	}
}

// TestLineBounds checks which line is kept, and which characters our handler writes itself.
func TestLineBounds(t *testing.T) {
	for n, want := range map[int]bool{maxLineKept: true, maxLineKept + 1: false} {
		if got := (&jsonLine{b: make([]byte, 0, n)}).reusable(); got != want {
			t.Errorf("a line of %d octets is reusable: %v", n, got)
		}
	}
	for s, odd := range map[string]bool{"": false, " ": false, "~": false, "\x1f": true, "\x7f": true, `"`: true, `\`: true, "é": true} {
		l := &jsonLine{}
		if l.quoted(s); l.odd != odd || !odd && string(l.b) != `"`+s+`"` {
			t.Errorf("%q: %s, odd %v", s, l.b, l.odd)
		}
	}
}

// TestWholeRecord compares whole records: one with every attribute, and that of a message that was not evaluated.
func TestWholeRecord(t *testing.T) {
	e := message("x", 512)
	e.Envelope.MailFrom, e.Envelope.Recipients = "<a@evil.example>", []string{"r", "s"}
	e.Session = msgauth.Session{
		Client: netip.MustParseAddr("192.0.2.1"), HELO: "helo", ClientName: "client", Authenticated: "user",
		Relay: netip.MustParseAddr("192.0.2.9"), RelayLine: msgauth.RelayRead,
	}
	e.MailFrom.Mechanism = "mx"
	e.DKIM[0].Selector, e.DKIM[0].Algorithm = "sel", "alg"
	e.ARC = arc.Result{Status: arc.Pass, Sets: []arc.Set{{Sealer: "first.example"}, {Sealer: "seal.example"}}}
	e.IPRev.Name, e.Panics = "rev.example", nil
	e.DMARC.AlignedDKIM = true
	e.FromError = &author.Error{Kind: author.KindAmbiguous, Detail: "two"}
	e.BIMI = &bimi.Evaluation{Result: bimi.Pass, Reason: "why", Domain: "mark.example", Hash: "1a2b"}
	v := policy.Verdict{Action: policy.Accept, Applied: policy.Accept, Reason: policy.ReasonAligned, Disposition: dmarc.PolicyReject, ID: "ID", Evidence: []string{"one", "two"}}
	full := v
	full.Missing = []policy.Missing{{What: policy.MissingDKIM, Cause: "timeout"}, {What: policy.MissingSPF, Cause: "servfail"}}
	full.Spoofing, full.Indirect, full.Learned = []trait.Trait{trait.AuthorSPFFail, trait.IPRevFail}, []trait.Trait{trait.KnownSource}, []trait.Trait{trait.UnknownSource}
	full.Rule, full.Would, full.Consent, full.Enforced = "r1", policy.Quarantine, policy.Consent{In: 2, Out: 3}, true
	full.Override = &policy.Override{Type: policy.OverrideLocalPolicy, Comment: "comment"}
	const begin = `"level":"INFO","msg":"evaluated","queue_id":"4Q","client_ip":"192.0.2.1","relay_ip":"192.0.2.9","relay_line":"read","client_name":"client",` +
		`"helo":"helo","mail_from":"<a@evil.example>","recipients":2,"header_from":"bank.example","spf":"permerror","spf_domain":"evil.example",` +
		`"spf_mechanism":"mx","spf_helo":"none","dkim":[{"result":"permerror","d":"evil.example","s":"sel","a":"alg","bits":512,"reason":"algorithm"},` +
		`{"result":"pass","d":"evil.example","a":"rsa-sha256","bits":2048}],"arc":"pass","arc_sealer":"seal.example","iprev":"fail","iprev_name":"rev.example",` +
		`"dmarc":"fail","policy_domain":"bank.example","policy":"reject","aligned_spf":false,"aligned_dkim":true,`
	const verdict = `"disposition":"reject","reason":"dmarc_pass","id":"ID","evidence":"one; two",`
	const end = `"from_error":"From field ambiguous at octet 0: two","bytes":100,"dns_lookups":3,"dns_seconds":1,"duration_seconds":2`
	for _, tt := range []struct {
		d     *judge.Decision
		probe bool
		want  string
	}{
		{decided(e, v), false, begin + `"bimi":"pass","bimi_reason":"why","bimi_domain":"mark.example","bimi_mark":"1a2b","verdict":"accept","applied":"accept","enforced":false,` +
			verdict + end},
		{decided(e, full), true, begin + `"bimi":"skipped","bimi_reason":"verdict","verdict":"accept","applied":"accept","enforced":true,` + verdict +
			`"not_decided":"dkim timeout, spf servfail","spoofing":"author_spf_fail iprev_fail","indirect":"known_source","learned":"unknown_source","rule":"r1",` +
			`"override":"local_policy","override_comment":"comment","consent_in":2,"consent_out":3,"would":"quarantine",` + end + `,"probe":true`},
		{&judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: v}, false, `"level":"INFO","msg":"not evaluated","queue_id":"4Q","client_ip":"192.0.2.1",` +
			`"relay_ip":"192.0.2.9","relay_line":"read","mail_from":"<a@evil.example>","authenticated":"user","verdict":"accept","applied":"accept",` +
			`"reason":"dmarc_pass","evidence":"one; two"`},
		{decided(&msgauth.Evaluation{}, policy.Verdict{}), false, `"level":"INFO","msg":"evaluated","queue_id":"","client_ip":"unknown","client_name":"","helo":"",` +
			`"mail_from":"","recipients":0,"header_from":"","spf":"","spf_domain":"","spf_mechanism":"","spf_helo":"","dkim":[],"arc":"not_evaluated","iprev":"","dmarc":"",` +
			`"policy_domain":"","policy":"","aligned_spf":false,"aligned_dkim":false,"verdict":"","applied":"","enforced":false,"disposition":"","reason":"","id":"",` +
			`"bytes":0,"dns_lookups":0,"dns_seconds":0,"duration_seconds":2`},
		{&judge.Decision{}, true, `"level":"INFO","msg":"not evaluated","queue_id":"","client_ip":"unknown","mail_from":"","authenticated":"","verdict":"","applied":"",` +
			`"reason":"","evidence":"","probe":true`},
	} {
		var out bytes.Buffer
		log, err := NewLogger(&out, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		Records{Log: log, Probe: tt.probe}.Decided(tt.d, 2*time.Second)
		if _, got, _ := strings.Cut(out.String(), ","); got != tt.want+"}\n" {
			t.Errorf("the record is\n%swant\n%s", got, tt.want)
		}
	}
}

// TestNothingRaw checks both formats of the log. Text of a sender must not put
// characters that control a terminal into the log, and must not add a line.
func TestNothingRaw(t *testing.T) {
	hostile := "x\x1b[2J\x07\x7f\r\nforged=\"1\"\u0085\u009b31m\u202e\u2066\u2028\ufeff\U000e0041\xff\x9b"
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := NewLogger(&out, format, "debug")
		if err != nil {
			t.Fatal(err)
		}
		e := message(hostile, 2048)
		e.Session.Client = netip.MustParseAddr("fe80::1").WithZone(hostile)
		e.Envelope.QueueID, e.FromError = hostile, &author.Error{Detail: hostile}
		v := rejected
		v.Evidence, v.Override = []string{hostile}, &policy.Override{Type: policy.OverrideOther, Comment: hostile}
		for _, r := range []Records{{Log: log}, {Log: log, MaskLocalParts: true}} {
			r.Decided(decided(e, v), time.Second)
			r.Decided(&judge.Decision{Session: e.Session, Envelope: e.Envelope, Verdict: v}, 0)
		}
		log.Error("reload", "error", errors.New(hostile), "any", struct{ Name string }{hostile}, slog.Group("group", "x", hostile))
		lines := strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n")
		if want := 5 + 2*len(e.Panics); len(lines) != want {
			t.Errorf("%s: %d lines, want %d:\n%s", format, len(lines), want, out.String())
		}
		for _, r := range out.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %U is written raw", format, r)
			}
		}
	}
}
