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

// jsonHandler is slog's handler, with a faster way for Records. It writes the record of
// a message octet for octet as slog would, without an Attr for each value.
type jsonHandler struct {
	*slog.JSONHandler
	out   io.Writer
	lines sync.Pool // of *jsonLine
}

func newJSONHandler(out io.Writer, o *slog.HandlerOptions) *jsonHandler {
	return &jsonHandler{
		JSONHandler: slog.NewJSONHandler(visible{out}, o),
		out:         out,
		lines:       sync.Pool{New: func() any { return &jsonLine{b: make([]byte, 0, lineSize)} }},
	}
}

// lineSize is enough for an ordinary record, in octets.
const lineSize = 1024

// write writes a record and reports whether it could. It cannot write a record with a
// string that needs escapes; the caller leaves such a record to slog.
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
		_, _ = h.out.Write(l.b) // nothing can be said about a log that cannot be written
	}
	if l.reusable() {
		h.lines.Put(l)
	}
	return written
}

// maxLineKept bounds the memory that is kept for reuse, in octets. A stranger can make
// a line long by many signatures.
const maxLineKept = 8 << 10

func (l *jsonLine) reusable() bool { return cap(l.b) <= maxLineKept }

// jsonLine is a record as JSON.
type jsonLine struct {
	b   []byte
	odd bool // a value needs escapes, so the line must not be written
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

// quoted writes a string of printable ASCII without characters that JSON escapes.
// Any other string makes the line odd.
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

// seconds writes a number in the format of package encoding/json.
func (l *jsonLine) seconds(key string, value time.Duration) {
	l.key(key)
	if value == 0 || value.Abs() >= time.Microsecond {
		l.b = strconv.AppendFloat(l.b, value.Seconds(), 'f', -1, 64)
		return
	}
	l.b = strconv.AppendFloat(l.b, value.Seconds(), 'e', -1, 64)
	n := len(l.b) // nanoseconds: from e-07 to e-09
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
