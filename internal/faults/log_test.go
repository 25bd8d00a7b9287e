package faults

import (
	"os"
	"testing"
)

// TestLogReaderGone closes the reader's end of the log, as "| head" and a restarted
// journald do. The daemon goes on judging mail, and counts the records that it
// could not write.
func TestLogReaderGone(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := startWith(t, settings{level: "info", stderr: writer})
	_ = writer.Close() // the daemon has its own copy
	_ = reader.Close()
	for range 3 {
		c, err := d.hello()
		if err != nil {
			t.Fatal(err)
		}
		if err := good(c, ""); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
	d.eventually("counted the records that were not written", func() bool { return d.metric("sekimori_log_records_dropped_total") >= 3 })
}
