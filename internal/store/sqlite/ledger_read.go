package sqlite

import (
	"context"
	"database/sql"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// ledgerOf is the ledger of a database.
type ledgerOf struct{ d *DB }

// Ledger returns the ledger of the database.
func (d *DB) Ledger() ledger.Store { return ledgerOf{d} }

// where returns the condition of a filter, and its values.
func where(f ledger.Filter, domain bool) (condition string, args []any) {
	condition, args = " WHERE day BETWEEN ? AND ?", []any{f.From, f.To}
	if domain && f.Domain != "" {
		condition, args = condition+" AND domain = ?", append(args, string(f.Domain))
	}
	if f.Group != "" {
		condition, args = condition+" AND grp = ?", append(args, f.Group)
	}
	return condition, args
}

// Rows implements [ledger.Store]. It reads pages, as the rows of a report are read.
func (l ledgerOf) Rows(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	query := "SELECT day, domain, grp, " + strings.Join(countColumns, ", ") + ", policy, first, last, example, rest FROM ledger"
	return func(yield func(ledger.Row, error) bool) {
		condition, args := where(f, true)
		after := []any{}
		for {
			var page []ledger.Row
			err := l.d.read(ctx, func(q *sql.DB) (err error) {
				next := ""
				if len(after) > 0 {
					next = " AND (day, domain, grp) > (?, ?, ?)"
				}
				all := append(append(append([]any{}, args...), after...), pageRows)
				page, err = collect(ctx, q, scanLedger, query+condition+next+" ORDER BY day, domain, grp LIMIT ?", all...)
				return err
			})
			if err != nil {
				yield(ledger.Row{}, err)
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if len(page) < pageRows {
				return
			}
			last := &page[len(page)-1]
			after = []any{last.Day, string(last.Domain), last.Group}
		}
	}
}

func scanLedger(row scanner) (r ledger.Row, err error) {
	into := []any{&r.Day, &r.Domain, &r.Group}
	for _, f := range r.Fields() {
		into = append(into, f)
	}
	var kept []byte
	if err = row.Scan(append(into, &r.Policy, &r.First, &r.Last, &r.Example, &kept)...); err != nil {
		return r, err
	}
	_ = r.ReadRest(kept) // without it the row still has its counts
	return r, nil
}

// lastPolicy finds the policy of the last day: an aggregate of SQL cannot choose a row by another column.
const lastPolicy = "max(last * 4 + CASE policy WHEN 'none' THEN 1 WHEN 'quarantine' THEN 2 WHEN 'reject' THEN 3 ELSE 0 END)"

func policyOf(code int64) dmarc.Policy {
	return [...]dmarc.Policy{"", dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject}[code&3]
}

// orders has the ORDER BY of each order.
func orderOf(by ledger.Order) string {
	switch by {
	case ledger.ByMessages, ledger.ByFail, ledger.ByRejected, ledger.ByQuarantined:
		return "sum(" + string(by) + ") DESC, domain"
	}
	return "domain"
}

// Sums implements [ledger.Store].
func (l ledgerOf) Sums(ctx context.Context, f ledger.Filter, by ledger.Order, limit int) iter.Seq2[ledger.Sum, error] {
	return func(yield func(ledger.Sum, error) bool) {
		condition, args := where(f, true)
		if limit <= 0 {
			limit = -1
		}
		days, err := l.countDays(ctx, f)
		if err != nil {
			yield(ledger.Sum{}, err)
			return
		}
		err = l.d.stream(ctx, func(row scanner) (bool, error) {
			var s ledger.Sum
			var code int64
			into := []any{&s.Domain}
			for _, f := range s.Fields() {
				into = append(into, f)
			}
			if err := row.Scan(append(into, &code, &s.Days, &s.First, &s.Last)...); err != nil {
				return false, err
			}
			s.Policy = policyOf(code)
			return yield(s, nil), nil
		}, "SELECT domain, sum("+strings.Join(countColumns, "), sum(")+"), "+lastPolicy+", "+days+", min(first), max(last) FROM ledger"+condition+
			" GROUP BY domain ORDER BY "+orderOf(by)+" LIMIT ?", append(args, limit)...)
		if err != nil {
			yield(ledger.Sum{}, err)
		}
	}
}

// Hits implements [ledger.Store].
func (l ledgerOf) Hits(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Hit, error] {
	return func(yield func(ledger.Hit, error) bool) {
		condition, args := where(f, true)
		err := l.d.stream(ctx, func(row scanner) (bool, error) {
			var h ledger.Hit
			var code int64
			into := []any{&h.Domain}
			for _, f := range h.Fields() {
				into = append(into, f)
			}
			if err := row.Scan(append(into, &code, &h.Reject, &h.Quarantine)...); err != nil {
				return false, err
			}
			h.Policy = policyOf(code)
			return yield(h, nil), nil
		}, "SELECT domain, sum("+strings.Join(countColumns, "), sum(")+"), "+lastPolicy+`, sum(iif(policy = 'reject', fail, 0)) AS rejects,
			sum(iif(policy = 'quarantine', fail, 0)) AS quarantines FROM ledger`+condition+
			" GROUP BY domain HAVING rejects + quarantines > 0 ORDER BY rejects + quarantines DESC, domain", args...)
		if err != nil {
			yield(ledger.Hit{}, err)
		}
	}
}

// carriedChunk is how many networks a query asks for.
const carriedChunk = 200

// Carried implements [ledger.Store].
func (l ledgerOf) Carried(ctx context.Context, networks []netip.Prefix, since ledger.Day) (map[netip.Prefix][]dns.Name, error) {
	all := map[netip.Prefix][]dns.Name{}
	for part := range slices.Chunk(networks, carriedChunk) {
		args := make([]any, 0, len(part)+2)
		for _, n := range part {
			args = append(args, []byte(ledger.NetworkText(n)))
		}
		err := l.d.stream(ctx, func(row scanner) (bool, error) {
			var text []byte
			var owner dns.Name
			if err := row.Scan(&text, &owner); err != nil {
				return false, err
			}
			n, ok := ledger.ParseNetwork(string(text))
			if ok && len(all[n]) < ledger.MaxCarried {
				all[n] = append(all[n], owner)
			}
			return true, nil
		}, "SELECT DISTINCT network, owner FROM source INDEXED BY source_network WHERE network IN (?"+strings.Repeat(", ?", len(part)-1)+
			") AND last >= ? ORDER BY network, owner", append(args, since)...)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// countDays returns the expression for the days of a domain. With one group each row is a day; a set of the days
// of each domain would take as long as everything else.
func (l ledgerOf) countDays(ctx context.Context, f ledger.Filter) (expression string, err error) {
	groups := int64(1)
	if f.Group == "" {
		err = l.d.read(ctx, func(q *sql.DB) error {
			return q.QueryRowContext(ctx, "SELECT count(DISTINCT grp) FROM ledger_day WHERE day BETWEEN ? AND ?", f.From, f.To).Scan(&groups)
		})
	}
	if groups > 1 {
		return "count(DISTINCT day)", err
	}
	return "count(*)", err
}

// stream calls f for each row, until f returns false. The reader's connection is held so long.
func (d *DB) stream(ctx context.Context, f func(scanner) (bool, error), query string, args ...any) error {
	return d.read(ctx, func(q *sql.DB) error {
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err has the error
		for rows.Next() {
			if more, err := f(rows); err != nil || !more {
				return err
			}
		}
		return rows.Err()
	})
}

// Totals implements [ledger.Store].
func (l ledgerOf) Totals(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Total, error] {
	return func(yield func(ledger.Total, error) bool) {
		condition, args := where(f, false)
		err := l.d.stream(ctx, func(row scanner) (bool, error) {
			var t ledger.Total
			if err := row.Scan(&t.Day, &t.Group, &t.SPF, &t.DKIM, &t.Policy, &t.DMARC, &t.Applied, &t.Override, &t.Messages); err != nil {
				return false, err
			}
			return yield(t, nil), nil
		}, "SELECT day, grp, spf, dkim, policy, dmarc, applied, override, messages FROM total"+condition+
			" ORDER BY day, grp, spf, dkim, policy, dmarc, applied, override", args...)
		if err != nil {
			yield(ledger.Total{}, err)
		}
	}
}

func scanSource(row scanner) (s ledger.Source, err error) {
	var network []byte
	var days int64
	err = row.Scan(&s.Domain, &network, &s.Owner, &s.Last, &days)
	s.Network, _ = ledger.ParseNetwork(string(network))
	s.Days = ledger.DaySet(days) //nolint:gosec // KeepSources bits
	return s, err
}

const sourceColumns = "SELECT domain, network, owner, last, days FROM source"

// Sources implements [ledger.Store].
func (l ledgerOf) Sources(ctx context.Context, owner dns.Name, since ledger.Day) (all []ledger.Source, err error) {
	err = l.d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, scanSource, sourceColumns+" WHERE owner = ? AND last >= ? ORDER BY last DESC, domain, network", string(owner), since)
		return err
	})
	return all, err
}

// Known implements [ledger.Store].
func (l ledgerOf) Known(ctx context.Context, author dns.Name, network netip.Prefix) (s ledger.Source, known bool, err error) {
	err = l.d.read(ctx, func(q *sql.DB) error {
		found, err := collect(ctx, q, scanSource, sourceColumns+" WHERE domain = ? AND network = ?", string(author), []byte(ledger.NetworkText(network)))
		if len(found) > 0 {
			s, known = found[0], true
		}
		return err
	})
	return s, known, err
}

// Authors implements [ledger.Store].
func (l ledgerOf) Authors(ctx context.Context, author dns.Name, since ledger.Day) (all []ledger.Author, err error) {
	err = l.d.read(ctx, func(q *sql.DB) error {
		all, err = authorDays(ctx, q, author, since)
		return err
	})
	return all, err
}

func authorDays(ctx context.Context, q *sql.DB, author dns.Name, since ledger.Day) ([]ledger.Author, error) {
	return collect(ctx, q, func(row scanner) (a ledger.Author, err error) {
		err = row.Scan(&a.Day, &a.Domain, &a.Owner, &a.Pass, &a.Signed, &a.Both)
		return a, err
	}, "SELECT day, domain, owner, pass, signed, paired FROM author WHERE domain = ? AND day >= ? ORDER BY day", string(author), since)
}

// Usual implements [ledger.Store].
func (l ledgerOf) Usual(ctx context.Context, author dns.Name, today ledger.Day) (u ledger.Usual, err error) {
	err = l.d.read(ctx, func(q *sql.DB) error {
		u = ledger.Usual{Domain: author}
		days, err := authorDays(ctx, q, author, today-ledger.UsualDays)
		if err != nil {
			return err
		}
		sources, err := collect(ctx, q, scanSource, sourceColumns+" WHERE domain = ? AND last > ? AND last <= ? ORDER BY last DESC, network LIMIT ?",
			string(author), today-ledger.KeepSources, today, ledger.MaxUsual+1)
		u.Sum(days, sources, today)
		return err
	})
	return u, err
}

// Dropped implements [ledger.Store].
func (l ledgerOf) Dropped(ctx context.Context, f ledger.Filter) (all []ledger.Dropped, err error) {
	condition, args := where(f, false)
	err = l.d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, func(row scanner) (x ledger.Dropped, err error) {
			err = row.Scan(&x.Day, &x.Group, &x.Messages)
			return x, err
		}, "SELECT day, grp, dropped FROM ledger_day"+condition+" AND dropped > 0 ORDER BY day, grp", args...)
		return err
	})
	return all, err
}

// AuthorDomains implements [ledger.Store].
func (l ledgerOf) AuthorDomains(ctx context.Context, f ledger.Filter) (map[dmarc.Policy]float64, error) {
	merged := map[dmarc.Policy][]byte{}
	err := l.d.stream(ctx, func(row scanner) (bool, error) {
		var policy dmarc.Policy
		var stored []byte
		if err := row.Scan(&policy, &stored); err != nil {
			return false, err
		}
		ledger.Gather(merged, policy, stored)
		return true, nil
	}, "SELECT policy, registers FROM author_sketch WHERE day BETWEEN ? AND ?", f.From, f.To)
	if err != nil {
		return nil, err
	}
	return ledger.Estimates(merged), nil
}

func scanBreakage(row scanner) (b ledger.Breakage, err error) {
	var first, last, ended int64
	err = row.Scan(&b.Domain, &b.Kind, &b.Subject, &first, &last, &ended, &b.Evidence, &b.Example)
	b.First, b.Last, b.Ended = at(first), at(last), at(ended)
	return b, err
}

// Breakages implements [ledger.Store].
func (l ledgerOf) Breakages(ctx context.Context, since time.Time) (all []ledger.Breakage, err error) {
	err = l.d.read(ctx, func(q *sql.DB) error {
		all, err = collect(ctx, q, scanBreakage, `SELECT domain, kind, subject, first, last, ended, evidence, example FROM breakage
			WHERE ended = 0 OR ended > ? ORDER BY domain, kind, subject`, micro(since))
		return err
	})
	return all, err
}

// SetBreakage implements [ledger.Store].
func (l ledgerOf) SetBreakage(ctx context.Context, b ledger.Breakage) error {
	return l.d.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO breakage (domain, kind, subject, first, last, ended, evidence, example) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			string(b.Domain), string(b.Kind), b.Subject, micro(b.First), micro(b.Last), micro(b.Ended), b.Evidence, b.Example)
		return err
	})
}
