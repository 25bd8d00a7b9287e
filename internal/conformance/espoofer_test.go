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

// victim is the domain that every attack of the suite impersonates.
const victim = "legitimate.com"

// TestConformanceEspoofer sends each attack to a daemon in monitor mode and to a daemon in enforce
// mode. The label of the daemon in monitor mode must have the right results. If the daemon in
// enforce mode delivers the message, its label must have the right results too.
func TestConformanceEspoofer(t *testing.T) {
	var rows []row
	for _, c := range suites.Espoofer(t) {
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error { return checkAttack(st, c) }})
	}
	// Use the default policy instead of the policy that newStation sets.
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
	// The victim has p=reject. So a message that fails as mail of the victim must not be delivered.
	if r, wordErr := o.word("dmarc"); wordErr == nil && r.Value == "fail" && property(r, authres.PTypeHeader, "from") == victim && acted.fate() == "delivered" {
		err = errors.Join(err, fmt.Errorf("the forgery was %s", acted.fate()))
	}
	return err
}

// judgeAttack compares a label with the expected results of the attack, and checks that nothing
// passes for the victim.
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

// neverTheVictim checks that no result passes for the victim. It compares the property values as
// they are written, because a program that reads the label may be less careful than our parser.
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
