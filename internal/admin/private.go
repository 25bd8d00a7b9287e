package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// private protects a handler whose answers name senders and recipients. It bounds the
// number of requests at a time, and forbids caches to keep an answer.
//
// It also keeps out web pages that the operator's browser shows. The answers have no
// CORS fields, so a page of another origin cannot read them. But the owner of a page
// can let the page's own name resolve to 127.0.0.1 (DNS rebinding). At a loopback
// address the request must therefore name a loopback host. Over TLS the certificate
// has the same effect.
func private(h http.Handler, busy chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if ok && r.TLS == nil && isLoopback(local.String()) && !isLoopback(r.Host) {
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

// isLoopback reports whether a host, with or without a port, is a loopback host.
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
