package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"sekimori/internal/config"
	"sekimori/internal/explain"
)

// maxMessageFile bounds what explain reads into memory, in octets.
const maxMessageFile = 256 << 20

func newExplain() *cobra.Command {
	var o explain.Options
	var ip, path, zone string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain FILE.eml",
		Short: "Say how a message would be judged, and why",
		Long: `Evaluate a stored message as the daemon would have on receipt and print every
DNS lookup with its answer, every SPF term, each signature, the DMARC tree walk
and the verdict. With "-" the message is read from standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.Client, err = netip.ParseAddr(ip); err != nil {
				return fmt.Errorf("--ip: %q is not an IP address", ip)
			}
			if o.Config, err = loadOptional(path, cmd.Flags().Changed("config")); err != nil {
				return err
			}
			if o.Message, err = readMessage(args[0], cmd.InOrStdin()); err != nil {
				return failed(err)
			}
			if zone != "" {
				text, err := os.ReadFile(zone)
				if err != nil {
					return failed(fmt.Errorf("read zone: %w", err))
				}
				if o.Zone, err = explain.ParseZone(zone, text); err != nil {
					return failed(err)
				}
			}
			report, err := explain.Run(cmd.Context(), o)
			if err != nil {
				return failed(err)
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return failed(enc.Encode(report))
			}
			return failed(report.Text(cmd.OutOrStdout()))
		},
	}
	f := cmd.Flags()
	f.StringVar(&ip, "ip", "", "address of the SMTP client (required)")
	f.StringVar(&o.HELO, "helo", "", "its HELO name")
	f.StringVar(&o.MailFrom, "from", "", "envelope sender; empty for the null sender")
	f.StringArrayVar(&o.Recipients, "rcpt", nil, "envelope recipient (repeatable)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&zone, "zone", "", "answer DNS from this zone file instead of the network")
	f.StringVar(&path, "config", defaultConfig, "configuration whose policy decides; the defaults if the default file is absent")
	_ = cmd.MarkFlagRequired("ip") // fails only for an unknown flag
	return cmd
}

// loadOptional returns the defaults where the file was not asked for by name
// and does not exist.
func loadOptional(path string, asked bool) (*config.Config, error) {
	cfg, err := config.Load(path)
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
