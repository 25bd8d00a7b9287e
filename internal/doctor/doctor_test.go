package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/status"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/topology"
)

// asksRoot reports whether a query is for the root.
func asksRoot(query []byte) bool {
	return nameserver.QuestionName(query) == "." || nameserver.QuestionName(query) == ""
}

// silent returns a function that answers nothing, either over TCP or over UDP.
func silent(tcp bool) func([]byte, bool) ([][]byte, bool) {
	return func(_ []byte, overTCP bool) ([][]byte, bool) { return nil, overTCP == tcp }
}

// TestProbe probes name servers that misbehave, and checks which findings that leads to.
func TestProbe(t *testing.T) {
	respond := func(rcode int, sections string) func([]byte, bool) ([][]byte, bool) {
		return func(query []byte, overTCP bool) ([][]byte, bool) {
			name := nameserver.QuestionName(query)
			if asksRoot(query) || !strings.Contains(name, "sekimori-") && rcode == 0 {
				return nil, false
			}
			b := nameserver.Respond(t, query, rcode, strings.ReplaceAll(sections, "@", name))
			if overTCP {
				b = nameserver.Framed(b)
			}
			return [][]byte{b}, true
		}
	}
	const noText = "gmail.com MX 5 mx.gmail.com\napple.com MX 5 mx.apple.com\n"
	for _, tt := range []struct {
		name, zone string
		o          nameserver.Options
		want       string
	}{
		{"healthy", healthyZone, nameserver.Options{}, ""},
		{"no UDP", healthyZone, nameserver.Options{Lie: silent(false)}, "silent_udp"},
		{"no TCP", healthyZone, nameserver.Options{Lie: silent(true)}, "silent_tcp"},
		{"silent", healthyZone, nameserver.Options{Lie: func([]byte, bool) ([][]byte, bool) { return nil, true }}, "silent_tcp silent_udp"},
		{"no EDNS", healthyZone, nameserver.Options{NoEDNS: true}, "no_edns"},
		{"SERVFAIL, as if it asked itself", healthyZone, nameserver.Options{Lie: respond(codec.RcodeServerFailure, "")}, "dead_end"},
		{"REFUSED", healthyZone, nameserver.Options{Lie: respond(codec.RcodeRefused, "")}, "dead_end"},
		{"invents addresses", healthyZone, nameserver.Options{Lie: respond(0, "@ A 192.0.2.80\n")}, "invents"},
		{"invents TXT", healthyZone, nameserver.Options{Lie: respond(0, "@ TXT \"v=spf1 +all\"\n")}, "invents"},
		{"no TXT", noText, nameserver.Options{}, "no_txt"},
		{"truncated over TCP too", healthyZone + "! gmail.com TXT truncate-tcp\n", nameserver.Options{}, "truncation"},
		{"truncated over UDP only", healthyZone + "! gmail.com TXT truncate\n", nameserver.Options{}, ""},
		{"records missing over UDP", healthyZone, nameserver.Options{Lie: func(query []byte, overTCP bool) ([][]byte, bool) {
			if overTCP || nameserver.QuestionName(query) != "microsoft.com." || bytes.Contains(query, []byte{0, 15, 0, 1}) {
				return nil, false
			}
			return [][]byte{nameserver.Respond(t, query, 0, "microsoft.com TXT \"v=spf1 -all\"\n")}, true
		}}, "truncation"},
		{"none of the names", "x.example A 192.0.2.1\n", nameserver.Options{}, "(a note)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := nameserver.Serve(t, tt.zone, tt.o)
			at := Server{Shown: server.Addr(), Addr: netip.MustParseAddrPort(server.Addr())}
			found, notes := JudgeDNS(Probe(t.Context(), at, time.Second))
			r := &Report{Findings: found}
			got := kinds(r)
			if len(notes) > 0 {
				got = "(a note)"
			}
			if got != tt.want {
				t.Errorf("found %q, want %q: %+v %q", got, tt.want, found, notes)
			}
			for _, f := range found {
				if f.Area != AreaDNS || f.Why == "" || f.Fix == "" || !strings.Contains(f.What, server.Addr()) {
					t.Errorf("not complete: %+v", f)
				}
			}
		})
	}
}

// TestSlow checks that a server counts as slow if the median of its times is long enough.
func TestSlow(t *testing.T) {
	ok := Asked{Rcode: "NOERROR", EDNS: true, Records: 1}
	after := func(d time.Duration) Asked { a := ok; a.Took = d; return a }
	for _, tt := range []struct {
		took []Asked
		want string
	}{
		{[]Asked{after(slow), after(slow), after(slow)}, ""},
		{[]Asked{after(1), after(slow + 1), after(slow + 1)}, "slow"},
		{[]Asked{after(1), after(1), after(10 * slow)}, ""},
		{[]Asked{after(1), {Err: errors.New("no answer")}, {Err: errors.New("no answer")}}, ""},
	} {
		p := &Probes{
			Server: "192.0.2.53:53", UDP: tt.took, TCP: ok,
			Known: []Known{{Name: "a.example", MX: ok, TXT: ok, TCP: ok}},
		}
		found, _ := JudgeDNS(p)
		if got := kinds(&Report{Findings: found}); got != tt.want {
			t.Errorf("%v: found %q", tt.took, got)
		}
	}
}

// TestSeen checks that each problem that the daemon may notice becomes a complete finding.
func TestSeen(t *testing.T) {
	healthy := status.Status{Config: status.Config{LastReloadOK: true}}
	healthy.DNS.Servers = []status.Server{{Address: "192.0.2.53", Up: true}}
	if found := CheckSeen(&healthy); len(found) > 0 {
		t.Errorf("a healthy daemon: %+v", found)
	}
	for _, k := range topology.Kinds {
		s := healthy
		s.Topology = []string{string(k)}
		found := CheckSeen(&s)
		if len(found) != 1 || found[0].Kind != string(k) || found[0].Why == "" || found[0].Fix == "" {
			t.Errorf("%s: %+v", k, found)
		}
	}
	s := healthy
	s.Topology = []string{"of_the_future"}
	if found := CheckSeen(&s); len(found) != 1 || found[0].Why == "" || found[0].Fix == "" {
		t.Errorf("a kind of a newer daemon: %+v", found)
	}
	s = healthy
	s.MTALacks = map[string]int64{"quarantine": 3, "macros": 0}
	s.NotReady = "socket lost"
	s.Config.LastReloadOK = false
	s.DNS.Servers = []status.Server{{Address: "192.0.2.54"}}
	if got := kinds(&Report{Findings: CheckSeen(&s)}); got != "mta_lacks not_ready reload_refused server_down" {
		t.Error(got)
	}
}

// TestMode checks that the mode monitor becomes a finding when the file has a certain age.
func TestMode(t *testing.T) {
	p := newPlace(t)
	file := p.file(t, "sekimori.yaml", "mode: monitor\n")
	for _, tt := range []struct {
		mode string
		age  time.Duration
		seen []string
		want int
	}{
		{"monitor", topology.LongTime, nil, 1},
		{"monitor", topology.LongTime - time.Hour, nil, 0},
		{"enforce", topology.LongTime, nil, 0},
		{"monitor", topology.LongTime, []string{string(topology.LongMonitor)}, 0},
	} {
		if err := os.Chtimes(file, time.Time{}, p.o.Now.Add(-tt.age)); err != nil {
			t.Fatal(err)
		}
		o := p.o
		cfg := *o.Config
		cfg.Mode, o.Config, o.ConfigFile = "monitor", &cfg, file
		if tt.mode == "enforce" {
			cfg.Mode = "enforce"
		}
		r := &Report{}
		checkMode(o, &status.Status{Topology: tt.seen}, r)
		if len(r.Findings) != tt.want {
			t.Errorf("%+v: %+v", tt, r.Findings)
		}
		r = &Report{}
		if checkMode(o, nil, r); len(r.Findings) != tt.want && tt.seen == nil {
			t.Errorf("%+v, and the daemon does not run: %+v", tt, r.Findings)
		}
		o.ConfigFile = ""
		r = &Report{}
		if checkMode(o, nil, r); len(r.Findings) > 0 {
			t.Errorf("%+v, and no file: %+v", tt, r.Findings)
		}
	}
}

// TestAnswered: what counts as an answer, and as one with records.
func TestAnswered(t *testing.T) {
	failed := errors.New("x")
	for _, tt := range []struct {
		a              Asked
		answered, good bool
	}{
		{Asked{}, false, false}, {Asked{Err: failed, Rcode: "NOERROR", Records: 1}, false, false}, {Asked{Rcode: "REFUSED", Records: 1}, true, false},
		{Asked{Rcode: "NOERROR"}, true, false}, {Asked{Rcode: "NOERROR", Records: 1}, true, true},
	} {
		if tt.a.answered() != tt.answered || tt.a.good() != tt.good {
			t.Errorf("%+v: answered %v, good %v", tt.a, tt.a.answered(), tt.a.good())
		}
	}
}

// TestSameEndpoint checks which addresses an MTA may write for a listener.
func TestSameEndpoint(t *testing.T) {
	for _, tt := range []struct {
		listen, to string
		want       bool
	}{
		{"127.0.0.1:8891", "127.0.0.1:8891", true},
		{"127.0.0.1:8891", "127.0.0.1:8892", false},
		{"127.0.0.1:8891", "192.0.2.1:8891", false},
		{"0.0.0.0:8891", "192.0.2.1:8891", true},
		{"[::]:8891", "127.0.0.1:8891", true},
		{"127.0.0.1:8891", "localhost:8891", true},
		{"[::ffff:127.0.0.1]:8891", "127.0.0.1:8891", true},
		{"nonsense", "127.0.0.1:8891", false},
	} {
		if got := sameEndpoint(tt.listen, tt.to); got != tt.want {
			t.Errorf("%s for %s: %v", tt.to, tt.listen, got)
		}
	}
}

// TestMonitorMayAccept checks that the default action accept is a finding only in mode enforce.
func TestMonitorMayAccept(t *testing.T) {
	p := newPlace(t)
	p.o.SendmailCF = p.file(t, "sendmail.cf", "Xsekimori, S=unix:"+p.socket+"\nO Timeout.command=5m\nO InputMailFilters=sekimori\n")
	if got := kinds(Run(t.Context(), p.o)); got != "default_action" {
		t.Errorf("enforce: %q", got)
	}
	p.o.Config.Mode = "monitor"
	if got := kinds(Run(t.Context(), p.o)); got != "" {
		t.Errorf("monitor: %q", got)
	}
}

// TestReadTable checks that only a file is read, and only its beginning.
func TestReadTable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "table")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), maxTable+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := readTable(file); err != nil || len(text) != maxTable {
		t.Errorf("%d octets, %v", len(text), err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := readTable(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}

// TestText checks the report for a person.
func TestText(t *testing.T) {
	for _, tt := range []struct {
		r    Report
		want string
	}{
		{Report{}, "nothing is wrong\n"},
		{Report{NotLooked: []string{"the MTA"}}, "not looked at  the MTA\nnothing is wrong with what could be looked at\n"},
		{
			Report{Findings: []Finding{{AreaMTA, "x", "W", "Y", "one\ntwo"}}, Looked: []string{"this"}},
			"mta x: W\n  why  Y\n  fix  one\n       two\n\nlooked at      this\n1 finding(s)\n",
		},
	} {
		var b strings.Builder
		if err := tt.r.Text(&b); err != nil || b.String() != tt.want {
			t.Errorf("%v: got\n%s\nwant\n%s", err, &b, tt.want)
		}
	}
	if err := (&Report{}).Text(broken{}); err == nil {
		t.Error("an error of the writer is lost")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// TestServers checks which servers are probed.
func TestServers(t *testing.T) {
	p := newPlace(t)
	p.o.ResolvConf = p.file(t, "resolv.conf", "nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
	if err := p.o.Config.DNS.Servers[0].UnmarshalText([]byte("tls://192.0.2.1#dns.example")); err != nil {
		t.Fatal(err)
	}
	list, err := servers(p.o)
	if err != nil || len(list) != 1 || !list[0].TLS || list[0].Name != "dns.example" || list[0].Addr.Port() != 853 {
		t.Errorf("%+v %v", list, err)
	}
	for text, want := range map[string]string{"tls://192.0.2.1": "192.0.2.1 true tls://192.0.2.1:853", "fe80::1%lo": "fe80::1 false [fe80::1%lo]:53"} {
		if err := p.o.Config.DNS.Servers[0].UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if list, err := servers(p.o); err != nil || len(list) != 1 || fmt.Sprint(list[0].Name, " ", list[0].TLS, " ", list[0].Shown) != want {
			t.Errorf("%s: %+v, %v", text, list, err)
		}
	}
	p.o.Config.DNS.Servers = nil
	list, err = servers(p.o)
	var shown []string
	for _, s := range list {
		shown = append(shown, s.Shown)
	}
	if err != nil || !slices.Equal(shown, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) {
		t.Errorf("%v %v", shown, err)
	}
}
