// Package dmarc evaluates DMARC as RFC 9989 defines it: [Discover] finds the
// policy for an Author Domain by tree walk (or, as an option, by public suffix
// list), [Discovery.Evaluate] compares it with the identifiers SPF and DKIM
// authenticated. The package knows SPF and DKIM only by these identifiers. It
// decides nothing: it states the result and what the Domain Owner asks for.
//
// Where the text leaves a choice, the package does this:
//
//   - A record that gives a tag of DMARC twice counts as no record. RFC 9989
//     §4.7 takes over the syntax of RFC 6376 §3.2, where a duplicate makes the
//     list invalid. mox does the same; mail-auth and mailauth let the last one
//     win. An attacker gains nothing either way.
//   - Tag names compare without case, as the literals of the ABNF do. RFC 6376
//     compares with case, but every other program takes "P=reject" for reject.
//   - A text with white space before "v" is not a DMARC record, because the
//     ABNF has none there.
//   - A walk stops at psd=y or psd=n wherever it finds it, also at its start;
//     psd=y at the start makes that name its own Organizational Domain.
//   - Any invalid p, sp or np, also one that would not have been used, makes
//     the record p=none or unusable (§4.10.1, the literal text; mailauth alike).
//   - A record that is unusable leads to the result none, not permerror.
//   - A failed lookup does not end a walk. The result is temperror (§5.3.6),
//     and Evaluation.Enforcing has the policy that is known in spite of the
//     failure, because §4.10.1 lets a receiver act on it. An alias loop and an
//     answer over a bound are failures too; they never count as no record.
//   - pct, rf and ri are ignored (§9.3); t is honoured.
//
// A reference such as §4.10 is to RFC 9989 unless it names another RFC.
package dmarc
