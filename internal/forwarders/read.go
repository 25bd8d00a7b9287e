package forwarders

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"sekimori/internal/arc"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/iprev"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/recent"
	"sekimori/internal/spf"
)

// maxLine is the length of the longest log line that is read, in octets. The records of the daemon
// are shorter than 32 KiB.
const maxLine = 64 << 10

// logRecord is the log record that the daemon writes for a message. It has only the fields that a
// Finder needs.
type logRecord struct {
	Msg         string        `json:"msg"`
	Probe       bool          `json:"probe"` // the message is not mail, but one of sekimori probe
	Client      string        `json:"client_ip"`
	MailFrom    string        `json:"mail_from"`
	Author      string        `json:"header_from"`
	SPF         spf.Result    `json:"spf"`
	SPFDomain   string        `json:"spf_domain"`
	ARCSealer   string        `json:"arc_sealer"`
	IPRev       iprev.Status  `json:"iprev"`
	IPRevName   string        `json:"iprev_name"`
	DMARC       dmarc.Result  `json:"dmarc"`
	Policy      dmarc.Policy  `json:"policy"`
	AlignedSPF  bool          `json:"aligned_spf"`
	AlignedDKIM bool          `json:"aligned_dkim"`
	Verdict     policy.Action `json:"verdict"`
	DKIM        []struct {
		Result dkim.Result `json:"result"`
		Domain string      `json:"d"`
		Reason dkim.Reason `json:"reason"`
	} `json:"dkim"`
}

// parse parses a line of the log. It skips text before the record, such as the prefix of syslog. ok
// is false if the line is not the record of an evaluated message.
func parse(line []byte) (r Record, ok bool) {
	begin := bytes.IndexByte(line, '{')
	if begin < 0 {
		return r, false
	}
	var l logRecord
	if json.Unmarshal(line[begin:], &l) != nil || l.Msg != "evaluated" || l.Probe {
		return r, false
	}
	r = Record{
		IPRev: l.IPRev, IPRevName: l.IPRevName, MailFrom: l.MailFrom, SPF: l.SPF, SPFDomain: l.SPFDomain, Author: l.Author,
		ARCSealer: l.ARCSealer, DMARC: l.DMARC, Policy: l.Policy, AlignedDKIM: l.AlignedDKIM, AlignedSPF: l.AlignedSPF, Verdict: l.Verdict,
	}
	r.Client, _ = netip.ParseAddr(l.Client) // the address is missing if the log says "unknown"
	for _, s := range l.DKIM {
		r.Signatures = append(r.Signatures, Signature{s.Result, s.Domain, s.Reason})
	}
	return r, true
}

// ReadLog adds the messages in a JSON log of the daemon. It skips all other lines.
func (f *Finder) ReadLog(in io.Reader) error {
	lines := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = skipLine(lines)
		} else if r, ok := parse(line); ok {
			f.Add(r)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("forwarders: %w", err)
		}
	}
}

// skipLine reads up to the end of a line that is too long.
func skipLine(in *bufio.Reader) error {
	for {
		_, err := in.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// AddDecision adds a message whose decision the running daemon remembers.
func (f *Finder) AddDecision(d *recent.Entry) {
	if d.Evaluation != nil {
		f.Add(RecordOf(d.Evaluation, d.Verdict.Action))
	}
}

// RecordOf returns the facts about an evaluated message.
func RecordOf(e *msgauth.Evaluation, verdict policy.Action) Record {
	r := Record{
		Client: e.Session.Client, IPRev: e.IPRev.Status, IPRevName: string(e.IPRev.Name), MailFrom: e.Envelope.MailFrom,
		SPF: e.MailFrom.Result, SPFDomain: string(e.MailFrom.Domain), Author: string(e.From.AuthorDomain), DMARC: e.DMARC.Result,
		Policy: e.DMARC.PolicyPublished, AlignedDKIM: e.DMARC.AlignedDKIM, AlignedSPF: e.DMARC.AlignedSPF, Verdict: verdict,
	}
	if n := len(e.ARC.Sets); n > 0 && e.ARC.Status == arc.Pass {
		r.ARCSealer = string(e.ARC.Sets[n-1].Sealer)
	}
	for _, s := range e.DKIM {
		r.Signatures = append(r.Signatures, Signature{s.Result, string(s.Domain), s.Reason})
	}
	return r
}
