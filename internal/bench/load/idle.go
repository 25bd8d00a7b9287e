package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sekimori/internal/bench/traffic"
	"sekimori/internal/milter/client"
)

const (
	// idleWarmup is the number of connections that are open when the memory is first measured.
	idleWarmup = 200
	// idleSettle is the time between the last connection and the measurement. The servers need it
	// to finish their work for that connection.
	idleSettle = 2 * time.Second
	// maxIdle is the largest number of idle connections. Each connection over TCP needs a port of
	// its own at the client's address.
	maxIdle = 20_000
)

// IdleSummary is the memory that idle connections cost the server.
type IdleSummary struct {
	Connections   int     `json:"connections"`
	Before        int64   `json:"rss_before"` // octets, while only idleWarmup connections are open
	After         int64   `json:"rss_after"`
	PerConnection float64 `json:"rss_per_connection"`
}

// Print writes the summary as text.
func (r *IdleSummary) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "idle connections  %d\nmemory before     %.1f MB\nmemory after      %.1f MB\nper connection    %.1f KB\n",
		r.Connections, float64(r.Before)/1e6, float64(r.After)/1e6, r.PerConnection/1e3)
	return err
}

// CheckIdle returns an error if Idle cannot run with n and o.
func CheckIdle(n int, o Options) error {
	switch {
	case len(o.Milters) != 1 || len(o.PIDs) == 0:
		return errors.New("load: idle connections need one milter and its processes")
	case n < 1 || n > maxIdle:
		return fmt.Errorf("load: %d idle connections; 1 to %d", n, maxIdle)
	}
	return nil
}

// Idle opens idleWarmup connections and then n more. Each connection sends CONNECT and HELO and
// then nothing more. Idle compares the memory of the processes o.PIDs before and after the n
// connections.
func Idle(ctx context.Context, c *traffic.Corpus, n int, o Options) (*IdleSummary, error) {
	if err := CheckIdle(n, o); err != nil {
		return nil, err
	}
	var open []*chain
	defer func() {
		for _, c := range open {
			_ = c.quit()
		}
	}()
	upTo := func(n int) (rss int64, err error) {
		for len(open) < n && ctx.Err() == nil {
			// Later connections have the same clients as the first ones, so they cause no new DNS
			// lookups.
			s := c.Sessions[len(open)%min(idleWarmup, len(c.Sessions))]
			c, err := dialIdle(o.Milters[0], o.Timeout)
			if err != nil {
				return 0, err
			}
			open = append(open, c)
			if err := c.begin(s); err != nil {
				return 0, err
			}
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(idleSettle):
		}
		u, err := sampleProcesses(o.PIDs)
		return u.rss, err
	}
	r := &IdleSummary{Connections: n}
	var err error
	if r.Before, err = upTo(idleWarmup); err != nil {
		return nil, err
	}
	if r.After, err = upTo(idleWarmup + n); err != nil {
		return nil, err
	}
	r.PerConnection = float64(r.After-r.Before) / float64(n)
	return r, nil
}

// dialIdle is like dial, but without buffers. With thousands of connections, buffers would take
// much memory of this process.
func dialIdle(t Target, timeout time.Duration) (*chain, error) {
	m, err := client.Dial(t.network, t.address)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if timeout > 0 {
		m.Timeout = timeout
	}
	if _, err := m.Negotiate(client.PostfixOffer()); err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("load: %s: %w", t, err)
	}
	return &chain{targets: []Target{t}, links: []link{{Client: m}}}, nil
}
