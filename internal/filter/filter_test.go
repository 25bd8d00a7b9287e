package filter

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/policy"
	"sekimori/internal/testkit/nameserver"
)

const id = "mx.example.jp"

const zoneText = `
bank.example              TXT "v=spf1 ip4:192.0.2.0/24 -all"
_dmarc.bank.example       TXT "v=DMARC1; p=reject"
_dmarc.shop.example       TXT "v=DMARC1; p=quarantine"
_dmarc.hobby.example      TXT "v=DMARC1; p=none"
helo.bank.example         TXT "v=spf1 ip4:192.0.2.0/24 -all"
six.example               TXT "v=spf1 ip6:2001:db8::/32 -all"
_dmarc.six.example        TXT "v=DMARC1; p=reject"
! silent.example * timeout
! _dmarc.silent.example * timeout
! _dmarc.silent.bank.example * timeout
`

const mail = "From: A <a@%s>\nSubject: s\n\nbody\n"

func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		ip, helo string
		from     string
		raw      string
		o        judge.Judge
		offer    client.Offer
		answer   string // expected beginning of the reply; "" if the message is delivered
		hold     bool
		label    []string
		verdict  policy.Action
	}{
		{name: "aligned SPF", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{"spf=pass smtp.mailfrom=bank.example;", "dmarc=pass header.from=bank.example policy.dmarc=reject", "dkim=none", "arc=none",
				"iprev=permerror policy.iprev=192.0.2.1"}, verdict: policy.Accept},
		{name: "IPv6 client", ip: "2001:db8::1", helo: "h.example", from: "<a@six.example>", raw: fmt.Sprintf(mail, "six.example"),
			label: []string{"dmarc=pass", "policy.iprev=\"2001:db8::1\""}, verdict: policy.Accept},
		{name: "null sender: HELO", ip: "192.0.2.1", helo: "helo.bank.example", from: "<>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{"spf=pass smtp.helo=helo.bank.example", "dmarc=pass"}, verdict: policy.Accept},
		{name: "p=reject", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "bank.example"),
			answer: "550 5.7.1 Email rejected per DMARC policy for bank.example (", verdict: policy.Reject},
		{name: "p=reject in monitor mode", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "bank.example"),
			o:     judge.Judge{Policy: policy.Config{Mode: policy.Monitor}},
			label: []string{"dmarc=fail (monitor, would reject: dmarc_reject) header.from=bank.example"}, verdict: policy.Reject},
		{name: "p=quarantine", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "shop.example"),
			hold: true, label: []string{"dmarc=fail (quarantine: dmarc_quarantine)"}, verdict: policy.Quarantine},
		{name: "p=quarantine by header", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "shop.example"),
			o:     judge.Judge{Policy: policy.Config{Quarantine: policy.QuarantineTag}},
			label: []string{"dmarc=fail (quarantine: dmarc_quarantine)"}, verdict: policy.Quarantine},
		{name: "p=quarantine where the MTA has no quarantine", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "shop.example"),
			offer: client.Offer{Version: 6, Actions: 0x1ff &^ 0x20, Protocol: 0x1fffff},
			label: []string{"dmarc=fail (quarantine: dmarc_quarantine)"}, verdict: policy.Quarantine},
		{name: "an MTA that lets nothing be edited", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "hobby.example"),
			offer: client.Offer{Version: 6, Actions: 0, Protocol: 0x1fffff}, answer: "451 4.3.0 ", verdict: policy.TempFail},
		{name: "p=none", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "hobby.example"),
			label: []string{"dmarc=fail (tag: dmarc_policy_none)"}, verdict: policy.Tag},
		{name: "no record", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "nobody.example"),
			label: []string{"dmarc=none (tag: no_policy) header.from=nobody.example"}, verdict: policy.Tag},
		{name: "silent DNS", ip: "203.0.113.1", helo: "h.example", from: "<x@silent.example>", raw: fmt.Sprintf(mail, "silent.example"),
			label: []string{"spf=temperror", "dmarc=temperror (tag: temperror, not decided: policy timeout) header.from=silent.example"}, verdict: policy.Tag},
		{name: "silent DNS below a known policy", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>", raw: fmt.Sprintf(mail, "silent.bank.example"),
			answer: "451 4.7.5 ", verdict: policy.TempFail},
		{name: "silent DNS below a known policy, accepted", ip: "203.0.113.1", helo: "h.example", from: "<x@evil.example>",
			raw: fmt.Sprintf(mail, "silent.bank.example"), o: judge.Judge{Policy: policy.Config{TempError: policy.Accept}},
			label: []string{"dmarc=temperror (tag: temperror, not decided: policy timeout) header.from=silent.bank.example"}, verdict: policy.Tag},
		{name: "silent DNS, tempfail", ip: "203.0.113.1", helo: "h.example", from: "<x@silent.example>", raw: fmt.Sprintf(mail, "silent.example"),
			o:      judge.Judge{Policy: policy.Config{TempErrorUnknown: policy.TempFail}},
			answer: "451 4.7.24 ", verdict: policy.TempFail},
		{name: "client address unknown", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{`spf=none reason="no-address"`, "dmarc=fail", "indirect: client_unknown"}, hold: true, verdict: policy.Quarantine},
		{name: "client behind a NAT of ours", ip: "172.17.0.1", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			label: []string{`spf=none reason="private_client" smtp.mailfrom=`, "dmarc=fail", "indirect: client_unknown",
				"iprev=permerror policy.iprev=172.17.0.1"}, hold: true, verdict: policy.Quarantine},
		{name: "two From fields", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: "From: a@bank.example\n" + fmt.Sprintf(mail, "evil.example"),
			answer: "550 5.7.1 From header", verdict: policy.Reject},
		{name: "no header at all", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: "\nbody\n",
			answer: "550 5.7.1 From header", verdict: policy.Reject},
		{name: "forged results go, others stay", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>",
			raw: "Authentication-Results: MX.example.JP; dmarc=pass\nAuthentication-Results: other.example; spf=pass\n" +
				"authentication-RESULTS: (c) mx.EXAMPLE.jp/1 (c)\n ; spf=pass\nAuthentication-Results: mx.example.jp; none\n" +
				fmt.Sprintf(mail, "bank.example"),
			label: []string{"dmarc=pass"}, verdict: policy.Accept},
		{name: "a sender cannot write results", ip: "192.0.2.1", helo: "h.example", from: "<\"x; dkim=pass header.d=bank.example\"@bank.example>",
			raw:   fmt.Sprintf(mail, "bank.example"),
			label: []string{"spf=pass smtp.mailfrom=bank.example; dkim=none"}, verdict: policy.Accept},
		{name: "the address where it is asked for", ip: "192.0.2.1", helo: "h.example", from: "<a.b+c@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			o:     judge.Judge{Label: label.Settings{MailFrom: label.MailFromAddress}},
			label: []string{"spf=pass smtp.mailfrom=a.b+c@bank.example; "}, verdict: policy.Accept},
		{name: "Received-SPF", ip: "192.0.2.1", helo: "h.example", from: "<a@bank.example>", raw: fmt.Sprintf(mail, "bank.example"),
			o:     judge.Judge{Label: label.Settings{ReceivedSPF: true}},
			label: []string{"dmarc=pass"}, verdict: policy.Accept},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, seen := serve(t, nameserver.Zone(t, zoneText), tt.o, milter.Limits{})
			if tt.offer.Version == 0 {
				tt.offer = client.PostfixOffer()
			}
			s := open(t, addr, tt.ip, tt.helo, tt.offer)
			res, h := s.send(tt.from, tt.raw)
			if tt.answer != "" {
				if got := res.Action.String(); !strings.HasPrefix(got, tt.answer) {
					t.Errorf("answer %q, want %q...", got, tt.answer)
				}
			} else {
				if !res.Action.Delivers() {
					t.Fatalf("answer %s", res.Action)
				}
				label := ours(t, h)
				for _, want := range tt.label {
					if !strings.Contains(label, want) {
						t.Errorf("label lacks %q:\n%s", want, label)
					}
				}
			}
			if quarantined(res) != tt.hold {
				t.Errorf("quarantined %t, want %t", quarantined(res), tt.hold)
			}
			if tt.o.Label.ReceivedSPF {
				if v := h.Values(authres.ReceivedSPFName); len(v) != 1 || !strings.Contains(v[0], "client-ip=192.0.2.1") {
					t.Errorf("Received-SPF: %q", v)
				}
			}
			if strings.Contains(tt.raw, "other.example") && len(h.Values(authres.FieldName)) != 2 {
				t.Errorf("the other host's field is gone: %q", h)
			}
			if len(seen.verdicts) != 1 || seen.verdicts[0].Action != tt.verdict {
				t.Errorf("observers were told %+v, want %s", seen.verdicts, tt.verdict)
			}
		})
	}
}

// TestSessionKeepsFacts checks the second and third message of a connection. They must be
// judged with the client and HELO of the connection, and without anything of the earlier
// messages.
func TestSessionKeepsFacts(t *testing.T) {
	addr, seen := serve(t, nameserver.Zone(t, zoneText), judge.Judge{}, milter.Limits{})
	s := open(t, addr, "192.0.2.1", "helo.bank.example", client.PostfixOffer())
	if res, _ := s.send("<x@evil.example>", fmt.Sprintf(mail, "shop.example")); !quarantined(res) {
		t.Error("first message was not held")
	}
	res, _ := s.send("<x@evil.example>", "From: a@b.example, c@d.example\n\nx\n")
	if res.Action.Code != 550 {
		t.Errorf("second message: %s", res.Action)
	}
	res, h := s.send("<>", fmt.Sprintf(mail, "bank.example"))
	if label := ours(t, h); !strings.Contains(label, "dmarc=pass") || quarantined(res) {
		t.Errorf("third message: %s", label)
	}
	if err := s.c.Quit(); err != nil {
		t.Fatal(err)
	}
	if len(seen.verdicts) != 3 {
		t.Errorf("%d verdicts", len(seen.verdicts))
	}
}

func TestTrust(t *testing.T) {
	const forged = "Authentication-Results: mx.example.jp; dmarc=pass\n"
	network := func(a netip.Addr) bool { return netip.MustParsePrefix("10.0.0.0/8").Contains(a) }
	for _, tt := range []struct {
		name, ip, login string
		o               judge.Judge
		evaluated       bool
		fields          int // number of Authentication-Results fields in the delivered message
	}{
		{"trusted network: untouched", "10.1.2.3", "", judge.Judge{Trusted: network}, false, 1},
		{"authenticated: not evaluated, but results in our name are deleted", "203.0.113.1", "ann", judge.Judge{TrustAuthenticated: true}, false, 0},
		{"authenticated, but not trusted for it", "203.0.113.1", "ann", judge.Judge{}, true, 1},
		{"stranger", "203.0.113.1", "", judge.Judge{Trusted: network, TrustAuthenticated: true}, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, seen := serve(t, nameserver.Zone(t, zoneText), tt.o, milter.Limits{})
			s := open(t, addr, tt.ip, "h.example", client.PostfixOffer())
			if tt.login != "" {
				s.c.SetMacro("{auth_authen}", tt.login)
			}
			res, h := s.send("<x@evil.example>", forged+fmt.Sprintf(mail, "hobby.example"))
			if !res.Action.Delivers() {
				t.Fatalf("answer %s", res.Action)
			}
			if got := len(h.Values(authres.FieldName)); got != tt.fields {
				t.Errorf("%d Authentication-Results fields, want %d: %q", got, tt.fields, h)
			}
			if tt.evaluated != (len(seen.verdicts) == 1) || tt.evaluated == (len(seen.skipped) == 1) {
				t.Errorf("evaluated %d, skipped %d", len(seen.verdicts), len(seen.skipped))
			}
		})
	}
}
