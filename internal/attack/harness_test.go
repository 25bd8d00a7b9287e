package attack

import "testing"

// TestNothingWrong checks the helper functions of the tests with one message that passes and three
// that must be rejected.
func TestNothingWrong(t *testing.T) {
	d := start(t, "")
	d.expect(t, attempt{from: []string{" A <a@attacker.example>"}}, "accept spf=pass dkim=none dmarc=pass from=attacker.example")
	d.expect(t, attempt{from: []string{" A <a@bank.example>"}}, "reject spf=pass dkim=none dmarc=fail from=bank.example")
	d.expect(t, attempt{}, "reject spf=pass dkim=none dmarc=permerror reason=missing")
	d.expect(t, attempt{from: []string{" a@attacker.example", " a@bank.example"}}, "reject spf=pass dkim=none dmarc=permerror reason=multiple_fields")
}
