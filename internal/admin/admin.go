// Package admin is the HTTP server at the admin address of the daemon. It serves metrics
// for Prometheus, /healthz and /readyz for a supervisor, and the pages and JSON answers
// about decisions. The handling of messages does not depend on it.
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

// Limits for HTTP clients of the admin address.
const (
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 16 << 10
	maxScrapes     = 4 // requests to /metrics at the same time
	maxQueries     = 4 // requests to Options.Handlers at the same time
)

// Options are the options of a Server.
type Options struct {
	Listen string // address to listen on, as host:port
	// WebConfig is the path of an exporter-toolkit web configuration file (TLS, client
	// certificates, basic authentication). If it is "", the server speaks plain HTTP.
	WebConfig string
	Gatherer  prometheus.Gatherer
	// Ready returns nil if the daemon accepts messages and MTAs can find each of its
	// sockets. Otherwise it returns the reason.
	Ready  func() error
	Logger *slog.Logger
	// Handlers answer GET and HEAD requests at paths such as "/api/status". The answers
	// contain private data; see the function private for how they are protected.
	Handlers map[string]http.Handler
	// Forms answer POST requests that a page of this server sent. Those of other pages are refused.
	Forms map[string]http.Handler
}

// Server is the admin HTTP server.
type Server struct {
	o        Options
	http     *http.Server
	listener net.Listener
	started  bool
	done     chan error
}

// New starts to listen at the address. Requests are answered after Start is called.
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

// Check returns an error if the web configuration file is invalid. "" stands for no file
// and is valid.
func Check(webConfig string) error {
	if err := web.Validate(webConfig); err != nil {
		return fmt.Errorf("admin: web configuration %s: %w", webConfig, err)
	}
	return nil
}

// Addr returns the address at which the server listens.
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
	own := http.NewCrossOriginProtection()
	for path, h := range s.o.Forms {
		mux.Handle("POST "+path, own.Handler(private(h, busy)))
	}
	return mux
}

func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// An error means that the client has closed the connection, so it is ignored.
	_, _ = fmt.Fprintln(w, line)
}

// Start answers requests in the background. Start and Stop must not be called at the same
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

// Stop waits until running requests have ended, at most until ctx ends, and closes the
// address. Stop may be called without Start.
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
