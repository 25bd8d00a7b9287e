package config

import (
	"bufio"
	"io"
	"os"
	"strings"
)

// hostsFile is the file in which the full name of this host is looked up.
const hostsFile = "/etc/hosts"

// maxHostsFile is the size of the part of hostsFile that is read, in octets.
const maxHostsFile = 1 << 20

// HostName returns the full name of this host. If the full name is not known,
// it returns the short name, or "" if the host has no name. It does not ask
// DNS, because DNS may not answer yet when the host starts, and may give
// another name later.
func HostName() string {
	name, _ := os.Hostname() // "" if the host has no name
	f, err := os.Open(hostsFile)
	if err != nil {
		return fullName(name, strings.NewReader(""))
	}
	defer f.Close()
	return fullName(name, io.LimitReader(f, maxHostsFile))
}

// fullName returns the full name of the host whose short name is `name`.
// `hosts` is a file as described in hosts(5). In the first line that lists
// `name` and a full name, fullName takes the canonical name (the first of the
// line) if it has a dot. Otherwise it takes the first alias that consists of
// `name`, a dot and more.
func fullName(name string, hosts io.Reader) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" || strings.Contains(name, ".") {
		return name
	}
	for lines := bufio.NewScanner(hosts); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		names := strings.Fields(line)
		if len(names) < 3 { // the address, a short name and a full one
			continue
		}
		listed, full := false, ""
		for i, n := range names[1:] {
			n = strings.TrimSuffix(n, ".")
			first, _, dotted := strings.Cut(n, ".")
			listed = listed || strings.EqualFold(n, name)
			if dotted && full == "" && (i == 0 || strings.EqualFold(first, name)) {
				full = n
			}
		}
		if listed && full != "" && !strings.EqualFold(full, "localhost.localdomain") && !strings.ContainsFunc(full, notHostname) {
			return full
		}
	}
	return name
}

// ServID returns the authserv-id for results when there is no MTA that gives
// its name, as in explain.
func (c *Config) ServID() string {
	if c.AuthservID != "" {
		return c.AuthservID
	}
	if name := HostName(); name != "" {
		return name
	}
	return "localhost"
}
