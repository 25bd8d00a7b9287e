package attack

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	codec "github.com/miekg/dns"

	"sekimori/internal/config"
	"sekimori/internal/testkit/nameserver"
	"sekimori/internal/testkit/signer"
)

// liar is a name server. It answers correctly from bankZone, except for questions about keys and
// about names below chain.example: these are answered by the function lie.
type liar struct {
	*nameserver.Server
	mu sync.Mutex
	// lie returns the messages to send in answer to a question. Over TCP they are sent without
	// change, so lie itself must put the length before each message.
	lie   func(q *codec.Msg, tcp bool) [][]byte
	asked int
}

func newLiar(t *testing.T) *liar {
	t.Helper()
	l := &liar{}
	l.Server = nameserver.Serve(t, bankZone, nameserver.Options{Lie: l.answer})
	return l
}

func (l *liar) answer(query []byte, tcp bool) (out [][]byte, lied bool) {
	q := new(codec.Msg)
	if q.Unpack(query) != nil || len(q.Question) != 1 {
		return nil, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	name := nameserver.QuestionName(query)
	if strings.Contains(name, "_domainkey") || strings.HasSuffix(name, "chain.example.") {
		return l.lie(q, tcp), true
	}
	return nil, false
}

func txtRR(owner, text string) *codec.TXT {
	rr := &codec.TXT{Hdr: codec.RR_Header{Name: owner, Rrtype: codec.TypeTXT, Class: codec.ClassINET, Ttl: 60}}
	for first := true; first || text != ""; first = false {
		n := min(len(text), 255)
		rr.Txt = append(rr.Txt, text[:n])
		text = text[n:]
	}
	return rr
}

func cname(owner, target string) *codec.CNAME {
	return &codec.CNAME{Hdr: codec.RR_Header{Name: owner, Rrtype: codec.TypeCNAME, Class: codec.ClassINET, Ttl: 60}, Target: target}
}

func pack(m *codec.Msg) []byte {
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return wire
}

func framed(wire []byte, tcp bool) [][]byte {
	if tcp {
		wire = nameserver.Framed(wire)
	}
	return [][]byte{wire}
}

// reply returns a message that answers q with the given records.
func reply(q *codec.Msg, rrs ...codec.RR) *codec.Msg {
	m := new(codec.Msg).SetReply(q)
	m.Answer = rrs
	return m
}

// TestDNSLies tries many answers to the question for the bank's key. Each answer is tried twice:
// with mail that the bank signed, whose DKIM result must be the one in "want", and with mail that
// the attacker signed, which must not pass.
func TestDNSLies(t *testing.T) {
	l := newLiar(t)
	r := newRig(t, l.Addr(), func(c *config.Config) { c.DNS.Timeout = config.Duration(150 * time.Millisecond) })
	bank, evil := edRecord(bankKey()), edRecord(evilKey())
	const key = keyName + "."
	honest := func(q *codec.Msg) []byte { return pack(reply(q, txtRR(q.Question[0].Name, bank))) }
	// wires returns a lie that calls the given functions in their order and sends the message that
	// each of them returns.
	wires := func(lies ...func(q *codec.Msg) []byte) func(*codec.Msg, bool) [][]byte {
		return func(q *codec.Msg, tcp bool) (out [][]byte) {
			for _, lie := range lies {
				out = append(out, framed(lie(q), tcp)...)
			}
			return out
		}
	}
	msg := func(f func(q, m *codec.Msg)) func(q *codec.Msg) []byte {
		return func(q *codec.Msg) []byte {
			m := reply(q, txtRR(q.Question[0].Name, evil))
			f(q, m)
			return pack(m)
		}
	}
	otherID := msg(func(_, m *codec.Msg) { m.Id++ })
	otherQuestion := msg(func(_, m *codec.Msg) { m.Question[0].Name = "s._domainkey.evil.example." })
	otherType := msg(func(_, m *codec.Msg) { m.Question[0].Qtype = codec.TypeA })
	otherClass := msg(func(_, m *codec.Msg) { m.Question[0].Qclass = codec.ClassCHAOS })
	noQuestion := msg(func(_, m *codec.Msg) { m.Question = nil })
	twoQuestions := msg(func(_, m *codec.Msg) { m.Question = append(m.Question, m.Question[0]) })
	aQuery := msg(func(_, m *codec.Msg) { m.Response = false })
	update := msg(func(_, m *codec.Msg) { m.Opcode = codec.OpcodeUpdate })
	short := func(q *codec.Msg) []byte { return honest(q)[:7] }
	noise := func(*codec.Msg) []byte { return []byte(strings.Repeat("\xc0\x0c", 300)) }
	// truncated returns a lie. Over UDP, it sends a truncated answer. Over TCP, it sends the
	// messages that the function "overTCP" returns.
	truncated := func(overTCP func(q *codec.Msg) [][]byte) func(*codec.Msg, bool) [][]byte {
		return func(q *codec.Msg, tcp bool) [][]byte {
			if tcp {
				return overTCP(q)
			}
			m := reply(q)
			m.Truncated = true
			return [][]byte{pack(m)}
		}
	}
	for _, tc := range []struct {
		why  string
		lie  func(q *codec.Msg, tcp bool) [][]byte
		want string
	}{
		{"the truth", wires(honest), "pass"},
		{"another id first", wires(otherID, honest), "pass"},
		{"another question first", wires(otherQuestion, honest), "pass"},
		{"another type first", wires(otherType, honest), "pass"},
		{"another class first", wires(otherClass, honest), "pass"},
		{"no question first", wires(noQuestion, honest), "pass"},
		{"two questions first", wires(twoQuestions, honest), "pass"},
		{"a query first", wires(aQuery, honest), "pass"},
		{"an update first", wires(update, honest), "pass"},
		{"half a header first", wires(short, honest), "pass"},
		{"noise first", wires(noise, honest), "pass"},
		{"a hundred forgeries first", wires(append(repeat(100, otherID), honest)...), "pass"},
		{"only another id", wires(otherID), "temperror/dns_timeout"},
		{"only another question", wires(otherQuestion), "temperror/dns_timeout"},
		{"only noise", wires(noise), "temperror/dns_timeout"},
		{"nothing", wires(), "temperror/dns_timeout"},

		{"the question in capitals", wires(msg(func(_, m *codec.Msg) {
			m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
			m.Answer[0] = txtRR(m.Question[0].Name, bank)
		})), "pass"},
		{"the record of another owner", wires(msg(func(_, m *codec.Msg) { m.Answer[0].Header().Name = "s._domainkey.evil.example." })), "permerror/key_not_found"},
		{"the records of others around the truth", wires(msg(func(q, m *codec.Msg) {
			m.Answer = []codec.RR{txtRR("evil.example.", evil), txtRR(q.Question[0].Name, bank), txtRR("x."+key, evil)}
		})), "pass"},
		{"in the class CH", wires(msg(func(_, m *codec.Msg) { m.Answer[0].Header().Class = codec.ClassCHAOS })), "permerror/key_not_found"},
		{"as an additional record", wires(msg(func(_, m *codec.Msg) { m.Extra, m.Answer = m.Answer, nil })), "permerror/key_not_found"},
		{"in the authority section", wires(msg(func(_, m *codec.Msg) { m.Ns, m.Answer = m.Answer, nil })), "permerror/key_not_found"},
		{"NXDOMAIN and a record", wires(msg(func(_, m *codec.Msg) { m.Rcode = codec.RcodeNameError })), "temperror/dns_malformed"},
		{"SERVFAIL and a record", wires(msg(func(_, m *codec.Msg) { m.Rcode = codec.RcodeServerFailure })), "temperror/dns_servfail"},
		{"REFUSED and a record", wires(msg(func(_, m *codec.Msg) { m.Rcode = codec.RcodeRefused })), "temperror/dns_refused"},
		{"FORMERR and a record", wires(msg(func(_, m *codec.Msg) { m.Rcode = codec.RcodeFormatError })), "temperror/dns_servfail"},
		{"a referral", wires(func(q *codec.Msg) []byte {
			m := reply(q)
			m.Ns = []codec.RR{&codec.NS{Hdr: codec.RR_Header{Name: "bank.example.", Rrtype: codec.TypeNS, Class: codec.ClassINET}, Ns: "ns.evil.example."}}
			return pack(m)
		}), "temperror/dns_servfail"},
		{"TTL 0", wires(func(q *codec.Msg) []byte {
			rr := txtRR(q.Question[0].Name, bank)
			rr.Hdr.Ttl = 0
			return pack(reply(q, rr))
		}), "pass"},
		{"a TTL with the sign bit", wires(func(q *codec.Msg) []byte {
			rr := txtRR(q.Question[0].Name, bank)
			rr.Hdr.Ttl = 1 << 31
			return pack(reply(q, rr))
		}), "pass"},

		{"an owner that points to itself", wires(func(q *codec.Msg) []byte { return withAnswer(q, "\xc0LL") }), "temperror/dns_malformed"},
		{"an owner that points beyond the end", wires(func(q *codec.Msg) []byte { return withAnswer(q, "\xff\xff") }), "temperror/dns_malformed"},
		{"owners that point to each other", wires(func(q *codec.Msg) []byte { return withAnswer(q, "\x01a\xc0LL") }), "temperror/dns_malformed"},
		{"data longer than the message", wires(func(q *codec.Msg) []byte {
			return withAnswer(q, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\xff\xff\x05abcde")
		}), "temperror/dns_malformed"},
		{"a string longer than its record", wires(func(q *codec.Msg) []byte {
			return withAnswer(q, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x03\xffab")
		}), "temperror/dns_malformed"},
		{"a record without data", wires(func(q *codec.Msg) []byte { return withAnswer(q, "\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3c\x00\x00") }),
			"permerror/key_not_found"},
		{"a count of 65,535 records", wires(func(q *codec.Msg) []byte {
			wire := honest(q)
			wire[6], wire[7] = 0xff, 0xff
			return wire
		}), "temperror/dns_malformed"},
		{"a count of 300 records and not all of them", truncated(func(q *codec.Msg) [][]byte {
			wire := honest(q)
			wire[6], wire[7] = 300>>8, 300&0xff
			return framed(wire, true)
		}), "temperror/dns_malformed"},

		{"a CNAME to the key", wires(func(q *codec.Msg) []byte {
			return pack(reply(q, cname(q.Question[0].Name, "a.chain.example."), txtRR("a.chain.example.", bank)))
		}), "pass"},
		{"a CNAME to itself", wires(func(q *codec.Msg) []byte { return pack(reply(q, cname(q.Question[0].Name, q.Question[0].Name))) }), "permerror/dns_loop"},
		{"a loop of two", wires(func(q *codec.Msg) []byte {
			return pack(reply(q, cname(q.Question[0].Name, "a.chain.example."), cname("a.chain.example.", q.Question[0].Name)))
		}), "permerror/dns_loop"},
		{"a chain that never ends", wires(func(q *codec.Msg) []byte {
			return pack(reply(q, cname(q.Question[0].Name, fmt.Sprintf("c%d.chain.example.", l.asked))))
		}), "permerror/dns_too_large"},
		{"a CNAME beside the key of a name it does not lead to", wires(func(q *codec.Msg) []byte {
			m := reply(q, cname(q.Question[0].Name, "a.chain.example."), txtRR("b.chain.example.", evil))
			m.Rcode = codec.RcodeNameError
			return pack(m)
		}), "permerror/key_not_found"},

		{"over TCP", truncated(func(q *codec.Msg) [][]byte { return framed(honest(q), true) }), "pass"},
		{"truncated over TCP too", truncated(func(q *codec.Msg) [][]byte {
			m := reply(q, txtRR(q.Question[0].Name, evil))
			m.Truncated = true
			return framed(pack(m), true)
		}), "temperror/dns_malformed"},
		{"TCP ends inside the answer", truncated(func(q *codec.Msg) [][]byte {
			wire := framed(honest(q), true)[0]
			return [][]byte{wire[:len(wire)-20]}
		}), "temperror/dns_network"},
		{"TCP closes at once", truncated(func(*codec.Msg) [][]byte { return nil }), "temperror/dns_network"},
		{"TCP with another id first", truncated(func(q *codec.Msg) [][]byte { return append(framed(otherID(q), true), framed(honest(q), true)...) }), "pass"},
		{"TCP with an empty message first", truncated(func(q *codec.Msg) [][]byte { return append([][]byte{{0, 0}}, framed(honest(q), true)...) }), "pass"},
		{"60 KB of text", truncated(func(q *codec.Msg) [][]byte {
			return framed(pack(reply(q, txtRR(q.Question[0].Name, strings.Repeat("x", 60_000)))), true)
		}), "permerror/dns_too_large"},
		{"32 KiB of text with the key", truncated(func(q *codec.Msg) [][]byte {
			return framed(pack(reply(q, txtRR(q.Question[0].Name, strings.Repeat("x", 32<<10-len(bank))), txtRR(q.Question[0].Name, bank))), true)
		}), "pass"},
		{"one octet more", truncated(func(q *codec.Msg) [][]byte {
			return framed(pack(reply(q, txtRR(q.Question[0].Name, strings.Repeat("x", 32<<10-len(bank)+1)), txtRR(q.Question[0].Name, bank))), true)
		}), "permerror/dns_too_large"},
		{"300 records", truncated(func(q *codec.Msg) [][]byte {
			m := reply(q)
			for i := range 300 {
				m.Answer = append(m.Answer, txtRR(q.Question[0].Name, fmt.Sprint(i)))
			}
			return framed(pack(m), true)
		}), "permerror/dns_too_large"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			l.mu.Lock()
			l.lie, l.asked = tc.lie, 0
			l.mu.Unlock()
			expectDKIM(t, r.send(t, shot{raw: signer.DKIM(t, bankKey(), tags(""), bankMail)}), tc.want)
			g := r.send(t, shot{raw: signer.DKIM(t, evilKey(), tags(""), bankMail)})
			if words := g.words("dkim", "dmarc"); strings.Contains(words, "pass") {
				t.Errorf("the attacker's signature: %s", words)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.asked > 2*40 {
				t.Errorf("%d questions for two messages", l.asked)
			}
		})
	}
}

func repeat[T any](n int, v T) (out []T) {
	for range n {
		out = append(out, v)
	}
	return out
}

// withAnswer returns a reply whose header announces one record and whose answer section has the
// octets of raw. "LL" in raw is replaced by the low octet of a pointer to the beginning of that
// section.
func withAnswer(q *codec.Msg, raw string) []byte {
	wire := pack(reply(q))
	at := byte(len(wire))
	wire[7] = 1
	return append(wire, strings.Replace(raw, "LL", string([]byte{at}), 1)...)
}
