// Package webfetch is the only HTTP client of the daemon. Strangers choose what it fetches, so it
// connects only to addresses of the public internet, and bounds what a server can make it wait for or
// read. It keeps nothing between two fetches.
package webfetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/dns"
)

// Kind is what is fetched. It bounds the size.
type Kind string

// The kinds.
const (
	Picture     Kind = "picture"     // an SVG picture
	Certificate Kind = "certificate" // a mark certificate with its chain, in PEM
	CRL         Kind = "crl"         // a certificate revocation list; the only kind that http may carry
)

// Kinds are all kinds.
var Kinds = []Kind{Picture, Certificate, CRL}

// Bounds on what a server can make us read or wait for. Sizes are in octets.
const (
	maxPicture     = 64 << 10 // a valid one has 32 KiB, before it is compressed
	maxCertificate = 64 << 10 // real ones have 6 to 18 KB
	maxCRL         = 10 << 20 // the lists of large authorities have some MiB
	maxHeader      = 32 << 10 // of a response
	maxFields      = 100      // of a response's header
	maxRedirects   = 3
	maxURL         = 2048
	maxAddresses   = 4 // of a name that are tried

	maxHeaderTime = 5 * time.Second  // until the header of a response is there
	maxTime       = 10 * time.Second // for everything
	maxDial       = 2 * time.Second  // for the connection to one address
)

func (k Kind) limit() int64 {
	switch k {
	case CRL:
		return maxCRL
	case Certificate:
		return maxCertificate
	}
	return maxPicture
}

// Result says how a fetch ended.
type Result string

// The results.
const (
	OK         Result = "ok"
	BadURL     Result = "url"      // the URL, or one that a redirect names, is not of the form that is allowed
	NoName     Result = "dns"      // the name has no address, or DNS failed
	BadAddress Result = "address"  // the guard refuses the address
	NoServer   Result = "connect"  // no connection
	BadTLS     Result = "tls"      // no TLS, or the certificate is not for the name
	Slow       Result = "timeout"  // the time ended
	BadStatus  Result = "status"   // another status than 200
	Redirects  Result = "redirect" // too many redirects, or one without a target
	TooLarge   Result = "size"     // more octets or header fields than are read
	BadContent Result = "content"  // HTTP or a compression that is not understood
	Stopped    Result = "stopped"  // the caller's context ended
)

// Results are all results.
var Results = []Result{OK, BadURL, NoName, BadAddress, NoServer, BadTLS, Slow, BadStatus, Redirects, TooLarge, BadContent, Stopped}

// Error says why there is no content.
type Error struct {
	Result Result
	URL    string // the URL that failed, after redirects
	// Temporary means that the same fetch may succeed later.
	Temporary bool
	Err       error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("webfetch: %s: %v", clip(e.URL), e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Options are what a Client needs. Resolver and UserAgent must be set.
type Options struct {
	Resolver  dns.Resolver
	UserAgent string
	// Guard is asked about each address immediately before a connection to it is made. Nil means
	// Public(nil).
	Guard Guard
	// Roots are the authorities of web servers' certificates. Nil means those of the system. They have
	// nothing to do with the roots of mark certificates.
	Roots *x509.CertPool
	// HTTPS and HTTP are the ports of both; 0 means 443 and 80. Only tests set them.
	HTTPS, HTTP uint16
	// Done is called at the end of each fetch. It may be nil.
	Done func(Kind, Result)
}

// Client fetches. It is safe for concurrent use.
type Client struct {
	o         Options
	transport *http.Transport
	connect   func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns a Client.
func New(o Options) *Client {
	if o.Guard == nil {
		o.Guard = Public(nil)
	}
	if o.HTTPS == 0 {
		o.HTTPS = 443
	}
	if o.HTTP == 0 {
		o.HTTP = 80
	}
	c := &Client{o: o}
	dialer := net.Dialer{Timeout: maxDial, KeepAlive: -1, Control: c.control}
	c.connect = dialer.DialContext
	c.transport = &http.Transport{
		Proxy:       nil, // not even one of the environment: it would resolve names and ignore the guard
		DialContext: c.dial,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: o.Roots, SessionTicketsDisabled: true,
			NextProtos: []string{"http/1.1"},
		},
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/2 would be more to bound
		DisableKeepAlives:      true,                                                   // each fetch resolves its name, and checks its address
		DisableCompression:     true,                                                   // gzip is read here, with a limit
		MaxResponseHeaderBytes: maxHeader,
		// The transport goes on with a connection after its request has ended, so that needs a limit of its own.
		TLSHandshakeTimeout: maxHeaderTime,
	}
	return c
}

// control is called with the address of each connection, after all names were resolved. So neither a
// redirect nor a name with changing addresses gets around the guard.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q", ErrAddress, address)
	}
	return c.o.Guard(to)
}

// Fetch fetches a URL. The error is an *Error.
func (c *Client) Fetch(ctx context.Context, kind Kind, rawURL string) ([]byte, error) {
	body, err := c.fetch(ctx, kind, rawURL)
	result := OK
	if err != nil {
		result = err.Result
	}
	if c.o.Done != nil {
		c.o.Done(kind, result)
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

func (c *Client) fetch(caller context.Context, kind Kind, rawURL string) ([]byte, *Error) {
	ctx, cancel := context.WithTimeout(caller, maxTime)
	defer cancel()
	target, err := CheckURL(kind, rawURL)
	if err != nil {
		return nil, &Error{Result: BadURL, URL: rawURL, Err: err}
	}
	for redirects := 0; ; redirects++ {
		body, next, err := c.once(ctx, kind, target)
		if err != nil {
			return nil, explain(caller, ctx, target, err)
		}
		if next == "" {
			return body, nil
		}
		if redirects == maxRedirects {
			return nil, &Error{Result: Redirects, URL: target.String(), Err: fmt.Errorf("more than %d redirects", maxRedirects)}
		}
		ref, err := target.Parse(next)
		if err != nil {
			return nil, &Error{Result: BadURL, URL: target.String(), Err: errors.New("it redirects to what is not a URL")}
		}
		if target, err = CheckURL(kind, ref.String()); err != nil {
			return nil, &Error{Result: BadURL, URL: rawURL, Err: fmt.Errorf("it redirects to %s: %w", clip(ref.String()), err)}
		}
	}
}

// CheckURL returns the URL if it may be fetched: https, or also http for a CRL, with the name of a host,
// on the standard port, and without user information.
func CheckURL(kind Kind, raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("the URL has more than %d octets", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	port := "443"
	switch {
	case u.Scheme == "http" && kind == CRL:
		port = "80"
	case u.Scheme != "https":
		return nil, errors.New("the URL must begin with https://")
	}
	u.Fragment, u.RawFragment = "", ""
	switch host := u.Hostname(); {
	case u.User != nil:
		return nil, errors.New("the URL must not have a user name")
	case host == "": // which an opaque URL has not, either
		return nil, errors.New("the URL has no host name")
	case u.Port() != "" && u.Port() != port || strings.HasSuffix(u.Host, ":"):
		return nil, fmt.Errorf("the URL must not name another port than %s", port)
	case isAddress(host):
		return nil, errors.New("the URL must have the name of a host, not its address")
	default:
		name, err := dns.ParseHostname(host)
		if err != nil {
			return nil, errors.New("the host of the URL is not a valid name")
		}
		u.Host = string(name)
		return u, nil
	}
}

// isAddress reports whether a host is an IP address, also in the forms of RFC 3493 that some libraries
// read: no public name ends with a number.
func isAddress(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	last := strings.TrimSuffix(host, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	return last != "" && '0' <= last[0] && last[0] <= '9'
}

// once makes one request. It returns the content, or where the server redirects to.
func (c *Client) once(ctx context.Context, kind Kind, u *url.URL) (body []byte, next string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(maxHeaderTime, func() { cancel(errSlowHeader) })
	defer late.Stop()
	req := (&http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {c.o.UserAgent}, "Accept-Encoding": {"gzip"}, "Accept": {"*/*"}},
	}).WithContext(ctx)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errSlowHeader) {
			err = cause
		}
		return nil, "", err
	}
	defer resp.Body.Close()
	late.Stop()
	fields := 0
	for _, values := range resp.Header {
		fields += len(values)
	}
	if fields > maxFields {
		return nil, "", tooLarge("more than %d header fields", maxFields)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		body, err = content(resp, kind.limit())
		return body, "", err
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if next = resp.Header.Get("Location"); next == "" {
			return nil, "", errNoLocation
		}
		return nil, next, nil
	}
	return nil, "", statusError(resp.StatusCode)
}

// dial connects to the host of an address. It resolves the name by our own resolver.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number := c.o.HTTPS
	if port == "80" {
		number = c.o.HTTP
	}
	ctx, cancel := context.WithTimeout(ctx, maxHeaderTime) // the transport's context does not end with the request
	defer cancel()
	addrs, err := c.resolve(ctx, dns.Name(host))
	if ctx.Err() != nil { // this time ends together with that of the request
		return nil, errSlowHeader
	}
	if err != nil {
		return nil, err
	}
	var first error
	for _, a := range addrs[:min(len(addrs), maxAddresses)] {
		if a.Is4In6() { // the guard would see the IPv4 address
			return nil, fmt.Errorf("%w: %s", ErrAddress, a)
		}
		conn, err := c.connect(ctx, network, netip.AddrPortFrom(a, number).String())
		if err == nil {
			return conn, nil
		}
		if first == nil || errors.Is(err, ErrAddress) {
			first = err // the operator wants to know first of all that an address was refused
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// resolve returns the addresses of a name, those of IPv4 first.
func (c *Client) resolve(ctx context.Context, name dns.Name) (addrs []netip.Addr, err error) {
	var failed error
	for _, typ := range []dns.Type{dns.TypeA, dns.TypeAAAA} {
		answer, err := c.o.Resolver.Lookup(ctx, name, typ)
		if err != nil {
			failed = err
			continue
		}
		for _, r := range answer.Records {
			addrs = append(addrs, r.Addr)
		}
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	return nil, &nameError{name, failed}
}
