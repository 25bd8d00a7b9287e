package farm

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestArrange(t *testing.T) {
	const sec = time.Second
	host := func(instance, name, config string, age, uptime time.Duration) Host {
		return Host{Beat{Instance: instance, Name: name, Config: config, Version: "1", Uptime: uptime, Loaded: time.Unix(int64(len(instance)), 0)}, age}
	}
	versioned := func(h Host, version string) Host { h.Version = version; return h }
	for _, tt := range []struct {
		name  string
		hosts []Host
		want  string
	}{
		{"none", nil, "stale 0 twins 0 configurations 0"},
		{"two", []Host{host("b", "mx2", "c1", 5*sec, time.Hour), host("a", "mx1", "c1", 9*sec, time.Hour)}, "mx1/a self, mx2/b; stale 0 twins 0 configurations 1"},
		{"one silent", []Host{host("a", "mx1", "c1", sec, time.Hour), host("b", "mx2", "c1", 36*sec, time.Hour)}, "mx1/a self, mx2/b stale; stale 1 twins 0 configurations 1"},
		{"at the limit", []Host{host("a", "mx1", "c1", StaleAfter, time.Hour)}, "mx1/a self; stale 0 twins 0 configurations 1"},
		{"restarted", []Host{host("a", "mx1", "c1", sec, 10*sec), host("z", "mx1", "c0", 12*sec, time.Hour)}, "mx1/a self; stale 0 twins 0 configurations 1"},
		{"another version", []Host{host("a", "mx1", "c1", sec, time.Hour), versioned(host("b", "mx2", "c1", sec, time.Hour), "0")},
			"mx1/a self version, mx2/b; stale 0 twins 0 configurations 1"},
		{"restarted at the time of the last heartbeat: both may run", []Host{host("a", "mx1", "c1", sec, 10*sec), host("z", "mx1", "c1", 11*sec, time.Hour)},
			"mx1/a self twin, mx1/z twin; stale 0 twins 2 configurations 1"},
		{"another host started", []Host{host("a", "mx1", "c1", sec, 10*sec), host("z", "mx2", "c1", 12*sec, time.Hour)}, "mx1/a self, mx2/z; stale 0 twins 0 configurations 1"},
		{"restarted after a crash long ago", []Host{host("a", "mx1", "c1", sec, time.Hour), host("z", "mx1", "c0", 48*time.Hour, time.Hour)},
			"mx1/a self; stale 0 twins 0 configurations 1"},
		{"restarted twice", []Host{host("a", "mx1", "c1", sec, 10*sec), host("y", "mx1", "c1", 12*sec, 5*sec), host("z", "mx1", "c1", 30*sec, time.Hour)},
			"mx1/a self; stale 0 twins 0 configurations 1"},
		{"two with one name", []Host{host("a", "mx1", "c1", sec, time.Hour), host("b", "mx1", "c1", 9*sec, time.Minute)},
			"mx1/a self twin, mx1/b twin; stale 0 twins 2 configurations 1"},
		{"two with one name, one silent", []Host{host("a", "mx1", "c1", sec, time.Hour), host("b", "mx1", "c1", 50*sec, time.Hour)},
			"mx1/a self, mx1/b stale; stale 1 twins 0 configurations 1"},
		{"another configuration", []Host{host("a", "mx1", "c1", sec, time.Hour), host("b", "mx2", "c2", sec, time.Hour), host("c", "mx3", "c2", sec, time.Hour)},
			"mx1/a self other, mx2/b, mx3/c; stale 0 twins 0 configurations 2"},
		{"the newest of two configurations", []Host{host("a", "mx1", "c1", sec, time.Hour), host("bb", "mx2", "c2", sec, time.Hour)},
			"mx1/a self other, mx2/bb; stale 0 twins 0 configurations 2"},
		{"the newest of two configurations is the first", []Host{host("aa", "mx1", "c1", sec, time.Hour), host("b", "mx2", "c2", sec, time.Hour)},
			"mx1/aa, mx2/b other; stale 0 twins 0 configurations 2"},
		{"two configurations of the same age", []Host{host("a", "mx1", "c2", sec, time.Hour), host("b", "mx2", "c1", sec, time.Hour)},
			"mx1/a self other, mx2/b; stale 0 twins 0 configurations 2"},
		{"the newest is not that of most", []Host{host("a", "mx1", "c1", sec, time.Hour), host("b", "mx2", "c1", sec, time.Hour), host("cc", "mx3", "c2", sec, time.Hour)},
			"mx1/a self, mx2/b, mx3/cc other; stale 0 twins 0 configurations 2"},
		{"the configuration of silent hosts does not count", []Host{host("a", "mx1", "c1", sec, time.Hour), host("b", "mx2", "c2", time.Hour, time.Hour),
			host("c", "mx3", "c2", time.Hour, time.Hour)}, "mx1/a self, mx2/b stale other, mx3/c stale other; stale 2 twins 0 configurations 1"},
	} {
		v := Arrange(tt.hosts, "a")
		var parts []string
		for _, h := range v.Hosts {
			text := h.Name + "/" + h.Instance
			for _, mark := range []struct {
				word string
				is   bool
			}{{" self", h.Self}, {" stale", h.Stale}, {" twin", h.Twin}, {" other", h.OtherConfig}, {" version", h.OtherVersion}} {
				if mark.is {
					text += mark.word
				}
			}
			parts = append(parts, text)
		}
		got := fmt.Sprintf("stale %d twins %d configurations %d", v.Stale, v.Twins, v.Configurations)
		if len(parts) > 0 {
			got = strings.Join(parts, ", ") + "; " + got
		}
		if got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
