package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekimori/internal/testkit/suites"
)

// TestBIMICheck checks files without any configuration, as a sender does on his own computer.
func TestBIMICheck(t *testing.T) {
	dir := t.TempDir()
	const good = `<svg xmlns="http://www.w3.org/2000/svg" version="1.2" baseProfile="tiny-ps" viewBox="0 0 9 9"><title>A</title><path d="M1 1h7v7z"/></svg>`
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name, file string
		code       int
		want       string
	}{
		{"good picture", write("good.svg", good), 0, "ok    picture"},
		{"script", write("bad.svg", strings.Replace(good, "<path", "<script/><path", 1)), 1, "FAIL  picture"},
		{"DOCTYPE", write("doctype.svg", "<!DOCTYPE svg>"+good), 1, "DOCTYPE is not allowed"},
		{"no certificate", write("empty.pem", "hello\n"), 1, "FAIL  pem"},
		{"large file", write("large.svg", strings.Repeat(" ", maxMarkFile+1)), 2, "more than 1048576 octets"},
		{"neither", "no domain", 2, "neither a domain nor a file"},
		{"no file", filepath.Join(dir, "none.svg"), 2, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, complaints := command(t, "bimi", "check", tt.file)
			out += complaints
			if code != tt.code || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.want, out)
			}
		})
	}
}

// TestBIMICheckReal checks a real certificate, whose time is over. Its timestamp is of the built-in log.
func TestBIMICheckReal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "paypal.pem")
	if err := os.WriteFile(path, suites.Read(t, "bimi/certificates/paypal_vmc.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := command(t, "bimi", "check", path, "--json")
	var r struct {
		Checks []struct {
			Word, Detail string
			OK           bool
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range r.Checks {
		switch c.Word {
		case "sct":
			if !c.OK || !strings.Contains(c.Detail, "Gorgon") {
				t.Errorf("sct: %+v", c)
			}
		case "validity", "crl":
			if c.OK {
				t.Errorf("%+v", c)
			}
		default:
			if !c.OK {
				t.Errorf("%+v", c)
			}
		}
	}
	if code != 1 || len(r.Checks) < 10 {
		t.Errorf("exit code %d, %d checks", code, len(r.Checks))
	}
}
