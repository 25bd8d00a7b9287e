// Package author finds the author of a message in its From field ([Parse], RFC 5322 §3.6.2).
//
// Programs differ in how they read a From field. In the comments of this package, "a program" means
// any program that reads the field, such as a mail client. A verifier is only useful if it finds
// the same author as the mail client of the recipient. Parse therefore follows one principle:
// within its limits, it refuses a field only if programs could see different domains in it, or no
// domain. A field that clients write and show is accepted, even if RFC 5322 calls it obsolete or
// wrong. A field in which two programs could see authors of different domains is refused, even if
// RFC 5322 allows it. The error is an [*Error] that says what is wrong, and where.
//
// Which addresses count:
//
//   - An address in a comment counts if the address of the mailbox has no angle brackets, or if the
//     mailbox has no other name. In these cases, a program may use the comment as the author. Such
//     a comment may hold only addresses of the author's own domain. If the mailbox has a name and
//     angle brackets, an address in a comment does not count.
//   - An address in a display name does not count if it is quoted or in encoded words (RFC 2047
//     §5). It may still mislead a person, so the field is accepted with a [Note].
//   - An encoded word may decode to one address in angle brackets. If the word is in the display
//     name of the only mailbox, that address does not count. The field then gets [NoteOtherName],
//     because a person would see the address as the author. The address does count if the word is
//     in a comment, if there are several mailboxes, or if programs decode the word differently.
//     An address of another domain also counts if encoded quotes or parentheses move it out of
//     its quotes or comment.
//   - A domain counts only if it could exist. Some programs remove white space. In "foo@a.example
//     Foo", they see foo@a.examplefoo. This does not count, because there is no top-level domain
//     "examplefoo". In "ceo@bank.c om", they see ceo@bank.com. This counts.
//
// # How a field is read
//
// Parse first reads a field as a mailbox-list, with some tolerance (mailbox.go). The name of the
// only address may have text that should have been quoted (loose.go), or unencoded double-byte text
// (legacy.go). If Parse cannot read the field as a mailbox-list, it reads it as a slip: a field
// that breaks the grammar, but in which all programs see one domain (slip.go, domains.go).
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
//	(c) John (c) <a@b.example> (c)     comments between words, nested up to 10 deep
//	a@b.example (John)                 the old style, also a@b.example(John)
//	a@b.example (c@b.example)          a comment that holds the author's own domain
//	a@b.example (x @ y)                a comment with an "@" that has no domain after it
//	a@b.example <a@b.example>          unquoted address of the very same domain
//	Doe, John <a@b.example>            unquoted , : ; and @ in the name of the only address,
//	Foo: bar <a@b.example>             where no program finds another domain
//	ESC $ B ... ESC ( B <a@b.example>  raw ISO-2022-JP, Shift_JIS and the like in the name of
//	                                   the only address, if no program finds another domain
//	a@b.example, , c@b.example,        lists, empty elements (obs-mbox-list)
//	a..b.@b.example  "a..b"@b.example  dots anywhere in a local part, as in addresses of Japanese carriers
//	a@b.example.  root@localhost       final dot, single label
//	用户@例え.jp                         RFC 6532; the domain becomes A-labels
//	folds wherever white space is allowed, also lines with only white space (obs-FWS)
//	"Doe, John, <a@b.example>          slips that show one domain: quotes, comments and brackets
//	Foo a@b.example  <<a@b.example>>   that are not closed, doubled or missing; text after the
//	Foo <a@b.example>;  "a b"@b.example  address; groups; quoted local parts of anything
//
// # What is refused
//
//	missing            there is no From field
//	multiple_fields    several From fields, even if they are equal
//	multiple_domains   mailboxes of several distinct domains
//	no_address         no domain in any reading: empty field, "<>", "MAILER-DAEMON",
//	                   "undisclosed:;", ", ,", address literals
//	too_large          over 32 KiB, 100 mailboxes, or 10 nested comments
//	malformed          NUL, other control octets, CR or LF alone; names that are not host names;
//	                   8-bit octets in an address that are not UTF-8; and, if slip.go cannot
//	                   read the field, "<a@b> <c@d>", text after ">", and a bracket or
//	                   quote that is not closed
//	ambiguous          if slip.go cannot read the field: unquoted "@" in a phrase, routes "<@x:a@b>",
//	                   comments or white space around "@" or within an address;
//	                   an address of another domain in the comment of a bare address;
//	                   encoded words in an address, in a charset that could hide anything, or
//	                   text that decodes to "<x@y>" of another domain, NUL, CR or LF; invisible
//	                   and bidi characters in an address; U-labels that are not in their one
//	                   valid form
//
// Parse takes linear time in the length of the field, and its functions do not call themselves.
package author
