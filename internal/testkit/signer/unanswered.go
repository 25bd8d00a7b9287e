package signer

import (
	"fmt"
	"strings"
)

// Unanswered returns a message by the given author. It has ten DKIM signatures and an ARC chain of
// 50 sets (the most that are allowed), all made by the given domain and all invalid. The signatures
// and the chain name 110 selectors, which are different for each value of "turn". So a verifier
// must look up 110 keys that are not in its cache. Tests use a domain whose name servers do not
// answer.
func Unanswered(author, domain string, turn int) []byte {
	const tags = "a=rsa-sha256; c=relaxed/relaxed; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA"
	var b strings.Builder
	for k := range 10 {
		fmt.Fprintf(&b, "DKIM-Signature: v=1; d=%s; s=d%d-%d; %s\r\n", domain, turn, k, tags)
	}
	for k := 1; k <= 50; k++ {
		cv := "pass"
		if k == 1 {
			cv = "none"
		}
		fmt.Fprintf(&b, "ARC-Seal: i=%d; a=rsa-sha256; d=%s; s=s%d-%d; cv=%s; b=AAAA\r\n", k, domain, turn, k, cv)
		fmt.Fprintf(&b, "ARC-Message-Signature: i=%d; d=%s; s=m%d-%d; %s\r\n", k, domain, turn, k, tags)
		fmt.Fprintf(&b, "ARC-Authentication-Results: i=%d; x; none\r\n", k)
	}
	return []byte(b.String() + "From: <x@" + author + ">\r\n\r\n")
}
