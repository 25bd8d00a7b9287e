// Package admin serves the admin address of the daemon: metrics for Prometheus,
// liveness and readiness for a supervisor, and the pages and answers about decisions.
// No message waits for it.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

// The limits on HTTP clients of the admin address.
const (
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	maxScrapes     = 4 // scrapes at the same time
	maxQueries     = 4 // requests to Options.Handlers at the same time
)

// Options say what the server shows and how it is protected.
type Options struct {
	Listen string // host:port
	// WebConfig is the path of an exporter-toolkit web configuration file
	// (TLS, client certificates, basic authentication); "" serves plain HTTP.
	WebConfig string
	Gatherer  prometheus.Gatherer
	// Ready returns nil while messages are accepted, otherwise the reason why not.
	Ready  func() error
	Logger *slog.Logger
	// Handlers answer GET and HEAD at these paths, such as "/api/status". Only the
	// operator may see their answers: see private.
	Handlers map[string]http.Handler
}

// Server is the admin HTTP server.
type Server struct {
	o        Options
	http     *http.Server
	listener net.Listener
	started  bool
	done     chan error
}

// New binds the address. Requests are served after Start.
func New(o Options) (*Server, error) {
	if err := Check(o.WebConfig); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin: listen %s: %w; change admin.listen or stop what uses the address", o.Listen, err)
	}
	if tcp, ok := listener.(*net.TCPListener); ok {
		if listener, err = newReserve(tcp); err != nil {
			_ = tcp.Close()
			return nil, fmt.Errorf("admin: listen %s: %w", o.Listen, err)
		}
	}
	s := &Server{o: o, listener: listener, done: make(chan error, 1)}
	s.http = &http.Server{
		Handler:     s.routes(),
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Check reports what is wrong with a web configuration file; "" is no file.
func Check(webConfig string) error {
	if err := web.Validate(webConfig); err != nil {
		return fmt.Errorf("admin: web configuration %s: %w", webConfig, err)
	}
	return nil
}

// Addr returns the address that was bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes,
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelWarn),
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.o.Ready(); err != nil {
			text(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		text(w, http.StatusOK, "ready")
	})
	busy := make(chan struct{}, maxQueries)
	for path, h := range s.o.Handlers {
		mux.Handle("GET "+path, private(h, busy))
	}
	return mux
}

func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// If the client is gone, the error does not matter.
	_, _ = fmt.Fprintln(w, line)
}

// Start serves requests in the background. Start and Stop must not run at the same
// time.
func (s *Server) Start() {
	s.started = true
	addresses, systemd := []string{s.Addr()}, false
	flags := &web.FlagConfig{WebListenAddresses: &addresses, WebSystemdSocket: &systemd, WebConfigFile: &s.o.WebConfig}
	go func() {
		err := web.Serve(s.listener, s.http, flags, s.o.Logger)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		} else if err != nil {
			s.o.Logger.Error("admin address is no longer served", "error", err)
		}
		s.done <- err
	}()
}

// Stop waits for running requests until ctx ends, and closes the address. Stop may be
// called without Start.
func (s *Server) Stop(ctx context.Context) error {
	if !s.started {
		return s.listener.Close()
	}
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		return fmt.Errorf("admin: stop: %w", err)
	}
	return <-s.done
}
