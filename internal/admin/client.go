package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits for an answer of the daemon.
const (
	clientTimeout  = 30 * time.Second
	maxAnswerBytes = 64 << 20 // octets of an answer
	maxErrorBytes  = 1 << 10  // octets that are shown of an error message
)

// ErrNoServer means that the request got no answer from the address.
var ErrNoServer = errors.New("admin: no daemon answers")

// Client sends requests to the admin address of a running daemon.
type Client struct {
	base *url.URL
	most int64 // octets of an answer
}

// NewClient returns a Client for an admin address. base is a URL such as
// http://127.0.0.1:8892 or, with a password, https://name:password@mx.example.
// HOST:PORT is the same as http://HOST:PORT.
func NewClient(base string) (*Client, error) {
	if _, port, err := net.SplitHostPort(base); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			base = "http://" + base
		}
	}
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		// The error of url.Parse is not shown, because it contains the password.
		return nil, errors.New("admin: not an admin address; write HOST:PORT, such as 127.0.0.1:8892, or a URL")
	}
	return &Client{base: u, most: maxAnswerBytes}, nil
}

// Local reports whether the host in the URL is a loopback address or "localhost".
func (c *Client) Local() bool {
	host := c.base.Hostname()
	ip, _ := netip.ParseAddr(host) // a name gives the zero Addr, which is not a loopback address
	return host == "localhost" || ip.Unmap().IsLoopback()
}

// Get requests path with the parameters query, and decodes the JSON answer into the
// value that `to` points to.
func (c *Client) Get(ctx context.Context, path string, query url.Values, to any) error {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("admin: %s: malformed request", u.Redacted())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the text of url.Error contains the URL, and so the password
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			err = errors.New("no program listens there; does the daemon run (systemctl status sekimori)? --admin HOST:PORT names another address")
		}
		return fmt.Errorf("%w at %s: %w", ErrNoServer, c.base.Redacted(), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(&u, resp)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, c.most+1))
	switch {
	case err != nil:
		return fmt.Errorf("admin: %s: %w", u.Redacted(), err)
	case int64(len(raw)) > c.most:
		return fmt.Errorf("admin: %s: the answer has over %d octets", u.Redacted(), c.most)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("admin: %s: the answer is not what this version expects: %w", u.Redacted(), err)
	}
	return nil
}

// refusal returns the error for an answer whose status is not 200.
func refusal(u *url.URL, resp *http.Response) error {
	hint := ""
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		hint = "; the address wants a password: write http://NAME:PASSWORD@HOST:PORT"
	case http.StatusNotFound:
		hint = "; it is not there: is admin.recent 0, is there no store (store.url), or is the daemon older than this program?"
	}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // if reading fails, the text read so far is shown
	return fmt.Errorf("admin: %s: %s %q%s", u.Redacted(), resp.Status, strings.TrimSpace(string(said)), hint)
}
