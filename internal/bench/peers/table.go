package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"sekimori/internal/bench/load"
)

// report is everything that was measured.
type report struct {
	Machine string       `json:"machine"`
	Absent  []string     `json:"absent"` // sentences about what was not measured
	Cases   []caseResult `json:"cases"`
}

// caseResult has the results of one case.
type caseResult struct {
	Name   string  `json:"case"`
	Rate   float64 `json:"rate,omitempty"` // the rate that was asked for
	Floors floors  `json:"floors"`         // medians of the rounds
	// Cryptography is the CPU time in milliseconds that signatures and hashes of a message take.
	// Floor is that time and the CPU time of the milter that does nothing. It is 0 if that milter
	// was not measured.
	Cryptography float64  `json:"cryptography_ms"`
	Floor        float64  `json:"floor_ms"`
	Results      []result `json:"results"`
}

// result has the values of one station in one case.
type result struct {
	Station    string `json:"station"`
	role       role
	CPU        spread `json:"cpu_per_message_ms"`
	EOM        spread `json:"end_of_message_p50_ms"`
	Message    spread `json:"message_p50_ms"` // from MAIL (with a rate: from when it was due) to the answer to the end of the message
	Rate       spread `json:"messages_per_second"`
	Peak       spread `json:"peak_memory_mb"`
	DNS        spread `json:"dns_queries_per_message"`
	Unexpected int64  `json:"unexpected"` // wrong results and errors in all rounds
	Unsent     int64  `json:"unsent"`     // messages that the verifier was too slow for, in all rounds
	Messages   int64  `json:"messages"`   // number of messages in all rounds
}

// spread is the median of the rounds, the smallest and the largest value.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}
}

// text returns the spread with the given number of decimals, in the form 0.19 (0.18–0.21).
func (s spread) text(decimals int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", decimals, s.Median, decimals, s.Min, decimals, s.Max)
}

func newCaseResult(c benchCase, needs cryptography, rounds []floors, stations []station, summaries map[string][]*load.Summary) caseResult {
	of := func(value func(floors) float64) float64 {
		values := make([]float64, len(rounds))
		for i, f := range rounds {
			values[i] = value(f)
		}
		return median(values)
	}
	r := caseResult{Name: c.name, Rate: c.rate, Floors: floors{
		of(func(f floors) float64 { return f.RSAVerify }), of(func(f floors) float64 { return f.Ed25519Verify }),
		of(func(f floors) float64 { return f.SHAMegabyte }),
	}}
	r.Cryptography = r.Floors.of(needs)
	for _, st := range stations {
		list := summaries[st.name]
		if len(list) == 0 {
			continue
		}
		measured := summarize(st, list)
		r.Results = append(r.Results, measured)
		if st.name == nothingName {
			r.Floor = measured.CPU.Median + r.Cryptography
		}
	}
	return r
}

func summarize(st station, summaries []*load.Summary) result {
	r := result{Station: st.name, role: st.role}
	of := func(value func(*load.Summary) float64) spread {
		values := make([]float64, len(summaries))
		for i, summary := range summaries {
			values[i] = value(summary)
		}
		return spreadOf(values)
	}
	if summaries[0].Server != nil {
		r.CPU = of(func(r *load.Summary) float64 { return r.Server.CPUPerMessage })
		r.Peak = of(func(r *load.Summary) float64 { return float64(r.Server.PeakBytes) / 1e6 })
	}
	r.EOM = of(func(r *load.Summary) float64 { return r.EndOfMessage.P50 })
	r.Message = of(func(r *load.Summary) float64 { return r.Message.P50 })
	r.Rate = of(func(r *load.Summary) float64 { return r.PerSecond })
	r.DNS = of(func(r *load.Summary) float64 { return r.DNSPerMessage })
	for _, summary := range summaries {
		r.Unexpected += summary.Mismatches + summary.Errors
		r.Messages += summary.Messages
		if summary.Schedule != nil {
			r.Unsent += summary.Schedule.Unsent
		}
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

const head = "| case | | CPU ms/message | × sekimori | × floor | end of message p50 ms | × sekimori | messages/s | peak MB | DNS/message | unexpected |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|\n"

// write writes the report as JSON or as Markdown.
func (r report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	return r.print(w)
}

// print writes the report as Markdown: a table with the median, the smallest and the largest value
// of the rounds, then a list of what another verifier does better than sekimori.
func (r report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.Machine)
	for _, sentence := range r.Absent {
		fmt.Fprintf(&b, "%s\n\n", sentence)
	}
	b.WriteString(head)
	for _, c := range r.Cases {
		c.print(&b)
	}
	b.WriteString("\n")
	var leads []string
	for _, c := range r.Cases {
		leads = append(leads, c.leads()...)
	}
	if len(leads) == 0 {
		b.WriteString("No other verifier leads in any value.\n")
	} else {
		fmt.Fprintf(&b, "Where another verifier leads:\n\n- %s\n", strings.Join(leads, "\n- "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (c caseResult) print(b *strings.Builder) {
	us := c.ours()
	title := c.Name
	for _, r := range c.Results {
		state := fmt.Sprintf("%d of %d", r.Unexpected, r.Messages)
		if r.Unsent > 0 {
			state += fmt.Sprintf(", %d not sent in time", r.Unsent)
		}
		overFloor, cpu, peak, cpuRatio := "–", "–", "–", "–"
		if r.CPU.Max > 0 {
			cpu, peak, cpuRatio = r.CPU.text(3), fmt.Sprintf("%.0f", r.Peak.Median), ratio(r.CPU.Median, us.CPU.Median)
			if r.role != floor {
				overFloor = ratio(r.CPU.Median, c.Floor)
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %.0f | %s | %.2f | %s |\n", title, r.Station, cpu, cpuRatio, overFloor,
			r.EOM.text(2), ratio(r.EOM.Median, us.EOM.Median), r.Rate.Median, peak, r.DNS.Median, state)
		title = ""
	}
	fmt.Fprintf(b, "| | cryptography alone: RSA-2048 %.4f, SHA-256 of 1 MB %.3f | %.3f | %s | | | | | | | |\n", c.Floors.RSAVerify,
		c.Floors.SHAMegabyte, c.Cryptography, ratio(c.Cryptography, us.CPU.Median))
}

// ours returns sekimori's result. It is empty if sekimori was not measured.
func (c caseResult) ours() result {
	for _, r := range c.Results {
		if r.role == ours {
			return r
		}
	}
	return result{}
}

// leads returns a sentence for each value in which a peer is better than sekimori. A peer that did
// not keep the rate is not compared.
func (c caseResult) leads() []string {
	us := c.ours()
	var out []string
	for _, r := range c.Results {
		if r.role != peer || us.Messages == 0 || r.Unsent > 0 {
			continue
		}
		say := func(what, unit string, theirs, our spread) {
			out = append(out, fmt.Sprintf("%s: %s has %s %.3g%s, sekimori %.3g%s (× %s)", c.Name, r.Station, what, theirs.Median, unit, our.Median,
				unit, ratio(theirs.Median, our.Median)))
		}
		if r.CPU.Median < us.CPU.Median {
			say("CPU", " ms/message", r.CPU, us.CPU)
		}
		if r.EOM.Median < us.EOM.Median {
			say("end of message p50", " ms", r.EOM, us.EOM)
		}
		if c.Rate == 0 && r.Rate.Median > us.Rate.Median {
			say("messages/s", "", r.Rate, us.Rate)
		}
		if r.Peak.Median < us.Peak.Median {
			say("peak memory", " MB", r.Peak, us.Peak)
		}
	}
	return out
}

// ratio returns a/b as text, or a dash if b is 0.
func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
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
	out := fmt.Sprintf("%s, %d cores, %s; %s", cpu, runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format("2 January 2006 15:04 UTC"))
	if v, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		out += "; sekimori " + strings.TrimSpace(string(v))
	}
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
