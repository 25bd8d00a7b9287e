package nameserver

import (
	"context"

	"sekimori/internal/dns"
)

// Func is a [dns.Resolver] that calls the function for every lookup. Use it for behaviour that zone
// text cannot describe. Its Peek never has an answer, and its Expect starts no lookup.
type Func func(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error)

// Lookup implements [dns.Resolver].
func (f Func) Lookup(ctx context.Context, name dns.Name, typ dns.Type) (dns.Answer, error) {
	return f(ctx, name, typ)
}

// Peek implements [dns.Resolver].
func (Func) Peek(dns.Name, dns.Type) (dns.Answer, bool) { return dns.Answer{}, false }

// Expect implements [dns.Resolver].
func (Func) Expect(context.Context, dns.Name, dns.Type) bool { return false }

// Queued implements [dns.Resolver].
func (Func) Queued() bool { return false }
