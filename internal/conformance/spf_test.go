package conformance

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
	"sekimori/internal/spf"
	"sekimori/internal/testkit/suites"
)

// TestConformanceSPF runs the SPF suites of the shared data. It does not check explanations,
// because Authentication-Results does not contain them. The tests of package spf check
// explanations.
func TestConformanceSPF(t *testing.T) {
	for _, s := range suites.SPFShared {
		t.Run(s.Name, func(t *testing.T) {
			suite{name: "spf/" + s.Name + " daemon", total: s.Total, change: hasty, rows: spfRows(s.Scenarios(t))}.run(t)
		})
	}
}

// TestConformanceSPFModule runs the suites that are in the module blitiri.com.ar/go/spf, the other
// SPF implementation that the tests use.
func TestConformanceSPFModule(t *testing.T) {
	for _, s := range suites.SPFOfModule {
		t.Run(s.Name, func(t *testing.T) {
			suite{name: "spf/" + s.Name + " of the module, daemon", total: s.Total, change: hasty, rows: spfRows(s.Scenarios(t))}.run(t)
		})
	}
}

func spfRows(scenarios []suites.SPFScenario) []row {
	var rows []row
	for _, sc := range scenarios {
		for _, test := range sc.Tests {
			excluded := ""
			if corrected, wrong := test.Corrected(); wrong {
				excluded = "lax mode of pyspf; the RFC and the daemon say neutral"
				test = corrected
			} else if strings.HasPrefix(test.MailFrom, "@") {
				excluded = "MAIL FROM without a local part cannot be said in SMTP; the daemon says none"
				test.Expect = []string{"none"}
			} else if ip, err := netip.ParseAddr(test.IP); err == nil && spf.PrivateClient(ip) {
				excluded = "no client on the Internet has this address; the daemon says none"
				test.Expect = []string{"none"}
			}
			rows = append(rows, row{id: test.ID, zone: sc.Zone, excluded: excluded, check: func(st *station) error { return checkSPF(st, test) }})
		}
	}
	return rows
}

// checkSPF sends a message and compares the SPF result with the expected ones. The author's domain
// has no DNS records, so DMARC does not ask for the names of the SPF check.
func checkSPF(st *station, s suites.SPFTest) error {
	o, err := st.label(mail{ip: s.IP, helo: s.HELO, from: "<" + smtpPath(s.MailFrom) + ">",
		raw: []byte("From: author@author.invalid\r\nSubject: " + s.ID + "\r\n\r\nbody\r\n")})
	if err != nil {
		return err
	}
	r, err := o.word("spf")
	if err != nil {
		return err
	}
	if err := oneOf("spf", r.Value, s.Expect); err != nil {
		return err
	}
	// The field names the identity that SPF checked (RFC 8601 §2.7.2). It may have no property if
	// that identity has no valid domain.
	identity, domain := "mailfrom", s.MailFrom[strings.LastIndexByte(s.MailFrom, '@')+1:]
	if s.MailFrom == "" {
		identity, domain = "helo", s.HELO
	}
	_, err = dns.ParseHostname(domain)
	if (err != nil || strings.HasPrefix(s.MailFrom, "@")) && len(r.Properties) == 0 {
		return nil
	}
	if len(r.Properties) != 1 || r.Properties[0].Type != authres.PTypeSMTP || r.Properties[0].Name != identity {
		return fmt.Errorf("identity %+v, want %s", r.Properties, identity)
	}
	return nil
}

var dotString = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*$")

// smtpPath writes an address as in an SMTP command. It quotes the local part if necessary.
func smtpPath(address string) string {
	local, domain, found := strings.Cut(address, "@")
	if !found || dotString.MatchString(local) {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"@` + domain
}
