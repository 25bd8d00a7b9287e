package domaincheck

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"sekimori/internal/dmarc"
	"sekimori/internal/printable"
	"sekimori/internal/spf"
)

// errWriter keeps the first error of its writes.
type errWriter struct {
	out io.Writer
	err error
}

func (w *errWriter) line(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.out, format+"\n", args...)
	}
}

// Text writes the report for a person.
func (r *Report) Text(out io.Writer) error {
	w := &errWriter{out: out}
	w.line("%s", printable.Value(string(r.Domain)))
	if u := r.Domain.Unicode(); u != string(r.Domain) {
		w.line("  %s", u)
	}
	r.mailText(w)
	r.spfText(w)
	r.dmarcText(w)
	r.keyText(w)
	r.bimiText(w)
	r.faultText(w)
	return w.err
}

func (r *Report) mailText(w *errWriter) {
	w.line("\nMail servers")
	switch r.Mail {
	case MailNull:
		w.line("  none: the null MX says that the domain takes no mail")
	case MailAddress:
		w.line("  the domain's own address, because it has no MX record")
	case MailNone:
		w.line("  none")
	}
	for _, h := range r.MX {
		if h.Name == "" {
			continue
		}
		var addresses []string
		for _, a := range h.Addresses {
			addresses = append(addresses, a.String())
		}
		w.line("  %d %s  %s", h.Preference, printable.Value(string(h.Name)), strings.Join(addresses, " "))
	}
}

func (r *Report) spfText(w *errWriter) {
	w.line("\nSPF")
	switch {
	case r.SPF.Published:
	case slices.ContainsFunc(r.Unknown, func(what string) bool { return strings.HasPrefix(what, ofSPF) }):
		w.line("  not known")
		return
	default:
		w.line("  none")
		return
	}
	if r.SPF.Record != "" {
		w.line("  %s", shown(r.SPF.Record))
	}
	w.line("  lookups: %d of %d; lookups that found nothing: %d of %d", r.SPF.Lookups, spf.MaxLookups, r.SPF.VoidLookups, spf.MaxVoidLookups)
	for _, t := range r.SPF.Terms {
		w.line("    %2d  %s", t.Lookups, shown(t.Text))
	}
	if r.SPF.All != "" {
		w.line("  any other client: %s", r.SPF.All)
	}
}

func (r *Report) dmarcText(w *errWriter) {
	d := &r.DMARC
	w.line("\nDMARC")
	for _, q := range d.Walk {
		w.line("  asked %s: %s", printable.Value(string(q.Name)), strings.TrimSpace(q.Found+" "+psd(q.PSD)))
	}
	switch {
	case d.Source != "":
	case slices.ContainsFunc(d.Walk, func(q Question) bool { return q.Found == string(dmarc.FoundError) }):
		w.line("  not known which record applies")
		return
	default:
		w.line("  no record applies")
		return
	}
	w.line("  %s (%s)", shown(d.Record), map[string]string{"author": "its own", "organizational": "that of the organizational domain", "psd": "that of the public suffix"}[d.Source])
	if d.Policy != "" {
		w.line("  mail of %s that fails: %s", printable.Value(string(r.Domain)), map[string]string{"none": "is delivered", "quarantine": "quarantine", "reject": "reject"}[d.Policy])
	}
	for _, to := range r.Destinations {
		word := "reports"
		if !to.Usable {
			word = "no reports"
		}
		w.line("  %s to %s (%s)", word, shown(to.URI), shown(to.Detail))
	}
}

// psd returns the tag psd, if it is more than its default.
func psd(value string) string {
	if value == "y" || value == "n" {
		return "psd=" + value
	}
	return ""
}

func (r *Report) keyText(w *errWriter) {
	if len(r.Keys) == 0 {
		return
	}
	w.line("\nKeys")
	for _, k := range r.Keys {
		what := "no usable key"
		switch {
		case k.Revoked:
			what = "revoked"
		case k.Bits > 0:
			what = fmt.Sprintf("%s, %d bits", printable.Value(k.Type), k.Bits)
		}
		for _, flag := range []struct {
			set  bool
			text string
		}{{k.Testing, "t=y: the domain is testing"}, {k.Strict, "t=s: not for subdomains"}} {
			if flag.set {
				what += ", " + flag.text
			}
		}
		if k.Seen {
			what += " (seen here)"
		}
		of := ""
		if k.Domain != r.Domain {
			of = " of " + printable.Value(string(k.Domain))
		}
		w.line("  %s%s: %s", printable.Value(k.Selector), of, what)
	}
}

func (r *Report) bimiText(w *errWriter) {
	b := &r.BIMI
	if b.Domain == "" {
		return
	}
	w.line("\nBIMI")
	of := ""
	if b.Domain != r.Domain {
		of = " (that of " + printable.Value(string(b.Domain)) + ")"
	}
	w.line("  %s%s", shown(cmp.Or(b.Record, "several records")), of)
	switch {
	case b.Declined:
		w.line("  the domain takes no part: no mark is shown")
	case b.Location != "":
		w.line("  \"sekimori bimi check %s\" fetches the mark and its certificate, and judges them", printable.Value(string(r.Domain)))
	}
}

func (r *Report) faultText(w *errWriter) {
	if len(r.Unknown) > 0 {
		w.line("\nNot known, because a lookup failed")
		for _, u := range r.Unknown {
			w.line("  %s", shown(u))
		}
	}
	if len(r.Faults) == 0 {
		if len(r.Unknown) == 0 {
			w.line("\nNothing is wrong.")
		}
		return
	}
	w.line("\nFound")
	for _, grade := range []Grade{Broken, Missing, Weak} {
		for _, f := range r.Faults {
			if f.Grade == grade {
				w.line("  %-7s  %s (%s; %s)", f.Grade, f.Text, f.Word, f.Section)
				w.line("           -> %s", f.Do)
			}
		}
	}
}
