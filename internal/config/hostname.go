package config

import (
	"bufio"
	"io"
	"os"
	"strings"
)

// hostsFile is where a host finds its own full name without asking anybody.
const hostsFile = "/etc/hosts"

// maxHostsFile bounds what is read of it, in octets.
const maxHostsFile = 1 << 20

// HostName returns the full name of this host, or the name it has if no full
// one is known; "" if it has none. DNS is not asked: it may not answer yet, and
// its answer may be another tomorrow.
func HostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	f, err := os.Open(hostsFile)
	if err != nil {
		return fullName(name, strings.NewReader(""))
	}
	defer f.Close()
	return fullName(name, io.LimitReader(f, maxHostsFile))
}

// fullName finds the full name of the host called name as hosts(5) has it: the
// first name of the first line that holds name, if it has a dot, else the first
// such name that begins with it.
func fullName(name string, hosts io.Reader) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" || strings.Contains(name, ".") {
		return name
	}
	for lines := bufio.NewScanner(hosts); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		names := strings.Fields(line)
		if len(names) < 2 {
			continue
		}
		own, full := false, ""
		for i, n := range names[1:] {
			n = strings.TrimSuffix(n, ".")
			first, _, dotted := strings.Cut(n, ".")
			own = own || strings.EqualFold(n, name)
			if dotted && full == "" && (i == 0 || strings.EqualFold(first, name)) {
				full = n
			}
		}
		if own && full != "" && !strings.EqualFold(full, "localhost.localdomain") && !strings.ContainsFunc(full, notHostname) {
			return full
		}
	}
	return name
}

// ServID is the authserv-id of results that are written away from any MTA, by
// explain for one.
func (c *Config) ServID() string {
	if c.AuthservID != "" {
		return c.AuthservID
	}
	if name := HostName(); name != "" {
		return name
	}
	return "localhost"
}
