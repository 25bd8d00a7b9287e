package wire

import "sync"

// bufferSizes are the sizes of buffers, from what a small message or a reply
// takes to the largest part of a body (65,535 octets) with the beginning of
// the next frame. Each is three times the one before: a connection holds at
// most that much more than was sent to it.
var bufferSizes = [...]int{8 << 10, 24 << 10, 72 << 10}

// buffer is memory for what is read or written.
type buffer struct {
	b    []byte
	size int // index in bufferSizes
}

// Buffers are those that no connection needs now.
type Buffers struct{ pools [len(bufferSizes)]sync.Pool }

// get returns one of bufferSizes[size] octets.
func (p *Buffers) get(size int) *buffer {
	if b, ok := p.pools[size].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, bufferSizes[size]), size}
}

// grow returns one larger than n, which a frame has filled. Beyond the largest
// of bufferSizes it is twice n and not kept.
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
