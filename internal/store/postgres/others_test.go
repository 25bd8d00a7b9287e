package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sekimori/internal/history"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
)

// TestOthersDrop adds to days whose partitions another daemon has dropped, while this one believes that they are there.
func TestOthersDrop(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	rawURL := c.Database(t)
	s, other := open1(t, rawURL), open1(t, rawURL)
	ctx, noon := t.Context(), storetest.Noon()
	day := ledger.DayOf(noon)
	add := func(id string) {
		t.Helper()
		b := report.Batch{ID: id, Current: storetest.Day(0), Ledger: storetest.Delta("g", 0, day, storetest.Entry("shop.example", "shop.example", "192.0.2.1"))}
		if err := s.Add(ctx, noon, b); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	want := func(what string, rows, passes int64) {
		t.Helper()
		var r, p int64
		for x, err := range s.Ledger().Rows(ctx, ledger.Filter{From: day, To: day}) {
			if err != nil {
				t.Fatal(err)
			}
			r += x.Messages
		}
		days, err := s.Ledger().Authors(ctx, "shop.example", day)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range days {
			p += x.Pass
		}
		if r != rows || p != passes {
			t.Errorf("%s: %d messages, and %d passes of the author; want %d and %d", what, r, p, rows, passes)
		}
	}
	expire := func(days int) {
		t.Helper()
		if err := other.Ledger().Expire(ctx, noon.AddDate(0, 0, days), 0); err != nil {
			t.Fatal(err)
		}
	}
	add("first")
	expire(ledger.KeepSources) // drops the partition of authors
	want("without authors", 1, 0)
	add("second")
	want("with new authors", 2, 1)
	expire(ledger.KeepDays) // drops both
	want("without the day", 0, 0)
	add("third")
	want("with a new day", 1, 1)

	row := history.Row{Time: noon, Keys: history.Keys{history.ByID: 7}}
	keep := func(id string) {
		t.Helper()
		if err := s.AddHistory(ctx, noon, history.Batch{ID: id, Host: "mx1.example", Blocks: []history.Block{{Rows: []history.Row{row}, Data: []byte("x")}}}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	keep("before")
	if _, err := other.ExpireHistory(ctx, noon.AddDate(1, 0, 0), time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	keep("after")
	if hits, err := s.FindHistory(ctx, history.Query{Limit: 10}); err != nil || len(hits) != 1 {
		t.Errorf("%d decisions, %v", len(hits), err)
	}

	// A job that Expire removes between two statements of a batch.
	calls := 0
	err := s.do(ctx, "look", func(ctx context.Context, tx pgx.Tx) error {
		calls++
		return lock(ctx, tx, map[identity]*job{{begins: 1}: {}})
	})
	if !errors.Is(err, errMoved) || calls != attempts {
		t.Errorf("after %d calls: %v", calls, err)
	}
}

// TestAsk counts how often a call is tried, and looks at its errors. The time is fake.
func TestAsk(t *testing.T) {
	deadlocked := &pgconn.PgError{Code: deadlock}
	for name, tt := range map[string]struct {
		err   error
		fails int // so many calls fail
		calls int
		want  error // nil: the call succeeds
		as    bool  // the error comes as it is
	}{
		"at once":          {nil, 0, 1, nil, false},
		"deadlock":         {deadlocked, 2, 3, nil, false},
		"serialization":    {fmt.Errorf("x: %w", &pgconn.PgError{Code: serialization}), 1, 2, nil, false},
		"the last try":     {deadlocked, attempts - 1, attempts, nil, false},
		"too often":        {deadlocked, attempts, attempts, deadlocked, false},
		"something moved":  {errMoved, 1, 2, nil, false},
		"moved, and ended": {errors.Join(errMoved, context.Canceled), 1, 1, errMoved, false},
		"moved, too late":  {errors.Join(errMoved, context.DeadlineExceeded), 1, 1, errMoved, false},
		"another code":     {&pgconn.PgError{Code: foreignKey}, 1, 1, &pgconn.PgError{}, false},
		"none":             {report.ErrNone, 1, 1, report.ErrNone, true},
		"lost":             {report.ErrLost, 1, 1, report.ErrLost, true},
		"unknown":          {report.ErrUnknown, 1, 1, report.ErrUnknown, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Store{ready: make(chan struct{})}
				close(s.ready)
				calls, began := 0, time.Now()
				err := s.ask(t.Context(), "the work", func(ctx context.Context) error {
					if deadline, has := ctx.Deadline(); !has || !deadline.Equal(began.Add(callTimeout)) {
						t.Errorf("the deadline is %v", deadline)
					}
					if calls++; calls <= tt.fails {
						return tt.err
					}
					return nil
				})
				if calls != tt.calls {
					t.Errorf("%d calls, want %d", calls, tt.calls)
				}
				_, code := errors.AsType[*pgconn.PgError](err)
				_, wantCode := errors.AsType[*pgconn.PgError](tt.want)
				switch {
				case tt.as && err != tt.want: //nolint:errorlint // a sender may compare it
					t.Errorf("error %v, want %v itself", err, tt.want)
				case (err == nil) != (tt.want == nil) || code != wantCode || !wantCode && !errors.Is(err, tt.want):
					t.Errorf("error %v, want %v", err, tt.want)
				case err != nil && !tt.as && err.Error() != "postgres: the work: "+tt.err.Error():
					t.Errorf("the error says %q", err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Store{ready: make(chan struct{})}
		close(s.ready)
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := s.ask(ctx, "the work", func(context.Context) error { calls++; cancel(); return deadlocked })
		if calls != 1 || !errors.Is(err, context.Canceled) || err.Error() != "postgres: the work: context canceled" {
			t.Errorf("after the end of the context: %d calls, %v", calls, err)
		}
	})
}

// TestParse looks at what a URL changes of the settings.
func TestParse(t *testing.T) {
	for rawURL, want := range map[string]string{
		"postgres://u@127.0.0.1/x":                                        "4 5s secret",
		"postgresql://u@127.0.0.1/x":                                      "4 5s secret",
		"postgres://u@127.0.0.1/x?pool_max_conns=9":                       "9 5s secret",
		"postgres://u@127.0.0.1/x?connect_timeout=7":                      "4 7s secret",
		"postgres://u@127.0.0.1/x?pool_max_conn_idle_time=1h":             "4 5s secret",
		"mysql://u@127.0.0.1/x":                                           "postgres: the URL of the store does not begin with postgres://",
		"host=127.0.0.1":                                                  "postgres: the URL of the store does not begin with postgres://",
		"postgres://u@127.0.0.1/%zz":                                      "postgres: the URL of the store cannot be read; it looks like postgres://user@host/database?sslmode=verify-full",
		"postgres://u:p@127.0.0.1/x":                                      "postgres: the URL of the store has a password; write it into a file and name that in store.password_file",
		"postgres://u@127.0.0.1/x?password=p":                             "postgres: the URL of the store has a password; write it into a file and name that in store.password_file",
		"postgres://u@127.0.0.1/x?sslmode=disable&sslpassword=p&a=b#frag": "postgres: the URL of the store has a password; write it into a file and name that in store.password_file",
		"postgres://u@127.0.0.1/x?sslmode=what":                           "postgres: the URL of the store: sslmode is invalid",
	} {
		c, err := parse(rawURL, "secret")
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(c.MaxConns, " ", c.ConnConfig.ConnectTimeout, " ", c.ConnConfig.Password)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", rawURL, got, want)
		}
		if err == nil && c.MaxConnIdleTime != 5*time.Minute {
			t.Errorf("%s: a connection may be idle for %s", rawURL, c.MaxConnIdleTime)
		}
	}
}
