package replay

import (
	"bufio"
	"errors"
	"io"
)

// lineBuffer is how much of a line is looked at in one piece, in octets. Longer
// lines come in several.
const lineBuffer = 64 << 10

// chunk is a line or a part of one, with its line end if it has the last.
type chunk struct {
	data  []byte // valid until the next is read
	first bool   // the line begins here
}

// last reports whether the line ends here.
func (c chunk) last() bool { return len(c.data) > 0 && c.data[len(c.data)-1] == '\n' }

// blank reports an empty line.
func (c chunk) blank() bool {
	return c.first && (string(c.data) == "\n" || string(c.data) == "\r\n")
}

// lineReader reads a file line by line, whatever their length, in constant
// memory.
type lineReader struct {
	r      *bufio.Reader
	offset int64 // octets read
	within bool  // the last chunk did not end its line
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, lineBuffer)}
}

// next returns the next chunk; the error is io.EOF at the end, or that of the
// file.
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

// lines gives the lines of one message.
type lines interface {
	// next returns io.EOF at the end of the message.
	next() (chunk, error)
}

// wire turns a stored message's line ends into those of SMTP: every bare LF,
// which never gets through it, becomes CRLF (as [message.Parse] does).
type wire struct {
	lines
	cr  bool // the octet before was CR
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
