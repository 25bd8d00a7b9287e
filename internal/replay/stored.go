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

// stored reads a mail file. It decompresses the file and skips a byte order mark.
type stored struct {
	*bufio.Reader
	name  string
	lines *lineReader // reads from Reader
	file  *os.File
	read  int64 // octets of the file that were read, before decompression
}

// gzipMagic is the beginning of every gzip file (RFC 1952 §2.3.1). A message cannot begin with
// these octets.
var gzipMagic = []byte{0x1f, 0x8b}

// openStored opens a mail file, which must be a regular file. The file is read through the buffer.
func openStored(path string, buffer *bufio.Reader) (*stored, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &stored{name: path, file: file}
	buffer.Reset(counted{file, &s.read})
	s.Reader = buffer
	if err := s.unwrap(); err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.lines = newLineReader(s.Reader)
	return s, nil
}

// unwrap prepares for decompression if the file is compressed, and skips a byte order mark.
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

// peek returns the next n octets, or fewer at the end of the file. The next read returns the same
// octets again.
func (s *stored) peek(n int) ([]byte, error) {
	start, err := s.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return start, err
}

// Close closes the file.
func (s *stored) Close() error { return s.file.Close() }

// counted is a reader that adds the number of octets it has read to n.
type counted struct {
	io.Reader
	n *int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// takeSeparator skips an mbox separator at the beginning of a file with a single message. It
// returns the sender in the separator, or "" if there is no separator.
func takeSeparator(s *stored) (sender string, err error) {
	start, err := s.peek(len(">From "))
	if err != nil || !message.IsSeparator(start) {
		return "", err
	}
	c, err := s.lines.next()
	if err != nil {
		return "", err
	}
	sender = separatorSender(c.data)
	if err := s.lines.skipRest(c); err != nil {
		return "", err
	}
	return sender, nil
}

// separatorSender returns the envelope sender in a separator.
func separatorSender(line []byte) string {
	sender, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(string(line)), ">"), "From "), " ")
	return sender
}
