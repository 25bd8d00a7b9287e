package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/dns/zone"
	"sekimori/internal/explain"
	"sekimori/internal/printable"
	"sekimori/internal/recent"
)

// maxMessageFile is the size of the largest message that explain reads, in octets.
const maxMessageFile = 256 << 20

// explainFlags are the values of the flags of the command explain.
type explainFlags struct {
	explain.Stored
	at          adminFlags
	ip, zone    string
	from, time  string
	hosts       []string
	queueID, id string
	json        bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain FILE.eml (--ip ADDR | --trusted-host NAME) | --queue-id ID | --id ID",
		Short: "Say how a message is or was judged, and why",
		Long: `Evaluate a stored message as the daemon would have on receipt and print the
rule that decided, then every DNS lookup with its answer, every SPF term, each
signature, the DMARC tree walk. With "-" the message is read from standard input.
Mail of trusted networks and of clients that logged in is not evaluated, and
limits and recipients' consent (--rcpt) count, as in the daemon.

The client is given by --ip, or taken from the Received fields of one's own hosts
with --trusted-host, as sekimori replay does. The message is judged as of the time
in the topmost Received field that names this client (otherwise the topmost one),
so that signatures that have expired since then still count. --time TIME or --time
now sets another time.

With --queue-id or --id, say what was decided on a message that the running daemon
remembers (admin.recent), or that is in the history (history.keep): also before a
restart, and by another host that shares the store. --id takes the ID in
parentheses at the end of the SMTP reply, which the log has too, so that a bounced
sender can quote it.`,
		Example: `  sekimori explain mail.eml --ip 192.0.2.1 --helo mail.example --from bounce@example.com
  sekimori explain mail.eml --trusted-host mx.example.jp --rcpt ann@example.jp
  sekimori explain --queue-id 4dQZ7x2wJ1z9sP
  sekimori explain --id 7G3K0A2B --json`,
		Args: arguments(0, 1, "one file"),
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
	flags.StringVar(&f.ip, "ip", "", "address of the SMTP client")
	flags.StringArrayVar(&f.hosts, "trusted-host", nil,
		"name after \"by\" in the Received fields of one's own hosts, which name the client (repeatable)")
	flags.StringVar(&f.time, "time", "",
		"judge as of this time, such as 2026-11-29T08:00:00Z, or \"now\" (default: when the message was received)")
	flags.StringVar(&f.Login, "auth", "", "name by which the client logged in")
	flags.StringVar(&f.HELO, "helo", "", "its HELO name")
	flags.StringVar(&f.from, "from", "", "envelope sender; empty for the null sender")
	flags.StringArrayVar(&f.Recipients, "rcpt", nil, "envelope recipient (repeatable)")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	flags.StringVar(&f.zone, "zone", "", "answer DNS from this zone file instead of the network")
	flags.StringVar(&f.queueID, "queue-id", "", "look up the MTA's queue id in the running daemon")
	flags.StringVar(&f.id, "id", "", "look up the ID quoted in an SMTP reply in the running daemon")
	f.at.add(cmd)
	flags.Lookup("config").Usage = "configuration whose policy decides and whose admin.listen is asked; " +
		"the defaults if the default file is absent"
	cmd.MarkFlagsMutuallyExclusive("ip", "trusted-host", "queue-id", "id")
	cmd.MarkFlagsMutuallyExclusive("helo", "trusted-host")
	return cmd
}

func (f *explainFlags) report(cmd *cobra.Command, args []string) (*explain.Explanation, error) {
	switch lookUp := f.queueID != "" || f.id != ""; {
	case lookUp && len(args) > 0:
		return nil, errors.New("a file cannot be combined with --queue-id or --id; give one of them")
	case lookUp:
		return f.remembered(cmd)
	case len(args) == 0:
		return nil, errors.New("nothing to explain: give a file, --queue-id or --id")
	case f.ip == "" && len(f.hosts) == 0:
		return nil, errors.New(`required flag "ip" not set: the address of the client that sent the message ` +
			`(or --trusted-host, for Received fields that name it)`)
	}
	return f.evaluate(cmd, args[0])
}

// evaluate judges the message in the file at path.
func (f *explainFlags) evaluate(cmd *cobra.Command, path string) (_ *explain.Explanation, err error) {
	if f.ip != "" {
		if f.Client, err = netip.ParseAddr(f.ip); err != nil {
			return nil, fmt.Errorf("--ip: %q is not an IP address", f.ip)
		}
	}
	if f.TrustedHosts, err = hostNames(f.hosts); err != nil {
		return nil, err
	}
	if f.Time, err = parseTime(f.time); err != nil {
		return nil, err
	}
	if cmd.Flags().Changed("from") || f.ip != "" {
		f.MailFrom = &f.from
	}
	var cfg *config.Config
	if cmd.Flags().Changed("config") {
		cfg, err = config.Load(f.at.config)
	} else {
		cfg, err = loadOptional(f.at.config, false)
	}
	if err != nil {
		return nil, err
	}
	if f.Message, err = readMessage(path, cmd.InOrStdin()); err != nil {
		return nil, failed(err)
	}
	x, err := f.run(cmd.Context(), cfg)
	return x, failed(err)
}

// run judges the message with the configuration cfg.
func (f *explainFlags) run(ctx context.Context, cfg *config.Config) (*explain.Explanation, error) {
	answers, end, err := f.resolver(cfg)
	if err != nil {
		return nil, err
	}
	defer end()
	trace := dns.NewTrace(answers)
	j, done, err := app.NewJudge(cfg, trace)
	if err != nil {
		return nil, err
	}
	defer done()
	return f.Judge(ctx, j, trace)
}

// resolver returns the resolver that answers DNS queries: the zone file if there is one,
// otherwise the network. The caller must call end.
func (f *explainFlags) resolver(cfg *config.Config) (_ dns.Resolver, end func(), err error) {
	if f.zone == "" {
		r, err := app.NewResolver(cfg, nil, nil)
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	text, err := os.ReadFile(f.zone)
	if err != nil {
		return nil, nil, fmt.Errorf("read zone: %w", err)
	}
	z, err := zone.Parse(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("zone %s: %w", f.zone, err)
	}
	return z, func() {}, nil
}

// parseTime parses the value of --time. For "" it returns the zero time.
func parseTime(s string) (time.Time, error) {
	switch s {
	case "":
		return time.Time{}, nil
	case "now":
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly, time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--time: %q is neither \"now\" nor a time such as 2026-11-29T08:00:00Z", s)
}

// remembered asks the running daemon for a decision that it remembers or finds in the store.
func (f *explainFlags) remembered(cmd *cobra.Command) (*explain.Explanation, error) {
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
	if answer.HistoryError != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "sekimori: the history could not be searched: %s\n", printable.Value(plain(answer.HistoryError)))
	}
	switch n := len(answer.Decisions); {
	case n == 0:
		return nil, failed(fmt.Errorf("the message %s is not remembered and not in the history: it may be too long ago (admin.recent, history.keep), "+
			"less than a minute ago on another host, or one that is not kept (history.what); look into the log", f.queueID+f.id))
	case n > 1:
		fmt.Fprintf(cmd.ErrOrStderr(), "sekimori: the newest of %d or more decisions; see %s?%s\n", n, app.DecisionsPath, query.Encode())
	}
	return explain.Remembered(answer.Decisions[0]), nil
}

// writeJSON writes v as indented JSON.
func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// loadOptional reads a configuration. If the file does not exist and the user did not name it
// (asked is false), it returns the defaults. The key "mode" may be missing, because no daemon runs
// with this configuration.
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
