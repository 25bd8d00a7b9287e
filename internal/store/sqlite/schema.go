package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
)

// application marks the file as ours, for file(1) and so that we do not write into the database of
// another program. It is "Seki".
const application = 0x53656b69

// migrations bring a database from the schema of their index to the next one. A migration that was in
// a release never changes.
var migrations = []string{reportTables, markTable, ledgerTables, reportOwners, historyTables, farmTables, figureTables, historyVerdicts, sourceNetworks, historyHints}

// reportTables has the tables of DMARC reports (reports.md §4). Times are microseconds since 1970, and 0
// is the zero time. Windows are in seconds, days count from 1970.
//
// detail and tally are apart, because the counts change all the time and the details never: in one
// table, each new count would write the whole row again. A detail is the encoding of [report.Row].
const reportTables = `
CREATE TABLE policy (
	id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, domain TEXT NOT NULL,
	p TEXT NOT NULL, sp TEXT NOT NULL, np TEXT NOT NULL, adkim TEXT NOT NULL, aspf TEXT NOT NULL, fo TEXT NOT NULL,
	testing INTEGER NOT NULL, method TEXT NOT NULL, invalid TEXT NOT NULL
) STRICT;
CREATE TABLE job (
	id INTEGER PRIMARY KEY AUTOINCREMENT, domain TEXT NOT NULL, policy INTEGER NOT NULL, window_begin INTEGER NOT NULL, window_end INTEGER NOT NULL,
	state TEXT NOT NULL DEFAULT 'open', not_before INTEGER NOT NULL,
	owner TEXT NOT NULL DEFAULT '', lease_no INTEGER NOT NULL DEFAULT 0, lease_until INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
	report_id TEXT NOT NULL DEFAULT '', rows INTEGER NOT NULL DEFAULT 0, messages INTEGER NOT NULL DEFAULT 0, causes INTEGER NOT NULL DEFAULT 0,
	spam INTEGER NOT NULL DEFAULT 0, late INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, merged INTEGER NOT NULL DEFAULT 0,
	outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
	UNIQUE (domain, window_begin, policy)
) STRICT;
CREATE INDEX job_open ON job (window_end) WHERE state = 'open';
CREATE INDEX job_due ON job (not_before, id) WHERE state = 'due';
CREATE INDEX job_claimed ON job (lease_until) WHERE state = 'claimed';
CREATE INDEX job_done ON job (lease_until) WHERE state = 'done';
CREATE INDEX job_window ON job (window_begin, domain);
CREATE INDEX job_policy ON job (policy);
CREATE INDEX job_report_id ON job (report_id) WHERE report_id <> '';
CREATE TABLE detail (job INTEGER NOT NULL, key BLOB NOT NULL, row BLOB NOT NULL, PRIMARY KEY (job, key)) STRICT, WITHOUT ROWID;
CREATE TABLE tally (job INTEGER NOT NULL, key BLOB NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (job, key)) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (
	id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL, address TEXT NOT NULL, word TEXT NOT NULL, detail TEXT NOT NULL,
	tries INTEGER NOT NULL, next_try INTEGER NOT NULL, reply TEXT NOT NULL, at INTEGER NOT NULL, bounced INTEGER NOT NULL,
	UNIQUE (job, address)
) STRICT;
CREATE TABLE suppression (
	target TEXT PRIMARY KEY, since INTEGER NOT NULL, until INTEGER NOT NULL, strikes INTEGER NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,
	window_begin INTEGER NOT NULL, sent INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE seen (domain TEXT NOT NULL, day INTEGER NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (domain, day, kind)) STRICT, WITHOUT ROWID;
CREATE INDEX seen_age ON seen (kind, day);
CREATE TABLE batch (id TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`

// reportOwners lets the jobs of one owner be counted. registered is [report.Policy.Owner]. Jobs that are
// older than this have none.
// quota has what [report.Store.Allow] counts.
const reportOwners = `
CREATE TABLE quota (day INTEGER NOT NULL, name TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, name)) STRICT, WITHOUT ROWID;
ALTER TABLE job ADD COLUMN registered TEXT NOT NULL DEFAULT '';
CREATE INDEX job_registered ON job (window_begin, registered);
CREATE TABLE excess (
	window_begin INTEGER NOT NULL, window_end INTEGER NOT NULL, registered TEXT NOT NULL, messages INTEGER NOT NULL, PRIMARY KEY (window_begin, registered)
) STRICT, WITHOUT ROWID;
`

// querier is a pool or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schemaOf returns the version of the schema: 0 for a new file. It refuses the file of another program.
func schemaOf(ctx context.Context, q querier) (int, error) {
	var id, tables, version int
	if err := q.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return 0, err
	}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return 0, err
	}
	if id == 0 && tables == 0 {
		return 0, nil
	}
	if id != application {
		return 0, errors.New("this is the database of another program; give store.url a file of its own")
	}
	err := q.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'schema'").Scan(&version)
	return version, err
}

func newer(found, known int) error {
	return fmt.Errorf("it has schema %d, which is from a newer version of sekimori; this version knows schemas up to %d", found, known)
}

// migrate applies the migrations that the database lacks, in one transaction.
func migrate(ctx context.Context, db *sql.DB, migrations []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit there is nothing to roll back
	found, err := schemaOf(ctx, tx)
	switch {
	case err != nil:
		return err
	case found > len(migrations):
		return newer(found, len(migrations))
	case found == len(migrations):
		return nil
	case found == 0:
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
		begin := fmt.Sprintf("PRAGMA application_id = %d; CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;", application)
		if _, err := tx.ExecContext(ctx, begin); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES ('schema', 0), ('secret', ?)", secret); err != nil {
			return err
		}
	}
	for n, script := range migrations[found:] {
		if _, err := tx.ExecContext(ctx, script); err != nil {
			return fmt.Errorf("schema %d: %w", found+n+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'schema'", len(migrations)); err != nil {
		return err
	}
	return tx.Commit()
}
