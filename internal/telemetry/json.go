package telemetry

import (
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/msgauth"
)

// jsonHandler is slog.JSONHandler with a faster way to write the records of messages.
// The faster way needs no slog.Attr, and its output is octet for octet the output of
// slog.JSONHandler.
type jsonHandler struct {
	*slog.JSONHandler
	out   io.Writer
	lines sync.Pool // holds *jsonLine values for reuse
}

func newJSONHandler(out io.Writer, o *slog.HandlerOptions) *jsonHandler {
	return &jsonHandler{
		JSONHandler: slog.NewJSONHandler(visible{out}, o),
		out:         out,
		lines:       sync.Pool{New: func() any { return &jsonLine{b: make([]byte, 0, lineSize)} }},
	}
}

// lineSize is the first capacity of a line in octets. An ordinary record is shorter.
const lineSize = 1024

// write writes a record with the attributes that `fill` adds, and returns true. If a
// string of the record needs escapes, write writes nothing and returns false. The caller
// then lets slog write the record.
func (h *jsonHandler) write(at time.Time, msg string, fill func(record)) bool {
	l := h.lines.Get().(*jsonLine)
	l.odd = false
	l.b = append(l.b[:0], `{"time":"`...)
	l.b = at.AppendFormat(l.b, time.RFC3339Nano)
	l.b = append(l.b, `","level":"INFO"`...)
	l.str("msg", msg)
	fill(l)
	l.b = append(l.b, "}\n"...)
	written := !l.odd
	if written {
		_, _ = h.out.Write(l.b) // an error of the log cannot be logged
	}
	if l.reusable() {
		h.lines.Put(l)
	}
	return written
}

// maxLineKept is the largest line that is kept for reuse, in octets. A sender can make a
// longer line with many signatures.
const maxLineKept = 8 << 10

func (l *jsonLine) reusable() bool { return cap(l.b) <= maxLineKept }

// jsonLine is a record that is being written as JSON.
type jsonLine struct {
	b   []byte
	odd bool // a value needs escapes, so slog must write the record
}

func (l *jsonLine) key(key string) {
	l.b = append(l.b, ',', '"')
	l.b = append(l.b, key...)
	l.b = append(l.b, '"', ':')
}

func (l *jsonLine) str(key, value string) {
	l.key(key)
	l.quoted(value)
}

// quoted adds s in quotes. If s holds characters other than printable ASCII, or
// characters that JSON escapes, quoted adds nothing and sets the field `odd`.
func (l *jsonLine) quoted(s string) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			l.odd = true
			return
		}
	}
	l.b = append(l.b, '"')
	l.b = append(l.b, s...)
	l.b = append(l.b, '"')
}

func (l *jsonLine) client(s msgauth.Session) {
	if !s.Client.IsValid() || s.Client.Zone() != "" {
		l.str("client_ip", addr(s))
		return
	}
	l.key("client_ip")
	l.b = append(s.Client.AppendTo(append(l.b, '"')), '"')
}

func (l *jsonLine) num(key string, value int64) {
	l.key(key)
	l.b = strconv.AppendInt(l.b, value, 10)
}

func (l *jsonLine) flag(key string, value bool) {
	l.key(key)
	l.b = strconv.AppendBool(l.b, value)
}

// seconds adds a number of seconds in the format of package encoding/json.
func (l *jsonLine) seconds(key string, value time.Duration) {
	l.key(key)
	if value == 0 || value.Abs() >= time.Microsecond {
		l.b = strconv.AppendFloat(l.b, value.Seconds(), 'f', -1, 64)
		return
	}
	l.b = strconv.AppendFloat(l.b, value.Seconds(), 'e', -1, 64)
	n := len(l.b) // the exponent is e-07, e-08 or e-09; encoding/json leaves out the 0
	l.b[n-2] = l.b[n-1]
	l.b = l.b[:n-1]
}

func (l *jsonLine) signatures(key string, all []dkim.Signature) {
	l.key(key)
	l.b = append(l.b, '[')
	for i := range all {
		s := &all[i]
		if i > 0 {
			l.b = append(l.b, ',')
		}
		l.b = append(l.b, `{"result":`...)
		l.quoted(string(s.Result))
		l.unlessEmpty("d", string(s.Domain))
		l.unlessEmpty("s", clip(s.Selector))
		l.unlessEmpty("a", clip(s.Algorithm))
		if s.KeyBits != 0 {
			l.num("bits", int64(s.KeyBits))
		}
		l.unlessEmpty("reason", string(s.Reason))
		l.b = append(l.b, '}')
	}
	l.b = append(l.b, ']')
}

func (l *jsonLine) unlessEmpty(key, value string) {
	if value != "" {
		l.str(key, value)
	}
}
