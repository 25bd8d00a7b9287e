package stats

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"sekimori/internal/printable"
)

// percent returns n of "of" as "8.41 %", as the tables of the ministry have it. Only all of them are
// 100.00 %, and only none of them is 0.00 %.
func percent(n, of int64) string {
	switch {
	case of == 0 || n == 0:
		return "0.00 %"
	case n >= of:
		return "100.00 %"
	}
	p := 100 * float64(n) / float64(of)
	switch {
	case p < 0.01:
		return "< 0.01 %"
	case p > 99.99:
		return "> 99.99 %"
	}
	return strconv.FormatFloat(p, 'f', 2, 64) + " %"
}

// grouped returns a number with commas, such as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Text writes the month for a person at a terminal.
func (m *Month) Text(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	p := func(format string, args ...any) { fmt.Fprintf(t, format, args...) }
	p("Month %s, %s to %s (UTC)", m.Month, m.From, m.To)
	if !m.Whole {
		p(", not the whole month")
	}
	if m.Group != "" {
		p(", group %s", printable.Value(m.Group))
	}
	p("\n\nmessages\t%s\n", grouped(m.Messages))
	p("without authentication\t%s\t%s\n", grouped(m.Unauthenticated.Messages), percent(m.Unauthenticated.Messages, m.Messages))
	p("neither SPF nor DKIM passes\t%s\t%s\n", grouped(m.NothingPassed.Messages), percent(m.NothingPassed.Messages, m.Messages))
	table := func(title string, counts []Count) {
		if len(counts) > 0 {
			p("\n%s\tMESSAGES\tSHARE\n", title)
		}
		for _, c := range counts {
			p("%s\t%s\t%s\n", printable.Value(c.Word), grouped(c.Messages), percent(c.Messages, m.Messages))
		}
	}
	table("SPF", m.SPF)
	table("DKIM", m.DKIM)
	table("DMARC", m.DMARC)
	p("\nPOLICY\tMESSAGES\tSHARE\tPASS\tFAIL\tOTHER\tREJECTED\tQUARANTINED\n")
	for _, x := range m.Policies {
		p("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Policy, grouped(x.Messages), percent(x.Messages, m.Messages), grouped(x.Pass), grouped(x.Fail), grouped(x.Other),
			grouped(x.Rejected), grouped(x.Quarantined))
	}
	table("DONE", m.Applied)
	if len(m.Reasons) > 0 {
		p("\nDONE\tREASON\tMESSAGES\tSHARE\n")
	}
	for _, r := range m.Reasons {
		p("%s\t%s\t%s\t%s\n", printable.Value(r.Applied), printable.Value(cmp.Or(r.Reason, "-")), grouped(r.Messages), percent(r.Messages, m.Messages))
	}
	table("OVERRIDE", m.Overrides)
	p("\nAUTHOR DOMAINS\tDOMAINS\tDMARC\tREJECT\tQUARANTINE\tNONE\tABSENT\tMESSAGES\tPASS\tFAIL\n")
	for _, c := range m.Classes {
		of := func(n int64) string { return percent(n, c.Domains) }
		p("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable.Value(c.Class), grouped(c.Domains), of(c.DMARC), of(c.Reject), of(c.Quarantine), of(c.None), of(c.Absent),
			grouped(c.Messages), percent(c.Pass, c.Messages), percent(c.Fail, c.Messages))
	}
	if len(m.Countries) > 0 {
		p("\nCOUNTRY\tMESSAGES\tSHARE\tDMARC PASS\tDMARC FAIL\tOTHER\tWITHOUT AUTHENTICATION\n")
	}
	for _, c := range m.Countries {
		of := func(n int64) string { return percent(n, c.Messages) }
		p("%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable.Value(c.Country), grouped(c.Messages), percent(c.Messages, m.Messages), of(c.Pass), of(c.Fail), of(c.Other), of(c.Nothing))
	}
	if m.Dropped > 0 {
		p("\nMessages missing in the author domains: %s, because there are more domains than ledger.max_domains allows.\n", grouped(m.Dropped))
	}
	return t.Flush()
}
