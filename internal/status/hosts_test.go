package status

import (
	"io"
	"strings"
	"testing"
	"time"

	"sekimori/internal/farm"
)

// TestHosts: the table has a line for each host, as wide as the longest name, and what is wrong with all of them below.
func TestHosts(t *testing.T) {
	beat := farm.Beat{Name: "mx-long\x1b", Mode: "enforce", Version: "1.2.3", Config: "abc", Uptime: 48 * time.Hour,
		Messages: map[string]int64{"accept": 3, "reject": 4}, DNS: farm.DNS{Servers: 3, Up: 2}}
	full := Hosts{Read: started, Error: "disk\x1b", View: farm.View{Configurations: 2, Hosts: []farm.Shown{
		{Host: farm.Host{Beat: beat, Age: 5 * time.Second}, Self: true, OtherConfig: true}, {Host: farm.Host{Beat: farm.Beat{Name: "b"}}},
	}}}
	for _, tt := range []struct {
		h    Hosts
		want string
	}{
		{full, `
HOST           MODE     VERSION    CONFIGURATION    UP        HEARTBEAT MESSAGES  DNS      REMARKS
"mx-long\x1b"  enforce  1.2.3      abc              2d        5s        7/min     2/3      asked; another configuration than most
b                                                   0s        0s        0/min     0/0
2 different configurations are in effect
as of 2026-11-22T10:00:00Z, because the store cannot be read: "disk\x1b"
`},
		{Hosts{View: farm.View{Configurations: 1, Hosts: full.Hosts[1:]}}, `
HOST  MODE     VERSION    CONFIGURATION    UP        HEARTBEAT MESSAGES  DNS      REMARKS
b                                          0s        0s        0/min     0/0
`},
		{Hosts{}, `
HOST  MODE     VERSION    CONFIGURATION    UP        HEARTBEAT MESSAGES  DNS      REMARKS
no host has sent a heartbeat yet
`},
	} {
		var b strings.Builder
		if err := tt.h.Text(&b); err != nil || "\n"+b.String() != tt.want {
			t.Errorf("%v, got\n%swant%s", err, &b, tt.want)
		}
	}
	for what, text := range map[string]func() error{
		"hosts": func() error { return full.Text(broken{}) }, "status": func() error { return new(Status).Text(broken{}) },
	} {
		if text() == nil {
			t.Errorf("%s: the pipe is closed, and nobody says so", what)
		}
	}
}

// broken is a pipe that nobody reads.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestRemarks: each remark alone. Of a host without heartbeats nothing else is known.
func TestRemarks(t *testing.T) {
	with := func(ready string, servers, up int) farm.Host {
		return farm.Host{Beat: farm.Beat{NotReady: ready, DNS: farm.DNS{Servers: servers, Up: up}}}
	}
	for _, tt := range []struct {
		h    farm.Shown
		want string
	}{
		{farm.Shown{}, ""},
		{farm.Shown{Self: true}, "asked"},
		{farm.Shown{Host: with("disk\x1b", 1, 1)}, `not ready: "disk\x1b"`},
		{farm.Shown{Host: with("", 1, 0)}, "no DNS server answers"},
		{farm.Shown{Host: with("disk", 1, 0), Stale: true}, "STALE: no heartbeat"},
		{farm.Shown{Twin: true}, "another daemon has the same host name"},
		{farm.Shown{OtherConfig: true}, "another configuration than most"},
		{farm.Shown{OtherVersion: true}, "another version than most"},
	} {
		if got := strings.Join(Remarks(tt.h), "; "); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.h, got, tt.want)
		}
	}
}

// TestShort: one below, at and above each unit.
func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 2*time.Minute - 1: "119s", 2 * time.Minute: "2min", 2*time.Hour - 1: "119min", 2 * time.Hour: "2h", 48*time.Hour - 1: "47h", 48 * time.Hour: "2d", 71 * time.Hour: "2d",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
