package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"sekimori/internal/resolver/dnswire"
)

// idleTimeout is how long a connection stays open without a query. RFC 7766 §6.2.3 recommends a few
// seconds.
const idleTimeout = 10 * time.Second

var (
	errIdle   = errors.New("resolver: connection closed after being idle")
	errSilent = errors.New("resolver: connection on which nothing came any more")
)

// stream is a connection on which several queries may run at the same time (RFC 7766 §6.2.1.1).
// Answers come in any order. Their IDs tell which query they belong to.
type stream struct {
	conn  net.Conn
	under io.Closer     // the connection below TLS
	done  chan struct{} // closed when the connection is closed
	write sync.Mutex    // held while one message is written

	mu      sync.Mutex
	waiting map[uint16]pending
	heard   int   // number of messages read so far
	err     error // the reason why it is closed, nil while it is open
}

// pending is a query that waits for its answer.
type pending struct {
	dnswire.Query
	answer chan answered // its buffer holds one answer
}

func newStream(conn net.Conn, under io.Closer) *stream {
	st := &stream{conn: conn, under: under, done: make(chan struct{}), waiting: map[uint16]pending{}}
	// The lookup that opened the connection may have ended. Then no query comes, and this deadline
	// closes the connection.
	_ = conn.SetReadDeadline(time.Now().Add(idleTimeout))
	return st
}

func (st *stream) closed() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.err != nil
}

// close closes the connection and fails every query on it. Only the first reason is stored.
func (st *stream) close(why error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		return
	}
	st.err = why
	close(st.done)
	_ = st.under.Close() // Close of the TLS connection could block if the peer does not read
}

// exchange sends q and waits for its answer. It may change the ID of q. The result "again" is true
// if a new stream may succeed: this stream had already ended, or it ends although it had worked
// before.
func (st *stream) exchange(ctx context.Context, q dnswire.Query, timeout time.Duration) (a answered, again bool, err error) {
	answer, heard, err := st.register(q)
	if err != nil {
		return answered{}, true, err // closed before anything was sent
	}
	id := binary.BigEndian.Uint16(q.Packet)
	defer st.forget(id)
	st.send(q.Packet, timeout)
	select {
	case a := <-answer:
		return a, false, nil
	case <-st.done:
		select {
		case a := <-answer: // the answer came just before the end
			return a, false, nil
		default:
		}
		return answered{}, heard > 0, st.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			st.suspect(heard)
		}
		return answered{}, false, ctx.Err()
	}
}

// register records q in waiting, under an ID that no other query on the stream has.
func (st *stream) register(q dnswire.Query) (answer <-chan answered, heard int, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		return nil, 0, st.err
	}
	id := binary.BigEndian.Uint16(q.Packet)
	for st.waiting[id].answer != nil { // a free ID exists, because maxPipelined is far smaller than the number of IDs
		id++
	}
	binary.BigEndian.PutUint16(q.Packet, id)
	p := pending{Query: q, answer: make(chan answered, 1)}
	st.waiting[id] = p
	_ = st.conn.SetReadDeadline(time.Time{})
	return p.answer, st.heard, nil
}

func (st *stream) forget(id uint16) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.waiting, id)
	if len(st.waiting) == 0 { // on a stream that has ended, this changes nothing
		_ = st.conn.SetReadDeadline(time.Now().Add(idleTimeout))
	}
}

// send writes one message. If that fails, it closes the stream, because a part of the message may have been sent.
func (st *stream) send(packet []byte, timeout time.Duration) {
	st.write.Lock()
	defer st.write.Unlock()
	_ = st.conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := st.conn.Write(frame(packet)); err != nil {
		st.close(err)
	}
}

// suspect is called when a query had no answer within its timeout. heard is the number of messages
// that had been read when the query began. If no message was read since then, suspect closes the
// stream, and the next query opens a new one.
func (st *stream) suspect(heard int) {
	st.mu.Lock()
	silent := st.heard == heard
	st.mu.Unlock()
	if silent {
		st.close(errSilent)
	}
}

// read delivers messages to the queries that wait for them, until the stream ends. It calls the
// function "stranger" for each message that no query waits for. Such a message is late or forged.
// Too many such messages in a row end the stream.
func (st *stream) read(stranger func()) {
	for strays := 0; strays < maxStrays; {
		wire, err := readFramed(st.conn, make([]byte, 2))
		switch {
		case err != nil:
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				err = errIdle
			}
			st.close(err)
			return
		case st.deliver(wire):
			strays = 0
		default:
			strays++
			stranger()
		}
	}
	st.close(errFlood)
}

// deliver gives a message to the query that waits for it. It returns false if no query waits for
// this message.
func (st *stream) deliver(wire []byte) bool {
	if len(wire) < dnswire.HeaderLen {
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.heard++
	p := st.waiting[binary.BigEndian.Uint16(wire)]
	if p.answer == nil {
		return false
	}
	a := answered{wire, p.Match(wire)}
	if a.Match == dnswire.Stray {
		return false
	}
	select {
	case p.answer <- a:
		return true
	default: // the query already has its answer
		return false
	}
}
