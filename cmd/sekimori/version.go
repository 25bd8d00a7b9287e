package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(0, 0, "no arguments, only flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionText())
			return failed(err)
		},
	}
}

// versionText is what "sekimori version" and "sekimori --version" print.
func versionText() string {
	return fmt.Sprintf("sekimori %s %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
