package postgres

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/ledger"
)

// countColumns are the columns of [ledger.Counts.Fields].
var countColumns = []string{"messages", "pass", "pass_dkim", "pass_spf", "fail", "temperror", "signed", "rejected", "quarantined", "indirect", "harsher", "milder"}

// ledgerDays returns the days whose partitions the ledger of a batch needs.
func ledgerDays(d *ledger.Delta) (days []ledger.Day) {
	for i := range d.Rows {
		if n := len(days); n == 0 || days[n-1] != d.Rows[i].Day {
			days = append(days, d.Rows[i].Day)
		}
	}
	for i := range d.Authors {
		if n := len(days); n == 0 || days[n-1] != d.Authors[i].Day {
			days = append(days, d.Authors[i].Day)
		}
	}
	return days
}

type dayGroup struct {
	day   ledger.Day
	group string
}

func (k dayGroup) compare(o dayGroup) int {
	return cmp.Or(cmp.Compare(k.day, o.day), cmp.Compare(k.group, o.group))
}

// dayCount is what changes in the table ledger_day.
type dayCount struct{ before, added, dropped int64 }

// ledgerAdder adds the ledger of one batch. It takes its locks in the order of the tables in the list in
// addLedger, and in each table in the order of the primary key, as all daemons do.
type ledgerAdder struct {
	ctx  context.Context
	tx   pgx.Tx
	s    *Store
	d    ledger.Delta
	days map[dayGroup]*dayCount
}

func (s *Store) addLedger(ctx context.Context, tx pgx.Tx, d ledger.Delta) error {
	if d.Empty() {
		return nil
	}
	a := ledgerAdder{ctx, tx, s, d, map[dayGroup]*dayCount{}}
	for _, step := range []func() error{a.rows, a.authors, a.sources, a.totals, a.figures, a.counts, a.sketches} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// fitting returns the rows of a day that may be written: of a day that is full, those that it has already.
// Daemons that fill a day at the same moment may pass the limit by what each of them adds.
func (a *ledgerAdder) fitting(rows []ledger.Row) ([]ledger.Row, error) {
	for i := range rows {
		k := dayGroup{rows[i].Day, rows[i].Group}
		if a.days[k] != nil {
			continue
		}
		c := &dayCount{}
		a.days[k] = c
		if err := a.tx.QueryRow(a.ctx, "SELECT coalesce((SELECT domains FROM ledger_day WHERE day = $1 AND grp = $2), 0)", int32(k.day), escape(k.group)).Scan(&c.before); err != nil {
			return nil, err
		}
	}
	if a.d.MaxDomains <= 0 {
		return rows, nil
	}
	full := false
	for i := range rows {
		full = full || a.days[dayGroup{rows[i].Day, rows[i].Group}].before+int64(len(rows)) > a.d.RowLimit()
	}
	if !full {
		return rows, nil
	}
	known, err := a.known(rows)
	if err != nil {
		return nil, err
	}
	kept := rows[:0:0]
	for i := range rows {
		c := a.days[dayGroup{rows[i].Day, rows[i].Group}]
		switch {
		case known[i]:
		case c.before < a.d.RowLimit():
			c.before++
		default:
			c.dropped += rows[i].Messages
			continue
		}
		kept = append(kept, rows[i])
	}
	return kept, nil
}

// known says which of the rows of a day are stored.
func (a *ledgerAdder) known(rows []ledger.Row) ([]bool, error) {
	domains, groups := rowKeys(rows)
	found, err := a.tx.Query(a.ctx, "SELECT u.n FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (d, g, n) JOIN "+ledgerPartition(rows[0].Day)+" ON domain = d AND grp = g", domains, groups)
	if err != nil {
		return nil, err
	}
	known := make([]bool, len(rows))
	var n int64
	_, err = pgx.ForEachRow(found, []any{&n}, func() error { known[n-1] = true; return nil })
	return known, err
}

func rowKeys(rows []ledger.Row) (domains, groups []string) {
	domains, groups = make([]string, len(rows)), make([]string, len(rows))
	for i := range rows {
		domains[i], groups[i] = escape(string(rows[i].Domain)), escape(rows[i].Group)
	}
	return domains, groups
}

// rows adds the rows, day by day.
func (a *ledgerAdder) rows() error {
	all := a.d.Rows
	for len(all) > 0 {
		end := 1
		for end < len(all) && all[end].Day == all[0].Day {
			end++
		}
		if err := a.dayRows(all[:end:end]); err != nil {
			if code(err) == undefinedTable {
				a.s.forget(all[0].Day)
				return missing{all[0].Day}
			}
			return err
		}
		all = all[end:]
	}
	return nil
}

// dayRows adds the rows of one day. The statement returns of each row whether it is new, and what its
// rest was. The rests that change are written by a second one, whose rows are locked by then.
func (a *ledgerAdder) dayRows(rows []ledger.Row) error {
	rows, err := a.fitting(rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	domains, groups := rowKeys(rows)
	numbers := make([][]int64, ledger.NumCounts+2)
	policies, examples, rests := make([]string, len(rows)), make([]string, len(rows)), make([][]byte, len(rows))
	places := make(map[[2]string]int, len(rows))
	for i := range rows {
		r := &rows[i]
		for j, f := range r.Fields() {
			numbers[j] = append(numbers[j], *f)
		}
		numbers[ledger.NumCounts] = append(numbers[ledger.NumCounts], r.First)
		numbers[ledger.NumCounts+1] = append(numbers[ledger.NumCounts+1], r.Last)
		policies[i], examples[i], rests[i] = escape(string(r.Policy)), escape(r.Example), r.AppendRest(nil)
		places[[2]string{domains[i], groups[i]}] = i
	}
	args := []any{int32(rows[0].Day), domains, groups, policies, examples, rests}
	for _, n := range numbers {
		args = append(args, n)
	}
	found, err := a.tx.Query(a.ctx, ledgerUpsert(rows[0].Day), args...)
	if err != nil {
		return err
	}
	var changedDomains, changedGroups []string
	var changed [][]byte
	var domain, group string
	var fresh bool
	var rest []byte
	if _, err := pgx.ForEachRow(found, []any{&domain, &group, &fresh, &rest}, func() error {
		i := places[[2]string{domain, group}]
		if fresh {
			a.days[dayGroup{rows[i].Day, rows[i].Group}].added++
			return nil
		}
		if merged := ledger.MergeRest(rest, rests[i]); string(merged) != string(rest) {
			changedDomains, changedGroups, changed = append(changedDomains, domain), append(changedGroups, group), append(changed, merged)
		}
		return nil
	}); err != nil || len(changed) == 0 {
		return err
	}
	_, err = a.tx.Exec(a.ctx, "UPDATE "+ledgerPartition(rows[0].Day)+" AS old SET rest = u.r FROM unnest($1::text[], $2::text[], $3::bytea[]) AS u (d, g, r) WHERE old.domain = u.d AND old.grp = u.g",
		changedDomains, changedGroups, changed)
	return err
}

// ledgerUpsert returns the statement that adds rows to the partition of a day.
func ledgerUpsert(day ledger.Day) string {
	var b strings.Builder
	names := strings.Join(countColumns, ", ")
	b.WriteString("INSERT INTO " + ledgerPartition(day) + " AS old (day, domain, grp, policy, example, rest, " + names + ", first, last) ")
	b.WriteString(`SELECT $1::integer, d COLLATE "C", g COLLATE "C", p, e, r, ` + names + ", first, last FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[]")
	for i := range ledger.NumCounts + 2 {
		b.WriteString(", $" + strconv.Itoa(7+i) + "::bigint[]")
	}
	b.WriteString(") AS u (d, g, p, e, r, " + names + ", first, last) ORDER BY 2, 3 ON CONFLICT (domain, grp) DO UPDATE SET ")
	for _, c := range countColumns {
		b.WriteString(c + " = old." + c + " + EXCLUDED." + c + ", ")
	}
	b.WriteString(`policy = CASE WHEN EXCLUDED.last >= old.last THEN EXCLUDED.policy ELSE old.policy END,
		first = least(old.first, EXCLUDED.first), last = greatest(old.last, EXCLUDED.last),
		example = CASE WHEN EXCLUDED.example <> '' THEN EXCLUDED.example ELSE old.example END
		RETURNING domain, grp, xmax = 0, rest`)
	return b.String()
}

// authors adds the days of author domains.
func (a *ledgerAdder) authors() error {
	all := a.d.Authors
	for len(all) > 0 {
		end := 1
		for end < len(all) && all[end].Day == all[0].Day {
			end++
		}
		day := all[0].Day
		var domains, owners []string
		var pass, signed, paired []int64
		for _, x := range all[:end] {
			domains, owners = append(domains, escape(string(x.Domain))), append(owners, escape(string(x.Owner)))
			pass, signed, paired = append(pass, x.Pass), append(signed, x.Signed), append(paired, x.Both)
		}
		_, err := a.tx.Exec(a.ctx, "INSERT INTO "+authorPartition(day)+` AS old (day, domain, owner, pass, signed, paired)
			SELECT $1::integer, d COLLATE "C", o, p, s, b FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) AS u (d, o, p, s, b) ORDER BY 2
			ON CONFLICT (domain) DO UPDATE SET pass = old.pass + EXCLUDED.pass, signed = old.signed + EXCLUDED.signed, paired = old.paired + EXCLUDED.paired`,
			int32(day), domains, owners, pass, signed, paired)
		if code(err) == undefinedTable {
			a.s.forget(day)
			return missing{day}
		}
		if err != nil {
			return err
		}
		all = all[end:]
	}
	return nil
}

// sources adds days to the sets of sources. The set counts back from the last day, so it is shifted if
// that day changes; see ledger.Source.Merge, which does the same.
func (a *ledgerAdder) sources() error {
	if len(a.d.Sources) == 0 {
		return nil
	}
	n := len(a.d.Sources)
	domains, owners, networks, last, days := make([]string, n), make([]string, n), make([][]byte, n), make([]int32, n), make([]int64, n)
	for i := range a.d.Sources {
		x := &a.d.Sources[i]
		domains[i], owners[i], networks[i], last[i] = escape(string(x.Domain)), escape(string(x.Owner)), []byte(ledger.NetworkText(x.Network)), int32(x.Last)
		days[i] = int64(x.Days) //nolint:gosec // KeepSources bits
	}
	_, err := a.tx.Exec(a.ctx, `INSERT INTO source AS old (domain, network, owner, last, days)
		SELECT d COLLATE "C", n, o, l, y FROM unnest($1::text[], $2::bytea[], $3::text[], $4::integer[], $5::bigint[]) AS u (d, n, o, l, y) ORDER BY 1, 2
		ON CONFLICT (domain, network) DO UPDATE SET last = greatest(old.last, EXCLUDED.last), days = 1152921504606846975 & CASE
			WHEN EXCLUDED.last >= old.last THEN EXCLUDED.days | CASE WHEN EXCLUDED.last - old.last < 60 THEN old.days << (EXCLUDED.last - old.last) ELSE 0 END
			ELSE old.days | CASE WHEN old.last - EXCLUDED.last < 60 THEN EXCLUDED.days << (old.last - EXCLUDED.last) ELSE 0 END END`,
		domains, networks, owners, last, days)
	return err
}

func (a *ledgerAdder) totals() error {
	if len(a.d.Totals) == 0 {
		return nil
	}
	n := len(a.d.Totals)
	days, messages := make([]int32, n), make([]int64, n)
	var words [7][]string
	for i := range a.d.Totals {
		x := &a.d.Totals[i]
		days[i], messages[i] = int32(x.Day), x.Messages
		for j, w := range []string{x.Group, x.SPF, x.DKIM, string(x.Policy), x.DMARC, x.Applied, x.Override} {
			words[j] = append(words[j], escape(w))
		}
	}
	args := []any{days}
	for _, w := range words {
		args = append(args, w)
	}
	_, err := a.tx.Exec(a.ctx, `INSERT INTO total AS old (day, grp, spf, dkim, policy, dmarc, applied, override, messages)
		SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[])
			AS u (d, g, s, k, p, m, a, o, n) ORDER BY d, g COLLATE "C", s COLLATE "C", k COLLATE "C", p COLLATE "C", m COLLATE "C", a COLLATE "C", o COLLATE "C"
		ON CONFLICT (day, grp, spf, dkim, policy, dmarc, applied, override) DO UPDATE SET messages = old.messages + EXCLUDED.messages`, append(args, messages)...)
	return err
}

// counts writes how many rows the days have now, and what was dropped.
func (a *ledgerAdder) counts() error {
	for _, x := range a.d.Dropped {
		k := dayGroup{x.Day, x.Group}
		if a.days[k] == nil {
			a.days[k] = &dayCount{}
		}
		a.days[k].dropped += x.Messages
	}
	var keys []dayGroup
	for k, c := range a.days {
		if c.added != 0 || c.dropped != 0 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, dayGroup.compare)
	for _, k := range keys {
		c := a.days[k]
		if _, err := a.tx.Exec(a.ctx, `INSERT INTO ledger_day AS old (day, grp, domains, dropped) VALUES ($1, $2, $3, $4)
			ON CONFLICT (day, grp) DO UPDATE SET domains = old.domains + EXCLUDED.domains, dropped = old.dropped + EXCLUDED.dropped`,
			int32(k.day), escape(k.group), c.added, c.dropped); err != nil {
			return err
		}
	}
	return nil
}

// sketches merges the sketches. They come last, because every batch of a farm has the same few.
func (a *ledgerAdder) sketches() error {
	if len(a.d.Rows) == 0 {
		return nil
	}
	var value string
	if err := a.tx.QueryRow(a.ctx, "SELECT value FROM meta WHERE name = 'secret'").Scan(&value); err != nil {
		return err
	}
	secret, err := hex.DecodeString(value)
	if err != nil {
		return err
	}
	for _, s := range ledger.Sketches(secret, a.d.Rows) {
		var stored []byte
		// The update of nothing takes the lock of a row that exists.
		err := a.tx.QueryRow(a.ctx, `INSERT INTO author_sketch AS old (day, policy, registers) VALUES ($1, $2, '') ON CONFLICT (day, policy) DO UPDATE SET day = old.day
			RETURNING registers`, int32(s.Day), escape(string(s.Policy))).Scan(&stored)
		if err != nil {
			return err
		}
		if !s.Merge(stored) {
			continue
		}
		if _, err := a.tx.Exec(a.ctx, "UPDATE author_sketch SET registers = $3 WHERE day = $1 AND policy = $2", int32(s.Day), escape(string(s.Policy)), s.Registers); err != nil {
			return err
		}
	}
	return nil
}

// pruned returns the ledger of a batch without what is too old to be stored.
func pruned(d ledger.Delta, now time.Time) ledger.Delta {
	d.Prune(ledger.DayOf(now))
	return d
}
