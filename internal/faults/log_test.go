package faults

import (
	"os"
	"testing"
)

// TestLogReaderGone closes the reading end of the log pipe, as happens with "| head" or when
// journald restarts. The daemon must go on evaluating mail, and must count the log records that it
// could not write.
func TestLogReaderGone(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := startWith(t, settings{level: "info", stderr: writer})
	_ = writer.Close() // the daemon has its own copy of the descriptor
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
