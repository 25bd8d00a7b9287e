package wholepath

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
)

var update = flag.Bool("update", false, "write doc.go from the table of bounds")

// TestBoundsAreDocumented checks that the package comment in doc.go contains the table bounds.
func TestBoundsAreDocumented(t *testing.T) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "limit\tvalue\tunit\tconfiguration\twhy")
	for _, b := range bounds {
		key := b.key
		if key == "" {
			key = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", b.name, b.value, b.unit, key, b.why)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("// Package wholepath tests the daemon as a whole. It runs sessions made by a fuzzer,\n" +
		"// compares results with other implementations, and checks the limits of the code.\n" +
		"//\n// # Limits\n//\n" +
		"// The table has the limits on everything that a stranger can make large, long or\n" +
		"// numerous. TestBounds compares the table with the code. The command\n" +
		"// go test ./internal/wholepath -update writes it.\n//\n")
	for line := range strings.Lines(table.String()) {
		want.WriteString("//\t" + strings.TrimRight(line, " \n") + "\n")
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
		t.Error("doc.go is not the table of bounds; run go test ./internal/wholepath -run Documented -update")
	}
}
