package replay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

var separator = []byte("From ")

// mbox reads a file of messages, one after the other (RFC 4155). Each message begins with a
// separator, a line "From SENDER DATE" at the start of the file or after an empty line. That empty
// line belongs to neither message.
//
// The program that wrote the mbox put a ">" before a line of a message that looks like a separator.
// mbox removes this ">", also from a line such as ">>From ", as the mboxrd format defines it. In
// the older mboxo format, a line that begins with ">From " got no additional ">". Such a line loses
// its own ">".
type mbox struct {
	in     *lineReader
	file   *stored
	size   int64
	number int

	sender  string // the sender that the separator of the next message names
	begin   int64  // offset of the separator of the next message
	more    bool   // there is another message
	current *mboxMessage
}

func openMbox(file *stored, size int64) (*mbox, error) {
	m := &mbox{in: file.lines, file: file, size: size}
	for {
		c, err := m.in.next()
		if errors.Is(err, io.EOF) {
			return m, nil // the file is empty or has only empty lines, so there is no message
		}
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if c.blank() {
			continue
		}
		if !bytes.HasPrefix(c.data, separator) {
			return nil, fmt.Errorf("replay: %s is neither a message nor an mbox: it begins with empty lines", file.name)
		}
		return m, m.separator(c)
	}
}

// separator reads the separator of which c is the first chunk.
func (m *mbox) separator(c chunk) error {
	m.begin = m.in.offset - int64(len(c.data))
	m.more = true
	m.sender = separatorSender(c.data)
	if err := m.in.skipRest(c); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	return nil
}

// Next implements Source. It first skips the part of the previous message that was not read.
func (m *mbox) Next() (*Message, error) {
	if m.current != nil {
		if err := drain(m.current); err != nil {
			return nil, err
		}
	}
	if !m.more {
		return nil, io.EOF
	}
	m.more = false
	m.number++
	m.current = &mboxMessage{box: m}
	return &Message{Number: m.number, Offset: m.begin, Sender: m.sender, lines: m.current}, nil
}

// drain skips to the end of a message.
func drain(l lines) error {
	for {
		_, err := l.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Progress implements Source.
func (m *mbox) Progress() (done, total int64) { return m.file.read, m.size }

// Close implements Source.
func (m *mbox) Close() error { return m.file.Close() }

// mboxMessage is one message of an mbox.
type mboxMessage struct {
	box *mbox
	// blank is an empty line that next has read but not returned yet. If a separator follows, the
	// empty line is not part of the message.
	blank []byte
	// held is the chunk after blank. It is not a separator, so next returns it after blank.
	held   chunk
	buffer []byte
	ended  bool
}

func (m *mboxMessage) next() (chunk, error) {
	if m.ended {
		return chunk{}, io.EOF
	}
	if m.held.data != nil {
		c := m.held
		m.held = chunk{}
		return c, nil
	}
	c, err := m.box.in.next()
	if errors.Is(err, io.EOF) {
		m.ended = true // an empty line in blank belongs to the mbox, not to the message
		return chunk{}, io.EOF
	}
	if err != nil {
		m.ended = true
		return chunk{}, fmt.Errorf("replay: %w", err)
	}
	if m.blank != nil && bytes.HasPrefix(c.data, separator) {
		m.ended = true
		if err := m.box.separator(c); err != nil {
			return chunk{}, err
		}
		return chunk{}, io.EOF
	}
	return m.release(c)
}

// release returns the next chunk of the message. c was just read. If there is an empty line in
// blank, release returns that line, and keeps c for the next call.
func (m *mboxMessage) release(c chunk) (chunk, error) {
	before := m.blank
	m.blank = nil
	if c.blank() {
		m.blank = bytes.Clone(c.data)
		if before == nil {
			return m.next()
		}
		return chunk{data: before, first: true}, nil
	}
	if c.first {
		c.data = unquote(c.data)
	}
	if before == nil {
		return c, nil
	}
	m.buffer = append(m.buffer[:0], c.data...)
	m.held = chunk{data: m.buffer, first: c.first}
	return chunk{data: before, first: true}, nil
}

// unquote removes one ">" from a line such as ">From " or ">>From ".
func unquote(line []byte) []byte {
	rest := bytes.TrimLeft(line, ">")
	if len(rest) < len(line) && bytes.HasPrefix(rest, separator) {
		return line[1:]
	}
	return line
}
