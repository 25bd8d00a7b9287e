//go:build linux

package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// known is one line of the known file.
type known struct {
	file, fn, text, reason string
	nth                    int // 0: each of the same text
}

var (
	gap    = regexp.MustCompile(`\t+| {2,}`)
	digits = regexp.MustCompile(`^[0-9]+$`)
)

func readKnown(name string) ([]known, error) {
	if name == "" {
		return nil, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var out []known
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := gap.Split(line, 3)
		if len(f) < 3 {
			return nil, fmt.Errorf("%s:%d: want FILE[:FUNC[#N]]  TEXT  REASON, two spaces or a tab between them", name, i+1)
		}
		k := known{text: f[1], reason: f[2]}
		place, nth, _ := strings.Cut(f[0], "#")
		k.nth, _ = strconv.Atoi(nth)
		k.file, k.fn, _ = strings.Cut(place, ":")
		if digits.MatchString(k.fn) {
			k.fn = "" // lines move; a line as printed may stand here all the same
		}
		out = append(out, k)
	}
	return out, nil
}

func (m *Mutant) knownBy(ks []known) string {
	for _, k := range ks {
		if isSuffix(m.File, k.file) && (k.fn == "" || k.fn == m.Func) && (k.nth == 0 || k.nth == m.Nth) && (k.text == m.Change || k.text == m.text() || k.text == m.Change+"; "+m.Context) {
			return k.reason
		}
	}
	return ""
}
