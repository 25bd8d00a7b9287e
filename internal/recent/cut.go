package recent

import (
	"reflect"
	"strings"

	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
)

// The limits for one value in a copy. A text that was cut ends with "...".
const (
	maxTextBytes = 4 << 10 // octets of a text; usual DMARC and SPF records are shorter
	maxElements  = 200     // elements of a list; usual SPF traces are shorter
)

// cutter copies the types that a decision consists of, and limits the size of each copy. A
// copy has every field that encoding/json would show. It shares no memory with the
// original, so the original can be freed while the copy is kept.
type cutter struct {
	fields map[reflect.Type][]int // for each struct type, the indexes of the fields to copy
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

// learn fills c.fields for the type t and for all struct types that values of t can
// contain. A struct without exported fields, such as netip.Addr, is copied as one value.
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

// begin returns a new cut, which is used for one decision.
func (c *cutter) begin() *cut { return &cut{cutter: c, limit: maxDecisionBytes} }

// cut copies one decision and counts the memory that the copy takes.
type cut struct {
	*cutter
	limit     int // octets that the copy may take in total
	used      int // octets that the copy has taken so far, approximately
	truncated bool
}

// verdict copies a verdict. The copy takes at most a quarter of maxDecisionBytes, which
// leaves enough memory for the copy of the Evaluation.
func (c *cut) verdict(v policy.Verdict) policy.Verdict {
	id := c.text(v.ID)
	c.limit = min(maxDecisionBytes, c.used+maxDecisionBytes/4)
	defer func() { c.limit = maxDecisionBytes }()
	out := cutCopy(c, v)
	out.ID = id
	return out
}

// cutCopy returns a copy of v that stays within the limits.
func cutCopy[T any](c *cut, v T) T {
	var out T
	c.used += int(reflect.TypeFor[T]().Size())
	c.value(reflect.ValueOf(&out).Elem(), reflect.ValueOf(&v).Elem())
	return out
}

// reserve adds n octets to used. If that would exceed the limit, reserve adds nothing and
// returns false.
func (c *cut) reserve(n int) bool {
	if c.used+n > c.limit {
		c.truncated = true
		return false
	}
	c.used += n
	return true
}

// value copies src to dst. The caller has already counted the memory of dst itself.
func (c *cut) value(dst, src reflect.Value) {
	switch src.Kind() {
	case reflect.String:
		dst.SetString(c.text(src.String()))
	case reflect.Pointer:
		if src.IsNil() || !c.reserve(int(src.Type().Elem().Size())) {
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
		// Values of these kinds do not appear in the JSON of a decision, so they are not
		// copied.
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
	if !c.reserve(len(s) + len(mark)) {
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

// table copies a map. The keys are not cut, because they are words that this program
// defines.
func (c *cut) table(dst, src reflect.Value) {
	if src.IsNil() {
		return
	}
	dst.Set(reflect.MakeMapWithSize(src.Type(), src.Len()))
	size := int(src.Type().Key().Size() + src.Type().Elem().Size())
	for it := src.MapRange(); it.Next(); {
		if !c.reserve(2 * size) { // approximately the memory of one map element
			return
		}
		element := reflect.New(src.Type().Elem()).Elem()
		c.value(element, it.Value())
		dst.SetMapIndex(it.Key(), element)
	}
}
