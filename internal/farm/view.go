package farm

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Shown is a host with what is remarkable about it.
type Shown struct {
	Host
	Self  bool `json:"self,omitempty"`  // the daemon that was asked
	Stale bool `json:"stale,omitempty"` // its heartbeats stopped
	// Twin says that another daemon with the same host name runs at the same time.
	Twin bool `json:"twin,omitempty"`
	// OtherConfig says that most hosts run another configuration, and OtherVersion another version.
	OtherConfig  bool `json:"other_config,omitempty"`
	OtherVersion bool `json:"other_version,omitempty"`
}

// View is all that is known of a farm.
type View struct {
	Hosts          []Shown `json:"hosts"` // in the order of their names
	Stale          int     `json:"stale"`
	Twins          int     `json:"twins"`
	Configurations int     `json:"configurations"` // different ones of hosts that are not stale
}

// Arrange makes the View of an instance. Of a daemon that was started again, also after a crash, only the
// last run is shown.
func Arrange(hosts []Host, self string) View {
	v := View{Hosts: []Shown{}}
	for _, h := range hosts {
		if slices.ContainsFunc(hosts, func(later Host) bool { return replaces(later, h) }) {
			continue
		}
		v.Hosts = append(v.Hosts, Shown{Host: h, Self: h.Instance == self, Stale: h.Age > StaleAfter})
	}
	slices.SortStableFunc(v.Hosts, func(a, b Shown) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), a.Since.Compare(b.Since), strings.Compare(a.Instance, b.Instance))
	})
	config, version := usual(v.Hosts, func(b Beat) string { return b.Config }), usual(v.Hosts, func(b Beat) string { return b.Version })
	configs := map[string]bool{}
	for i := range v.Hosts {
		h := &v.Hosts[i]
		h.Twin = slices.ContainsFunc(v.Hosts, func(other Shown) bool {
			return other.Instance != h.Instance && other.Name == h.Name && !other.Stale && !h.Stale
		})
		h.OtherConfig, h.OtherVersion = h.Config != config, h.Version != version
		if h.Twin {
			v.Twins++
		}
		if h.Stale {
			v.Stale++
			continue
		}
		configs[h.Config] = true
	}
	v.Configurations = len(configs)
	return v
}

// replaces reports whether "later" is the next run of the daemon that sent h: a run with the same host
// name that began after the last heartbeat of h. Only ages are compared, which are all of one clock.
func replaces(later, h Host) bool {
	return later.Name == h.Name && h.Age > later.Age+later.Uptime
}

// usual returns the value that most hosts have that are not stale. Of several, it is that of the host
// whose configuration was loaded last.
func usual(hosts []Shown, of func(Beat) string) (most string) {
	counts, loaded := map[string]int{}, map[string]time.Time{}
	for _, h := range hosts {
		if h.Stale {
			continue
		}
		value := of(h.Beat)
		counts[value]++
		if h.Loaded.After(loaded[value]) {
			loaded[value] = h.Loaded
		}
	}
	for _, value := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[value]; n > counts[most] || n == counts[most] && loaded[value].After(loaded[most]) {
			most = value
		}
	}
	return most
}
