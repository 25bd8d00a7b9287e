package submit

import (
	"bufio"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"sekimori/internal/printable"
)

// FuzzReply reads what an MTA may send as a reply.
func FuzzReply(f *testing.F) {
	for _, reply := range []string{
		"250 2.0.0 Ok: queued as 4ABC", "550-5.1.1 one\r\n550-5.1.1 two\r\n550 5.1.1 three", "550 5.1.1", "421", "550 5.1.1 \xff\x00\x1b[31m", "354 go",
		"999 x", "550-a\r\n250 b", "550 5.999.999 x", "550  5.1.1  x",
	} {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, reply string) {
		r := textproto.NewReader(bufio.NewReader(strings.NewReader(reply + "\r\n")))
		code, text, err := r.ReadResponse(250)
		got := answer(code, text)
		if err != nil {
			got = (&transaction{}).failure("", err)
			if got.Kind != Temporary {
				t.Errorf("kind %s", got.Kind)
			}
		}
		if !printable.IsPlain(got.Reply) || len(got.Reply) > maxReply || got.Code != 0 && !strings.HasPrefix(got.Reply, strconv.Itoa(got.Code)) {
			t.Errorf("%+v", got)
		}
		if got.Enhanced != "" && (!isEnhanced(got.Enhanced, got.Code) || !strings.HasPrefix(got.Reply, strconv.Itoa(got.Code)+" "+got.Enhanced)) {
			t.Errorf("%+v", got)
		}
	})
}
