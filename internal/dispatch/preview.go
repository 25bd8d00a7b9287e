package dispatch

import (
	"context"
	"fmt"
	"io"

	"sekimori/internal/printable"
	"sekimori/internal/report"
	"sekimori/internal/report/aggregate"
	"sekimori/internal/report/destination"
	"sekimori/internal/submit"
)

// The functions here show what would be sent. They change nothing in the store.

// Explain says to whom the report would be sent now, with every rule and its evidence.
func (d *Dispatcher) Explain(ctx context.Context, job report.Job) (destination.Decision, error) {
	return d.decide(ctx, job, true)
}

// preview gives a job that has no Report-ID one of its own.
func (d *Dispatcher) preview(job report.Job) report.Job {
	if job.ReportID == "" {
		job.ReportID = aggregate.NewReportID(unique(), job.Window, job.Policy.Domain, d.o.Identity.Domain)
	}
	return job
}

// WriteXML writes the report as it would be sent now. If the job has no Report-ID yet, the report has
// another one than the report that will be sent.
func (d *Dispatcher) WriteXML(ctx context.Context, w io.Writer, job report.Job) error {
	job = d.preview(job)
	id := d.o.Identity
	a := &aggregate.Report{Job: job, Organization: id.Organization, Contact: id.Contact, ContactInfo: id.ContactInfo, ReportID: job.ReportID, Generator: id.Generator}
	return aggregate.WriteXML(w, a, d.o.Store.Rows(ctx, job.ID))
}

// WriteMail writes the mail to an address as it would be sent now, with the signature if there is one.
func (d *Dispatcher) WriteMail(ctx context.Context, w io.Writer, job report.Job, to string) error {
	f, err := d.build(ctx, d.preview(job), nil)
	if err != nil {
		return err
	}
	defer f.Close()
	write, _, err := d.mail(f, to)
	if err != nil {
		return err
	}
	return write(w)
}

// Copy sends a copy of the report to an address of the operator's choice, and nowhere else. A bounce of
// it concerns no delivery.
func (d *Dispatcher) Copy(ctx context.Context, job report.Job, to string) (submit.Result, error) {
	f, err := d.build(ctx, d.preview(job), nil)
	if err != nil {
		return submit.Result{}, err
	}
	defer f.Close()
	write, size, err := d.mail(f, to)
	if err != nil {
		return submit.Result{}, err
	}
	id := d.o.Identity
	result, err := d.o.Submit.Submit(ctx, submit.Envelope{From: id.Bounce + "@" + string(id.Domain), To: to, Size: size, SMTPUTF8: !printable.IsASCII(to)}, write)
	if err != nil {
		return result, fmt.Errorf("dispatch: %w", err)
	}
	return result, nil
}
