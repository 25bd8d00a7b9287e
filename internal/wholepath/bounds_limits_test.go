package wholepath

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/mailaddr"
	"sekimori/internal/mailaddr/author"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/nameserver"
)

func TestBoundResults(t *testing.T) {
	read := func(f authres.Field) authres.Field {
		t.Helper()
		f.AuthServID = stationID
		got, err := authres.Parse(f.Format())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for n, want := range map[int]int{100: 100, 101: 100} {
		f := authres.Field{}
		for range n {
			f.Results = append(f.Results, authres.Result{Method: "dkim", Value: "pass"})
		}
		if got := len(read(f).Results); got != want {
			t.Errorf("%d results: %d left", n, got)
		}
	}
	result := authres.Result{Method: "dkim", Value: "pass"}
	for n, want := range map[int]int{32: 32, 33: 32} {
		r := result
		for i := range n {
			r.Properties = append(r.Properties, authres.Property{Type: authres.PTypeHeader, Name: fmt.Sprintf("p%d", i), Value: "v"})
		}
		if got := len(read(authres.Field{Results: []authres.Result{r}}).Results[0].Properties); got != want {
			t.Errorf("%d properties: %d left", n, got)
		}
	}
	for n, cut := range map[int]bool{255: false, 256: true} {
		r := result
		r.Reason = strings.Repeat("x", n)
		if got := read(authres.Field{Results: []authres.Result{r}}).Results[0].Reason; strings.HasSuffix(got, "...") != cut || len(got) != 255 {
			t.Errorf("a value of %d: %d left", n, len(got))
		}
	}
	for n, want := range map[int]int{40: 40, 41: 40} {
		if got := read(authres.Field{Results: []authres.Result{{Method: strings.Repeat("x", n), Value: "pass"}}}).Results[0].Method; len(got) != want {
			t.Errorf("a keyword of %d: %d left", n, len(got))
		}
	}
}

func TestBoundConfig(t *testing.T) {
	for _, tc := range []struct {
		why, at, beyond string
	}{
		{"authserv-id", "authserv_id: " + strings.Repeat("a.", 100) + strings.Repeat("b", 55), "authserv_id: " + strings.Repeat("a.", 100) + strings.Repeat("b", 56)},
		{"failure TTL", "dns: {cache: {failure_ttl: 5m}}", "dns: {cache: {failure_ttl: 5m1s}}"},
		{"message budget", "dns: {message_budget: 4m}", "dns: {message_budget: 4m1s}"},
		{"signatures", "dkim: {max_signatures: 50}", "dkim: {max_signatures: 51}"},
		{"unix path", "listen: ['unix:/" + strings.Repeat("a", 106) + "']", "listen: ['unix:/" + strings.Repeat("a", 107) + "']"},
	} {
		if _, err := config.Parse("x.yaml", []byte(tc.at+"\n")); err != nil {
			t.Errorf("%s at the limit: %v", tc.why, err)
		}
		if _, err := config.Parse("x.yaml", []byte(tc.beyond+"\n")); err == nil {
			t.Errorf("%s beyond the limit is taken", tc.why)
		}
	}
	// Both configurations are refused, but only the one with 101 brackets is refused for its
	// nesting, before it is parsed.
	for n, nested := range map[int]bool{100: false, 101: true} {
		_, err := config.Parse("x.yaml", []byte("listen: "+strings.Repeat("[", n)+strings.Repeat("]", n)+"\n"))
		if err == nil || strings.Contains(err.Error(), "nest") != nested {
			t.Errorf("%d brackets: %v", n, err)
		}
	}
}

// TestBoundWalks evaluates eleven identifiers (one more than DefaultMaxWalks). All are subdomains
// of the author's organization, and each needs a tree walk of its own. Only the last one gets an
// error.
func TestBoundWalks(t *testing.T) {
	z := nameserver.Zone(t, `_dmarc.shop.example TXT "v=DMARC1; p=reject"`)
	d := dmarc.Discover(t.Context(), z, "mail.shop.example", dmarc.Options{})
	var ids []dmarc.Identifier
	for i := range dmarc.DefaultMaxWalks + 1 {
		ids = append(ids, dmarc.Identifier{Mechanism: dmarc.DKIM, Domain: dns.Name(fmt.Sprintf("d%d.shop.example", i)), State: dmarc.StatePass})
	}
	got := d.Evaluate(t.Context(), z, ids).Alignments
	for i, a := range got {
		if over := i == dmarc.DefaultMaxWalks; len(got) != len(ids) || (a.Error != nil) != over || a.Aligned == over {
			t.Errorf("%d of %d: %+v", i, len(got), a)
		}
	}
}

func TestBoundPolicyRecord(t *testing.T) {
	fill := func(n int) string {
		s := "v=DMARC1; p=reject; zz="
		return s + strings.Repeat("x", n-len(s))
	}
	if _, err := dmarc.ParseRecord(fill(dmarc.MaxRecordLen)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := dmarc.ParseRecord(fill(dmarc.MaxRecordLen + 1)); err == nil {
		t.Error("beyond the limit")
	}
}

func TestBoundNames(t *testing.T) {
	label := strings.Repeat("a", dns.MaxLabelLen)
	name := strings.Repeat(label+".", 3) + strings.Repeat("b", dns.MaxNameLen-3*(dns.MaxLabelLen+1))
	for s, ok := range map[string]bool{label + ".example": true, "a" + label + ".example": false, name: true, name + "b": false} {
		if _, err := dns.ParseName(s); (err == nil) != ok {
			t.Errorf("%d octets: %v", len(s), err)
		}
	}
}

func TestBoundFrom(t *testing.T) {
	for n, ok := range map[int]bool{author.MaxCommentDepth: true, author.MaxCommentDepth + 1: false} {
		value := " " + strings.Repeat("(", n) + strings.Repeat(")", n) + " a@b.example"
		if _, err := author.Parse([]string{value}); (err == nil) != ok {
			t.Errorf("%d comments: %v", n, err)
		}
	}
	for n, ok := range map[int]bool{mailaddr.MaxPathLen: true, mailaddr.MaxPathLen + 1: false} {
		path := "<" + strings.Repeat("a", n-len("<@b.example>")) + "@b.example>"
		if _, err := mailaddr.ParsePath(path); (err == nil) != ok {
			t.Errorf("a path of %d: %v", n, err)
		}
	}
}

func checkSPF(t *testing.T, zoneText, sender string) (spf.Check, []string) {
	t.Helper()
	z := nameserver.Zone(t, zoneText)
	c := spf.CheckMailFrom(t.Context(), z, spf.Args{IP: netip.MustParseAddr("192.0.2.1"), HELO: "h.example", MailFrom: sender, Now: today})
	return c, z.Queries()
}

func TestBoundSPF(t *testing.T) {
	lookups := func(n int) string {
		zoneText := `d.example TXT "v=spf1`
		for i := range n {
			zoneText += fmt.Sprintf(" a:h%d.example", i)
		}
		zoneText += " +all\"\n"
		for i := range n {
			zoneText += fmt.Sprintf("h%d.example A 203.0.113.1\n", i)
		}
		return zoneText
	}
	voids := func(n int) string {
		return `d.example TXT "v=spf1` + strings.Repeat(" a:void.example", n) + ` +all"`
	}
	record := func(n int) string {
		zoneText, text := "d.example TXT", "v=spf1 +all"+strings.Repeat(" ", n-len("v=spf1 +all"))
		for ; text != ""; text = text[min(255, len(text)):] {
			zoneText += ` "` + text[:min(255, len(text))] + `"`
		}
		return zoneText
	}
	for _, tc := range []struct {
		why, at, beyond string
		reason          spf.Reason
	}{
		{"lookups", lookups(spf.MaxLookups), lookups(spf.MaxLookups + 1), "lookup-limit"},
		{"void lookups", voids(spf.MaxVoidLookups), voids(spf.MaxVoidLookups + 1), "void-limit"},
		{"record", record(spf.MaxRecordLen), record(spf.MaxRecordLen + 1), spf.ReasonRecordTooLong},
	} {
		if c, _ := checkSPF(t, tc.at, "a@d.example"); c.Result != spf.Pass {
			t.Errorf("%s at the limit: %s %s", tc.why, c.Result, c.Problem)
		}
		if c, _ := checkSPF(t, tc.beyond, "a@d.example"); c.Result != spf.PermError || c.Reason != tc.reason {
			t.Errorf("%s beyond the limit: %s %s", tc.why, c.Result, c.Reason)
		}
	}
}

// TestBoundMacros expands macros at a limit and beyond it. At the limit, the daemon looks up a name
// made of the last labels of the expansion. Beyond the limit, the expansion is not a valid name, so
// the daemon asks no question for it.
func TestBoundMacros(t *testing.T) {
	long := strings.Repeat("ab.", 341) + "c" // 1,024 octets, the value of maxMacroValue
	for _, tc := range []struct {
		why, spec, local string
		asks             bool
	}{
		{"macros", strings.Repeat("%{i1}.", 128) + "d.example", "a", true},
		{"one macro more", strings.Repeat("%{i1}.", 129) + "d.example", "a", false},
		{"a long value", "%{l1}.d.example", long, true},
		{"a longer value", "%{l1}.d.example", "b" + long, false},
		{"the whole", strings.Repeat("%{l}", 15) + strings.Repeat("x.", 507) + "d.example"[:9], long, true},
		{"one octet more", strings.Repeat("%{l}", 15) + strings.Repeat("x.", 508) + "d.example"[:9], long, false},
		{"a number that stops growing", "%{i65536}.d.example", "a", true},
		{"a larger number is the same", "%{i99999999999999999999}.d.example", "a", true},
	} {
		zoneText := "d.example TXT"
		for text := "v=spf1 exists:" + tc.spec + " -all"; text != ""; text = text[min(255, len(text)):] {
			zoneText += ` "` + text[:min(255, len(text))] + `"`
		}
		_, queries := checkSPF(t, zoneText, tc.local+"@d.example")
		if asked := len(queries) > 1; asked != tc.asks {
			t.Errorf("%s: asked %v", tc.why, queries)
		}
	}
}

// TestBoundMessage sends messages exactly at the limits of one message, and one unit beyond each
// limit.
func TestBoundMessage(t *testing.T) {
	s := newStation(policy.Monitor)
	field := func(n int) string { return "X: " + strings.Repeat("x", n-len("X ")) + "\r\n" }
	const from = "From: a@b.example\r\n" // counts as 4 octets of name and 12 octets of value (including the space)
	for _, tc := range []struct {
		why    string
		fields string
		rcpts  []string
		over   string
	}{
		{"2,000 fields", from + strings.Repeat("X: y\r\n", milter.DefaultMaxHeaderFields-1), nil, ""},
		{"2,001 fields", from + strings.Repeat("X: y\r\n", milter.DefaultMaxHeaderFields), nil, "header_fields"},
		{"a field of 256 KiB", from + field(milter.DefaultMaxFieldBytes), nil, ""},
		{"one octet more", from + field(milter.DefaultMaxFieldBytes+1), nil, "field"},
		{"a header of 1 MiB", from + strings.Repeat(field(1<<18), 3) + field(1<<18-16), nil, ""},
		{"one octet more of it", from + strings.Repeat(field(1<<18), 3) + field(1<<18-15), nil, "header"},
		{"10,000 recipients", from, repeated("<r>", milter.DefaultMaxRecipients), ""},
		{"10,001 recipients", from, repeated("<r>", milter.DefaultMaxRecipients+1), "recipients"},
		{"2 MiB of envelope", from, append(repeated("<"+strings.Repeat("r", 32_765)+">", 63), "<"+strings.Repeat("r", 32_765-len("<a@b.example>")-1)+">"), ""},
		{"one octet more of it", from, append(repeated("<"+strings.Repeat("r", 32_765)+">", 63), "<"+strings.Repeat("r", 32_765-len("<a@b.example>"))+">"),
			"envelope"},
	} {
		mta, closed := s.dial()
		c := client.New(mta)
		steps := func() error {
			if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
				return err
			}
			if _, err := c.Connect("h.example", netip.MustParseAddrPort("192.0.2.1:25")); err != nil {
				return err
			}
			if _, err := c.Mail("<a@b.example>"); err != nil {
				return err
			}
			for _, r := range append(tc.rcpts, []string{"<r>"}[:max(0, 1-len(tc.rcpts))]...) {
				if _, err := c.Rcpt(r); err != nil {
					return err
				}
			}
			for line := range strings.SplitSeq(strings.TrimSuffix(tc.fields, "\r\n"), "\r\n") {
				name, value, _ := strings.Cut(line, ":")
				if _, err := mta.Write([]byte(frame('L', name+"|"+value+"|"))); err != nil {
					return err
				}
			}
			_, err := c.EndOfHeader()
			return err
		}
		if err := steps(); err != nil {
			t.Fatalf("%s: %v", tc.why, err)
		}
		action, mods, err := c.EndOfMessage()
		if err != nil {
			t.Fatalf("%s: %v", tc.why, err)
		}
		// The station in monitor mode delivers the message in any case. The label says whether the
		// message was evaluated.
		if !action.Delivers() || strings.HasSuffix(mods[len(mods)-1].Value, "; none (not evaluated: too large)") != (tc.over != "") {
			t.Errorf("%s: %s, edits %.500v", tc.why, action, mods)
		}
		_ = c.Quit()
		<-closed
	}
}

func repeated(s string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = s
	}
	return out
}

// TestBoundCommand sends a milter command of 64 KiB, and one that is one octet longer.
func TestBoundCommand(t *testing.T) {
	s := newStation(policy.Enforce)
	for n, ok := range map[int]bool{1 << 16: true, 1<<16 + 1: false} {
		mta, closed := s.dial()
		c := client.New(mta)
		if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Connect("h.example", netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		_, err := mta.Write([]byte(frame('H', strings.Repeat("h", n-2)+"|")))
		if err == nil {
			_, err = c.Mail("<>")
		}
		if (err == nil) != ok {
			t.Errorf("a frame of %d octets: %v", n, err)
		}
		mta.Close()
		<-closed
	}
}
