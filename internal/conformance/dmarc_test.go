package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/authres"
	"sekimori/internal/testkit/suites"
)

// TestConformanceDMARC compares the values that the suite expects with what the daemon shows. The
// label shows the result and the policy. The verdict on the message shows the disposition. The DNS
// server shows the queries for the author. The log shows the policy domain and the alignment. The
// organizational domain and the applied tag are not shown anywhere; the tests of package dmarc
// check these two.
func TestConformanceDMARC(t *testing.T) {
	cases := suites.DMARC(t)
	var rows []row
	for _, c := range cases {
		rows = append(rows, row{id: c.ID, zone: c.Zone, check: func(st *station) error { return checkDMARC(st, c) }})
	}
	suite{name: "dmarc/dmarcbis daemon", total: 72, rows: rows, after: func(t *testing.T, stations []*station) map[string]error {
		logs := map[string]map[string]any{}
		for _, st := range stations {
			st.Enforce.Stop()
			for _, r := range st.Enforce.Log.Records(t, "evaluated") {
				logs[fmt.Sprint(r["queue_id"])] = r
			}
		}
		out := map[string]error{}
		for _, c := range cases {
			out[c.ID] = checkLog(c, logs[c.ID])
		}
		return out
	}}.run(t)
}

func checkDMARC(st *station, c suites.DMARCCase) error {
	defer func() { st.late = walk(c, st.zone.Queries()) }()
	m := mail{ip: c.IP, helo: c.HELO, from: "<" + c.MailFrom + ">", queueID: c.ID, raw: c.Raw}
	o, err := st.label(m)
	if err != nil {
		return err
	}
	r, err := o.word("dmarc")
	if err != nil {
		return err
	}
	disposition := property(r, authres.PTypePolicy, "dmarc")
	err = errors.Join(
		oneOf("dmarc", r.Value, c.Expect.DMARC),
		oneOf("header.from", property(r, authres.PTypeHeader, "from"), []string{c.Author}),
		same("policy.dmarc", disposition, c.Expect.Disposition),
		checkQueries(c, st.zone.Queries(), st.late),
	)
	if c.Expect.MustDisposition != nil && disposition != "" {
		err = errors.Join(err, same("policy.dmarc", disposition, c.Expect.MustDisposition))
	}
	return errors.Join(err, enforced(st, m, r.Value, disposition))
}

// enforced sends the message to the daemon in enforce mode and checks whether it is delivered, held
// or refused.
func enforced(st *station, m mail, result, disposition string) error {
	o, err := send(st.Enforce, m)
	if err != nil {
		return err
	}
	want := "delivered"
	switch {
	case result == "fail" && disposition == "reject":
		want = "refused"
	case result == "fail" && disposition == "quarantine":
		want = "held"
	}
	if got := o.fate(); got != want {
		// What the label of a delivered message says tells a wrong pass from a lookup that came too late.
		return fmt.Errorf("the message was %s with the label %+v, want %s", got, o.label.Results, want)
	}
	return nil
}

// fate returns "delivered", "held" or "refused". If the daemon gave another answer, fate returns
// that answer.
func (o *outcome) fate() string {
	switch {
	case o.Action.Code/100 == 5:
		return "refused"
	case !o.Action.Delivers():
		return o.Action.String()
	case o.held:
		return "held"
	}
	return "delivered"
}

// checkQueries checks that the daemon asked for every name of the author's tree walk. If the case
// states no identifiers of SPF and DKIM, the daemon must not have asked for any other policy
// record. The order of the queries does not matter, because the daemon sends the queries of a tree
// walk at the same time. Nor does it matter whether a query came twice, because the daemon repeats a
// query that is not answered in time, as happens on a busy host. There, a query of the message
// before, which late has, may also come after its zone was replaced.
func checkQueries(c suites.DMARCCase, asked, late []string) error {
	if c.Queries == nil {
		return nil
	}
	walked := policyQueries(asked)
	for _, q := range c.Queries {
		if !slices.Contains(walked, q) {
			return fmt.Errorf("%s was not asked for: %q", q, walked)
		}
	}
	if c.Expect.SPF != nil || c.Expect.DKIM != nil {
		return nil
	}
	for _, q := range walked {
		if !slices.Contains(c.Queries, q) && !slices.Contains(late, q) {
			return fmt.Errorf("asked for %q, want %q", walked, c.Queries)
		}
	}
	return nil
}

// walk returns the names at which the daemon may look for policy records of the case.
func walk(c suites.DMARCCase, asked []string) []string {
	if c.Queries != nil && c.Expect.SPF == nil && c.Expect.DKIM == nil {
		return c.Queries
	}
	return policyQueries(asked)
}

// policyQueries returns the names of those queries that are for policy records.
func policyQueries(asked []string) []string {
	var names []string
	for _, q := range asked {
		if name, ok := strings.CutSuffix(q, " TXT"); ok && strings.HasPrefix(name, "_dmarc.") {
			names = append(names, name)
		}
	}
	return names
}

// checkLog compares the log record of the message with the values that the case expects.
func checkLog(c suites.DMARCCase, record map[string]any) error {
	if record == nil {
		return errors.New("not in the log")
	}
	text := func(key string) string { return fmt.Sprint(record[key]) }
	err := errors.Join(
		oneOf("logged dmarc", text("dmarc"), c.Expect.DMARC),
		same("logged policy_domain", text("policy_domain"), c.Expect.PolicyDomain),
		same("logged policy", text("policy"), c.Expect.Policy),
	)
	if c.Expect.SPF != nil && record["aligned_spf"] != *c.Expect.SPF {
		err = errors.Join(err, fmt.Errorf("logged aligned_spf %v", record["aligned_spf"]))
	}
	if c.Expect.DKIM != nil && record["aligned_dkim"] != (len(c.Expect.DKIM) > 0) {
		err = errors.Join(err, fmt.Errorf("logged aligned_dkim %v, want %q", record["aligned_dkim"], c.Expect.DKIM))
	}
	return err
}

// same returns an error if the value "want" is not nil and differs from "got".
func same(what, got string, want *string) error {
	if want == nil || got == *want {
		return nil
	}
	return fmt.Errorf("%s %q, want %q", what, got, *want)
}
