package webfetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

var (
	errSlowHeader = fmt.Errorf("the server took longer than %s to answer", maxHeaderTime)
	errNoLocation = errors.New("it redirects, but does not say where to")
	errEncoding   = errors.New("the content is compressed in a way that was not asked for")
)

// sizeError says that something is larger than what is read.
type sizeError string

func (e sizeError) Error() string { return string(e) }

func tooLarge(format string, args ...any) error { return sizeError(fmt.Sprintf(format, args...)) }

// statusError is a status other than 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the server answered with status %d", int(e)) }

// temporary reports whether another try may have another result.
func (e statusError) temporary() bool {
	return e >= http.StatusInternalServerError || e == http.StatusTooManyRequests || e == http.StatusRequestTimeout
}

// nameError says that a name has no address.
type nameError struct {
	name dns.Name
	err  error // nil if DNS says that there is none
}

func (e *nameError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("%s has no address", e.name)
	}
	return fmt.Sprintf("the address of %s cannot be found: %v", e.name, e.err)
}

func (e *nameError) Unwrap() error { return e.err }

// contentError says that the content cannot be read.
type contentError struct{ err error }

func (e contentError) Error() string { return "the content cannot be read: " + e.err.Error() }
func (e contentError) Unwrap() error { return e.err }

// content reads the body of a response, and uncompresses it. Neither form may have more than limit
// octets.
func content(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, errTooLong
	}
	body := io.Reader(&limited{resp.Body, limit})
	switch encoding := strings.Join(resp.Header.Values("Content-Encoding"), ","); {
	case strings.EqualFold(encoding, "gzip"):
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, contentError{err}
		}
		body = &limited{z, limit}
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return nil, errEncoding
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(body); err != nil {
		return nil, contentError{err}
	}
	return out.Bytes(), nil
}

// limited is a reader that fails when it is asked for more than left octets, where io.LimitReader would
// say that the content ends.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return n, errTooLong
	}
	return n, err
}

const errTooLong sizeError = "it is larger than what may be fetched"

// explain makes an Error of the error of a request. caller is the context of the caller of Fetch, and ctx
// the one with the time limit.
func explain(caller, ctx context.Context, u *url.URL, err error) *Error {
	e := &Error{URL: u.String(), Err: err}
	var (
		size    sizeError
		status  statusError
		name    *nameError
		content contentError
		network *net.OpError
		timeout net.Error
	)
	switch {
	case caller.Err() != nil && !errors.Is(caller.Err(), context.DeadlineExceeded):
		e.Result, e.Temporary = Stopped, true
	case errors.Is(err, ErrAddress):
		e.Result = BadAddress
		// The error of the dialer repeats the address.
		for inner := errors.Unwrap(e.Err); inner != nil && errors.Is(inner, ErrAddress); inner = errors.Unwrap(inner) {
			if inner == ErrAddress { //nolint:errorlint // the innermost has no details
				break
			}
			e.Err = inner
		}
	case errors.Is(err, errSlowHeader):
		e.Result, e.Temporary = Slow, true
	case ctx.Err() != nil:
		e.Result, e.Temporary, e.Err = Slow, true, fmt.Errorf("it took longer than %s", maxTime)
	case errors.As(err, &size):
		e.Result = TooLarge
	case strings.Contains(err.Error(), "server response headers exceeded"): // net/http has no value for it
		e.Result = TooLarge
	case errors.As(err, &status):
		e.Result, e.Temporary = BadStatus, status.temporary()
	case errors.Is(err, errNoLocation):
		e.Result = Redirects
	case errors.As(err, &name):
		e.Result, e.Temporary = NoName, name.err != nil && !dns.Permanent(name.err)
	case isTLS(err):
		e.Result = BadTLS
	case errors.Is(err, errEncoding):
		e.Result = BadContent
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Result, e.Temporary = Slow, true
	case errors.As(err, &network):
		e.Result, e.Temporary = NoServer, true
	case errors.As(err, &content) && !errors.Is(err, io.ErrUnexpectedEOF):
		e.Result = BadContent
	default: // a connection that ended early, or what is not HTTP
		e.Result, e.Temporary = BadContent, true
	}
	e.Err = shown{e.Err}
	return e
}

// isTLS reports whether TLS failed, and not the network under it. Many errors of crypto/tls have no type,
// but all say so.
func isTLS(err error) bool { return strings.Contains(err.Error(), "tls: ") }

// shown is an error whose text is safe to print: a server chooses parts of it.
type shown struct{ error }

func (s shown) Error() string { return printable.Value(printable.Clip(s.error.Error(), maxError)) }
func (s shown) Unwrap() error { return s.error }

// maxError is how much of an error is shown, in octets. A server chooses the URL of a redirect.
const maxError = 400

func clip(s string) string { return printable.Value(printable.Clip(s, maxError/2)) }
