package main

import (
	"io"
	"log/slog"
	"regexp"

	"sekimori/internal/telemetry"
)

// An error begins with the name of the package that made it, which helps a developer who reads
// the log. Commands remove these names from what they print for a person.
var (
	// outermost matches package names at the beginning of a line of an error message.
	outermost = regexp.MustCompile(`(?m)^(?:(?:admin|aggregate|app|client|config|consent|demo|destination|dispatch|dmarc|dns|domaincheck|explain|forwarders|holdqueue|mailaddr|milter|mtaconf|postgres|` +
		`policy|probe|received|recent|replay|report|reporting|resolver|setup|sign|smtp|spf|sqlite|status|store|submit|survey|taglist|telemetry|trait|zone): )+`)
	// inner matches package names within an error message, after a colon or a semicolon. It leaves
	// out names that are also keys of the configuration (such as "dmarc"), because after a colon or
	// semicolon such a name may mean the key.
	inner = regexp.MustCompile(`([:;] )(?:(?:aggregate|app|client|config|consent|demo|destination|dispatch|domaincheck|explain|forwarders|holdqueue|mailaddr|milter|mtaconf|postgres|` +
		`probe|received|recent|replay|reporting|resolver|setup|sign|smtp|sqlite|submit|survey|taglist|telemetry|zone): )+`)
)

// plain removes the names of packages from the text of an error.
func plain(text string) string {
	return inner.ReplaceAllString(outermost.ReplaceAllString(text, ""), "$1")
}

// complain prints the text of an error to out.
func complain(out io.Writer, text string) {
	telemetry.Say(out, slog.LevelError, "sekimori: "+plain(text))
}

// warn prints a warning to out.
func warn(out io.Writer, text string) {
	telemetry.Say(out, slog.LevelWarn, plain(text))
}
