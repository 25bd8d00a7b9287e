package collect

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"sekimori/internal/dmarc"
	"sekimori/internal/dns"
	"sekimori/internal/ledger"
	"sekimori/internal/report"
)

// magic begins a file of the spool. Its last octet is the version of the encoding.
const magic = "sekimori spool \x03"

// errCodec is the error for a file that is not what encode wrote.
var errCodec = errors.New("collect: not a batch, or a damaged one")

// encode returns the content of a file: magic, the batch, and the SHA-256 digest of both.
func encode(b *report.Batch) []byte {
	e := encoder(append(make([]byte, 0, 64<<10), magic...))
	e.text(b.ID)
	e.window(b.Current)
	e.number(b.MaxRows)
	e.number(int64(len(b.Tallies)))
	for i := range b.Tallies {
		e.tally(&b.Tallies[i])
	}
	e.number(int64(len(b.Seen)))
	for _, s := range b.Seen {
		e.text(string(s.Domain))
		e.number(int64(s.Day))
		e.text(string(s.Kind))
	}
	e.text(string(b.Ledger.Append(nil)))
	return seal(e)
}

// seal appends the digest.
func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

type encoder []byte

func (e *encoder) number(n int64) { *e = binary.AppendVarint(*e, n) }

func (e *encoder) text(s string) {
	e.number(int64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) window(w report.Window) {
	e.number(w.Begin)
	e.number(w.End)
}

func (e *encoder) tally(t *report.Tally) {
	p := &t.Policy
	testing := "n"
	if p.Testing {
		testing = "y"
	}
	for _, s := range []string{string(p.Domain), string(p.P), string(p.SP), string(p.NP), string(p.ADKIM), string(p.ASPF), p.FO, testing, string(p.Method),
		p.Invalid} {
		e.text(s)
	}
	e.window(t.Window)
	for _, n := range []int64{t.SendAt.UnixNano(), t.Causes, t.Spam, t.Late, t.Lost, int64(len(t.Rows))} {
		e.number(n)
	}
	var room [512]byte
	for i := range t.Rows {
		e.number(t.Rows[i].Count)
		e.text(string(t.Rows[i].Append(room[:0])))
	}
}

// decode reads what encode wrote. Everything else is an error.
func decode(data []byte) (report.Batch, error) {
	n := len(data) - sha256.Size
	if n < len(magic) || string(data[:len(magic)]) != magic {
		return report.Batch{}, errCodec
	}
	if sum := sha256.Sum256(data[:n]); !bytes.Equal(sum[:], data[n:]) {
		return report.Batch{}, errCodec
	}
	d := decoder{rest: data[len(magic):n]}
	b := report.Batch{ID: d.text(), Current: d.window(), MaxRows: d.number(), MaxJobs: report.MaxJobs, MaxOwned: report.MaxOwned}
	for range d.length() {
		b.Tallies = append(b.Tallies, d.tally())
	}
	for range d.length() {
		b.Seen = append(b.Seen, report.Sighting{Domain: dns.Name(d.text()), Day: report.Day(d.number()), Kind: report.SightingKind(d.text())})
	}
	part, err := ledger.ParseDelta([]byte(d.text()))
	if d.bad || err != nil || len(d.rest) > 0 || b.ID == "" {
		return report.Batch{}, errCodec
	}
	b.Ledger = part
	return b, nil
}

// decoder reads the parts of a batch. After a mistake bad is true, and all that follows is empty.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number() int64 {
	v, n := binary.Varint(d.rest)
	if d.bad || n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// length reads how many elements or octets follow. Each has at least one octet.
func (d *decoder) length() int {
	n := d.number()
	if n < 0 || n > int64(len(d.rest)) {
		d.bad, d.rest = true, nil
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

func (d *decoder) window() report.Window { return report.Window{Begin: d.number(), End: d.number()} }

func (d *decoder) tally() report.Tally {
	p := report.Policy{
		Domain: dns.Name(d.text()), P: dmarc.Policy(d.text()), SP: dmarc.Policy(d.text()), NP: dmarc.Policy(d.text()),
		ADKIM: dmarc.Mode(d.text()), ASPF: dmarc.Mode(d.text()), FO: d.text(), Testing: d.text() == "y", Method: dmarc.Method(d.text()), Invalid: d.text(),
	}
	t := report.Tally{Policy: p, Window: d.window(), SendAt: time.Unix(0, d.number()).UTC(), Causes: d.number(), Spam: d.number(), Late: d.number(),
		Lost: d.number()}
	for range d.length() {
		count := d.number()
		row, err := report.ParseRow([]byte(d.text()))
		if err != nil { // also after a mistake before, because the text is empty then
			d.bad, d.rest = true, nil
			break
		}
		row.Count = count
		t.Rows = append(t.Rows, row)
	}
	return t
}
