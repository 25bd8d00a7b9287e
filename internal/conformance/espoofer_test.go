package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/config"
	"sekimori/internal/testkit/suites"
)

// victim is whom every attack of the suite wants to be.
const victim = "legitimate.com"

// TestConformanceEspoofer sends each attack twice: labelled, where the results
// are read, and enforced, where the message must not look authentic to anyone.
func TestConformanceEspoofer(t *testing.T) {
	var rows []row
	for _, c := range suites.Espoofer(t) {
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error { return checkAttack(st, c) }})
	}
	// What a daemon that nobody configured does.
	change := func(cfg *config.Config) { cfg.Policy = config.Default().Policy }
	suite{name: "espoofer daemon", total: 28, rows: rows, change: change}.run(t)
}

func checkAttack(st *station, a suites.EspooferCase) error {
	m := mail{ip: a.IP, helo: a.HELO, from: a.MailFrom, raw: a.Raw}
	o, err := st.label(m)
	if err != nil {
		return err
	}
	err = judgeAttack(a, o)
	acted, sendErr := send(st.Enforce, m)
	if sendErr != nil {
		return errors.Join(err, sendErr)
	}
	if acted.Action.Delivers() {
		err = errors.Join(err, judgeAttack(a, acted))
	} else if slices.Equal(a.Expect.DMARC, []string{"pass"}) {
		err = errors.Join(err, fmt.Errorf("refused with %s", acted.Action))
	}
	// A fail of the victim's policy, p=reject, must not reach a mailbox.
	if r, wordErr := o.word("dmarc"); wordErr == nil && r.Value == "fail" && property(r, authres.PTypeHeader, "from") == victim && acted.fate() == "delivered" {
		err = errors.Join(err, fmt.Errorf("the forgery was %s", acted.fate()))
	}
	return err
}

// judgeAttack holds a label against the row and against what no row may show.
func judgeAttack(a suites.EspooferCase, o outcome) error {
	spf, err := o.word("spf")
	if err != nil {
		return err
	}
	dmarc, err := o.word("dmarc")
	if err != nil {
		return err
	}
	signatures, err := o.results("dkim")
	if err != nil {
		return err
	}
	err = oneOf("dmarc", dmarc.Value, a.Expect.DMARC)
	if a.Expect.SPF != nil {
		err = errors.Join(err, oneOf("spf", spf.Value, a.Expect.SPF))
	}
	if a.Expect.DKIM != nil {
		for _, r := range signatures {
			err = errors.Join(err, oneOf("dkim", r.Value, a.Expect.DKIM))
		}
	}
	author := property(dmarc, authres.PTypeHeader, "from")
	if dmarc.Value == "pass" && (a.Expect.MustNot == "pass" || a.Expect.PassOnlyFor != "" && author != a.Expect.PassOnlyFor) {
		err = errors.Join(err, fmt.Errorf("dmarc=pass header.from=%s", author))
	}
	return errors.Join(err, neverTheVictim(spf, dmarc, signatures, a.Expect.NoDKIMFor))
}

// neverTheVictim is the suite's invariant. It looks at the raw values, so that
// a reader less careful than ours does not find the victim either.
func neverTheVictim(spf, dmarc authres.Result, signatures []authres.Result, noDKIMFor []string) error {
	var err error
	if spf.Value == "pass" && strings.HasSuffix(property(spf, authres.PTypeSMTP, "mailfrom"), "@"+victim) {
		err = errors.Join(err, fmt.Errorf("spf=pass for the victim: %+v", spf))
	}
	if dmarc.Value == "pass" && property(dmarc, authres.PTypeHeader, "from") == victim {
		err = errors.Join(err, fmt.Errorf("dmarc=pass for the victim: %+v", dmarc))
	}
	for _, r := range signatures {
		if d := property(r, authres.PTypeHeader, "d"); r.Value == "pass" && (d == victim || slices.Contains(noDKIMFor, d)) {
			err = errors.Join(err, fmt.Errorf("dkim=pass for the victim: %+v", r))
		}
	}
	return err
}
