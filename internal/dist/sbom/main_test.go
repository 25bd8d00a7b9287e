package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime/debug"
	"testing"
)

// TestOwn makes the bill of materials of the test program twice. Both must be identical, and the
// first component must be the standard library.
func TestOwn(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first, again bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &again} {
		if err := run(self, "1.0", out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Error("two runs differ")
	}
	var b bom
	if err := json.Unmarshal(first.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Version != "1.0" || b.Components[0].Name != "std" {
		t.Errorf("%+v", b)
	}
}

func TestDescribe(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Path: "sekimori"}, Deps: []*debug.Module{
		{Path: "a.example/m", Version: "v1.2.3", Sum: "h1:AAAA"},
		{Path: "b.example/m", Version: "v1", Replace: &debug.Module{Path: "c.example/m", Version: "v2"}},
	}}
	b, err := describe(info, "1")
	if err != nil {
		t.Fatal(err)
	}
	if m := b.Components[1]; m.PURL != "pkg:golang/a.example/m@v1.2.3" || m.Hashes[0].Content != "000000" {
		t.Errorf("%+v", m)
	}
	if m := b.Components[2]; m.Name != "c.example/m" || m.Hashes != nil {
		t.Errorf("a replaced module is what replaces it: %+v", m)
	}
	info.Deps[0].Sum = "h1:?"
	if _, err := describe(info, "1"); err == nil {
		t.Error("a checksum that is none was taken")
	}
	if err := run("/dev/null", "1", new(bytes.Buffer)); err == nil {
		t.Error("a file that is no program was described")
	}
}
