package faults

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to make a file look newer

	"sekimori/internal/history"
	"sekimori/internal/ledger"
	"sekimori/internal/store"
	"sekimori/internal/store/postgres"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/cluster"
)

const keepAll = "\nhistory: {what: all}"

// remembered returns how many messages the ledger counts, and how many decisions the history has.
func remembered(t *testing.T, s store.Store, err error) (counted int64, kept int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	today := ledger.DayOf(time.Now())
	for row, err := range s.Ledger().Rows(t.Context(), ledger.Filter{From: today - 1, To: today}) {
		if err != nil {
			t.Fatal(err)
		}
		if row.Domain != "bank.example" || row.Pass != row.Messages {
			t.Errorf("a row of the ledger: %+v", row)
		}
		counted += row.Messages
	}
	hits, err := s.FindHistory(t.Context(), history.Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return counted, len(hits)
}

// TestKilledWhileRemembering kills the daemon by SIGKILL. What was written before stays, and no message
// counts twice.
func TestKilledWhileRemembering(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sekimori.db")
	keys := "store: {url: 'sqlite:" + path + "'}" + keepAll
	d := collecting(t, keys)
	d.send(50)
	d.eventually("wrote", func() bool {
		return d.metric(`sekimori_history_records_total{result="stored"}`) == 50 && d.metric("sekimori_report_rows_pending") == 0
	})
	d.send(20)
	d.kill()
	d = collecting(t, keys)
	d.send(10)
	d.stop()
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	// The two are written apart, so each may have the 20 messages or not.
	if counted, kept := remembered(t, db, err); counted != 60 && counted != 80 || kept != 60 && kept != 80 {
		t.Errorf("%d messages are counted, %d decisions are kept; 60 were safe, 20 were not", counted, kept)
	}
}

// TestMemoryWithoutDatabase kills PostgreSQL while messages come, and starts it again under the next
// daemon. Everything is in the ledger and in the history, once.
func TestMemoryWithoutDatabase(t *testing.T) {
	pg := cluster.Start(t, cluster.Options{})
	url, dir := pg.Database(t), t.TempDir()
	password := filepath.Join(dir, "password")
	writeFile(t, password, cluster.Password+"\n")
	keys := fmt.Sprintf("store: {url: %q, password_file: %q, spool: {dir: %q}}", url, password, filepath.Join(dir, "spool")) + keepAll
	d := collecting(t, keys)
	d.send(20)
	pg.Kill(t)
	d.send(20)
	forged := d.refused("4dQZAWAY") // it has no learned sign, and waits for nobody
	d.stop()
	pg.Up(t)
	d = collecting(t, keys)
	d.send(20)
	d.eventually("emptied the spool", func() bool {
		return d.metric("sekimori_report_spool_bytes") == 0 && d.metric("sekimori_history_spool_bytes") == 0
	})
	if code, out := d.sekimori("explain", "--id", forged); code != 0 || !strings.Contains(out, "bank.example") || strings.Contains(out, "=true") {
		t.Errorf("the decision made while the database was away: exit code %d\n%s", code, out)
	}
	d.stop()
	s, err := postgres.Open(t.Context(), url, cluster.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	today := ledger.DayOf(time.Now())
	var counted, failed int64
	for row, err := range s.Ledger().Rows(t.Context(), ledger.Filter{From: today - 1, To: today}) {
		if err != nil {
			t.Fatal(err)
		}
		counted, failed = counted+row.Messages, failed+row.Fail
	}
	hits, err := s.FindHistory(t.Context(), history.Query{Limit: 1000})
	if err != nil || counted != 61 || failed != 1 || len(hits) != 61 {
		t.Errorf("%d messages are counted, %d of them failed, %d decisions are kept, %v; want 61, 1 and 61", counted, failed, len(hits), err)
	}
}

// TestNewerSchema: after a downgrade the daemon says what is wrong, and leaves the file alone.
func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sekimori.db")
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Exec("UPDATE meta SET value = 999 WHERE name = 'schema'"); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "sekimori.yaml")
	writeFile(t, conf, "mode: monitor\nlisten: ['unix:"+filepath.Join(dir, "s")+"']\nadmin: {listen: ''}\nstore: {url: 'sqlite:"+path+"'}\n")
	for _, args := range [][]string{{"serve"}, {"report", "list"}} {
		out, err := exec.Command(build(t), append(args, "--config", conf)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "it has schema 999, which is from a newer version of sekimori") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if found, err := filepath.Glob(filepath.Join(dir, "*damaged*")); err != nil || len(found) > 0 {
		t.Errorf("the file was set aside: %v, %v", found, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
