package main

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/printable"
	"sekimori/internal/recent"
)

// decisionsFlags are the values of the flags of the command decisions.
type decisionsFlags struct {
	at         adminFlags
	day, until string
	limit      int
	json       bool
	// by has the values of the flags that are parameters of the admin address too.
	by map[string]*string
}

func newDecisions() *cobra.Command {
	f := decisionsFlags{by: map[string]*string{}}
	cmd := &cobra.Command{
		Use:   "decisions [--author DOMAIN] [--client ADDR] [--sender ADDR] [--verdict V] [--reason R] [--host NAME] [--day DATE]",
		Short: "List decisions, also of the last days and of other hosts",
		Long: `List the decisions that the running daemon remembers (admin.recent) and those in
the history (history.keep), the newest first: also from before a restart, and of
other hosts that share the store. A decision must match every flag that is given.

--host is the name of the host whose daemon decided, as "sekimori status --all"
prints it. --client is the address of the host that sent the message. --day is a
day of this host's time zone. sekimori explain --id says why one was decided so.`,
		Example: `  sekimori decisions --client 192.0.2.1 --day today
  sekimori decisions --verdict reject --reason dmarc_reject --day 2026-11-29
  sekimori decisions --host mx2.example.jp --author bank.example --json | jq -r '.decisions[].id'`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	for _, one := range []struct{ name, usage string }{
		{"author", "author domain"},
		{"client", "address of the SMTP client"},
		{"sender", `envelope sender; "<>" is the null sender`},
		{"verdict", "accept, tag, quarantine, reject, tempfail or skip"},
		{"reason", `word of the column "reason", such as dmarc_reject`},
		{"host", "name of the host whose daemon decided"},
	} {
		f.by[one.name] = flags.String(one.name, "", one.usage)
	}
	flags.StringVar(&f.day, "day", "", `day of the decisions: 2026-11-29, "today" or "yesterday"`)
	flags.StringVar(&f.until, "until", "", "only decisions before this time, such as 2026-11-29T08:00:00Z")
	flags.IntVar(&f.limit, "limit", 50, "how many to list, at most 500")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	f.at.add(cmd)
	return cmd
}

func (f *decisionsFlags) run(cmd *cobra.Command) error {
	query := url.Values{"limit": {strconv.Itoa(f.limit)}}
	for name, value := range f.by {
		if cmd.Flags().Changed(name) {
			query.Set(name, *value)
		}
	}
	if err := f.times(query, time.Now()); err != nil {
		return err
	}
	if err := recent.CheckQuery(query); err != nil {
		return err
	}
	client, err := f.at.client(cmd)
	if err != nil {
		return err
	}
	var answer recent.Answer
	if err := client.Get(cmd.Context(), app.DecisionsPath, query, &answer); err != nil {
		return failed(err)
	}
	if answer.HistoryError != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "sekimori: the history could not be searched: %s\n", printable.Value(plain(answer.HistoryError)))
	}
	if f.json {
		return failed(writeJSON(cmd.OutOrStdout(), &answer))
	}
	return failed(writeDecisions(cmd.OutOrStdout(), &answer))
}

// times adds the limits of the time to the query.
func (f *decisionsFlags) times(query url.Values, now time.Time) error {
	if f.day != "" {
		day := now
		switch f.day {
		case "today":
		case "yesterday":
			day = now.AddDate(0, 0, -1)
		default:
			var err error
			if day, err = time.ParseInLocation(time.DateOnly, f.day, now.Location()); err != nil {
				return fmt.Errorf("--day: %q is neither a day such as 2026-11-29 nor \"today\" or \"yesterday\"", f.day)
			}
		}
		begin := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, now.Location())
		query.Set("from", begin.Format(time.RFC3339))
		query.Set("until", begin.AddDate(0, 0, 1).Format(time.RFC3339))
	}
	if f.until == "" {
		return nil
	}
	until, err := time.Parse(time.RFC3339, f.until)
	if err != nil {
		return fmt.Errorf("--until: %q is not a time such as 2026-11-29T08:00:00Z", f.until)
	}
	if end, err := time.Parse(time.RFC3339, query.Get("until")); err != nil || until.Before(end) {
		query.Set("until", until.Format(time.RFC3339Nano))
	}
	return nil
}

// writeDecisions writes a table. Its columns are those of the console's page.
func writeDecisions(out io.Writer, a *recent.Answer) error {
	if len(a.Decisions) == 0 {
		return printNone(out, a)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	hosts := ""
	for _, d := range a.Decisions {
		if d.Host != "" {
			hosts = "\tHOST"
		}
	}
	fmt.Fprintf(t, "TIME (%s)\tVERDICT\tREASON\tAUTHOR\tSENDER\tCLIENT\tID\tQUEUE ID%s\n", a.Decisions[0].Time.Local().Format("MST"), hosts)
	for _, d := range a.Decisions {
		h, host, client := d.Head(), "", "-"
		if hosts != "" {
			host = "\t" + cell(cmp.Or(d.Host, "this one"))
		}
		if d.Client.IsValid() {
			client = d.Client.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s%s\n", d.Time.Local().Format(time.DateTime), cell(string(h.Action)), cell(string(h.Reason)), cell(string(h.AuthorDomain)),
			cell(recent.BarePath(h.Sender)), cell(client), cell(h.ID), cell(h.QueueID), host)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !a.More {
		return nil
	}
	_, err := fmt.Fprintf(out, "\nThere are older ones: add --until %s\n", a.Next.UTC().Format(time.RFC3339Nano))
	return err
}

// printNone says that nothing was found. A search that looked at its share of decisions goes on at Next.
func printNone(out io.Writer, a *recent.Answer) error {
	text := "No decision that is remembered or kept matches.\n"
	if a.More {
		text = fmt.Sprintf("None of the newest ones that were looked at matches. There are older ones: add --until %s\n", a.Next.UTC().Format(time.RFC3339Nano))
	}
	_, err := io.WriteString(out, text)
	return err
}

// maxCell is how much of a value is shown, in octets. Senders choose how long their names are.
const maxCell = 80

// cell returns a value as it stands in a table.
func cell(s string) string { return printable.Clip(printable.Value(cmp.Or(s, "-")), maxCell) }
