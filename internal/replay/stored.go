package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sekimori/internal/message"
)

// stored is a file of mail as it was before it was stored: decompressed, and
// without a byte order mark.
type stored struct {
	*bufio.Reader
	name string
	file *os.File
	read int64 // octets of the file itself
}

// gzipMagic begins a file that gzip wrote (RFC 1952 §2.3.1); no message does.
var gzipMagic = []byte{0x1f, 0x8b}

// openStored opens a regular file.
func openStored(path string) (*stored, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &stored{name: path, file: file}
	s.Reader = bufio.NewReaderSize(counted{file, &s.read}, lineBuffer)
	if err := s.unwrap(); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// unwrap takes off what was put around the mail.
func (s *stored) unwrap() error {
	start, err := s.peek(len(gzipMagic))
	if err != nil {
		return err
	}
	if bytes.Equal(start, gzipMagic) {
		z, err := gzip.NewReader(s.Reader)
		if err != nil {
			return err
		}
		s.Reader = bufio.NewReaderSize(z, lineBuffer)
	}
	if start, err = s.peek(len(message.ByteOrderMark)); err != nil {
		return err
	}
	if string(start) == message.ByteOrderMark {
		_, err = s.Discard(len(start))
	}
	return err
}

// peek returns the next n octets, or fewer at the end.
func (s *stored) peek(n int) ([]byte, error) {
	start, err := s.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return start, err
}

// Close closes the file.
func (s *stored) Close() error { return s.file.Close() }

// counted counts what is read.
type counted struct {
	io.Reader
	n *int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// takeSeparator takes the line "From SENDER DATE" of an mbox off the beginning
// of a message's own file, where there is one, and returns the sender.
func takeSeparator(s *stored, in *lineReader) (sender string, err error) {
	start, err := s.peek(len(">From "))
	if err != nil || !message.IsSeparator(start) {
		return "", err
	}
	c, err := in.next()
	if err != nil {
		return "", err
	}
	sender = separatorSender(c.data)
	for !c.last() { // a line of more than lineBuffer octets
		if c, err = in.next(); errors.Is(err, io.EOF) {
			return sender, nil
		} else if err != nil {
			return "", err
		}
	}
	return sender, nil
}

// separatorSender returns the envelope sender that a separator names.
func separatorSender(line []byte) string {
	sender, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(string(line)), ">"), "From "), " ")
	return sender
}
