// Package author reads the author of a message from its From field ([Parse], RFC 5322
// §3.6.2).
//
// A verifier is only useful if it agrees with the reader's mail client on the author.
// Parse therefore follows one principle: it refuses a field only if two readers could
// see different domains in it. A field that clients write and show is accepted, even if
// RFC 5322 calls it obsolete or wrong. A field that two readers could take for the work
// of authors of two domains is refused, even if RFC 5322 allows it. A refusal is a
// [*Error] that says what is wrong, and where.
//
// Which addresses count:
//
//   - An address in a comment counts if the comment stands beside an address without
//     angle brackets or without any other name, because a reader may take it for the
//     author's. Such a comment may hold addresses of the author's own domain only. Beside
//     a name and angle brackets, an address in a comment does not count.
//   - An address in a display name, quoted or in encoded words, does not count
//     (RFC 2047 §5). A person may still be misled by it, so the field is accepted with a
//     [Note].
//   - The same is true of an encoded word in the display name of the only mailbox that
//     decodes to one address in angle brackets. Its note has the message tagged, because
//     a person takes the address for the author. Such a word does count in a comment,
//     among several mailboxes, and where readers decode it differently. Encoded quotes
//     and parentheses count, too, if they move an address of another domain out of the
//     quotes or the comment in which it stands.
//   - A domain counts only if it could exist. Some readers leave out white space. They
//     read "foo@a.example Foo" as foo@a.examplefoo, a domain that cannot exist, but
//     "ceo@bank.c om" as ceo@bank.com.
//
// # How a field is read
//
// Parse first reads a field as a mailbox-list, with tolerance (mailbox.go). That includes
// text in the name of the only address that should have been quoted (loose.go), and
// unencoded double-byte text (legacy.go). If that fails, it reads the field as a slip, in
// every way in which a reader might (slip.go, domains.go).
//
// # What is accepted
//
//	a@b.example                        bare address
//	<a@b.example>  < a@b.example >     angle-addr, white space at its edges
//	John Q. Public <a@b.example>       dots in a phrase (obs-phrase)
//	[JIRA] Foo <a@b.example>           plain text in square brackets in a phrase
//	"any <x@y>, text" <a@b.example>    quoted-string: never an address
//	=?utf-8?B?...?= <a@b.example>      encoded words of any charset whose octets can be judged
//	                                   (charset.go): not UTF-7, BOCU-1 and the like
//	(c) John (c) <a@b.example> (c)     comments between words, 10 deep
//	a@b.example (John)                 the old style, also a@b.example(John)
//	a@b.example (c@b.example)          a comment that holds the author's own domain
//	a@b.example (x @ y)                a comment with an "@" that has no domain after it
//	a@b.example <a@b.example>          unquoted address of the very same domain
//	Doe, John <a@b.example>            unquoted , : ; and @ in the name of the only address,
//	Foo: bar <a@b.example>             where no reader finds another domain
//	ESC $ B ... ESC ( B <a@b.example>  raw ISO-2022-JP, Shift_JIS and the like in the name of
//	                                   the only address, on the same terms
//	a@b.example, , c@b.example,        lists, empty elements (obs-mbox-list)
//	a..b.@b.example  "a..b"@b.example  dots anywhere in a local part, as Japanese carriers issue
//	a@b.example.  root@localhost       final dot, single label
//	用户@例え.jp                         RFC 6532; the domain becomes A-labels
//	folds anywhere white space may be, also lines of white space only (obs-FWS)
//	"Doe, John, <a@b.example>          slips that show one domain: quotes, comments and brackets
//	Foo a@b.example  <<a@b.example>>   that are not closed, doubled or missing; text after the
//	Foo <a@b.example>;  "a b"@b.example  address; groups; quoted local parts of anything
//
// # What is refused
//
//	missing            no From field
//	multiple_fields    several From fields, equal or not
//	multiple_domains   mailboxes of several distinct domains
//	no_address         no domain in any reading: empty field, "<>", "MAILER-DAEMON",
//	                   "undisclosed:;", ", ,", address literals
//	too_large          over 32 KiB, 100 mailboxes, or 10 nested comments
//	malformed          NUL, other control octets, CR or LF alone; names that are not host names;
//	                   8-bit octets in an address that are not UTF-8; and, if slip.go cannot
//	                   read the field, "<a@b> <c@d>", text after ">", and a missing end
//	ambiguous          if slip.go cannot read the field: unquoted "@" in a phrase, routes "<@x:a@b>",
//	                   comments or white space around "@" or within an address;
//	                   an address of another domain in the comment of a bare address;
//	                   encoded words in an address, in a charset that could hide anything, or
//	                   text that decodes to "<x@y>" of another domain, NUL, CR or LF; invisible
//	                   and bidi characters in an address; U-labels that are not in their one
//	                   valid form
//
// All of this takes time linear in the length of the field, and no recursion.
package author
