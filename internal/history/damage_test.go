package history

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"

	"sekimori/internal/testkit/octets"
)

// TestColumns shows the text of a block whose records are JSON.
func TestColumns(t *testing.T) {
	lines := `{"a":1,"b":["x",2,{"a":"\",\\"}]}` + "\n" + `{"a":3,"b":[]}` + "\n"
	want := columnsMark + "2\n" + `{"a":0,"b":[0,0,{"a":0}]}` + "\n" + `{"a":0,"b":[]}` + "\n" + "1\n3\n\"x\"\n2\n" + `"\",\\"` + "\n"
	got := toColumns([]byte(lines))
	if string(got) != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	for n := len(columnsMark); n < len(got); n++ {
		if records, err := fromColumns(got[:n:n], every); err == nil {
			t.Errorf("cut at octet %d of %d: %q", n, len(got), records)
		}
	}
	if records, err := fromColumns(append(slices.Clone(got), "1\n"...), every); err == nil {
		t.Errorf("with a value too many: %q", records)
	}
	for _, text := range []string{"1\n{}", "1\n{\n", "1\n{\"a\":0\n1\n", "2\n{}\n", "0\n", "-1\n", "x\n{}\n", "10000000\n{}\n"} {
		if records, err := fromColumns([]byte(columnsMark+text), every); err == nil {
			t.Errorf("%q: %q", text, records)
		}
	}
}

// TestColumnsOfAnything packs each short sequence of pieces of JSON. It must come back as it was.
func TestColumnsOfAnything(t *testing.T) {
	for word := range octets.Words(5, "{", "}", "[", "]", ",", `"a"`, ":", "1", `"`, `\`) {
		lines := word + "\n" + `{"a":"b"}` + "\n"
		text := toColumns([]byte(lines))
		if !bytes.HasPrefix(text, []byte(columnsMark)) {
			if string(text) != lines {
				t.Fatalf("%q became %q", lines, text)
			}
			continue
		}
		records, err := fromColumns(text, every)
		if err != nil || string(bytes.Join(records, []byte("\n"))) != strings.TrimSuffix(lines, "\n") {
			t.Fatalf("%q became %q, then %q, %v", lines, text, records, err)
		}
	}
}

// TestDecodeDamage decodes batches whose digest is right, and nothing else.
func TestDecodeDamage(t *testing.T) {
	want := batch()
	data := Encode(&want)
	data = data[:len(data)-sha256.Size]
	for n := range data {
		if b, err := Decode(sealed(slices.Clone(data[:n]))); err == nil {
			t.Errorf("cut at octet %d of %d: %+v", n, len(data), b)
		}
	}
	if b, err := Decode(sealed(append(slices.Clone(data), 0))); err == nil {
		t.Errorf("with an octet too many: %+v", b)
	}
	if b, err := Decode(sealed(append([]byte(magic), bytes.Repeat([]byte{0xff}, 20)...))); err == nil {
		t.Errorf("with a number that is too large: %+v", b)
	}
	for i := range magic {
		other := slices.Clone(data)
		other[i]++
		if b, err := Decode(sealed(other)); err == nil {
			t.Errorf("of another version: %+v", b)
		}
	}
	empty := Encode(&Batch{ID: "id", Host: "h"}) // which the other versions write alike
	for i := range magic {
		other := slices.Clone(empty[:len(empty)-sha256.Size])
		other[i] ^= 0x20
		if b, err := Decode(sealed(other)); err == nil {
			t.Errorf("an empty one of another version: %+v", b)
		}
	}
	want.ID = ""
	if b, err := Decode(Encode(&want)); err == nil {
		t.Errorf("without an id: %+v", b)
	}
}
