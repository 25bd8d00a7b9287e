package app

import (
	"regexp"
	"testing"

	"sekimori/internal/config"
)

// TestTextLog checks that in the text format no record of a start, a message, a reload or a
// change of DNS servers shows a Go value such as a map or a pointer.
func TestTextLog(t *testing.T) {
	cfg := testConfig(t)
	cfg.Log.Format = "text"
	cfg.Listen = append(cfg.Listen, config.Listener{Address: "inet6:[::1]:0"})
	a, log, stop := running(t, cfg)
	send(t, a, "<x@evil.example>")
	if err := a.Reload(with(cfg, monitor, func(c *config.Config) { c.AuthservID = "new.here.example" })); err != nil {
		t.Fatal(err)
	}
	a.serversChanged([]string{"192.0.2.1:53", "[::1]:53"}, nil)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if odd := regexp.MustCompile(`=("?\[[^\]]*( |\])|"?(&|map\[|\{|0x[0-9a-f]|%!))`).FindAllString(text, -1); odd != nil {
		t.Errorf("%q in\n%s", odd, text)
	}
	for _, want := range []string{`changed="authserv_id, mode"`, `servers="192.0.2.1:53, [::1]:53"`, `dkim=none`} {
		if !regexp.MustCompile(regexp.QuoteMeta(want)).MatchString(text) {
			t.Errorf("the log lacks %s:\n%s", want, text)
		}
	}
}
