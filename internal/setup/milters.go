package setup

import (
	"fmt"
	"slices"
	"strings"
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

// splitList splits a list as Postfix does: at commas and white space outside of braces.
func splitList(s string) ([]string, error) {
	var out []string
	var item strings.Builder
	depth := 0
	flush := func() {
		if item.Len() > 0 {
			out = append(out, item.String())
			item.Reset()
		}
	}
	for _, c := range []byte(s) {
		switch {
		case depth == 0 && strings.IndexByte(", \t\r\n", c) >= 0:
			flush()
			continue
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if depth < 0 {
			return nil, fmt.Errorf("a } without a { in %q", s)
		}
		item.WriteByte(c)
	}
	if depth > 0 {
		return nil, fmt.Errorf("a { without a } in %q", s)
	}
	flush()
	return out, nil
}

// milter is an item of smtpd_milters: an address, or an address with settings in braces.
type milter struct {
	raw     string
	address string
	set     [][2]string
}

func parseMilter(raw string) (milter, error) {
	m := milter{raw: raw, address: raw}
	inner, braced := strings.CutPrefix(raw, "{")
	if !braced {
		return m, nil
	}
	items, err := splitSettings(strings.TrimSuffix(inner, "}"))
	if err != nil || len(items) == 0 {
		return m, fmt.Errorf("%q is not an address with settings", raw)
	}
	m.address = items[0]
	for _, item := range items[1:] {
		key, value, ok := strings.Cut(item, "=")
		if !ok {
			return m, fmt.Errorf("%q in %q is not a setting", item, raw)
		}
		m.set = append(m.set, [2]string{strings.TrimSpace(key), strings.TrimSpace(value)})
	}
	return m, nil
}

// splitSettings splits the text between the braces of a milter. Spaces around an equals sign do
// not separate settings.
func splitSettings(s string) ([]string, error) {
	items, err := splitList(s)
	var out []string
	for _, item := range items {
		last := len(out) - 1
		if last >= 0 && (strings.HasPrefix(item, "=") || strings.HasSuffix(out[last], "=")) {
			out[last] += item
			continue
		}
		out = append(out, item)
	}
	return out, err
}

// ourMilter returns the item of smtpd_milters for the daemon. Settings that the operator made in
// an earlier item stay, except a protocol below 6.
func ourMilter(address string, old milter, v version) string {
	set := slices.Clone(old.set)
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
		text += ", " + kv[0] + "=" + kv[1]
	}
	return text + " }"
}

// leadsTo reports whether a milter's address is one of ours.
func (m milter) leadsTo(queue string, ours []Endpoint) bool {
	return slices.ContainsFunc(m.endpoints(queue), func(e Endpoint) bool { return slices.Contains(ours, e) })
}

// endpoints returns the addresses to which a milter's address may lead, as seen from outside of the
// chroot. A relative path begins at the queue directory. In a chroot, an absolute path does too.
func (m milter) endpoints(queue string) []Endpoint {
	e, ok := parseEndpoint(m.address)
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
func mergeMilters(value, address, queue string, ours []Endpoint, v version) (merged string, others []milter, err error) {
	items, err := splitList(value)
	if err != nil {
		return "", nil, err
	}
	var old milter
	for _, item := range items {
		m, err := parseMilter(item)
		if err != nil {
			return "", nil, err
		}
		if m.leadsTo(queue, ours) {
			old = m
			continue
		}
		others = append(others, m)
	}
	merged = ourMilter(address, old, v)
	for _, m := range others {
		merged += " " + m.raw
	}
	// Postfix shows a value with single spaces, so the spaces of an item do not matter.
	if same(merged, value) {
		merged = value
	}
	return merged, others, nil
}

// countOurs returns how many items of a list of milters lead to the daemon.
func countOurs(value, queue string, ours []Endpoint) int {
	items, err := splitList(value)
	if err != nil {
		return 0
	}
	n := 0
	for _, item := range items {
		m, err := parseMilter(item)
		if err == nil && m.leadsTo(queue, ours) {
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
