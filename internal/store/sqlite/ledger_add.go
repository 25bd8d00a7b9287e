package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"sekimori/internal/ledger"
)

// ledgerTables has the tables of the ledger (package ledger). days of a source is a ledger.DaySet, and
// rest the encoding of [ledger.Row.AppendRest]. paired is Author.Both. fresh says that the row was made by
// the statement that last wrote it.
const ledgerTables = `
CREATE TABLE ledger (
	day INTEGER NOT NULL, domain TEXT NOT NULL, grp TEXT NOT NULL,
	messages INTEGER NOT NULL, pass INTEGER NOT NULL, pass_dkim INTEGER NOT NULL, pass_spf INTEGER NOT NULL, fail INTEGER NOT NULL, temperror INTEGER NOT NULL,
	signed INTEGER NOT NULL, rejected INTEGER NOT NULL, quarantined INTEGER NOT NULL, indirect INTEGER NOT NULL, harsher INTEGER NOT NULL, milder INTEGER NOT NULL,
	policy TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, example TEXT NOT NULL, fresh INTEGER NOT NULL, rest BLOB NOT NULL,
	PRIMARY KEY (day, domain, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_domain ON ledger (domain, day);
CREATE TABLE ledger_day (day INTEGER NOT NULL, grp TEXT NOT NULL, domains INTEGER NOT NULL, dropped INTEGER NOT NULL, PRIMARY KEY (day, grp)) STRICT, WITHOUT ROWID;
CREATE TABLE author (
	domain TEXT NOT NULL, day INTEGER NOT NULL, owner TEXT NOT NULL, pass INTEGER NOT NULL, signed INTEGER NOT NULL, paired INTEGER NOT NULL,
	PRIMARY KEY (domain, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX author_day ON author (day);
CREATE TABLE source (
	domain TEXT NOT NULL, network BLOB NOT NULL, owner TEXT NOT NULL, last INTEGER NOT NULL, days INTEGER NOT NULL,
	PRIMARY KEY (domain, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_owner ON source (owner);
CREATE INDEX source_last ON source (last);
CREATE TABLE total (
	day INTEGER NOT NULL, grp TEXT NOT NULL, spf TEXT NOT NULL, dkim TEXT NOT NULL, policy TEXT NOT NULL, dmarc TEXT NOT NULL, applied TEXT NOT NULL,
	override TEXT NOT NULL, country TEXT NOT NULL, messages INTEGER NOT NULL,
	PRIMARY KEY (day, grp, spf, dkim, policy, dmarc, applied, override, country)
) STRICT, WITHOUT ROWID;
CREATE TABLE author_sketch (day INTEGER NOT NULL, policy TEXT NOT NULL, registers BLOB NOT NULL, PRIMARY KEY (day, policy)) STRICT, WITHOUT ROWID;
CREATE TABLE breakage (
	domain TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, ended INTEGER NOT NULL,
	evidence TEXT NOT NULL, example TEXT NOT NULL, PRIMARY KEY (domain, kind, subject)
) STRICT, WITHOUT ROWID;
`

// sourceNetworks lets the domains be found whose mail came from a network. The owner is in the index, so
// that the table need not be read.
const sourceNetworks = `CREATE INDEX source_network ON source (network, owner, last);`

// countColumns are the columns of [ledger.Counts.Fields].
var countColumns = []string{"messages", "pass", "pass_dkim", "pass_spf", "fail", "temperror", "signed", "rejected", "quarantined", "indirect", "harsher", "milder"}

// ledgerAdder adds the ledger of one batch.
type ledgerAdder struct {
	ctx  context.Context
	tx   *sql.Tx
	d    ledger.Delta
	days map[dayGroup]*dayCount
}

type dayGroup struct {
	day   ledger.Day
	group string
}

// dayCount is what changes in the table ledger_day. planned is how many rows of the statement that is
// being made may be new.
type dayCount struct{ before, added, planned, dropped int64 }

func addLedger(ctx context.Context, tx *sql.Tx, now time.Time, d ledger.Delta) error {
	if d.Empty() {
		return nil
	}
	d.Prune(ledger.DayOf(now))
	a := ledgerAdder{ctx, tx, d, map[dayGroup]*dayCount{}}
	for _, step := range []func() error{a.rows, a.counts, a.authors, a.sources, a.totals, a.figures, a.sketches} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// day returns the counts of a day.
func (a *ledgerAdder) day(day ledger.Day, group string) (*dayCount, error) {
	k := dayGroup{day, group}
	if c := a.days[k]; c != nil {
		return c, nil
	}
	c := &dayCount{}
	err := a.tx.QueryRowContext(a.ctx, "SELECT domains FROM ledger_day WHERE day = ? AND grp = ?", day, group).Scan(&c.before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	a.days[k] = c
	return c, nil
}

// fits reports whether a row may be written: its day has room for a new domain, or has the domain already.
func (a *ledgerAdder) fits(r *ledger.Row, c *dayCount) (bool, error) {
	room := a.d.RowLimit() - c.before - c.added - c.planned
	if a.d.MaxDomains <= 0 || room > ledgerChunk {
		return true, nil
	}
	var one int
	err := a.tx.QueryRowContext(a.ctx, "SELECT 1 FROM ledger WHERE day = ? AND domain = ? AND grp = ?", r.Day, string(r.Domain), r.Group).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) && room > 0 {
		c.planned++
		return true, nil
	}
	return err == nil, none(err)
}

// ledgerInsert adds to rows, and says of each whether it is new and what its rest was.
func ledgerInsert() (head, tail string) {
	columns := strings.Join(countColumns, ", ")
	var add strings.Builder
	for _, c := range countColumns {
		add.WriteString(c + " = " + c + " + excluded." + c + ", ")
	}
	head = "INSERT INTO ledger (day, domain, grp, " + columns + ", policy, first, last, example, rest, fresh) VALUES "
	tail = " ON CONFLICT DO UPDATE SET " + add.String() + `policy = iif(excluded.last >= last, excluded.policy, policy), first = min(first, excluded.first),
		last = max(last, excluded.last), example = iif(excluded.example <> '', excluded.example, example), fresh = 0 RETURNING day, domain, grp, fresh, rest`
	return head, tail
}

// ledgerChunk is how many rows a statement adds. modernc.org/sqlite looks for the value of each parameter
// among all values, so the time of a statement grows with the square of their number; these are 168.
const ledgerChunk = 8

// rows adds the rows. A statement returns the rests of the rows that were there; those that change are
// written by a second one, which is rarely more than a few.
func (a *ledgerAdder) rows() error {
	head, tail := ledgerInsert()
	const columns = 9 + ledger.NumCounts
	const each = ledgerChunk
	for begin := 0; begin < len(a.d.Rows); begin += each {
		var args []any
		n := 0
		for i := begin; i < min(begin+each, len(a.d.Rows)); i++ {
			r := &a.d.Rows[i]
			c, err := a.day(r.Day, r.Group)
			if err != nil {
				return err
			}
			ok, err := a.fits(r, c)
			if err != nil {
				return err
			}
			if !ok {
				c.dropped += r.Messages
				continue
			}
			args = append(args, r.Day, string(r.Domain), r.Group)
			for _, f := range r.Fields() {
				args = append(args, *f)
			}
			args = append(args, string(r.Policy), r.First, r.Last, r.Example, r.AppendRest(nil), 1)
			n++
		}
		if n == 0 {
			continue
		}
		row := "(" + strings.Repeat("?,", columns-1) + "?)"
		if err := a.write(head+strings.Repeat(row+",", n-1)+row+tail, args, a.d.Rows[begin:min(begin+each, len(a.d.Rows))]); err != nil {
			return err
		}
	}
	return nil
}

type ledgerKey struct {
	day           ledger.Day
	domain, group string
}

// changedRest is a rest that has to be written.
type changedRest struct {
	row  *ledger.Row
	rest []byte
}

func (a *ledgerAdder) write(statement string, args []any, rows []ledger.Row) error {
	byKey := make(map[ledgerKey]*ledger.Row, len(rows))
	for i := range rows {
		byKey[ledgerKey{rows[i].Day, string(rows[i].Domain), rows[i].Group}] = &rows[i]
	}
	var changed []changedRest
	found, err := a.tx.QueryContext(a.ctx, statement, args...)
	if err != nil {
		return err
	}
	defer found.Close() //nolint:errcheck // found.Err has the error
	for found.Next() {
		var k ledgerKey
		var fresh int64
		var rest []byte
		if err := found.Scan(&k.day, &k.domain, &k.group, &fresh, &rest); err != nil {
			return err
		}
		c, err := a.day(k.day, k.group)
		if err != nil {
			return err
		}
		c.added += fresh
		c.planned = 0
		r := byKey[k]
		if fresh != 0 || r == nil {
			continue
		}
		if merged := ledger.MergeRest(rest, r.AppendRest(nil)); string(merged) != string(rest) {
			changed = append(changed, changedRest{r, merged})
		}
	}
	if err := found.Err(); err != nil {
		return err
	}
	if err := found.Close(); err != nil {
		return err
	}
	for _, x := range changed {
		if _, err := a.tx.ExecContext(a.ctx, "UPDATE ledger SET rest = ? WHERE day = ? AND domain = ? AND grp = ?", x.rest, x.row.Day, string(x.row.Domain), x.row.Group); err != nil {
			return err
		}
	}
	return nil
}

// counts writes how many rows the days have now, and what was dropped.
func (a *ledgerAdder) counts() error {
	for _, x := range a.d.Dropped {
		c, err := a.day(x.Day, x.Group)
		if err != nil {
			return err
		}
		c.dropped += x.Messages
	}
	for k, c := range a.days {
		if c.added == 0 && c.dropped == 0 {
			continue
		}
		if _, err := a.tx.ExecContext(a.ctx, `INSERT INTO ledger_day (day, grp, domains, dropped) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET domains = domains + excluded.domains, dropped = dropped + excluded.dropped`, k.day, k.group, c.added, c.dropped); err != nil {
			return err
		}
	}
	return nil
}

func (a *ledgerAdder) authors() error {
	b := bulk{ctx: a.ctx, tx: a.tx, head: "INSERT INTO author (domain, day, owner, pass, signed, paired) VALUES ", columns: 6,
		tail: " ON CONFLICT DO UPDATE SET pass = pass + excluded.pass, signed = signed + excluded.signed, paired = paired + excluded.paired"}
	for _, x := range a.d.Authors {
		if err := b.add(string(x.Domain), x.Day, string(x.Owner), x.Pass, x.Signed, x.Both); err != nil {
			return err
		}
	}
	return b.flush()
}

// sources adds days to the sets of sources. The set counts back from the last day, so it is shifted if
// that day changes; see ledger.Source.Merge, which does the same.
func (a *ledgerAdder) sources() error {
	b := bulk{ctx: a.ctx, tx: a.tx, head: "INSERT INTO source (domain, network, owner, last, days) VALUES ", columns: 5,
		tail: ` ON CONFLICT DO UPDATE SET last = max(last, excluded.last), days = 1152921504606846975 & iif(excluded.last >= last,
			excluded.days | iif(excluded.last - last < 60, days << (excluded.last - last), 0), days | iif(last - excluded.last < 60, excluded.days << (last - excluded.last), 0))`}
	for i := range a.d.Sources {
		x := &a.d.Sources[i]
		if err := b.add(string(x.Domain), []byte(ledger.NetworkText(x.Network)), string(x.Owner), x.Last, int64(x.Days)); err != nil { //nolint:gosec // KeepSources bits
			return err
		}
	}
	return b.flush()
}

func (a *ledgerAdder) totals() error {
	b := bulk{ctx: a.ctx, tx: a.tx, head: "INSERT INTO total (day, grp, spf, dkim, policy, dmarc, applied, override, messages) VALUES ", columns: 9,
		tail: " ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"}
	for i := range a.d.Totals {
		x := &a.d.Totals[i]
		if err := b.add(x.Day, x.Group, x.SPF, x.DKIM, string(x.Policy), x.DMARC, x.Applied, x.Override, x.Messages); err != nil {
			return err
		}
	}
	return b.flush()
}

func (a *ledgerAdder) sketches() error {
	if len(a.d.Rows) == 0 {
		return nil
	}
	var secret []byte
	if err := a.tx.QueryRowContext(a.ctx, "SELECT value FROM meta WHERE name = 'secret'").Scan(&secret); err != nil {
		return err
	}
	for _, s := range ledger.Sketches(secret, a.d.Rows) {
		var stored []byte
		err := a.tx.QueryRowContext(a.ctx, "SELECT registers FROM author_sketch WHERE day = ? AND policy = ?", s.Day, string(s.Policy)).Scan(&stored)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if !s.Merge(stored) {
			continue
		}
		if _, err := a.tx.ExecContext(a.ctx, "INSERT OR REPLACE INTO author_sketch (day, policy, registers) VALUES (?, ?, ?)", s.Day, string(s.Policy), s.Registers); err != nil {
			return err
		}
	}
	return nil
}
