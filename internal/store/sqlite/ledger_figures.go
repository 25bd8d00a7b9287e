package sqlite

import (
	"context"
	"iter"

	"sekimori/internal/ledger"
)

// figureTables has the figures of the ledger. Countries are counted there, so the totals lose the column
// that was meant for them.
const figureTables = `
CREATE TABLE figure (
	day INTEGER NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL, word TEXT NOT NULL, result TEXT NOT NULL, messages INTEGER NOT NULL,
	PRIMARY KEY (day, grp, kind, word, result)
) STRICT, WITHOUT ROWID;
ALTER TABLE total RENAME TO total_before;
CREATE TABLE total (
	day INTEGER NOT NULL, grp TEXT NOT NULL, spf TEXT NOT NULL, dkim TEXT NOT NULL, policy TEXT NOT NULL, dmarc TEXT NOT NULL, applied TEXT NOT NULL,
	override TEXT NOT NULL, messages INTEGER NOT NULL,
	PRIMARY KEY (day, grp, spf, dkim, policy, dmarc, applied, override)
) STRICT, WITHOUT ROWID;
INSERT INTO total SELECT day, grp, spf, dkim, policy, dmarc, applied, override, sum(messages) FROM total_before
	GROUP BY day, grp, spf, dkim, policy, dmarc, applied, override;
DROP TABLE total_before;
`

func (a *ledgerAdder) figures() error {
	b := bulk{ctx: a.ctx, tx: a.tx, head: "INSERT INTO figure (day, grp, kind, word, result, messages) VALUES ", columns: 6,
		tail: " ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"}
	for i := range a.d.Figures {
		x := &a.d.Figures[i]
		if err := b.add(x.Day, x.Group, string(x.Kind), x.Word, x.Result, x.Messages); err != nil {
			return err
		}
	}
	return b.flush()
}

// Figures implements [ledger.Store].
func (l ledgerOf) Figures(ctx context.Context, f ledger.Filter) iter.Seq2[ledger.Figure, error] {
	return func(yield func(ledger.Figure, error) bool) {
		condition, args := where(f, false)
		err := l.d.stream(ctx, func(row scanner) (bool, error) {
			var x ledger.Figure
			if err := row.Scan(&x.Day, &x.Group, &x.Kind, &x.Word, &x.Result, &x.Messages); err != nil {
				return false, err
			}
			return yield(x, nil), nil
		}, "SELECT day, grp, kind, word, result, messages FROM figure"+condition+" ORDER BY day, grp, kind, word, result", args...)
		if err != nil {
			yield(ledger.Figure{}, err)
		}
	}
}
