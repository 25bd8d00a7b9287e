package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/bimi"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/markcheck"
)

// maxMarkFile is the largest size of a certificate or picture that is checked, in octets. What is larger
// than a certificate or picture may be is refused later, with the reason.
const maxMarkFile = 1 << 20

func newBIMI() *cobra.Command {
	cmd := &cobra.Command{Use: "bimi", Short: "Look at the marks (logos) of authors", Args: arguments(0, 0, "a command: check"), RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(newBIMICheck())
	return cmd
}

func newBIMICheck() *cobra.Command {
	var path, selector, domain string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check DOMAIN|FILE.pem|FILE.svg",
		Short: "Say whether a mark would be shown here, and what to change",
		Long: `Look at the mark of a domain as this receiver would, for a message that DKIM signed
for the domain: the DMARC policy, the BIMI record, the mark certificate, the lists
of revoked certificates, and the picture. Each check has its result, and each fault
what the owner of the domain has to change. The certificate, the lists and the
picture are fetched now, whether or not the domain is established here.

FILE.pem is a mark certificate that is not published yet, and FILE.svg a picture.
Of a certificate only the revocation lists are fetched, of a picture nothing.

The rules are those of the section bimi of the configuration, also if
bimi.enabled is false.

Exit code 1 if the mark would not be shown.`,
		Example: `  sekimori bimi check shop.example
  sekimori bimi check shop.example --selector brand2
  sekimori bimi check vmc.pem --domain shop.example
  sekimori bimi check logo.svg`,
		Args: arguments(1, 1, "a domain, or a file FILE.pem or FILE.svg"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadOptional(path, cmd.Flags().Changed("config"))
			if err != nil {
				return err
			}
			checked, err := checkMark(cmd.Context(), cfg, args[0], selector, domain)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), checked)
			} else {
				err = checked.Text(cmd.OutOrStdout())
			}
			if err == nil && !checked.Passed() {
				return failure{}
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration whose section bimi gives the rules; the defaults if the default file is absent")
	cmd.Flags().StringVar(&selector, "selector", "", "the selector (default \"default\")")
	cmd.Flags().StringVar(&domain, "domain", "", "for FILE.pem: the domain that it must be for (default its first name)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// checkMark checks a domain or a file.
func checkMark(ctx context.Context, cfg *config.Config, what, selector, domain string) (*markcheck.Result, error) {
	o := markcheck.Options{
		Selector: selector, Now: time.Now(),
		BIMI: bimi.Options{RequireCertificate: cfg.BIMI.RequireCertificate, RequireDKIM: cfg.BIMI.RequireDKIM},
	}
	if selector != "" && bimi.ParseSelector("v=BIMI1; s="+selector) == "" {
		return nil, fmt.Errorf("--selector: %q is not a selector", selector)
	}
	kind := strings.ToLower(filepath.Ext(what))
	isFile := slices.Contains([]string{".pem", ".crt", ".svg", ".svgz"}, kind)
	if domain != "" {
		name, err := dns.ParseHostname(domain)
		if err != nil || !isFile {
			return nil, errors.New("--domain is the domain of a certificate in FILE.pem")
		}
		o.Domain = name
	}
	var text []byte
	if isFile {
		var err error
		if text, err = config.ReadFile(what, maxMarkFile); err != nil {
			return nil, err
		}
		if strings.HasPrefix(kind, ".svg") {
			return markcheck.Picture(what, text), nil
		}
	}
	name, err := dns.ParseHostname(what)
	if !isFile && err != nil {
		return nil, fmt.Errorf("%q is neither a domain nor a file FILE.pem or FILE.svg", what)
	}
	r, err := app.NewResolver(cfg, nil, nil)
	if err != nil {
		return nil, failed(err)
	}
	defer r.Close()
	o.Resolver = r
	if o.Judge, err = app.NewMarkJudge(cfg, r, version, nil); err != nil {
		return nil, failed(err)
	}
	if isFile {
		return markcheck.Certificate(ctx, what, text, o), nil
	}
	if o.Discovery, err = app.Discovery(cfg); err != nil {
		return nil, failed(err)
	}
	return markcheck.Domain(ctx, name, o), nil
}
