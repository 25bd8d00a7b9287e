package filter

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/judge"
	"sekimori/internal/label"
	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/testkit/nameserver"
)

// TestSMTPUTF8Parameter checks that SMTPUTF8 is found among the parameters of MAIL.
func TestSMTPUTF8Parameter(t *testing.T) {
	for args, want := range map[string]bool{"": false, "SIZE=5 BODY=8BITMIME": false, "SIZE=5 SMTPUTF8": true, "smtputf8": true, "XSMTPUTF8": false} {
		if got := hasSMTPUTF8(strings.Fields(args)); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}

// TestSMTPUTF8Delivered sends messages with and without SMTPUTF8 through the milter, and
// checks how the label shows their names.
func TestSMTPUTF8Delivered(t *testing.T) {
	addr, _ := serve(t, nameserver.Zone(t, "xn--r8jz45g.example TXT \"v=spf1 ip4:192.0.2.1 -all\""),
		judge.Judge{Label: label.Settings{MailFrom: label.MailFromAddress}}, milter.Limits{})
	s := open(t, addr, "192.0.2.1", "h.example", client.PostfixOffer())
	for _, tt := range []struct {
		from, arg, want string
	}{
		{"<a@xn--r8jz45g.example>", "SMTPUTF8", "spf=pass smtp.mailfrom=a@例え.example; dkim=none; dmarc=none header.from=例え.example;"},
		{"<a@xn--r8jz45g.example>", "BODY=8BITMIME", "spf=pass smtp.mailfrom=a@xn--r8jz45g.example; dkim=none; dmarc=none header.from=xn--r8jz45g.example;"},
		{"<用户@例え.example>", "SMTPUTF8", "spf=pass smtp.mailfrom=用户@例え.example; dkim=none; dmarc=none header.from=例え.example;"},
	} {
		_, h := s.send(tt.from, fmt.Sprintf(mail, "例え.example"), "SIZE=99", tt.arg)
		if label := ours(t, h); !strings.Contains(label, tt.want) {
			t.Errorf("%s %s: %s", tt.from, tt.arg, label)
		}
	}
}
