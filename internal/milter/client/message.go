package client

import (
	"bytes"
	"fmt"
	"strings"
)

// maxHeader is where Postfix cuts a field when milters are in use.
const maxHeader = 60000

// Field is a header field: Value is everything after the colon, folds as CRLF.
// It converts to message.Field.
type Field struct {
	Name  string
	Value string
}

// Envelope is what SMTP says of a message beyond its content. From and To are
// sent as they are written, so with brackets to be like most clients.
type Envelope struct {
	From     string
	FromArgs []string
	To       []string
	QueueID  string
}

// Result is what became of a message.
type Result struct {
	// Action is the first answer that ended the message, or the final one.
	Action Action
	// Stage is where it was given: "mail", "rcpt" (every recipient refused),
	// "data", "header", "end_of_header", "body" or "end_of_message".
	Stage string
	// Recipients are the answers to each RCPT.
	Recipients []Action
	// Modifications are the edits, in the order they came.
	Modifications []Modification
}

// SendMessage sends one message, MAIL to ABORT. Connect and Helo come before
// it. raw may have LF or CRLF line ends.
func (c *Client) SendMessage(env Envelope, raw []byte) (Result, error) {
	c.SetMacro("i", env.QueueID)
	defer c.SetMacro("i", "")
	res, err := c.message(env, raw)
	if err != nil {
		return res, fmt.Errorf("client: %s: %w", res.Stage, err)
	}
	return res, c.Abort()
}

// message sends everything up to the answer that ends the message.
func (c *Client) message(env Envelope, raw []byte) (Result, error) {
	var res Result
	var err error
	step := func(stage string, send func() (Action, error)) bool {
		res.Stage = stage
		res.Action, err = send()
		return err == nil && (res.Action.Kind == Continue || res.Action.Kind == Skip)
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
		if dropped(f.Name) {
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

// recipients reports whether at least one was taken.
func (c *Client) recipients(to []string, res *Result, step func(string, func() (Action, error)) bool) bool {
	taken := false
	for _, rcpt := range to {
		ok := step("rcpt", func() (Action, error) { return c.Rcpt(rcpt) })
		if res.Action.Kind == "" {
			return false // an error
		}
		res.Recipients = append(res.Recipients, res.Action)
		if res.Action.Kind == Accept || res.Action.Kind == Discard {
			return false
		}
		taken = taken || ok
	}
	return taken
}

// dropped reports whether Postfix keeps the field from milters.
func dropped(name string) bool {
	switch strings.ToLower(name) {
	case "bcc", "resent-bcc", "return-path", "content-length":
		return true
	}
	return false
}

// Split takes a raw message apart as Postfix's cleanup does: line ends become
// CRLF and a stray CR a space, white space before a field's colon is lost, an
// unterminated last line is terminated, and a line that cannot be of the
// header ends it.
func Split(raw []byte) (header []Field, body []byte) {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	raw = bytes.ReplaceAll(raw, []byte("\r"), []byte(" "))
	for len(raw) > 0 && raw[0] != '\n' {
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

// fieldEnd returns where the field at the start of raw ends: at the first LF
// that no white space follows.
func fieldEnd(raw []byte) int {
	for i, c := range raw {
		if c == '\n' && (i+1 == len(raw) || raw[i+1] != ' ' && raw[i+1] != '\t') {
			return i
		}
	}
	return len(raw)
}
