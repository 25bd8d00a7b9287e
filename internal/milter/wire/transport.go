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

// forcedWriteTimeout is how long a write may take when the time of a shutdown is up.
const forcedWriteTimeout = time.Second

// Transport reads frames from the MTA and writes to it, with deadlines. While it waits
// between frames, it holds no buffer.
type Transport struct {
	nc      net.Conn
	raw     syscall.RawConn // nil if nc has none; then the Transport holds a buffer while it waits
	limits  *Limits
	buffers *Buffers
	try     func(fd uintptr) bool // t.tryRead; making it for each read would allocate

	in   *buffer // what was read; nil between frames
	r, w int     // in.b[r:w] is what was read and not yet returned
	size int     // the index in bufferSizes of the buffer that the next read begins with
	want int     // how many octets the frame that is being read needs
	err  error   // the error of tryRead
	cut  bool    // the last frame was too long, and only its beginning was returned
	out  *buffer // what was appended and not sent; a reply and its edits are one write

	mu              sync.Mutex // guards the fields below, and makes Force and Hasten win over other deadlines
	forced          bool
	hurry           time.Duration // the longest wait for a frame between messages; 0: as long as the caller says
	betweenMessages bool          // no message is in progress, so closing the connection loses nothing
}

// NewTransport returns the transport of a connection. Several transports may share limits and
// buffers.
func NewTransport(nc net.Conn, limits *Limits, b *Buffers) *Transport {
	t := &Transport{nc: nc, limits: limits, buffers: b}
	if sc, ok := nc.(syscall.Conn); ok {
		t.raw, _ = sc.SyscallConn() // fails only if nc is closed, and then every read fails too
	}
	t.try = t.tryRead
	return t
}

// NetConn returns the connection.
func (t *Transport) NetConn() net.Conn { return t.nc }

// Force makes every read fail from now on, and gives each write one second.
func (t *Transport) Force() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forced = true
	now := time.Now()
	_ = t.nc.SetReadDeadline(now)
	_ = t.nc.SetWriteDeadline(now.Add(forcedWriteTimeout))
}

// Hasten gives the MTA at most patience to begin a frame between messages. That includes the
// frame that ReadFrame is waiting for now.
func (t *Transport) Hasten(patience time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurry = patience
	if t.betweenMessages && !t.forced {
		_ = t.nc.SetReadDeadline(time.Now().Add(patience))
	}
}

// Hastened reports whether a read ran out of time because of Force or Hasten.
func (t *Transport) Hastened() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forced || t.betweenMessages && t.hurry > 0
}

func (t *Transport) readDeadline(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.forced {
		_ = t.nc.SetReadDeadline(deadline) // if the connection is closed, the read fails
	}
}

// frameDeadline sets the deadline for the beginning of a frame.
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

// begun notes that a frame has begun.
func (t *Transport) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.betweenMessages = false
}

// ReadFrame waits up to idle for a frame to begin, and reads it. betweenMessages says that no
// message is in progress, so that closing the connection loses nothing. data is valid until
// the next call.
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
	const prefix = 4 // the octets of the length
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

// Cut reports whether the last frame was a header field longer than Limits.MaxFrame. Only
// the beginning of such a field is returned.
func (t *Transport) Cut() bool { return t.cut }

// beginning skips the first skip octets of a frame, reads the size octets that follow, and
// returns the beginning of these.
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

// await reads until n octets of the frame are there. When octets are missing for the first
// time, FrameTimeout begins for the rest of the frame; timed notes that it has begun.
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

// fill reads once, for a frame that needs n octets.
func (t *Transport) fill(n int) error {
	t.want = n
	if t.raw == nil {
		m, err := t.nc.Read(t.space())
		if t.w += m; m > 0 {
			return nil // an error will come again at the next read
		}
		return err
	}
	if err := t.raw.Read(t.try); err != nil {
		return err
	}
	return t.err
}

// tryRead reads without waiting, and reports false if there is nothing to read. It then gives
// the buffer back, so that an idle connection holds none.
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

// space returns the memory for the next octets. It grows with the octets that have come, so
// a frame that only claims to be long takes no memory.
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

// Rest gives the buffer back if nothing is left in it. The data of the last frame is not
// valid any more.
func (t *Transport) Rest() {
	if t.r == t.w && t.in != nil {
		t.buffers.put(t.in)
		t.in, t.r, t.w = nil, 0, 0
	}
}

// Close closes the connection. Octets that were not returned yet are lost.
func (t *Transport) Close() {
	t.r = t.w
	t.Rest()
	_ = t.nc.Close()
}

// Shrink makes the next read begin with the smallest buffer. It is called at the end of a
// message, whose frames may have been large.
func (t *Transport) Shrink() { t.size = 0 }

// Append adds p to what Flush will send.
func (t *Transport) Append(p []byte) {
	if t.out == nil {
		t.out = t.buffers.get(0)
		t.out.b = t.out.b[:0]
	}
	t.out.b = append(t.out.b, p...)
}

// Appended returns what Flush would send.
func (t *Transport) Appended() []byte {
	if t.out == nil {
		return nil
	}
	return t.out.b
}

// Flush sends what was appended, including replies and edits.
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

// writeNow writes as much as the socket takes without waiting, and returns how much that
// was. It is nearly always everything, and needs no deadline.
func (t *Transport) writeNow(p []byte) (n int) {
	if t.raw != nil {
		// An error will come again in writeAll.
		_ = t.raw.Write(func(fd uintptr) bool {
			n, _ = syscall.Write(int(fd), p)
			return true
		})
	}
	return max(n, 0)
}

// writeAll writes p and waits until the MTA has taken all of it.
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

// Watch calls gone if the MTA closes the connection before stop is called. ReadFrame must not
// be called in between.
func (t *Transport) Watch(gone func()) (stop func()) {
	t.readDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		// What an MTA sends before it has its reply is read later. Only whether it has
		// gone matters now.
		if t.r < t.w {
			return
		}
		if err := t.fill(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		t.readDeadline(time.Unix(1, 0)) // a time in the past ends the read
		<-done
	}
}
