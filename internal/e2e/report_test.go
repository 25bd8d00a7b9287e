package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"sekimori/internal/report"
)

// The clients that send mail in the name of the domains in reportZone.
var (
	shopMX  = peer{"", "192.0.2.20", "mail.shop.test"}
	goneMX  = peer{"", "192.0.2.30", "mail.gone.test"}
	quietMX = peer{"", "192.0.2.40", "mail.quiet.test"}
)

// send sends a message whose author and MAIL FROM are of the domain.
func (m *mx) send(t *testing.T, p peer, domain string) {
	t.Helper()
	m.post(t, p, unique("@"+domain), recipient(), mail{from: "info@" + domain}.bytes()).accepted(t)
}

// TestReportsEndToEnd follows the reports of one day: mail comes in through Postfix and the daemon, midnight passes, the reports leave
// through another Postfix. One reader gets its report, and the test compares it with what was sent. The other reader refuses the mail;
// the bounce comes back by LMTP, and the address is suppressed.
//
// Midnight passes by moving the window in the store of the stopped daemon a day back.
func TestReportsEndToEnd(t *testing.T) {
	shared(t)
	t.Parallel()
	w := startReportWorld(t, "").onSQLite(t)
	m := w.start(t, true, "shop.test", "gone.test")
	for range 3 {
		m.send(t, shopMX, "shop.test")
		m.send(t, goneMX, "gone.test")
	}
	for range 2 {
		m.send(t, spoofer, "shop.test")
	}
	forwarded := signed(t, mail{from: "info@shop.test"}.bytes(), "shop.test", "s1")
	m.post(t, newsMX, unique("@shop.test"), recipient(), forwarded).accepted(t)
	m.send(t, quietMX, "quiet.test")

	day := today()
	if err := m.terminate(); err != nil {
		t.Fatal(err)
	}
	w.yesterday(t)
	m.start(t)

	received := eventualMail(t, w.reader, "rua@shop.test")
	f := checkReportMail(t, received, "shop.test", day-86400)
	want := map[string]int{"192.0.2.20 pass fail pass": 3, "192.0.2.66 quarantine fail fail": 2, "192.0.2.1 pass pass fail": 1}
	if got := f.rows(); !maps.Equal(got, want) {
		t.Errorf("the report says %v, want %v", got, want)
	}
	checkAuthenticated(t, m, received)
	s := w.store(t)
	checkBounce(t, s)
	if jobs, err := s.Jobs(t.Context(), report.Filter{}); err != nil || len(jobs) != 2 {
		t.Errorf("%d jobs, %v; want 2: one domain asks for no reports", len(jobs), err)
	}

	// On the next day nothing is sent to that address.
	m.send(t, goneMX, "gone.test")
	m.send(t, shopMX, "shop.test")
	if err := m.terminate(); err != nil {
		t.Fatal(err)
	}
	w.yesterday(t)
	m.start(t)
	eventually(t, "the second report", func() bool { return len(rawMail(t, w.reader, "rua@shop.test")) == 2 })
	eventually(t, "the end of the other job", func() bool {
		jobs, err := s.Jobs(t.Context(), report.Filter{Domain: "gone.test"}) // the newest first
		return err == nil && len(jobs) == 2 && jobs[0].Outcome == report.WithheldSuppressed && jobs[1].Outcome == report.Sent
	})
	if n := strings.Count(w.reader.log(t), "to=<refused@shop.test>"); n != 1 {
		t.Errorf("the suppressed address was tried %d times, want once", n)
	}
}

// checkBounce waits until the report on gone.test has come back, and checks what was learned from it.
func checkBounce(t *testing.T, s report.Store) {
	t.Helper()
	var all []report.Suppression
	eventually(t, "the suppression", func() (ok bool) {
		var err error
		all, err = s.Suppressions(t.Context())
		return err == nil && len(all) > 0 && all[0].Suppressed(time.Now())
	})
	if x := all[0]; len(all) != 1 || x.Target != "refused@shop.test" || x.By != report.ByBounce || x.Strikes != 1 {
		t.Errorf("suppressed: %+v", all)
	}
	jobs, err := s.Jobs(t.Context(), report.Filter{Domain: "gone.test"})
	if err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
	deliveries, err := s.Deliveries(t.Context(), jobs[0].ID)
	if err != nil || len(deliveries) != 1 {
		t.Fatal(deliveries, err)
	}
	if d := deliveries[0]; d.Address != "refused@shop.test" || d.Word != report.Refused || !d.Bounced || !strings.HasPrefix(d.Reply, "550 5.1.1") {
		t.Errorf("delivery: %+v", d)
	}
}

// TestReportsOfFarm follows the reports of one day through three daemons that share a PostgreSQL. One daemon is killed while it collects,
// and again while it hands a report to the MTA. Every domain gets one report, and the reports count what was sent.
func TestReportsOfFarm(t *testing.T) {
	shared(t)
	t.Parallel()
	domains := []string{"shop.test", "gone.test", "stuck.test"}
	zone := "*.test._report._dmarc.shop.test TXT \"v=DMARC1\"\n"
	for i := range 6 {
		domains = append(domains, fmt.Sprintf("d%d.test", i))
	}
	for _, d := range domains[2:] {
		name, _, _ := strings.Cut(d, ".")
		zone += d + ` TXT "v=spf1 ip4:192.0.2.20 -all"` + "\n_dmarc." + d + ` TXT "v=DMARC1; p=quarantine; rua=mailto:` + name + "@shop.test\"\n"
	}
	w := startReportWorld(t, zone).onPostgres(t)
	farm := []*mx{w.start(t, false, domains...), w.start(t, false, domains...), w.start(t, true, domains...)}
	all := func(what func(*mx)) {
		for _, m := range farm {
			what(m)
		}
	}
	stop := func(m *mx) {
		if err := m.terminate(); err != nil {
			t.Fatal(err)
		}
	}

	want := map[string]map[string]int{}
	sent := func(m *mx, p peer, domain, row string) {
		m.send(t, p, domain)
		if want[domain] == nil {
			want[domain] = map[string]int{}
		}
		want[domain][p.addr+" "+row]++
	}
	for i, domain := range domains {
		p, pass := shopMX, "pass fail pass"
		if domain == "gone.test" {
			p, pass = goneMX, "none fail pass"
		}
		for n := range i + 2 { // each daemon has messages of the same row
			sent(farm[n%len(farm)], p, domain, pass)
		}
	}
	sent(farm[1], spoofer, "shop.test", "quarantine fail fail")
	sent(farm[2], spoofer, "shop.test", "quarantine fail fail")

	// What the first daemon has written is safe. It writes every 30 s, so a kill loses what comes now.
	first := farm[0]
	stop(first)
	first.start(t)
	const unsafe = 5
	for range unsafe {
		first.post(t, bankMX, unique("@shop.test"), recipient(), mail{from: "info@shop.test"}.bytes()).accepted(t)
	}
	first.kill()
	first.start(t)
	sent(first, spoofer, "shop.test", "quarantine fail fail")

	day := today()
	all(stop)
	w.yesterday(t)

	// The first daemon is killed in mid transaction: the MTA has not answered RCPT yet.
	s := w.store(t)
	w.sql(t, "UPDATE job SET send_at = now() + interval '1 hour' WHERE domain <> 'stuck.test'")
	connections := func() int { return strings.Count(w.operator.log(t), ": connect from") }
	before := connections()
	first.start(t)
	eventually(t, "the transaction that hangs", func() bool { return connections() > before })
	first.kill()
	w.sql(t, "UPDATE job SET send_at = now() - interval '1 hour' WHERE domain <> 'stuck.test'")
	w.sql(t, "UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'claimed'") // five minutes pass
	all(func(m *mx) { m.start(t) })
	if !within(time.Minute, func() bool {
		jobs, err := s.Jobs(t.Context(), report.Filter{State: report.StateDone})
		return err == nil && len(jobs) == len(domains)
	}) {
		jobs, err := s.Jobs(t.Context(), report.Filter{})
		t.Fatalf("the jobs do not end: %+v, %v", jobs, err)
	}
	checkBounce(t, s)
	eventually(t, "an empty queue", func() bool { return len((&postfix{etc: w.operator.etc()}).queue(t)) == 0 })

	for _, domain := range domains {
		name, _, _ := strings.Cut(domain, ".")
		switch domain {
		case "gone.test": // it came back, see above
			if n := strings.Count(w.reader.log(t), "to=<refused@shop.test>"); n != 1 {
				t.Errorf("%s: tried %d times, want once", domain, n)
			}
			continue
		case "shop.test":
			name = "rua"
		}
		received := eventualMail(t, w.reader, name+"@shop.test") // fails if there are two
		f := checkReportMail(t, received, domain, day-86400)
		got := f.rows()
		const lost = "192.0.2.10 quarantine fail fail"
		if n := got[lost]; domain == "shop.test" && n > unsafe {
			t.Errorf("%d messages count of those that a kill may lose, which were %d", n, unsafe)
		}
		delete(got, lost)
		if !maps.Equal(got, want[domain]) {
			t.Errorf("%s: the report says %v, want %v", domain, got, want[domain])
		}
		checkAuthenticated(t, first, received)
	}
}
