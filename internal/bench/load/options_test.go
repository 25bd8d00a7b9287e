package load

import (
	"errors"
	"math"
	"strings"
	"testing"

	"sekimori/internal/bench/traffic"
)

func TestTargets(t *testing.T) {
	for _, tc := range []struct {
		why, text        string
		remote           bool
		network, address string
		err              string
	}{
		{"loopback", "inet:127.0.0.1:8891", false, "tcp", "127.0.0.1:8891", ""},
		{"loopback without a family", "127.9.9.9:8891", false, "tcp", "127.9.9.9:8891", ""},
		{"loopback of IPv6", "inet6:[::1]:8891", false, "tcp", "[::1]:8891", ""},
		{"a unix socket is always here", "unix:/run/x.sock", false, "unix", "/run/x.sock", ""},
		{"another host", "inet:192.0.2.1:8891", false, "", "", "load: not a loopback address: inet:192.0.2.1:8891 is 192.0.2.1"},
		{"another host in IPv6", "inet:[2001:db8::1]:8891", false, "", "", "load: not a loopback address: inet:[2001:db8::1]:8891 is 2001:db8::1"},
		{"loopback mapped into IPv6", "inet:[::ffff:127.0.0.1]:1", false, "tcp", "127.0.0.1:1", ""},
		{"another host mapped into IPv6", "inet:[::ffff:192.0.2.1]:1", false, "", "", "load: not a loopback address: "},
		{"every address", "inet:0.0.0.0:8891", false, "", "", "load: not a loopback address: "},
		{"another host, allowed", "inet:192.0.2.1:8891", true, "tcp", "192.0.2.1:8891", ""},
		{"no port", "inet:127.0.0.1", false, "", "", `load: "inet:127.0.0.1" is neither inet:HOST:PORT nor unix:/PATH`},
		{"no name", "inet:a b:1", false, "", "", "load: inet:a b:1: lookup a b: no such host"},
	} {
		target, err := ParseTarget(t.Context(), tc.text, tc.remote)
		if (err == nil) != (tc.err == "") || err != nil && (!strings.HasPrefix(err.Error(), tc.err) || errors.Is(err, ErrRemote) != strings.Contains(tc.err, "not a loopback")) {
			t.Errorf("%s: %v", tc.why, err)
		}
		if want := (Target{tc.network, tc.address, tc.text}); err == nil && target != want || err != nil && target != (Target{}) {
			t.Errorf("%s: %+v, want %+v", tc.why, target, want)
		}
	}
	for address, want := range map[string]string{
		"127.0.0.77:53": "", "[::1]:53": "", "[::ffff:127.0.0.1]:53": "", "0.0.0.0:53": "load: not a loopback address: 0.0.0.0:53",
		"192.0.2.1:53": "load: not a loopback address: 192.0.2.1:53", "x": `load: "x" is not ADDRESS:PORT`,
	} {
		if err := CheckDNSAddr(address, false); (err == nil) != (want == "") || err != nil && (err.Error() != want || errors.Is(err, ErrRemote) == (address == "x")) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := CheckDNSAddr("192.0.2.1:53", true); err != nil {
		t.Error(err)
	}
}

// TestOptions has each bound, the first value beyond it, and each combination that is refused.
func TestOptions(t *testing.T) {
	target := Target{network: "unix", address: "/x", text: "unix:/x"}
	const (
		either   = "load: mail is sent either to milters or to an MTA"
		behind   = "load: behind an MTA the check must be replies or none"
		negative = "load: messages, warm-up, duration and round trip cannot be negative"
	)
	mta := func(check Check) func(*Options) {
		return func(o *Options) { o.Milters, o.MTA, o.Check = nil, target, check }
	}
	for _, tt := range []struct {
		change func(*Options)
		want   string
	}{
		{func(*Options) {}, ""},
		{func(o *Options) { o.Milters = nil }, either}, {func(o *Options) { o.MTA = target }, either},
		{mta(CheckReplies), ""}, {mta(CheckNone), ""}, {mta(CheckAll), behind}, {mta(CheckResults), behind}, {mta(CheckSafe), behind},
		{func(o *Options) { o.Check = CheckResults }, ""}, {func(o *Options) { o.Check = CheckSafe }, ""}, {func(o *Options) { o.Check = CheckReplies }, ""},
		{func(o *Options) { o.Check = CheckNone }, ""}, {func(o *Options) { o.Check = "some" }, `load: "some" is none of all results safe replies none`},
		{func(o *Options) { o.Connections = 0 }, "load: 0 connections; 1 to 10000"}, {func(o *Options) { o.Connections = maxConnections }, ""},
		{func(o *Options) { o.Connections = maxConnections + 1 }, "load: 10001 connections; 1 to 10000"},
		{func(o *Options) { o.Messages = -1 }, negative}, {func(o *Options) { o.Warmup = -1 }, negative},
		{func(o *Options) { o.Duration = -1 }, negative}, {func(o *Options) { o.RoundTrip = -1 }, negative},
		{func(o *Options) { o.Rate = -1 }, "load: -1 messages a second; 0 to 1000000"}, {func(o *Options) { o.Rate = maxRate }, ""},
		{func(o *Options) { o.Rate = maxRate + 1 }, "load: 1.000001e+06 messages a second; 0 to 1000000"},
		{func(o *Options) { o.Rate = math.NaN() }, "load: NaN messages a second; 0 to 1000000"},
		{func(o *Options) { o.SystemCalls = true }, "load: system calls can be counted only of given processes"},
		{func(o *Options) { o.SystemCalls, o.PIDs = true, []int{1} }, ""},
	} {
		o := Options{Milters: []Target{target}, Connections: 1, Check: CheckAll}
		tt.change(&o)
		err := o.Validate()
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%+v: %v, want %s", o, err, tt.want)
		}
		if tt.want == "" {
			continue
		}
		if r, err := Run(t.Context(), &traffic.Corpus{}, o); r != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%+v: %+v, %v", o, r, err)
		}
	}
}
