package history

import (
	"bytes"
	"strconv"
)

// Records of the same kind differ only in their values. So a block does not have its records one after the
// other: it has the shapes of all records, and then the values, those of the same member together, because
// zstd finds far more to shorten among values of one kind. The text of such a block is
//
//	columns 2
//	{"time":0,"verdict":{"action":0},"traits":[0,0]}
//	{"time":0,"verdict":{"action":0},"traits":[]}
//	"2026-11-29T12:00:00Z"
//	"2026-11-29T12:00:01Z"
//	"reject"
//	...
//
// with the number of records, the shape of each, and a line for each value. A block that does not begin so
// has the records themselves.
const columnsMark = "columns "

// walk finds the scalar values of a JSON text without line feeds. The path has the names of the members
// around the value, and is the same for all elements of an array. The result is false if the text may not
// be JSON: then putting other scalars in the places of these could give another text than was meant.
func walk(text []byte, scalar func(path []byte, begin, end int)) bool {
	type level struct {
		path  int // length of the path around this object or array
		array bool
	}
	var path []byte
	var open []level
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; c {
		case '{', '[':
			open = append(open, level{len(path), c == '['})
		case '}', ']':
			if len(open) == 0 {
				return false
			}
			path = path[:open[len(open)-1].path]
			open = open[:len(open)-1]
		case ',':
		case '"':
			if end = endOfString(text, i); end < 0 {
				return false
			}
			if end < len(text) && text[end] == ':' && len(open) > 0 && !open[len(open)-1].array {
				path = append(path[:open[len(open)-1].path], text[i:end]...)
				end++
				break
			}
			if end < len(text) && !ends(text[end]) {
				return false
			}
			scalar(path, i, end)
		default:
			for end < len(text) && !ends(text[end]) {
				end++
			}
			scalar(path, i, end)
		}
		i = end
	}
	return len(open) == 0
}

// ends reports whether c is what follows a scalar.
func ends(c byte) bool { return c == ',' || c == ']' || c == '}' }

// endOfString returns the index after the string that begins at i, or -1 if it does not end.
func endOfString(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// columnSet has the values of a block by their paths, in the order in which the paths were first met.
type columnSet struct {
	places map[string]int
	values [][]byte // lines
	counts []int
}

func newColumnSet() *columnSet { return &columnSet{places: map[string]int{}} }

func (c *columnSet) place(path []byte) int {
	n, known := c.places[string(path)]
	if !known {
		n = len(c.counts)
		c.places[string(path)] = n
		c.values, c.counts = append(c.values, nil), append(c.counts, 0)
	}
	return n
}

// toColumns returns the text of a block with these records, which are lines. If they may not be JSON, or
// the text would be larger than what is unpacked, the text is the lines themselves.
func toColumns(lines []byte) []byte {
	out := make([]byte, 0, len(lines)+len(columnsMark)+len("64\n"))
	out = strconv.AppendInt(append(out, columnsMark...), int64(bytes.Count(lines, []byte{'\n'})), 10)
	out = append(out, '\n')
	set := newColumnSet()
	for line := range bytes.Lines(lines) {
		record, whole := bytes.CutSuffix(line, []byte{'\n'})
		last := 0
		if !whole || !walk(record, func(path []byte, begin, end int) {
			out = append(append(out, record[last:begin]...), '0')
			last = end
			n := set.place(path)
			set.values[n] = append(append(set.values[n], record[begin:end]...), '\n')
		}) {
			return lines
		}
		out = append(append(out, record[last:]...), '\n')
	}
	for _, v := range set.values {
		out = append(out, v...)
	}
	if len(out) > maxUnpacked { // many values of a single octet
		return lines
	}
	return out
}

// slot is where a scalar stands in a shape, and whose value it gets.
type slot struct{ place, begin, end int }

// slotsOf returns the slots of a shape, or false if it is not JSON.
func slotsOf(shape []byte, set *columnSet) (slots []slot, ok bool) {
	ok = walk(shape, func(path []byte, begin, end int) { slots = append(slots, slot{set.place(path), begin, end}) })
	return slots, ok
}

// shapesOf returns the shapes at the beginning of the text after columnsMark, one for each record, their slots, and
// what follows them. The set has how many values each column has.
func shapesOf(text []byte, set *columnSet) (shapes [][]byte, slots [][]slot, rest []byte, err error) {
	head, rest, _ := bytes.Cut(text, []byte{'\n'})
	n, err := strconv.Atoi(string(head))
	if err != nil || n < 1 || n > MaxBlockRows {
		return nil, nil, nil, errDamaged
	}
	shapes, slots = make([][]byte, n), make([][]slot, n)
	known := map[string][]slot{} // many records have the same shape
	for i := range shapes {
		var found bool
		if shapes[i], rest, found = bytes.Cut(rest, []byte{'\n'}); !found {
			return nil, nil, nil, errDamaged
		}
		if slots[i], found = known[string(shapes[i])]; !found {
			if slots[i], found = slotsOf(shapes[i], set); !found {
				return nil, nil, nil, errDamaged
			}
			known[string(shapes[i])] = slots[i]
		}
		for _, s := range slots[i] {
			set.counts[s.place]++
		}
	}
	return shapes, slots, rest, nil
}

// fromColumns returns the records of a text of toColumns that begins with columnsMark. A record for which the
// function wanted returns false is nil: a search needs few records of a block.
func fromColumns(text []byte, wanted func(index int) bool) ([][]byte, error) {
	set := newColumnSet()
	records, slots, rest, err := shapesOf(text[len(columnsMark):], set)
	if err != nil {
		return nil, err
	}
	var begins []int32 // of each value in rest, and of the end
	next := make([]int, len(set.counts))
	at := 0
	for i, count := range set.counts {
		next[i] = len(begins)
		for range count {
			size := bytes.IndexByte(rest[at:], '\n')
			if size < 0 {
				return nil, errDamaged
			}
			begins = append(begins, int32(at)) //nolint:gosec // a text has at most maxUnpacked octets
			at += size + 1
		}
	}
	if at < len(rest) {
		return nil, errDamaged
	}
	begins = append(begins, int32(at)) //nolint:gosec // as above
	for i, shape := range records {
		if !wanted(i) {
			for _, s := range slots[i] {
				next[s.place]++
			}
			records[i] = nil
			continue
		}
		record, last := make([]byte, 0, 2*len(shape)), 0
		for _, s := range slots[i] {
			n := next[s.place] // there are as many values as slots
			record = append(append(record, shape[last:s.begin]...), rest[begins[n]:begins[n+1]-1]...)
			next[s.place], last = n+1, s.end
		}
		records[i] = append(record, shape[last:]...)
	}
	return records, nil
}
