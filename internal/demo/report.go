package demo

import (
	"context"
	"fmt"
	"io"
	"time"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/reporting"
)

// showReport writes the report that the domain "reported" would get about the messages of the demo: in
// words, and as XML. The daemon has stopped, so all its rows are in the store.
func showReport(ctx context.Context, out io.Writer, cfg *config.Config, version string) error {
	store, err := reporting.OpenStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	r, err := app.NewResolver(cfg, nil, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	sender, err := reporting.NewSender(cfg, store, r, version, time.Now)
	if err != nil {
		return err
	}
	office := &reporting.Office{Store: store, Sender: sender, Sending: cfg.Report.Aggregate.Send, Now: time.Now()}
	shown, err := office.Show(ctx, reported, reporting.Selection{})
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(out, "\nThe DMARC report that %s would get tonight about these messages, if reports were sent:\n\n", reported); err != nil {
		return err
	}
	if err := shown.Text(out); err != nil {
		return err
	}
	if _, err = fmt.Fprintln(out); err != nil {
		return err
	}
	return office.WriteXML(ctx, out, reported, reporting.Selection{})
}
