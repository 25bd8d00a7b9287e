package replay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lineBuffer is the length of the longest chunk, in octets.
const lineBuffer = 64 << 10

// chunk is a line with its line end. A line longer than lineBuffer is divided into several chunks.
type chunk struct {
	data  []byte // valid only until the next chunk is read
	first bool   // the chunk is the beginning of a line
}

// last reports whether the chunk is the end of a line.
func (c chunk) last() bool { return len(c.data) > 0 && c.data[len(c.data)-1] == '\n' }

// blank reports whether the chunk is an empty line.
func (c chunk) blank() bool {
	return c.first && (string(c.data) == "\n" || string(c.data) == "\r\n")
}

// lineReader reads a file line by line. However long the lines are, it needs the same memory.
type lineReader struct {
	r      *bufio.Reader
	offset int64 // octets read so far
	within bool  // the last chunk was not the end of its line
}

// newLineReader returns a lineReader that reads from r. If r is a bufio.Reader with a buffer of
// lineBuffer octets or more, its buffer is used.
func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, lineBuffer)}
}

// next returns the next chunk. At the end of the file, the error is io.EOF.
func (l *lineReader) next() (chunk, error) {
	data, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(data) > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		return chunk{}, err
	}
	c := chunk{data: data, first: !l.within}
	l.offset += int64(len(data))
	l.within = !c.last()
	return c, nil
}

// skipRest skips the rest of the line to which c belongs.
func (l *lineReader) skipRest(c chunk) error {
	for !c.last() {
		var err error
		if c, err = l.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// lines returns the lines of one message as chunks.
type lines interface {
	// next returns io.EOF at the end of the message.
	next() (chunk, error)
}

// wire changes the line ends of a stored message to those of SMTP: every bare LF becomes CRLF,
// because SMTP does not allow a bare LF. [message.Parse] does the same.
type wire struct {
	in  *lineReader
	cr  bool // the last octet that was read is CR
	buf []byte
}

// next implements lines. It is for the header.
func (w *wire) next() (chunk, error) {
	c, err := w.in.next()
	if err == nil {
		c.data = w.convert(c.data)
	}
	return c, err
}

// rest reads the rest of the message, and calls write with its parts.
func (w *wire) rest(write func([]byte)) error {
	_, err := w.in.r.WriteTo(writerFunc(func(part []byte) { write(w.convert(part)) }))
	return err
}

// convert returns the text with CRLF in place of every bare LF. The result is valid until the next
// call.
func (w *wire) convert(text []byte) []byte {
	w.buf = w.buf[:0]
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		w.buf = append(w.buf, line...)
		if len(line) > 0 {
			w.cr = line[len(line)-1] == '\r'
		}
		if ended {
			if !w.cr {
				w.buf = append(w.buf, '\r')
			}
			w.buf = append(w.buf, '\n')
			w.cr = false
		}
		text = rest
	}
	return w.buf
}

// writerFunc is an io.Writer that cannot fail.
type writerFunc func([]byte)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
