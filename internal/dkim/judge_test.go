package dkim

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/message"
	"sekimori/internal/testkit/nameserver"
)

// rfc8463 returns the message of RFC 8463 Appendix A.3. Its second signature has
// the selector "test".
func rfc8463(t *testing.T) (z *zone.Zone, mail []byte) {
	t.Helper()
	raw, err := os.ReadFile("testdata/rfc8463-a3.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), "\n-- zone --\n")
	text, body, _ := strings.Cut(rest, "-- message --\n")
	return nameserver.Zone(t, text), []byte(strings.ReplaceAll(body, "\n", "\r\n"))
}

// secondLate is a resolver that gives the key of the selector "test" two seconds
// late.
type secondLate struct {
	dns.LookupOnly
	next dns.Resolver
}

func (r secondLate) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	if name == "test._domainkey.football.example.com" {
		time.Sleep(2 * time.Second)
	}
	return r.next.Lookup(ctx, name, typ)
}

// TestJudge checks that Judge verifies a signature as soon as its key has come,
// although another key is still missing, and that Finish has the same results in
// the end.
func TestJudge(t *testing.T) {
	z, raw := rfc8463(t)
	synctest.Test(t, func(t *testing.T) {
		h, body := message.Parse(raw)
		v := NewVerifier(h, Options{Now: time.Unix(1_790_000_000, 0)})
		v.Start(t.Context(), secondLate{next: z})
		defer v.Close()
		if _, err := v.Write(body); err != nil {
			t.Fatal(err)
		}
		football := func(d dns.Name) bool { return d == "football.example.com" }
		synctest.Wait()
		begin := time.Now()
		<-v.Arrived() // a value says that the first key has come
		if v.Judge(t.Context()) || !v.Passed(football) || v.Passed(func(d dns.Name) bool { return d == "example.com" }) {
			t.Error("one key of two is there")
		}
		<-v.Arrived()
		if took := time.Since(begin); took != 2*time.Second || !v.Judge(t.Context()) {
			t.Errorf("after %v a signature is open", took)
		}
		for i, s := range v.Finish(t.Context()) {
			if s.Result != Pass {
				t.Errorf("signature %d: %s %s", i, s.Result, s.Reason)
			}
		}
	})
}

// TestJudgeWithoutStart checks that Judge does not wait for keys if Start was not
// called.
func TestJudgeWithoutStart(t *testing.T) {
	_, raw := rfc8463(t)
	h, _ := message.Parse(raw)
	v := NewVerifier(h, Options{Now: time.Unix(1_790_000_000, 0)})
	if !v.Judge(t.Context()) || v.Passed(func(dns.Name) bool { return true }) {
		t.Error("open, or passed")
	}
	if v := NewVerifier(nil, Options{}); !v.Judge(t.Context()) {
		t.Error("nothing is open")
	}
}
