package e2e

import (
	"context"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"sekimori/internal/report"
	"sekimori/internal/store"
	"sekimori/internal/testkit/cluster"
	"sekimori/internal/testkit/nameserver"
)

// reportZone is the DNS of the report tests: two domains that ask for reports, and ours. The reports of gone.test go to a recipient
// of another domain, which agrees, but whose mail server refuses it.
const reportZone = `
shop.test                          TXT "v=spf1 ip4:192.0.2.20 -all"
shop.test                          MX  10 mx.shop.test
mx.shop.test                       A   192.0.2.21
_dmarc.shop.test                   TXT "v=DMARC1; p=quarantine; rua=mailto:rua@shop.test"
s1._domainkey.shop.test            TXT RSAKEY
gone.test                          TXT "v=spf1 ip4:192.0.2.30 -all"
_dmarc.gone.test                   TXT "v=DMARC1; p=none; rua=mailto:refused@shop.test"
gone.test._report._dmarc.shop.test TXT "v=DMARC1"
quiet.test                         TXT "v=spf1 ip4:192.0.2.40 -all"
_dmarc.quiet.test                  TXT "v=DMARC1; p=none"
_dmarc.dmarc.isp.test              TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
r1._domainkey.dmarc.isp.test       TXT RSAKEY
`

// reportWorld is what the daemons of a report test share: the Postfix that submits, the one that receives, DNS, and the store.
type reportWorld struct {
	reader, operator *own
	socket           string // for bounces
	dns, keyFile     string
	config           string // the value of "store", with DIR for a directory of the daemon
	open             func(context.Context) (report.Store, error)
	// yesterday moves everything in the store a day back, so that the windows that were open are over. No daemon may run.
	yesterday func(*testing.T)
	// sql executes a statement in the store.
	sql func(t *testing.T, statement string)
}

// startReportWorld starts it, with further lines of the DNS zone.
func startReportWorld(t *testing.T, zone string) *reportWorld {
	t.Helper()
	s := shared(t)
	switch of := time.Since(time.Unix(today(), 0)); {
	case of > 24*time.Hour-3*time.Minute:
		t.Skip("the mail of this test would fall into two days: it is almost midnight UTC")
	case of <= report.Grace: // the windows of yesterday still take rows, so no report on them leaves
		t.Skip("yesterday's windows are still open: it is just after midnight UTC")
	}
	w := &reportWorld{reader: startReader(t)}
	w.operator, _, _, w.socket = startOperator(t, w.reader)
	rsaTXT, _ := s.keys.records()
	w.dns = nameserver.ServeZone(t, nameserver.Zone(t, strings.ReplaceAll(reportZone+zone, "RSAKEY", rsaTXT)), nameserver.Options{Addr: s.host + ":0"}).Addr()
	key, err := x509.MarshalPKCS8PrivateKey(s.keys.rsa)
	if err != nil {
		t.Fatal(err)
	}
	w.keyFile = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(w.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// start starts a daemon that sends reports on the domains. It takes bounces if bounces is true; only one daemon can.
func (w *reportWorld) start(t *testing.T, bounces bool, domains ...string) *mx {
	t.Helper()
	listener := `""`
	if bounces {
		listener = fmt.Sprintf("{address: %q, mode: 0660, group: postfix}", "unix:"+w.socket)
	}
	return newMX(t, plain, settings{
		"dns":   fmt.Sprintf("{servers: [%q]}", w.dns),
		"store": strings.ReplaceAll(w.config, "DIR", t.TempDir()),
		"report": fmt.Sprintf("{organization: Example ISP, domain: %s, contact: postmaster@isp.test, mail: {server: %q, "+
			"bounces: %s, dkim: {selector: r1, key_file: %q}}, "+
			"aggregate: {send: true, spread: 0s, rate_per_host: 10, always: [%s]}}", reportDomain, w.operator.smtp, listener, w.keyFile, strings.Join(domains, ", ")),
	})
}

// store opens the store beside the daemons.
func (w *reportWorld) store(t *testing.T) report.Store {
	t.Helper()
	s, err := w.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// onSQLite keeps the reports in a file.
func (w *reportWorld) onSQLite(t *testing.T) *reportWorld {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sekimori.db")
	url := "sqlite:" + path
	w.config = fmt.Sprintf("{url: %q}", url)
	w.open = func(ctx context.Context) (report.Store, error) { return store.OpenBeside(ctx, url, store.Options{}) }
	w.sql = func(t *testing.T, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	w.yesterday = func(t *testing.T) {
		t.Helper()
		// Two steps, so that no two jobs are equal in between.
		w.sql(t, "UPDATE job SET window_begin = -window_begin")
		w.sql(t, "UPDATE job SET window_begin = -window_begin - 86400, window_end = window_end - 86400, not_before = not_before - 86400000000")
		w.sql(t, "UPDATE suppression SET window_begin = window_begin - 86400")
	}
	return w
}

// dayBack moves the rows of the day in a table a day back: they are in a partition that has the day in its name.
const dayBack = `DO $$ DECLARE t text; d integer; BEGIN
	FOR t, d IN SELECT parent, substring(c.relname FROM '_d(-?[0-9]+)$')::integer FROM unnest(ARRAY['detail', 'tally']) AS parent
		JOIN pg_inherits i ON i.inhparent = ('sekimori.' || parent)::regclass JOIN pg_class c ON c.oid = i.inhrelid ORDER BY 2
	LOOP
		EXECUTE format('ALTER TABLE sekimori.%I DETACH PARTITION sekimori.%I', t, t || '_d' || d);
		EXECUTE format('ALTER TABLE sekimori.%I RENAME TO %I', t || '_d' || d, t || '_d' || d - 1);
		EXECUTE format('UPDATE sekimori.%I SET day = day - 1', t || '_d' || d - 1);
		EXECUTE format('ALTER TABLE sekimori.%I ATTACH PARTITION sekimori.%I FOR VALUES IN (%s)', t, t || '_d' || d - 1, d - 1);
	END LOOP;
END $$`

// onPostgres keeps the reports in a database of a server of its own.
func (w *reportWorld) onPostgres(t *testing.T) *reportWorld {
	t.Helper()
	pg := cluster.Start(t, cluster.Options{})
	url := pg.Database(t)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(cluster.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config = fmt.Sprintf("{url: %q, password_file: %q, spool: {dir: DIR/spool}}", url, password)
	w.open = func(ctx context.Context) (report.Store, error) {
		return store.OpenBeside(ctx, url, store.Options{Password: cluster.Password})
	}
	w.sql = func(t *testing.T, statement string) {
		t.Helper()
		pg.SQL(t, cluster.Name(url), "SET search_path TO sekimori; "+statement)
	}
	w.yesterday = func(t *testing.T) {
		t.Helper()
		w.sql(t, dayBack)
		w.sql(t, "UPDATE job SET begins = -begins")
		w.sql(t, "UPDATE job SET begins = -begins - 86400, ends = ends - 86400, send_at = send_at - interval '1 day'")
		w.sql(t, "UPDATE suppression SET begins = begins - 86400")
	}
	return w
}

// today returns the first second of the day.
func today() int64 { return time.Now().UTC().Truncate(24 * time.Hour).Unix() }
