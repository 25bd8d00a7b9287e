// Command sekimori is a milter daemon that verifies SPF, DKIM and DMARC of
// inbound mail for Postfix and Sendmail.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sekimori/internal/config"
	"sekimori/internal/printable"
	"sekimori/internal/term"
)

// version is set by the linker, see Makefile.
var version = "devel"

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // a check found a fault, or the work of the command failed
	exitUsage  = 2 // wrong flags or arguments, or a configuration or file of rules with a mistake
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // after the first signal, a second one ends the process at once
	code := run(ctx, os.Args[1:], term.Colours(os.Stdout, os.Getenv), os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program, except for what main takes from the process. It returns the exit
// code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	// These writers make control characters visible, so that text from strangers cannot control
	// the terminal.
	out, complaints := printable.NewWriter(stdout), printable.NewWriter(stderr)
	defer func() { _ = errors.Join(out.Flush(), complaints.Flush()) }() // this output is the last; there is nowhere to report its error
	stderr = complaints
	root.SetOut(out)
	root.SetErr(complaints)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var failed failure
	if !errors.As(err, &failed) || failed.message != "" {
		complain(stderr, advise(cmd, err))
	}
	var bad *config.Error
	switch {
	case errors.As(err, &bad):
		return exitUsage
	case errors.As(err, &failed):
		return max(failed.code, exitFailed)
	}
	// All other errors come from cobra, or from a command that cannot begin its work. They are
	// about flags, arguments, or a configuration file that cannot be opened.
	fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
	return exitUsage
}

// arguments returns a check of the number of arguments of a command. The error message uses the
// text "what" to say which arguments the command takes.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		switch {
		case len(args) < least:
			return fmt.Errorf("%s takes %s", name, what)
		case len(args) > most:
			return fmt.Errorf("%s takes %s; %q is one too many", name, what, args[most])
		}
		return nil
	}
}

// failure is an error of a command's work. Its exit code is 1, unless it has another code or wraps a
// *config.Error.
type failure struct {
	message string // "" if the command has printed it already
	err     error
	code    int // the exit code; 0 stands for exitFailed
}

func (f failure) Error() string { return f.message }
func (f failure) Unwrap() error { return f.err }

// failed wraps an error in a failure. It returns nil for nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{message: err.Error(), err: err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "sekimori",
		Version:       versionText(),
		Short:         "Verifies SPF, DKIM and DMARC of inbound mail, as a milter for Postfix and Sendmail",
		RunE:          group,
		Args:          cobra.ArbitraryArgs, // group looks at them
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddCommand(newServe(), newReload(), newConfig(), newExplain(), newDecisions(), newReplay(), newForwarders(), newStatus(), newHeld(), newReport(), newSenders(), newReadiness(), newDemo(), newSetup(),
		newProbe(), newDoctor(), newCheck(), newBIMI(), newSurvey(), newStats(), newVersion())
	return root
}
