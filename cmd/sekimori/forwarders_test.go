package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestForwarders(t *testing.T) {
	var log strings.Builder
	for i := range 12 {
		fmt.Fprintf(&log, `{"msg":"evaluated","client_ip":"198.51.100.7","header_from":"a%d.example",`+
			`"dkim":[{"result":"fail","d":"a%d.example","reason":"body_hash_mismatch"},`+
			`{"result":"pass","d":"list.example"}],"dmarc":"fail","verdict":"reject"}`+"\n", i, i)
	}
	path := file(t, "log.json", log.String())
	empty := file(t, "empty.json", "mode: enforce\n")
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{"rules", []string{path, path, "--owner", "me"}, 0, `when: {dkim: ["list.example"], dmarc: ["fail"], traits: ["broken_author_signature"]}`, ""},
		{"more failures than there are", []string{path, "--min", "13"}, 0, "Nothing looks like a forwarder", ""},
		{"no record", []string{empty}, 1, "", "no record of an evaluated message"},
		{"no log", []string{"/nonexistent/log"}, 1, "", "/nonexistent/log"},
		{"no failures", []string{path, "--min", "0"}, 2, "", "at least 1"},
		{"two sources", []string{path, "--admin", "http://127.0.0.1:1"}, 2, "", "give one of them"},
		{"no daemon", []string{"--admin", "http://127.0.0.1:1"}, 1, "", "no daemon answers"},
		{"no URL", []string{"--admin", "here"}, 2, "", "write HOST:PORT"},
	} {
		code, stdout, stderr := command(t, append([]string{"forwarders"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
			t.Errorf("%s: code %d, want %d\n%s\n%s", tt.name, code, tt.code, stdout, stderr)
		}
	}
	fillDisk(t, 2, []string{"forwarders", path})
	fillDisk(t, 2, []string{"forwarders", path, "--json"})
	_, stdout, _ := command(t, "forwarders", path, "--json")
	var found foundForwarders
	err := json.Unmarshal([]byte(stdout), &found)
	if err != nil || found.Records != 12 || len(found.Proposals) != 1 ||
		found.Proposals[0].Rule.ID != "forwarder-list.example" || found.Proposals[0].Failures != 12 {
		t.Errorf("%v: %s", err, stdout)
	}
}
