package milter_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
)

func TestNegotiatesOnlyWhatWasOffered(t *testing.T) {
	for _, tc := range []struct {
		why      string
		offer    client.Offer
		replyAt  milter.ReplyAt
		want     client.Offer
		messages bool // the MTA can send messages after the negotiation
	}{
		{"Postfix", client.PostfixOffer(), milter.ReplyAt{}, client.Offer{Version: 6, Actions: 0x131, Protocol: 0x1ff180}, true},
		{"replies at RCPT", client.PostfixOffer(), milter.ReplyAt{Rcpt: true}, client.Offer{Version: 6, Actions: 0x131, Protocol: 0x1f7180}, true},
		{"replies everywhere", client.PostfixOffer(), milter.ReplyAt{Connect: true, Helo: true, Mail: true, Rcpt: true},
			client.Offer{Version: 6, Actions: 0x131, Protocol: 0x1f0180}, true},
		{"an old Sendmail", client.Offer{Version: 2, Actions: 0x3f, Protocol: 0x7f}, milter.ReplyAt{}, client.Offer{Version: 2, Actions: 0x31}, true},
		{"version 4", client.Offer{Version: 4, Actions: 0x3f, Protocol: 0x3ff}, milter.ReplyAt{}, client.Offer{Version: 4, Actions: 0x31, Protocol: 0x180}, true},
		{"nothing at all", client.Offer{Version: 6}, milter.ReplyAt{}, client.Offer{Version: 6}, true},
		{"a version to come", client.Offer{Version: 9, Actions: 0xffffffff, Protocol: 0xffffffff}, milter.ReplyAt{},
			client.Offer{Version: 6, Actions: 0x131, Protocol: 0x1ff180}, true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			w := newWorld(t, given{ReplyAt: tc.replyAt})
			c, err := client.Dial("tcp", w.listen())
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Negotiate(tc.offer)
			if err != nil || got != tc.want {
				t.Fatalf("%+x %v, want %+x", got, err, tc.want)
			}
			hello(t, c)
			for range 2 {
				res, err := c.SendMessage(envelope(), []byte(mail))
				if err != nil || !res.Action.Delivers() {
					t.Fatal(res, err)
				}
			}
			_ = c.Quit()
			w.end()
		})
	}
}

func TestAnswersNothingWhereNoReplyIsDue(t *testing.T) {
	w := newWorld(t, given{})
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, optneg()+connectFrame+frame('H', "x\x00")+frame('U', "NOOP\x00")+mailFrame+rcptFrame+frame('T', "")+
		frame('L', "A\x00 b\x00")+frame('N', "")+frame('B', "x")+frame('B', "")+frame('E', "")+frame('A', "")+frame('Q', ""))
	answer := drained(t, nc)
	n := int(binary.BigEndian.Uint32(answer)) + 4
	if rest := string(answer[n:]); rest != frame('c', "") {
		t.Errorf("after the negotiation came %q", rest)
	}
}

func TestAnswersEveryStepWhereRepliesAreDue(t *testing.T) {
	w := newWorld(t, given{})
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	offer := frame('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x00\x00\x00")
	_, _ = io.WriteString(nc, offer+connectFrame+frame('H', "x\x00")+frame('U', "NOOP\x00")+mailFrame+rcptFrame+frame('T', "")+
		frame('L', "A\x00 b\x00")+frame('N', "")+frame('B', "x")+frame('B', "")+frame('E', "")+frame('A', "")+frame('Q', ""))
	answer := drained(t, nc)
	n := int(binary.BigEndian.Uint32(answer)) + 4
	if rest := string(answer[n:]); rest != strings.Repeat(frame('c', ""), 11) {
		t.Errorf("after the negotiation came %q", rest)
	}
}

func TestAsksForMacrosAtEveryStage(t *testing.T) {
	w := newWorld(t, given{})
	nc, err := net.Dial("tcp", w.listen())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(nc, optneg()+frame('Q', ""))
	answer := string(drained(t, nc))
	stages := map[uint32]string{}
	for rest := answer[17:]; rest != ""; {
		names, after, ok := strings.Cut(rest[4:], "\x00")
		if !ok {
			t.Fatalf("%q", rest)
		}
		stages[binary.BigEndian.Uint32([]byte(rest))] = names
		rest = after
	}
	for stage := range uint32(7) {
		if stages[stage] == "" {
			t.Errorf("nothing asked at stage %d", stage)
		}
	}
	if !strings.Contains(stages[0], "{client_addr}") || stages[6] != "i" || stages[5] != "i" {
		t.Error(stages)
	}
}
