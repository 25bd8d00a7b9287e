package smtp

import (
	"errors"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	ok := func(code int, enhanced string) Reply { return Reply{code, enhanced, "text"} }
	for _, c := range []struct {
		reason string
		reply  Reply
		want   error
	}{
		{"the reply of the design", Reply{550, "5.7.1", "Email rejected per DMARC policy for example.com (abc)"}, nil},
		{"temporary", ok(451, "4.7.24"), nil},
		{"closing the channel", ok(421, "4.3.2"), nil},
		{"the lowest code", ok(400, "4.0.0"), nil},
		{"one below it", ok(399, "4.0.0"), ErrCode},
		{"the highest code", ok(559, "5.7.1"), nil},
		{"every detail code has up to three digits", ok(550, "5.7.515"), nil},
		{"a success is not a refusal", ok(250, "2.0.0"), ErrCode},
		{"354 makes Postfix answer 451 4.3.5", ok(354, "5.7.1"), ErrCode},
		{"there is no 6yz", ok(650, "5.7.1"), ErrCode},
		{"second digit over 5, RFC 5321 §4.2", ok(465, "4.7.1"), ErrCode},
		{"second digit over 5", ok(560, "5.7.1"), ErrCode},
		{"zero value", Reply{}, ErrCode},
		{"mixed classes: with default_action=accept Postfix then takes the message", ok(550, "4.7.1"), ErrClass},
		{"mixed classes the other way", ok(451, "5.7.1"), ErrClass},
		{"no enhanced code", ok(550, ""), ErrEnhanced},
		{"two parts", ok(550, "5.7"), ErrEnhanced},
		{"four parts", ok(550, "5.7.1.1"), ErrEnhanced},
		{"leading zero, RFC 3463 §2", ok(550, "5.07.1"), ErrEnhanced},
		{"four digits", ok(550, "5.7.1000"), ErrEnhanced},
		{"letters", ok(550, "5.7.x"), ErrEnhanced},
		{"the sign before the digits", ok(550, "5.7./"), ErrEnhanced},
		{"the sign behind the digits", ok(550, "5.7.:"), ErrEnhanced},
		{"the digits at the ends", ok(550, "5.9.109"), nil},
		{"empty part", ok(550, "5..1"), ErrEnhanced},
		{"class 2", ok(550, "2.7.1"), ErrEnhanced},
		{"long class", ok(550, "55.7.1"), ErrEnhanced},
		{"no text", Reply{550, "5.7.1", ""}, ErrText},
		{"blank text", Reply{550, "5.7.1", "  "}, ErrText},
		{"a second line", Reply{550, "5.7.1", "a\r\n250 ok"}, ErrText},
		{"NUL", Reply{550, "5.7.1", "a\x00"}, ErrText},
		{"8-bit text is blanked by Postfix", Reply{550, "5.7.1", "é"}, ErrText},
		{"DEL", Reply{550, "5.7.1", "\x7f"}, ErrText},
		{"510 octets", Reply{550, "5.7.1", strings.Repeat("a", 500)}, nil},
		{"511 octets", Reply{550, "5.7.1", strings.Repeat("a", 501)}, ErrLength},
	} {
		if err := c.reply.Validate(); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v: got %v, want %v", c.reason, c.reply, err, c.want)
		}
	}
}

func TestWith(t *testing.T) {
	suffix := "; see https://isp.example/mail"
	for _, c := range []struct{ reason, text, suffix, want string }{
		{"nothing to add", "Rejected (id)", "", "Rejected (id)"},
		{"added", "Rejected (id)", suffix, "Rejected (id)" + suffix},
		{"the longest text that is not cut", strings.Repeat("a", 500-len(suffix)), suffix, strings.Repeat("a", 500-len(suffix)) + suffix},
		{"one octet longer", strings.Repeat("a", 501-len(suffix)), suffix, strings.Repeat("a", 497-len(suffix)) + "..." + suffix},
	} {
		got := New(CodeRefused, EnhancedRefused, c.text).With(c.suffix)
		if got.Text != c.want || got.Code != CodeRefused || got.Enhanced != EnhancedRefused {
			t.Errorf("%s: got %+v, want %q", c.reason, got, c.want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, c := range []struct{ reason, text, want string }{
		{"plain text is left alone", "Rejected (id)", "Rejected (id)"},
		{"the milter adapter escapes percent signs", "100% off", "100% off"},
		{"line ends become visible", "a\r\n250 2.0.0 ok", "a??250 2.0.0 ok"},
		{"NUL and DEL", "a\x00b\x7fc", "a?b?c"},
		{"one mark for each character", "日本.example", "??.example"},
		{"invalid UTF-8, one mark an octet", "\xff\xfe.example", "??.example"},
		{"surrounding space is dropped", "  a b \t", "a b"},
		{"the longest text", strings.Repeat("a", 500), strings.Repeat("a", 500)},
		{"one octet too long, so it is cut", strings.Repeat("a", 501), strings.Repeat("a", 497) + "..."},
		{"huge", strings.Repeat("é", 1<<20), strings.Repeat("?", 497) + "..."},
	} {
		got := New(CodeRefused, EnhancedRefused, c.text)
		if got.Text != c.want {
			t.Errorf("%s: got %q, want %q", c.reason, got.Text, c.want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.reason, err)
		}
	}
}

func TestString(t *testing.T) {
	got := New(CodeRefused, EnhancedSPFFail, "SPF validation failed for example.com").String()
	if want := "550 5.7.23 SPF validation failed for example.com"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConstants(t *testing.T) {
	for code, enhanced := range map[int][]string{
		CodeRefused:    {EnhancedRefused, EnhancedSPFFail, EnhancedMultiple},
		CodeTooBig:     {EnhancedTooBig},
		CodeLocalError: {EnhancedSystem, EnhancedUnavailable, EnhancedKeyTempError, EnhancedSPFTempError},
		CodeNoRoom:     {EnhancedRecipients, EnhancedStorage},
	} {
		for _, e := range enhanced {
			if err := New(code, e, "text").Validate(); err != nil {
				t.Error(err)
			}
		}
	}
}

func FuzzNew(f *testing.F) {
	for _, s := range []string{"", " ", "a\r\nb", "%s", "\xff", strings.Repeat("é", 400), "\u2028", "a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := New(CodeRefused, EnhancedMultiple, text).Validate()
		if err != nil && strings.TrimSpace(text) != "" {
			t.Errorf("New(%q): %v", text, err)
		}
	})
}
