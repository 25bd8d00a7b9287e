package naive

import "testing"

// TestFooled checks fields in the form that older versions of sekimori wrote. They are valid by RFC
// 8601, but in those marked as fooled, some naive reader sees a result that sekimori did not mean.
// The other fields have the present form, in which no reader sees such a result.
func TestFooled(t *testing.T) {
	fail := Field{Results: []Result{{"spf", "fail"}, {"dkim", "none"}, {"dmarc", "fail"}}, From: "bank.example"}
	const rest = ";\r\n dkim=none;\r\n dmarc=fail header.from=bank.example policy.dmarc=reject"
	for _, tt := range []struct {
		why, spf string
		fooled   bool
	}{
		{"a domain", "smtp.mailfrom=x.example", false},
		{"an address", "smtp.mailfrom=a.b@x.example", false},
		{"our quotes", `(2048-bit rsa) reason="key_missing" smtp.mailfrom="[IPv6:2001:db8::1]"`, false},
		{"a line broken", "(all went well)\r\n smtp.mailfrom=x.example", false},
		{"a quoted local part", `smtp.mailfrom="; dmarc=pass@x.example"`, true},
		{"without a space", `smtp.mailfrom=";spf=pass@x.example"`, true},
		{"without a semicolon", `smtp.mailfrom="x dkim=pass@x.example"`, true},
		{"a line of its own", "smtp.mailfrom=\"x\r\n dkim=pass@x.example\"", true},
		{"another author", `smtp.mailfrom="x header.from=x.example"`, true},
		{"an escaped quote", `smtp.mailfrom="\"x@x.example"`, true},
		{"an open quote", `smtp.mailfrom=x"y@x.example`, true},
		{"an open comment", `smtp.mailfrom="x(y@x.example"`, true},
		{"a comment in a comment", `(a(b)) smtp.mailfrom=x.example`, true},
		{"a closed one", `a) smtp.mailfrom=x.example`, true},
		{"a semicolon in a comment", `(a; b) smtp.mailfrom=x.example`, true},
		{"an equals sign", `smtp.mailfrom="prvs=1@x.example"`, true},
		{"bare", `smtp.mailfrom=prvs=1@x.example`, true},
	} {
		got := Check(" mx.example.jp;\r\n spf=fail "+tt.spf+rest, fail)
		if (len(got) > 0) != tt.fooled {
			t.Errorf("%s: %q", tt.why, got)
		}
	}
	if got := Check(" mx.example.jp; none", Field{}); len(got) > 0 {
		t.Errorf("none: %q", got)
	}
	if got := Check(" mx.example.jp;\r\n spf=fail"+rest, Field{Results: fail.Results, From: "other.example"}); len(got) == 0 {
		t.Error("another author is not seen")
	}
}
