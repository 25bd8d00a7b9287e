package strict

import "strings"

// hint says what an unknown key may have been meant for: where the key went,
// where it belongs, or the known key here that is written alike. It is "" if
// nothing comes to mind.
func (d *decoder) hint(path, key string, here []string) string {
	at := Join(path, key)
	if to := d.renamed[at]; to != "" {
		return "write " + to + " instead"
	}
	var others []string
	for _, p := range Paths(d.top) {
		if p == key || strings.HasSuffix(p, "."+key) {
			others = append(others, p)
		}
	}
	if len(others) > 0 {
		return "its place is " + OneOf(others)
	}
	best, least := "", 3 // a similar key differs by two letters at most
	for _, k := range here {
		if len(key) > len(k)+2 {
			continue // distance takes quadratic time, and the key may be long
		}
		if d := distance(key, k); d < least && d < len(k)/2 {
			best, least = k, d
		}
	}
	if best != "" {
		return "perhaps " + best
	}
	return ""
}

// distance returns how many letters must be added, dropped, replaced or swapped
// with their neighbour to turn a into b.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
