package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// private protects what names senders and recipients: a bounded number of
// requests at a time, nothing kept by caches, and no way in for a web page that
// the operator's browser shows. Without CORS fields such a page cannot read an
// answer of another origin, but its owner can have its own name resolve to
// 127.0.0.1 (DNS rebinding); at a loopback address the request must therefore
// name a loopback host. Over TLS the certificate says as much.
func private(h http.Handler, busy chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && r.TLS == nil && isLoopback(local.String()) && !isLoopback(r.Host) {
			text(w, http.StatusMisdirectedRequest, "this address answers to localhost only")
			return
		}
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		default:
			text(w, http.StatusServiceUnavailable, "too many requests at a time")
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// isLoopback judges a host with or without a port.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
