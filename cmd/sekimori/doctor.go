package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/doctor"
	"sekimori/internal/resolver"
	"sekimori/internal/status"
)

func newDoctor() *cobra.Command {
	var at adminFlags
	var postfixDir, sendmailCF string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong around the daemon: DNS, the MTA's configuration, what was seen",
		Long: `Try the DNS servers, read the configuration of Postfix (with postconf) or of
Sendmail, and ask the running daemon what it has seen. Each finding says what is
wrong, why it matters, and which line to change. The command changes nothing.

It says what it could not look at, for example because it may not read a file or
no daemon answers; the rest is looked at all the same. Run it as root, or as a
user who may read the configuration of the MTA and of sekimori.

Exit code 0 if nothing was found, 1 if something was found, 2 for wrong use or a
configuration that cannot be read.`,
		Example: `  sekimori doctor
  sekimori doctor --postfix-config-dir /etc/postfix-in --json
  sekimori doctor --sendmail-cf /etc/mail/sendmail.cf`,
		Args: arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := doctor.Options{PostfixDir: postfixDir, SendmailCF: sendmailCF, ResolvConf: resolver.ResolvConf, ConfigFile: at.config, Now: time.Now()}
			if err := existing(postfixDir, sendmailCF); err != nil {
				return err
			}
			var err error
			if o.Config, err = loadOptional(at.config, cmd.Flags().Changed("config")); err != nil {
				return err
			}
			o.Status = func(ctx context.Context) (*status.Status, error) {
				client, err := at.client(cmd)
				if err != nil {
					return nil, err
				}
				var s status.Status
				return &s, client.Get(ctx, app.StatusPath, nil, &s)
			}
			return printFindings(cmd, doctor.Run(cmd.Context(), o), asJSON)
		},
	}
	at.add(cmd)
	cmd.Flags().StringVar(&postfixDir, "postfix-config-dir", "", "configuration directory of Postfix; else the one of this host")
	cmd.Flags().StringVar(&sendmailCF, "sendmail-cf", "",
		"configuration file of Sendmail; else /etc/mail/sendmail.cf on a host without Postfix")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("postfix-config-dir", "sendmail-cf")
	return cmd
}

// existing returns an error if one of the paths is not "" and does not exist.
func existing(paths ...string) error {
	for _, path := range paths {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// printFindings prints r. The returned error has the exit code 1 if r has findings.
func printFindings(cmd *cobra.Command, r *doctor.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = writeJSON(cmd.OutOrStdout(), r)
	} else {
		err = r.Text(cmd.OutOrStdout())
	}
	if err != nil {
		return failed(err)
	}
	if len(r.Findings) > 0 {
		return failure{}
	}
	return nil
}
