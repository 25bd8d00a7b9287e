package replay

import (
	"context"
	"errors"
	"io"
)

const (
	// blockSize is the size of a block, in octets.
	blockSize = 64 << 10
	// blocksPerCore is how many blocks there are for each worker. With 4 MiB for each worker, several
	// large messages can be hashed at the same time.
	blocksPerCore = 64
)

// block is a part of a message.
type block struct {
	data []byte
	next chan *block // receives the next block of the message, or nil at the end of the message
}

// pool has the blocks for all messages in progress. It limits how far the mbox is read ahead.
type pool struct {
	free chan *block
	more int // number of blocks that may still be made; used only by the goroutine that reads the mbox
}

// newPool returns a pool of n blocks. Two are enough to make progress: the worker of the message that
// is being read keeps one block until it has received the next. The workers of all other messages
// have everything that they need.
func newPool(n int) *pool { return &pool{free: make(chan *block, n), more: n} }

// get returns an empty block, or nil if ctx ends before there is one.
func (p *pool) get(ctx context.Context) *block {
	select {
	case b := <-p.free:
		return b
	default:
	}
	if p.more > 0 {
		p.more--
		return &block{data: make([]byte, 0, blockSize), next: make(chan *block, 1)}
	}
	select {
	case b := <-p.free:
		return b
	case <-ctx.Done():
		return nil
	}
}

func (p *pool) put(b *block) {
	b.data = b.data[:0]
	p.free <- b // has room for all blocks
}

// feed carries the text of one message of an mbox to the worker that judges the message. The mbox can
// only be read from its beginning to its end, so one goroutine reads it and calls fill for one
// message after the other. The worker reads the text with Read and WriteTo, and must call drain.
type feed struct {
	blocks *pool
	source chan *block // receives the next block for the worker
	block  *block      // the block that the worker is reading; nil before the first and after the last
	read   int         // octets of block that were read
	ended  bool
	err    error // io.EOF, or why the message could not be read to its end; valid after the last block
}

func newFeed(p *pool) *feed { return &feed{blocks: p, source: make(chan *block, 1)} }

// fill reads a message to its end and passes it on. If ctx ends, the worker gets errInterrupted.
func (f *feed) fill(ctx context.Context, in lines) {
	last := f.source // where the next block is sent
	b := f.blocks.get(ctx)
	for b != nil {
		c, err := in.next()
		if err != nil {
			f.err = err
			last <- b
			b.next <- nil
			return
		}
		for len(c.data) > 0 && b != nil {
			n := copy(b.data[len(b.data):cap(b.data)], c.data)
			b.data, c.data = b.data[:len(b.data)+n], c.data[n:]
			if len(b.data) == cap(b.data) {
				last <- b
				last, b = b.next, f.blocks.get(ctx)
			}
		}
	}
	f.err = errInterrupted
	last <- nil
}

// advance waits until there is something to read in f.block. The error is io.EOF at the end of the
// message.
func (f *feed) advance() error {
	for !f.ended && (f.block == nil || f.read == len(f.block.data)) {
		next := <-f.source
		if f.block != nil {
			f.blocks.put(f.block) // only now, because the block's channel was still in use
		}
		f.block, f.read = next, 0
		if next == nil {
			f.ended = true
		} else {
			f.source = next.next
		}
	}
	if !f.ended {
		return nil
	}
	return f.err
}

// Read implements io.Reader.
func (f *feed) Read(p []byte) (int, error) {
	if err := f.advance(); err != nil {
		return 0, err
	}
	n := copy(p, f.block.data[f.read:])
	f.read += n
	return n, nil
}

// WriteTo implements io.WriterTo. It passes on whole blocks without a copy.
func (f *feed) WriteTo(w io.Writer) (total int64, err error) {
	for err == nil {
		if err = f.advance(); err != nil {
			break
		}
		var n int
		n, err = w.Write(f.block.data[f.read:])
		f.read += n
		total += int64(n)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return total, err
}

// drain returns the blocks of the message that were not read, until the end of the message.
func (f *feed) drain() {
	for !f.ended {
		if f.block != nil {
			f.read = len(f.block.data)
		}
		_ = f.advance() // an error does not matter, because nobody reads the message any more
	}
}
