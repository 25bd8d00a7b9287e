package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"sekimori/internal/bench/load"
)

// result has the values of one station in one case. Most of them are medians over the rounds.
type result struct {
	Case       string  `json:"case"`
	Station    string  `json:"station"`
	CPU        float64 `json:"cpu_per_message_ms"`
	EOM        float64 `json:"end_of_message_p50_ms"`
	Message    float64 `json:"message_p50_ms"` // from MAIL to the answer to the end of the message
	Rate       float64 `json:"messages_per_second"`
	Peak       float64 `json:"peak_memory_mb"`
	DNS        float64 `json:"dns_queries_per_message"`
	Unexpected int64   `json:"unexpected"` // wrong results and errors in all rounds
	Messages   int64   `json:"messages"`   // number of messages in all rounds
}

func summarize(name, station string, summaries []*load.Summary) result {
	r := result{Case: name, Station: station}
	of := func(value func(*load.Summary) float64) float64 {
		values := make([]float64, len(summaries))
		for i, summary := range summaries {
			values[i] = value(summary)
		}
		return median(values)
	}
	r.CPU = of(func(r *load.Summary) float64 { return r.Server.CPUPerMessage })
	r.EOM = of(func(r *load.Summary) float64 { return r.EndOfMessage.P50 })
	r.Message = of(func(r *load.Summary) float64 { return r.Message.P50 })
	r.Rate = of(func(r *load.Summary) float64 { return r.PerSecond })
	r.Peak = of(func(r *load.Summary) float64 { return float64(r.Server.PeakBytes) / 1e6 })
	r.DNS = of(func(r *load.Summary) float64 { return r.DNSPerMessage })
	for _, summary := range summaries {
		r.Unexpected += summary.Mismatches + summary.Errors
		r.Messages += summary.Messages
	}
	return r
}

// median returns the middle value, or the mean of the two middle values. It returns 0 if there are
// no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// printTable writes the results as a Markdown table. The ratios are relative to sekimori, which is
// the first result of each case.
func printTable(w io.Writer, machine string, f floors, results []result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nfloors: one RSA-2048 verification %.4f ms, SHA-256 of 5 MB %.2f ms\n\n", machine, f.RSAVerify, f.SHA5MB)
	b.WriteString("| case | | CPU ms/message | ratio | end of message p50 ms | message p50 ms | messages/s | peak MB | DNS/message | " +
		"unexpected |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	var first result
	for _, r := range results {
		title := ""
		if r.Case != first.Case {
			first, title = r, r.Case
		}
		fmt.Fprintf(&b, "| %s | %s | %.3f | %.1f | %.2f | %.2f | %.0f | %.0f | %.3f | %d of %d |\n", title, r.Station,
			r.CPU, ratio(r.CPU, first.CPU), r.EOM, r.Message, r.Rate, r.Peak, r.DNS, r.Unexpected, r.Messages)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// machine returns a text with the CPU and the versions of the programs that were measured.
func machine(ctx context.Context, stations []station) string {
	cpu := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.TrimLeft(strings.TrimSpace(name), ": \t")
				break
			}
		}
	}
	out := fmt.Sprintf("%s, %d cores, %s", cpu, runtime.NumCPU(), runtime.Version())
	for _, s := range stations {
		if s.version == nil {
			continue
		}
		if v, err := exec.CommandContext(ctx, s.version[0], s.version[1:]...).Output(); err == nil {
			out += ", " + strings.Join(strings.Fields(string(v)), " ")
		}
	}
	return out
}
