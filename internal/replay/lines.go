package replay

import (
	"bufio"
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
	lines
	cr  bool // the last octet of the previous chunk was CR
	buf []byte
}

func (w *wire) next() (chunk, error) {
	c, err := w.lines.next()
	if err != nil || len(c.data) == 0 {
		return c, err
	}
	ends := c.last()
	bare := ends && (len(c.data) > 1 && c.data[len(c.data)-2] != '\r' || len(c.data) == 1 && !w.cr)
	w.cr = c.data[len(c.data)-1] == '\r'
	if bare {
		w.buf = append(append(w.buf[:0], c.data[:len(c.data)-1]...), "\r\n"...)
		c.data = w.buf
	}
	return c, nil
}
