package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// TestProbeCodes checks the exit codes and messages of the command probe.
func TestProbeCodes(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tt := range []struct {
		args string
		code int
		out  string
		errs string
	}{
		{"--quick --socket unix:/nonexistent.sock", exitUsage, "", "does the daemon run?"},
		{"--quick --socket inet:" + silent.Addr().String(), exitFailed, "did not answer in time", ""},
		{"--quick --json --socket inet:" + silent.Addr().String(), exitFailed, `"fate": "no_answer"`, ""},
		{"--quick --json --socket unix:/nonexistent.sock", exitUsage, `"ok": false`, "does the daemon run?"},
		{"--self", exitDone, "5 of 5 messages came back as the configuration means", ""},
		{"--quick --self", exitUsage, "", "cannot be given together"},
		{"--smtp mx.example", exitUsage, "", "--smtp needs --rcpt"},
		{"--client nobody", exitUsage, "", "is not an IP address"},
		{"--domain a..b", exitUsage, "", "--domain"},
		{"--rcpt a>b", exitUsage, "", "is not an address"},
		{"--config /nonexistent.yaml", exitUsage, "", "/nonexistent.yaml"},
		{"extra", exitUsage, "", "no arguments"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"probe"}, strings.Fields(tt.args)...), &out, &errs)
		if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.errs) {
			t.Errorf("probe %s: exit code %d, output\n%s%s", tt.args, code, out.String(), errs.String())
		}
	}
}
