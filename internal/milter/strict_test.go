package milter_test

import (
	"context"
	"strings"

	"sekimori/internal/milter"
)

// strict is a Session that tells its recorder every call that violates the contract of Session.
type strict struct {
	r        *recorder
	last     string
	open     bool // Mail was called, and Abort was not
	closed   bool
	ended    bool // EndOfMessage was called for this message
	rejected bool // the reply to the message is decided, so only Abort may be called for it
}

func (s *strict) call(name string, flaw bool, why string) milter.Reply {
	if s.closed {
		s.r.flaws = append(s.r.flaws, name+" after Close")
	}
	if flaw {
		s.r.flaws = append(s.r.flaws, name+" after "+s.last+": "+why)
	}
	s.last = name
	return milter.Continue
}

func (s *strict) inMessage(name string) milter.Reply {
	return s.call(name, !s.open || s.ended || s.rejected, "not in a message that goes on")
}

func (s *strict) Connect(milter.Connect) milter.Reply {
	return s.call("connect", s.last != "", "not the first call")
}
func (s *strict) Helo(string) milter.Reply { return s.call("helo", s.open, "in a message") }
func (s *strict) Mail(from string, _ []string) milter.Reply {
	defer func() { s.open = true }()
	if strings.HasPrefix(from, "<bad") {
		s.rejected = true
		return milter.Reject
	}
	return s.call("mail", s.open, "in a message")
}
func (s *strict) Rcpt(string, []string) milter.Reply { return s.inMessage("rcpt") }
func (s *strict) Data() milter.Reply                 { return s.inMessage("data") }
func (s *strict) Header(name, value string) milter.Reply {
	if strings.ContainsRune(name+value, 0) {
		s.r.flaws = append(s.r.flaws, "NUL in a header")
	}
	return s.inMessage("header")
}
func (s *strict) EndOfHeader() milter.Reply { return s.inMessage("end of header") }
func (s *strict) Body(chunk []byte) milter.Reply {
	if len(chunk) == 0 {
		s.r.flaws = append(s.r.flaws, "an empty part of the body")
	}
	return s.inMessage("body")
}
func (s *strict) EndOfMessage(context.Context, *milter.Modifier) milter.Reply {
	defer func() { s.ended = true }()
	return s.inMessage("end of message")
}
func (s *strict) Abort() {
	s.call("abort", !s.open, "no message")
	s.open, s.ended, s.rejected = false, false, false
}
func (s *strict) Close(milter.End) {
	s.call("close", s.open, "a message is open")
	s.closed = true
}
