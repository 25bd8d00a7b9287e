package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"sekimori/internal/report"
	"sekimori/internal/store/postgres"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/cluster"
	"sekimori/internal/testkit/nameserver"
)

const reportZone = `
bank.example              TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject; rua=mailto:rua@bank.example"
`

// collecting starts a daemon with a store.
func collecting(t *testing.T, store string) *daemon {
	t.Helper()
	return startWith(t, settings{zone: nameserver.Zone(t, reportZone), keys: store})
}

// send sends n messages, which each count in a report.
func (d *daemon) send(n int) {
	d.t.Helper()
	c, err := d.hello()
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	for range n {
		if err := good(c, ""); err != nil {
			d.t.Fatal(err)
		}
	}
}

// messages returns how many messages the reports in a store count.
func messages(t *testing.T, s report.Store, err error) (n int64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	jobs, err := s.Jobs(t.Context(), report.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		n += j.Messages
	}
	return n
}

// TestKilledWhileCollecting kills the daemon by SIGKILL. At most the rows of one flush interval are
// lost, and no message counts twice.
func TestKilledWhileCollecting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sekimori.db")
	d := collecting(t, "store: {url: 'sqlite:"+path+"'}")
	d.send(50)
	d.eventually("stored the rows", func() bool {
		return d.metric(`sekimori_report_rows_total{result="stored"}`) == 1 && d.metric("sekimori_report_rows_pending") == 0
	})
	d.send(20)
	d.kill()
	d = collecting(t, "store: {url: 'sqlite:"+path+"'}")
	d.send(10)
	d.stop()
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if n := messages(t, db, err); n != 60 && n != 80 {
		t.Errorf("%d messages are counted; 60 were safe before the kill or came after it, 20 were not", n)
	}
}

// TestDatabaseGone kills PostgreSQL while messages come, and starts it again under the next daemon. No
// verdict waits, and every message is counted once.
func TestDatabaseGone(t *testing.T) {
	pg := cluster.Start(t, cluster.Options{})
	url := pg.Database(t)
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	writeFile(t, password, cluster.Password+"\n")
	store := fmt.Sprintf("store: {url: %q, password_file: %q, spool: {dir: %q}}", url, password, filepath.Join(dir, "spool"))
	d := collecting(t, store)
	d.send(20)
	pg.Kill(t)
	d.send(20)
	d.stop() // has a second for the sessions, and five for the rows
	pg.Up(t)
	d = collecting(t, store)
	d.send(20)
	d.eventually("emptied the spool", func() bool { return d.metric("sekimori_report_spool_bytes") == 0 })
	d.stop()
	s, err := postgres.Open(t.Context(), url, cluster.Password)
	if n := messages(t, s, err); n != 60 {
		t.Errorf("%d messages are counted, want 60", n)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
