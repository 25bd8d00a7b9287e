package main

import "testing"

// TestPlain checks that plain removes the names of packages and keeps the keys of the
// configuration.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"app: dns.servers is not given: resolver: /etc/resolv.conf: no server":   "dns.servers is not given: /etc/resolv.conf: no server",
		"app: milter: accept on [::]:8891: closed":                               "accept on [::]:8891: closed",
		"config: c.yaml:3:3: policy: unknown key\nconfig: c.yaml:4:1: dmarc: no": "c.yaml:3:3: policy: unknown key\nc.yaml:4:1: dmarc: no",
		"admin: web configuration /x: no such file":                              "web configuration /x: no such file",
		"message 1: no date": "message 1: no date",
		"nothing to say":     "nothing to say",
	} {
		if got := plain(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
