package wire

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

// Transport reads frames from the MTA and writes to it, with deadlines. While
// it waits between frames it holds no buffer.
type Transport struct {
	nc      net.Conn
	raw     syscall.RawConn // nil where nc has none: it then waits with a buffer
	limits  *Limits
	buffers *Buffers
	try     func(fd uintptr) bool // t.tryRead, bound once

	in   *buffer // what was read, nil between frames
	r, w int     // the octets of it not yet taken
	size int     // index in bufferSizes of what the next read begins with
	want int     // octets of the frame that is read
	err  error   // of tryRead
	cut  bool    // the frame read last is only the beginning of one
	out  *buffer // written but not sent: one reply with its edits is one write

	mu              sync.Mutex // orders deadlines with Force and Hasten
	forced          bool
	hurry           time.Duration // how long a spare wait may take, 0 as long as the caller says
	betweenMessages bool          // what is read, or was last, is the beginning of a spare frame
}

// NewTransport returns the transport of a connection. Limits and buffers may be
// those of others too.
func NewTransport(nc net.Conn, limits *Limits, b *Buffers) *Transport {
	t := &Transport{nc: nc, limits: limits, buffers: b}
	if sc, ok := nc.(syscall.Conn); ok {
		t.raw, _ = sc.SyscallConn() // fails with nc
	}
	t.try = t.tryRead
	return t
}

// NetConn is the connection itself.
func (t *Transport) NetConn() net.Conn { return t.nc }

// Force makes every read fail from now on and leaves each write a moment only.
func (t *Transport) Force() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forced = true
	now := time.Now()
	_ = t.nc.SetReadDeadline(now)
	_ = t.nc.SetWriteDeadline(now.Add(forcedWriteTimeout))
}

// Hasten gives the MTA no longer than patience for the beginning of a spare
// frame, the one that is waited for included.
func (t *Transport) Hasten(patience time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurry = patience
	if t.betweenMessages && !t.forced {
		_ = t.nc.SetReadDeadline(time.Now().Add(patience))
	}
}

// Hastened reports whether Force or Hasten is why a read ran out of time.
func (t *Transport) Hastened() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forced || t.betweenMessages && t.hurry > 0
}

func (t *Transport) readDeadline(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.forced {
		_ = t.nc.SetReadDeadline(deadline) // a dead socket fails at the read
	}
}

// frameDeadline is readDeadline for the beginning of a frame.
func (t *Transport) frameDeadline(idle time.Duration, betweenMessages bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.betweenMessages = betweenMessages; betweenMessages && t.hurry > 0 {
		idle = min(idle, t.hurry)
	}
	if !t.forced {
		_ = t.nc.SetReadDeadline(time.Now().Add(idle))
	}
}

// begun says that the frame has begun.
func (t *Transport) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.betweenMessages = false
}

// ReadFrame waits up to idle for a frame to begin and reads it. Without a spare
// frame nothing is lost but time. data is valid until the next call.
func (t *Transport) ReadFrame(idle time.Duration, betweenMessages bool) (cmd byte, data []byte, err error) {
	if t.r == t.w {
		t.Rest()
		t.frameDeadline(idle, betweenMessages)
		for t.r == t.w {
			if err := t.fill(1); err != nil {
				return 0, nil, err
			}
		}
		if betweenMessages {
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
		return 0, nil, Malformed{KindEmptyFrame}
	}
	if err := t.await(prefix+1, &timed); err != nil {
		return 0, nil, err
	}
	cmd = t.in.b[t.r+prefix]
	if t.cut = false; int64(length) > int64(t.maxFrame(cmd)) {
		if cmd == CmdHeader && length <= maxPassedOver {
			data, err = t.beginning(prefix+1, int(length)-1, &timed)
			return cmd, data, err
		}
		return 0, nil, Malformed{KindFrameTooLong}
	}
	end := prefix + int(length)
	if err := t.await(end, &timed); err != nil {
		return 0, nil, err
	}
	data = t.in.b[t.r+prefix+1 : t.r+end : t.r+end]
	t.r += end
	return cmd, data, nil
}

// Cut reports whether the frame read last was a header field longer than
// Limits.MaxFrame, of which only the beginning was returned.
func (t *Transport) Cut() bool { return t.cut }

// beginning reads a frame of which size octets follow after the first skip, and
// keeps the beginning of these.
func (t *Transport) beginning(skip, size int, timed *bool) ([]byte, error) {
	t.r += skip
	kept := make([]byte, 0, min(size, maxBeginning))
	for size > 0 {
		if err := t.await(1, timed); err != nil {
			return nil, err
		}
		n := min(size, t.w-t.r)
		kept = append(kept, t.in.b[t.r:t.r+min(n, cap(kept)-len(kept))]...)
		t.r += n
		size -= n
	}
	t.cut = true
	return kept, nil
}

func (t *Transport) maxFrame(cmd byte) int {
	if cmd == CmdHeader || cmd == CmdBody || cmd == CmdEndOfBody {
		return t.limits.MaxFrame
	}
	return min(t.limits.MaxFrame, maxCommandFrame)
}

// await reads until n octets of the frame are there. The rest of a frame has
// FrameTimeout from the first time something was missing.
func (t *Transport) await(n int, timed *bool) error {
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
func (t *Transport) fill(n int) error {
	t.want = n
	if t.raw == nil {
		m, err := t.nc.Read(t.space())
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
func (t *Transport) tryRead(fd uintptr) bool {
	space := t.space()
	n, err := syscall.Read(int(fd), space)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), space)
	}
	switch {
	case err == syscall.EAGAIN:
		t.Rest()
		return false
	case err == nil && n == 0:
		err = io.EOF
	}
	t.w += max(n, 0)
	t.err = err
	return true
}

// space returns where the next octets go. Memory grows with what has come: a
// length alone costs nothing.
func (t *Transport) space() []byte {
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

// Rest gives the buffer back if nothing is left in it. The frame read last is
// no longer valid.
func (t *Transport) Rest() {
	if t.r == t.w && t.in != nil {
		t.buffers.put(t.in)
		t.in, t.r, t.w = nil, 0, 0
	}
}

// Close closes the connection, whatever was not read of it.
func (t *Transport) Close() {
	t.r = t.w
	t.Rest()
	_ = t.nc.Close()
}

// Shrink forgets how big the frames of a message were.
func (t *Transport) Shrink() { t.size = 0 }

// Append collects what Flush sends.
func (t *Transport) Append(p []byte) {
	if t.out == nil {
		t.out = t.buffers.get(0)
		t.out.b = t.out.b[:0]
	}
	t.out.b = append(t.out.b, p...)
}

// Appended is what Flush would send.
func (t *Transport) Appended() []byte {
	if t.out == nil {
		return nil
	}
	return t.out.b
}

// Flush sends what was appended, replies and edits among it.
func (t *Transport) Flush() error {
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
func (t *Transport) writeNow(p []byte) (n int) {
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
func (t *Transport) writeAll(p []byte) error {
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

// Watch runs gone when the MTA closes its end, until stop is called. Nothing
// may be read meanwhile.
func (t *Transport) Watch(gone func()) (stop func()) {
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
