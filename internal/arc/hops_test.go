package arc

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/testkit/octets"
	"sekimori/internal/testkit/signer"
)

// What a hop can do to a message. A hop changes the message before it seals it.
const (
	hopSeals = iota
	hopChangesBody
	hopChangesHeader
	hopBreaksMessage // its own message signature is bad
	hopBreaksSeal
	hopBreaksBoth
	hopSaysNone // cv=none, which is right for the first hop only
	hopSaysPass
	hopSaysFail
	hopDoes // how many there are
)

const mostHops = 6

var hopsZone = sync.OnceValue(zoneFor)

// checkHops sends a message over hops that each do what program says, and compares the result with what RFC 8617 §5.2 says
// of it. If alters is true, the message is altered once more behind the last hop.
func checkHops(t *testing.T, program []byte, alters bool) {
	t.Helper()
	program = program[:min(len(program), mostHops)]
	mail := testMail
	changed := make([]bool, len(program)+2) // by instance: the message was changed before this hop
	brokenMessage, brokenSeal := 0, 0       // the newest instance with this fault
	wrongValue := 0                         // the oldest instance whose cv= is wrong
	failed := false                         // the newest seal says so
	for i, c := range program {
		n := i + 1
		set := signer.Set{I: n}
		switch does := int(c) % hopDoes; does {
		case hopChangesBody:
			mail, changed[n] = mail+"footer\r\n", true
		case hopChangesHeader:
			mail, changed[n] = strings.Replace(mail, "Subject: ", "Subject: [list] ", 1), true
		case hopBreaksMessage, hopBreaksSeal, hopBreaksBoth:
			set.BreakAMS, set.BreakAS = does != hopBreaksSeal, does != hopBreaksMessage
		case hopSaysNone, hopSaysPass, hopSaysFail:
			set.CV = []string{"none", "pass", "fail"}[does-hopSaysNone]
			if right := map[bool]string{true: "none", false: "pass"}[n == 1]; set.CV != right && wrongValue == 0 {
				wrongValue = n
			}
			failed = set.CV == "fail" && n == len(program)
		}
		if set.BreakAMS {
			brokenMessage = n
		}
		if set.BreakAS {
			brokenSeal = n
		}
		mail = seal(t, set, mail)
	}
	if alters {
		mail += "footer\r\n"
	}
	newest := len(program)
	oldest := 0 // the newest message signature that does not verify any more is one below
	for n := newest; n > 0 && oldest == 0; n-- {
		if n == brokenMessage || n < newest && changed[n+1] {
			oldest = n + 1
		}
	}
	want := fmt.Sprintf("%s %s %d %d", Pass, "", 0, oldest)
	switch {
	case newest == 0:
		want = fmt.Sprintf("%s %s %d %d", None, "", 0, 0)
	case failed:
		want = fmt.Sprintf("%s %s %d %d", Fail, ReasonChainFailed, newest, 0)
	case wrongValue > 0:
		want = fmt.Sprintf("%s %s %d %d", Fail, ReasonChainValue, wrongValue, 0)
	case alters || brokenMessage == newest:
		want = fmt.Sprintf("%s %s %d %d", Fail, ReasonMessageSignature, newest, 0)
	case brokenSeal > 0:
		want = fmt.Sprintf("%s %s %d %d", Fail, ReasonSealSignature, brokenSeal, 0)
	}
	r := validate(t, mail, hopsZone(), dkim.Options{Now: time.Unix(1_790_000_000, 0)})
	if got := fmt.Sprintf("%s %s %d %d", r.Status, r.Reason, r.Instance, r.OldestPass); got != want {
		t.Errorf("hops %v, altered %t: %s (%s), want %s", program, alters, got, r.Detail, want)
	}
}

// TestHops has every choice of two hops, and of three hops that do some of this.
func TestHops(t *testing.T) {
	var all []string
	for does := range hopDoes {
		all = append(all, string([]byte{byte(does)}))
	}
	for program := range octets.Words(2, all...) {
		checkHops(t, []byte(program), false)
		checkHops(t, []byte(program), true)
	}
	for program := range octets.Words(3, all[hopSeals], all[hopChangesBody], all[hopBreaksMessage], all[hopBreaksSeal], all[hopSaysNone]) {
		if len(program) == 3 {
			checkHops(t, []byte(program), false)
		}
	}
}

// FuzzHops has up to six hops.
func FuzzHops(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5}, false)
	f.Add([]byte{3, 2, 1, 0}, true)
	f.Fuzz(checkHops)
}
