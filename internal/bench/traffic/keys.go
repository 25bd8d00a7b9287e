package traffic

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"sync"
)

const (
	// rsaKeys is the number of RSA keys. A message with five signatures has one signature with each
	// of them. All domains use the same keys, and each domain publishes them under its own names.
	rsaKeys = 5
	rsaBits = 2048
)

// key is a key pair with its selector and its DKIM key record.
type key struct {
	selector string
	signer   crypto.Signer
	record   string // text of the TXT record
}

// Keys are the keys with which a corpus is signed.
type Keys []key

// NewKeys derives keys from the seed: rsaKeys RSA keys with the selectors r0, r1 and so on, and one
// Ed25519 key with the selector e0. Use them for test traffic only, because everybody who knows the
// seed can derive the private keys.
func NewKeys(seed uint64) (Keys, error) {
	keys := make(Keys, rsaKeys+1)
	errs := make([]error, rsaKeys)
	var work sync.WaitGroup
	for i := range rsaKeys {
		work.Go(func() { keys[i], errs[i] = newRSAKey(seed, i) })
	}
	work.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	var raw [ed25519.SeedSize]byte
	_, _ = stream(seed, "ed25519", 0).Read(raw[:])
	ed := ed25519.NewKeyFromSeed(raw[:])
	keys[rsaKeys] = key{"e0", ed, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(ed.Public().(ed25519.PublicKey))}
	return keys, nil
}

func newRSAKey(seed uint64, i int) (key, error) {
	// crypto/rsa ignores the given source of randomness since Go 1.26. The keys must depend on the
	// seed, so this function finds the primes itself.
	source := stream(seed, "rsa", i)
	p := prime(source)
	q := prime(source)
	one := big.NewInt(1)
	e := big.NewInt(65537)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	d := new(big.Int).ModInverse(e, phi)
	private := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())},
		D:         d, Primes: []*big.Int{p, q},
	}
	private.Precompute()
	if err := private.Validate(); err != nil {
		return key{}, fmt.Errorf("traffic: key %d: %w", i, err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return key{}, fmt.Errorf("traffic: key %d: %w", i, err)
	}
	return key{"r" + strconv.Itoa(i), private, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)}, nil
}

// prime returns a random prime p of rsaBits/2 bits for which p-1 is not divisible by 65537. It
// starts at a random odd number and takes the first suitable prime from there. The two top bits of
// that number are set. So the product of two such primes has rsaBits bits.
func prime(source *rand.ChaCha8) *big.Int {
	raw := make([]byte, rsaBits/16)
	_, _ = source.Read(raw)
	raw[0] |= 0xc0
	raw[len(raw)-1] |= 1
	start := new(big.Int).SetBytes(raw)
	small := smallPrimes()
	rest := make([]uint64, len(small))
	for i, p := range small {
		rest[i] = new(big.Int).Mod(start, new(big.Int).SetUint64(p)).Uint64()
	}
	e := big.NewInt(65537)
next:
	for step := uint64(0); ; step += 2 {
		for i, p := range small { // a cheap test that rules out most numbers
			if (rest[i]+step)%p == 0 {
				continue next
			}
		}
		p := new(big.Int).Add(start, new(big.Int).SetUint64(step))
		if p.ProbablyPrime(0) && new(big.Int).Mod(new(big.Int).Sub(p, big.NewInt(1)), e).Sign() != 0 {
			return p
		}
	}
}

// smallPrimes returns the odd primes below 4,000.
func smallPrimes() []uint64 {
	var out []uint64
next:
	for n := uint64(3); n < 4000; n += 2 {
		for _, p := range out {
			if n%p == 0 {
				continue next
			}
		}
		out = append(out, n)
	}
	return out
}

// stream returns a source of random octets that depends only on its arguments.
func stream(seed uint64, purpose string, n int) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "milterload %d %s %d", seed, purpose, n)))
}

func newRand(seed uint64, purpose string, n int) *rand.Rand {
	return rand.New(stream(seed, purpose, n))
}
