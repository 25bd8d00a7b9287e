package milter_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sekimori/internal/milter"
	"sekimori/internal/milter/client"
	"sekimori/internal/smtp"
)

// edited sends a message. At its end f makes edits and returns the reply. edited returns the
// result and the header after the edits.
func edited(t *testing.T, offer client.Offer, raw string, f func(m *milter.Modifier) milter.Reply) (client.Result, []client.Field) {
	t.Helper()
	w := newWorld(t, given{})
	w.eom = func(_ context.Context, _ *session, m *milter.Modifier) milter.Reply { return f(m) }
	c := w.dial(w.listen(), offer)
	hello(t, c)
	res, err := c.SendMessage(envelope(), []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	header, _ := client.Split([]byte(raw))
	return res, client.Apply(header, res.Modifications)
}

func lines(header []client.Field) string {
	var b strings.Builder
	for _, f := range header {
		b.WriteString(f.Name + ":" + f.Value + "\n")
	}
	return b.String()
}

const forged = "A-R: evil1\nSubject: x\na-r: evil2\nA-R: evil3\nX-Other: keep\n\nbody\n"

// TestDeletionsThenInsertions checks that the index in an edit always means the field that had this
// index when the message arrived. The MTA renumbers the fields after each deletion or insertion,
// so an earlier edit could otherwise change the meaning of a later one (CVE-2022-48521).
func TestDeletionsThenInsertions(t *testing.T) {
	for _, tc := range []struct {
		why  string
		edit func(m *milter.Modifier) error
		want string
	}{
		{"ascending, with the insertion first", func(m *milter.Modifier) error {
			return errors.Join(m.InsertHeader(0, "A-R", "ours"),
				m.DeleteHeader("A-R", 1), m.DeleteHeader("A-R", 2), m.DeleteHeader("A-R", 3))
		}, "A-R: ours\nSubject: x\nX-Other: keep\n"},
		{"in any order, with any case, and twice", func(m *milter.Modifier) error {
			return errors.Join(m.DeleteHeader("a-R", 2), m.DeleteHeader("A-R", 3), m.DeleteHeader("A-R", 2),
				m.DeleteHeader("X-Other", 1), m.DeleteHeader("A-R", 1))
		}, "Subject: x\n"},
		{"one in the middle", func(m *milter.Modifier) error { return m.DeleteHeader("A-R", 2) },
			"A-R: evil1\nSubject: x\nA-R: evil3\nX-Other: keep\n"},
		{"the index of a change counts the fields as they came", func(m *milter.Modifier) error {
			return errors.Join(m.DeleteHeader("A-R", 1), m.ChangeHeader("A-R", 3, "changed"), m.ChangeHeader("A-R", 2, ""))
		}, "Subject: x\nA-R: changed\nX-Other: keep\n"},
		{"the last insertion at 0 ends on top", func(m *milter.Modifier) error {
			return errors.Join(m.InsertHeader(0, "Second", "2"), m.InsertHeader(0, "First", "1"), m.DeleteHeader("Subject", 1))
		}, "First: 1\nSecond: 2\nA-R: evil1\na-r: evil2\nA-R: evil3\nX-Other: keep\n"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			res, header := edited(t, client.PostfixOffer(), forged, func(m *milter.Modifier) milter.Reply {
				if err := tc.edit(m); err != nil {
					t.Error(err)
				}
				return milter.Accept
			})
			if got := lines(header); got != tc.want {
				t.Errorf("got\n%swant\n%sby %v", got, tc.want, res.Modifications)
			}
		})
	}
}

func TestEditsOnlyForLiveMessages(t *testing.T) {
	for _, tc := range []struct {
		reply milter.Reply
		edits int
	}{
		{milter.Continue, 2}, {milter.Accept, 2}, {"", 2},
		{milter.Reject, 0}, {milter.Tempfail, 0}, {milter.Discard, 0}, {milter.Custom(smtp.New(550, "5.7.1", "no")), 0},
		{milter.Custom(smtp.New(200, "", "invalid")), 0},
	} {
		res, _ := edited(t, client.PostfixOffer(), forged, func(m *milter.Modifier) milter.Reply {
			if err := errors.Join(m.DeleteHeader("A-R", 1), m.Quarantine("policy")); err != nil {
				t.Error(err)
			}
			return tc.reply
		})
		if len(res.Modifications) != tc.edits {
			t.Errorf("%s: %d edits, want %d", tc.reply, len(res.Modifications), tc.edits)
		}
	}
}

func TestQuarantineIsFollowedByAReply(t *testing.T) {
	res, _ := edited(t, client.PostfixOffer(), mail, func(m *milter.Modifier) milter.Reply {
		if err := m.Quarantine("DMARC p=quarantine für example.com"); err != nil {
			t.Error(err)
		}
		return milter.Accept
	})
	want := client.Modification{Kind: client.Quarantine, Value: "DMARC p=quarantine f?r example.com"}
	if res.Action.Kind != client.Accept || len(res.Modifications) != 1 || res.Modifications[0] != want {
		t.Error(res)
	}
}

func TestLeadingSpaceAndFolds(t *testing.T) {
	for _, tc := range []struct {
		why      string
		protocol uint32
		value    string
		want     string // the value that the MTA gets
	}{
		{"negotiated: the space is ours to write", 0x1fffff, "v", " v"},
		{"it is not doubled", 0x1fffff, " v", " v"},
		{"a tab is enough", 0x1fffff, "\tv", "\tv"},
		{"not negotiated: the MTA writes it", 0xfffff, "v", "v"},
		{"not negotiated: our space is removed", 0xfffff, " v", "v"},
		{"folds go out as LF", 0x1fffff, "a;\r\n b;\n\tc", " a;\n b;\n\tc"},
	} {
		t.Run(tc.why, func(t *testing.T) {
			offer := client.PostfixOffer()
			offer.Protocol = tc.protocol
			res, _ := edited(t, offer, mail, func(m *milter.Modifier) milter.Reply {
				if err := errors.Join(m.InsertHeader(0, "X", tc.value), m.ChangeHeader("Subject", 1, tc.value)); err != nil {
					t.Error(err)
				}
				return milter.Accept
			})
			for _, m := range res.Modifications {
				if m.Value != tc.want {
					t.Errorf("%s %q, want %q", m.Kind, m.Value, tc.want)
				}
			}
			if len(res.Modifications) != 2 {
				t.Error(res.Modifications)
			}
		})
	}
}

func TestEditsNeedNegotiation(t *testing.T) {
	offer := client.PostfixOffer()
	for _, tc := range []struct {
		why     string
		actions uint32
		insert  bool
		change  bool
		hold    bool
	}{
		{"nothing allowed", 0, false, false, false},
		{"headers may be added", 1, true, false, false},
		{"headers may be changed", 0x10, false, true, false},
		{"messages may be held", 0x20, false, false, true},
	} {
		t.Run(tc.why, func(t *testing.T) {
			offer.Actions = tc.actions
			res, _ := edited(t, offer, forged, func(m *milter.Modifier) milter.Reply {
				for _, e := range []struct {
					name string
					err  error
					ok   bool
				}{
					{"insert", m.InsertHeader(0, "A", "b"), tc.insert},
					{"change", m.ChangeHeader("A-R", 1, "b"), tc.change},
					{"delete", m.DeleteHeader("A-R", 2), tc.change},
					{"hold", m.Quarantine("x"), tc.hold},
				} {
					if e.ok && e.err != nil || !e.ok && !errors.Is(e.err, milter.ErrNotNegotiated) {
						t.Errorf("%s: %v", e.name, e.err)
					}
				}
				return milter.Accept
			})
			want := 1
			if tc.actions == 0 {
				want = 0
			}
			if tc.change {
				want = 2
			}
			if len(res.Modifications) != want {
				t.Error(res.Modifications)
			}
		})
	}
}

func TestInvalidEdits(t *testing.T) {
	insert := func(name, value string) func(*milter.Modifier) error {
		return func(m *milter.Modifier) error { return m.InsertHeader(0, name, value) }
	}
	for _, tc := range []struct {
		why  string
		edit func(m *milter.Modifier) error
	}{
		{"a second field", insert("X", "a\r\nBcc: b")},
		{"a second field by LF", insert("X", "a\nBcc: b")},
		{"a bare CR", insert("X", "a\rb")},
		{"a CR before a fold", insert("X", "a\r\r\n b")},
		{"a NUL", insert("X", "a\x00b")},
		{"a line break at the end", insert("X", "a\r\n")},
		{"the end of the header", insert("X", "a\r\n\r\n b")},
		{"a line of white space", insert("X", "a\r\n \r\n b")},
		{"a last line of white space", insert("X", "a\n\t")},
		{"longer than Postfix takes", insert("X", strings.Repeat("x", 60001))},
		{"no name", insert("", "a")},
		{"a colon in the name", insert("X:Y", "a")},
		{"a space in the name", insert("X ", "a")},
		{"a line break in the name", insert("X\n", "a")},
		{"8-bit in the name", insert("Xé", "a")},
		{"a NUL in the name", insert("X\x00", "a")},
		{"insertion below 0", func(m *milter.Modifier) error { return m.InsertHeader(-1, "X", "a") }},
		{"deletion of 0", func(m *milter.Modifier) error { return m.DeleteHeader("X", 0) }},
		{"change of 0", func(m *milter.Modifier) error { return m.ChangeHeader("X", 0, "a") }},
		{"a line break in a change", func(m *milter.Modifier) error { return m.ChangeHeader("X", 1, "a\nb") }},
		{"a line break in a reason", func(m *milter.Modifier) error { return m.Quarantine("a\r\nb") }},
		{"a NUL in a reason", func(m *milter.Modifier) error { return m.Quarantine("a\x00b") }},
	} {
		t.Run(tc.why, func(t *testing.T) {
			res, _ := edited(t, client.PostfixOffer(), mail, func(m *milter.Modifier) milter.Reply {
				if err := tc.edit(m); !errors.Is(err, milter.ErrInvalidEdit) {
					t.Error(err)
				}
				return milter.Accept
			})
			if len(res.Modifications) != 0 {
				t.Errorf("an invalid edit was written: %v", res.Modifications)
			}
		})
	}
}
