package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// command runs the program within the test process, and returns its exit code and output.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const zoneText = `bank.example TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example TXT "v=DMARC1; p=reject"
`

func TestCommands(t *testing.T) {
	good := file(t, "good.yaml", "authserv_id: mx.here.example\nmode: monitor\n")
	bad := file(t, "bad.yaml", "mode: enforce\npolicy:\n  rejct: always\n")
	wrong := file(t, "wrong.yaml", "dns: {timeout: soon}\nmode: enforce\n")
	movedKey := file(t, "moved.yaml", "report: {store: \"sqlite:/x\"}\nmode: enforce\n")
	secret := file(t, "secret.yaml", "store: {url: \"postgres://u:s3cret@h/d\"}\nmode: enforce\n")
	psl := file(t, "psl.yaml", "dmarc: {organizational_domain: psl, psl_file: /nonexistent/list}\nmode: enforce\n")
	off := file(t, "off.yaml", "admin: {listen: ''}\n")
	protected := file(t, "protected.yaml", "admin: {web_config: /etc/web.yaml}\n")
	silent := file(t, "silent.yaml", "admin: {listen: '127.0.0.1:1'}\n")
	settable := file(t, "settable.yaml", "authserv_id: mx.here.example\n")
	shadowed := file(t, "live.yaml", "authserv_id: mx.here.example\nshadow: "+silent+"\nmode: monitor\n")
	mail := file(t, "m.eml", "From: A <a@bank.example>\n\nx\n")
	zone := file(t, "z.zone", zoneText)
	brokenZone := file(t, "broken.zone", "bank.example TXT \"open\n")
	t.Setenv(adminEnv, "")
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string
		stderr []string
	}{
		{"no command shows help", []string{}, 0, "Available Commands", nil},
		{"unknown command", []string{"verify"}, 2, "", []string{"there is no command \"sekimori verify\"", "--help"}},
		{"unknown flag", []string{"serve", "--confg", "x"}, 2, "", []string{"unknown flag: --confg"}},
		{"no argument where one is needed", []string{"replay"}, 2, "", []string{"sekimori: replay takes one mbox", "Run 'sekimori replay --help'"}},
		{"an argument too many", []string{"config", "check", good, "more"}, 2, "",
			[]string{`sekimori: config check takes one file; "more" is one too many`, "Run 'sekimori config check --help'"}},
		{"an argument where there is none", []string{"serve", "more"}, 2, "", []string{`serve takes no arguments, only flags; "more" is one too many`}},
		{"version", []string{"version"}, 0, "sekimori devel go", nil},

		{"good configuration", []string{"config", "check", "--config", good}, 0, "is good: mode monitor", nil},
		{"as argument", []string{"config", "check", good}, 0, "is good", nil},
		{"unknown key: file, line, column, excerpt", []string{"config", "check", bad}, 2, "", []string{bad + ":3:3:", "rejct", "^"}},
		{"mistyped value", []string{"config", "check", wrong}, 2, "", []string{wrong + ":1:16:", `"soon"`}},
		{"a key that moved", []string{"config", "check", movedKey}, 2, "", []string{movedKey + ":1:10:", "store.url"}},
		{"a password in the URL", []string{"config", "print", secret}, 2, "", []string{secret + ":1:14:", "store.password_file", "postgres://u:***@h/d"}},
		{"a file it refers to is missing", []string{"config", "check", psl}, 2, "", []string{"/nonexistent/list"}},
		{"serve with a bad configuration", []string{"serve", "--config", bad}, 2, "", []string{bad + ":3:3:"}},
		{"serve without one", []string{"serve", "--config", "/nonexistent/c.yaml"}, 2, "", []string{"/nonexistent/c.yaml"}},
		{"serve cannot start", []string{"serve", "--config", psl}, 1, "", []string{"/nonexistent/list"}},
		{"a file without a mode", []string{"config", "check", silent}, 2, "", []string{silent + ":1:1: mode: not stated", `"mode: monitor"`}},
		{"printed", []string{"config", "print", silent}, 2, "", []string{silent + ":1:1: mode: not stated"}},
		{"served", []string{"serve", "--config", silent}, 2, "", []string{silent + ":1:1: mode: not stated"}},
		{"reloaded", []string{"reload", "--config", silent, "--pid", "1"}, 2, "", []string{silent + ":1:1: mode: not stated"}},
		{"explained by", []string{"explain", mail, "--ip", "192.0.2.1", "--zone", zone, "--config", silent}, 2, "", []string{silent + ":1:1: mode: not stated"}},
		{"asked where the daemon is", []string{"status", "--config", silent}, 1, "", []string{"no daemon answers"}},
		{"a candidate without a mode", []string{"config", "check", shadowed}, 0, "is good", nil},
		{"print", []string{"config", "print", good}, 0, "authserv_id: mx.here.example", nil},
		{"set-mode", []string{"config", "set-mode", "monitor", settable}, 0, settable + " states mode monitor", nil},
		{"what set-mode wrote", []string{"config", "check", settable}, 0, "is good: mode monitor", nil},
		{"set-mode of a mode that there is not", []string{"config", "set-mode", "sleep", settable}, 2, "", []string{"write monitor or enforce"}},
		{"set-mode of a bad file", []string{"config", "set-mode", "monitor", bad}, 2, "", []string{bad + ":3:3:"}},
		{"set-mode of no file", []string{"config", "set-mode", "monitor", "/nonexistent/c.yaml"}, 2, "", []string{"/nonexistent/c.yaml"}},
		{"example", []string{"config", "example"}, 0, "mode: monitor", nil},
		{"reference", []string{"config", "example", "--full"}, 0, "message_budget: 10s", nil},

		{"explain", []string{"explain", mail, "--ip", "192.0.2.1", "--from", "a@bank.example", "--zone", zone}, 0, "ACCEPT", nil},
		{"explain as JSON", []string{"explain", mail, "--ip", "203.0.113.1", "--zone", zone, "--json"}, 0, `"verdict": "reject"`, nil},
		{"explain by a policy of one's own", []string{"explain", mail, "--ip", "203.0.113.1", "--zone", zone, "--config", good}, 0,
			"mode monitor acts on nothing", nil},
		{"explain without address", []string{"explain", mail}, 2, "", []string{`"ip" not set`}},
		{"explain with a bad address", []string{"explain", mail, "--ip", "here"}, 2, "", []string{`"here" is not an IP address`}},
		{"explain without message", []string{"explain", "--ip", "192.0.2.1"}, 2, "", []string{"nothing to explain"}},
		{"explain a file and a queue id", []string{"explain", mail, "--queue-id", "4Q"}, 2, "", []string{"give one of them"}},
		{"explain by both ids", []string{"explain", "--queue-id", "4Q", "--id", "X"}, 2, "", []string{"cannot be given together"}},
		{"explain where no daemon is", []string{"explain", "--id", "X", "--admin", "http://127.0.0.1:1"}, 1, "", []string{"no daemon answers"}},
		{"explain where the admin address is off", []string{"explain", "--id", "X", "--config", off}, 2, "", []string{"admin.listen is empty"}},
		{"status where a password is wanted", []string{"status", "--config", protected}, 2, "", []string{"SEKIMORI_ADMIN"}},
		{"status of no URL", []string{"status", "--admin", "127.0.0.1"}, 2, "", []string{"write HOST:PORT"}},
		{"status by host and port", []string{"status", "--admin", "127.0.0.1:1"}, 1, "", []string{"http://127.0.0.1:1: no program listens there; does the daemon run"}},
		{"the version by a flag", []string{"--version"}, 0, "sekimori devel go", nil},
		{"a schema for editors", []string{"config", "schema"}, 0, `"mode": {`, nil},
		{"status where no daemon is, without its password", []string{"status", "--admin", "http://me:secret@127.0.0.1:1"}, 1, "",
			[]string{"http://me:xxxxx@127.0.0.1:1: no program"}},
		{"status where the configuration is not", []string{"status", "--config", "/nonexistent/c.yaml"}, 2, "", []string{"/nonexistent/c.yaml"}},
		{"explain what is not there", []string{"explain", "/nonexistent/m.eml", "--ip", "192.0.2.1"}, 1, "", []string{"/nonexistent/m.eml"}},
		{"explain with a broken zone", []string{"explain", mail, "--ip", "192.0.2.1", "--zone", brokenZone}, 1, "", []string{brokenZone}},
		{"demo takes no arguments", []string{"demo", "x"}, 2, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := command(t, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) {
				t.Errorf("code %d, want %d; stdout lacks %q:\n%s\n%s", code, tt.code, tt.stdout, stdout, stderr)
			}
			for _, want := range tt.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr)
				}
			}
			if names := packageNames(t); names.MatchString(stderr) {
				t.Errorf("stderr has the name of a package: %s", stderr)
			}
			if tt.code == 0 && stderr != "" {
				t.Errorf("stderr is not empty: %s", stderr)
			}
		})
	}
}

// packageNames returns an expression that matches lines which begin with the name of a package.
func packageNames(t *testing.T) *regexp.Regexp {
	t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join("..", "..", "internal"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			names = append(names, regexp.QuoteMeta(d.Name()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^(sekimori: )?(` + strings.Join(names, "|") + `): `)
}

// TestConfigCheckWarns checks that "config check" warns about rules that have no effect, with
// file, line and column, and accepts the configuration nevertheless. A rule with a mistake is
// refused.
func TestConfigCheckWarns(t *testing.T) {
	rules := file(t, "rules.yaml", "- id: old\n  expires: 2020-01-01\n  when: {author: [a.example]}\n  then: reject\n")
	path := file(t, "c.yaml", "mode: enforce\npolicy:\n  overrides:\n    - {id: a, when: {author: [b.example]}, then: reject}\n"+
		"    - {id: b, when: {author: [b.example]}, then: {policy: reject}}\n    - {file: "+rules+"}\n")
	code, stdout, stderr := command(t, "config", "check", path)
	if code != 0 || !strings.Contains(stdout, "is good") {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		path + ":5:7: policy.overrides[1]: warning: rule b never matches: rule a",
		rules + ":2:12: [0].expires: warning: rule old has expired",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr)
		}
	}
	bad := file(t, "rules.yaml", "- {id: c, when: {traits: [list]}, then: accept}\n")
	code, _, stderr = command(t, "config", "check", file(t, "c.yaml", "policy: {overrides: [{file: "+bad+"}]}\nmode: enforce\n"))
	if code != 2 || !strings.Contains(stderr, bad+":1:41: [0].then: rule c: ") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

// TestHandbookNamesCommands checks that deploy/docs/commands.md names every command.
func TestHandbookNamesCommands(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docs", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newRoot().Commands() {
		if c.IsAvailableCommand() && !strings.Contains(string(page), "`sekimori "+c.Name()) {
			t.Errorf("deploy/docs/commands.md does not name the command %s", c.Name())
		}
	}
}
