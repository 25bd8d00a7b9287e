package strict

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// engine is the configuration that the tests decode.
type engine struct {
	Name    string  `yaml:"name"`
	Running bool    `yaml:"running"`
	Wheels  []wheel `yaml:"wheels"`
	Spare   wheel   `yaml:"spare"`
}

type wheel struct {
	Inches int `yaml:"inches"`
}

// TestDecode checks that every mistake is reported with its place, that valid
// values are decoded, and that all other values stay unchanged.
func TestDecode(t *testing.T) {
	for _, tt := range []struct {
		why, in string
		want    engine
		wrong   []string
	}{
		{"nothing is given", "", engine{Name: "default"}, nil},
		{"all is given", "name: a\nrunning: true\nwheels: [{inches: 16}]\nspare: {inches: 15}\n", engine{"a", true, []wheel{{16}}, wheel{15}}, nil},
		{"two mistakes", "name: b\nrunning: yes\nspare: {inches: 1.5}\n", engine{Name: "b"}, []string{
			"config: f:2:10: running: text where there should be true or false",
			"config: f:3:17: spare.inches: a number where there should be a whole number",
		}},
		{"an old key", "tyre: {inches: 15}\n", engine{Name: "default"}, []string{"config: f:1:1: unknown key \"tyre\"; write spare instead"}},
		{"two documents", "name: a\n---\nname: b\n", engine{Name: "default"}, []string{"config: f:3:5: a second document"}},
	} {
		doc, got := Parse("f", []byte(tt.in)), engine{Name: "default"}
		doc.Decode(&got, map[string]string{"tyre": "spare"})
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v", tt.why, got)
		}
		err := doc.Err()
		if err == nil && tt.wrong == nil {
			continue
		}
		var all *Error
		if !errors.As(err, &all) || len(all.Problems) != len(tt.wrong) {
			t.Errorf("%s: %v", tt.why, err)
			continue
		}
		for _, want := range tt.wrong {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %s", tt.why, err, want)
			}
		}
	}
}

// TestAdd checks that Add leaves out a problem with a key that already has a
// problem, and keeps the others.
func TestAdd(t *testing.T) {
	doc := Parse("f", []byte("name: [a]\nspare: {inches: 15}\n"))
	doc.Decode(&engine{}, nil)
	doc.Add([]Problem{{Path: "name", Message: "is empty"}, {Path: "spare.inches", Message: "is odd"}})
	doc.Add([]Problem{{Path: "x", Line: 1, Column: 1}})
	err := doc.Err()
	var all *Error
	if !errors.As(err, &all) || len(all.Problems) != 3 || all.Problems[0].Path != "x" || all.Problems[2].Path != "spare.inches" {
		t.Errorf("not in the order of their places: %v", err)
	}
	if err == nil || strings.Contains(err.Error(), "is empty") || !strings.Contains(err.Error(), "f:2:17: spare.inches: is odd") {
		t.Error(err)
	}
}

// TestErrorOfNoFile checks that problems of a nil Document are reported without
// line and column.
func TestErrorOfNoFile(t *testing.T) {
	var none *Document
	if err := none.ErrorOf([]Problem{{Path: "name", Message: "is empty"}}); err == nil || err.Error() != "config: name: is empty" {
		t.Error(err)
	}
	if err := none.ErrorOf(nil); err != nil {
		t.Error(err)
	}
}
