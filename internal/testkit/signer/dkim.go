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

// DKIM puts a signature on top of a message. tags is the value of the field
// without that of b=, which comes last; %BH in it becomes the hash of the
// body. The signature obeys h= and l= of the tags and is relaxed/relaxed,
// whatever c= says.
func DKIM(tb testing.TB, key crypto.Signer, tags, eml string) string {
	tb.Helper()
	h, raw := Split([]byte(eml))
	body := Body(string(raw))
	if m := tagL.FindStringSubmatch(tags); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			tb.Fatal(err)
		}
		body = body[:min(n, len(body))]
	}
	value := " " + strings.Replace(tags, "%BH", BodyHash(body), 1)
	names := ""
	if m := tagH.FindStringSubmatch(tags); m != nil {
		names = m[1]
	}
	return "DKIM-Signature:" + value + Sign(tb, key, Selected(h, names)+Field("DKIM-Signature", value)) + "\r\n" + eml
}
