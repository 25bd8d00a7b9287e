package app

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/report"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/mta"
)

// teach fills a store with 20 days of signed mail of a domain.
func teach(t *testing.T, path string, domain dns.Name) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for ago := range 20 {
		at := now.AddDate(0, 0, -ago)
		table := ledger.NewTable()
		for range 20 {
			table.Add(&ledger.Entry{Time: at, Author: domain, Owner: domain, Policy: "reject", Result: ledger.Pass, DKIM: true, SPF: true, Signed: true,
				Client: netip.MustParseAddr("192.0.2.1"), Total: ledger.Total{SPF: "pass", Messages: 1}}, ledger.DayOf(at))
		}
		if err := db.Add(t.Context(), at, report.Batch{ID: fmt.Sprint(ago), Current: report.WindowAt(at, 24*time.Hour), Ledger: table.Take("", 0)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLearned: a daemon with a store knows at its start what is usual for the bank. Mail with the fields of
// a list that is not signed is quarantined while the signs are observed, and rejected when they are used.
func TestLearned(t *testing.T) {
	for rule, want := range map[policy.LearnedRule]string{policy.LearnedOff: "", policy.LearnedObserve: "learned: unsigned_unlike_usual unknown_source", policy.LearnedUse: "refused"} {
		t.Run(string(rule), func(t *testing.T) {
			cfg, path := storeConfig(t)
			teach(t, path, "bank.example")
			cfg.Policy.Learned = rule
			a, log, stop := running(t, cfg)
			for a.kept.usual.Len() == 0 { // it is looked up in the background
				select {
				case <-t.Context().Done():
					t.Fatal("nothing was learned")
				case <-time.After(time.Millisecond):
				}
			}
			peer := mta.Peer{Name: "x.example", Addr: netip.MustParseAddrPort("198.51.100.7:25"), HELO: "x.example"}
			res, err := mta.Send("tcp", a.Addrs()[0].String(), peer, client.Envelope{From: "<x@nowhere.example>", To: []string{"<r@here.example>"}, QueueID: "4QUEUE"},
				[]byte("From: A <a@bank.example>\r\nList-Id: <l.example>\r\nSubject: s\r\n\r\nbody\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(strings.Fields(fmt.Sprintf("%+v", res)), " ")
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			switch {
			case rule == policy.LearnedUse:
				if !strings.Contains(log.String(), `"verdict":"reject"`) {
					t.Errorf("not refused: %s", log.String())
				}
			case !strings.Contains(log.String(), `"verdict":"quarantine"`):
				t.Errorf("not quarantined: %s", log.String())
			case want != "" && !strings.Contains(text, want), want == "" && strings.Contains(text, "learned"):
				t.Errorf("want %q in %s", want, text)
			}
			if strings.Contains(log.String(), `"learned":"unsigned_unlike_usual unknown_source"`) != (rule != policy.LearnedOff) {
				t.Errorf("the log: %s", log.String())
			}
			db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			today := ledger.DayOf(time.Now())
			for r, err := range db.Ledger().Rows(t.Context(), ledger.Filter{From: today, To: today, Domain: "bank.example"}) {
				harsher := int64(0)
				if rule != policy.LearnedOff {
					harsher = 1
				}
				if err != nil || r.Messages != 21 || r.Fail != 1 || r.Harsher != harsher || r.Example == "" {
					t.Errorf("%+v %v", r, err)
				}
			}
		})
	}
}

// TestLedgerOfTheDead: a message none of whose recipients agreed leaves nothing in the files of the store.
func TestLedgerOfTheDead(t *testing.T) {
	cfg, path := storeConfig(t)
	cfg.Policy.Recipients.Default = policy.Out
	a, _, stop := running(t, cfg)
	send(t, a, "<a@bank.example>")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + end)
		if end != "" && os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("bank.example")) || bytes.Contains(data, []byte{192, 0, 2}) {
			t.Errorf("the message is in the file %s", path+end)
		}
	}
	cfg.Policy.Recipients.Default = policy.In
	a, _, stop = running(t, cfg)
	send(t, a, "<a@bank.example>")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(data, []byte("bank.example")) || !bytes.Contains(data, []byte{192, 0, 2, 0, 24}) {
		t.Errorf("the message of a recipient who agreed is not there: %v", err)
	}
}
