package traffic

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"

	"sekimori/internal/milter/client"
)

// headerRoom is the approximate size of a message's header in octets.
const headerRoom = 1000

// attachmentFrom is a number of octets. A body that is at least this long has an attachment in
// base64, as the bodies of most large messages do. Base64 has long lines and few spaces.
const attachmentFrom = 50_000

const (
	plainType  = " text/plain; charset=us-ascii"
	mixedType  = " multipart/mixed;\r\n\tboundary=\"=_load\""
	proseStart = "--=_load\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
	dataStart  = "--=_load\r\nContent-Type: application/octet-stream; name=data.bin\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=data.bin\r\n\r\n"
	dataEnd = "--=_load--\r\n"
	// prose is the number of octets of text before an attachment.
	prose = 2000
)

const wordList = "the gate keeper read every letter that came along the road and let pass those whose seal was whole " +
	"while others had to wait until someone from their own province could speak for them before evening"

// newBody returns a body for a message of about size octets. No line ends in white space or has two
// spaces in a row. So the relaxed and the simple canonical form of the body are the same (RFC 6376
// §3.4.3, §3.4.4).
func newBody(rng *rand.Rand, size int) body {
	size = max(size-headerRoom, 80)
	text := make([]byte, 0, size)
	contentType := plainType
	if size < attachmentFrom {
		text = appendProse(text, rng, size)
	} else {
		contentType = mixedType
		text = appendProse(append(text, proseStart...), rng, prose)
		text = append(text, dataStart...)
		for line := make([]byte, 57); len(text) < size; { // 57 octets become 76 base64 characters
			for i := range line {
				line[i] = byte(rng.Uint32())
			}
			text = append(base64.StdEncoding.AppendEncode(text, line), "\r\n"...)
		}
		text = append(text, dataEnd...)
	}
	return body{text, sha256.Sum256(text), contentType}
}

// appendProse appends lines of words until text has at least size octets.
func appendProse(text []byte, rng *rand.Rand, size int) []byte {
	words := strings.Fields(wordList)
	for len(text) < size {
		start := len(text)
		for text = append(text, words[rng.IntN(len(words))]...); len(text)-start < 64; {
			text = append(append(text, ' '), words[rng.IntN(len(words))]...)
		}
		text = append(text, "\r\n"...)
	}
	return text
}

// newHeader returns the header fields of message n without signatures.
func newHeader(rng *rand.Rand, n int, from string, sender domain, contentType string) []client.Field {
	words := strings.Fields(wordList)
	subject := make([]string, 5)
	for i := range subject {
		subject[i] = words[rng.IntN(len(words))]
	}
	const date = "Sun, 22 Nov 2026 09:00:00 +0900"
	return []client.Field{
		{Name: "Received", Value: fmt.Sprintf(" from app.%s (app.%s [10.0.0.7])\r\n\tby %s (Postfix) with ESMTPS id 4K%08X\r\n\tfor "+
			"<reader@mx.example>; %s", sender.name, sender.name, sender.host(), n, date)},
		{Name: "From", Value: fmt.Sprintf(" \"Load %d\" <info@%s>", n, from)},
		{Name: "To", Value: " Reader <reader@mx.example>"},
		{Name: "Subject", Value: " " + strings.Join(subject, " ")},
		{Name: "Date", Value: " " + date},
		{Name: "Message-ID", Value: fmt.Sprintf(" <%08x.%016x@%s>", n, rng.Uint64(), sender.host())},
		{Name: "MIME-Version", Value: " 1.0"},
		{Name: "Content-Type", Value: contentType},
		{Name: "X-Mailer", Value: " milterload"},
	}
}
