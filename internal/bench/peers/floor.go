package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"runtime"
	"strings"
	"syscall"
	"time"

	"sekimori/internal/bench/traffic"
)

// primitives measures how long the cryptography takes on this machine. Every verifier must do it,
// so none can be faster.
type primitives struct {
	public    *rsa.PublicKey
	sum       [sha256.Size]byte
	signature []byte
	edPublic  ed25519.PublicKey
	edSig     []byte
	big       []byte
}

func newPrimitives() (*primitives, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	p := &primitives{public: &key.PublicKey, sum: sha256.Sum256([]byte("floor")), big: make([]byte, 1_000_000)}
	if p.signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, p.sum[:]); err != nil {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	p.edPublic, p.edSig = public, ed25519.Sign(private, p.sum[:])
	return p, p.verify()
}

// verify returns an error if a signature is wrong. Such a signature would be refused too soon.
func (p *primitives) verify() error {
	if !ed25519.Verify(p.edPublic, p.sum[:], p.edSig) {
		return errors.New("the signature of ed25519 is wrong")
	}
	return rsa.VerifyPKCS1v15(p.public, crypto.SHA256, p.sum[:], p.signature)
}

// floors are times in milliseconds.
type floors struct {
	RSAVerify     float64 `json:"rsa_2048_verify_ms"`
	Ed25519Verify float64 `json:"ed25519_verify_ms"`
	SHAMegabyte   float64 `json:"sha256_1mb_ms"`
}

func (p *primitives) measure() floors {
	return floors{
		RSAVerify:     perCall(func() { _ = rsa.VerifyPKCS1v15(p.public, crypto.SHA256, p.sum[:], p.signature) }),
		Ed25519Verify: perCall(func() { _ = ed25519.Verify(p.edPublic, p.sum[:], p.edSig) }),
		SHAMegabyte:   perCall(func() { sha256.Sum256(p.big) }),
	}
}

// perCall returns the CPU time of one call of f in milliseconds. It measures several batches of
// calls and returns the median of their means. Like the CPU time of the verifiers, it does not count
// the time in which other processes had the processor.
func perCall(f func()) float64 {
	const batches, batch = 7, 10 * time.Millisecond
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	means := make([]float64, batches)
	for i := range means {
		start, begin, calls := time.Now(), threadTime(), 0
		for ; time.Since(start) < batch || calls == 0; calls++ {
			f()
		}
		means[i] = float64(threadTime()-begin) / float64(time.Millisecond) / float64(calls)
	}
	return median(means)
}

// threadTime returns the CPU time of this thread.
func threadTime() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cryptography is what the messages of a corpus need of it, on average.
type cryptography struct{ rsa, ed25519, megabytes float64 }

func needs(c *traffic.Corpus) cryptography {
	var sum cryptography
	for _, s := range c.Sessions {
		for _, m := range s.Messages {
			sum.megabytes += float64(len(m.Body)) / 1e6
			for _, f := range m.Header {
				switch {
				case f.Name != "DKIM-Signature":
				case strings.Contains(f.Value, "ed25519"):
					sum.ed25519++
				default:
					sum.rsa++
				}
			}
		}
	}
	n := float64(c.Messages())
	return cryptography{sum.rsa / n, sum.ed25519 / n, sum.megabytes / n}
}

// of returns the time in milliseconds that the cryptography of one message takes.
func (f floors) of(c cryptography) float64 {
	return f.RSAVerify*c.rsa + f.Ed25519Verify*c.ed25519 + f.SHAMegabyte*c.megabytes
}
