package recent

import (
	"reflect"
	"strings"

	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// Bounds on what is copied of one value. A value over them says so by its end.
const (
	maxTextBytes = 4 << 10 // octets of a text: a DMARC or SPF record is shorter
	maxElements  = 200     // of a list: SPF traces of honest domains are shorter
)

// cutter makes bounded copies of values of the types a decision is made of. The
// copy has what encoding/json would show and shares no memory with the
// original, so that keeping it keeps nothing else alive.
type cutter struct {
	fields map[reflect.Type][]int // the fields to copy of each struct, by index
}

func newCutter() *cutter {
	c := &cutter{fields: map[reflect.Type][]int{}}
	for _, t := range []reflect.Type{
		reflect.TypeFor[msgauth.Evaluation](), reflect.TypeFor[policy.Verdict](),
		reflect.TypeFor[msgauth.Session](), reflect.TypeFor[msgauth.Envelope](),
	} {
		c.learn(t)
	}
	return c
}

// learn finds the structs below t. A struct without exported fields, such as
// netip.Addr, is taken as one value.
func (c *cutter) learn(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		c.learn(t.Elem())
	case reflect.Struct:
		if _, known := c.fields[t]; known {
			return
		}
		c.fields[t] = nil
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				c.fields[t] = append(c.fields[t], i)
				c.learn(f.Type)
			}
		}
	}
}

// begin starts the copy of one decision.
func (c *cutter) begin() *cut { return &cut{cutter: c, limit: maxDecisionBytes} }

// cut is the copy of one decision under way.
type cut struct {
	*cutter
	limit     int // octets it may take
	used      int // octets it has taken so far, about
	truncated bool
}

// verdict copies a verdict. It takes a quarter of the room at most, so that room
// is left for the facts.
func (c *cut) verdict(v policy.Verdict) policy.Verdict {
	id := c.text(v.ID)
	c.limit = min(maxDecisionBytes, c.used+maxDecisionBytes/4)
	defer func() { c.limit = maxDecisionBytes }()
	out := cutCopy(c, v)
	out.ID = id
	return out
}

// cutCopy returns the bounded copy of v.
func cutCopy[T any](c *cut, v T) T {
	var out T
	c.used += int(reflect.TypeFor[T]().Size())
	c.value(reflect.ValueOf(&out).Elem(), reflect.ValueOf(&v).Elem())
	return out
}

// room takes n octets of what the decision may have, if they are left.
func (c *cut) room(n int) bool {
	if c.used+n > c.limit {
		c.truncated = true
		return false
	}
	c.used += n
	return true
}

// value copies src to dst, whose own memory is paid for.
func (c *cut) value(dst, src reflect.Value) {
	switch src.Kind() {
	case reflect.String:
		dst.SetString(c.text(src.String()))
	case reflect.Pointer:
		if src.IsNil() || !c.room(int(src.Type().Elem().Size())) {
			return
		}
		dst.Set(reflect.New(src.Type().Elem()))
		c.value(dst.Elem(), src.Elem())
	case reflect.Slice:
		c.list(dst, src)
	case reflect.Map:
		c.table(dst, src)
	case reflect.Struct:
		fields := c.fields[src.Type()]
		if len(fields) == 0 {
			dst.Set(src)
		}
		for _, i := range fields {
			c.value(dst.Field(i), src.Field(i))
		}
	case reflect.Interface, reflect.Func, reflect.Chan:
		// Nothing that JSON could show.
	default:
		dst.Set(src)
	}
}

func (c *cut) text(s string) string {
	const mark = "..."
	whole := len(s) <= maxTextBytes
	if !whole {
		s = s[:maxTextBytes]
		c.truncated = true
	}
	if !c.room(len(s) + len(mark)) {
		return ""
	}
	if whole {
		return strings.Clone(s)
	}
	return s + mark
}

func (c *cut) list(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}
	size := max(1, int(src.Type().Elem().Size()))
	n := min(src.Len(), maxElements, max(0, c.limit-c.used)/size)
	c.truncated = c.truncated || n < src.Len()
	c.used += n * size
	dst.Set(reflect.MakeSlice(src.Type(), n, n))
	for i := range n {
		c.value(dst.Index(i), src.Index(i))
	}
}

// table copies a map, whose keys are always words of ours.
func (c *cut) table(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}
	dst.Set(reflect.MakeMapWithSize(src.Type(), src.Len()))
	size := int(src.Type().Key().Size() + src.Type().Elem().Size())
	for it := src.MapRange(); it.Next(); {
		if !c.room(2 * size) { // about what the map itself needs for it
			return
		}
		element := reflect.New(src.Type().Elem()).Elem()
		c.value(element, it.Value())
		dst.SetMapIndex(it.Key(), element)
	}
}
