package console

import (
	"testing"
	"time"

	"sekimori/internal/farm"
	"sekimori/internal/status"
)

func TestHosts(t *testing.T) {
	b := newBench(t)
	b.shows(t, "/hosts", 200, "There is no store", "!Heartbeat")
	host := func(instance, name, config string, age time.Duration) farm.Host {
		return farm.Host{Age: age, Beat: farm.Beat{
			Instance: instance, Name: name, Version: "v1", Config: config, Mode: "enforce", Since: start, Uptime: 50 * time.Hour,
			Messages: map[string]int64{"accept": 1200, "reject": 34}, DNS: farm.DNS{Servers: 2, Up: 1, Queries: 10, Failed: 3},
		}}
	}
	b.hosts = &status.Hosts{Read: start, View: farm.Arrange([]farm.Host{host("a", "mx1.example", "c1", time.Second), host("b", "mx2.example", "c1", time.Second)}, "a")}
	b.shows(t, "/hosts", 200, "mx1.example", "mx2.example", "asked", "1\u2009234", "1 of 2 up", "3 queries failed", "2 d 2 h", "!silent", "!host name of another", "!configurations are in effect")
	b.hosts.View = farm.Arrange([]farm.Host{
		host("a", "mx1.example", "c1", time.Second), host("b", hostile, hostile, time.Minute), host("c", "mx1.example", "c2", time.Second),
	}, "a")
	b.hosts.Error = hostile
	b.shows(t, "/hosts", 200, "1 host is silent", "2 daemons have the host name of another", "2 different configurations", "STALE", "The store cannot be read",
		"!<script>alert", "!<img", "!\x1b")
}
