// Package failure makes failure reports (RFC 9991) on single messages, and decides how many are sent.
//
// A failure report tells the Domain Owner about mail of third persons, so this package tells as little
// as the RFC allows. There is no body and no recipient. Of the header, a few fields are kept. Local
// parts of addresses become codes (RFC 6590), which only the operator can compare, and display names
// are left out. All of this is done by [Observe], before anything is kept. What Observe returns may be
// stored and sent.
//
// The caller asks whether the domain is established and whether the destinations agreed, as for
// aggregate reports.
//
// A section without a name of an RFC is of RFC 9991.
package failure
