package recent

import (
	"encoding/binary"
	"math"
	"reflect"
)

// decoder reads what an encoder wrote. The texts of the values that it makes are parts of the
// decoder's text.
type decoder struct {
	*codecs
	whole string
	in    string // the part that has not been read yet
}

// take reads a value that put wrote, and stores it where v points.
func take[T any](d *decoder, v *T) { d.value(d.known[reflect.TypeFor[T]()], reflect.ValueOf(v).Elem()) }

// takeOptional reads a value that the function optional wrote.
func takeOptional[T any](d *decoder) *T {
	if !d.flag() {
		return nil
	}
	v := new(T)
	take(d, v)
	return v
}

func (d *decoder) next(n int) string {
	s := d.in[:n]
	d.in = d.in[n:]
	return s
}

func (d *decoder) flag() bool { return d.next(1)[0] != 0 }

func (d *decoder) uvarint() (n uint64) {
	for i := 0; ; i++ {
		b := d.in[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			d.in = d.in[i+1:]
			return n
		}
	}
}

func (d *decoder) varint() int64 {
	n := d.uvarint()
	if n&1 != 0 {
		return ^int64(n >> 1)
	}
	return int64(n >> 1)
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n&1 == 0 {
		return d.next(int(n >> 1))
	}
	before := decoder{in: d.whole[n>>1:]}
	return before.text()
}

// value reads into v, which is zero.
func (d *decoder) value(c *codec, v reflect.Value) {
	switch c.kind {
	case reflect.String:
		v.SetString(d.text())
	case reflect.Bool:
		v.SetBool(d.flag())
	case reflect.Int, reflect.Int64:
		v.SetInt(d.varint())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(d.uvarint())
	case reflect.Float64:
		v.SetFloat(math.Float64frombits(binary.BigEndian.Uint64([]byte(d.next(8)))))
	case reflect.Pointer:
		if d.flag() {
			v.Set(reflect.New(c.element.of))
			d.value(c.element, v.Elem())
		}
	case reflect.Slice:
		d.list(c, v)
	case reflect.Map:
		d.table(c, v)
	default:
		d.structure(c, v)
	}
}

func (d *decoder) structure(c *codec, v reflect.Value) {
	if c.opaque {
		if n := int(d.next(1)[0]); n > 0 {
			// AppendBinary of the same type wrote these octets, so there is no error.
			_ = v.Addr().Interface().(selfWriter).UnmarshalBinary([]byte(d.next(n)))
		}
		return
	}
	bits := d.next((len(c.fields) + 7) / 8)
	for i, f := range c.fields {
		if bits[i/8]&(1<<(i%8)) != 0 {
			d.value(f.codec, v.Field(f.index))
		}
	}
}

func (d *decoder) list(c *codec, v reflect.Value) {
	n := int(d.uvarint()) - 1
	if n < 0 {
		return
	}
	v.Set(reflect.MakeSlice(c.of, n, n))
	for i := range n {
		d.value(c.element, v.Index(i))
	}
}

func (d *decoder) table(c *codec, v reflect.Value) {
	if !d.flag() {
		return
	}
	v.Set(reflect.MakeMap(c.of))
	for d.flag() {
		key, element := reflect.New(c.key.of).Elem(), reflect.New(c.element.of).Elem()
		key.SetString(d.text())
		d.value(c.element, element)
		v.SetMapIndex(key, element)
	}
}
