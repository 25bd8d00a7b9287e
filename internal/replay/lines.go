package replay

import (
	"bufio"
	"errors"
	"io"
)

// lineBuffer is the size of the largest chunk, in octets.
const lineBuffer = 64 << 10

// chunk is a line with its line end, or a part of a line longer than lineBuffer.
type chunk struct {
	data  []byte // valid until the next chunk is read
	first bool   // the line begins with this chunk
}

// last reports whether the line ends with this chunk.
func (c chunk) last() bool { return len(c.data) > 0 && c.data[len(c.data)-1] == '\n' }

// blank reports whether the chunk is an empty line.
func (c chunk) blank() bool {
	return c.first && (string(c.data) == "\n" || string(c.data) == "\r\n")
}

// lineReader reads a file line by line, in memory that does not depend on the
// length of the lines.
type lineReader struct {
	r      *bufio.Reader
	offset int64 // octets read
	within bool  // the line of the last chunk goes on
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, lineBuffer)}
}

// next returns the next chunk. The error is io.EOF at the end of the file.
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

// skipRest reads to the end of the line that c is a part of.
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

// lines gives the lines of one message.
type lines interface {
	// next returns io.EOF at the end of the message.
	next() (chunk, error)
}

// wire turns the line ends of a stored message into those of SMTP. Every bare LF
// becomes CRLF, because SMTP never lets a bare LF through. [message.Parse] does
// the same.
type wire struct {
	lines
	cr  bool // the last octet of the chunk before was CR
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
