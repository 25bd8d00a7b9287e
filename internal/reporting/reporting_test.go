package reporting

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns/zone"
	"sekimori/internal/report"
	"sekimori/internal/report/destination"
	"sekimori/internal/report/identity"
	"sekimori/internal/submit"
)

// midnight is the begin of the window of most jobs, and noon the time of the commands: the next day.
var (
	midnight = time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	noon     = midnight.Add(36 * time.Hour)
)

const hostile = "\x1b[2J\u202eevil"

// memory is a store in memory, with the methods that this package calls.
type memory struct {
	report.Store
	jobs         []report.Job
	deliveries   []report.Delivery
	suppressions map[string]report.Suppression
	excess       []report.Excess
}

func (m *memory) Summary(context.Context, time.Time) (report.Summary, error) {
	return report.Summary{Excess: m.excess}, nil
}

func (m *memory) Jobs(_ context.Context, f report.Filter) ([]report.Job, error) {
	var out []report.Job
	for _, j := range m.jobs {
		if (f.Window == 0 || f.Window == j.Window.Begin) && (f.Domain == "" || f.Domain == j.Policy.Domain) && (f.State == "" || f.State == j.State) && (f.ID == 0 || f.ID == j.ID) &&
			(f.ReportID == "" || f.ReportID == j.ReportID) && (f.Limit == 0 || len(out) < f.Limit) {
			out = append(out, j)
		}
	}
	return out, nil
}

func (m *memory) Deliveries(_ context.Context, job int64) ([]report.Delivery, error) {
	return slices.DeleteFunc(slices.Clone(m.deliveries), func(d report.Delivery) bool { return d.Job != job }), nil
}

func (m *memory) Suppressions(context.Context) (out []report.Suppression, err error) {
	for _, s := range m.suppressions {
		out = append(out, s)
	}
	return out, nil
}

func (m *memory) Suppression(_ context.Context, target string) (report.Suppression, error) {
	s, ok := m.suppressions[target]
	if !ok {
		return s, report.ErrUnknown
	}
	return s, nil
}

func (m *memory) Suppress(_ context.Context, s report.Suppression) error {
	m.suppressions[s.Target] = s
	return nil
}

func (m *memory) Unsuppress(_ context.Context, target string) error {
	if _, ok := m.suppressions[target]; !ok {
		return report.ErrUnknown
	}
	delete(m.suppressions, target)
	return nil
}

func window(begin time.Time, d time.Duration) report.Window {
	return report.Window{Begin: begin.Unix(), End: begin.Add(d).Unix() - 1}
}

func newMemory() *memory {
	day := window(midnight, 24*time.Hour)
	p := report.Policy{Domain: "shop.example", P: dmarc.PolicyReject, SP: dmarc.PolicyReject, NP: dmarc.PolicyReject, ADKIM: dmarc.Relaxed, ASPF: dmarc.Relaxed,
		Method: dmarc.TreeWalk, Testing: true}
	bank := p
	bank.Domain = "bank.example"
	return &memory{
		jobs: []report.Job{
			{ID: 5, Policy: p, Window: window(midnight.Add(30*time.Hour), 6*time.Hour), State: report.StateOpen, SendAt: midnight.Add(37 * time.Hour), Rows: 2, Messages: 3, Causes: 3},
			{ID: 1, Policy: bank, Window: day, State: report.StateDone, Outcome: report.Sent, Reason: "to 1 destination", ReportID: "20261128.k7q2.bank.example@dmarc.isp.example",
				Rows: 10, Messages: 100, Causes: 90, Lost: 4, Late: 2, Spam: 1},
			{ID: 2, Policy: p, Window: day, State: report.StateDue, SendAt: midnight.Add(26 * time.Hour), Tries: 2, Rows: 4, Messages: 5, Causes: 5},
			{ID: 3, Policy: p, Window: window(midnight.Add(-24*time.Hour), 24*time.Hour), State: report.StateDone, Outcome: report.WithheldLoop, Reason: hostile},
		},
		deliveries: []report.Delivery{{Job: 1, Address: "rua@bank.example", Word: report.Sent, Tries: 1, Reply: "250 2.0.0 " + hostile, At: midnight.Add(27 * time.Hour), Bounced: true}},
		suppressions: map[string]report.Suppression{
			"rua@old.example": {Target: "rua@old.example", Since: midnight, Until: noon.Add(-time.Hour), Strikes: 1, Reason: "5.1.1", By: report.ByBounce},
			"one@b.example":   {Target: "one@b.example", Since: midnight, Strikes: 1, Reason: hostile, By: report.ByBounce},
		},
	}
}

// sender answers as a dispatcher does.
type sender struct {
	decision destination.Decision
	copied   []string
	copyErr  error
	result   submit.Result
	outcome  report.Outcome
	errs     map[int64]error // of Send, by job
}

func (s *sender) Explain(context.Context, report.Job) (destination.Decision, error) {
	d := s.decision
	d.Rules = slices.Clone(d.Rules)
	return d, nil
}

func (s *sender) WriteXML(_ context.Context, w io.Writer, j report.Job) error {
	_, err := fmt.Fprintf(w, "<feedback>%d</feedback>\n", j.ID)
	return err
}

func (s *sender) WriteMail(_ context.Context, w io.Writer, j report.Job, to string) error {
	_, err := fmt.Fprintf(w, "To: %s (%d)\n", to, j.ID)
	return err
}

func (s *sender) Copy(_ context.Context, j report.Job, to string) (submit.Result, error) {
	s.copied = append(s.copied, fmt.Sprint(j.ID, " ", to))
	return s.result, s.copyErr
}

func (s *sender) Send(_ context.Context, id int64) (report.Outcome, error) {
	if s.errs[id] != nil {
		return report.Outcome{}, s.errs[id]
	}
	return s.outcome, nil
}

func newOffice() (*Office, *sender) {
	s := &sender{result: submit.Result{Kind: submit.Sent, Reply: "250 queued"}, decision: destination.Decision{
		Rules: []destination.Rule{{Word: report.WithheldOff, State: destination.RulePassed, Evidence: "sending is on"},
			{Word: report.WithheldNotEstablished, State: destination.RulePassed, Evidence: "established: it passed DMARC on 3 days, the first 2026-11-20"}},
		Record:       &dmarc.Record{Raw: "v=DMARC1; p=reject; rua=mailto:rua@shop.example" + hostile},
		Destinations: []destination.Destination{{URI: "mailto:rua@shop.example", Address: "rua@shop.example"}, {URI: "http://x", Word: report.WithheldUnusable, Detail: "not a mailto URI"}},
	}}
	return &Office{Store: newMemory(), Sender: s, Sending: true, Now: noon}, s
}

// text returns what a person sees, and fails if it has a control character.
func text(t *testing.T, v interface{ Text(io.Writer) error }) string {
	t.Helper()
	var b strings.Builder
	if err := v.Text(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Errorf("a stranger controls the terminal: %q", b.String())
	}
	if raw, err := json.Marshal(v); err != nil || strings.Contains(string(raw), "null") {
		t.Errorf("a list is null: %s %v", raw, err)
	}
	return b.String()
}

func has(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		w, not := strings.CutPrefix(w, "!")
		if strings.Contains(got, w) == not {
			t.Errorf("has %q is not %t:\n%s", w, !not, got)
		}
	}
}

func TestListReports(t *testing.T) {
	for _, tt := range []struct {
		sel  Selection
		want []int64
		err  string
	}{
		{Selection{}, []int64{5, 1, 2, 3}, ""},
		{Selection{Window: "2026-11-28"}, []int64{1, 2}, ""},
		{Selection{Window: "yesterday", Domain: "Shop.example"}, []int64{2}, ""},
		{Selection{Window: "today"}, []int64{5}, ""}, // begins at 6 o'clock
		{Selection{State: "done"}, []int64{1, 3}, ""},
		{Selection{Window: "28.11.2026"}, nil, `is not a day; write one such as 2026-11-29, today or yesterday`},
		{Selection{Window: "1969-01-01"}, nil, "is not a day"},
		{Selection{State: "sent"}, nil, "is not a state; write open, due, claimed or done"},
		{Selection{Domain: "a..b"}, nil, "is not a domain"},
	} {
		l, err := ListReports(t.Context(), newMemory(), tt.sel, noon)
		if tt.err != "" {
			if !errors.Is(err, ErrUse) || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: %v", tt.sel, err)
			}
			continue
		}
		var got []int64
		for _, r := range l.Reports {
			got = append(got, r.Job)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v %v, want %v", tt.sel, got, err, tt.want)
		}
	}
	crowded := newMemory()
	crowded.excess = []report.Excess{{Window: report.Window{Begin: midnight.Unix(), End: midnight.Unix() + 86399}, Owner: "evil.example", Messages: 7},
		{Window: report.Window{Begin: midnight.Unix() - 86400, End: midnight.Unix() - 1}, Messages: 3}}
	for _, tt := range []struct {
		sel  Selection
		want int
	}{{Selection{}, 2}, {Selection{Window: "yesterday"}, 1}, {Selection{Window: "today"}, 0}, {Selection{Domain: "shop.example"}, 0}} {
		if l, err := ListReports(t.Context(), crowded, tt.sel, noon); err != nil || len(l.Excess) != tt.want {
			t.Errorf("%+v: %+v, %v", tt.sel, l, err)
		}
	}
	listed, err := ListReports(t.Context(), crowded, Selection{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	has(t, text(t, listed), "2026-11-28: 7 messages are in no report, because there are reports on too many names below evil.example.",
		"2026-11-27: 3 messages are in no report, because there are reports on too many domains.")
	l, err := ListReports(t.Context(), newMemory(), Selection{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	has(t, text(t, l), "2026-11-29 06:00-12:00  shop.example  2     3         open   can be sent at 2026-11-29 13:00 UTC",
		"2026-11-28              bank.example  10    100       sent   to 1 destination; 4 messages missing", "due    2 attempts, the next at 2026-11-29 02:00 UTC")
	has(t, text(t, l), "!There are more than")
	has(t, text(t, &List{Reports: []Report{}}), "No report.")
	many := newMemory()
	many.jobs = slices.Repeat(many.jobs, maxListed)
	if l, err = ListReports(t.Context(), many, Selection{}, noon); err != nil || len(l.Reports) != maxListed || !l.More {
		t.Errorf("%d reports are listed, more is %t, %v", len(l.Reports), l.More, err)
	}
	has(t, text(t, l), fmt.Sprintf("There are more than %d.", maxListed))
}

func TestShow(t *testing.T) {
	o, s := newOffice()
	show := func(what string, sel Selection) string {
		t.Helper()
		shown, err := o.Show(t.Context(), what, sel)
		if err != nil {
			t.Fatal(err)
		}
		return text(t, shown)
	}
	has(t, show("shop.example", Selection{}), "shop.example, 2026-11-29 06:00-12:00 UTC: 2 rows of 3 messages", "open, can be sent at 2026-11-29 13:00 UTC",
		"p=reject sp=reject np=reject adkim=relaxed aspf=relaxed t=y, found by treewalk", "If the report were due now, it would go to rua@shop.example.",
		"ok     not_established  established: it passed DMARC on 3 days, the first 2026-11-20", "unusable         http://x", "not a mailto URI", "Record now:", "\nRules, in the order in which they are checked:\n")
	m := o.Store.(*memory)
	m.deliveries = append(m.deliveries, report.Delivery{Job: 2, Address: "a@shop.example", Word: report.Waiting, NextTry: noon},
		report.Delivery{Job: 2, Address: "b@shop.example", Word: report.Waiting}, report.Delivery{Job: 2, Address: "c@shop.example", Word: report.Sent, NextTry: noon})
	has(t, show("shop.example", Selection{Window: "2026-11-28"}), "4 rows of 5 messages", "a@shop.example, next try at 2026-11-29 12:00 UTC\n", "b@shop.example\n", "c@shop.example\n")
	has(t, show("20261128.k7q2.bank.example@dmarc.isp.example", Selection{}), "The report was sent: to 1 destination.", "sent, came back rua@bank.example at 2026-11-29 03:00 UTC",
		"10 are about reports", "1 had a mark", "2 belong to an earlier", "4 more are not in the rows", "!Rules")
	o.Sending = false
	has(t, show("shop.example", Selection{}), "Nothing is sent, because report.aggregate.send is false. If it were true, it would go to rua@shop.example.",
		"STOPS  off              report.aggregate.send is false")
	s.decision.Word, s.decision.Reason = report.WithheldNotEstablished, "the first pass was on 2026-11-27"
	has(t, show("shop.example", Selection{}), "If it were true, it would be withheld (not_established): the first pass was on 2026-11-27.")
	o.Sending, s.decision.Word, s.decision.Reason = true, report.Waiting, "timeout"
	has(t, show("shop.example", Selection{}), "decided later, because of a temporary failure: timeout")
	for _, what := range []string{"none.example", "x@dmarc.isp.example"} {
		if _, err := o.Show(t.Context(), what, Selection{}); err == nil || errors.Is(err, ErrUse) {
			t.Errorf("%s: %v", what, err)
		}
	}
	has(t, show("shop.example", Selection{Window: "2026-11-27"}), "The report was withheld (loop): ")
	m.jobs[3].Outcome, m.jobs[3].Reason = report.Failed, ""
	has(t, show("shop.example", Selection{Window: "2026-11-27"}), "The report could not be sent.\n")
	m.jobs = append(m.jobs[3:], m.jobs[3])
	if got := show("shop.example", Selection{}); strings.HasPrefix(got, "\n") || strings.Count(got, "\n\nshop.example, ") != 1 {
		t.Errorf("two reports: %q", got)
	}
}

func TestWrite(t *testing.T) {
	o, s := newOffice()
	var b strings.Builder
	if err := o.WriteXML(t.Context(), &b, "bank.example", Selection{}); err != nil || b.String() != "<feedback>1</feedback>\n" {
		t.Errorf("%q %v", &b, err)
	}
	for _, tt := range []struct{ what, want string }{
		{"bank.example", "To: rua@bank.example (1)\n"}, {"shop.example", "To: rua@shop.example (5)\n"},
	} {
		b.Reset()
		if err := o.WriteMail(t.Context(), &b, tt.what, Selection{}, "us@isp.example"); err != nil || b.String() != tt.want {
			t.Errorf("%q %v, want %q", &b, err, tt.want)
		}
	}
	s.decision.Destinations = nil
	b.Reset()
	if err := o.WriteMail(t.Context(), &b, "shop.example", Selection{}, "us@isp.example"); err != nil || b.String() != "To: us@isp.example (5)\n" {
		t.Errorf("%q %v", &b, err)
	}
	b.Reset()
	if err := errors.Join(o.WriteXML(t.Context(), &b, "none.example", Selection{}), o.WriteMail(t.Context(), &b, "none.example", Selection{}, "us@isp.example")); err == nil || b.Len() > 0 {
		t.Errorf("of no report: %q %v", &b, err)
	}
	m := o.Store.(*memory)
	m.jobs = append(m.jobs, m.jobs[0])
	if err := o.WriteXML(t.Context(), io.Discard, "shop.example", Selection{}); !errors.Is(err, ErrSeveral) {
		t.Errorf("of two reports: %v", err)
	}
}

func TestSuppress(t *testing.T) {
	m := newMemory()
	if err := Suppress(t.Context(), m, "RUA@Old.example", time.Hour, "asked by phone", noon); err != nil {
		t.Fatal(err)
	}
	if s := m.suppressions["rua@old.example"]; s.By != report.ByOperator || s.Strikes != 1 || !s.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", s)
	}
	l, err := ListSuppressions(t.Context(), m, noon)
	if err != nil {
		t.Fatal(err)
	}
	has(t, text(t, l), "rua@old.example  2026-11-29 13:00 UTC  1        operator  asked by phone", "one@b.example    no ")
	if l, err = ListSuppressions(t.Context(), m, noon.Add(2*time.Hour)); err != nil || l.Suppressions[1].Active {
		t.Errorf("%+v %v", l, err)
	}
	has(t, text(t, l), "over since 2026-11-29 13:00 UTC")
	for _, target := range []string{"old.example", "@", "a b@old.example", "a@b@c.example", "<a@b.example>", "a@-"} {
		if err := Suppress(t.Context(), m, target, time.Hour, "", noon); !errors.Is(err, ErrUse) {
			t.Errorf("%q: %v", target, err)
		}
	}
	for _, d := range []time.Duration{0, -1, longestSuppression + 1} {
		if err := Suppress(t.Context(), m, "a@b.example", d, "", noon); !errors.Is(err, ErrUse) {
			t.Errorf("for %v: %v", d, err)
		}
	}
	if err := Suppress(t.Context(), m, "a@b.example", 1, "a\nb", noon); !errors.Is(err, ErrUse) {
		t.Errorf("a reason of two lines: %v", err)
	}
	if err := Suppress(t.Context(), m, "@B.example", time.Hour, "", noon); err != nil || m.suppressions["@b.example"].Target == "" {
		t.Errorf("a domain: %v", err)
	}
	if err := Unsuppress(t.Context(), m, "@b.EXAMPLE"); err != nil || m.suppressions["@b.example"].Target != "" {
		t.Errorf("not lifted: %v", err)
	}
	if err := Unsuppress(t.Context(), m, "@b.example"); err == nil || !strings.Contains(err.Error(), "is not suppressed") {
		t.Errorf("lifted twice: %v", err)
	}
	has(t, text(t, &Suppressions{Suppressions: []Suppression{}}), "No destination is suppressed.")
}

// mta answers one connection with a greeting and an answer to EHLO.
func mta(t *testing.T, greeting, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, greeting)
		if answer == "" {
			return
		}
		if line, _ := bufio.NewReader(conn).ReadString('\n'); strings.HasPrefix(line, "EHLO dmarc.isp.example") {
			fmt.Fprint(conn, answer)
		}
	}()
	return l.Addr().String()
}

func TestCheckMail(t *testing.T) {
	const records = "dmarc.isp.example TXT \"v=spf1 ip4:192.0.2.25 -all\"\n_dmarc.dmarc.isp.example TXT \"v=DMARC1; p=reject\"\ndmarc.isp.example MX 10 mx.isp.example.\n" +
		"smart.example A 192.0.2.25\n"
	const greeting, plainly = "220 mx ESMTP\r\n", "250-mx\r\n250-PIPELINING\r\n250 DSN\r\n"
	host := func(ips ...string) func() ([]net.Addr, error) {
		return func() (out []net.Addr, _ error) {
			for _, ip := range ips {
				out = append(out, &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(24, 32)})
			}
			return out, nil
		}
	}
	for _, tt := range []struct {
		name, zone, server string
		change             func(*CheckOptions)
		passed             bool
		want               []string
	}{
		{"all is well", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Interfaces = host("127.0.0.1", "10.1.2.3", "192.0.2.25") }, true,
			[]string{"ok       server   the mail server ", "offers DSN, PIPELINING", "SPF passes for 192.0.2.25", "Mail from dmarc.isp.example would pass DMARC.", "!10.1.2.3"}},
		{"addresses by hand", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Identity.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.26")} }, false,
			[]string{"FAULT    spf      SPF does not pass for 192.0.2.26", "-> add ip4:192.0.2.26", "would NOT pass DMARC"}},
		{"no address of others", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Interfaces = host("10.1.2.3") }, false, []string{"is not known"}},
		{"no server", records, "127.0.0.1:1", func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false,
			[]string{"FAULT    server   the mail server 127.0.0.1:1 does not answer", "would pass DMARC"}},
		{"a server that refuses", records, mta(t, "554 go \x1b[2J away\r\n", ""), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false, []string{"it said"}},
		{"a server that hangs up", records, mta(t, "220-mx\r\n", ""), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false, []string{"in the middle of a reply"}},
		{"a server that refuses EHLO", records, mta(t, greeting, "502 no\r\n"), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false, []string{"it said 502 no"}},
		{"no STARTTLS", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.TLS, o.Interfaces = "required", host("192.0.2.25") }, false, []string{"does not offer STARTTLS"}},
		{"STARTTLS", records, mta(t, greeting, "250-mx\r\n250 starttls\r\n"), func(o *CheckOptions) { o.TLS, o.Login, o.Interfaces = "required", true, host("192.0.2.25") }, true,
			[]string{"offers STARTTLS"}},
		{"no login", records, mta(t, greeting, plainly), func(o *CheckOptions) { o.Login, o.Interfaces = true, host("192.0.2.25") }, false, []string{"offers no login"}},
		{"no DNS", "! dmarc.isp.example * timeout\n! _dmarc.dmarc.isp.example * timeout\n", mta(t, greeting, plainly), func(o *CheckOptions) { o.Interfaces = host("192.0.2.25") }, false,
			[]string{"may or may not pass DMARC"}},
		{"a smarthost", records, "smart.example:1", func(o *CheckOptions) { o.Server = "smart.example:x" }, false, []string{"SPF passes for 192.0.2.25"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			z, err := zone.Parse(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			o := CheckOptions{Identity: identity.Options{Domain: "dmarc.isp.example", Bounce: "dmarc-bounce"}, Server: tt.server, TLS: "opportunistic", Resolver: z, Interfaces: host()}
			tt.change(&o)
			c := CheckMail(t.Context(), o)
			if c.Passed() != tt.passed {
				t.Errorf("passed is %t", c.Passed())
			}
			has(t, text(t, c), tt.want...)
		})
	}
}
