package app

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/config"
)

// scrape returns what a scraper that accepts this format gets.
func scrape(t *testing.T, a *App, accept string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.AdminAddr()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return string(text)
}

// TestScrapeShowsQueueIDs checks that a scraper that accepts OpenMetrics gets queue ids as exemplars
// of the wait, with every setting of log.privacy. The format that is older has no exemplars.
func TestScrapeShowsQueueIDs(t *testing.T) {
	exemplar := regexp.MustCompile(`(?m)^sekimori_message_wait_seconds_bucket\{le="[^"]+"\} 1 # \{queue_id="4QUEUE"\} [0-9.e-]+ [0-9.e+]+$`)
	for _, privacy := range []string{config.PrivacyFull, config.PrivacyLocalParts} {
		cfg := testConfig(t)
		cfg.Log.Privacy = privacy
		a, _, stop := running(t, cfg)
		send(t, a, "<a@bank.example>")
		text := scrape(t, a, "application/openmetrics-text; version=1.0.0")
		if !exemplar.MatchString(text) || !strings.HasSuffix(text, "\n# EOF\n") {
			t.Errorf("privacy %s: no exemplar in\n%s", privacy, text)
		}
		if text := scrape(t, a, "text/plain"); strings.Contains(text, "queue_id") || !strings.Contains(text, "sekimori_message_wait_seconds_bucket") {
			t.Errorf("privacy %s: as plain text\n%s", privacy, text)
		}
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	}
}
