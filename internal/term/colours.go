package term

import (
	"io"
	"os"
	"regexp"
)

// The colours of results, by ECMA-48's numbers.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// colourOf has the colour of each word that is a result or a verdict. Other
// words are not coloured.
var colourOf = map[string]string{
	"pass": green, "ACCEPT": green, "DELIVERED": green,
	"softfail": yellow, "temperror": yellow, "policy": yellow, "TAG": yellow, "QUARANTINE": yellow, "TEMPFAIL": yellow,
	"HELD": yellow, "DEFERRED": yellow,
	"fail": red, "permerror": red, "REJECT": red, "REJECTED": red, "REFUSED": red,
}

// The places where our own output has a result: "spf=pass" after white space or
// a semicolon, a verdict that begins a line or follows "=> ", and a result that
// begins an indented line. Prose has the same words, and is not coloured.
var results = []*regexp.Regexp{
	regexp.MustCompile(`(?m)((?:^|[\s;])(?:spf|dkim|dmarc|arc|iprev)=)([a-z]+)`),
	regexp.MustCompile(`(?m)(^|=> )([A-Z]+)(?:\b)`),
	regexp.MustCompile(`(?m)(^ {2,4}(?:iprev )?)(pass|fail|softfail|temperror|permerror|policy)(?:\b)`),
}

// lines are other texts that a reader should see at once. The first group is the place, and the second
// one gets the colour, unless it is the word in "but".
var lines = []struct {
	text        *regexp.Regexp
	colour, but string
}{
	// doctor: a finding, what to do, and the last line.
	{regexp.MustCompile(`(?m)^()((?:dns|mta|daemon) [a-z_]+)\b`), red, ""},
	{regexp.MustCompile(`(?m)^(  )(fix)\b`), bold, ""},
	{regexp.MustCompile(`(?m)^()(not looked at)\b`), yellow, ""},
	{regexp.MustCompile(`(?m)^()(\d+ finding\(s\))`), red, ""},
	{regexp.MustCompile(`(?m)^()(nothing is wrong)\b`), green, ""},
	// status
	{regexp.MustCompile(`(?m)^(configuration  .*; )(THE NEWEST FILE WAS REFUSED)`), red, ""},
	{regexp.MustCompile(`(?m)^(set-up         )(.*)`), red, "no problem"},
	{regexp.MustCompile(`(?m)^(MTAs lack      )(.*)`), yellow, "none"},
	{regexp.MustCompile(`(?m)^(DNS servers    .*?)(\S+ silent)\b`), red, ""},
	{regexp.MustCompile(`(?m)^(trouble        )(.*)`), yellow, "none"},
	// probe
	{regexp.MustCompile(`(?m)^(   )(WRONG)\b`), red, ""},
	{regexp.MustCompile(`(?m)^(   => )(NOT as the configuration means)`), red, ""},
	{regexp.MustCompile(`(?m)^(   => )(as the configuration means)`), green, ""},
	// replay
	{regexp.MustCompile(`(?m)^()(DNS FAILED for .*)`), yellow, ""},
	{regexp.MustCompile(`(?m)^()(\d+ messages could not be judged)`), yellow, ""},
	{regexp.MustCompile(`(?m)^(  .* -> )(reject)\b`), red, ""},
	{regexp.MustCompile(`(?m)^(  .* -> )(quarantine|tempfail|tag)\b`), yellow, ""},
	{regexp.MustCompile(`(?m)^(  .* -> )(accept)\b`), green, ""},
	// setup: the lines that it changes, and what it says about them
	{regexp.MustCompile(`(?m)^(  )(\+ .*)`), green, ""},
	{regexp.MustCompile(`(?m)^(  )(- .*)`), red, ""},
	{regexp.MustCompile(`(?m)^()(Problem): `), red, ""},
	{regexp.MustCompile(`(?m)^()(Note): `), yellow, ""},
}

// title is a line that heads a part of the output.
var title = regexp.MustCompile(`(?m)^[A-Z][A-Za-z ,]*$`)

// colours is a Writer that adds colours.
type colours struct{ out io.Writer }

// Colours returns a writer to out that colours results and titles. It returns
// out itself if out is not a terminal, if the terminal has no colours, or if
// the environment has NO_COLOR (https://no-color.org).
func Colours(out io.Writer, environ func(string) string) io.Writer {
	if !IsTerminal(out) || environ("NO_COLOR") != "" || environ("TERM") == "dumb" || environ("TERM") == "" {
		return out
	}
	return colours{out}
}

// Write implements io.Writer. It looks at each p by itself, so a line that is
// written in parts may lack its colours.
func (c colours) Write(p []byte) (int, error) {
	if _, err := c.out.Write(paint(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// paint returns p with colours. JSON stays as it is.
func paint(p []byte) []byte {
	if len(p) > 0 && (p[0] == '{' || p[0] == '[') {
		return p
	}
	for _, r := range results {
		p = r.ReplaceAllFunc(p, func(match []byte) []byte {
			part := r.FindSubmatch(match)
			colour := colourOf[string(part[2])]
			if colour == "" {
				return match
			}
			return []byte(string(part[1]) + "\x1b[" + colour + "m" + string(part[2]) + "\x1b[0m")
		})
	}
	for _, l := range lines {
		p = l.text.ReplaceAllFunc(p, func(match []byte) []byte {
			at := l.text.FindSubmatchIndex(match)
			text := string(match[at[4]:at[5]])
			if text == l.but {
				return match
			}
			return []byte(string(match[:at[4]]) + "\x1b[" + l.colour + "m" + text + "\x1b[0m" + string(match[at[5]:]))
		})
	}
	return title.ReplaceAll(p, []byte("\x1b["+bold+"m$0\x1b[0m"))
}

// file returns the file that out writes to, even if out adds colours.
func file(out io.Writer) (*os.File, bool) {
	if c, ok := out.(colours); ok {
		out = c.out
	}
	f, ok := out.(*os.File)
	return f, ok
}
