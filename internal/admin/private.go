package admin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// private protects a handler whose answers name senders and recipients. It limits how
// many requests can run at the same time, and forbids caches to store an answer.
//
// It also protects the answers from web pages that are open in the operator's browser. A
// page of another origin cannot read them, because the answers have no CORS fields. But the
// owner of a page can change the DNS so that the page's own name resolves to 127.0.0.1 (DNS
// rebinding). The page then has the same origin as the admin address. Therefore a request
// to a loopback address must have a loopback host in its Host field. Over TLS this is not
// needed, because the certificate does not match the page's name.
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

// isLoopback reports whether hostport, which may lack the port, names a loopback host.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, _ := netip.ParseAddr(host) // another name gives the zero Addr, which is not a loopback address
	return addr.Unmap().IsLoopback()
}
