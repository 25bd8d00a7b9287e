package history

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Packer packs records into the data of a block: their shapes and values (see toColumns), compressed by
// zstd (RFC 8878). A Packer is for one goroutine at a time.
type Packer struct{ encoder *zstd.Encoder }

// NewPacker returns a Packer. The next higher level would make blocks a twentieth smaller, but its tables have 34 MiB,
// and the first block would keep a processor for 50 ms.
func NewPacker() (*Packer, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &Packer{e}, nil
}

// Pack packs lines, of which each ends with a line feed and is not larger than maxRecord.
func (p *Packer) Pack(lines []byte) []byte { return p.encoder.EncodeAll(toColumns(lines), nil) }

// Fits reports whether a record of n octets, with its line feed, may be packed.
func Fits(n int) bool { return n <= maxRecord }

// Unpacker is the reverse of a Packer. It is safe for concurrent use.
type Unpacker struct{ decoder *zstd.Decoder }

// unpackers is how many blocks are unpacked at a time.
const unpackers = 2

// NewUnpacker returns an Unpacker.
func NewUnpacker() (*Unpacker, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(unpackers), zstd.WithDecoderMaxMemory(maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &Unpacker{d}, nil
}

// errDamaged means that the data of a block is not what a Packer made.
var errDamaged = errors.New("history: a block is damaged")

// Unpack returns the records of a block for which the function wanted returns true. The others may be nil.
func (u *Unpacker) Unpack(data []byte, wanted func(index int) bool) ([][]byte, error) {
	text, err := u.decoder.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if len(text) > maxUnpacked || len(text) == 0 || text[len(text)-1] != '\n' {
		return nil, errDamaged
	}
	if bytes.HasPrefix(text, []byte(columnsMark)) {
		return fromColumns(text, wanted)
	}
	records := bytes.Split(text[:len(text)-1], []byte{'\n'})
	if len(records) > MaxBlockRows {
		return nil, errDamaged
	}
	return records, nil
}
