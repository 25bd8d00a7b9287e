package replay

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/explain"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/received"
	"sekimori/internal/testkit/daemon"
	"sekimori/internal/testkit/mta"
	"sekimori/internal/testkit/nameserver"
)

const sameZone = `
bank.example         TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.bank.example  TXT "v=DMARC1; p=reject"
_dmarc.shop.example  TXT "v=DMARC1; p=quarantine"
_dmarc.hobby.example TXT "v=DMARC1; p=none"
! _dmarc.silent.bank.example * servfail
`

// sameRow is a test case: one message, and the configuration for the decision on it.
type sameRow struct {
	name   string
	change func(*config.Config)
	client string   // the client's address; "" means 203.0.113.1
	login  string   // the user name if the client logged in, otherwise ""
	to     []string // the recipients; if nil, there is one recipient
	raw    string
	want   string // the expected verdict, the action that is applied, and the reason
	edits  string // a text that must be in one of the edits; if "", there must be no edits
}

// sameRows returns the test cases of TestSameDecision. They cover the different ways in which the
// daemon can decide on a message.
func sameRows(t *testing.T) []sameRow {
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	from := func(domain string) string { return "From: a@" + domain + "\nSubject: s\n\nx\n" }
	const forged = "Authentication-Results: mx.here.example; dmarc=pass\nReceived-SPF: pass receiver=other.example\n" +
		"Authentication-Results: other.example; dmarc=pass\nX-Sekimori-Verdict: pass\n"
	many := strings.Repeat("X: y\n", 20)
	monitor := func(c *config.Config) { c.Mode = "monitor" }
	small := func(c *config.Config) { c.Limits.HeaderFields = 10 }
	relay := func(c *config.Config) {
		c.Trusted.Relays = []config.Relay{{Network: network(t, "192.0.2.7"), By: []config.Pattern{"mx2.here.example"}}}
	}
	behind := func(client string) string {
		return "Received: from h.example (unknown [" + client + "])\n\tby mx2.here.example (Postfix) with ESMTP id F\n"
	}
	optedOut := func(c *config.Config) {
		c.Policy.Recipients.Default, c.Policy.Recipients.File = "in", file("opted-out", "ann@here.example\n")
	}
	shadow := file("shadow.yaml", "mode: enforce\npolicy: {reject: quarantine}\n")
	return []sameRow{
		{name: "plain", client: "192.0.2.1", raw: from("bank.example"), want: "accept accept dmarc_pass", edits: "dmarc=pass"},
		{name: "plain, with forged fields", client: "192.0.2.1", raw: forged + from("bank.example"), want: "accept accept dmarc_pass",
			edits: "delete authentication-results 1\ndelete x-sekimori-verdict 1\ninsert Authentication-Results"},
		{name: "refused", raw: forged + from("bank.example"), want: "reject reject dmarc_reject"},
		{name: "held", raw: forged + from("shop.example"), want: "quarantine quarantine dmarc_quarantine", edits: "quarantine"},
		{name: "all fields that can be written", change: func(c *config.Config) {
			c.Headers.Verdict, c.Headers.Subject, c.Headers.ReceivedSPF = true, "[SPOOF?]", true
		}, raw: from("hobby.example"), want: "tag tag dmarc_policy_none", edits: "change Subject 1 [SPOOF?] s\ninsert Received-SPF"},
		{name: "trusted network", client: "127.0.0.1", raw: forged + from("bank.example"), want: "skip skip trusted_network"},
		{name: "trusted network, over a limit", change: small, client: "127.0.0.1", raw: forged + many + from("bank.example"), want: "skip skip trusted_network"},
		{name: "SMTP AUTH", login: "ann", raw: forged + from("bank.example"), want: "skip skip authenticated",
			edits: "delete authentication-results 1\ndelete x-sekimori-verdict 1"},
		{name: "relay", change: relay, client: "192.0.2.7", raw: behind("192.0.2.1") + from("bank.example"), want: "accept accept dmarc_pass", edits: "dmarc=pass"},
		{name: "relay, a spoofer", change: relay, client: "192.0.2.7", raw: behind("203.0.113.9") + behind("192.0.2.1") + from("bank.example"),
			want: "reject reject dmarc_reject"},
		{name: "relay, unreadable", change: relay, client: "192.0.2.7", raw: "Received: x\n" + behind("192.0.2.1") + from("bank.example"),
			want: "quarantine quarantine dmarc_indirect", edits: "client_unknown"},
		{name: "relay, private", change: relay, client: "192.0.2.7", raw: behind("10.0.0.1") + from("bank.example"),
			want: "quarantine quarantine dmarc_indirect", edits: "client_unknown"},
		{name: "relay, SMTP AUTH", change: relay, client: "192.0.2.7", login: "mx2", raw: behind("203.0.113.9") + from("bank.example"),
			want: "reject reject dmarc_reject"},
		{name: "relay, over a limit, monitor", change: func(c *config.Config) { relay(c); small(c); monitor(c) }, client: "192.0.2.7",
			raw: behind("192.0.2.1") + forged + many + from("bank.example"), want: "reject tag oversize", edits: "not evaluated: too large"},
		{name: "SMTP AUTH, over a limit", change: small, login: "ann", raw: forged + many + from("bank.example"), want: "reject reject oversize"},
		{name: "over a limit", change: small, raw: forged + many + from("bank.example"), want: "reject reject oversize"},
		{name: "over a limit, monitor", change: func(c *config.Config) { small(c); monitor(c) }, raw: forged + many + from("bank.example"),
			want: "reject tag oversize", edits: "not evaluated: too large"},
		{name: "opted out", change: optedOut, to: []string{"<ann@here.example>"}, raw: from("bank.example"),
			want: "tag tag dmarc_reject", edits: "opted out, would reject"},
		{name: "consented", change: optedOut, to: []string{"<bob@here.example>"}, raw: from("bank.example"), want: "reject reject dmarc_reject"},
		{name: "mixed", change: optedOut, to: []string{"<bob@here.example>", "<ann@here.example>"}, raw: from("bank.example"),
			want: "tag tag dmarc_reject", edits: "mixed recipients"},
		{name: "shadow", change: func(c *config.Config) { c.Shadow = shadow }, raw: from("bank.example"), want: "reject reject dmarc_reject"},
		{name: "ramp", change: func(c *config.Config) { c.Policy.Ramp.Percent = 0 }, raw: from("bank.example"),
			want: "quarantine quarantine ramp", edits: "quarantine"},
		{name: "rule", change: func(c *config.Config) {
			c.Policy.Overrides = []config.Override{{
				ID: "r1", Owner: "o", Reason: "why", Expires: config.Date{Time: time.Now().AddDate(0, 1, 0)},
				When: config.When{Client: []config.Network{network(t, "203.0.113.0/24")}}, Then: config.Then{Action: "accept"},
			}}
		}, raw: from("bank.example"), want: "accept accept rule", edits: "rule r1"},
		{name: "monitor", change: monitor, raw: from("bank.example"), want: "reject tag dmarc_reject", edits: "monitor, would reject"},
		{name: "temperror", raw: from("silent.bank.example"), want: "tempfail tempfail temperror"},
		{name: "temperror, accepted", change: func(c *config.Config) { c.Policy.TempError = "accept" }, raw: from("silent.bank.example"),
			want: "tag tag temperror", edits: "not decided: policy servfail"},
		{name: "From without author", raw: "From: nobody\nSubject: s\n\nx\n", want: "reject reject invalid_from"},
	}
}

func network(t *testing.T, s string) (n config.Network) {
	t.Helper()
	if err := n.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSameDecision checks that the daemon, explain and replay make the same decision on a message
// and the same edits. The decision of the daemon is read from its log.
func TestSameDecision(t *testing.T) {
	z := nameserver.Zone(t, sameZone)
	for _, row := range sameRows(t) {
		t.Run(row.name, func(t *testing.T) {
			if row.client == "" {
				row.client = "203.0.113.1"
			}
			if row.to == nil {
				row.to = []string{"<r@here.example>"}
			}
			cfg := daemon.Config(nameserver.ServeZone(t, z, nameserver.Options{}).Addr())
			cfg.Mode, cfg.AuthservID = "enforce", "mx.here.example"
			if row.change != nil {
				row.change(cfg)
			}
			verdict, edits := row.daemon(t, cfg)
			if verdict != row.want || !strings.Contains(edits, row.edits) || row.edits == "" && edits != "" {
				t.Errorf("the daemon: %s, want %s\n%s", verdict, row.want, edits)
			}
			explained := row.explained(t, cfg, z)
			decisions := map[string]judge.Decision{"explain": explained}
			if len(row.to) == 1 { // a Received field cannot name several recipients
				decisions["replay"] = row.replayed(t, cfg, z)
			}
			for name, d := range decisions {
				if got := said(&d.Verdict); got != verdict {
					t.Errorf("%s: %s, the daemon: %s", name, got, verdict)
				}
				if got := listed(d.Edits); got != edits {
					t.Errorf("%s writes\n%s\nthe daemon writes\n%s", name, got, edits)
				}
				// The Decision of explain has only the facts that explain shows. Therefore it is
				// checked for replay only that exactly one of these three is set.
				if kinds := b(d.Skipped != "") + b(d.Oversize != "") + b(d.Evaluation != nil); name == "replay" && kinds != 1 {
					t.Errorf("%s: %d kinds of facts", name, kinds)
				}
				if got := d.Shadow != nil; got != (cfg.Shadow != "") || got && d.Shadow.Candidate.Action != policy.Quarantine {
					t.Errorf("%s: shadow %+v", name, d.Shadow)
				}
			}
		})
	}
}

func b(is bool) int {
	if is {
		return 1
	}
	return 0
}

func said(v *policy.Verdict) string {
	return fmt.Sprintf("%s %s %s", v.Action, v.Applied, v.Reason)
}

// daemon sends the message to a running daemon. It returns the decision in the log, and the edits
// that the milter asked for.
func (r sameRow) daemon(t *testing.T, cfg *config.Config) (verdict, edits string) {
	t.Helper()
	d := daemon.Start(t, cfg)
	c, err := mta.Dial("tcp", d.Addr, mta.Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(r.client), 2525), HELO: "h.example"})
	if err != nil {
		t.Fatal(err)
	}
	if r.login != "" {
		c.SetMacro("{auth_authen}", r.login)
	}
	res, err := c.SendMessage(client.Envelope{From: "<a@bank.example>", To: r.to, QueueID: "Q1"}, []byte(strings.ReplaceAll(r.raw, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
	d.Stop()
	records := append(d.Log.Records(t, "evaluated"), d.Log.Records(t, "not evaluated")...)
	if len(records) != 1 {
		t.Fatalf("%d records of the message:\n%s", len(records), d.Log.String())
	}
	var list []label.Edit
	for _, m := range res.Modifications {
		list = append(list, edit(m))
	}
	return fmt.Sprintf("%v %v %v", records[0]["verdict"], records[0]["applied"], records[0]["reason"]), listed(list)
}

// edit converts a modification of the milter to a label.Edit.
func edit(m client.Modification) label.Edit {
	kinds := map[client.ModificationKind]label.Kind{
		client.InsertHeader: label.Insert, client.DeleteHeader: label.Delete, client.ChangeHeader: label.Change, client.Quarantine: label.Quarantine,
	}
	return label.Edit{Kind: kinds[m.Kind], Name: m.Name, Index: m.Index, Value: m.Value}
}

var explanationID = regexp.MustCompile(`(quarantine .*) \S+$`)

// listed returns a line for each edit, in a form that is the same for the daemon, explain and
// replay. White space is joined, and the identifier at the end of a quarantine reason is removed. A
// DeleteMany becomes one deletion for each field. Deletions are in lower case and sorted. The order
// is: changes, deletions, insertions, quarantine.
func listed(edits []label.Edit) string {
	var changes, deletes, inserts, last []string
	line := func(e label.Edit) string {
		return strings.Join(strings.Fields(fmt.Sprintf("%s %s %d %s", e.Kind, e.Name, e.Index, e.Value)), " ")
	}
	for _, e := range edits {
		switch e.Kind {
		case label.Change:
			changes = append(changes, line(e))
		case label.Delete:
			deletes = append(deletes, strings.ToLower(line(e)))
		case label.Quarantine:
			last = append(last, explanationID.ReplaceAllString(line(e), "$1"))
		case label.DeleteMany:
			for i := e.Index; i > 0; i-- {
				if e.Kept.Goes(i) {
					deletes = append(deletes, strings.ToLower(line(label.Edit{Kind: label.Delete, Name: e.Name, Index: i})))
				}
			}
		default:
			inserts = append(inserts, line(e))
		}
	}
	slices.Sort(deletes)
	return strings.Join(slices.Concat(changes, deletes, inserts, last), "\n")
}

func (r sameRow) explained(t *testing.T, cfg *config.Config, z dns.Resolver) judge.Decision {
	t.Helper()
	trace := dns.NewTrace(z)
	j, end, err := app.NewJudge(cfg, trace)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	stored := explain.Stored{
		Message: []byte(r.raw), Client: netip.MustParseAddr(r.client), HELO: "h.example", MailFrom: new("<a@bank.example>"),
		Recipients: r.to, Login: r.login,
	}
	x, err := stored.Judge(t.Context(), j, trace)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range x.Edits {
		if e.Name == authres.FieldName && e.Kind == label.Insert && x.Evaluation != nil && e.Value != x.AuthenticationResults {
			t.Errorf("explain shows %q and would write %q", x.AuthenticationResults, e.Value)
		}
	}
	return judge.Decision{Evaluation: x.Evaluation, Verdict: x.Verdict, Shadow: x.Shadow, Edits: x.Edits}
}

func (r sameRow) replayed(t *testing.T, cfg *config.Config, z dns.Resolver) judge.Decision {
	t.Helper()
	with := "ESMTP"
	if r.login != "" {
		with = "ESMTPA"
	}
	mbox := fmt.Sprintf("From a@bank.example Thu Jan  2 00:00:00 2020\nReturn-Path: <a@bank.example>\n"+
		"Received: from h.example (unknown [%s])\n\tby mx.here.example (Postfix) with %s id Q1\n\tfor %s; %s\n%s\n",
		r.client, with, r.to[0], time.Now().Format(time.RFC1123Z), r.raw)
	source, err := Open(write(t, "box", mbox))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	o := Options{Source: source, Origin: received.Origin{TrustedHosts: []dns.Name{"mx.here.example"}}, Config: cfg, Resolver: z}
	j, end, err := app.NewJudge(cfg, z)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	run := &runner{o: o, judges: []*judge.Judge{j}, trusted: cfg.Trusted.Contains}
	m, err := source.Next()
	if err != nil {
		t.Fatal(err)
	}
	result, text := make(chan outcome, 1), newFeed(newPool(2))
	text.fill(t.Context(), m.lines)
	run.message(t.Context(), job{message: m, text: text, result: result}, bufio.NewReaderSize(nil, lineBuffer))
	out := <-result
	if out.err != nil {
		t.Fatal(out.err)
	}
	return out.live
}
