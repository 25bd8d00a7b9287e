package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"
)

// magic begins a batch in the spool. Its last octet is the version of the encoding. Version 2 has no hints. It is
// still read, because a spool may be left by the program before an upgrade.
const (
	magic    = "sekimori history \x03"
	oldMagic = "sekimori history \x02"
)

// errBatch is the error for what Encode did not write.
var errBatch = errors.New("history: not a batch, or a damaged one")

// Encode returns a batch as the content of a file: magic, the batch, and the SHA-256 digest of both.
func Encode(b *Batch) []byte {
	e := encoder(append(make([]byte, 0, 64<<10), magic...))
	e.text(b.ID)
	e.text(b.Host)
	e.number(int64(len(b.Blocks)))
	for i := range b.Blocks {
		e.number(int64(len(b.Blocks[i].Rows)))
		for _, r := range b.Blocks[i].Rows {
			e.number(r.Time.UnixMicro())
			for _, k := range r.Keys {
				e.number(int64(k))
			}
			e.number(int64(r.Hint))
		}
		e.text(string(b.Blocks[i].Data))
	}
	return sealed(e)
}

// sealed appends the digest.
func sealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

type encoder []byte

func (e *encoder) number(n int64) { *e = binary.AppendVarint(*e, n) }

func (e *encoder) text(s string) {
	e.number(int64(len(s)))
	*e = append(*e, s...)
}

// Decode reads what Encode wrote. Everything else is an error.
func Decode(data []byte) (Batch, error) {
	n := len(data) - sha256.Size
	if n < len(magic) || string(data[:len(magic)]) != magic && string(data[:len(magic)]) != oldMagic {
		return Batch{}, errBatch
	}
	if sum := sha256.Sum256(data[:n]); !bytes.Equal(sum[:], data[n:]) {
		return Batch{}, errBatch
	}
	d := decoder{rest: data[len(magic):n], hints: string(data[:len(magic)]) == magic}
	b := Batch{ID: d.text(), Host: d.text()}
	for range d.length() {
		b.Blocks = append(b.Blocks, d.block())
		if d.bad {
			break
		}
	}
	if d.bad || len(d.rest) > 0 || b.ID == "" {
		return Batch{}, errBatch
	}
	return b, nil
}

// decoder reads the parts of a batch. After a mistake bad is true, and all that follows is empty.
type decoder struct {
	rest  []byte
	bad   bool
	hints bool // the rows have hints
}

func (d *decoder) fail() {
	d.bad, d.rest = true, nil
}

func (d *decoder) number() int64 {
	v, n := binary.Varint(d.rest)
	if d.bad || n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// length reads how many elements or octets follow. Each has at least one octet.
func (d *decoder) length() int {
	n := d.number()
	if n < 0 || n > int64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.length()
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) block() (b Block) {
	n := d.length()
	if n < 1 || n > MaxBlockRows {
		d.fail()
		return b
	}
	for range n {
		r := Row{Time: time.UnixMicro(d.number()).UTC()}
		for i := range r.Keys {
			k := d.number()
			if r.Keys[i] = int32(k); int64(r.Keys[i]) != k { //nolint:gosec // a number that does not fit is refused
				d.fail()
			}
		}
		if d.hints {
			h := d.number()
			if r.Hint = Hint(h); int64(r.Hint) != h || h < 0 { //nolint:gosec // a number that does not fit is refused
				d.fail()
			}
		}
		b.Rows = append(b.Rows, r)
	}
	b.Data = []byte(d.text())
	return b
}
