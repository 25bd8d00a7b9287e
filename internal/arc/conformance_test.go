package arc

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dns"
	"sekimori/internal/dns/dnstest"
	"sekimori/internal/message"
)

// splitMessage turns a CRLF message into what a milter gets.
func splitMessage(eml []byte) (message.Header, []byte) {
	head, body, ok := bytes.Cut(eml, []byte("\r\n\r\n"))
	if bytes.HasPrefix(eml, []byte("\r\n")) {
		head, body, ok = nil, eml[2:], true
	}
	if !ok {
		head = bytes.TrimSuffix(eml, []byte("\r\n"))
	}
	var h message.Header
	for _, line := range strings.SplitAfter(string(head)+"\r\n", "\r\n") {
		line = strings.TrimSuffix(line, "\r\n")
		switch {
		case line == "":
		case line[0] == ' ' || line[0] == '\t':
			if len(h) > 0 {
				h[len(h)-1].Value += "\r\n" + line
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			h = append(h, message.Field{Name: name, Value: value})
		}
	}
	return h, body
}

// validate runs a whole message through a Verifier.
func validate(tb testing.TB, eml string, r dns.Resolver, o dkim.Options) Result {
	tb.Helper()
	h, body := splitMessage([]byte(eml))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m := dkim.NewMessage(h)
	defer m.Close()
	v := NewVerifier(m, o)
	v.Start(ctx, r)
	if _, err := m.Write(body); err != nil {
		tb.Fatal(err)
	}
	return v.Finish(ctx)
}

// TestConformance runs the chain validation cases of ValiMail's suite.
func TestConformance(t *testing.T) {
	dir := conformanceDir(t)
	raw, err := os.ReadFile(filepath.Join(dir, "arc", "arc-validation.json"))
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Cases []struct {
			ID          string          `json:"id"`
			EML         string          `json:"eml"`
			Zone        json.RawMessage `json:"zone"`
			Expect      Status          `json:"expect_arc"`
			Description string          `json:"description"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(raw, &suite); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, c := range suite.Cases {
		eml, err := os.ReadFile(filepath.Join(dir, "arc", c.EML))
		if err != nil {
			t.Fatal(err)
		}
		zone, err := dnstest.FromConformance(c.Zone)
		if err != nil {
			t.Fatal(err)
		}
		r := validate(t, string(eml), zone, dkim.Options{Now: time.Unix(1795000000, 0)})
		if r.Status != c.Expect {
			t.Errorf("%s: %+v, want %s (%s)", c.ID, r, c.Expect, c.Description)
			continue
		}
		passed++
	}
	t.Logf("suite arc/arc-validation in process: passed %d / total %d", passed, len(suite.Cases))
}

// conformanceDir finds the shared data beside the repository.
func conformanceDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			shared := filepath.Join(dir, "..", "shared", "conformance")
			if _, err := os.Stat(shared); err == nil {
				return shared
			}
		}
	}
	tb.Skip("suites of arc: skipped, no ../shared/conformance beside the repository: the cases in this package prove the same rules")
	return ""
}
