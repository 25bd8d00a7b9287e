package main

import (
	"io"
	"log/slog"
	"regexp"

	"sekimori/internal/telemetry"
)

// Errors begin with the name of the package that made them, which helps whoever reads
// the log beside the code. A person at a terminal is not shown the names.
var (
	// outermost names begin a message or a line of it.
	outermost = regexp.MustCompile(`(?m)^(?:(?:admin|app|config|consent|demo|dmarc|dns|explain|forwarders|mailaddr|milter|policy|` +
		`received|recent|replay|resolver|smtp|spf|status|taglist|telemetry|trait|zone): )+`)
	// inner names follow the error of another package. Those that are also keys of the
	// configuration (such as "dmarc") stay: a key may stand here.
	inner = regexp.MustCompile(`([:;] )(?:(?:app|config|consent|demo|explain|forwarders|mailaddr|milter|` +
		`received|recent|replay|resolver|smtp|taglist|telemetry|zone): )+`)
)

// plain returns the text of an error without the names of packages.
func plain(text string) string {
	return inner.ReplaceAllString(outermost.ReplaceAllString(text, ""), "$1")
}

// complain writes an error to the error output.
func complain(out io.Writer, err error) {
	telemetry.Say(out, slog.LevelError, "sekimori: "+plain(err.Error()))
}

// warn writes a warning to the error output.
func warn(out io.Writer, text string) {
	telemetry.Say(out, slog.LevelWarn, plain(text))
}
