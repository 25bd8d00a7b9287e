package suites

import (
	"os"
	"path/filepath"
	"testing"
)

// BIMI reads the files of a folder of the BIMI data ("certificates", "roots" or "svg"), by their names.
// The INDEX.md beside the folders says where each is from.
func BIMI(tb testing.TB, folder string) map[string][]byte {
	tb.Helper()
	dir := Path(tb, "bimi/"+folder)
	list, err := os.ReadDir(dir)
	if err != nil || len(list) == 0 {
		tb.Fatalf("%s: %d files, %v", dir, len(list), err)
	}
	files := map[string][]byte{}
	for _, f := range list {
		files[f.Name()] = readFile(tb, filepath.Join(dir, f.Name()))
	}
	return files
}
