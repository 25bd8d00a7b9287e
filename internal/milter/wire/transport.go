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

// forcedWriteTimeout is how long a write may take after Force.
const forcedWriteTimeout = time.Second

// Transport reads frames from the MTA and writes to the MTA, with deadlines. While it waits for the
// beginning of a frame, it holds no read buffer (unless raw is nil).
type Transport struct {
	nc      net.Conn
	raw     syscall.RawConn // nil if nc does not give access to its file descriptor; then the Transport holds a buffer while it waits
	tcp     bool            // nc is a TCP connection
	limits  *Limits
	buffers *Buffers
	try     func(fd uintptr) bool // t.tryRead, stored because making this function value for each read would allocate

	in   *buffer // the read buffer; nil while waiting for a frame
	r, w int     // in.b[r:w] has the octets that were read and not yet returned
	size int     // the next read begins with a buffer of bufferSizes[size] octets
	want int     // how many octets the frame that is being read needs
	err  error   // the error of the last tryRead
	cut  bool    // the last frame was too long, and only its beginning was returned
	out  *buffer // the write buffer; Flush sends it, so that a reply and its edits are one write

	mu              sync.Mutex // guards the fields below, so that other deadlines do not undo those of Force and Hasten
	forced          bool
	hurry           time.Duration // the longest wait for a frame between messages; 0 means no such limit
	betweenMessages bool          // no message is in progress, so closing the connection loses nothing
}

// NewTransport returns the transport of a connection. Several transports may use the same limits
// and buffers.
func NewTransport(nc net.Conn, limits *Limits, b *Buffers) *Transport {
	t := &Transport{nc: nc, limits: limits, buffers: b}
	if sc, ok := nc.(syscall.Conn); ok {
		t.raw, _ = sc.SyscallConn() // the error means that nc is closed, and then every read fails too
	}
	_, t.tcp = nc.(*net.TCPConn)
	t.try = t.tryRead
	return t
}

// NetConn returns the connection.
func (t *Transport) NetConn() net.Conn { return t.nc }

// Force makes every read fail from now on, and limits each write to one second.
func (t *Transport) Force() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forced = true
	now := time.Now()
	_ = t.nc.SetReadDeadline(now)
	_ = t.nc.SetWriteDeadline(now.Add(forcedWriteTimeout))
}

// Hasten limits each wait for a frame between messages to the duration "patience". That includes a
// wait of ReadFrame that has begun already.
func (t *Transport) Hasten(patience time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurry = patience
	if t.betweenMessages && !t.forced {
		_ = t.nc.SetReadDeadline(time.Now().Add(patience))
	}
}

// Hastened reports, after a read ran out of time, whether Force or Hasten limited that read.
func (t *Transport) Hastened() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forced || t.betweenMessages && t.hurry > 0
}

func (t *Transport) readDeadline(deadline time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.forced {
		_ = t.nc.SetReadDeadline(deadline) // if the connection is closed, the next read fails
	}
}

// frameDeadline sets the deadline for the first octet of a frame.
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

// begun notes that a frame has begun, so that Hasten no longer changes the deadline.
func (t *Transport) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.betweenMessages = false
}

// ReadFrame waits for the first octet of a frame, no longer than the duration "idle", and reads the
// frame. betweenMessages says that no message is in progress, so that closing the connection loses
// nothing. data is valid until the next call.
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
	const prefix = 4 // the length of the frame takes this many octets
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

// beginning discards as many octets as "skip" says, reads "size" octets after them, and returns at
// most the first maxBeginning octets that it read.
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

// await reads until n octets of the frame have come. Before the first read for a frame it sets the
// deadline to FrameTimeout from now. "timed" is false until the deadline is set.
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

// fill reads once. The frame needs n octets in all.
func (t *Transport) fill(n int) error {
	t.want = n
	if t.raw == nil {
		m, err := t.nc.Read(t.space())
		if t.w += m; m > 0 {
			return nil // if there is also an error, the next read returns it
		}
		return err
	}
	if err := t.raw.Read(t.try); err != nil {
		return err
	}
	return t.err
}

// tryRead reads from fd and returns true. If there is nothing to read, it gives the buffer back
// and returns false, so that an idle connection holds no buffer.
func (t *Transport) tryRead(fd uintptr) bool {
	space := t.space()
	n, err := syscall.Read(int(fd), space)
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), space)
	}
	switch {
	case err == syscall.EAGAIN:
		if t.tcp {
			acknowledge(fd)
		}
		t.Rest()
		return false
	case n == 0: // with an error, n is -1
		err = io.EOF
	}
	t.w += max(n, 0)
	t.err = err
	return true
}

// space returns the part of the read buffer for the next octets. The buffer grows only when it
// is full, so a frame that claims to be long but has not come takes no memory.
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

// Rest gives the read buffer back if all of its octets were returned. The data of the last frame
// is then not valid any more.
func (t *Transport) Rest() {
	if t.r == t.w && t.in != nil {
		t.buffers.put(t.in)
		t.in, t.r, t.w = nil, 0, 0
	}
}

// Close closes the connection. Octets that were read but not returned are lost.
func (t *Transport) Close() {
	t.r = t.w
	t.Rest()
	_ = t.nc.Close()
}

// Shrink makes the next read begin with the smallest buffer. It is called at the end of a
// message, because the frames of the next message may be small.
func (t *Transport) Shrink() { t.size = 0 }

// Append adds p to the write buffer.
func (t *Transport) Append(p []byte) {
	if t.out == nil {
		t.out = t.buffers.get(0)
		t.out.b = t.out.b[:0]
	}
	t.out.b = append(t.out.b, p...)
}

// Appended returns the contents of the write buffer.
func (t *Transport) Appended() []byte {
	if t.out == nil {
		return nil
	}
	return t.out.b
}

// Flush sends the contents of the write buffer, including replies and edits.
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

// writeNow writes as much as the socket accepts without waiting, and returns how many octets
// that was. The socket nearly always accepts everything, so most writes need no deadline.
func (t *Transport) writeNow(p []byte) (n int) {
	if t.raw != nil {
		// If there is an error, writeAll gets it again.
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

// Watch calls the function "gone" if the MTA closes the connection before "stop" is called. If the
// MTA first sends something, Watch does not notice that it leaves later. Do not call ReadFrame
// before "stop" has returned.
func (t *Transport) Watch(gone func()) (stop func()) {
	t.readDeadline(time.Time{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		// If the MTA has sent something already, the connection is not watched. What the MTA has
		// sent is handled after the reply.
		if t.r < t.w {
			return
		}
		if err := t.fill(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		t.readDeadline(time.Unix(1, 0)) // a time in the past ends the read at once
		<-done
	}
}
