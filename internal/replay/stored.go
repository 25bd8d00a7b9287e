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

// stored reads a file of mail, decompressed and without a byte order mark.
type stored struct {
	*bufio.Reader
	name string
	file *os.File
	read int64 // octets read of the file, before decompression
}

// gzipMagic begins every file that gzip wrote (RFC 1952 §2.3.1). No message
// begins with it.
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

// unwrap decompresses the file if it is compressed, and skips a byte order mark.
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

// peek returns the next n octets, or fewer at the end of the file. It does not
// consume them.
func (s *stored) peek(n int) ([]byte, error) {
	start, err := s.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return start, err
}

// Close closes the file.
func (s *stored) Close() error { return s.file.Close() }

// counted adds the octets that are read to n.
type counted struct {
	io.Reader
	n *int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// takeSeparator skips a separator of an mbox at the beginning of a message's own
// file and returns the sender that it names. Without a separator it returns "".
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
	if err := in.skipRest(c); err != nil {
		return "", err
	}
	return sender, nil
}

// separatorSender returns the envelope sender that a separator names.
func separatorSender(line []byte) string {
	sender, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(string(line)), ">"), "From "), " ")
	return sender
}
