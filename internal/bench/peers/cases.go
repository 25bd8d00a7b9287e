package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"time"

	"sekimori/internal/bench/traffic"
)

// benchCase is one kind of traffic.
type benchCase struct {
	name        string
	corpus      traffic.Options
	connections int
	messages    int // number of messages to send; 0: as many as possible within the duration
	warmup      int
	delay       time.Duration // of every DNS answer
	roundTrip   time.Duration // time between two commands of the SMTP client
}

// cases returns the kinds of traffic that are measured. There are performance goals for each of
// them.
func cases() []benchCase {
	plain := traffic.Default()
	plain.Subdomains, plain.Domains, plain.Zipf = 0, 100, 1
	plain.Sizes, plain.Signatures, plain.SPF = one("2KB"), one("rsa"), one("1")
	plain.Policies, plain.Outcomes = one("reject"), one("pass")
	with := func(change func(*traffic.Options)) traffic.Options {
		o := plain
		change(&o)
		return o
	}
	const cold = 2000 // number of domains; each sends one message, so none is in a cache
	coldly := func(o *traffic.Options) {
		o.Zipf, o.Domains, o.Messages, o.PerSession = 0, cold, cold, 1
	}
	const delay = 20 * time.Millisecond
	return []benchCase{
		{name: "2 KB, one RSA-2048, warm, 64 connections", corpus: plain, connections: 64, warmup: 4000},
		{name: "5 MB, one RSA-2048, warm", corpus: with(func(o *traffic.Options) { o.Sizes, o.Messages = one("5MB"), 200 }), connections: 4,
			warmup: 100},
		{name: "200 KB, one RSA-2048, warm", corpus: with(func(o *traffic.Options) { o.Sizes = one("200KB") }), connections: 16, warmup: 2000},
		{name: "200 KB, five RSA-2048, warm", corpus: with(func(o *traffic.Options) { o.Sizes, o.Signatures = one("200KB"), one("five") }),
			connections: 16, warmup: 2000},
		{name: "2 KB, nothing cached, DNS 20 ms away", corpus: with(coldly), connections: 8, messages: cold, delay: delay},
		{name: "2 KB, SPF without include, nothing cached, DNS 20 ms away", corpus: with(func(o *traffic.Options) {
			coldly(o)
			o.SPF = one("0")
		}), connections: 8, messages: cold, delay: delay},
		{name: "2 KB, author at a subdomain, nothing cached, DNS 20 ms away", corpus: with(func(o *traffic.Options) {
			coldly(o)
			o.Subdomains = 100
		}), connections: 8, messages: cold, delay: delay},
		{name: "2 KB, nothing cached, DNS 20 ms away, SMTP client 10 ms", corpus: with(coldly), connections: 8, messages: cold, delay: delay,
			roundTrip: 10 * time.Millisecond},
		{name: "mixed traffic, Zipf, warm, 64 connections", corpus: func() traffic.Options {
			o := traffic.Default()
			o.Messages, o.Sizes = 3000, traffic.Mix{{Kind: "2KB", Weight: 65}, {Kind: "20KB", Weight: 30}, {Kind: "200KB", Weight: 5}}
			o.Signatures = traffic.Mix{{Kind: "rsa", Weight: 80}, {Kind: "five", Weight: 5}, {Kind: "none", Weight: 15}}
			return o
		}(), connections: 64, warmup: 3000},
	}
}

func one(kind string) traffic.Mix { return traffic.Mix{{Kind: kind, Weight: 1}} }

// floors are the times that the cryptography alone takes on this machine, in milliseconds. No
// verifier can be faster.
type floors struct {
	RSAVerify float64 `json:"rsa_2048_verify_ms"`
	SHA5MB    float64 `json:"sha256_5mb_ms"`
}

func measureFloors() floors {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return floors{}
	}
	sum := sha256.Sum256([]byte("floor"))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return floors{}
	}
	big := make([]byte, 5_000_000)
	return floors{
		RSAVerify: perCall(func() { _ = rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) }),
		SHA5MB:    perCall(func() { sha256.Sum256(big) }),
	}
}

// perCall returns the time of one call of f in milliseconds. It measures several batches of calls
// and returns the median of their means.
func perCall(f func()) float64 {
	const batches, batch = 9, 40 * time.Millisecond
	means := make([]float64, batches)
	for i := range means {
		start, calls := time.Now(), 0
		for ; time.Since(start) < batch; calls++ {
			f()
		}
		means[i] = float64(time.Since(start)) / float64(time.Millisecond) / float64(calls)
	}
	return median(means)
}
