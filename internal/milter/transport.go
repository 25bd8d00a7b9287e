package milter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// readBuffer takes many small frames in one read; a body chunk goes past it.
	readBuffer = 8 << 10
	// firstGrowth is the memory a frame gets before its octets have come; it
	// doubles as they do.
	firstGrowth = 4 << 10
	// keptBuffer is what a connection may keep between messages.
	keptBuffer = 4 << 10
	// forcedWriteTimeout is what a write has left once a shutdown's time is up.
	forcedWriteTimeout = time.Second
)

// transport reads frames from the MTA and writes to it, with deadlines.
type transport struct {
	nc     net.Conn
	limits Limits
	br     *bufio.Reader
	frame  []byte // memory of the frame read last
	out    []byte // written but not sent: one reply with its edits is one write

	mu     sync.Mutex // orders deadlines with force
	forced bool
}

func newTransport(nc net.Conn, limits Limits) *transport {
	return &transport{nc: nc, limits: limits, br: bufio.NewReaderSize(nc, readBuffer)}
}

// force makes every read fail from now on and leaves each write a moment only.
func (t *transport) force() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forced = true
	now := time.Now()
	_ = t.nc.SetReadDeadline(now)
	_ = t.nc.SetWriteDeadline(now.Add(forcedWriteTimeout))
}

func (t *transport) isForced() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forced
}

func (t *transport) readDeadline(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.forced {
		_ = t.nc.SetReadDeadline(deadline) // a dead socket fails at the read
	}
}

// end says what a read or write error means for the session.
func (t *transport) end(err error) End {
	var m malformed
	switch {
	case errors.As(err, &m):
		return EndProtocolError
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return EndEOF
	case t.isForced():
		return EndDrain
	}
	return EndTimeout
}

// readFrame waits up to idle for a frame to begin and reads it. data is valid
// until the next call.
func (t *transport) readFrame(idle time.Duration) (cmd byte, data []byte, err error) {
	if t.br.Buffered() == 0 {
		t.readDeadline(time.Now().Add(idle))
		if _, err := t.br.Peek(1); err != nil {
			return 0, nil, err
		}
	}
	const prefix = 4 // the length
	timed := false
	if t.br.Buffered() <= prefix {
		t.readDeadline(time.Now().Add(t.limits.FrameTimeout))
		timed = true
	}
	head, err := t.br.Peek(prefix)
	if err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 {
		return 0, nil, malformed{KindEmptyFrame}
	}
	if head, err = t.br.Peek(prefix + 1); err != nil {
		return 0, nil, err
	}
	cmd = head[prefix]
	if int64(length) > int64(t.maxFrame(cmd)) {
		return 0, nil, malformed{KindFrameTooLong}
	}
	_, _ = t.br.Discard(prefix + 1) // what Peek returned is there
	if t.br.Buffered() < int(length)-1 && !timed {
		t.readDeadline(time.Now().Add(t.limits.FrameTimeout))
	}
	data, err = t.readN(int(length) - 1)
	return cmd, data, err
}

func (t *transport) maxFrame(cmd byte) int {
	if cmd == cmdHeader || cmd == cmdBody || cmd == cmdEndOfBody {
		return t.limits.MaxFrame
	}
	return min(t.limits.MaxFrame, maxCommandFrame)
}

// readN reads n octets. Memory grows with what has come: a length alone costs
// nothing.
func (t *transport) readN(n int) ([]byte, error) {
	buf := t.frame[:0]
	for len(buf) < n {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(n, max(firstGrowth, 2*cap(buf))))
			copy(grown, buf)
			buf = grown
		}
		m, err := t.br.Read(buf[len(buf):min(n, cap(buf))])
		buf = buf[:len(buf)+m]
		t.frame = buf
		if err != nil {
			return nil, err
		}
	}
	return buf, nil
}

// release drops memory that a message needed and an idle connection does not.
func (t *transport) release() {
	if cap(t.frame) > keptBuffer {
		t.frame = nil
	}
	if cap(t.out) > keptBuffer {
		t.out = nil
	}
}

// flush sends what was written.
func (t *transport) flush() error {
	if len(t.out) == 0 {
		return nil
	}
	t.mu.Lock()
	timeout := t.limits.WriteTimeout
	if t.forced {
		timeout = min(timeout, forcedWriteTimeout)
	}
	_ = t.nc.SetWriteDeadline(time.Now().Add(timeout))
	t.mu.Unlock()
	_, err := t.nc.Write(t.out)
	t.out = t.out[:0]
	return err
}

// watch runs gone when the MTA closes its end, until stop is called. Nothing
// may be read meanwhile.
func (t *transport) watch(gone func()) (stop func()) {
	t.readDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		// An MTA that says something before it has its answer is served
		// later; only its leaving matters now.
		if _, err := t.br.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		t.readDeadline(time.Unix(1, 0)) // long past: wakes the read
		<-done
	}
}
