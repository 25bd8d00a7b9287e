package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"sekimori/internal/app"
	"sekimori/internal/config"
	"sekimori/internal/dns"
	"sekimori/internal/domaincheck"
	"sekimori/internal/survey"
	"sekimori/internal/term"
)

// maxRate is the largest number of questions a second. More would trouble the DNS servers of others.
const maxRate = 10_000

// surveyFlags are the values of the flags of the command survey.
type surveyFlags struct {
	config, resume, format, lang string
	classes                      []string
	rate                         float64
}

func newSurvey() *cobra.Command {
	var f surveyFlags
	cmd := &cobra.Command{
		Use:   "survey [FILE|-]",
		Short: "Count how many domains of a list publish SPF, DMARC and BIMI, and how",
		Long: `Read a list with one domain a line (a file, or standard input), look at each as
"sekimori check" does, and count: of the domains with an MX record, how many publish
SPF, DMARC (by p, sp, np and t, and with rua) and BIMI, and which records are broken
and how. --class counts by suffix, such as go.jp.

At most --rate DNS questions a second are asked, at the DNS servers of the daemon;
a domain takes four to twelve. Domains whose lookups fail are looked at three times.
With --resume, what is known of each domain is appended to a file; after an
interruption the same command goes on from there.

Exit code 0 if every domain was looked at, also if the DNS servers of some did not
answer.`,
		Example: `  sekimori survey domains.txt --class go.jp,co.jp,ac.jp --resume domains.jsonl
  sekimori survey domains.txt --resume domains.jsonl --format html --lang ja > survey.html
  grep '\.lg\.jp$' domains.txt | sekimori survey - --format csv`,
		Args: arguments(0, 1, "one list of domains"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "-"
			if len(args) > 0 {
				path = args[0]
			}
			return f.run(cmd, path)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", defaultConfig, "the daemon's configuration file, for its DNS servers")
	flags.StringSliceVar(&f.classes, "class", nil, "suffixes to count by, such as co.jp,go.jp")
	flags.StringVar(&f.resume, "resume", "", "file with what is known, to read and to add to")
	flags.Float64Var(&f.rate, "rate", 200, "DNS questions a second")
	flags.StringVar(&f.format, "format", "text", "text, csv, json or html")
	flags.StringVar(&f.lang, "lang", "en", "language of the html page: en or ja")
	return cmd
}

// options makes the options of the survey from the flags, except the resolver and the state.
func (f *surveyFlags) options(cmd *cobra.Command) (o survey.Options, cfg *config.Config, err error) {
	if !slices.Contains([]string{"text", "csv", "json", "html"}, f.format) {
		return o, nil, fmt.Errorf("--format: %q is not text, csv, json or html", f.format)
	}
	if !slices.Contains([]string{string(survey.English), string(survey.Japanese)}, f.lang) {
		return o, nil, fmt.Errorf("--lang: %q is not en or ja", f.lang)
	}
	if f.format != "html" && f.lang != "en" {
		return o, nil, errors.New("--lang is for --format html; the others are in English")
	}
	if !(f.rate > 0 && f.rate <= maxRate) { // so that it refuses NaN too
		return o, nil, fmt.Errorf("--rate must be above 0 and at most %d", maxRate)
	}
	for _, class := range f.classes {
		name, err := dns.ParseName(class)
		if err != nil || name == "" || slices.Contains(o.Classes, name) {
			return o, nil, fmt.Errorf("--class: %q is not a domain, or is there twice", class)
		}
		o.Classes = append(o.Classes, name)
	}
	if cfg, err = loadOptional(f.config, cmd.Flags().Changed("config")); err != nil {
		return o, nil, err
	}
	o.Rate, o.Check.Now, o.Pause = f.rate, time.Now(), time.Duration(cfg.DNS.Cache.FailureTTL)+time.Second
	if o.Check.Discovery, err = app.Discovery(cfg); err != nil {
		return o, nil, failed(err)
	}
	return o, cfg, nil
}

func (f *surveyFlags) run(cmd *cobra.Command, path string) error {
	o, cfg, err := f.options(cmd)
	if err != nil {
		return err
	}
	list, err := readDomains(path, cmd.InOrStdin())
	if err != nil {
		return failed(err)
	}
	if len(list.Domains) == 0 {
		return failed(errors.New("the list has no domain"))
	}
	cfg.DNS.Cache.Size = min(cfg.DNS.Cache.Size, survey.MaxCache)
	network, err := app.NewResolver(cfg, nil, nil)
	if err != nil {
		return failed(err)
	}
	defer network.Close()
	o.Resolver = network
	if f.resume != "" {
		if o.State, err = survey.OpenState(f.resume); err != nil {
			return failed(err)
		}
	}
	bar := term.NewBar(cmd.ErrOrStderr())
	o.Progress = func(done, total int, asked int64) {
		bar.Update(int64(done), int64(total), fmt.Sprintf("%d of %d domains, %d questions", done, total, asked))
	}
	result, err := survey.Run(cmd.Context(), list, o)
	bar.Clear()
	if o.State != nil {
		err = errors.Join(err, o.State.Close())
	}
	if result != nil {
		err = errors.Join(err, f.print(cmd.OutOrStdout(), result, o.Check))
	}
	if err != nil && cmd.Context().Err() != nil && f.resume != "" {
		err = fmt.Errorf("%w; the same command goes on from %s", err, f.resume)
	}
	return failed(err)
}

func (f *surveyFlags) print(out io.Writer, r *survey.Result, o domaincheck.Options) error {
	switch f.format {
	case "csv":
		return r.CSV(out)
	case "json":
		return writeJSON(out, r)
	case "html":
		return r.HTML(out, survey.Lang(f.lang), o.Now)
	}
	return r.Text(out)
}

func readDomains(path string, stdin io.Reader) (*survey.List, error) {
	if path == "-" {
		return survey.ReadList(stdin)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	defer file.Close()
	return survey.ReadList(file)
}
