package message

import (
	"regexp"
	"strings"
	"testing"

	"sekimori/internal/testkit/octets"
)

var fieldLine = regexp.MustCompile(`(?s)^([!-9;-~]+)[ \t]*:(.*)$`)

// reference does what Parse does, line by line.
func reference(raw string) (h Header, body string) {
	raw = strings.TrimPrefix(raw, "\ufeff")
	raw = strings.ReplaceAll(strings.ReplaceAll(raw, "\r\n", "\n"), "\n", "\r\n")
	if strings.HasPrefix(raw, "From ") || strings.HasPrefix(raw, ">From ") {
		_, raw, _ = strings.Cut(raw, "\r\n")
	}
	for raw != "" {
		line, rest, _ := strings.Cut(raw, "\r\n")
		m := fieldLine.FindStringSubmatch(line)
		switch {
		case line == "":
			return h, rest
		case len(h) > 0 && (line[0] == ' ' || line[0] == '\t'):
			h[len(h)-1].Value += "\r\n" + line
		case m == nil:
			return h, raw
		default:
			h = append(h, Field{m[1], m[2]})
		}
		raw = rest
	}
	return h, ""
}

// TestShortMessages compares Parse and Unfold with plain versions: every short sequence of pieces.
func TestShortMessages(t *testing.T) {
	fold := regexp.MustCompile(`\r\n([ \t]|$)`)
	for raw := range octets.Words(5, "A", ":", " ", "\t", "\r", "\n", "\r\n", "From ", ">", "\ufeff", "\x7f") {
		h, body := Parse([]byte(raw))
		want, wantBody := reference(raw)
		if len(h) != len(want) || string(body) != wantBody {
			t.Fatalf("%q: %q, %q; want %q, %q", raw, h, body, want, wantBody)
		}
		for i := range h {
			if h[i] != want[i] {
				t.Fatalf("%q: field %q, want %q", raw, h[i], want[i])
			}
		}
		if got, want := Unfold(raw), fold.ReplaceAllString(raw, "$1"); got != want {
			t.Fatalf("Unfold(%q) = %q, want %q", raw, got, want)
		}
	}
}

// TestBodyShared checks that a large body is not copied if its line ends are right.
func TestBodyShared(t *testing.T) {
	for raw, shared := range map[string]bool{"A: b\r\n\r\nbody\r\n": true, "A: b\n\r\nbody\r\n": false} {
		octets := []byte(raw)
		_, body := Parse(octets)
		octets[len(octets)-len("dy\r\n")] = 'X'
		if got := body[2] == 'X'; got != shared {
			t.Errorf("%q: shared %t", raw, got)
		}
	}
}

// TestAll checks that a range over the values of a name can be left early.
func TestAll(t *testing.T) {
	h := Header{{"A", "1"}, {"B", "2"}, {"a", "3"}, {"AA", "4"}}
	var got []string
	for v := range h.All("a") {
		got = append(got, v)
		break
	}
	if strings.Join(got, " ") != "1" || strings.Join(h.Values("A"), " ") != "1 3" || h.Has("AAA") || !h.Has("aa") {
		t.Errorf("%q, %q", got, h.Values("A"))
	}
}
