package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/admin"
	"sekimori/internal/app"
	"sekimori/internal/holdqueue"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
)

// heldFlags are the values of the flags of the command held.
type heldFlags struct {
	at             adminFlags
	mta, configDir string
	release, drop  []string
	force, json    bool
	metrics        string
}

func newHeld() *cobra.Command {
	var f heldFlags
	cmd := &cobra.Command{
		Use:   "held [--release QUEUE-ID | --drop QUEUE-ID]",
		Short: "List, release or delete the messages that the MTA holds",
		Long: `List the messages in Postfix's hold queue, or in Sendmail's quarantine: who put
each on hold, and why. What the running daemon remembers (admin.recent) tells that;
for an older message, the label in its header does. The command is for root, because
the daemon has no right to the queue.

--release puts a message back for delivery, and --drop deletes it. Both take the
queue id of a message on hold (several: give the flag again). A message that somebody
else put on hold, by postsuper or by a header check, is refused unless --force is
given. If one message is refused, nothing is done to the others.

Released mail is delivered with its label, so a Sieve rule can still file it. Postfix
tries it at once, Sendmail in its next queue run. A message that Postfix has held for
longer than maximal_queue_lifetime is returned to its sender if that try fails.

--metrics writes the number of messages and the arrival of the oldest into a file for
node_exporter's textfile collector; sekimori-held.timer does this every five minutes.

Exit code 1 if the queue cannot be listed, or a message is refused.`,
		Example: `  sekimori held
  sekimori held --json | jq '.messages[] | select(.held_by=="sekimori").queue_id'
  sekimori held --release 4dQZ7x2wJ1z9sP
  sekimori held --config-dir /etc/postfix-mx --drop 4dQZ7x2wJ1z9sP`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.release, "release", nil, "release the message with this queue id (repeatable)")
	flags.StringArrayVar(&f.drop, "drop", nil, "delete the message with this queue id (repeatable)")
	flags.BoolVar(&f.force, "force", false, "with --release or --drop: also a message that sekimori did not hold")
	flags.StringVar(&f.mta, "mta", "", `"postfix" or "sendmail" (default: whichever is installed)`)
	flags.StringVar(&f.configDir, "config-dir", "", "configuration directory of a Postfix instance")
	flags.StringVar(&f.metrics, "metrics", "", "write the metrics to this file, whose name ends with .prom, and print nothing")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	f.at.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("release", "drop", "metrics", "json")
	return cmd
}

func (f *heldFlags) run(cmd *cobra.Command) error {
	change := len(f.release) > 0 || len(f.drop) > 0
	if f.force && !change {
		return errors.New("--force is for --release and --drop")
	}
	for _, id := range append(f.release, f.drop...) {
		if err := holdqueue.CheckID(id); err != nil {
			return err
		}
	}
	cfg, err := loadOptional(f.at.config, cmd.Flags().Changed("config"))
	if err != nil {
		return err
	}
	o := holdqueue.Options{MTA: f.mta, ConfigDir: f.configDir, AuthservID: cfg.AuthservID, Decisions: f.decisions(cmd)}
	queue, err := holdqueue.Open(o)
	if err != nil {
		return err
	}
	if change {
		return failed(f.change(cmd, queue))
	}
	list, err := queue.List(cmd.Context())
	if err != nil {
		return failed(err)
	}
	switch {
	case f.metrics != "":
		return failed(holdqueue.WriteMetrics(f.metrics, list, time.Now()))
	case f.json:
		return failed(writeJSON(cmd.OutOrStdout(), list))
	}
	return failed(list.Text(cmd.OutOrStdout(), time.Now()))
}

func (f *heldFlags) change(cmd *cobra.Command, queue *holdqueue.Queue) error {
	act, ids, done := queue.Release, f.release, "released"
	if len(f.drop) > 0 {
		act, ids, done = queue.Drop, f.drop, "deleted"
	}
	if err := act(cmd.Context(), ids, f.force); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", id, done); err != nil {
			return err
		}
	}
	return nil
}

// decisions returns a function that asks the running daemon for its decisions on a message.
func (f *heldFlags) decisions(cmd *cobra.Command) func(context.Context, string) ([]holdqueue.Decision, error) {
	client, err := f.at.client(cmd)
	return func(ctx context.Context, id string) ([]holdqueue.Decision, error) {
		if err != nil {
			return nil, err
		}
		return remembered(ctx, client, id)
	}
}

// remembered asks the daemon for its decisions on the messages with a queue id.
func remembered(ctx context.Context, client *admin.Client, id string) (found []holdqueue.Decision, err error) {
	const limit = "10"
	var answer recent.Answer
	if err := client.Get(ctx, app.DecisionsPath, url.Values{"queue_id": {id}, "limit": {limit}}, &answer); err != nil {
		return nil, err
	}
	for _, d := range answer.Decisions {
		found = append(found, holdqueue.Decision{Time: d.Time, Held: d.Verdict.Applied == policy.Quarantine,
			Reason: d.Verdict.Reason, ID: d.ID, AuthorDomain: string(d.AuthorDomain)})
	}
	return found, nil
}
