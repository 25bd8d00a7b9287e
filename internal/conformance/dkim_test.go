package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/dkim"
	"sekimori/internal/testkit/suites"
)

// acceptBodyLength configures the daemon to let a signature with l= pass even if text follows after
// the signed length, as in RFC 6376 §3.4.5. The cases t-test28 to t-test31 of opendkim-lib expect
// this. The daemon's default does not allow it.
func acceptBodyLength(cfg *config.Config) { cfg.DKIM.BodyLength = dkim.BodyLengthAccept }

func TestConformanceDKIM(t *testing.T) {
	for _, tt := range []struct {
		name  string
		total int
	}{{"opendkim-lib", 76}, {"go-msgauth", 5}, {"dkimpy", 4}} {
		t.Run(tt.name, func(t *testing.T) {
			suite{name: "dkim/" + tt.name + " daemon", total: tt.total, change: acceptBodyLength, rows: dkimRows(suites.DKIM(t, tt.name))}.run(t)
		})
	}
}

func dkimRows(cases []suites.DKIMCase) []row {
	rows := make([]row, 0, len(cases))
	for _, c := range cases {
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error {
			results, err := sendDKIM(st, c)
			if err != nil {
				return err
			}
			return c.Judge(words(results))
		}})
	}
	return rows
}

// sendDKIM sends the message of a case and returns the DKIM results of the label.
func sendDKIM(st *station, c suites.DKIMCase) ([]authres.Result, error) {
	m := mail{ip: "192.0.2.1", helo: "mx.client.invalid", from: "<bounce@client.invalid>", raw: c.Raw}
	switch {
	case c.Connect.IP == "unspec":
		m.ip = ""
	case c.Connect.IP != "":
		m.ip = c.Connect.IP
	}
	if c.HELO != "" {
		m.helo = c.HELO
	}
	if c.MailFrom != "" {
		m.from = "<" + c.MailFrom + ">"
	}
	o, err := st.label(m)
	if err != nil {
		return nil, err
	}
	return o.results("dkim")
}

func words(results []authres.Result) []string {
	out := make([]string, 0, len(results))
	for _, r := range results {
		out = append(out, r.Value)
	}
	return out
}

// TestConformanceDKIMMilter runs the cases of OpenDKIM's test scripts for a verifying milter.
func TestConformanceDKIMMilter(t *testing.T) {
	var rows []row
	for _, c := range suites.DKIM(t, "opendkim-milter") {
		r := row{id: c.ID, zone: c.Zone, check: func(st *station) error { return checkScript(st, c) }}
		if c.NeedsOpenDKIM() {
			r.excluded = "needs OpenDKIM's own scripts or options; the daemon answers and labels"
			r.check = func(st *station) error {
				_, err := sendDKIM(st, c)
				return err
			}
		}
		rows = append(rows, r)
	}
	suite{name: "dkim/opendkim-milter daemon", total: 19, rows: rows}.run(t)
}

// checkScript compares the DKIM results with those that a script expects. If the script expects a
// result other than pass, every result except pass is right. Header properties that the script
// names must match in the first result.
func checkScript(st *station, c suites.DKIMCase) error {
	results, err := sendDKIM(st, c)
	if err != nil {
		return err
	}
	passes := slices.Contains(words(results), string(dkim.Pass))
	if c.Reply == "SMFIR_REPLYCODE" && passes {
		return fmt.Errorf("dkim %q, the script wants a refusal", words(results))
	}
	for _, want := range c.ARContains {
		name, value, found := strings.Cut(want, "=")
		switch ptype, prop, _ := strings.Cut(name, "."); {
		case name == "dkim" && (value == "pass") != passes:
			return fmt.Errorf("dkim %q, want %s", words(results), want)
		case found && ptype == "header" && property(results[0], authres.PTypeHeader, prop) != value:
			return fmt.Errorf("%+v lacks %s", results[0], want)
		}
	}
	return nil
}

// TestConformanceDKIMModule runs the messages of RFC 6376 and RFC 8463 that are in the test files
// of the module go-msgauth.
func TestConformanceDKIMModule(t *testing.T) {
	suite{name: "dkim/go-msgauth of the module, daemon", total: 5, rows: dkimRows(suites.DKIMOfModule(t))}.run(t)
}
