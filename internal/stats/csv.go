package stats

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sekimori/internal/printable"
)

// CSV writes one line for each number (RFC 4180): the month, the table, the row, the column, and the number.
// Shares are left out, because they follow from the numbers. A cell that a spreadsheet could take for a
// formula begins with an apostrophe.
func (m *Month) CSV(out io.Writer) error {
	w := csv.NewWriter(out)
	w.UseCRLF = true
	line := func(table, row, column string, n int64) {
		_ = w.Write([]string{m.Month, table, safe(row), safe(column), strconv.FormatInt(n, 10)}) // w.Error has the error
	}
	_ = w.Write([]string{"month", "table", "row", "column", "number"})
	group := m.Group
	if group == "" {
		group = "all"
	}
	line("all", group, "messages", m.Messages)
	line("all", group, "unauthenticated", m.Unauthenticated.Messages)
	line("all", group, "nothing_passed", m.NothingPassed.Messages)
	line("all", group, "dropped", m.Dropped)
	for _, t := range []struct {
		name string
		rows []Count
	}{{"spf", m.SPF}, {"dkim", m.DKIM}, {"dmarc", m.DMARC}, {"applied", m.Applied}, {"override", m.Overrides}} {
		for _, c := range t.rows {
			line(t.name, c.Word, "messages", c.Messages)
		}
	}
	for _, r := range m.Reasons {
		line("reason", r.Reason, r.Applied, r.Messages)
	}
	several := func(table, row string, names string, numbers ...int64) {
		for i, name := range strings.Fields(names) {
			line(table, row, name, numbers[i])
		}
	}
	for _, p := range m.Policies {
		several("policy", p.Policy, "messages pass fail other rejected quarantined", p.Messages, p.Pass, p.Fail, p.Other, p.Rejected, p.Quarantined)
	}
	for _, c := range m.Classes {
		several("class", c.Class, "domains dmarc reject quarantine none absent messages pass fail rejected quarantined",
			c.Domains, c.DMARC, c.Reject, c.Quarantine, c.None, c.Absent, c.Messages, c.Pass, c.Fail, c.Rejected, c.Quarantined)
	}
	for _, c := range m.Countries {
		several("country", c.Country, "messages pass fail other nothing", c.Messages, c.Pass, c.Fail, c.Other, c.Nothing)
	}
	for _, d := range m.Days {
		several("day", d.Day, "messages pass fail other nothing rejected quarantined", d.Messages, d.Pass, d.Fail, d.Other, d.Nothing, d.Rejected, d.Quarantined)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	return nil
}

// safe returns a cell that no spreadsheet takes for a formula, without characters that control a terminal. Only
// the name of a group can begin like a formula.
func safe(cell string) string {
	cell = printable.Text(cell)
	if cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
		return "'" + cell
	}
	return cell
}
