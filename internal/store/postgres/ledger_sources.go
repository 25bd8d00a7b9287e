package postgres

import (
	"context"
	"net/netip"
	"slices"

	"github.com/jackc/pgx/v5"

	"sekimori/internal/dns"
	"sekimori/internal/ledger"
)

func scanSource(row pgx.CollectableRow) (s ledger.Source, err error) {
	var domain, owner string
	var network []byte
	var last int32
	var days int64
	err = row.Scan(&domain, &network, &owner, &last, &days)
	s = ledger.Source{Domain: dns.Name(unescape(domain)), Owner: dns.Name(unescape(owner)), Last: ledger.Day(last), Days: ledger.DaySet(days)} //nolint:gosec // KeepSources bits
	s.Network, _ = ledger.ParseNetwork(string(network))
	return s, err
}

const sourceColumns = "SELECT domain, network, owner, last, days FROM source"

// Sources implements [ledger.Store].
func (l ledgerOf) Sources(ctx context.Context, owner dns.Name, since ledger.Day) ([]ledger.Source, error) {
	return all(ctx, l.s, "read the sources of a domain", scanSource, sourceColumns+" WHERE owner = $1 AND last >= $2 ORDER BY last DESC, domain, network", escape(string(owner)), int32(since))
}

// Known implements [ledger.Store].
func (l ledgerOf) Known(ctx context.Context, author dns.Name, network netip.Prefix) (ledger.Source, bool, error) {
	found, err := all(ctx, l.s, "read a source", scanSource, sourceColumns+" WHERE domain = $1 AND network = $2", escape(string(author)), []byte(ledger.NetworkText(network)))
	if err != nil || len(found) == 0 {
		return ledger.Source{}, false, err
	}
	return found[0], true, nil
}

// carriedChunk is how many networks a query asks for.
const carriedChunk = 1000

// Carried implements [ledger.Store].
func (l ledgerOf) Carried(ctx context.Context, networks []netip.Prefix, since ledger.Day) (map[netip.Prefix][]dns.Name, error) {
	carried := map[netip.Prefix][]dns.Name{}
	type pair struct{ network, owner string }
	for part := range slices.Chunk(networks, carriedChunk) {
		texts := make([][]byte, len(part))
		for i, n := range part {
			texts[i] = []byte(ledger.NetworkText(n))
		}
		// For each network the index is read only as far as the first owners.
		found, err := all(ctx, l.s, "read the domains of networks", func(row pgx.CollectableRow) (p pair, err error) {
			var text []byte
			err = row.Scan(&text, &p.owner)
			p.network = string(text)
			return p, err
		}, `SELECT n, s.owner FROM unnest($1::bytea[]) AS u (n),
			LATERAL (SELECT DISTINCT owner FROM source WHERE network = n AND last >= $2 ORDER BY owner LIMIT $3) AS s ORDER BY n, s.owner`,
			texts, int32(since), ledger.MaxCarried)
		if err != nil {
			return nil, err
		}
		for _, p := range found {
			if n, ok := ledger.ParseNetwork(p.network); ok {
				carried[n] = append(carried[n], dns.Name(unescape(p.owner)))
			}
		}
	}
	return carried, nil
}
