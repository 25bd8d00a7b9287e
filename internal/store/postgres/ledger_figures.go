package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/ledger"
)

func (a *ledgerAdder) figures() error {
	n := len(a.d.Figures)
	if n == 0 {
		return nil
	}
	days, messages := make([]int32, n), make([]int64, n)
	groups, kinds, words, results := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i := range a.d.Figures {
		x := &a.d.Figures[i]
		days[i], messages[i] = int32(x.Day), x.Messages
		groups[i], kinds[i], words[i], results[i] = escape(x.Group), escape(string(x.Kind)), escape(x.Word), escape(x.Result)
	}
	_, err := a.tx.Exec(a.ctx, `INSERT INTO figure AS old (day, grp, kind, word, result, messages)
		SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[]) AS u (d, g, k, w, r, n)
			ORDER BY d, g COLLATE "C", k COLLATE "C", w COLLATE "C", r COLLATE "C"
		ON CONFLICT (day, grp, kind, word, result) DO UPDATE SET messages = old.messages + EXCLUDED.messages`, days, groups, kinds, words, results, messages)
	return err
}

// Figures implements [ledger.Store].
func (l ledgerOf) Figures(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Figure, error] {
	return func(yield func(ledger.Figure, error) bool) {
		condition, args := where(f, false)
		query := "SELECT day, grp, kind, word, result, messages FROM figure" + condition + " ORDER BY day, grp, kind, word, result"
		deliver(yield, func(row func(pgx.Rows) (bool, error)) error {
			return l.stream(ctx, "read the figures", row, query, args...)
		}, func(rows pgx.Rows) (x ledger.Figure, err error) {
			var day int32
			var kind string
			err = rows.Scan(&day, &x.Group, &kind, &x.Word, &x.Result, &x.Messages)
			x.Day, x.Kind = ledger.Day(day), ledger.FigureKind(unescape(kind))
			x.Group, x.Word, x.Result = unescape(x.Group), unescape(x.Word), unescape(x.Result)
			return x, err
		})
	}
}
