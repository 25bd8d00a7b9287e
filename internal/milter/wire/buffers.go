package wire

import "sync"

// bufferSizes are the sizes of buffers. The smallest is enough for a small message or a
// reply. The largest holds the largest part of a body (65,535 octets) and the beginning of
// the next frame. Each is three times the one before, so a connection holds at most three
// times what was sent to it.
var bufferSizes = [...]int{8 << 10, 24 << 10, 72 << 10}

// buffer is memory for octets that are read or written.
type buffer struct {
	b    []byte
	size int // the index of its size in bufferSizes
}

// Buffers are buffers that no connection uses now.
type Buffers struct{ pools [len(bufferSizes)]sync.Pool }

// get returns a buffer of bufferSizes[size] octets.
func (p *Buffers) get(size int) *buffer {
	if b, ok := p.pools[size].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, bufferSizes[size]), size}
}

// grow returns a buffer of more than n octets, for a frame that has filled one of n. If none
// of bufferSizes is large enough, the buffer has 2*n octets, and put does not keep it.
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
