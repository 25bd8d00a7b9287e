// Package dmarc evaluates DMARC as RFC 9989 defines it. [Discover] finds the
// policy for an Author Domain with a tree walk or, as an option, with a public
// suffix list. [Discovery.Evaluate] compares the Author Domain with the identifiers
// that SPF and DKIM authenticated. The package knows SPF and DKIM only by these
// identifiers. It does not decide what happens to a message: it states the result
// and what the Domain Owner asks for.
//
// Where RFC 9989 leaves a choice, the package does this:
//
//   - A record that has a DMARC tag twice counts as no record. RFC 9989
//     §4.7 takes over the syntax of RFC 6376 §3.2, where a duplicate makes the
//     list invalid. The program mox does the same. The programs mail-auth and
//     mailauth use the last of the duplicates. An attacker gains nothing either way.
//   - Tag names compare without regard to case, as the literals of the ABNF do.
//     In RFC 6376 the case matters, but other programs read "P=reject" as reject.
//   - A text with white space before "v" is not a DMARC record, because the
//     ABNF allows none there.
//   - A tree walk stops at a record with psd=y or psd=n, even at the name at which
//     it starts. If that name has psd=y, it is its own Organizational Domain.
//   - A record with an invalid p, sp or np counts as p=none or is unusable, even
//     if this tag would not have been used. This is what §4.10.1 says literally, and what
//     mailauth does.
//   - A record that is unusable leads to the result none, not permerror.
//   - A failed lookup does not end a tree walk. If the result depends on the
//     missing answer, it is temperror (§5.3.6). Evaluation.Enforcing then has the
//     policy that is known in spite of the failure, because §4.10.1 lets a receiver
//     act on it. A loop of aliases and an answer that is too large are failures too
//     and do not count as "no record".
//   - pct, rf and ri are ignored (§9.3); t is applied.
//
// A reference such as §4.10 is to RFC 9989 unless it names another RFC.
package dmarc
