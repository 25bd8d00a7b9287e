package filter

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/topology"
)

// forgedResult is a field with a result in our name, written by the sender.
const forgedResult = "Authentication-Results: " + id + "; dmarc=pass header.from=bank.example\n"

// TestOversize checks a message that crosses a limit. In enforce mode the message must be
// refused if its header is too large, because the part that was not read could hide another
// author. If there are too many recipients, or too much envelope, the reply must be 452. In
// monitor mode the message must be delivered, without results in our name, and with a label
// that says that it was not evaluated. The next message of the session must be judged.
func TestOversize(t *testing.T) {
	plain := fmt.Sprintf(mail, "bank.example")
	many := strings.Repeat("X: y\n", 30)
	long := func(n int) string { return "X-Long: " + strings.Repeat("y", n) + "\n" }
	trace := "Authentication-Results: mx.other.example; spf=pass\n"
	limits := milter.Limits{MaxHeaderFields: 20, MaxFieldBytes: 2000, MaxHeaderBytes: 10_000, MaxRecipients: 3, MaxEnvelopeBytes: 1000}
	for _, tt := range []struct {
		name, raw string
		rcpts     int
		code      int // expected reply code in enforce mode
		kept      int // number of results of other hosts that must stay
	}{
		{"too many fields, the first is forged", forgedResult + many + trace + plain, 1, 552, 1},
		{"too many fields, the forged one crosses the limit", strings.Repeat("X: y\n", 20) + forgedResult + plain, 1, 552, 0},
		{"too many fields, the last is forged", many + trace + plain[:strings.Index(plain, "\n\n")+1] + forgedResult + "\nbody\n", 1, 552, 1},
		{"too many fields, all are forged", strings.Repeat(forgedResult, 50) + plain, 1, 552, 0},
		{"too many fields, every second one is forged", strings.Repeat(forgedResult+trace, 50) + plain, 1, 552, 50},
		{"forged field before a field that is too long", forgedResult + long(3000) + plain, 1, 552, 0},
		{"forged field after a field that is too long", long(3000) + forgedResult + plain, 1, 552, 0},
		{"forged field that is too long", "Authentication-Results: " + id + "; dmarc=pass" + strings.Repeat(" (comment)", 300) + "\n" + plain, 1, 552, 0},
		{"forged field that is not read to its end", "Authentication-Results: " + id + "; dmarc=pass" + strings.Repeat(" (comment)", 3000) + "\n" + plain, 1, 552, 0},
		{"forged field with a long comment before our name", "Authentication-Results: (" + strings.Repeat("x", 9000) + ") " + id + "; dmarc=pass\n" + plain, 1, 552, 0},
		{"long result of another host stays", "Authentication-Results: mx.other.example; spf=pass" + strings.Repeat(" (comment)", 300) + "\n" + plain, 1, 552, 1},
		{"the header is too large", strings.Repeat(long(1900), 6) + forgedResult + plain, 1, 552, 0},
		{"too many recipients", forgedResult + trace + plain, 5, 452, 1},
		{"too much envelope", forgedResult + plain, 2, 452, 0},
		{"other reserved fields", many + "X-Sekimori-Verdict: pass\nBIMI-Indicator: x\nReceived-SPF: pass receiver=" + id + "\n" + plain, 1, 552, 0},
	} {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Monitor} {
			for _, user := range []string{"", "ann"} {
				t.Run(fmt.Sprintf("%s, %s, user %q", tt.name, mode, user), func(t *testing.T) {
					limits := limits
					if tt.name == "too much envelope" {
						limits.MaxEnvelopeBytes = 40
					}
					addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{TrustAuthenticated: true, Policy: policy.Config{Mode: mode}}, limits)
					s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
					s.c.SetMacro("{auth_authen}", user)
					env := client.Envelope{From: "<x@evil.example>", QueueID: "4Q"}
					for i := range tt.rcpts {
						env.To = append(env.To, fmt.Sprintf("<r%d@here.example>", i))
					}
					res, h := s.sendTo(env, tt.raw)
					if mode == policy.Enforce {
						if res.Action.Code != tt.code {
							t.Errorf("answer %s", res.Action)
						}
					} else {
						if !res.Action.Delivers() {
							t.Errorf("answer %s", res.Action)
						}
						if got := ours(t, h); got != id+"; none (not evaluated: too large)" {
							t.Errorf("label %q", got)
						}
						if got := len(h.Values(authres.FieldName)) - 1; got != tt.kept {
							t.Errorf("%d foreign results are left, not %d", got, tt.kept)
						}
						for _, name := range []string{label.VerdictField, "BIMI-Indicator", "Received-SPF"} {
							if got := h.Values(name); len(got) != 0 {
								t.Errorf("%s: %q", name, got)
							}
						}
						if len(seen.skipped) != 1 || seen.skipped[0].Reason != policy.ReasonOversize || seen.skipped[0].Applied != policy.Tag || seen.queueIDs[0] != "4Q" {
							t.Errorf("observers were told %+v", seen.skipped)
						}
					}
					s.c.SetMacro("{auth_authen}", "")
					if tt.name == "too much envelope" {
						return
					}
					if _, h := s.send("<a@hobby.example>", fmt.Sprintf(mail, "hobby.example")); !strings.Contains(ours(t, h), "dmarc=fail") {
						t.Error("the next message of the session was not judged")
					}
				})
			}
		}
	}
}

// TestOversizeMemory checks a message that arrives when the memory for all connections is
// used up. The limit can be crossed at MAIL, at RCPT or in the header.
func TestOversizeMemory(t *testing.T) {
	plain := fmt.Sprintf(mail, "bank.example")
	for _, tt := range []struct {
		name, from, raw string
		rcpts           int
	}{
		{"header", "<x@evil.example>", forgedResult + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\n", 40) + forgedResult + plain, 1},
		{"recipients", "<x@evil.example>", forgedResult + plain, 100},
		{"sender", "<" + strings.Repeat("x", 20_000) + "@evil.example>", forgedResult + plain, 1},
	} {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Monitor} {
			t.Run(tt.name+" "+string(mode), func(t *testing.T) {
				addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Policy: policy.Config{Mode: mode}}, milter.Limits{Memory: 88 << 10})
				s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
				env := client.Envelope{From: tt.from, QueueID: "4Q"}
				for i := range tt.rcpts {
					env.To = append(env.To, fmt.Sprintf("<r%d@here.example>", i))
				}
				res, h := s.sendTo(env, tt.raw)
				if mode == policy.Enforce {
					if res.Action.Code != 452 {
						t.Errorf("answer %s", res.Action)
					}
				} else if got := ours(t, h); !res.Action.Delivers() || got != id+"; none (not evaluated: too large)" || len(seen.skipped) != 1 {
					t.Errorf("answer %s, label %q, observers were told %+v", res.Action, got, seen.skipped)
				}
				if _, h := s.send("<a@hobby.example>", fmt.Sprintf(mail, "hobby.example")); !strings.Contains(ours(t, h), "dmarc=fail") {
					t.Error("the next message of the session was not judged")
				}
			})
		}
	}
}

// TestOversizeTrusted checks that a message from a trusted network has no limits and is not
// edited.
func TestOversizeTrusted(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		rcpts     int
		memory    int64
	}{
		{"header", forgedResult + strings.Repeat("X: y\n", 50) + fmt.Sprintf(mail, "hobby.example"), 1, 0},
		{"recipients", forgedResult + fmt.Sprintf(mail, "hobby.example"), 5, 0},
		{"memory", forgedResult + fmt.Sprintf(mail, "hobby.example"), 1, 87 << 10},
	} {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Monitor} {
			o := judge.Judge{Policy: policy.Config{Mode: mode}, Trusted: func(a netip.Addr) bool { return a.As4()[0] == 10 }}
			addr, seen := serve(t, nameserver.Zone(t, zoneText), o, milter.Limits{MaxHeaderFields: 20, MaxRecipients: 3, Memory: tt.memory})
			s := open(t, addr, "10.0.0.1", "h.example", client.PostfixOffer())
			env := client.Envelope{From: "<" + strings.Repeat("x", 10_000) + "@evil.example>", QueueID: "4Q"}
			for i := range tt.rcpts {
				env.To = append(env.To, fmt.Sprintf("<r%d@here.example>", i))
			}
			res, _ := s.sendTo(env, tt.raw)
			if !res.Action.Delivers() || len(res.Modifications) != 0 || len(seen.skipped) != 1 || seen.skipped[0].Action != policy.Skip {
				t.Errorf("%s, %s: answer %s, %d edits, observers were told %+v", tt.name, mode, res.Action, len(res.Modifications), seen.skipped)
			}
		}
	}
}

// TestOutline checks which fields of a message that crossed a limit are deleted. Among the
// first label.MaxOutlined fields with the same name, the results of other hosts must stay.
// All later fields with this name are deleted. The field with the highest index must be
// deleted first.
func TestOutline(t *testing.T) {
	const more = 100
	var raw strings.Builder
	var want []int
	for i := 1; i <= label.MaxOutlined+more; i++ {
		if i%3 == 0 {
			raw.WriteString("Authentication-results: " + id + "; dmarc=pass\n")
		} else {
			raw.WriteString("Authentication-Results: mx.other.example; spf=pass\n")
		}
		raw.WriteString("X-Authentication-Results: " + id + "\n")
		if i%3 == 0 || i > label.MaxOutlined {
			want = append(want, i)
		}
	}
	slices.Reverse(want)
	addr, _ := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Policy: policy.Config{Mode: policy.Monitor}}, milter.Limits{})
	s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
	res, _ := s.send("<x@evil.example>", raw.String()+fmt.Sprintf(mail, "hobby.example"))
	var got []int
	for _, m := range res.Modifications[:len(res.Modifications)-1] {
		if m.Kind != client.DeleteHeader || !strings.EqualFold(m.Name, authres.FieldName) {
			t.Fatalf("%+v", m)
		}
		got = append(got, m.Index)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d deletions, not %d", len(got), len(want))
	}
}

// TestFlood checks that a message with more than label.MaxForged forged results (fields
// that bear our authserv-id) is refused in monitor mode too, because the MTA would take
// too long to delete so many fields. The number of other fields does not matter.
func TestFlood(t *testing.T) {
	for _, tt := range []struct {
		name, field string
		n           int
		code        int
	}{
		{"as many as can be deleted", forgedResult, label.MaxForged, 0},
		{"one more", forgedResult, label.MaxForged + 1, 552},
		{"other fields", "X: y\n", 3 * label.MaxForged, 0},
	} {
		addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Policy: policy.Config{Mode: policy.Monitor}}, milter.Limits{})
		s := open(t, addr, "203.0.113.1", "h.example", client.PostfixOffer())
		res, h := s.send("<x@evil.example>", strings.Repeat(tt.field, tt.n)+fmt.Sprintf(mail, "hobby.example"))
		if res.Action.Code != tt.code || res.Action.Delivers() != (tt.code == 0) || len(seen.skipped) != 1 {
			t.Errorf("%s: %s, observers were told %+v", tt.name, res.Action, seen.skipped)
		}
		if tt.code == 0 {
			ours(t, h)
		}
	}
}

// TestNames checks that results in any name of this host are deleted, and that results of
// other hosts stay. The field that we write must carry the configured name. If there is
// none, it must carry the MTA's name, or else the host's name.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name, configured, j string
		id                  string // expected authserv-id of the field that we write
		gone                []string
	}{
		{"configured", "mx.public.example", "mx1.full.example", "mx.public.example",
			[]string{"mx.public.example", "mx1.full.example", "mx1", "host.full.example", "host", "old.full.example", "MX1.Full.Example.", "mx1.full.example 1",
				"(a) \"mx1.full.example\""}},
		{"the MTA's name", "", "mx1.full.example", "mx1.full.example", []string{"mx1.full.example", "mx1", "host.full.example", "host", "old.full.example"}},
		{"the MTA's name ends with a dot", "", "mx1.full.example.", "mx1.full.example", []string{"mx1.full.example"}},
		{"the MTA's name has no dot", "", "mx1", "host.full.example", []string{"mx1", "host.full.example", "host"}},
		{"the MTA tells no name", "", "", "host.full.example", []string{"host.full.example", "host"}},
		{"the MTA's name is not a host name", "", "a; dmarc=pass", "host.full.example", []string{"host.full.example"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := serve(t, nameserver.Zone(t, zoneText),
				judge.Judge{Label: label.Settings{Names: label.Names{AuthServID: tt.configured, HostName: "host.full.example",
					Aliases: []string{"old.full.example"}}}}, milter.Limits{})
			c, err := client.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := c.Negotiate(client.PostfixOffer()); err != nil {
				t.Fatal(err)
			}
			c.SetMacro("j", tt.j)
			if _, err := c.Connect("client.example", netip.MustParseAddrPort("203.0.113.1:40000")); err != nil {
				t.Fatal(err)
			}
			s := mtaSession{t, c}
			var raw strings.Builder
			stay := []string{"mx1.full.example.other.example", "mx1.other.example", "other.example", "xmx1"}
			for _, name := range append(stay, tt.gone...) {
				raw.WriteString("Authentication-Results: " + name + "; dmarc=pass\n")
			}
			_, h := s.send("<x@evil.example>", raw.String()+fmt.Sprintf(mail, "hobby.example"))
			got := h.Values(authres.FieldName)
			if len(got) != 1+len(stay) || !strings.HasPrefix(strings.TrimSpace(got[0]), tt.id+";") {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestReserved checks which fields are deleted, for the reserved names other than
// Authentication-Results.
func TestReserved(t *testing.T) {
	for _, tt := range []struct {
		field string
		goes  bool
	}{
		{"Received-SPF: pass (" + id + ": domain of a@b.example designates 192.0.2.1 as permitted sender) client-ip=192.0.2.1", true},
		{"Received-SPF: pass (domain of b.example) receiver=" + id + "; client-ip=192.0.2.1", true},
		{"received-spf: PASS (ok) client-ip=192.0.2.1; Receiver = \"" + strings.ToUpper(id) + ".\"", true},
		{"Received-SPF: pass client-ip=192.0.2.1; envelope-from=a@b.example", true},
		{"Received-SPF: pass", true},
		{"Received-SPF: pass (google.com: domain of a@b.example designates 192.0.2.1 as permitted sender) client-ip=192.0.2.1;", false},
		{"Received-SPF: pass (x) receiver=mx.other.example; helo=" + id, false},
		{"Received-SPF: pass receiver=" + id + ".other.example", false},
		{"BIMI-Location: v=BIMI1; l=https://logo.example/l.svg", true},
		{"bimi-indicator: PHN2Zz4=", true},
		{"BIMI-Logo-Preference: brand", true},
		{"BIMI-Selector: v=BIMI1; s=default", false},
		{"X-Sekimori-Verdict: pass", true},
		{"ARC-Authentication-Results: i=1; " + id + "; dmarc=pass", false},
	} {
		addr, _ := serve(t, nameserver.Zone(t, zoneText), judge.Judge{Trusted: func(a netip.Addr) bool { return a.As4()[0] == 10 }}, milter.Limits{})
		for ip, goes := range map[string]bool{"203.0.113.1": tt.goes, "10.0.0.1": false} {
			s := open(t, addr, ip, "h.example", client.PostfixOffer())
			name, _, _ := strings.Cut(tt.field, ":")
			_, h := s.send("<x@evil.example>", strings.Repeat(tt.field+"\n", 3)+fmt.Sprintf(mail, "hobby.example"))
			if got := len(h.Values(name)); got != 0 && goes || got != 3 && !goes {
				t.Errorf("%s of %s: %d of 3 are left", tt.field, ip, got)
			}
		}
	}
}

// TestNoDeletions checks an MTA that allows filters to add fields but not to change or
// delete them, as maddy does. The field that we write must be the first of the header. In
// enforce mode a message in which a result in our name stays must be refused. Other fields
// that stay must not change the verdict.
func TestNoDeletions(t *testing.T) {
	for _, tt := range []struct {
		name, fields, user string
		forged             bool
	}{
		{"nothing", "", "", false},
		{"a foreign verdict", "X-Sekimori-Verdict: pass\n", "", false},
		{"a logo", "BIMI-Indicator: x\n", "", false},
		{"a Received-SPF without a receiver", "Received-SPF: pass client-ip=192.0.2.1\n", "", false},
		{"another host's result", "Authentication-Results: mx.other.example; dmarc=pass\n", "", false},
		{"a result in our name", forgedResult, "", true},
		{"an SPF result in our name", "Received-SPF: pass receiver=" + id + "\n", "", true},
		{"a user's", forgedResult, "ann", true},
		{"a user's foreign verdict", "X-Sekimori-Verdict: pass\n", "ann", false},
		{"over a limit", forgedResult + strings.Repeat("X: y\n", 30), "", true},
	} {
		for _, mode := range []policy.Mode{policy.Enforce, policy.Monitor} {
			if tt.name == "over a limit" && mode == policy.Enforce {
				continue // the message is refused because it has more than 20 header fields
			}
			var log strings.Builder
			watch := topology.New(slog.New(slog.NewTextHandler(&log, nil)))
			addr, seen := serveWatched(t, nameserver.Zone(t, zoneText),
				judge.Judge{TrustAuthenticated: true, Label: label.Settings{Verdict: true}, Policy: policy.Config{Mode: mode}}, milter.Limits{MaxHeaderFields: 20}, watch)
			s := open(t, addr, "203.0.113.1", "h.example", client.Offer{Version: 6, Actions: 1, Protocol: 0x1fffff})
			s.c.SetMacro("{auth_authen}", tt.user)
			res, h := s.send("<x@evil.example>", tt.fields+fmt.Sprintf(mail, "hobby.example"))
			verdict := append(seen.verdicts, seen.skipped...)[0]
			refused := tt.forged && mode == policy.Enforce
			if refused != (res.Action.Code == 550) || refused == res.Action.Delivers() || (verdict.Reason == policy.ReasonForged) != tt.forged {
				t.Errorf("%s, %s: answer %s, verdict %+v", tt.name, mode, res.Action, verdict)
			}
			if refused && !strings.Contains(res.Action.String(), "550 5.7.1 Email carries an authentication result in the name of "+id) {
				t.Errorf("%s: answer %s", tt.name, res.Action)
			}
			if !refused && tt.user == "" && (!h[0].Is(authres.FieldName) || !strings.HasPrefix(h[0].Value, " "+id+";")) {
				t.Errorf("%s, %s: on top %q", tt.name, mode, h[0])
			}
			if got := strings.Contains(log.String(), "level=WARN msg=\"a result in our name"); got != tt.forged {
				t.Errorf("%s, %s: log %s", tt.name, mode, &log)
			}
		}
	}
}
