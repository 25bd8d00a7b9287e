package config

import (
	"fmt"
	"strings"
	"testing"

	"sekimori/internal/report/destination"
)

// TestTooLongLists checks the limits on lists and texts of the section report.
func TestTooLongLists(t *testing.T) {
	list := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "d%d.example, ", i)
		}
		return b.String()
	}
	for format, n := range map[string]int{
		"report: {aggregate: {dnsbl: [%s]}}":  maxDNSBLs,
		"report: {aggregate: {always: [%s]}}": maxReportList,
		"report: {aggregate: {never: [%s]}}":  maxReportList,
		"report: {failure: {domains: [%s]}}":  maxReportList,
	} {
		if _, err := Parse("x", fmt.Appendf(nil, format, list(n))); err != nil {
			t.Errorf("%d: %.200v", n, err)
		}
		if _, err := Parse("x", fmt.Appendf(nil, format, list(n+1))); err == nil || !strings.Contains(err.Error(), "entries; at most") {
			t.Errorf("%d: %.200v", n+1, err)
		}
	}
	for _, key := range []string{"organization", "contact_info"} {
		if _, err := Parse("x", []byte("report: {"+key+": "+strings.Repeat("x", maxReportText)+"}")); err != nil {
			t.Error(err)
		}
		if _, err := Parse("x", []byte("report: {"+key+": "+strings.Repeat("x", maxReportText+1)+"}")); err == nil {
			t.Errorf("a long %s is accepted", key)
		}
	}
	// What is accepted here is also used.
	if maxReportAddresses != destination.MaxDestinations || maxDNSBLs != destination.MaxZones {
		t.Error("package destination has other limits")
	}
	for rows, ok := range map[int]bool{maxReportRows: true, maxReportRows + 1: false} {
		if _, err := Parse("x", fmt.Appendf(nil, "report: {aggregate: {max_rows: %d}}", rows)); (err == nil) != ok {
			t.Errorf("%d rows: %v", rows, err)
		}
	}
}
