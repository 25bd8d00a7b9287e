package attack

import "testing"

// TestNothingWrong checks the tests' own tools with a message that passes and a message that is
// forged.
func TestNothingWrong(t *testing.T) {
	d := start(t, "")
	d.expect(t, attempt{from: []string{" A <a@attacker.example>"}}, "accept spf=pass dkim=none dmarc=pass from=attacker.example")
	d.expect(t, attempt{from: []string{" A <a@bank.example>"}}, "reject spf=pass dkim=none dmarc=fail from=bank.example")
	d.expect(t, attempt{}, "reject spf=pass dkim=none dmarc=permerror reason=missing")
	d.expect(t, attempt{from: []string{" a@attacker.example", " a@bank.example"}}, "reject spf=pass dkim=none dmarc=permerror reason=multiple_fields")
}
