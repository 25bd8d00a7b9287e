package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"sekimori/internal/history"
	"sekimori/internal/report"
	"sekimori/internal/store/storetest"
	"sekimori/internal/testkit/cluster"
)

var errPlanted = errors.New("planted")

// faults implements [storetest.Faults]. A statement fails before it is sent, or its connection breaks before the answer
// can be read, or a value of the answer cannot be read.
type faults struct {
	mu    sync.Mutex
	left  int // steps up to the one that fails; 0 if none does
	met   bool
	fresh bool // no value of the last answer was read
	begun bool // statements with which a connection begins are not steps any more
}

func (f *faults) Plant(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.met = n, false
}

func (f *faults) Met() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.met
}

// Is implements [storetest.Faults]. A statement that is not sent has a context that has ended. A connection that broke is
// closed.
func (f *faults) Is(err error) bool {
	return errors.Is(err, errPlanted) || errors.Is(err, context.Canceled) || err != nil && strings.HasSuffix(err.Error(), "conn closed")
}

// step reports whether this is the step that fails.
func (f *faults) step() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return false
	}
	f.left--
	f.met = f.left == 0
	return f.met
}

func (f *faults) TraceQueryStart(ctx context.Context, c *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return f.statement(ctx, c, strings.HasPrefix(d.SQL, "SELECT") || strings.HasPrefix(d.SQL, "WITH") || strings.Contains(d.SQL, "RETURNING"))
}

func (f *faults) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (f *faults) TraceCopyFromStart(ctx context.Context, c *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return f.statement(ctx, c, false)
}

func (f *faults) TraceCopyFromEnd(context.Context, *pgx.Conn, pgx.TraceCopyFromEndData) {}

// statement lets a statement fail, or its answer if it has rows: every other answer fails as its statement does.
func (f *faults) statement(ctx context.Context, c *pgx.Conn, rows bool) context.Context {
	conn, _ := c.PgConn().Conn().(*breaking)
	if f.begun && !conn.begun {
		return ctx
	}
	f.mu.Lock()
	f.fresh = true
	f.mu.Unlock()
	if f.step() {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx
	}
	if rows && f.step() {
		conn.broken = true
	}
	return ctx
}

// TracePrepareStart lets the statement be prepared, so that its execution fails.
func (f *faults) TracePrepareStart(ctx context.Context, c *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	if conn, is := c.PgConn().Conn().(*breaking); is && conn.broken {
		conn.broken, conn.later = false, true
	}
	return ctx
}

func (f *faults) TracePrepareEnd(_ context.Context, c *pgx.Conn, _ pgx.TracePrepareEndData) {
	if conn, is := c.PgConn().Conn().(*breaking); is && conn.later {
		conn.broken, conn.later = true, false
	}
}

// breaking is a connection that breaks while an answer is read.
type breaking struct {
	net.Conn
	broken, later, begun bool
}

func (c *breaking) Read(b []byte) (int, error) {
	if c.broken {
		return 0, errPlanted
	}
	return c.Conn.Read(b)
}

// faultyCodec reads values, of which the first one of an answer may fail.
type faultyCodec struct {
	pgtype.Codec
	f *faults
}

func (c faultyCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	p := c.Codec.PlanScan(m, oid, format, target)
	if p == nil {
		return nil
	}
	return faultyPlan{p, c.f}
}

type faultyPlan struct {
	pgtype.ScanPlan
	f *faults
}

func (p faultyPlan) Scan(src []byte, target any) error {
	p.f.mu.Lock()
	fresh := p.f.fresh
	p.f.fresh = false
	p.f.mu.Unlock()
	if fresh && p.f.step() {
		return errPlanted
	}
	return p.ScanPlan.Scan(src, target)
}

// faulty opens a store with faults.
func faulty(t *testing.T, rawURL string) (*Store, *faults) {
	t.Helper()
	f := &faults{}
	c, err := parse(rawURL, cluster.Password)
	if err != nil {
		t.Fatal(err)
	}
	c.ConnConfig.Tracer = f
	dial := c.ConnConfig.DialFunc
	c.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &breaking{Conn: conn}, err
	}
	after := c.AfterConnect
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		m := conn.TypeMap()
		for _, name := range []string{"bool", "int2", "int4", "int8", "text", "name", "bytea", "uuid", "timestamptz", "interval"} {
			if of, known := m.TypeForName(name); known {
				m.RegisterType(&pgtype.Type{Name: of.Name, OID: of.OID, Codec: faultyCodec{of.Codec, f}})
			}
		}
		err := after(ctx, conn)
		conn.PgConn().Conn().(*breaking).begun = true
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{pool: pool, turn: make(chan struct{}, 1), ready: make(chan struct{}), days: map[report.Day]bool{}, historyDays: map[history.Day]bool{}}
	t.Cleanup(func() { _ = s.Close() })
	return s, f
}

func TestFaults(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	rawURL := c.Socket(cluster.Name(c.Database(t)))
	s, f := faulty(t, rawURL)
	for n, met := 1, true; met; {
		f.Plant(n)
		err := s.Ready(t.Context())
		if met = f.Met(); met != f.Is(err) {
			t.Fatalf("ready: step %d failed %v, and the error is %v", n, met, err)
		}
		if n++; n > 40 { // the schemas are all made in the same way
			n += 4
		}
	}
	f.Plant(0)
	again, of := faulty(t, rawURL)
	storetest.Fail(t, of, "ready with a schema", func() error { return again.Ready(t.Context()) }, nil)
	f.begun = true
	storetest.RunFaults(t, s, f)
}

// TestRowsThatEndEarly: a report must not be made of the rows that came before one that cannot be read.
func TestRowsThatEndEarly(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	rawURL := c.Database(t)
	s := open1(t, rawURL)
	if err := s.Add(t.Context(), storetest.Noon(), storetest.Batch("a", storetest.Tally(storetest.Policy("shop.example"), storetest.Day(0), storetest.Rows(0, 5)))); err != nil {
		t.Fatal(err)
	}
	c.SQL(t, cluster.Name(rawURL), `UPDATE sekimori.detail SET row = '\x00' WHERE key = (SELECT key FROM sekimori.detail ORDER BY key OFFSET 3 LIMIT 1)`)
	var last error
	n := 0
	for _, err := range s.Rows(t.Context(), 1) {
		n++
		last = err
	}
	if last == nil || n != 1 {
		t.Errorf("%d rows, the last of which with the error %v", n, last)
	}
}
