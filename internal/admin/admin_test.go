package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sekimori/internal/testkit/web"
)

func start(t *testing.T, webConfig string, ready func() error) *Server {
	t.Helper()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "sekimori_test_total", Help: "for the test"})
	reg.MustRegister(c)
	c.Inc()
	return serve(t, Options{WebConfig: webConfig, Gatherer: reg, Ready: ready})
}

// serve starts a server on a free port. The server stops when the test ends.
func serve(t *testing.T, o Options) *Server {
	t.Helper()
	o.Listen, o.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestRoutes(t *testing.T) {
	var ready atomic.Bool
	s := start(t, "", func() error {
		if ready.Load() {
			return nil
		}
		return errors.New("not yet")
	})
	base := "http://" + s.Addr()
	for _, tt := range []struct {
		method, path string
		ready        bool
		code         int
		body         string
	}{
		{"GET", "/healthz", false, 200, "ok\n"},
		{"GET", "/readyz", false, 503, "not yet\n"},
		{"GET", "/readyz", true, 200, "ready\n"},
		{"GET", "/metrics", true, 200, "sekimori_test_total 1"},
		{"POST", "/metrics", true, 405, ""},
		{"GET", "/debug/pprof/", true, 404, ""},
	} {
		ready.Store(tt.ready)
		code, body := web.Do(t, tt.method, base+tt.path)
		if code != tt.code || !strings.Contains(body, tt.body) || strings.HasSuffix(tt.path, "z") && body != tt.body {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, code, body)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yaml")
	// The bcrypt hash of the password "secret", with cost 4.
	const hash = "$2a$04$YPYIqoSCp/uaJFs2jK2r/uBA3FOaKDdJXOZPUZ7Q2k91LeRTzWqMq"
	if err := os.WriteFile(path, []byte("basic_auth_users: {prometheus: "+hash+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, path, func() error { return nil })
	if code, _ := web.Do(t, "GET", "http://"+s.Addr()+"/metrics"); code != http.StatusUnauthorized {
		t.Errorf("without a password: %d", code)
	}
}

func TestBadUse(t *testing.T) {
	taken := start(t, "", func() error { return nil })
	bad := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(bad, []byte("tls_server_config: {cert_file: nowhere.pem}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"address in use", Options{Listen: taken.Addr()}, "admin: listen " + taken.Addr() + ": listen tcp " + taken.Addr() +
			": bind: address already in use; change admin.listen or stop what uses the address"},
		{"no such web configuration", Options{Listen: "127.0.0.1:0", WebConfig: "/nonexistent/web.yaml"}, "admin: web configuration /nonexistent/web.yaml: "},
		{"broken web configuration", Options{Listen: "127.0.0.1:0", WebConfig: bad}, "admin: web configuration " + bad + ": "},
		{"not an address", Options{Listen: "nowhere"}, "admin: listen nowhere: "},
	} {
		tt.o.Logger = slog.New(slog.DiscardHandler)
		if _, err := New(tt.o); err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", tt.name, err, tt.want)
		}
	}
}

// TestStopWithoutStart checks that Stop closes the address if Start was not called.
func TestStopWithoutStart(t *testing.T) {
	s, err := New(Options{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if h := s.http; h.ReadTimeout != 10*time.Second || h.WriteTimeout != 30*time.Second || h.IdleTimeout != 2*time.Minute || h.MaxHeaderBytes != 16<<10 {
		t.Errorf("%+v", h)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := New(Options{Listen: s.Addr(), Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Stop(t.Context())
}

// TestStopWaits checks that Stop waits for the requests that run, and says if they do not end in time.
func TestStopWaits(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, err := New(Options{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Ready: func() error {
		close(entered)
		<-leave
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if resp, err := http.Get("http://" + s.Addr() + "/readyz"); err == nil { //nolint:noctx // it ends with the test
			resp.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "admin: stop: ") {
		t.Errorf("a request runs: %v", err)
	}
	close(leave)
	<-asked
}

// TestNoLongerServed checks that a listener that fails is logged, and told by Stop; and that a Stop in order is neither.
func TestNoLongerServed(t *testing.T) {
	for _, broken := range []bool{true, false} {
		var b strings.Builder
		s, err := New(Options{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Logger: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelError}))})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if broken {
			if err := s.listener.Close(); err != nil {
				t.Fatal(err)
			}
			s.done <- <-s.done // it has seen that
		}
		err = s.Stop(t.Context())
		if (err != nil) != broken || strings.Contains(b.String(), `msg="admin address is no longer served" error=`) != broken {
			t.Errorf("broken %t: %v, logged %q", broken, err, b.String())
		}
	}
}
