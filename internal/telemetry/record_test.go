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

	"sekimori/internal/dkim"
	"sekimori/internal/judge"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/printable"
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
