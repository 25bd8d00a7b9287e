package main

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"sekimori/internal/config/strict"
)

// group runs a command that has only subcommands. Without one it prints the help; another word is an
// error that names the subcommand that was probably meant.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	meant := ""
	if name := strict.Nearest(args[0], names); name != "" {
		meant = fmt.Sprintf("; did you mean %s %s?", cmd.CommandPath(), name)
	}
	return fmt.Errorf("there is no command %q%s", cmd.CommandPath()+" "+args[0], meant)
}

// unknownFlag matches cobra's error for a long flag that a command does not have.
var unknownFlag = regexp.MustCompile(`^unknown flag: --([^=\s]+)`)

// longFlag matches a flag at the beginning of its line in a command's help.
var longFlag = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`)

// flagError adds to an error about a flag which flag was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	m := unknownFlag.FindStringSubmatch(err.Error())
	if m == nil {
		return err
	}
	var names []string
	for _, flag := range longFlag.FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
		names = append(names, flag[1])
	}
	if name := strict.Nearest(m[1], names); name != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, name)
	}
	return err
}

// together matches cobra's error for flags that exclude each other.
var together = regexp.MustCompile(`^if any flags in the group \[.*\] are set none of the others can be; \[(.*)\] were all set$`)

// oneOf matches cobra's error for flags of which one must be given.
var oneOf = regexp.MustCompile(`^at least one of the flags in the group \[(.*)\] is required$`)

// advise returns the text of an error for a person, with what to do about it where the error does not
// say that itself.
func advise(cmd *cobra.Command, err error) string {
	text := err.Error()
	if m := together.FindStringSubmatch(text); m != nil {
		return "--" + strings.ReplaceAll(m[1], " ", " and --") + " cannot be given together"
	}
	if m := oneOf.FindStringSubmatch(text); m != nil {
		return "one of --" + strings.ReplaceAll(m[1], " ", ", --") + " must be given"
	}
	var file *fs.PathError
	if !errors.As(err, &file) || strings.Contains(text, "; ") {
		return text
	}
	switch {
	case errors.Is(file, fs.ErrPermission) && cmd.Name() == "serve":
		return text + "; the daemon does not need root: let its user read the file (chgrp to its group, chmod 640), and enter the directories above"
	case errors.Is(file, fs.ErrPermission):
		return text + "; run the command as root, or as a user who has the right to it"
	case errors.Is(file, fs.ErrNotExist):
		if flag := cmd.Flags().Lookup("config"); flag != nil && flag.Value.String() == file.Path {
			return text + "; name the daemon's configuration by --config, or begin with an example: sekimori config example >" + file.Path
		}
	}
	return text
}
