package postgres

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

// ledgerOf is the ledger of a database.
type ledgerOf struct{ s *Store }

// Ledger returns the ledger of the database.
func (s *Store) Ledger() ledger.Store { return ledgerOf{s} }

// where returns the condition of a filter, and its values.
func where(f ledger.Filter, domain bool) (condition string, args []any) {
	condition, args = " WHERE day BETWEEN $1 AND $2", []any{int32(f.From), int32(f.To)}
	if domain && f.Domain != "" {
		args = append(args, escape(string(f.Domain)))
		condition += " AND domain = $" + strconv.Itoa(len(args))
	}
	if f.Group != "" {
		args = append(args, escape(f.Group))
		condition += " AND grp = $" + strconv.Itoa(len(args))
	}
	return condition, args
}

// stopped ends a stream whose reader wants no more.
type stopped struct{}

func (stopped) Error() string { return "the reader wants no more" }

// stream calls f for each row of a query, until f returns false. A query that only reads has no conflicts,
// so it does not begin again in the middle.
func (l ledgerOf) stream(ctx context.Context, what string, f func(pgx.Rows) (bool, error), query string, args ...any) error {
	return l.s.do(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			more, err := f(rows)
			if err != nil {
				return err
			}
			if !more {
				return stopped{}
			}
		}
		return rows.Err()
	})
}

// ledgerPage is how many rows are read at once. Between two pages no connection is held.
const ledgerPage = 2000

// Rows implements [ledger.Store].
func (l ledgerOf) Rows(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Row, error] {
	query := "SELECT day, domain, grp, " + strings.Join(countColumns, ", ") + ", policy, first, last, example, rest FROM ledger"
	return func(yield func(ledger.Row, error) bool) {
		// A day is a partition, so the pages of one day follow each other without a look at the others.
		from, domain, group, first := f.From, "", "", true
		for {
			day := f
			day.From = from
			condition, args := where(day, true)
			if !first {
				args = append(args, int32(from), domain, group)
				n := len(args)
				condition += " AND (day > $" + strconv.Itoa(n-2) + " OR (domain, grp) > ($" + strconv.Itoa(n-1) + ", $" + strconv.Itoa(n) + "))"
			}
			var page []ledger.Row
			err := l.s.do(ctx, "read the ledger", func(ctx context.Context, tx pgx.Tx) error {
				found, err := tx.Query(ctx, query+condition+" ORDER BY day, domain, grp LIMIT "+strconv.Itoa(ledgerPage), args...)
				if err != nil {
					return err
				}
				page, err = pgx.CollectRows(found, scanLedger)
				return err
			})
			if err != nil {
				yield(ledger.Row{}, err)
				return
			}
			for i := range page {
				if !yield(page[i], nil) {
					return
				}
			}
			if len(page) < ledgerPage {
				return
			}
			last := &page[len(page)-1]
			from, domain, group, first = last.Day, escape(string(last.Domain)), escape(last.Group), false
		}
	}
}

func scanLedger(row pgx.CollectableRow) (r ledger.Row, err error) {
	var domain, group, policy, example string
	var day int32
	into := []any{&day, &domain, &group}
	for _, f := range r.Fields() {
		into = append(into, f)
	}
	var rest []byte
	if err = row.Scan(append(into, &policy, &r.First, &r.Last, &example, &rest)...); err != nil {
		return r, err
	}
	r.Day, r.Domain, r.Group, r.Policy, r.Example = ledger.Day(day), dns.Name(unescape(domain)), unescape(group), dmarc.Policy(unescape(policy)), unescape(example)
	_ = r.ReadRest(rest) // without it the row still has its counts
	return r, nil
}

// lastPolicy finds the policy of the last day: an aggregate of SQL cannot choose a row by another column.
const lastPolicy = "max(last * 4 + CASE policy WHEN 'none' THEN 1 WHEN 'quarantine' THEN 2 WHEN 'reject' THEN 3 ELSE 0 END)"

func policyOf(code int64) dmarc.Policy {
	return [...]dmarc.Policy{"", dmarc.PolicyNone, dmarc.PolicyQuarantine, dmarc.PolicyReject}[code&3]
}

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
		var sums strings.Builder
		for _, c := range countColumns {
			sums.WriteString("sum(" + c + ")::bigint, ")
		}
		days := "count(*)"
		if f.Group == "" {
			days = "count(DISTINCT day)"
		}
		query := "SELECT domain, " + sums.String() + lastPolicy + ", " + days + ", min(first), max(last) FROM ledger" + condition + " GROUP BY domain ORDER BY " + orderOf(by)
		if limit > 0 {
			query += " LIMIT " + strconv.Itoa(limit)
		}
		deliver(yield, func(row func(pgx.Rows) (bool, error)) error {
			return l.stream(ctx, "add up the ledger", row, query, args...)
		}, func(rows pgx.Rows) (s ledger.Sum, err error) {
			var domain string
			var policy int64
			into := []any{&domain}
			for _, f := range s.Fields() {
				into = append(into, f)
			}
			err = rows.Scan(append(into, &policy, &s.Days, &s.First, &s.Last)...)
			s.Domain, s.Policy = dns.Name(unescape(domain)), policyOf(policy)
			return s, err
		})
	}
}

// Hits implements [ledger.Store].
func (l ledgerOf) Hits(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Hit, error] {
	return func(yield func(ledger.Hit, error) bool) {
		condition, args := where(f, true)
		var sums strings.Builder
		for _, c := range countColumns {
			sums.WriteString("sum(" + c + ")::bigint, ")
		}
		query := "SELECT domain, " + sums.String() + lastPolicy + ", " + rejects + ", " + quarantines + " FROM ledger" + condition +
			" GROUP BY domain HAVING " + rejects + " + " + quarantines + " > 0 ORDER BY " + rejects + " + " + quarantines + " DESC, domain"
		deliver(yield, func(row func(pgx.Rows) (bool, error)) error {
			return l.stream(ctx, "add up what policies would have hit", row, query, args...)
		}, func(rows pgx.Rows) (h ledger.Hit, err error) {
			var domain string
			var policy int64
			into := []any{&domain}
			for _, f := range h.Fields() {
				into = append(into, f)
			}
			err = rows.Scan(append(into, &policy, &h.Reject, &h.Quarantine)...)
			h.Domain, h.Policy = dns.Name(unescape(domain)), policyOf(policy)
			return h, err
		})
	}
}

// The messages that failed under a policy.
const (
	rejects     = "coalesce(sum(fail) FILTER (WHERE policy = 'reject'), 0)::bigint"
	quarantines = "coalesce(sum(fail) FILTER (WHERE policy = 'quarantine'), 0)::bigint"
)

// deliver yields what scan makes of the rows of a stream, and the error of the stream, if it ends with
// one.
func deliver[T any](yield func(T, error) bool, stream func(func(pgx.Rows) (bool, error)) error, scan func(pgx.Rows) (T, error)) {
	over := false
	err := stream(func(rows pgx.Rows) (bool, error) {
		x, err := scan(rows)
		if err != nil {
			return false, err
		}
		over = !yield(x, nil)
		return !over, nil
	})
	if err != nil && !over {
		var none T
		yield(none, err)
	}
}

// Totals implements [ledger.Store].
func (l ledgerOf) Totals(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Total, error] {
	return func(yield func(ledger.Total, error) bool) {
		condition, args := where(f, false)
		query := "SELECT day, grp, spf, dkim, policy, dmarc, applied, override, messages FROM total" + condition +
			" ORDER BY day, grp, spf, dkim, policy, dmarc, applied, override"
		deliver(yield, func(row func(pgx.Rows) (bool, error)) error {
			return l.stream(ctx, "read the totals", row, query, args...)
		}, func(rows pgx.Rows) (t ledger.Total, err error) {
			var day int32
			var policy string
			words := [...]*string{&t.Group, &t.SPF, &t.DKIM, &policy, &t.DMARC, &t.Applied, &t.Override}
			into := []any{&day}
			for _, w := range words {
				into = append(into, w)
			}
			err = rows.Scan(append(into, &t.Messages)...)
			for _, w := range words {
				*w = unescape(*w)
			}
			t.Day, t.Policy = ledger.Day(day), dmarc.Policy(policy)
			return t, err
		})
	}
}

// all reads the rows of a short answer.
func all[T any](ctx context.Context, s *Store, what string, scan pgx.RowToFunc[T], query string, args ...any) (out []T, err error) {
	err = s.do(ctx, what, func(ctx context.Context, tx pgx.Tx) error {
		found, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(found, scan)
		return err
	})
	if len(out) == 0 {
		return nil, err
	}
	return out, err
}

// Authors implements [ledger.Store].
func (l ledgerOf) Authors(ctx context.Context, author dns.Name, since ledger.Day) ([]ledger.Author, error) {
	return all(ctx, l.s, "read the days of an author", func(row pgx.CollectableRow) (a ledger.Author, err error) {
		var day int32
		var domain, owner string
		err = row.Scan(&day, &domain, &owner, &a.Pass, &a.Signed, &a.Both)
		a.Day, a.Domain, a.Owner = ledger.Day(day), dns.Name(unescape(domain)), dns.Name(unescape(owner))
		return a, err
	}, "SELECT day, domain, owner, pass, signed, paired FROM author WHERE domain = $1 AND day >= $2 ORDER BY day", escape(string(author)), int32(since))
}

// Usual implements [ledger.Store].
func (l ledgerOf) Usual(ctx context.Context, author dns.Name, today ledger.Day) (ledger.Usual, error) {
	u := ledger.Usual{Domain: author}
	days, err := l.Authors(ctx, author, today-ledger.UsualDays)
	if err != nil {
		return u, err
	}
	sources, err := all(ctx, l.s, "read the sources of an author", scanSource, sourceColumns+" WHERE domain = $1 AND last > $2 AND last <= $3 ORDER BY last DESC, network LIMIT $4",
		escape(string(author)), int32(today-ledger.KeepSources), int32(today), ledger.MaxUsual+1)
	if err != nil {
		return u, err
	}
	u.Sum(days, sources, today)
	return u, nil
}

// Dropped implements [ledger.Store].
func (l ledgerOf) Dropped(ctx context.Context, f ledger.Filter) ([]ledger.Dropped, error) {
	condition, args := where(f, false)
	return all(ctx, l.s, "read what the ledger lacks", func(row pgx.CollectableRow) (x ledger.Dropped, err error) {
		var day int32
		err = row.Scan(&day, &x.Group, &x.Messages)
		x.Day, x.Group = ledger.Day(day), unescape(x.Group)
		return x, err
	}, "SELECT day, grp, dropped FROM ledger_day"+condition+" AND dropped > 0 ORDER BY day, grp", args...)
}

// AuthorDomains implements [ledger.Store].
func (l ledgerOf) AuthorDomains(ctx context.Context, f ledger.Filter) (map[dmarc.Policy]float64, error) {
	type sketch struct {
		policy    string
		registers []byte
	}
	found, err := all(ctx, l.s, "read the sketches", func(row pgx.CollectableRow) (x sketch, err error) {
		err = row.Scan(&x.policy, &x.registers)
		return x, err
	}, "SELECT policy, registers FROM author_sketch WHERE day BETWEEN $1 AND $2", int32(f.From), int32(f.To))
	if err != nil {
		return nil, err
	}
	merged := map[dmarc.Policy][]byte{}
	for _, x := range found {
		ledger.Gather(merged, dmarc.Policy(unescape(x.policy)), x.registers)
	}
	return ledger.Estimates(merged), nil
}

// Breakages implements [ledger.Store].
func (l ledgerOf) Breakages(ctx context.Context, since time.Time) ([]ledger.Breakage, error) {
	return all(ctx, l.s, "read the breakages", func(row pgx.CollectableRow) (b ledger.Breakage, err error) {
		var domain, kind string
		var first, last, ended *time.Time
		err = row.Scan(&domain, &kind, &b.Subject, &first, &last, &ended, &b.Evidence, &b.Example)
		b.Domain, b.Kind, b.Subject, b.Evidence, b.Example = dns.Name(unescape(domain)), ledger.Kind(unescape(kind)), unescape(b.Subject), unescape(b.Evidence), unescape(b.Example)
		b.First, b.Last, b.Ended = orZero(first), orZero(last), orZero(ended)
		return b, err
	}, `SELECT domain, kind, subject, first, last, ended, evidence, example FROM breakage WHERE ended IS NULL OR ended > $1 ORDER BY domain, kind, subject`, since)
}

// SetBreakage implements [ledger.Store].
func (l ledgerOf) SetBreakage(ctx context.Context, b ledger.Breakage) error {
	return l.s.do(ctx, "write a breakage", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO breakage (digest, domain, kind, subject, first, last, ended, evidence, example) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (digest) DO UPDATE SET first = EXCLUDED.first, last = EXCLUDED.last, ended = EXCLUDED.ended, evidence = EXCLUDED.evidence, example = EXCLUDED.example`,
			digest(string(b.Domain)+"\x00"+string(b.Kind)+"\x00"+b.Subject), escape(string(b.Domain)), escape(string(b.Kind)), escape(b.Subject),
			orNull(b.First), orNull(b.Last), orNull(b.Ended), escape(b.Evidence), escape(b.Example))
		return err
	})
}
