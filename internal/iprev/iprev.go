// Package iprev does the reverse DNS check of RFC 8601 §3: it checks whether the
// client's address has a name, and whether that name has the address.
package iprev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"sekimori/internal/dns"
	"sekimori/internal/printable"
)

// Status is a result of the method iprev (RFC 8601 §2.7.3).
type Status string

// The results of RFC 8601 §2.7.3.
const (
	// Pass: a name of the address has that address.
	Pass Status = "pass"
	// Fail: names were found, and none of them has the address.
	Fail Status = "fail"
	// TempError: a lookup failed, and its answer could have made the result a pass.
	TempError Status = "temperror"
	// PermError: there is no address to ask about, no PTR record is published for it, or the
	// published records cannot be used (an alias loop, or an answer that exceeds a bound). RFC 8601
	// §2.7.3 says fail if the lookups completed, and permerror if a later attempt is unlikely to
	// succeed. An unusable answer must not be a fail. Otherwise the owner of an address could
	// publish an alias to a name in somebody else's domain, and the fail would be evidence against
	// mail of that domain.
	PermError Status = "permerror"
)

// MaxNames is the maximum number of PTR records that are followed. RFC 8601 §3 leaves the number
// open. A bound is needed because the owner of the address chooses the number of records. Ten is
// the bound of RFC 7208 §4.6.4 for SPF.
const MaxNames = 10

// Result is the outcome of a check.
type Result struct {
	Status Status     `json:"status"`
	IP     netip.Addr `json:"ip,omitzero"` // an IPv4-mapped address is converted to IPv4
	// Name is the first name in the answer that has the address; "" unless Status is Pass. The
	// owner of the address chose this name, so it may hold any octet.
	Name dns.Name `json:"name,omitempty"`
	// Names are the names whose addresses were looked up, in order.
	Names []dns.Name `json:"names,omitempty"`
	// Problem says why Status is not Pass; printable ASCII.
	Problem string `json:"problem,omitempty"`
	// DNSError is the failed lookup from which Status follows, if there is one. It is set only if
	// Status is TempError or PermError.
	DNSError *dns.Error `json:"-"`
	// Trace is every lookup made, in order.
	Trace []Step `json:"trace,omitempty"`
}

// Step is one lookup with its outcome.
type Step struct {
	Name   dns.Name `json:"name"`
	Type   dns.Type `json:"type"`
	Detail string   `json:"detail"` // printable ASCII
}

// Check looks up the names of ip and then their addresses, until it finds a name
// that has the address ip. It returns the result with every lookup made.
func Check(ctx context.Context, r dns.Resolver, ip netip.Addr) Result {
	res := Result{Status: PermError, IP: ip.Unmap().WithZone("")}
	if !ip.IsValid() {
		res.Problem = "the client has no IP address"
		return res
	}
	ptr, err := r.Lookup(ctx, dns.ReverseName(res.IP), dns.TypePTR)
	res.trace(dns.ReverseName(res.IP), dns.TypePTR, ptr, err)
	switch {
	case err != nil:
		res.fail(err)
		return res
	case ptr.Void():
		// RFC 8601 §2.7.3 says permerror if the reverse lookup gives NXDOMAIN or NODATA.
		res.Problem = "no PTR record: " + ptr.Status.String()
		return res
	}
	res.Status, res.Problem = Fail, "no name has the address"
	res.verify(ctx, r, ptr.Records)
	return res
}

// AddressType returns the type of the records that hold addresses of ip's family.
func AddressType(ip netip.Addr) dns.Type {
	if ip.Unmap().Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

// verify looks for a name that has the address. A failed lookup changes the result only if no other
// name passes.
func (res *Result) verify(ctx context.Context, r dns.Resolver, names []dns.Record) {
	typ := AddressType(res.IP)
	for _, ptr := range names[:min(len(names), MaxNames)] {
		if ptr.Host == "" {
			continue // the root has no address
		}
		res.Names = append(res.Names, ptr.Host)
		ans, err := r.Lookup(ctx, ptr.Host, typ)
		res.trace(ptr.Host, typ, ans, err)
		if err != nil {
			res.fail(err)
			continue
		}
		for _, rec := range ans.Records {
			if rec.Addr.Unmap() == res.IP {
				res.Status, res.Name, res.Problem, res.DNSError = Pass, ptr.Host, "", nil
				return
			}
		}
	}
}

// fail makes the failed lookup the result, unless an earlier lookup failed. However, a temporary
// failure replaces a permanent one, because the name whose lookup failed temporarily could have made
// the result a pass.
func (res *Result) fail(err error) {
	status := TempError
	if dns.Permanent(err) {
		status = PermError
	}
	if res.DNSError != nil && (res.Status == TempError || status == PermError) {
		return
	}
	res.Status, res.Problem, res.DNSError = status, printable.Escaped(err.Error()), nil
	errors.As(err, &res.DNSError)
}

func (res *Result) trace(name dns.Name, typ dns.Type, ans dns.Answer, err error) {
	detail := fmt.Sprintf("%d record(s)", len(ans.Records))
	switch {
	case err != nil:
		detail = printable.Escaped(err.Error())
	case ans.Void():
		detail = "no records: " + ans.Status.String()
	}
	res.Trace = append(res.Trace, Step{Name: name, Type: typ, Detail: detail})
}
