package watchlist

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/judge"
	"sekimori/internal/lookalike"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

var lists = []lookalike.List{{Name: "banks", Domains: []string{"bank.example"}, Lookalikes: true}, {Name: "towns", Domains: []string{".lg.jp"}}}

// world is a Watcher with a clock that the test sets.
type world struct {
	*Watcher
	at time.Time
}

func newWorld() *world {
	w := &world{at: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	w.Watcher = New(func() time.Time { return w.at })
	w.Set(lists)
	return w
}

func (w *world) mail(list string, kind lookalike.Kind, result dmarc.Result, id string) {
	w.Decided(&judge.Decision{
		Verdict: policy.Verdict{Action: policy.Reject, ID: id},
		Evaluation: &msgauth.Evaluation{
			Watch: &lookalike.Finding{List: list, Of: "bank.example", Lookalike: kind}, DMARC: dmarc.Evaluation{Result: result},
			From: author.From{AuthorDomain: "bank.example"}, Envelope: msgauth.Envelope{QueueID: "Q" + id}, Session: msgauth.Session{Client: netip.MustParseAddr("192.0.2.1")},
		},
	}, 0)
}

func TestCounts(t *testing.T) {
	w := newWorld()
	w.mail("banks", "", dmarc.ResultPass, "P")
	w.mail("banks", "", dmarc.ResultFail, "F1")
	w.mail("banks", lookalike.KindDomain, dmarc.ResultPass, "L1")
	w.mail("banks", "", dmarc.ResultTempError, "T")
	w.mail("gone", "", dmarc.ResultFail, "G")
	w.Decided(&judge.Decision{}, 0)
	w.Decided(&judge.Decision{Evaluation: &msgauth.Evaluation{}}, 0)
	w.at = w.at.Add(2 * time.Hour)
	w.mail("banks", "", dmarc.ResultFail, "F2")
	got := w.Lists()
	if len(got) != 2 || got[0].Name != "banks" || got[1].Name != "towns" {
		t.Fatalf("%+v", got)
	}
	b := got[0]
	if b.Hour != (Counts{0, 1, 0}) || b.Day != (Counts{1, 2, 1}) || b.Week != b.Day || b.Wave != nil {
		t.Errorf("%+v", b)
	}
	if len(b.Fails) != 2 || b.Fails[0].ID != "F2" || b.Fails[1].QueueID != "QF1" || b.Fails[1].Of != "bank.example" || len(b.Alike) != 1 || b.Alike[0].Lookalike != lookalike.KindDomain {
		t.Errorf("samples %+v, %+v", b.Fails, b.Alike)
	}
	w.at = w.at.Add(24 * time.Hour)
	if b = w.Lists()[0]; b.Day != (Counts{}) || b.Week != (Counts{1, 2, 1}) {
		t.Errorf("a day later: %+v", b)
	}
	w.at = w.at.Add(7 * 24 * time.Hour)
	if b = w.Lists()[0]; b.Week != (Counts{}) || len(b.Fails) != 2 {
		t.Errorf("a week later: %+v", b)
	}
	w.mail("towns", "", dmarc.ResultPass, "T2")
	w.Set([]lookalike.List{{Name: "new"}, lists[1], {Name: "banks", Domains: []string{"other.example"}}})
	if got = w.Lists(); len(got) != 3 || got[0].Week != (Counts{}) || got[1].Name != "towns" || got[1].Week.Pass != 1 || got[2].Domains[0] != "other.example" || len(got[2].Fails) != 2 ||
		got[1].Lookalikes || !got[2].Since.Equal(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("after a reload: %+v", got)
	}
}

// TestWeek: an interval counts as long as it is one of the last of a week, also after a week without mail.
func TestWeek(t *testing.T) {
	for _, tt := range []struct {
		after int // intervals
		want  Counts
		kept  int
	}{{0, Counts{2, 0, 0}, 1}, {1, Counts{2, 0, 0}, 2}, {maxQuarters - 1, Counts{2, 0, 0}, maxQuarters}, {maxQuarters, Counts{1, 0, 0}, 1}, {maxQuarters + 1, Counts{1, 0, 0}, 1}} {
		w := newWorld()
		w.mail("banks", "", dmarc.ResultPass, "P")
		w.at = w.at.Add(time.Duration(tt.after) * Quarter)
		w.mail("banks", "", dmarc.ResultPass, "P")
		if l := w.Lists()[0]; l.Week != tt.want || len(w.lists[0].quarters) != tt.kept {
			t.Errorf("%d intervals later: %+v, %d kept", tt.after, l.Week, len(w.lists[0].quarters))
		}
	}
}

// TestHourAndDay: an hour has four intervals with the current one, and a day 96.
func TestHourAndDay(t *testing.T) {
	for after, want := range map[int][2]int64{0: {1, 1}, 3: {1, 1}, 4: {0, 1}, quartersOfDay - 1: {0, 1}, quartersOfDay: {0, 0}} {
		w := newWorld()
		w.mail("banks", "", dmarc.ResultPass, "P")
		w.at = w.at.Add(time.Duration(after) * Quarter)
		if l := w.Lists()[0]; l.Hour.Pass != want[0] || l.Day.Pass != want[1] {
			t.Errorf("%d intervals later: %+v in an hour, %+v in a day", after, l.Hour, l.Day)
		}
	}
}

// TestClock: a clock that is set back, or far ahead, loses no message of the present.
func TestClock(t *testing.T) {
	w := newWorld()
	for _, jump := range []time.Duration{0, -3 * time.Hour, 400 * 24 * time.Hour, -time.Hour} {
		w.at = w.at.Add(jump)
		w.mail("banks", "", dmarc.ResultFail, "F")
	}
	if b := w.Lists()[0]; b.Hour.Fail != 2 || b.Wave != nil {
		t.Errorf("while the clock is set back: %+v", b)
	}
	w.at = w.at.Add(time.Hour)
	if b := w.Lists()[0]; b.Hour.Fail != 2 {
		t.Errorf("%+v", b.Hour)
	}
}

func TestWave(t *testing.T) {
	for _, tt := range []struct {
		usual, now int
		want       bool
	}{{0, leastWave - 1, false}, {0, leastWave, true}, {2, leastWave, false}, {2, leastWave + 1, true}, {5, 50, false}, {5, 51, true}} {
		w := newWorld()
		for range maxQuarters {
			for range tt.usual {
				w.mail("banks", "", dmarc.ResultFail, "F")
			}
			w.at = w.at.Add(Quarter)
		}
		for range tt.now {
			w.mail("banks", "", dmarc.ResultFail, "F")
		}
		for _, later := range []time.Duration{0, Quarter} {
			w.at = w.at.Add(later)
			wave := w.Lists()[0].Wave
			if (wave != nil) != tt.want || wave != nil && (wave.Fails != int64(tt.now) || wave.Usual != int64(tt.usual)) {
				t.Errorf("%d usual, %d now, %s later: %+v", tt.usual, tt.now, later, wave)
			}
		}
		w.at = w.at.Add(2 * Quarter)
		if wave := w.Lists()[0].Wave; wave != nil {
			t.Errorf("half an hour later: %+v", wave)
		}
	}
}

// TestUsual: the median is of all intervals of a week, with the current one, in whatever order they came.
func TestUsual(t *testing.T) {
	for _, tt := range []struct {
		quiet, busy int // intervals with 1 message that fails and with 3, before the current one
		usual       int64
	}{{0, 0, 0}, {maxQuarters/2 - 2, 0, 0}, {maxQuarters/2 - 1, 0, 1}, {maxQuarters/2 - 2, 1, 1}, {maxQuarters / 3, maxQuarters/2 - 2, 1}, {maxQuarters / 3, maxQuarters/2 - 1, 3}} {
		w := newWorld()
		for i := range tt.busy + tt.quiet {
			n := 1
			if i < tt.busy {
				n = 3
			}
			for range n {
				w.mail("banks", "", dmarc.ResultFail, "F")
			}
			w.at = w.at.Add(Quarter)
		}
		for range 99 {
			w.mail("banks", "", dmarc.ResultFail, "F")
		}
		if wave := w.Lists()[0].Wave; wave == nil || *wave != (Wave{99, tt.usual}) {
			t.Errorf("%d with 1, %d with 3: %+v", tt.quiet, tt.busy, wave)
		}
	}
}

// TestBounds: neither samples nor intervals nor texts grow without limit.
func TestBounds(t *testing.T) {
	w := newWorld()
	for i := range maxSamples + 1 {
		w.mail("banks", "", dmarc.ResultFail, fmt.Sprint("F", i))
		w.mail("banks", lookalike.KindName, dmarc.ResultPass, fmt.Sprint("L", i))
	}
	b := w.Lists()[0]
	if len(b.Fails) != maxSamples || len(b.Alike) != maxSamples || b.Fails[0].ID != fmt.Sprint("F", maxSamples) || b.Alike[maxSamples-1].ID != "L1" {
		t.Errorf("%d and %d samples", len(b.Fails), len(b.Alike))
	}
	for range maxQuarters + 50 {
		w.at = w.at.Add(Quarter)
		w.mail("banks", "", dmarc.ResultPass, "P")
	}
	if n := len(w.lists[0].quarters); n != maxQuarters {
		t.Errorf("%d intervals", n)
	}
	if b = w.Lists()[0]; b.Week.Pass != maxQuarters || b.Day.Pass != quartersOfDay {
		t.Errorf("%+v", b)
	}
	e := &msgauth.Evaluation{Watch: &lookalike.Finding{List: "banks"}, DMARC: dmarc.Evaluation{Result: dmarc.ResultFail},
		From: author.From{AuthorDomain: dns.Name(strings.Repeat("a", maxWord+1))}, Envelope: msgauth.Envelope{QueueID: strings.Repeat("q", maxWord+1)}}
	w.Decided(&judge.Decision{Evaluation: e}, 0)
	if s := w.Lists()[0].Fails[0]; len(s.QueueID) != maxWord || len(s.AuthorDomain) != maxWord {
		t.Errorf("%d and %d octets", len(s.QueueID), len(s.AuthorDomain))
	}
}
