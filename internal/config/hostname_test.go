package config

import (
	"strings"
	"testing"
)

func TestFullName(t *testing.T) {
	for _, tc := range []struct{ why, name, hosts, want string }{
		{"the name is full already", "mx1.full.example", "127.0.1.1 other.example mx1", "mx1.full.example"},
		{"the name is full, and the file has another", "mx1.full.example", "127.0.1.1 other.example mx1.full.example", "mx1.full.example"},
		{"with a dot at its end", "mx1.full.example.", "", "mx1.full.example"},
		{"as Debian writes it", "mx1", "127.0.0.1 localhost\n127.0.1.1\tmx1.full.example\tmx1\n", "mx1.full.example"},
		{"the alias first", "mx1", "192.0.2.1 mx1 mx1.full.example\n", "mx1.full.example"},
		{"another canonical name", "mx1", "192.0.2.1 mail.full.example mx1\n", "mail.full.example"},
		{"the name in upper case", "MX1", "192.0.2.1 mx1.full.example mx1\n", "mx1.full.example"},
		{"the first line counts", "mx1", "192.0.2.1 a.example mx1\n192.0.2.2 b.example mx1\n", "a.example"},
		{"an earlier line has no full name", "mx1", "192.0.2.1 mx1\n192.0.2.1 mx1.full.example mx1\n", "mx1.full.example"},
		{"the full name is in a comment", "mx1", "# 192.0.2.1 mx1.full.example mx1\n192.0.2.2 x # mx1.full.example mx1\n", "mx1"},
		{"the line is of another host", "mx1", "192.0.2.1 mx2.full.example mx2\n", "mx1"},
		{"localhost", "localhost", "127.0.0.1 localhost.localdomain localhost\n", "localhost"},
		{"not a name", "mx1", "192.0.2.1 m\"x1.full.example mx1\n", "mx1"},
		{"no file", "mx1", "", "mx1"},
		{"no name", "", "192.0.2.1 mx1.full.example mx1\n", ""},
	} {
		if got := fullName(tc.name, strings.NewReader(tc.hosts)); got != tc.want {
			t.Errorf("%s: %q, not %q", tc.why, got, tc.want)
		}
	}
}

// TestServID checks that ServID returns the configured name, or some valid name
// if none is configured.
func TestServID(t *testing.T) {
	if got := (&Config{AuthservID: "mx.example.jp"}).ServID(); got != "mx.example.jp" {
		t.Error(got)
	}
	if got := (&Config{}).ServID(); got == "" || strings.ContainsFunc(got, notHostname) {
		t.Errorf("%q", got)
	}
}
