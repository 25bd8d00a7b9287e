package milter

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// forcedWriteTimeout is what a write has left once a shutdown's time is up.
const forcedWriteTimeout = time.Second

// transport reads frames from the MTA and writes to it, with deadlines. While
// it waits between frames it holds no buffer.
type transport struct {
	nc      net.Conn
	raw     syscall.RawConn // nil where nc has none: it then waits with a buffer
	limits  *Limits
	buffers *buffers
	try     func(fd uintptr) bool // t.tryRead, bound once

	in   *buffer // what was read, nil between frames
	r, w int     // the octets of it not yet taken
	size int     // index in bufferSizes of what the next read begins with
	want int     // octets of the frame that is read
	err  error   // of tryRead
	out  *buffer // written but not sent: one reply with its edits is one write

	mu     sync.Mutex // orders deadlines with force and hasten
	forced bool
	hurry  time.Duration // how long a spare wait may take, 0 as long as the caller says
	spare  bool          // what is read, or was last, is the beginning of a spare frame
}

func newTransport(nc net.Conn, limits *Limits, b *buffers) *transport {
	t := &transport{nc: nc, limits: limits, buffers: b}
	if sc, ok := nc.(syscall.Conn); ok {
		t.raw, _ = sc.SyscallConn() // fails with nc
	}
	t.try = t.tryRead
	return t
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

// hasten gives the MTA no longer than patience for the beginning of a spare
// frame, the one that is waited for included.
func (t *transport) hasten(patience time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurry = patience
	if t.spare && !t.forced {
		_ = t.nc.SetReadDeadline(time.Now().Add(patience))
	}
}

// shutDown reports whether force or hasten is why a read ran out of time.
func (t *transport) shutDown() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forced || t.spare && t.hurry > 0
}

func (t *transport) readDeadline(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.forced {
		_ = t.nc.SetReadDeadline(deadline) // a dead socket fails at the read
	}
}

// frameDeadline is readDeadline for the beginning of a frame.
func (t *transport) frameDeadline(idle time.Duration, spare bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.spare = spare; spare && t.hurry > 0 {
		idle = min(idle, t.hurry)
	}
	if !t.forced {
		_ = t.nc.SetReadDeadline(time.Now().Add(idle))
	}
}

// begun says that the frame has begun.
func (t *transport) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spare = false
}

// end says what a read or write error means for the session.
func (t *transport) end(err error) End {
	var m malformed
	switch {
	case errors.As(err, &m):
		return EndProtocolError
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return EndEOF
	case t.shutDown():
		return EndDrain
	}
	return EndTimeout
}

// readFrame waits up to idle for a frame to begin and reads it. Without a spare
// frame nothing is lost but time. data is valid until the next call.
func (t *transport) readFrame(idle time.Duration, spare bool) (cmd byte, data []byte, err error) {
	if t.r == t.w {
		t.rest()
		t.frameDeadline(idle, spare)
		for t.r == t.w {
			if err := t.fill(1); err != nil {
				return 0, nil, err
			}
		}
		if spare {
			t.begun()
		}
	}
	const prefix = 4 // the length
	timed := false
	if err := t.await(prefix, &timed); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(t.in.b[t.r:])
	if length == 0 {
		return 0, nil, malformed{KindEmptyFrame}
	}
	if err := t.await(prefix+1, &timed); err != nil {
		return 0, nil, err
	}
	cmd = t.in.b[t.r+prefix]
	if int64(length) > int64(t.maxFrame(cmd)) {
		return 0, nil, malformed{KindFrameTooLong}
	}
	end := prefix + int(length)
	if err := t.await(end, &timed); err != nil {
		return 0, nil, err
	}
	data = t.in.b[t.r+prefix+1 : t.r+end : t.r+end]
	t.r += end
	return cmd, data, nil
}

func (t *transport) maxFrame(cmd byte) int {
	if cmd == cmdHeader || cmd == cmdBody || cmd == cmdEndOfBody {
		return t.limits.MaxFrame
	}
	return min(t.limits.MaxFrame, maxCommandFrame)
}

// await reads until n octets of the frame are there. The rest of a frame has
// FrameTimeout from the first time something was missing.
func (t *transport) await(n int, timed *bool) error {
	for t.w-t.r < n {
		if !*timed {
			*timed = true
			t.readDeadline(time.Now().Add(t.limits.FrameTimeout))
		}
		if err := t.fill(n); err != nil {
			return err
		}
	}
	return nil
}

// fill reads once, for a frame of n octets.
func (t *transport) fill(n int) error {
	t.want = n
	if t.raw == nil {
		m, err := t.nc.Read(t.room())
		if t.w += m; m > 0 {
			return nil // an error comes again
		}
		return err
	}
	if err := t.raw.Read(t.try); err != nil {
		return err
	}
	return t.err
}

// tryRead reads what is there, and reports false if that is nothing. The
// buffer is taken only then, so that an idle connection needs none.
func (t *transport) tryRead(fd uintptr) bool {
	room := t.room()
	n, err := syscall.Read(int(fd), room)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), room)
	}
	switch {
	case err == syscall.EAGAIN:
		t.rest()
		return false
	case err == nil && n == 0:
		err = io.EOF
	}
	t.w += max(n, 0)
	t.err = err
	return true
}

// room returns where the next octets go. Memory grows with what has come: a
// length alone costs nothing.
func (t *transport) room() []byte {
	switch {
	case t.in == nil:
		t.in = t.buffers.get(t.size)
	case t.r == t.w:
		t.r, t.w = 0, 0
	case t.r > 0 && t.r+t.want > len(t.in.b):
		t.w = copy(t.in.b, t.in.b[t.r:t.w])
		t.r = 0
	}
	if t.w == len(t.in.b) {
		grown := t.buffers.grow(len(t.in.b))
		copy(grown.b, t.in.b)
		t.buffers.put(t.in)
		t.in, t.size = grown, grown.size
	}
	return t.in.b[t.w:]
}

// rest gives the buffer back if nothing is left in it. The frame read last is
// no longer valid.
func (t *transport) rest() {
	if t.r == t.w && t.in != nil {
		t.buffers.put(t.in)
		t.in, t.r, t.w = nil, 0, 0
	}
}

// close closes the connection, whatever was not read of it.
func (t *transport) close() {
	t.r = t.w
	t.rest()
	_ = t.nc.Close()
}

// shrink forgets how big the frames of a message were.
func (t *transport) shrink() { t.size = 0 }

// write collects what flush sends.
func (t *transport) write(p []byte) {
	if t.out == nil {
		t.out = t.buffers.get(0)
		t.out.b = t.out.b[:0]
	}
	t.out.b = append(t.out.b, p...)
}

// flush sends what was written.
func (t *transport) flush() error {
	if t.out == nil {
		return nil
	}
	var err error
	if rest := t.out.b[t.writeNow(t.out.b):]; len(rest) > 0 {
		err = t.writeAll(rest)
	}
	t.buffers.put(t.out)
	t.out = nil
	return err
}

// writeNow writes what the socket takes at once, which is nearly always all and
// needs no deadline, and returns how much that was.
func (t *transport) writeNow(p []byte) (n int) {
	if t.raw != nil {
		// An error comes again in writeAll.
		_ = t.raw.Write(func(fd uintptr) bool {
			n, _ = syscall.Write(int(fd), p)
			return true
		})
	}
	return max(n, 0)
}

// writeAll waits for the MTA to read.
func (t *transport) writeAll(p []byte) error {
	t.mu.Lock()
	timeout := t.limits.WriteTimeout
	if t.forced {
		timeout = min(timeout, forcedWriteTimeout)
	}
	_ = t.nc.SetWriteDeadline(time.Now().Add(timeout))
	t.mu.Unlock()
	_, err := t.nc.Write(p)
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
		if t.r < t.w {
			return
		}
		if err := t.fill(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		t.readDeadline(time.Unix(1, 0)) // long past: wakes the read
		<-done
	}
}
