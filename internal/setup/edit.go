package setup

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"sekimori/internal/config"
)

// setParameter returns the text of a main.cf in which a parameter has a new value. All other lines
// stay as they are. It fails if main.cf sets the parameter twice.
func setParameter(text []byte, name, value string) ([]byte, error) {
	line := fmt.Sprintf("%s = %s\n", name, value)
	lines := strings.SplitAfter(string(text), "\n")
	begins := regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `[ \t\r]*=`)
	first := -1
	var after int // the line after the value
	for i, l := range lines {
		if !begins.MatchString(l) {
			continue
		}
		if first >= 0 {
			return nil, fmt.Errorf("main.cf sets %s twice (lines %d and %d); remove one of them", name, first+1, i+1)
		}
		first, after = i, i+1
		// A line that begins with white space continues the value. Comments and empty lines may
		// stand before that line.
		for j := i + 1; j < len(lines); j++ {
			rest := strings.TrimSpace(lines[j])
			if rest != "" && !strings.HasPrefix(rest, "#") {
				if lines[j][0] != ' ' && lines[j][0] != '\t' {
					break
				}
				after = j + 1
			}
		}
	}
	if first < 0 {
		text = bytes.Clone(text)
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
			text = append(text, '\n')
		}
		return append(text, line...), nil
	}
	return []byte(strings.Join(slices.Concat(lines[:first], []string{line}, lines[after:]), "")), nil
}

var (
	flowNetworks  = regexp.MustCompile(`(\bnetworks[ \t]*:[ \t]*\[)([^\]#\n]*)(\])`)
	blockNetworks = regexp.MustCompile(`(?m)^[ \t]+networks[ \t]*:[ \t]*(?:#.*)?\n(?:([ \t]*)- .*\n)+`)
	idExample     = regexp.MustCompile(`(?m)^#[ \t]*authserv_id[ \t]*:.*\n`)
	topTrusted    = regexp.MustCompile(`(?m)^trusted[ \t]*:`)
	topMode       = regexp.MustCompile(`(?m)(?:^#.*\n)*^mode[ \t]*:`)
)

var errByHand = errors.New("cannot be changed by this program as it is written")

// configure returns the text of the daemon's configuration with an authserv-id (unless id is "")
// and more trusted networks. All other lines stay as they are. It fails unless the result is a
// valid configuration that differs in these two keys alone.
func configure(d Daemon, id string, networks []netip.Prefix) ([]byte, error) {
	text := string(d.Text)
	if id != "" {
		text = nameServer(text, "authserv_id: "+id+"\n")
	}
	want := slices.Clone(d.Config.Trusted.Networks)
	for _, n := range networks {
		want = append(want, config.Network{Prefix: n})
	}
	if len(networks) > 0 {
		text = trust(text, networks, want)
	}
	after, err := config.Parse(d.Path, []byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errByHand, err)
	}
	if !slices.Equal(after.Trusted.Networks, want) || id != "" && after.AuthservID != id {
		return nil, errByHand
	}
	for _, c := range config.Diff(d.Config, after) {
		if c.Path != "authserv_id" && !strings.HasPrefix(c.Path, "trusted.networks") {
			return nil, errByHand
		}
	}
	return []byte(text), nil
}

// nameServer puts a line with the authserv-id after the comment that has an example of it, or else
// before the mode.
func nameServer(text, line string) string {
	if m := idExample.FindStringIndex(text); m != nil {
		return text[:m[1]] + line + text[m[1]:]
	}
	return beforeMode(text, line+"\n")
}

// trust adds networks to the list trusted.networks. The parameter all is the whole new list.
func trust(text string, networks []netip.Prefix, all []config.Network) string {
	if m := flowNetworks.FindStringSubmatchIndex(text); m != nil {
		list := text[m[4]:m[5]]
		for _, n := range networks {
			list = strings.TrimRight(list, " ,") + ", " + scalar(config.Network{Prefix: n})
		}
		return text[:m[4]] + strings.TrimLeft(list, " ,") + text[m[5]:]
	}
	if m := blockNetworks.FindStringSubmatchIndex(text); m != nil {
		items := ""
		for _, n := range networks {
			items += text[m[2]:m[3]] + "- " + scalar(config.Network{Prefix: n}) + "\n"
		}
		return text[:m[1]] + items + text[m[1]:]
	}
	if topTrusted.MatchString(text) {
		return text // configure notices that nothing changed
	}
	var list []string
	for _, n := range all {
		list = append(list, scalar(n))
	}
	return beforeMode(text, "trusted:\n  networks: ["+strings.Join(list, ", ")+"]\n\n")
}

// scalar returns a network as YAML. An IPv6 address has colons, so it needs quotes.
func scalar(n config.Network) string {
	if n.Addr().Is6() {
		return `"` + n.String() + `"`
	}
	return n.String()
}

// beforeMode puts lines before the mode and its comment, because mode should stay the last line.
func beforeMode(text, lines string) string {
	all := topMode.FindAllStringIndex(text, -1)
	if len(all) == 0 {
		return text
	}
	at := all[len(all)-1][0]
	return text[:at] + lines + text[at:]
}

// configLines returns the lines that configure would have written.
func configLines(id string, networks []netip.Prefix) string {
	out := ""
	if id != "" {
		out += "\n    authserv_id: " + id
	}
	if len(networks) > 0 {
		out += "\n    trusted.networks:"
		for _, n := range networks {
			out += " " + config.Network{Prefix: n}.String()
		}
	}
	return out
}
