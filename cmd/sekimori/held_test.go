package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestHeldUsage checks that wrong uses of "held" are refused before a program of the MTA is run.
func TestHeldUsage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	prom := filepath.Join(t.TempDir(), "x.prom")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--release", "-d"}, "not a queue id"},
		{[]string{"--drop", "ALL"}, "not a queue id"},
		{[]string{"--drop", "4dQZ7x2wJ1z9sP", "--release", "4dQZ7x2wJ1z9sP"}, "cannot be given together"},
		{[]string{"--metrics", prom, "--json"}, "cannot be given together"},
		{[]string{"--force"}, "--force is for"},
		{[]string{"--mta", "exim"}, "write postfix or sendmail"},
		{[]string{"4dQZ7x2wJ1z9sP"}, "no arguments"},
	} {
		code, stdout, stderr := command(t, append([]string{"held"}, tt.args...)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) || strings.Contains(stderr, "holdqueue:") {
			t.Errorf("%q: code %d\n%s%s", tt.args, code, stdout, stderr)
		}
	}
}
