package topology

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watched returns a Watch, and a function that returns the value of the attribute "kind" or "what" of each
// record that the Watch logged since the last call.
func watched(t *testing.T) (*Watch, func() []string) {
	t.Helper()
	var log bytes.Buffer
	w := New(slog.New(slog.NewJSONHandler(&log, nil)))
	return w, func() (out []string) {
		for dec := json.NewDecoder(&log); dec.More(); {
			var r struct{ Level, Kind, What, Msg string }
			if err := dec.Decode(&r); err != nil || r.Level != "WARN" {
				t.Fatal(r, err)
			}
			out = append(out, r.Kind+r.What)
		}
		return out
	}
}

var (
	proxy   = netip.MustParseAddr("172.17.0.1")
	another = netip.MustParseAddr("172.17.0.2")
	public  = netip.MustParseAddr("192.0.2.1")
)

func times(n int, f func()) {
	for range n {
		f()
	}
}

// dated returns a function that plays n messages whose Date is "ahead" after our clock.
func dated(n int, ahead time.Duration) func(*Watch) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return func(w *Watch) { times(n, func() { w.Dated(now.Add(ahead), now) }) }
}

// TestKinds checks that each Kind holds after the events that it stands for, and no longer holds
// after an event that contradicts it.
func TestKinds(t *testing.T) {
	for _, tc := range []struct {
		why    string
		events func(w *Watch)
		holds  []Kind
	}{
		{"nothing", func(*Watch) {}, nil},
		{"sessions of one private address", func(w *Watch) { times(200, func() { w.Connected(proxy) }) }, []Kind{PrivateClients}},
		{"one session too few", func(w *Watch) { times(manyClients-1, func() { w.Connected(proxy) }) }, nil},
		{"one session with many messages", func(w *Watch) {
			w.Connected(proxy)
			times(manyClients, func() { w.Message(proxy, false, true) })
		}, []Kind{PrivateClients}},
		{"two private addresses", func(w *Watch) { times(200, func() { w.Connected(proxy); w.Connected(another) }) }, nil},
		{"a public address between the private ones", func(w *Watch) {
			times(99, func() { w.Connected(proxy) })
			w.Connected(public)
			times(99, func() { w.Connected(proxy) })
		}, nil},
		{"one public address", func(w *Watch) { times(200, func() { w.Connected(public) }) }, nil},
		{"loopback", func(w *Watch) { times(200, func() { w.Connected(netip.MustParseAddr("127.0.0.1")) }) }, nil},
		{"loopback of IPv6", func(w *Watch) { times(200, func() { w.Connected(netip.IPv6Loopback()) }) }, nil},
		{"the address of a NAT64", func(w *Watch) { times(200, func() { w.Connected(netip.MustParseAddr("64:ff9b::192.0.2.1")) }) }, []Kind{PrivateClients}},
		{"no address", func(w *Watch) { times(200, func() { w.Connected(netip.Addr{}) }) }, nil},
		{"link-local", func(w *Watch) { times(200, func() { w.Connected(netip.MustParseAddr("fe80::1")) }) }, []Kind{PrivateClients}},
		{"unique local", func(w *Watch) { times(200, func() { w.Connected(netip.MustParseAddr("fd00::1")) }) }, []Kind{PrivateClients}},
		{"shared", func(w *Watch) { times(200, func() { w.Connected(netip.MustParseAddr("100.64.3.4")) }) }, []Kind{PrivateClients}},
		{"all trusted", func(w *Watch) { times(manyClients, func() { w.Message(public, true, false) }) }, []Kind{AllTrusted}},
		{"one message in between is not trusted", func(w *Watch) {
			times(99, func() { w.Message(public, true, false) })
			w.Message(public, false, true)
			times(99, func() { w.Message(public, true, false) })
		}, nil},
		{"then one message of a client that logged in", func(w *Watch) {
			times(manyClients, func() { w.Message(public, true, false) })
			w.Message(public, false, false)
		}, nil},
		{"transactions that end without a message after DATA", func(w *Watch) { times(5, func() { w.Empty(true) }) }, []Kind{NothingEvaluated}},
		{"one too few without a message after DATA", func(w *Watch) { times(4, func() { w.Empty(true) }) }, nil},
		{"one too few that end after RCPT", func(w *Watch) { times(9, func() { w.Empty(false) }) }, nil},
		{"transactions that end after RCPT", func(w *Watch) { times(10, func() { w.Empty(false) }) }, []Kind{NothingEvaluated}},
		{"an evaluated message after them", func(w *Watch) { times(9, func() { w.Empty(true) }); w.Message(public, false, true) }, nil},
		{"an evaluated message among them", func(w *Watch) {
			times(4, func() { w.Empty(true) })
			w.Message(public, false, true)
			times(4, func() { w.Empty(true) })
		}, nil},
		{"only trusted messages among them", func(w *Watch) { times(5, func() { w.Empty(true); w.Message(public, true, false) }) }, []Kind{NothingEvaluated}},
		{"a Date an hour ahead in every message", dated(manyClients, time.Hour), []Kind{ClockOff}},
		{"a Date an hour ago in every message", dated(manyClients, -time.Hour), []Kind{ClockOff}},
		{"one message with a far Date too few", dated(manyClients-1, time.Hour), nil},
		{"a Date just now", dated(2*manyClients, 0), nil},
		{"a Date that is near enough, ahead", dated(2*manyClients, clockTolerance), nil},
		{"a Date that is near enough, ago", dated(2*manyClients, -clockTolerance), nil},
		{"one right Date among the far ones", func(w *Watch) { dated(99, time.Hour)(w); dated(1, 0)(w); dated(99, time.Hour)(w) }, nil},
		{"a Date on both sides", func(w *Watch) { times(manyClients, func() { dated(1, time.Hour)(w); dated(1, -time.Hour)(w) }) }, nil},
		{"the MTA's own name", func(w *Watch) { w.Named("MX.example.jp", "mx.example.jp") }, nil},
		{"a name for all MX hosts of a domain", func(w *Watch) { w.Named("example.jp", "mx3.tokyo.example.jp") }, nil},
		{"no configured name", func(w *Watch) { w.Named("", "mx.example.jp") }, nil},
		{"an MTA without a domain", func(w *Watch) { w.Named("mx.example.jp", "mx") }, nil},
		{"another domain's name", func(w *Watch) { w.Named("mx.other.jp", "mx.example.jp") }, []Kind{ForeignName}},
		{"two domains under co.jp", func(w *Watch) { w.Named("mx.other.co.jp", "mx.example.co.jp") }, []Kind{ForeignName}},
		{"localhost", func(w *Watch) { w.Named("localhost", "mx.example.jp") }, []Kind{ForeignName}},
		{"what another package found", func(w *Watch) { w.Set(SocketLost, true) }, []Kind{SocketLost}},
		{"what another package found no longer", func(w *Watch) { w.Set(SocketLost, false) }, nil},
	} {
		w, log := watched(t)
		tc.events(w)
		var holds []Kind
		for _, k := range Kinds {
			if w.Holds(k) {
				holds = append(holds, k)
			}
		}
		if fmt.Sprint(holds) != fmt.Sprint(tc.holds) {
			t.Errorf("%s: %v holds", tc.why, holds)
		}
		if got := log(); len(tc.holds) > 0 && fmt.Sprint(got) != fmt.Sprint(tc.holds) {
			t.Errorf("%s: warned of %v", tc.why, got)
		}
	}
}

// TestOnceADay checks that a Kind is logged once a day while it holds. A short time in which it
// does not hold makes no difference.
func TestOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := watched(t)
		for hour := range 60 { // two and a half days
			times(100, func() { w.Connected(proxy) })
			if hour%20 == 10 {
				w.Connected(public)
			}
			time.Sleep(time.Hour)
		}
		if got := log(); len(got) != 3 {
			t.Errorf("%d warnings: %v", len(got), got)
		}
		if w.Connected(public); w.Holds(PrivateClients) {
			t.Error("PrivateClients still holds after a public client")
		}
	})
}

// TestMTAs checks that the log warns of an MTA once, with one record for each feature that the MTA
// lacks. The port does not matter. At most maxMTAs are remembered.
func TestMTAs(t *testing.T) {
	w, log := watched(t)
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8891}
	mta := func(n, port int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, byte(n>>8), byte(n)), Port: port} }
	if w.Negotiated(local, mta(0, 1), nil); len(w.mtas) != 0 {
		t.Error("an MTA that lacks nothing is remembered")
	}
	for port := range 10 {
		w.Negotiated(local, mta(1, port), []Lack{LackLeadingSpace, LackQuarantine})
	}
	w.Negotiated(local, mta(2, 1), []Lack{LackLeadingSpace})
	w.Negotiated(&net.UnixAddr{Name: "/run/x", Net: "unix"}, &net.UnixAddr{Net: "unix"}, []Lack{LackChange})
	if got := fmt.Sprint(log()); got != "[leading_space quarantine leading_space change_header]" {
		t.Error(got)
	}
	for n := range 10 * maxMTAs {
		w.Negotiated(local, mta(n, 1), []Lack{LackMacros})
	}
	if got := len(log()); got > maxMTAs || len(w.mtas) > maxMTAs {
		t.Errorf("%d warnings, %d are remembered", got, len(w.mtas))
	}
	if w.Lacking(LackLeadingSpace) != 11 || w.Lacking(LackMacros) != 10*maxMTAs || w.Lacking(LackAdd) != 0 {
		t.Error(w.lacks)
	}
}

// TestCounts checks that Transactions counts all transactions without a message, and that the log
// gives the number of such transactions since the last evaluated message.
func TestCounts(t *testing.T) {
	var log bytes.Buffer
	w := New(slog.New(slog.NewTextHandler(&log, nil)))
	times(3, func() { w.Empty(true) })
	w.Message(public, false, true)
	times(5, func() { w.Empty(true) })
	if w.Transactions() != 8 || !strings.Contains(log.String(), "transactions=5") {
		t.Errorf("%d transactions; %s", w.Transactions(), &log)
	}
	w = New(slog.New(slog.DiscardHandler))
	w.Connected(proxy)
	w.Connected(public)
	if times(manyClients-1, func() { w.Connected(proxy) }); w.Holds(PrivateClients) {
		t.Error("PrivateClients holds one session too early after another client")
	}
	if w.Connected(proxy); !w.Holds(PrivateClients) {
		t.Error("PrivateClients does not hold after enough sessions")
	}
}

// TestForgedLeft checks that every message counts, but that at most one a minute is logged.
func TestForgedLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, log := watched(t)
		for range 150 {
			w.ForgedLeft(&net.TCPAddr{}, "4Q")
			time.Sleep(time.Second)
		}
		if got := log(); len(got) != 3 || w.Forged() != 150 {
			t.Errorf("%d warnings of %d", len(got), w.Forged())
		}
	})
}

// TestNobodyWatches checks that every method that counts may be called on a nil Watch.
func TestNobodyWatches(t *testing.T) {
	var w *Watch
	w.Connected(proxy)
	w.Message(proxy, true, false)
	w.Empty(true)
	w.ForgedLeft(nil, "")
	w.Negotiated(nil, nil, []Lack{LackAdd})
	w.Dated(time.Time{}, time.Time{})
	w.Named("a.example", "b.example")
	w.Set(SocketLost, true)
}

// TestWords checks that the log has a text for every Kind and every Lack.
func TestWords(t *testing.T) {
	for _, k := range Kinds {
		if Advice[k] == "" {
			t.Error(k)
		}
	}
	for _, l := range Lacks {
		if lackAdvice[l] == "" {
			t.Error(l)
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(Lacks))); len(distinct) != len(Lacks) || len(Lacks) != len(lackAdvice) {
		t.Error(Lacks)
	}
}
