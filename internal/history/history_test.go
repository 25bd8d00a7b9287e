package history

import (
	"bytes"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/spf"
)

func TestWants(t *testing.T) {
	good := func() *msgauth.Evaluation {
		return &msgauth.Evaluation{MailFrom: spf.Check{Result: spf.Pass}, DKIM: []dkim.Signature{{Result: dkim.Pass}}, DMARC: dmarc.Evaluation{Result: dmarc.ResultPass}}
	}
	with := func(change func(*msgauth.Evaluation)) *msgauth.Evaluation {
		e := good()
		change(e)
		return e
	}
	accept := policy.Verdict{Action: policy.Accept}
	for _, tt := range []struct {
		name     string
		what     What
		e        *msgauth.Evaluation
		v        policy.Verdict
		consents bool
		want     Wish
	}{
		{"accepted", Failing, good(), accept, false, Sample},
		{"accepted, consents", Failing, good(), accept, true, Sample},
		{"accepted, all", All, good(), accept, false, Always},
		{"off", Off, good(), policy.Verdict{Action: policy.Reject}, false, Never},
		{"rejected", Failing, good(), policy.Verdict{Action: policy.Reject}, false, Always},
		{"tagged", Failing, good(), policy.Verdict{Action: policy.Tag}, false, Always},
		{"a rule", Failing, good(), policy.Verdict{Action: policy.Accept, Rule: "r"}, false, Always},
		{"an override", Failing, good(), policy.Verdict{Action: policy.Accept, Override: &policy.Override{}}, false, Always},
		{"SPF temperror", Failing, with(func(e *msgauth.Evaluation) { e.MailFrom = spf.Check{Result: spf.TempError, Reason: spf.ReasonDNS} }), accept, false, Always},
		{"HELO temperror", Failing, with(func(e *msgauth.Evaluation) { e.HELO = spf.Check{Result: spf.TempError, Reason: spf.ReasonDNS} }), accept, false, Always},
		{"SPF not waited for", Failing, with(func(e *msgauth.Evaluation) {
			e.MailFrom = spf.Check{Result: spf.TempError, Reason: spf.ReasonTimeLimit}
		}), accept, false, Sample},
		{"DKIM temperror", Failing, with(func(e *msgauth.Evaluation) { e.DKIM[0].Result = dkim.TempError }), accept, false, Always},
		{"DKIM not waited for", Failing, with(func(e *msgauth.Evaluation) { e.DKIM[0].Result, e.DKIM[0].NotWaited = dkim.TempError, true }), accept, false, Sample},
		{"DMARC temperror", Failing, with(func(e *msgauth.Evaluation) { e.DMARC.Result = dmarc.ResultTempError }), accept, false, Always},
		{"nobody agreed", All, good(), policy.Verdict{Action: policy.Tag, Consent: policy.Consent{Out: 2}}, true, Never},
		{"one agreed", Failing, good(), policy.Verdict{Action: policy.Tag, Consent: policy.Consent{In: 1, Out: 2}}, true, Always},
		{"trusted", Failing, nil, policy.Verdict{Action: policy.Skip}, false, Never},
		{"trusted, all", All, nil, policy.Verdict{Action: policy.Skip}, false, Always},
		{"trusted, all, consents", All, nil, policy.Verdict{Action: policy.Skip}, true, Never},
		{"oversize", Failing, nil, policy.Verdict{Action: policy.TempFail}, false, Always},
		{"accepted, and not evaluated", Failing, nil, accept, false, Sample},
		{"oversize, consents", Failing, nil, policy.Verdict{Action: policy.TempFail}, true, Never},
	} {
		if got := tt.what.Wants(tt.e, &tt.v, tt.consents); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestKeys: keys are stored, so they must not change, and what is searched must have the key of what was
// kept.
func TestKeys(t *testing.T) {
	same := func(a, b KeyIn) {
		t.Helper()
		if a.Column != b.Column || a.Key != b.Key || a.Key == 0 {
			t.Errorf("%v and %v", a, b)
		}
	}
	same(IDKey("7g3k0a2b"), IDKey("7G3K0A2B"))
	same(AuthorKey("mail.bank.example"), AuthorKey("bank.example"))
	same(AuthorKey("a.b.co.jp"), AuthorKey("b.co.jp"))
	same(SenderKey("mail.bank.example"), SenderKey("bank.example"))
	same(SenderKey(""), SenderKey(""))
	same(ClientKey(netip.MustParseAddr("::ffff:192.0.2.1")), ClientKey(netip.MustParseAddr("192.0.2.1")))
	same(ClientKey(netip.MustParseAddr("fe80::1%eth0")), ClientKey(netip.MustParseAddr("fe80::1")))
	same(AuthorKey("jp"), AuthorKey("jp"))
	if AuthorKey("bank.example").Key == SenderKey("bank.example").Key || QueueKey("a") == QueueKey("A") {
		t.Error("different texts have the same key")
	}
	for _, k := range []KeyIn{IDKey(""), QueueKey(""), AuthorKey(""), ClientKey(netip.Addr{})} {
		if k.Key != 0 {
			t.Errorf("no text has the key %v", k)
		}
	}
	same(AuthorOnlyKey("bank.example"), AuthorKey("bank.example"))
	same(SenderPathKey("bank.example", "a@bank.example"), SenderKey("bank.example"))
	// The index of outcomes of each store has the last one in its definition.
	if got := [...]int32{IDKey("7G3K0A2B").Key, AuthorKey("bank.example").Key, MostFrequent()}; got != [...]int32{-2027434021, 1247535107, -1261583704} {
		t.Errorf("keys changed: %v", got)
	}
}

func TestDay(t *testing.T) {
	for at, want := range map[time.Time]Day{
		time.Unix(0, 0): 0, time.Unix(-1, 0): -1, time.Unix(86399, 999): 0, time.Unix(86400, 0): 1, time.Unix(-86400, 0): -1,
	} {
		if got := DayOf(at); got != want || got.Begin().After(at) || !(got + 1).Begin().After(at) {
			t.Errorf("%v: day %d, want %d", at, got, want)
		}
	}
}

// every wants all records of a block.
func every(int) bool { return true }

func packer(t testing.TB) (*Packer, *Unpacker) {
	t.Helper()
	p, err := NewPacker()
	if err != nil {
		t.Fatal(err)
	}
	u, err := NewUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	return p, u
}

func TestPack(t *testing.T) {
	p, u := packer(t)
	for _, records := range [][]string{{"{}"}, {`{"a":1}`, "", `"\n"`}, strings.Split(strings.Repeat("x\n", MaxBlockRows-1)+"x", "\n")} {
		data := p.Pack([]byte(strings.Join(records, "\n") + "\n"))
		got, err := u.Unpack(data, every)
		if err != nil || len(got) != len(records) {
			t.Fatalf("%d records of %d, %v", len(got), len(records), err)
		}
		for i := range records {
			if string(got[i]) != records[i] {
				t.Errorf("record %d is %q, want %q", i, got[i], records[i])
			}
		}
		for i := range data {
			bad := bytes.Clone(data)
			bad[i] ^= 0x40
			if again, err := u.Unpack(bad, every); err == nil && !reflect.DeepEqual(again, got) {
				t.Errorf("octet %d changed: %q", i, again)
			}
		}
	}
}

// TestUnpackBounds: what is unpacked is bounded, however small it was packed.
func TestUnpackBounds(t *testing.T) {
	p, u := packer(t)
	for name, lines := range map[string]string{
		"too large": strings.Repeat("x", maxUnpacked) + "\n", "too many": strings.Repeat("x\n", MaxBlockRows+1), "no end": "x", "nothing": "",
	} {
		if got, err := u.Unpack(p.Pack([]byte(lines)), every); err == nil {
			t.Errorf("%s: %d records", name, len(got))
		}
	}
	if got, err := u.Unpack(p.Pack([]byte(strings.Repeat("x", maxUnpacked-1)+"\n")), every); err != nil || len(got) != 1 {
		t.Errorf("the largest block: %v", err)
	}
	if !Fits(maxRecord) || Fits(maxRecord+1) {
		t.Error("the limit of a record is not maxRecord")
	}
}

func FuzzUnpack(f *testing.F) {
	p, u := packer(f)
	f.Add(p.Pack([]byte("{}\n{\"a\":1}\n")))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := u.Unpack(data, every); err == nil && (len(got) == 0 || len(got) > MaxBlockRows) {
			t.Errorf("%d records", len(got))
		}
	})
}

func batch() Batch {
	b := Batch{ID: "batch", Host: "mx1.example"}
	for i := range 3 {
		block := Block{Data: []byte(strings.Repeat("\x00data", i))}
		for n := range i + 1 {
			block.Rows = append(block.Rows, Row{
				Time: time.UnixMicro(int64(n)*1e12 - 5).UTC(), Keys: Keys{1, -1, 1<<31 - 1, -1 << 31, int32(n), 7}, Hint: Hint(n * 9999),
			})
		}
		if i == 0 {
			block.Data = []byte{}
		}
		b.Blocks = append(b.Blocks, block)
	}
	return b
}

func TestEncode(t *testing.T) {
	want := batch()
	data := Encode(&want)
	got, err := Decode(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v: got %+v, want %+v", err, got, want)
	}
	if want.Len() != 6 {
		t.Errorf("%d records", want.Len())
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := Decode(bad); err == nil {
			t.Errorf("octet %d changed, and it is still a batch", i)
		}
		if _, err := Decode(data[:i]); err == nil {
			t.Errorf("cut at octet %d, and it is still a batch", i)
		}
	}
}

// TestDecodeEarlierVersion: what was spooled before an upgrade is read, without hints.
func TestDecodeEarlierVersion(t *testing.T) {
	e := encoder(oldMagic)
	for _, s := range []string{"batch", "mx1.example"} {
		e.text(s)
	}
	for _, n := range []int64{1, 1, 5e12, 1, 2, 3, 4, 5, 6} { // a block with a row, its time and its keys
		e.number(n)
	}
	e.text("data")
	got, err := Decode(sealed(e))
	want := Batch{ID: "batch", Host: "mx1.example", Blocks: []Block{{
		Rows: []Row{{Time: time.UnixMicro(5e12).UTC(), Keys: Keys{1, 2, 3, 4, 5, 6}}}, Data: []byte("data"),
	}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	again, err := Decode(Encode(&got))
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("encoded anew: %+v, %v", again, err)
	}
}

func FuzzDecode(f *testing.F) {
	b := batch()
	f.Add(Encode(&b))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, sealed(data)} { // with a digest that is right
			b, err := Decode(text)
			if err != nil {
				continue
			}
			again, err := Decode(Encode(&b))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(b) {
				t.Errorf("%v: %+v is %+v after it was encoded again", err, b, again)
			}
		}
	})
}
