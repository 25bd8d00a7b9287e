package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/reporting"
	storage "sekimori/internal/store"
)

func newReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "report",
		Short: "List, show, send and check DMARC reports",
		Long: `Look at the DMARC reports (RFC 9990) in the daemon's store: which there are, who
gets one and why not. The commands read the configuration of the daemon for the
place of the store (store.url), and may be called while the daemon runs. As root
they become the daemon's user before they open it: the owner of the SQLite file, or
of the spool beside PostgreSQL.

reports.md in /usr/share/doc/sekimori says how to switch reports on, and what to do
at each word.`,
		Args: cobra.ArbitraryArgs, // group looks at them
		RunE: group,
	}
	cmd.AddCommand(newReportList(), newReportShow(), newReportSend(), newReportSuppress(), newReportCheck())
	return cmd
}

// storeFlags are the flags of the commands that read the store.
type storeFlags struct {
	config string
	json   bool
	sel    reporting.Selection
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", defaultConfig, "the daemon's configuration file")
}

func (f *storeFlags) addJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

func (f *storeFlags) addWindow(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.sel.Window, "window", "", "the day in UTC, such as 2026-11-28, today or yesterday")
	_ = cmd.RegisterFlagCompletionFunc("window", cobra.FixedCompletions([]string{"today", "yesterday"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *storeFlags) addDomain(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.sel.Domain, "domain", "", "only reports about this policy domain")
}

// store reads the configuration and opens the store. The caller must close it.
func (f *storeFlags) store(ctx context.Context) (cfg *config.Config, s storage.Store, err error) {
	if cfg, err = config.LoadCandidate(f.config); err != nil {
		return nil, nil, err
	}
	// PostgreSQL may know a user of its unix socket by the name in the system ("peer").
	if err := becomeOwner(cmp.Or(storage.File(cfg.Store.URL), cfg.Store.Spool.Dir)); err != nil {
		return nil, nil, failed(err)
	}
	if s, err = reporting.OpenStore(ctx, cfg); err != nil {
		return nil, nil, used(err)
	}
	return cfg, s, nil
}

// open reads the configuration and opens the store. The caller must call end.
func (f *storeFlags) open(ctx context.Context) (cfg *config.Config, o *reporting.Office, end func(), err error) {
	cfg, store, err := f.store(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	resolver, err := app.NewResolver(cfg, nil, nil)
	if err != nil {
		return nil, nil, nil, errors.Join(failed(err), store.Close())
	}
	end = func() {
		resolver.Close()
		_ = store.Close() // everything is written
	}
	sender, err := reporting.NewSender(cfg, store, resolver, version, time.Now)
	if err != nil {
		end()
		return nil, nil, nil, failed(err)
	}
	return cfg, &reporting.Office{Store: store, Sender: sender, Sending: cfg.Report.Aggregate.Send, Now: time.Now()}, end, nil
}

// used gives an error of package reporting its exit code: wrong use is one thing, and work that failed
// another.
func used(err error) error {
	if errors.Is(err, reporting.ErrUse) {
		return errors.New(strings.TrimPrefix(err.Error(), reporting.ErrUse.Error()+": "))
	}
	return failed(err)
}

// answer is what a command prints as text or as JSON.
type answer interface{ Text(out io.Writer) error }

func (f *storeFlags) print(cmd *cobra.Command, a answer) error {
	if f.json {
		return failed(writeJSON(cmd.OutOrStdout(), a))
	}
	return failed(a.Text(cmd.OutOrStdout()))
}

func newReportList() *cobra.Command {
	var f storeFlags
	cmd := &cobra.Command{
		Use:   "list [--window DATE] [--domain DOMAIN] [--state STATE]",
		Short: "List the reports in the store",
		Long: `List the reports in the store, the newest window first: how many rows and messages
each has, and what became of it. Reports of the window that is open now are listed
too. A report is kept with its rows for report.keep after it is done, and without
them until six days are over, in which it can still come back.`,
		Example: `  sekimori report list --window yesterday
  sekimori report list --json | jq -r '.reports[] | select(.outcome=="unverified").domain'`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, office, end, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			list, err := reporting.ListReports(cmd.Context(), office.Store, f.sel, office.Now)
			if err != nil {
				return used(err)
			}
			return f.print(cmd, list)
		},
	}
	f.add(cmd)
	f.addWindow(cmd)
	f.addDomain(cmd)
	cmd.Flags().StringVar(&f.sel.State, "state", "", "only reports that are open, due, claimed or done")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"open", "due", "claimed", "done"}, cobra.ShellCompDirectiveNoFileComp))
	f.addJSON(cmd)
	return cmd
}

func newReportShow() *cobra.Command {
	var f storeFlags
	var asXML, asMail bool
	cmd := &cobra.Command{
		Use:   "show DOMAIN|REPORT-ID",
		Short: "Show a report: who gets it, or why nobody does",
		Long: `Show the newest report about a domain, or the one with a Report-ID. Before the
report is done, also while its window is open, every rule by which a report is
withheld is checked as it is now, with its evidence and dates: DNS is asked for the
domain's record and for its destinations. Nothing is sent and nothing changes.

--xml prints the report itself, as it would be now, and --eml the mail with it.`,
		Example: `  sekimori report show shop.example
  sekimori report show shop.example --window 2026-11-28 --xml
  sekimori report show 20261128.k7q2m4x9ab3d.shop.example@dmarc.isp.example --eml > report.eml`,
		Args: arguments(1, 1, "a domain or a Report-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, office, end, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			switch {
			case asXML:
				return used(office.WriteXML(cmd.Context(), cmd.OutOrStdout(), args[0], f.sel))
			case asMail:
				return used(office.WriteMail(cmd.Context(), cmd.OutOrStdout(), args[0], f.sel, cfg.Report.Contact))
			}
			shown, err := office.Show(cmd.Context(), args[0], f.sel)
			if err != nil {
				return used(err)
			}
			return f.print(cmd, shown)
		},
	}
	f.add(cmd)
	f.addWindow(cmd)
	f.addJSON(cmd)
	cmd.Flags().BoolVar(&asXML, "xml", false, "print the report as XML")
	cmd.Flags().BoolVar(&asMail, "eml", false, "print the mail with the report")
	cmd.MarkFlagsMutuallyExclusive("xml", "eml", "json")
	return cmd
}

func newReportSend() *cobra.Command {
	var f storeFlags
	var dry, again bool
	var to string
	cmd := &cobra.Command{
		Use:   "send [--domain DOMAIN] [--window DATE] [--again | --dry-run | --to ADDRESS]",
		Short: "Send reports now or again, send a copy to yourself, or say what would be sent",
		Long: `The daemon sends reports by itself when they are due. This command sends the
reports that --domain, --window or both select now, and may be called while the
daemon runs. Who gets them is decided by the same rules. A report that is done is
sent again, with the same Report-ID and file name. One that was sent is left alone,
unless --domain names its domain, or --again says that all of a window are to be
sent again: that is for reports that got lost after your mail server took them. A
report whose window is open is not sent. The mail server gets the mails at the
daemon's pace; a report that would have to wait longer is left to the daemon.

--dry-run says for each selected report to whom it would be sent now, or why not.
--to sends a copy of each selected report to one address, such as your own, and to
nobody else. A copy of a report that was sent has the same Report-ID and file name.
Both change nothing in the store.

Exit code 0 if every selected report was sent or withheld by a rule; reports whose
window is open do not count beside others. Exit code 1 if one failed, was refused,
waits or is being sent by another, if there are only reports whose window is open,
or if a copy was not taken.`,
		Example: `  sekimori report send --domain shop.example --window yesterday
  sekimori report send --dry-run --window yesterday
  sekimori report send --domain shop.example --to me@isp.example`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !dry && to == "" && f.sel.Domain == "" && f.sel.Window == "":
				return errors.New("write --domain, --window or both, so that it is clear which reports are sent now; or --dry-run to see what would be sent")
			case again && (f.sel.Window == "" || f.sel.Domain != ""):
				return errors.New("--again needs --window and goes without --domain, which sends a report again anyway")
			case to != "" && f.sel.Domain == "":
				return errors.New("--to needs --domain, so that one mistake does not send you a mail for every domain")
			}
			cfg, office, end, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			if !dry {
				if err := f.canSend(cfg, to == ""); err != nil {
					return failed(err)
				}
			}
			var sent *reporting.Sent
			switch {
			case dry:
				sent, err = office.DryRun(cmd.Context(), f.sel)
			case to != "":
				sent, err = office.Copies(cmd.Context(), f.sel, to)
			default:
				sent, err = office.Send(cmd.Context(), f.sel, again)
			}
			if err != nil {
				return used(err)
			}
			if err := f.print(cmd, sent); err != nil {
				return err
			}
			if !sent.AllSent() {
				return failure{}
			}
			return nil
		},
	}
	f.add(cmd)
	f.addWindow(cmd)
	f.addDomain(cmd)
	f.addJSON(cmd)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be sent")
	cmd.Flags().StringVar(&to, "to", "", "send a copy to this address and nowhere else")
	cmd.Flags().BoolVar(&again, "again", false, "with --window: send again also the reports that were sent")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "to", "again")
	return cmd
}

// canSend says what the configuration lacks to send a copy, or with others a report to its destinations.
func (f *storeFlags) canSend(cfg *config.Config, others bool) error {
	if others && !cfg.Report.Aggregate.Send {
		return errors.New("report.aggregate.send is false, so no report is sent to others; use --dry-run to see what would be sent, or --to for a copy")
	}
	if cfg.Report.Domain == "" || cfg.Report.Organization == "" || cfg.Report.Contact == "" {
		return fmt.Errorf("a mail needs report.domain, report.organization and report.contact; set them in %s", f.config)
	}
	if !others || cfg.Report.Mail.DKIM.KeyFile == "" {
		return nil
	}
	_, err := app.ReportKey(&cfg.Report) // otherwise each report would be put off
	return err
}
