package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/explain"
	"sekimori/internal/explanation"
	"sekimori/internal/recent"
)

// maxMessageFile bounds what explain reads into memory, in octets.
const maxMessageFile = 256 << 20

// explainFlags are the command's.
type explainFlags struct {
	explain.Options
	at          adminFlags
	ip, zone    string
	queueID, id string
	json        bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain FILE.eml --ip ADDR | --queue-id ID | --id ID",
		Short: "Say how a message is or was judged, and why",
		Long: `Evaluate a stored message as the daemon would have on receipt and print the
rule that decided, then every DNS lookup with its answer, every SPF term, each
signature, the DMARC tree walk. With "-" the message is read from standard input.

With --queue-id or --id, say what the running daemon decided on a message that
it remembers (admin.recent). --id takes the ID in parentheses at the end of the
SMTP reply, which the log has too, so that a bounced sender can quote it.`,
		Example: `  sekimori explain mail.eml --ip 192.0.2.1 --helo mail.example --from bounce@example.com
  sekimori explain --queue-id 4dQZ7x2wJ1z9sP
  sekimori explain --id 7G3K0A2B --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := f.report(cmd, args)
			if err != nil {
				return err
			}
			if f.json {
				return failed(writeJSON(cmd.OutOrStdout(), report))
			}
			return failed(report.Text(cmd.OutOrStdout()))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.ip, "ip", "", "address of the SMTP client (required with a file)")
	flags.StringVar(&f.HELO, "helo", "", "its HELO name")
	flags.StringVar(&f.MailFrom, "from", "", "envelope sender; empty for the null sender")
	flags.StringArrayVar(&f.Recipients, "rcpt", nil, "envelope recipient (repeatable)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.StringVar(&f.zone, "zone", "", "answer DNS from this zone file instead of the network")
	flags.StringVar(&f.queueID, "queue-id", "", "look up the MTA's queue id in the running daemon")
	flags.StringVar(&f.id, "id", "", "look up the ID quoted in an SMTP reply in the running daemon")
	f.at.add(cmd)
	flags.Lookup("config").Usage = "configuration whose policy decides and whose admin.listen is asked; the defaults if the default file is absent"
	cmd.MarkFlagsMutuallyExclusive("ip", "queue-id", "id")
	return cmd
}

func (f *explainFlags) report(cmd *cobra.Command, args []string) (*explain.Report, error) {
	switch lookUp := f.queueID != "" || f.id != ""; {
	case lookUp && len(args) > 0:
		return nil, errors.New("a file and --queue-id or --id are two questions; ask one")
	case lookUp:
		return f.remembered(cmd)
	case len(args) == 0:
		return nil, errors.New("what is to be explained? Write a file, --queue-id or --id")
	case f.ip == "":
		return nil, errors.New(`required flag "ip" not set: the address of the client that sent the message`)
	}
	return f.evaluate(cmd, args[0])
}

// evaluate judges a message file.
func (f *explainFlags) evaluate(cmd *cobra.Command, path string) (_ *explain.Report, err error) {
	if f.Client, err = netip.ParseAddr(f.ip); err != nil {
		return nil, fmt.Errorf("--ip: %q is not an IP address", f.ip)
	}
	if cmd.Flags().Changed("config") {
		f.Config, err = config.Load(f.at.config)
	} else {
		f.Config, err = loadOptional(f.at.config, false)
	}
	if err != nil {
		return nil, err
	}
	if f.Message, err = readMessage(path, cmd.InOrStdin()); err != nil {
		return nil, failed(err)
	}
	if f.zone != "" {
		text, err := os.ReadFile(f.zone)
		if err != nil {
			return nil, failed(fmt.Errorf("read zone: %w", err))
		}
		if f.Zone, err = explain.ParseZone(f.zone, text); err != nil {
			return nil, failed(err)
		}
	}
	report, err := explain.Run(cmd.Context(), f.Options)
	return report, failed(err)
}

// remembered asks the running daemon.
func (f *explainFlags) remembered(cmd *cobra.Command) (*explain.Report, error) {
	client, err := f.at.client(cmd)
	if err != nil {
		return nil, err
	}
	const limit = 10
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for key, value := range map[string]string{"queue_id": f.queueID, "id": f.id} {
		if value != "" {
			query.Set(key, value)
		}
	}
	var answer recent.Answer
	if err := client.Get(cmd.Context(), app.DecisionsPath, query, &answer); err != nil {
		return nil, failed(err)
	}
	switch n := len(answer.Decisions); {
	case n == 0:
		return nil, failed(fmt.Errorf("the daemon remembers no message %s; it may have decided too long ago (admin.recent), look into its log", f.queueID+f.id))
	case n > 1:
		fmt.Fprintf(cmd.ErrOrStderr(), "sekimori: the newest of %d or more decisions; see %s?%s\n", n, app.DecisionsPath, query.Encode())
	}
	return explanation.FromDecision(answer.Decisions[0]), nil
}

// writeJSON writes v as programs and people can read it.
func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// loadOptional returns the defaults where the file was not asked for by name
// and does not exist. Nothing runs by it, so that it need not state a mode.
func loadOptional(path string, asked bool) (*config.Config, error) {
	cfg, err := config.LoadCandidate(path)
	if !asked && errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	return cfg, err
}

func readMessage(path string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read message: %w", err)
		}
		defer file.Close()
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxMessageFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read message %s: %w", path, err)
	case len(raw) > maxMessageFile:
		return nil, fmt.Errorf("read message %s: over %d octets", path, maxMessageFile)
	}
	return raw, nil
}
