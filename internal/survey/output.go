package survey

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"sekimori/internal/printable"
)

// percent returns a share for people, such as "12.5 %". A share below one is never shown as 100.0 %.
func percent(share float64) string {
	permille := int(share * 1000) // rounded down
	return fmt.Sprintf("%d.%d %%", permille/10, permille%10)
}

// columns are the measures of the table of classes in text.
var columns = []struct {
	title string
	id    Measure
}{
	{"MX", WithMX}, {"NULL MX", "null_mx"}, {"SPF", SPF}, {"DMARC", DMARC}, {"NONE", "p_none"}, {"QUARANTINE", "p_quarantine"},
	{"REJECT", "p_reject"}, {"RUA", "rua"}, {"BIMI", BIMI},
}

// Text writes the result for a person.
func (r *Result) Text(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "CLASS\tDOMAINS")
	for _, c := range columns {
		fmt.Fprintf(t, "\t%s", c.title)
	}
	fmt.Fprintln(t)
	for _, c := range append(r.Classes[:len(r.Classes):len(r.Classes)], r.All) {
		fmt.Fprintf(t, "%s\t%d", printable.Value(c.Name), c.Counts[Domains])
		for _, col := range columns {
			fmt.Fprintf(t, "\t%s", percent(c.Share(col.id)))
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintln(t)
	for _, m := range measures {
		of := ""
		if m.of != "" {
			of = percent(r.All.Share(m.id)) + " of " + string(m.of)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", m.id, r.All.Counts[m.id], of, m.en)
	}
	if len(r.Faults) > 0 {
		fmt.Fprintln(t, "\nFAULT\tDOMAINS\tSUCH AS")
	}
	for _, f := range r.Faults {
		fmt.Fprintf(t, "%s\t%d\t", f.Word, f.Domains)
		for i, example := range f.Examples {
			if i > 0 {
				fmt.Fprint(t, " ")
			}
			fmt.Fprint(t, printable.Value(example))
		}
		fmt.Fprintln(t)
	}
	for i, line := range r.Invalid {
		if i == 0 {
			fmt.Fprintln(t, "\nThese lines of the list have no domain name, and perhaps others:")
		}
		fmt.Fprintf(t, "  %s\n", printable.Quoted(line, 60))
	}
	return t.Flush()
}

// CSV writes one row for each class and measure: the class, the measure, the number of domains, the
// measure that it is a part of, and the share in it. Rows with the measure "fault:WORD" follow.
func (r *Result) CSV(out io.Writer) error {
	w := csv.NewWriter(out)
	rows := [][]string{{"class", "measure", "domains", "of", "share"}}
	for _, c := range append(r.Classes[:len(r.Classes):len(r.Classes)], r.All) {
		for _, m := range measures {
			share := ""
			if m.of != "" {
				share = strconv.FormatFloat(c.Share(m.id), 'f', 4, 64)
			}
			rows = append(rows, []string{c.Name, string(m.id), strconv.Itoa(c.Counts[m.id]), string(m.of), share})
		}
	}
	for _, f := range r.Faults {
		share := float64(f.Domains) / float64(max(1, r.All.Counts[WithMX]))
		rows = append(rows, []string{ClassAll, "fault:" + string(f.Word), strconv.Itoa(f.Domains), string(WithMX), strconv.FormatFloat(share, 'f', 4, 64)})
	}
	if err := w.WriteAll(rows); err != nil { // it flushes
		return fmt.Errorf("survey: %w", err)
	}
	return nil
}
