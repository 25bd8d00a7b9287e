package upstream

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/testkit/nameserver"
)

// TestResolvConfChanges: within seconds after resolv.conf has changed, its new servers are asked. A
// file without servers changes nothing, and OnServers is called only once for it.
func TestResolvConfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		var told []string
		var asked string
		m := testMetrics(t)
		script := nameserver.Script(func(_, addr string, query []byte, conn net.Conn) {
			mu.Lock()
			asked = addr
			mu.Unlock()
			_, _ = conn.Write(nameserver.Respond(t, query, 0, goodA))
		})
		dial, _ := script.Dialer()
		write("nameserver 192.0.2.1\n")
		c, err := NewClient(ClientConfig{ResolvConf: path, Dial: dial, Metrics: m.Metrics, OnServers: func(servers []string, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(strings.Join(servers, " "), " ", err))
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		kept := c.list()[0]
		kept.health.srtt = time.Millisecond
		for _, tt := range []struct {
			why    string
			change func()
			asks   string
			told   string // the expected call of OnServers; "" if there must be none
		}{
			{"nothing", func() {}, "192.0.2.1:53", ""},
			{"comments", func() { write("# dhclient\nnameserver 192.0.2.1\nsearch x.example\n") }, "192.0.2.1:53", ""},
			{"another server", func() { write("nameserver 192.0.2.2\n") }, "192.0.2.2:53", "192.0.2.2:53 <nil>"},
			{"cut off", func() { write("") }, "192.0.2.2:53", "192.0.2.2:53 resolver: the file names no server"},
			{"still cut off", func() {}, "192.0.2.2:53", ""},
			{"nonsense", func() { write("nameserver bogus\n") }, "192.0.2.2:53", "is not an IP address"},
			{"gone", func() { _ = os.Remove(path) }, "192.0.2.2:53", "no such file"},
			{"as before", func() { write("nameserver 192.0.2.2\n") }, "192.0.2.2:53", ""},
			{"gone again", func() { _ = os.Remove(path) }, "192.0.2.2:53", "no such file"},
			{"another file in its place", func() {
				write("")
				next := path + ".new"
				if err := os.WriteFile(next, []byte("nameserver ::1\nnameserver 192.0.2.2\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(next, path); err != nil {
					t.Fatal(err)
				}
			}, "[::1]:53", "[::1]:53 192.0.2.2:53 <nil>"},
		} {
			mu.Lock()
			told = nil
			mu.Unlock()
			tt.change()
			time.Sleep(rereadEvery + time.Second)
			synctest.Wait()
			if a, err := c.Lookup(t.Context(), "x.example", dns.TypeA); err != nil || a.Server != tt.asks {
				t.Errorf("%s: %s answered, %v, want %s", tt.why, a.Server, err, tt.asks)
			}
			mu.Lock()
			if (tt.told == "") != (len(told) == 0) || len(told) > 1 || len(told) == 1 && !strings.Contains(told[0], tt.told) || asked != tt.asks {
				t.Errorf("%s: told %q, want %q; %s was asked", tt.why, told, tt.told, asked)
			}
			mu.Unlock()
		}
		got := m.Values(t)
		for series, want := range map[string]float64{"upstream_info 0 [::1]:53": 1, "upstream_info 1 192.0.2.2:53": 1, "upstream_up 1": 1} {
			if got[series] != want {
				t.Errorf("%s is %v, want %v: %v", series, got[series], want, got)
			}
		}
	})
}

// TestServersThatStay: a server that stays in the list keeps its health.
func TestServersThatStay(t *testing.T) {
	c := &Client{}
	use := func(servers ...string) []*server {
		t.Helper()
		list, err := parseServers(servers)
		if err != nil {
			t.Fatal(err)
		}
		c.use(list, ClientConfig{})
		return c.list()
	}
	first := use("192.0.2.1", "192.0.2.2", "tls://192.0.2.3#dns.example")
	second := use("tls://192.0.2.3#dns.example", "192.0.2.1", "192.0.2.1", "192.0.2.4", "192.0.2.3")
	if second[0] != first[2] || second[1] != first[0] || second[2] == first[0] || second[4] == first[2] {
		t.Error("a server was forgotten, or is there twice")
	}
	for i, want := range []string{"tls://192.0.2.3:853#dns.example", "192.0.2.1:53", "192.0.2.1:53", "192.0.2.4:53", "192.0.2.3:53"} {
		if second[i].shown != want {
			t.Errorf("%s is shown as %s", want, second[i].shown)
		}
	}
	if s := use("tls://192.0.2.3")[0].shown; s != "tls://192.0.2.3:853" {
		t.Errorf("a server without a name is shown as %s", s)
	}
}

func TestResolvConfEmpty(t *testing.T) {
	for text, want := range map[string]bool{"": true, "# none\nsearch x.example\n": true, "nameserver 127.0.0.1\n": false, "nameserver bogus\n": false} {
		path := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := ResolvConfEmpty(path); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if ResolvConfEmpty(filepath.Join(t.TempDir(), "none")) {
		t.Error("a file that is not there is empty")
	}
}

// TestEmptyFromTheStart: that the file has no server is told as a change, unless it had none at the start.
func TestEmptyFromTheStart(t *testing.T) {
	for start, want := range map[string]int32{"": 0, "nameserver 192.0.2.1\n": 1} {
		synctest.Test(t, func(t *testing.T) {
			var told atomic.Int32
			path := filepath.Join(t.TempDir(), "resolv.conf")
			write := func(text string) {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(start)
			c, err := NewClient(ClientConfig{ResolvConf: path, OnServers: func([]string, error) { told.Add(1) }})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			synctest.Wait() // until the file was read a second time
			write("")
			time.Sleep(2*rereadEvery + time.Second)
			if n := told.Load(); n != want {
				t.Errorf("from %q: told %d times", start, n)
			}
		})
	}
}
