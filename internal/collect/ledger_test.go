package collect

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/suffix"
	"sekimori/internal/judge"
	"sekimori/internal/ledger"
	"sekimori/internal/policy"
	"sekimori/internal/report"
)

// TestLedger counts messages in the ledger, also those of which no report is made.
func TestLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := settings
		s.Group, s.MaxDomains = "g", 9
		c := New(Options{Store: func() report.Store { return m }, Every: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, s)
		noReport := decision("quiet.example", "192.0.2.1", time.Now())
		noReport.Evaluation.DMARC.Record.RUA = nil
		for range 3 {
			c.Decided(noReport, 0)
		}
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
		harsher := decision("shop.example", "192.0.2.1", time.Now())
		harsher.Learned = ledger.Harsher
		c.Decided(harsher, 0)
		for range 2 {
			milder := decision("shop.example", "192.0.2.1", time.Now())
			milder.Learned = ledger.Milder
			c.Decided(milder, 0)
		}
		stop(c, time.Minute)
		if len(m.batches) != 1 {
			t.Fatalf("%d batches", len(m.batches))
		}
		d := m.batches[0].Ledger
		got := map[dns.Name]int64{}
		for _, r := range d.Rows {
			got[r.Domain] = r.Messages
			if r.Group != "g" || r.Day != ledger.DayOf(time.Now()) {
				t.Errorf("%+v", r)
			}
		}
		if d.MaxDomains != 9 || d.Messages() != 7 || len(got) != 2 || got["quiet.example"] != 3 || got["shop.example"] != 4 || c.counts.Harsher.Load() != 1 || c.counts.Milder.Load() != 2 {
			t.Errorf("%+v", d)
		}
		if n := m.messages()["shop.example"]; n != 4 {
			t.Errorf("%d messages in reports", n)
		}
	})
}

// TestLedgerOfTheDead: a message none of whose recipients agreed leaves no octet in the spool. The other
// message shows that the test would find it.
func TestLedgerOfTheDead(t *testing.T) {
	dir := t.TempDir()
	spool, err := OpenSpool(dir, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	m := &memory{err: errNotOpen}
	c := New(Options{Store: func() report.Store { return m }, Spool: spool, Every: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, settings)
	c.Decided(decision("agreed.example", "192.0.2.1", time.Now()), 0)
	secret := decision("secret-author.example", "198.51.100.77", time.Now())
	secret.Verdict.Consent = policy.Consent{Out: 2}
	c.Decided(secret, 0)
	stop(c, time.Minute)
	files, err := filepath.Glob(filepath.Join(dir, "*"+batchEnd))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte("agreed.example")) {
			t.Error("the other message is not there")
		}
		if bytes.Contains(data, []byte("secret-author")) || bytes.Contains(data, []byte{198, 51, 100}) {
			t.Error("a message none of whose recipients agreed is in the spool")
		}
	}
}

// TestLedgerClock: a stamp that cannot be right counts today.
func TestLedgerClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		c := New(Options{Store: func() report.Store { return m }, Every: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, settings)
		for _, at := range []time.Duration{0, 24 * time.Hour, -72 * time.Hour, -24 * time.Hour} {
			c.Decided(decision("shop.example", "192.0.2.1", time.Now().Add(at)), 0)
		}
		stop(c, time.Minute)
		today, got := ledger.DayOf(time.Now()), map[ledger.Day]int64{}
		for _, r := range m.batches[0].Ledger.Rows {
			got[r.Day] = r.Messages
		}
		if len(got) != 2 || got[today] != 3 || got[today-1] != 1 {
			t.Errorf("%v", got)
		}
	})
}

// TestLedgerDropped counts what the queue has no room for.
func TestLedgerDropped(t *testing.T) {
	c := &Collector{owners: suffix.NewMemory(), queue: make(chan observed, 1), unfinished: make(chan *judge.Decision)}
	c.settings.Store(&settings)
	for range 3 {
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
	}
	if n := c.counts.LedgerDropped.Load(); n != 2 {
		t.Errorf("%d dropped", n)
	}
}

// TestCountry: the country is looked up where messages are added up, not where they are observed, and by the
// settings of then.
func TestCountry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := settings
		c := New(Options{Store: func() report.Store { return m }, Every: 10 * time.Second, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, s)
		c.Decided(decision("shop.example", "192.0.2.1", time.Now()), 0)
		synctest.Wait()
		release := make(chan bool)
		s.Country = func(a netip.Addr) string {
			<-release
			if a == netip.MustParseAddr("192.0.2.1") {
				return "JP"
			}
			return ledger.UnknownCountry
		}
		c.Set(s)
		for _, client := range []string{"192.0.2.1", "192.0.2.1", "198.51.100.1"} {
			c.Decided(decision("shop.example", client, time.Now()), 0) // it does not wait
		}
		close(release)
		stop(c, time.Minute)
		got := map[string]int64{}
		for _, f := range m.batches[0].Ledger.Figures {
			if f.Kind == ledger.ByCountry {
				got[f.Word+" "+f.Result] += f.Messages
			}
		}
		if len(got) != 2 || got["JP fail"] != 2 || got["ZZ fail"] != 1 {
			t.Errorf("%v", got)
		}
	})
}
