// Package postgres is a [report.Store] on PostgreSQL. Several daemons may share a database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"sekimori/internal/history"
	"sekimori/internal/report"
)

const (
	// connections is how many connections a daemon has at most: one that writes, one that reads rows,
	// and some for senders and commands.
	connections = 4
	// callTimeout ends a call whose server neither answers nor breaks the connection.
	callTimeout    = 2 * time.Minute
	connectTimeout = 5 * time.Second
	// attempts is how often a transaction is tried that other transactions stood in the way of.
	attempts = 6
)

// settings are those of each connection, unless the URL has the same name as a parameter.
var settings = map[string]string{
	"search_path":                         "sekimori",
	"application_name":                    "sekimori",
	"statement_timeout":                   "30s",
	"lock_timeout":                        "20s",
	"idle_in_transaction_session_timeout": "60s",
	// A host that loses its power must not hold its locks for hours.
	"tcp_keepalives_idle":     "30",
	"tcp_keepalives_interval": "10",
	"tcp_keepalives_count":    "3",
}

// staging is where COPY writes the rows of a batch. A connection makes it once, because making a table
// for each batch would fill the system's catalog with dead rows.
const staging = `CREATE TEMPORARY TABLE IF NOT EXISTS incoming (day integer, job bigint, key uuid, n bigint, row bytea) ON COMMIT DELETE ROWS`

// Store is the store. Its methods are safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	// turn holds a value while the schema is being looked at. ready is closed once it is as it should be.
	turn  chan struct{}
	ready chan struct{}

	mu   sync.Mutex
	days map[report.Day]bool // whose partitions are known to exist
	// historyDays are those whose partitions of the history are known to exist.
	historyDays map[history.Day]bool
}

// Open returns a store on the database that the URL names. It does not connect: the first call does,
// and so does every call after the connection was lost. The password must not be in the URL.
func Open(ctx context.Context, rawURL, password string) (*Store, error) {
	c, err := parse(rawURL, password)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &Store{pool: pool, turn: make(chan struct{}, 1), ready: make(chan struct{}), days: map[report.Day]bool{}, historyDays: map[history.Day]bool{}}, nil
}

// parse makes the configuration of the pool. Its errors do not repeat the URL.
func parse(rawURL, password string) (*pgxpool.Config, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("postgres: the URL of the store cannot be read; it looks like postgres://user@host/database?sslmode=verify-full")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("postgres: the URL of the store does not begin with postgres://")
	}
	_, secret := u.User.Password()
	for _, key := range []string{"password", "sslpassword"} {
		secret = secret || u.Query().Has(key)
	}
	if secret {
		return nil, errors.New("postgres: the URL of the store has a password; write it into a file and name that in store.password_file")
	}
	c, err := pgxpool.ParseConfig(rawURL)
	if err != nil {
		var bad *pgconn.ParseConfigError
		if errors.As(err, &bad) && bad.Unwrap() != nil {
			err = bad.Unwrap() // without the URL
		}
		return nil, fmt.Errorf("postgres: the URL of the store: %w", err)
	}
	if password != "" {
		c.ConnConfig.Password = password
	}
	if !u.Query().Has("pool_max_conns") {
		c.MaxConns = connections
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	c.MaxConnIdleTime = 5 * time.Minute
	given := c.ConnConfig.RuntimeParams
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		for name, value := range settings {
			if _, ok := given[name]; ok {
				continue
			}
			if _, err := conn.Exec(ctx, "SELECT set_config($1, $2, false)", name, value); err != nil {
				return err
			}
		}
		_, err := conn.Exec(ctx, staging)
		return err
	}
	return c, nil
}

// Close closes the connections. It waits until the calls under way have ended.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// Ready connects, and brings the schema up to date if that has not been done. The other methods do this
// on their own. With a schema that is newer than this program, its error says so.
func (s *Store) Ready(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	default:
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("postgres: %w", ctx.Err())
	}
	select {
	case <-s.ready: // by the call that had the turn
		return nil
	default:
	}
	if err := s.transact(ctx, migrate); err != nil {
		return fmt.Errorf("postgres: schema: %w", err)
	}
	close(s.ready)
	return nil
}

// do calls f in a transaction, again if another transaction stood in the way. The errors of package
// report are returned as they are.
func (s *Store) do(ctx context.Context, what string, f func(context.Context, pgx.Tx) error) error {
	return s.ask(ctx, what, func(ctx context.Context) error { return s.transact(ctx, f) })
}

// ask is do for a single statement, which needs no transaction of its own. That saves two answers of the
// server to wait for.
func (s *Store) ask(ctx context.Context, what string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	err := f(ctx)
	for try := 1; try < attempts && passing(err); try++ {
		// Those that met must not meet again, so the wait is random.
		wait := time.Duration(rand.Int64N(int64(10*time.Millisecond) << try))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("postgres: %s: %w", what, ctx.Err())
		}
		err = f(ctx)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, report.ErrNone), errors.Is(err, report.ErrLost), errors.Is(err, report.ErrUnknown):
		return err
	case code(err) == readOnly:
		// The server was demoted. The connections to it are whole, so nothing else would end them.
		s.pool.Reset()
	}
	return fmt.Errorf("postgres: %s: %w", what, err)
}

// transact calls f in a transaction.
func (s *Store) transact(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return f(ctx, tx) })
}

// The codes of errors that a store acts on (PostgreSQL, appendix A).
const (
	serialization    = "40001"
	deadlock         = "40P01"
	readOnly         = "25006"
	foreignKey       = "23503"
	undefinedTable   = "42P01"
	lockNotAvailable = "55P03"
)

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// errMoved says that something changed between two statements of a transaction.
var errMoved = errors.New("another daemon removed a job or a partition that was in use")

// passing reports whether the transaction changed nothing, and may succeed if it is tried again at once.
func passing(err error) bool {
	if errors.Is(err, errMoved) || pgconn.SafeToRetry(err) {
		var connect *pgconn.ConnectError
		return !errors.As(err, &connect) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	c := code(err)
	return c == serialization || c == deadlock
}
