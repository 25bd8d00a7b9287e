package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"sekimori/internal/testkit/logs"
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

// TestLevels: what goes wrong with one client is of little interest, and metrics that cannot be gathered are.
func TestLevels(t *testing.T) {
	var out logs.Buffer
	s, err := New(Options{Listen: "127.0.0.1:0", Logger: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Gatherer: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("no metrics") })})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(t.Context()) }()
	s.http.ErrorLog.Print("a client")
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	r := out.Records(t, "")
	if w.Code != http.StatusInternalServerError || len(r) != 2 || r[0]["level"] != "DEBUG" || r[0]["msg"] != "a client" || r[1]["level"] != "WARN" || !strings.Contains(fmt.Sprint(r[1]["msg"]), "no metrics") {
		t.Errorf("%d, %v", w.Code, r)
	}
}

// TestBoundScrapes checks that a further request of the metrics is refused while maxScrapes requests are running.
func TestBoundScrapes(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, Options{Ready: func() error { return nil }, Gatherer: prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		entered <- struct{}{}
		<-leave
		return nil, nil
	})})
	scrape := func() int {
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
		return w.Code
	}
	var wg sync.WaitGroup
	for range maxScrapes {
		wg.Go(func() {
			if code := scrape(); code != http.StatusOK {
				t.Errorf("one of the first requests: %d", code)
			}
		})
		<-entered
	}
	go func() { // a mutant that lets it in must not hang
		select {
		case <-entered:
		case <-leave:
		}
	}()
	refused := make(chan int, 1)
	go func() { refused <- scrape() }()
	select {
	case code := <-refused:
		if code != http.StatusServiceUnavailable {
			t.Errorf("the request over the limit: %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Error("the request over the limit runs")
	}
	close(leave)
	wg.Wait()
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
	if err := s.Stop(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("stopped twice: %v", err)
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
