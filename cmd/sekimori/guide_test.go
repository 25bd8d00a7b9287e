package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/config"
)

var (
	inlineCommand = regexp.MustCompile("`(sekimori [^`]+)`")
	redirected    = regexp.MustCompile(`\s+(>|<|\||&&?|#|;).*$`)
)

// TestGuideCommands checks the pages that show commands by lines of their own: each command exists, and takes
// the flags and the number of arguments that the page shows.
func TestGuideCommands(t *testing.T) {
	seen := 0
	for _, name := range []string{"ja/guide.md", "stats.md"} {
		for line := range strings.Lines(readPage(t, name)) {
			var lines []string
			if strings.HasPrefix(line, "    ") {
				for _, part := range strings.Split(line, "|") { // a pipe
					if part = strings.TrimSpace(part); strings.HasPrefix(part, "sekimori ") {
						lines = append(lines, part)
					}
				}
			}
			for _, m := range inlineCommand.FindAllStringSubmatch(line, -1) {
				lines = append(lines, m[1])
			}
			for _, text := range lines {
				text = redirected.ReplaceAllString(strings.TrimSpace(text), "")
				seen++
				if err := understood(strings.Fields(text)[1:]); err != nil {
					t.Errorf("%s shows %q: %v", name, text, err)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("%d commands only were looked at", seen)
	}
	for _, bad := range []string{"stat", "stats --mont last", "stats x", "report shw a.example"} {
		if understood(strings.Fields(bad)) == nil {
			t.Errorf("%q is taken for a command", bad)
		}
	}
}

// understood reports whether the program takes these arguments. It runs nothing.
func understood(args []string) error {
	root := newRoot()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if !cmd.Runnable() || cmd.HasSubCommands() {
		return cmd.RunE(cmd, rest) // it says that there is no such command
	}
	if len(rest) > 0 && rest[len(rest)-1] == "--release" {
		rest = append(rest, "QUEUE-ID")
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestGuideYAML checks that the daemon accepts each piece of configuration that the guide shows.
func TestGuideYAML(t *testing.T) {
	key := regexp.MustCompile(`^[a-z_]+:( |\n)`)
	var block strings.Builder
	seen := 0
	check := func() {
		text := block.String()
		block.Reset()
		if !key.MatchString(text) {
			return
		}
		seen++
		if _, err := config.Parse("guide", []byte(text+"mode: monitor\n")); err != nil {
			t.Errorf("%s%v", text, err)
		}
	}
	for line := range strings.Lines(readPage(t, "ja/guide.md") + readPage(t, "stats.md")) {
		line = strings.TrimPrefix(line, "    ")
		if strings.HasPrefix(line, "    policy:") {
			line = line[4:] // in a list
		}
		switch {
		case key.MatchString(line), block.Len() > 0 && strings.HasPrefix(line, "  "):
			block.WriteString(line)
		default:
			check()
		}
	}
	if check(); seen < 5 {
		t.Errorf("%d pieces of configuration only were looked at", seen)
	}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "deploy", "docs", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
