package signer

import (
	"crypto"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	tagH = regexp.MustCompile(`(?:^|;)\s*h=([^;]*)`)
	tagL = regexp.MustCompile(`(?:^|;)\s*l=(\d{1,9});`)
)

// DKIM adds a signature at the top of a message. tags is the value of the DKIM-Signature field up
// to "b=", which must come last and have no value yet. %BH in tags is replaced by the hash of the
// body. The signature is computed according to h= and l= in tags. It always uses relaxed/relaxed
// canonicalization, even if c= says something else.
func DKIM(tb testing.TB, key crypto.Signer, tags, eml string) string {
	tb.Helper()
	h, raw := Split([]byte(eml))
	body := Body(string(raw))
	if m := tagL.FindStringSubmatch(tags); m != nil {
		n, _ := strconv.Atoi(m[1]) // at most nine digits
		body = body[:min(n, len(body))]
	}
	value := " " + strings.Replace(tags, "%BH", BodyHash(body), 1)
	names := ""
	if m := tagH.FindStringSubmatch(tags); m != nil {
		names = m[1]
	}
	return "DKIM-Signature:" + value + Sign(tb, key, Selected(h, names)+Field("DKIM-Signature", value)) + "\r\n" + eml
}
