package gather

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/history"
	"sekimori/internal/history/archive"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/spf"
	"sekimori/internal/store/sqlite"
)

var now = time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC)

// failing returns a message that failed.
func failing(domain dns.Name, n int, at time.Time) *msgauth.Evaluation {
	e := &msgauth.Evaluation{Time: at, From: author.From{AuthorDomain: domain}, Envelope: msgauth.Envelope{QueueID: fmt.Sprint("Q", n)},
		MailFrom: spf.Check{Result: spf.Fail, Domain: domain, Record: "v=spf1 -all"},
		DMARC: dmarc.Evaluation{Result: dmarc.ResultFail, AuthorDomain: domain, OrganizationalDomain: domain, PolicyDomain: domain, Record: &dmarc.Record{},
			PolicyPublished: dmarc.PolicyReject, Disposition: dmarc.PolicyReject}}
	e.Session.Client = netip.AddrFrom4([4]byte{90, byte(n >> 8), byte(n), 9})
	return e
}

// filled returns a store with so many failing messages of many.example today, and one of few.example on the
// first of 14 days. The history has all of them.
func filled(t *testing.T, messages int) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	begin := now.Truncate(24 * time.Hour)
	for id, day := range map[string][]*msgauth.Evaluation{"old": {failing("few.example", 1<<15, begin.AddDate(0, 0, -13))}, "today": func() (all []*msgauth.Evaluation) {
		for n := range messages {
			all = append(all, failing("many.example", n, begin.Add(time.Duration(n)*time.Second)))
		}
		return all
	}()} {
		table, kept := ledger.NewTable(), []archive.Made{}
		for _, e := range day {
			v := policy.Decide(e, policy.Config{Mode: policy.Monitor})
			x, ok := ledger.Observe(e, &v, ledger.Same, func(n dns.Name) dns.Name { return n })
			if !ok {
				t.Fatal("not counted")
			}
			table.Add(&x, ledger.DayOf(e.Time))
			kept = append(kept, archive.Made{Decision: &judge.Decision{Session: e.Session, Envelope: e.Envelope, Evaluation: e, Verdict: v}, At: e.Time})
		}
		if err := db.Add(t.Context(), now, report.Batch{ID: id, Current: report.WindowAt(now, 24*time.Hour), Ledger: table.Take("", 0)}); err != nil {
			t.Fatal(err)
		}
		b, err := archive.Pack("h"+id, "mx.example", kept)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.AddHistory(t.Context(), now, b); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func options(t *testing.T, db *sqlite.DB) Options {
	t.Helper()
	r, err := archive.NewReader(func() history.Store { return db })
	if err != nil {
		t.Fatal(err)
	}
	return Options{Ledger: db.Ledger(), History: r, Policy: policy.Config{Mode: policy.Monitor}, Days: 14, Now: now}
}

// TestReport: if the history has few messages, all are looked at, wherever in the days they are.
func TestReport(t *testing.T) {
	const messages = 700
	o := options(t, filled(t, messages))
	r, err := Report(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Messages != messages+1 || r.Reject != messages+1 || r.Samples != messages+1 || r.Seen != 2 || len(r.Domains) != 2 {
		t.Errorf("%+v", r)
	}
	if s := r.Domains[0].Streams; len(s) != 1 || s[0].Reason.Word != "spf_scattered" || s[0].Rejected != messages {
		t.Errorf("%+v", s)
	}
	o.History = nil
	if r, err = Report(t.Context(), o); err != nil || r.Samples != 0 || len(r.Notes) != 1 || r.Notes[0].Word != "history_off" || r.Domains[0].Streams[0].Example == "" {
		t.Errorf("without a history: %+v, %v", r, err)
	}
	o.Days = 3
	if r, err = Report(t.Context(), o); err != nil || r.Messages != messages {
		t.Errorf("three days: %+v, %v", r, err)
	}
}

// TestBounds: of more messages than are looked at, the sample has those of all days, and a domain with few
// messages in it is searched for.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("15,000 messages")
	}
	const messages = maxRecords + 2000
	r, err := Report(t.Context(), options(t, filled(t, messages)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Samples > maxRecords+maxMore*fewSamples || r.Samples < maxRecords*9/10 || r.Reject != messages+1 {
		t.Errorf("%d samples of %d", r.Samples, messages)
	}
	for _, d := range r.Domains {
		if d.Streams[0].Samples == 0 || d.Streams[0].Messages != d.Reject {
			t.Errorf("%+v", d)
		}
	}
	if len(r.Notes) != 1 || r.Notes[0].Word != "sampled" {
		t.Errorf("%+v", r.Notes)
	}
}

// TestStoreFails: an error of the store is the answer, and not half a report.
func TestStoreFails(t *testing.T) {
	db := filled(t, 3)
	o := options(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Report(t.Context(), o); r != nil || err == nil {
		t.Errorf("%+v, %v", r, err)
	} else if errors.Is(err, t.Context().Err()) || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}
