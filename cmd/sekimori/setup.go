package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sekimori/internal/setup"
)

// setupFlags are the flags that both MTAs have.
type setupFlags struct {
	config              string
	apply, undo, noRun  bool
	configDir, mc       string
	keepTrustedNetworks bool
}

func newSetup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Show or write the lines that the MTA of this host needs",
		Args:  cobra.ArbitraryArgs, // group looks at them
		RunE:  group,
	}
	cmd.AddCommand(newSetupPostfix(), newSetupSendmail())
	return cmd
}

const setupLong = `

Without --apply nothing is changed: the command prints what it found, each line
that would change, and why. --apply writes the files and runs the commands. It
first keeps the files as they were in /etc/sekimori/setup. The MTA is changed
last, and only if the daemon answers. If a step fails, every file is put back.
--undo takes the last --apply back and leaves what was changed since.

If the configuration has something that the command does not understand, it
says what it found, changes nothing, and the exit code is 1.`

func newSetupPostfix() *cobra.Command {
	var f setupFlags
	cmd := &cobra.Command{
		Use:   "postfix",
		Short: "Show or write the lines that Postfix on this host needs",
		Long: `Show or write the lines that Postfix on this host needs: smtpd_milters with the
daemon first and every other milter after it, a socket that smtpd can reach in
its chroot, and in the daemon's configuration the name (myhostname) and the
networks (mynetworks) of Postfix.` + setupLong,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "postfix", func(h setup.Host, d setup.Daemon) (setup.Plan, error) {
				p, err := h.ReadPostfix(cmd.Context(), f.configDir)
				if err != nil {
					return setup.Plan{}, err
				}
				return setup.PlanPostfix(p, d), nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.configDir, "config-dir", "", "directory of main.cf, for one of several instances of Postfix")
	cmd.Flags().BoolVar(&f.keepTrustedNetworks, "keep-trusted", false, "leave trusted.networks of the daemon as it is")
	return cmd
}

func newSetupSendmail() *cobra.Command {
	var f setupFlags
	cmd := &cobra.Command{
		Use:   "sendmail",
		Short: "Show or write the line that Sendmail on this host needs",
		Long: `Show or write the line that Sendmail on this host needs: INPUT_MAIL_FILTER in
sendmail.mc, before the lines of other filters. The commands that build
sendmail.cf are only printed, because they differ between systems.` + setupLong,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, "sendmail", func(h setup.Host, d setup.Daemon) (setup.Plan, error) {
				s, err := h.ReadSendmail(f.mc)
				if err != nil {
					return setup.Plan{}, err
				}
				return setup.PlanSendmail(s, d), nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.mc, "mc", "/etc/mail/sendmail.mc", "file from which sendmail.cf is built")
	return cmd
}

func (f *setupFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", defaultConfig, "configuration file of the daemon")
	cmd.Flags().BoolVar(&f.apply, "apply", false, "write the changes and run the commands")
	cmd.Flags().BoolVar(&f.undo, "undo", false, "take the last --apply back")
	cmd.Flags().BoolVar(&f.noRun, "no-run", false, "with --apply and --undo: only write files, run nothing, and do not ask the daemon")
	cmd.MarkFlagsMutuallyExclusive("apply", "undo")
}

// run prints the plan that read makes, and writes it if --apply says so.
func (f *setupFlags) run(cmd *cobra.Command, mta string, read func(setup.Host, setup.Daemon) (setup.Plan, error)) error {
	h := setup.ThisHost()
	out := cmd.OutOrStdout()
	if f.undo {
		return failed(h.Undo(cmd.Context(), mta, f.configDir, !f.noRun, out))
	}
	d, err := h.ReadDaemon(cmd.Context(), f.config, !f.noRun)
	if err != nil {
		return failed(err)
	}
	d.KeepTrusted = f.keepTrustedNetworks
	plan, err := read(h, d)
	if err != nil {
		return failed(err)
	}
	if _, err := io.WriteString(out, plan.String()+"\n"); err != nil {
		return failed(err)
	}
	switch {
	case len(plan.Problems) > 0:
		return failed(errors.New("nothing was changed, because of the problems above"))
	case plan.Done():
		_, err = fmt.Fprintln(out, "Nothing has to change.")
	case f.apply:
		return failed(h.Apply(cmd.Context(), plan, !f.noRun, out))
	case plan.Offline != "":
		_, err = fmt.Fprintln(out, "Nothing was changed. Before --apply, see the note.")
	default:
		_, err = fmt.Fprintln(out, "Nothing was changed. With --apply this command writes it.")
	}
	return failed(err)
}
