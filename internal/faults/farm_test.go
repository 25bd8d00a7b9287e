package faults

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/explain"
	"sekimori/internal/milter/client"
	"sekimori/internal/status"
	"sekimori/internal/testkit/cluster"
)

// inFarm starts a daemon on a host of this name, with a store that it shares with others.
func inFarm(t *testing.T, host, database, keys string) *daemon {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(cluster.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	return startWith(t, settings{host: host, keys: "store: {url: '" + database + "', password_file: " + password + ", spool: {dir: " + filepath.Join(dir, "spool") + "}}\n" + keys})
}

// hosts returns what a daemon knows of its farm.
func (d *daemon) hosts() (h status.Hosts) {
	_ = json.Unmarshal([]byte(d.get("/api/hosts")), &h) // an empty answer has no hosts
	return h
}

// sekimori runs a command that asks the daemon, and returns its exit code and output.
func (d *daemon) sekimori(args ...string) (code int, out string) {
	d.t.Helper()
	cmd := exec.Command(build(d.t), append(args, "--admin", "http://"+d.admin)...)
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		d.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// refused sends a forged message, and returns the ID in the reply.
func (d *daemon) refused(queueID string) (id string) {
	d.t.Helper()
	c, err := d.hello()
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	res, err := c.SendMessage(client.Envelope{From: "<x@evil.example>", To: []string{"<r@here.example>"}, QueueID: queueID},
		[]byte("From: A <a@bank.example>\r\nSubject: s\r\n\r\nbody\r\n"))
	if err != nil {
		d.t.Fatal(err)
	}
	found := regexp.MustCompile(`\(([0-9A-Z]{8})\)`).FindStringSubmatch(res.Action.String())
	if res.Action.Delivers() || found == nil {
		d.t.Fatalf("a forged message got %s", res.Action)
	}
	return found[1]
}

// TestFarm: three daemons share a database. What one refused is explained by the others, after all were
// started again, and each sees the others.
func TestFarm(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root can give each daemon a host name of its own")
		}
		t.Skip("only root can give each daemon a host name of its own")
	}
	database := cluster.Start(t, cluster.Options{}).Database(t)
	var all []*daemon
	for _, host := range []string{"mx1.example", "mx2.example", "mx3.example"} {
		all = append(all, inFarm(t, host, database, ""))
	}
	for _, d := range all {
		d.eventually("saw three hosts", func() bool {
			h := d.hosts()
			return len(h.Hosts) == 3 && h.Stale == 0 && h.Twins == 0 && h.Configurations == 1 // though each listens elsewhere
		})
	}
	if code, out := all[0].sekimori("status", "--all"); code != 0 || strings.Count(out, ".example") != 3 || !strings.Contains(out, "asked") {
		t.Errorf("status --all: exit code %d\n%s", code, out)
	}
	id := all[0].refused("4dQZFARM")
	for _, d := range all {
		d.stop()
	}

	mx1 := inFarm(t, "mx1.example", database, "")
	mx2 := inFarm(t, "mx2.example", database, "")
	twin := inFarm(t, "mx2.example", database, "headers: {verdict: true}")
	mx3 := inFarm(t, "mx3.example", database, "")
	for _, d := range []*daemon{mx1, mx2, mx3} {
		var x explain.Explanation
		code, out := d.sekimori("explain", "--json", "--id", strings.ToLower(id))
		if err := json.Unmarshal([]byte(out), &x); code != 0 || err != nil || x.Verdict.ID != id || x.Verdict.Action != "reject" || x.Evaluation.From.AuthorDomain != "bank.example" {
			t.Errorf("explain --id: exit code %d, %v\n%s", code, err, out)
		}
		if code, out := d.sekimori("explain", "--queue-id", "4dQZFARM"); code != 0 || !strings.Contains(out, "bank.example") {
			t.Errorf("explain --queue-id: exit code %d\n%s", code, out)
		}
	}
	for _, query := range []string{"id=" + id, "queue_id=4dQZFARM", "author=bank.example", "client=" + bank.Addr.Addr().String(), "sender=" + url.QueryEscape("x@evil.example"), "verdict=reject",
		"reason=dmarc_reject", "host=mx1.example", "host=mx1.example&reason=dmarc_reject&verdict=reject"} {
		if got := mx2.get("/api/decisions?" + query); !strings.Contains(got, `"host":"mx1.example"`) || strings.Contains(got, "r@here.example") {
			t.Errorf("%s: %s", query, got)
		}
	}
	for _, query := range []string{"reason=rule", "host=mx2.example", "host=mx1.example&verdict=accept"} {
		if got := mx2.get("/api/decisions?" + query); !strings.Contains(got, `"decisions":[]`) {
			t.Errorf("%s: %s", query, got)
		}
	}
	code, out := mx3.sekimori("decisions", "--host", "mx1.example", "--reason", "dmarc_reject", "--day", "today")
	if code != 0 || !strings.Contains(out, id) || !strings.Contains(out, "HOST") || !strings.Contains(out, "mx1.example") {
		t.Errorf("decisions: exit code %d\n%s", code, out)
	}
	for _, query := range []string{"host=mx1.example", "reason=dmarc_reject&host=mx1.example"} {
		if page := mx2.get("/decisions?" + query); !strings.Contains(page, "4dQZFARM") {
			t.Errorf("the console does not find %s:\n%s", query, page)
		}
	}
	if page := mx2.get("/decisions?q=" + id); !strings.Contains(page, "mx1.example") || !strings.Contains(page, "4dQZFARM") {
		t.Errorf("the console does not find %s:\n%s", id, page)
	}

	mx2.eventually("saw its twin", func() bool {
		h := mx2.hosts()
		return len(h.Hosts) == 4 && h.Twins == 2 && h.Stale == 0 && h.Configurations == 2
	})
	mx2.eventually("warned of its twin", func() bool { return strings.Contains(mx2.log.String(), "another daemon with the name of this host") })
	if page := mx2.get("/hosts"); !strings.Contains(page, "2 daemons have the host name of another") {
		t.Errorf("the console does not warn:\n%s", page)
	}
	twin.kill()
	mx3.eventually("missed a host", func() bool { return mx3.hosts().Stale == 1 && mx3.metric("sekimori_farm_hosts_stale") == 1 })
	if code, out := mx3.sekimori("status", "--all"); code != 1 || !strings.Contains(out, "STALE") || strings.Contains(out, "same host name") {
		t.Errorf("status --all: exit code %d\n%s", code, out)
	}
}
