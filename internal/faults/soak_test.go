package faults

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekimori/internal/milter/client"
	"sekimori/internal/report"
	"sekimori/internal/store/postgres"
	"sekimori/internal/store/sqlite"
	"sekimori/internal/testkit/cluster"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

var soakTime = flag.Duration("soak", 45*time.Second, "how long TestSoakSQLite and TestSoakPostgres send messages")

const (
	// soakPace is the time between two messages.
	soakPace = 5 * time.Millisecond
	// soakConnection is the number of messages of one client.
	soakConnection = 50
	// soakDomains is the number of policy domains.
	soakDomains = 5
	// unsafeTime is how young messages are that a kill of the daemon may lose: it writes every 10 s to SQLite,
	// and the rest is for the writing on a busy machine.
	unsafeTime = 13 * time.Second
)

// killEvery is the time between two kills.
func killEvery() time.Duration { return min(time.Minute, *soakTime/3) }

// soaking starts a daemon for the soak.
func soaking(t *testing.T, store string) *daemon {
	t.Helper()
	zone := ""
	for i := range soakDomains {
		zone += fmt.Sprintf("bank%[1]d.example TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n_dmarc.bank%[1]d.example TXT \"v=DMARC1; p=reject; rua=mailto:rua@bank%[1]d.example\"\n", i)
	}
	return startWith(t, settings{zone: nameserver.Zone(t, zone), keys: store})
}

// answered is a message that the daemon has answered.
type answered struct {
	domain string
	at     time.Time
}

// load sends messages to a daemon, one after the other, until stop is called or an exchange breaks off.
type load struct {
	end, ended chan struct{}
	all        []answered
	slowest    time.Duration
	err        error // why it broke off; that message may count or not
}

func (d *daemon) load() *load {
	l := &load{end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		tick := time.NewTicker(soakPace)
		defer tick.Stop()
		for n := 0; l.err == nil; n++ {
			l.err = l.connection(d, n, tick)
			select {
			case <-l.end:
				return
			default:
			}
		}
	}()
	return l
}

// connection sends the messages of client n.
func (l *load) connection(d *daemon, n int, tick *time.Ticker) error {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + n%250)}), 25)
	c, err := mta.Dial("tcp", d.milter, mta.Peer{Name: "mail.bank.example", Addr: addr, HELO: "mail.bank.example"})
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range soakConnection {
		select {
		case <-l.end:
			return nil
		case <-tick.C:
		}
		domain := fmt.Sprintf("bank%d.example", i%soakDomains)
		begin := time.Now()
		res, err := c.SendMessage(client.Envelope{From: "<a@" + domain + ">", To: []string{"<r@here.example>"}},
			[]byte("From: A <a@"+domain+">\r\nSubject: s\r\n\r\nbody\r\n"))
		if err != nil {
			return err
		}
		if !res.Action.Delivers() || !strings.Contains(fmt.Sprint(res.Modifications), "dmarc=pass") {
			return fmt.Errorf("a good message got %+v", res)
		}
		now := time.Now()
		l.slowest = max(l.slowest, now.Sub(begin))
		l.all = append(l.all, answered{domain, now})
	}
	return nil
}

// stop ends the load.
func (l *load) stop() {
	close(l.end)
	<-l.ended
}

// count adds the messages that were answered before a time to counts.
func (l *load) count(counts map[string]int64, before time.Time) map[string]int64 {
	counts = maps.Clone(counts)
	for _, x := range l.all {
		if x.at.Before(before) {
			counts[x.domain]++
		}
	}
	return counts
}

// countedIn returns how many messages the reports in a store count, by domain.
func countedIn(t *testing.T, s report.Store, err error) map[string]int64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	jobs, err := s.Jobs(t.Context(), report.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, j := range jobs {
		counts[string(j.Policy.Domain)] += j.Messages
		var rows int64
		for r, err := range s.Rows(t.Context(), j.ID) {
			if err != nil {
				t.Fatal(err)
			}
			rows += r.Count
		}
		if rows != j.Messages {
			t.Errorf("the rows on %s count %d messages, and the job %d", j.Policy.Domain, rows, j.Messages)
		}
	}
	return counts
}

// TestSoakSQLite kills the daemon with its store again and again while messages come. Each kill loses at most the
// messages of one flush interval. What was written stays, and nothing counts twice.
func TestSoakSQLite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sekimori.db")
	safe := map[string]int64{}
	read := func() map[string]int64 {
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		return countedIn(t, s, err)
	}
	sent, rounds := 0, int(*soakTime/killEvery())
	for kills := range rounds {
		d := soaking(t, "store: {url: 'sqlite:"+path+"'}")
		l := d.load()
		select {
		case <-time.After(killEvery()):
		case <-l.ended:
			t.Fatalf("the daemon did not answer: %v", l.err)
		}
		if kills == rounds-1 {
			l.stop()
			sent += len(l.all)
			d.stop()
			want, got := l.count(safe, time.Now()), read()
			if !maps.Equal(got, want) {
				t.Errorf("the reports count %v, want %v", got, want)
			}
			t.Logf("%d kills of the daemon, %d messages sent, %v counted; the slowest answer of the last daemon took %v", kills, sent, got, l.slowest)
			return
		}
		at := time.Now()
		d.kill()
		l.stop()
		sent += len(l.all)
		least, most, got := l.count(safe, at.Add(-unsafeTime)), l.count(safe, time.Now()), read()
		extra := 0
		for i := range soakDomains {
			domain := fmt.Sprintf("bank%d.example", i)
			n := got[domain]
			if n < least[domain] || n > most[domain]+1 { // the one that broke off
				t.Errorf("kill %d: the report on %s counts %d messages, want %d to %d", kills+1, domain, n, least[domain], most[domain])
			}
			extra += int(max(0, n-most[domain]))
		}
		if extra > 1 {
			t.Errorf("kill %d: the reports count %v, want at most %v and one more", kills+1, got, most)
		}
		safe = got
	}
}

// TestSoakPostgres kills the database again and again while messages come. In the end every message counts once.
func TestSoakPostgres(t *testing.T) {
	t.Parallel()
	const away = 3 * time.Second
	pg := cluster.Start(t, cluster.Options{})
	url := pg.Database(t)
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	writeFile(t, password, cluster.Password+"\n")
	d := soaking(t, fmt.Sprintf("store: {url: %q, password_file: %q, spool: {dir: %q}}", url, password, filepath.Join(dir, "spool")))
	l := d.load()
	wait := func(w time.Duration) {
		select {
		case <-time.After(w):
		case <-l.ended:
			t.Fatalf("the daemon did not answer: %v", l.err)
		}
	}
	kills := int(*soakTime/killEvery()) - 1
	for range kills {
		wait(killEvery() - away)
		pg.Kill(t)
		wait(away)
		pg.Up(t)
	}
	wait(killEvery() - away)
	l.stop()
	d.eventually("emptied the spool", func() bool { return d.metric("sekimori_report_spool_bytes") == 0 })
	d.stop()
	want := l.count(map[string]int64{}, time.Now())
	s, err := postgres.Open(t.Context(), url, cluster.Password)
	got := countedIn(t, s, err)
	if !maps.Equal(got, want) || kills == 0 {
		t.Errorf("after %d kills the reports count %v, want %v", kills, got, want)
	}
	t.Logf("%d kills of the database, %d messages, %v counted; the slowest answer took %v", kills, len(l.all), got, l.slowest)
}
