package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sekimori/internal/bench/traffic"
)

// benchCase is one kind of traffic.
type benchCase struct {
	id          string // for the flag -cases
	name        string
	corpus      traffic.Options
	connections int
	messages    int           // number of messages to send; 0: as many as possible within the duration
	rate        float64       // messages a second; 0: as many as the verifier takes
	duration    time.Duration // of the measurement, if -duration is shorter
	warmup      int
	delay       time.Duration // of every DNS answer
	roundTrip   time.Duration // time between two commands of the SMTP client
	// asInstalled means that sekimori runs with its console, its metrics and a log record for each
	// message, and rspamd with a log line for each message. Otherwise all verifiers run without.
	asInstalled bool
	postfix     bool // the mail goes through a real Postfix
}

const (
	cold  = 2000 // number of domains; each sends one message, so none is in a cache
	delay = 20 * time.Millisecond
)

// plain returns options for the simplest mail: 2 KB with one RSA signature.
func plain(changes ...func(*traffic.Options)) traffic.Options {
	o := traffic.Default()
	o.Subdomains, o.Domains, o.Zipf = 0, 100, 1
	o.Sizes, o.Signatures, o.SPF = one("2KB"), one("rsa"), one("1")
	o.Policies, o.Outcomes = one("reject"), one("pass")
	for _, change := range changes {
		change(&o)
	}
	return o
}

func one(kind string) traffic.Mix { return traffic.Mix{{Kind: kind, Weight: 1}} }

func size(kind string) func(*traffic.Options) {
	return func(o *traffic.Options) { o.Sizes = one(kind) }
}

func spf(kind string) func(*traffic.Options) {
	return func(o *traffic.Options) { o.SPF = one(kind) }
}

// single makes each connection carry one message, as most connections to a mail host do.
func single(o *traffic.Options) { o.PerSession = 1 }

func uncached(o *traffic.Options) { o.Zipf, o.Domains, o.Messages, o.PerSession = 0, cold, cold, 1 }

// spoofed makes every second message a spoof. The 500 domains have every policy.
func spoofed(o *traffic.Options) {
	o.Domains, o.Outcomes = 500, traffic.Mix{{Kind: "pass", Weight: 50}, {Kind: "spoof", Weight: 50}}
	o.Policies = traffic.Mix{{Kind: "reject", Weight: 1}, {Kind: "quarantine", Weight: 1}, {Kind: "none", Weight: 1}, {Kind: "absent", Weight: 1}}
}

// mixed returns options for mail of several sizes, signatures, policies and outcomes.
func mixed() traffic.Options {
	o := traffic.Default()
	o.Messages, o.Sizes = 3000, traffic.Mix{{Kind: "2KB", Weight: 65}, {Kind: "20KB", Weight: 30}, {Kind: "200KB", Weight: 5}}
	o.Signatures = traffic.Mix{{Kind: "rsa", Weight: 80}, {Kind: "five", Weight: 5}, {Kind: "none", Weight: 15}}
	return o
}

// cases returns the kinds of traffic that are measured.
func cases() []benchCase {
	five := func(o *traffic.Options) { o.Signatures = one("five") }
	all := []benchCase{
		{id: "warm", name: "2 KB, one RSA-2048, warm, 64 connections", corpus: plain(), connections: 64, warmup: 4000},
		{id: "single", name: "2 KB, warm, one connection a message, console and info log on, 64 connections", corpus: plain(single),
			connections: 64, warmup: 4000, asInstalled: true},
	}
	for _, rate := range []float64{50, 200, 1000} {
		all = append(all, benchCase{id: fmt.Sprintf("rate%g", rate), name: fmt.Sprintf("the same at %g messages/s", rate), corpus: plain(single),
			connections: 64, rate: rate, duration: 6 * time.Second, warmup: 1000, asInstalled: true})
	}
	all = append(all,
		benchCase{id: "cold", name: "2 KB, nothing cached, DNS 20 ms away, 8 connections", corpus: plain(uncached), connections: 8, messages: cold,
			delay: delay},
		benchCase{id: "cold-noinclude", name: "the same, SPF without include", corpus: plain(uncached, spf("0")), connections: 8, messages: cold,
			delay: delay},
		benchCase{id: "cold-subdomain", name: "the same with the include, author at a subdomain", connections: 8, messages: cold, delay: delay,
			corpus: plain(uncached, func(o *traffic.Options) { o.Subdomains = 100 })},
		benchCase{id: "cold-client", name: "the same with the include, SMTP client 10 ms away", corpus: plain(uncached), connections: 8,
			messages: cold, delay: delay, roundTrip: delay / 2},
		benchCase{id: "terms", name: "2 KB, nothing cached, DNS 20 ms away, SPF a mx include include and one include below, 64 connections",
			corpus: plain(uncached, spf("terms")), connections: 64, messages: cold, delay: delay, duration: 4 * time.Second, asInstalled: true},
		benchCase{id: "spoofs", name: "2 KB, warm, 500 domains, half spoofs, every policy, 64 connections", corpus: plain(spoofed), connections: 64,
			warmup: 4000},
		benchCase{id: "mixed", name: "mixed traffic, Zipf, warm, 64 connections", corpus: mixed(), connections: 64, warmup: 3000},
		benchCase{id: "200kb", name: "200 KB, one RSA-2048, warm, 16 connections", corpus: plain(size("200KB")), connections: 16, warmup: 2000},
		benchCase{id: "200kb-five", name: "200 KB, five RSA-2048, warm, 16 connections", corpus: plain(size("200KB"), five), connections: 16,
			warmup: 2000},
		benchCase{id: "5mb", name: "5 MB, one RSA-2048, warm, 4 connections", connections: 4, warmup: 100,
			corpus: plain(size("5MB"), func(o *traffic.Options) { o.Messages = 200 })})
	return append(all, behindPostfix()...)
}

// behindPostfix returns the cases in which the mail goes through a real Postfix.
func behindPostfix() []benchCase {
	c := benchCase{corpus: plain(single), connections: 20, duration: 6 * time.Second, warmup: 500, asInstalled: true, postfix: true}
	all := make([]benchCase, 0, 3)
	for _, rate := range []float64{50, 200} {
		c.id, c.rate = fmt.Sprintf("postfix%g", rate), rate
		c.name = fmt.Sprintf("2 KB through Postfix, warm, one connection a message, %g messages/s", rate)
		all = append(all, c)
	}
	c.id, c.rate, c.name = "postfix", 0, "the same, 20 clients without a pause"
	return append(all, c)
}

// chosen returns the cases with the given ids, which are separated by commas. An id may end in *.
func chosen(ids string) ([]benchCase, error) {
	if ids == "" {
		return cases(), nil
	}
	var out []benchCase
	for id := range strings.SplitSeq(ids, ",") {
		found := slices.DeleteFunc(cases(), func(c benchCase) bool {
			prefix, several := strings.CutSuffix(id, "*")
			return c.id != id && (!several || !strings.HasPrefix(c.id, prefix))
		})
		if len(found) == 0 {
			var known []string
			for _, c := range cases() {
				known = append(known, c.id)
			}
			return nil, fmt.Errorf("no case %q; the cases are %s", id, strings.Join(known, ", "))
		}
		out = append(out, found...)
	}
	return out, nil
}
