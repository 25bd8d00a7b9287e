package console

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sekimori/internal/explain"
	"sekimori/internal/printable"
	"sekimori/internal/status"
)

const (
	// MaxTry is the size of the largest request to try a message, in octets.
	MaxTry = 1 << 20
	// maxTries is how many messages can be tried one right after the other; then one every tryEvery. Each
	// asks DNS as a message does that comes in.
	maxTries = 10
	tryEvery = 3 * time.Second
	// maxTryRecipients is how many recipients a tried message has.
	maxTryRecipients = 100
	// tryTime is how long it may take to judge a message. The server gives an answer 30 s.
	tryTime = 20 * time.Second
)

// tried is the data of the page on which a message can be tried.
type tried struct {
	Off     string // why nothing can be tried; "" if it can
	Wrong   string // what is wrong with the request
	Form    tryFields
	Result  *explain.Explanation
	Why     []explain.Line
	Rest    []explain.Section
	Results string // the value of Authentication-Results
}

// tryFields are what was written into the form.
type tryFields struct {
	Message, Client, HELO, From, Recipients string
	Now                                     bool // judge as of now, not as of when the message was received
}

func (c *Console) tryForm(*http.Request, *status.Status) (any, *problem) {
	return tried{Off: c.tryOff()}, nil
}

func (c *Console) tryOff() string {
	switch {
	case c.o.Try == nil:
		return "This daemon cannot try messages."
	case c.o.TryOff == nil:
		return ""
	}
	return c.o.TryOff()
}

// try judges the message in the request.
func (c *Console) try(r *http.Request, _ *status.Status) (any, *problem) {
	if off := c.tryOff(); off != "" {
		return nil, &problem{http.StatusForbidden, "Messages cannot be tried here.", off}
	}
	if !c.tries.take(c.o.Now()) {
		return nil, &problem{http.StatusTooManyRequests, "Too many messages were tried.", "Wait some seconds, and send the form again."}
	}
	t, message, err := readTry(r)
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, &problem{http.StatusRequestEntityTooLarge, "The message is too large.", "A message of at most 1 MiB can be tried; sekimori explain takes larger ones."}
		}
		return nil, &problem{http.StatusBadRequest, "The form cannot be read.", "Load the page again, and send the form from there."}
	}
	stored, wrong := t.stored(message, c.o.Now())
	if wrong != "" {
		return tried{Form: t, Wrong: wrong}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), tryTime)
	defer cancel()
	x, err := c.o.Try(ctx, stored)
	if err != nil {
		return tried{Form: t, Wrong: "The message cannot be judged: " + err.Error()}, nil
	}
	sections := x.Sections()
	return tried{Form: t, Result: x, Why: sections[0].Lines, Rest: sections[1:], Results: x.AuthenticationResults}, nil
}

// readTry reads the form. Nothing of it is written to a file.
func readTry(r *http.Request) (t tryFields, message []byte, err error) {
	r.Body = http.MaxBytesReader(nil, r.Body, MaxTry)
	parts, err := r.MultipartReader()
	if err != nil {
		return t, nil, err
	}
	var file []byte
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t, nil, err
		}
		text, err := readPart(part)
		if err != nil {
			return t, nil, err
		}
		switch part.FormName() {
		case "message":
			message = text
		case "file":
			file = text
		case "client":
			t.Client = strings.TrimSpace(string(text))
		case "helo":
			t.HELO = strings.TrimSpace(string(text))
		case "from":
			t.From = strings.TrimSpace(string(text))
		case "rcpt":
			t.Recipients = lines(text)
		case "now":
			t.Now = true
		}
	}
	if len(file) > 0 {
		message = file
	} else if s := lines(message); printable.Text(s) == s {
		t.Message = s // a text that a browser would change does not come back into the form
	}
	return t, message, nil
}

// lines returns a text with the line ends of a page: browsers send CRLF.
func lines(text []byte) string { return strings.ReplaceAll(string(text), "\r\n", "\n") }

func readPart(p *multipart.Part) ([]byte, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(p)
	return b.Bytes(), err
}

// stored returns the message to judge. wrong says what is missing; "" if nothing is.
func (t *tryFields) stored(message []byte, now time.Time) (s *explain.Stored, wrong string) {
	client, err := netip.ParseAddr(t.Client)
	switch {
	case len(bytes.TrimSpace(message)) == 0:
		return nil, "Paste a message, or choose a file."
	case err != nil:
		return nil, "The address of the client is missing, or is not an IP address."
	}
	s = &explain.Stored{Message: message, Client: client, HELO: t.HELO, MailFrom: &t.From}
	for line := range strings.Lines(t.Recipients) {
		if line = strings.TrimSpace(line); line != "" {
			s.Recipients = append(s.Recipients, line)
		}
	}
	if len(s.Recipients) > maxTryRecipients {
		return nil, "There are more than 100 recipients."
	}
	if t.Now {
		s.Time = now
	}
	return s, ""
}

// limiter lets maxTries through at once, and then one every tryEvery.
type limiter struct {
	mu   sync.Mutex
	full time.Time // when all tries would be available again
}

func (l *limiter) take(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full.Before(now) {
		l.full = now
	}
	next := l.full.Add(tryEvery)
	if next.Sub(now) > maxTries*tryEvery {
		return false
	}
	l.full = next
	return true
}
