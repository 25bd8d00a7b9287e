package config

import (
	"bufio"
	"io"
	"os"
	"strings"
)

// hostsFile tells a host its own full name without a question to DNS.
const hostsFile = "/etc/hosts"

// maxHostsFile is how much of hostsFile is read, in octets.
const maxHostsFile = 1 << 20

// HostName returns the full name of this host, or the short name if the full
// one is not known, or "" if the host has no name. DNS is not asked, because it
// may not answer yet at this time, and may answer differently later.
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

// fullName finds the full name of the host called name as hosts(5) describes
// it. In the first line that holds name, it takes the first name if that has a
// dot, else the first name that begins with name and a dot.
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

// ServID returns the authserv-id of results that are not written for an MTA,
// such as those of explain.
func (c *Config) ServID() string {
	if c.AuthservID != "" {
		return c.AuthservID
	}
	if name := HostName(); name != "" {
		return name
	}
	return "localhost"
}
