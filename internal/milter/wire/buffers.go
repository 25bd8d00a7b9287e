package wire

import "sync"

// bufferSizes are the sizes of buffers. The smallest is large enough for a small message or a
// reply. The largest holds the largest part of a body (65,535 octets) and the beginning of the next
// frame. Each size is three times the one before, so a buffer that must grow becomes at most three
// times as large as the octets in it.
var bufferSizes = [...]int{8 << 10, 24 << 10, 72 << 10}

// buffer is memory for octets that are read or written.
type buffer struct {
	b    []byte
	size int // bufferSizes[size] is the length of the buffer
}

// Buffers has the buffers that no connection uses at the moment.
type Buffers struct{ pools [len(bufferSizes)]sync.Pool }

// get returns a buffer of bufferSizes[size] octets.
func (p *Buffers) get(size int) *buffer {
	if b, ok := p.pools[size].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, bufferSizes[size]), size}
}

// grow returns a buffer that is larger than n octets, for a frame that does not fit into a buffer
// of n octets. If no size in bufferSizes is larger, the buffer has 2*n octets, and the method put
// does not keep it for another use.
func (p *Buffers) grow(n int) *buffer {
	for i, size := range bufferSizes {
		if size > n {
			return p.get(i)
		}
	}
	return &buffer{make([]byte, 2*n), len(bufferSizes) - 1}
}

func (p *Buffers) put(b *buffer) {
	if size := bufferSizes[b.size]; cap(b.b) == size {
		b.b = b.b[:size]
		p.pools[b.size].Put(b)
	}
}
