// Package dmarc evaluates DMARC as RFC 9989 defines it: [Discover] finds the
// policy for an Author Domain by tree walk (or, as an option, by public suffix
// list), [Discovery.Evaluate] compares it with the identifiers SPF and DKIM
// authenticated. The package knows nothing of SPF and DKIM but these
// identifiers, and decides nothing: it states the result and what the Domain
// Owner asks for.
//
// Where the text leaves a choice:
//
//   - A tag given twice makes the list invalid, as RFC 6376 §3.2 says, whose
//     syntax RFC 9989 §4.7 takes over; such a record counts as none, but only
//     for tags DMARC defines. mox does the same, mail-auth and mailauth let the
//     last one win. An attacker gains nothing either way.
//   - Tag names compare without case (the ABNF's literals), although RFC 6376
//     compares with case; "P=reject" means reject to everybody else.
//   - White space before "v" is not in the ABNF and makes it no DMARC record.
//   - A walk stops at psd=y or psd=n wherever it finds it, also at its start;
//     psd=y at the start makes that name its own Organizational Domain.
//   - Any invalid p, sp or np, also one that would not have been used, makes
//     the record p=none or unusable (§4.10.1, the literal text; mailauth alike).
//   - A record that is unusable leads to the result none, not permerror.
//   - A name that cannot be asked does not end a walk. The result is temperror
//     (§5.3.6), and Evaluation.Enforcing says which policy is known in spite of
//     it, so that a receiver can treat the message by §4.10.1, which leaves him
//     the choice. An alias loop or an answer over a bound is such a failure too,
//     never the same as no record.
//   - pct, rf and ri are ignored (§9.3); t is honoured.
//
// References are to RFC 9989 unless they name another.
package dmarc
