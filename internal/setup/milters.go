package setup

import (
	"slices"
	"strings"

	"sekimori/internal/mtaconf"
)

// milterKeys are the settings of a milter in smtpd_milters that this package writes, in the order
// in which it writes them. Without them, the milter would get Postfix's defaults, or what main.cf
// sets for all milters.
func milterKeys(v version) [][2]string {
	action := "tempfail"
	if v.atLeast(3, 11) {
		action = "shutdown" // ends the session, so that the client's next connection is served
	}
	return [][2]string{{"default_action", action}, {"protocol", "6"},
		{"connect_timeout", "30s"}, {"command_timeout", "30s"}, {"content_timeout", "300s"}}
}

// ourMilter returns the item of smtpd_milters for the daemon. Settings that the operator made in
// an earlier item stay, except a protocol below 6.
func ourMilter(address string, old mtaconf.Milter, v version) string {
	set := slices.Clone(old.Settings)
	for _, kv := range milterKeys(v) {
		at := slices.IndexFunc(set, func(have [2]string) bool { return have[0] == kv[0] })
		switch {
		case at < 0:
			set = append(set, kv)
		case kv[0] == "protocol":
			set[at] = kv
		}
	}
	text := "{ " + address
	for _, kv := range set {
		if strings.ContainsAny(kv[1], ", \t") {
			text += ", { " + kv[0] + " = " + kv[1] + " }"
			continue
		}
		text += ", " + kv[0] + "=" + kv[1]
	}
	return text + " }"
}

// leadsTo reports whether a milter's address is one of ours.
func leadsTo(m mtaconf.Milter, queue string, ours []Endpoint) bool {
	return slices.ContainsFunc(endpoints(m, queue), func(e Endpoint) bool { return slices.Contains(ours, e) })
}

// endpoints returns the addresses to which a milter's address may lead, as seen from outside of the
// chroot. A relative path begins at the queue directory. In a chroot, an absolute path does too.
func endpoints(m mtaconf.Milter, queue string) []Endpoint {
	e, ok := parseEndpoint(m.Written)
	switch {
	case !ok:
		return nil
	case e.Network == "unix" && !strings.HasPrefix(e.Address, "/"):
		return []Endpoint{{Network: "unix", Address: queue + "/" + e.Address}}
	case e.Network == "unix" && !within(queue, e.Address):
		return []Endpoint{e, {Network: "unix", Address: queue + e.Address}}
	}
	return []Endpoint{e}
}

// mergeMilters returns the new value of smtpd_milters: ours first, then the others in their order.
// others are the addresses of the milters that stay.
func mergeMilters(value, address, queue string, ours []Endpoint, v version) (merged string, others []mtaconf.Milter, err error) {
	items, err := mtaconf.Split(value)
	if err != nil {
		return "", nil, err
	}
	var old mtaconf.Milter
	for _, item := range items {
		m, err := mtaconf.ParseMilter(item)
		if err != nil {
			return "", nil, err
		}
		if leadsTo(m, queue, ours) {
			old = m
			continue
		}
		others = append(others, m)
	}
	merged = ourMilter(address, old, v)
	for _, m := range others {
		merged += " " + m.Raw
	}
	// Postfix shows a value with single spaces, so the spaces of an item do not matter.
	if same(merged, value) {
		merged = value
	}
	return merged, others, nil
}

// countOurs returns how many items of a list of milters lead to the daemon.
func countOurs(value, queue string, ours []Endpoint) int {
	items, _ := mtaconf.Split(value) // a list that cannot be read has no items
	n := 0
	for _, item := range items {
		m, err := mtaconf.ParseMilter(item)
		if err == nil && leadsTo(m, queue, ours) {
			n++
		}
	}
	return n
}

// same reports whether two lists of milters say the same.
func same(a, b string) bool {
	normal := func(s string) string {
		return strings.NewReplacer(",", " ", "{", " { ", "}", " } ").Replace(s)
	}
	return slices.Equal(strings.Fields(normal(a)), strings.Fields(normal(b)))
}
