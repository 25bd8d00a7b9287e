package dkim

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/signer"
	"sekimori/internal/testkit/suites"
)

// shared is one cache for all tests, as in a daemon.
var shared = NewCache()

// verify verifies a whole message without a cache, and twice with the shared
// cache. The results must be the same.
func verify(tb testing.TB, eml []byte, r dns.Resolver, o Options) []Signature {
	tb.Helper()
	want := verifyOnce(tb, eml, r, o)
	o.Cache = shared
	for range 2 {
		if got := verifyOnce(tb, eml, r, o); !reflect.DeepEqual(got, want) {
			tb.Errorf("with a cache: %+v, without: %+v", got, want)
		}
	}
	return want
}

func verifyOnce(tb testing.TB, eml []byte, r dns.Resolver, o Options) []Signature {
	tb.Helper()
	h, body := signer.Split(eml)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	v := NewVerifier(h, o)
	defer v.Close()
	v.Start(ctx, r)
	if _, err := v.Write(body); err != nil {
		tb.Fatal(err)
	}
	return v.Finish(ctx)
}

func results(sigs []Signature) []Result {
	var out []Result
	for _, s := range sigs {
		out = append(out, s.Result)
	}
	if len(out) == 0 {
		out = []Result{None}
	}
	return out
}

// suiteTime is the value of Options.Now for the messages of the suites.
var suiteTime = time.Unix(1795000000, 0)

// judged returns the results for a suite's message.
func judged(t *testing.T, c suites.DKIMCase, o Options) []Result {
	t.Helper()
	z, err := suites.Zone(c.Zone)
	if err != nil {
		t.Fatal(err)
	}
	o.Now = suiteTime
	return results(verify(t, c.Raw, z, o))
}

// TestConformance runs the suites of OpenDKIM, go-msgauth and dkimpy. A signature
// must pass if, and only if, the suite wants a pass.
func TestConformance(t *testing.T) {
	for _, name := range []string{"opendkim-lib", "go-msgauth", "dkimpy"} {
		// The suite wants a pass even if content follows the part that l= covers
		// (t-test28 to 31), so the policy for l= must be to accept.
		runSuite(t, "dkim/"+name+" in process", suites.DKIM(t, name), Options{BodyLength: BodyLengthAccept})
	}
}

// TestConformanceModule runs the messages of the RFCs that are part of the Go
// module go-msgauth. The go command downloads this module for the tests, so this
// test can run in every clone.
func TestConformanceModule(t *testing.T) {
	runSuite(t, "dkim/go-msgauth of the module, in process", suites.DKIMOfModule(t), Options{})
}

func runSuite(t *testing.T, name string, cases []suites.DKIMCase, o Options) {
	t.Helper()
	passed := 0
	for _, c := range cases {
		if err := c.Judge(words(judged(t, c, o))); err != nil {
			t.Errorf("%s: %s: %v", name, c.ID, err)
			continue
		}
		passed++
	}
	suites.Log(t, name, passed, len(cases), "")
}

func words(results []Result) (out []string) {
	for _, r := range results {
		out = append(out, string(r))
	}
	return out
}

// TestConformanceMilter runs the messages of OpenDKIM's milter scripts. If the
// script wants a dkim= word other than pass, any result but pass is accepted.
func TestConformanceMilter(t *testing.T) {
	cases := suites.DKIM(t, "opendkim-milter")
	passed, excluded := 0, 0
	for _, c := range cases {
		got := judged(t, c, Options{})
		if c.NeedsOpenDKIM() {
			excluded++
			continue
		}
		ok := true
		for _, want := range c.ARContains {
			word, found := strings.CutPrefix(want, "dkim=")
			if found && word != "" && (word == "pass") != slices.Contains(got, Pass) {
				t.Errorf("%s: %v, want %v", c.ID, got, c.ARContains)
				ok = false
			}
		}
		if ok {
			passed++
		}
	}
	suites.Log(t, "dkim/opendkim-milter in process", passed, len(cases),
		fmt.Sprintf("excluded %d: they need OpenDKIM's own scripts or options; they were answered", excluded))
}
