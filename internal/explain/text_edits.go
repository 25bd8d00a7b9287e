package explain

import (
	"fmt"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/dns"
	"sekimori/internal/label"
	"sekimori/internal/printable"
)

// edits prints the edits. The value of our Authentication-Results field is printed in a
// section of its own.
func (r *Explanation) edits(p *printer) {
	p.section("Edits, in the order in which they are made")
	for i := range r.Edits {
		p.line(0, "%s", editText(&r.Edits[i]))
	}
}

func editText(e *label.Edit) string {
	why := ""
	if e.Forged {
		why = ", which holds a result in our name"
	}
	switch e.Kind {
	case label.Quarantine:
		return "quarantine: " + printable.Value(e.Value)
	case label.Change:
		return fmt.Sprintf("change %s %d to %s", e.Name, e.Index, printable.Value(strings.TrimSpace(e.Value)))
	case label.Delete:
		return fmt.Sprintf("delete %s %d%s", e.Name, e.Index, why)
	case label.DeleteMany:
		return fmt.Sprintf("delete %d of %d %s fields", e.Deleted(), e.Index, e.Name)
	case label.Insert:
		if e.Name == authres.FieldName {
			return "insert " + e.Name
		}
		if len(e.Value) > maxShownValue {
			return fmt.Sprintf("insert %s, with %d octets", e.Name, len(e.Value))
		}
		return "insert " + e.Name + ": " + printable.Value(strings.Join(strings.Fields(e.Value), " "))
	}
	return string(e.Kind)
}

func (r *Explanation) lookups(p *printer) {
	p.section("DNS lookups, in order of completion")
	for _, l := range r.Lookups {
		p.line(0, "%s %s: %s", printable.Value(string(l.Name)), l.Type, answerText(l))
	}
}

func answerText(l dns.Lookup) string {
	if l.Answer == nil {
		return printable.Value(l.Error)
	}
	a := l.Answer
	if len(a.Records) == 0 {
		if a.Status == dns.NoError {
			return "NODATA"
		}
		return a.Status.String()
	}
	parts := make([]string, 0, len(a.Records))
	for _, rec := range a.Records {
		switch a.Type {
		case dns.TypeA, dns.TypeAAAA:
			parts = append(parts, rec.Addr.String())
		case dns.TypeTXT:
			parts = append(parts, printable.Quoted(rec.Text, len(rec.Text)))
		case dns.TypeMX:
			parts = append(parts, fmt.Sprintf("%d %s", rec.Preference, printable.Value(string(rec.Host))))
		default:
			parts = append(parts, printable.Value(string(rec.Host)))
		}
	}
	return strings.Join(parts, ", ")
}
