package client

import (
	"bytes"
	"fmt"
	"strings"
)

// maxHeader is the length at which Postfix cuts the value of a field that it sends to milters.
const maxHeader = 60000

// Field is a header field. Value is the text after the colon, with folds as CRLF. A Field can be
// converted to a message.Field of the same text.
type Field struct {
	Name  string
	Value string
}

// Envelope is the SMTP envelope of a message. From and To are sent unchanged, so a caller
// normally puts them in angle brackets, as most SMTP clients do.
type Envelope struct {
	From     string
	FromArgs []string
	To       []string
	QueueID  string
}

// Result says how the milter answered a message.
type Result struct {
	// Action is the last answer: the answer that ended the message early, or otherwise the answer
	// to the end of the message.
	Action Action
	// Stage is the event that Action answers: "mail", "rcpt" (no recipient was accepted), "data",
	// "header", "end_of_header", "body" or "end_of_message".
	Stage string
	// Recipients has the answer to each RCPT, in order.
	Recipients []Action
	// Modifications are the edits, in the order in which the milter sent them.
	Modifications []Modification
}

// SendMessage sends one message, from MAIL to ABORT. Call Connect and Helo before. The lines of
// raw may end in LF or CRLF.
func (c *Client) SendMessage(env Envelope, raw []byte) (Result, error) {
	c.SetMacro("i", env.QueueID)
	defer c.SetMacro("i", "")
	res, err := c.message(env, raw)
	if err != nil {
		return res, fmt.Errorf("client: %s: %w", res.Stage, err)
	}
	return res, c.Abort()
}

// message sends the events of a message until the milter's answer ends the message.
func (c *Client) message(env Envelope, raw []byte) (Result, error) {
	var res Result
	var err error
	step := func(stage string, send func() (Action, error)) bool {
		res.Stage = stage
		res.Action, err = send()
		return res.Action.Kind == Continue || res.Action.Kind == Skip // there is no action if it failed
	}
	if !step("mail", func() (Action, error) { return c.Mail(env.From, env.FromArgs...) }) {
		return res, err
	}
	if more := c.recipients(env.To, &res, step); !more {
		return res, err
	}
	if !step("data", c.Data) {
		return res, err
	}
	header, body := Split(raw)
	for _, f := range header {
		if hiddenFromMilters(f.Name) {
			continue
		}
		if !step("header", func() (Action, error) { return c.Header(f.Name, f.Value) }) {
			return res, err
		}
	}
	if !step("end_of_header", c.EndOfHeader) {
		return res, err
	}
	for len(body) > 0 && res.Action.Kind != Skip {
		n := min(len(body), bodyChunk)
		if !step("body", func() (Action, error) { return c.Body(body[:n]) }) {
			return res, err
		}
		body = body[n:]
	}
	res.Stage = "end_of_message"
	res.Action, res.Modifications, err = c.EndOfMessage()
	return res, err
}

// recipients sends the RCPT of each recipient. It reports whether the milter accepted at least
// one recipient, so that the message goes on.
func (c *Client) recipients(to []string, res *Result, step func(string, func() (Action, error)) bool) bool {
	taken := false
	for _, rcpt := range to {
		ok := step("rcpt", func() (Action, error) { return c.Rcpt(rcpt) })
		if res.Action.Kind == "" {
			return false // the function "step" failed; the method message returns its error
		}
		res.Recipients = append(res.Recipients, res.Action)
		if res.Action.Kind == Accept || res.Action.Kind == Discard {
			return false
		}
		taken = taken || ok
	}
	return taken
}

// hiddenFromMilters reports whether Postfix does not show the field to milters.
func hiddenFromMilters(name string) bool {
	switch strings.ToLower(name) {
	case "bcc", "resent-bcc", "return-path", "content-length":
		return true
	}
	return false
}

// Split splits a raw message into header and body as Postfix's cleanup does. Line ends become
// CRLF, and a CR alone becomes a space. White space before the colon of a field is dropped. A
// last line that has no line end gets one. The header ends at the first line that is not a
// field.
func Split(raw []byte) (header []Field, body []byte) {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	raw = bytes.ReplaceAll(raw, []byte("\r"), []byte(" "))
	for {
		end := fieldEnd(raw)
		name, value, ok := strings.Cut(string(raw[:end]), ":")
		name = strings.TrimRight(name, " \t")
		if !ok || name == "" || strings.ContainsAny(name, " \t\n") {
			break
		}
		header = append(header, Field{name, strings.ReplaceAll(value, "\n", "\r\n")})
		raw = raw[min(end+1, len(raw)):]
	}
	raw = bytes.TrimPrefix(raw, []byte("\n"))
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		raw = append(raw[:len(raw):len(raw)], '\n')
	}
	return header, bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}

// fieldEnd returns the length of the field at the beginning of raw. The field ends at the first
// LF that has no white space after it.
func fieldEnd(raw []byte) int {
	for i, c := range raw {
		if c == '\n' && (i+1 == len(raw) || raw[i+1] != ' ' && raw[i+1] != '\t') {
			return i
		}
	}
	return len(raw)
}
