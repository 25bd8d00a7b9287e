package wholepath

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write doc.go from the table of bounds")

// TestBoundsAreDocumented checks that the package comment in doc.go contains the list bounds.
func TestBoundsAreDocumented(t *testing.T) {
	var want strings.Builder
	want.WriteString("// Package wholepath tests the daemon as a whole. It runs sessions made by a fuzzer,\n" +
		"// compares results with other implementations, and checks the limits of the code.\n" +
		"//\n// # Limits\n//\n" +
		"// The list has the limits on everything that a stranger can make large, long or\n" +
		"// numerous, and the keys that change them. TestBounds compares it with the code. The command\n" +
		"// go test ./internal/wholepath -update writes it.\n//\n")
	// The columns are not aligned, so that a new limit changes one line of doc.go.
	for _, b := range bounds {
		key := ""
		if b.key != "" {
			key = " (" + b.key + ")"
		}
		fmt.Fprintf(&want, "//\t%s = %s %s%s: %s\n", b.name, b.value, b.unit, key, b.why)
	}
	want.WriteString("package wholepath\n")
	if *update {
		if err := os.WriteFile("doc.go", []byte(want.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("doc.go is not the list of bounds; run go test ./internal/wholepath -run Documented -update")
	}
}
