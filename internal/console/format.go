package console

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"sekimori/internal/printable"
	"sekimori/internal/recent"
)

// funcs returns the functions that the templates use to format values.
func funcs() template.FuncMap {
	return template.FuncMap{
		"safe":    func(v any) string { return printable.Value(fmt.Sprint(v)) },
		"visible": printable.Text, // keeps line breaks; the function "safe" does not
		"num":     number, "percent": percent, "part": part, "dur": duration, "seconds": seconds, "bytes": octets,
		"clock": clock, "stamp": func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
		"iso": func(t time.Time) string { return t.UTC().Format(time.RFC3339) }, "nano": time.Time.UnixNano,
		"verdict": verdictClass, "result": resultClass, "zone": zone, "bare": recent.BarePath,
		"looks": looksClass, "half": func(n int) int { return n / 2 },
		// The style sheet has a class for each depth from 0 to 8.
		"depth": func(n int) int { return max(0, min(n, 8)) },
	}
}

// zone names the time zone of t, such as "CET (UTC+01:00)".
func zone(t time.Time) string {
	name, offset := t.Zone()
	utc := "UTC" + t.Format("-07:00")
	switch {
	case offset == 0 && (name == "UTC" || name == ""):
		return "UTC"
	case name == "" || name[0] == '+' || name[0] == '-': // the zone has no abbreviation
		return utc
	}
	return name + " (" + utc + ")"
}

func clock(t time.Time) string { return t.Format("15:04") }

// number formats n in groups of three digits, such as 12 345.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u2009" + s[i:] // thin space
	}
	return s
}

// percent formats a percentage, and never rounds it up: "100 %" means all. Values below 10 and above
// 99 get one decimal. A positive value below 0.1 becomes "<0.1 %", and a value between 99.9 and 100
// becomes ">99.9 %".
func percent(p float64) string {
	switch {
	case p > 0 && p < 0.1:
		return "<0.1 %"
	case p > 99.9 && p < 100:
		return ">99.9 %"
	case p > 0 && p < 10, p > 99 && p < 100:
		return strconv.FormatFloat(math.Floor(p*10)/10, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(math.Floor(p), 'f', 0, 64) + " %"
}

// part formats n of a whole as a percentage.
func part(n, of int64) string {
	if of == 0 {
		return "-"
	}
	return percent(100 * float64(n) / float64(of))
}

// duration formats d in its two largest units, or in one unit if d is shorter than a
// minute.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(-d)
	case d >= 24*time.Hour:
		return fmt.Sprintf("%d d %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d == 0:
		return "0 s"
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

func seconds(s float64) string { return duration(time.Duration(s * float64(time.Second))) }

func octets(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + units[i]
}
