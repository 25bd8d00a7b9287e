package wholepath

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"sekimori/internal/admin"
	"sekimori/internal/judge"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/telemetry"
)

// gatherer is a source of metrics. If its channels are not nil, Gather blocks until the test lets
// it continue.
type gatherer struct {
	entered chan struct{}
	leave   chan struct{}
}

func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	if g.entered != nil {
		g.entered <- struct{}{}
		<-g.leave
	}
	return nil, nil
}

func adminServer(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	s, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Gatherer: g, Ready: func() error { return nil }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr()
}

func getStatus(t *testing.T, url, header string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("X-Long", header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestBoundAdminHeader sends long request headers. net/http accepts up to 4 KiB more than the
// configured limit of 16 KiB.
func TestBoundAdminHeader(t *testing.T) {
	base := adminServer(t, gatherer{})
	if got := getStatus(t, base+"/readyz", strings.Repeat("x", 15<<10)); got != http.StatusOK {
		t.Errorf("15 KiB: %d", got)
	}
	if got := getStatus(t, base+"/readyz", strings.Repeat("x", 21<<10)); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("21 KiB: %d", got)
	}
}

func TestBoundAdminScrapes(t *testing.T) {
	g := gatherer{make(chan struct{}), make(chan struct{})}
	base := adminServer(t, g)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := getStatus(t, base+"/metrics", ""); got != http.StatusOK {
				t.Errorf("one of four: %d", got)
			}
		})
	}
	for range 4 {
		<-g.entered
	}
	if got := getStatus(t, base+"/metrics", ""); got != http.StatusServiceUnavailable {
		t.Errorf("the fifth: %d", got)
	}
	close(g.leave)
	wg.Wait()
}

func TestBoundLog(t *testing.T) {
	for n, cut := range map[int]bool{256: false, 257: true} {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		telemetry.Records{Log: log}.Decided(&judge.Decision{Envelope: msgauth.Envelope{MailFrom: strings.Repeat("h", n)},
			Verdict: policy.Skipped(policy.ReasonTrusted)}, 0)
		var record map[string]any
		if err := json.Unmarshal(out.Bytes(), &record); err != nil {
			t.Fatal(err)
		}
		if from, _ := record["mail_from"].(string); strings.HasSuffix(from, "...") != cut || !strings.HasPrefix(from, strings.Repeat("h", 256)) {
			t.Errorf("%d octets: %q", n, from)
		}
	}
}
