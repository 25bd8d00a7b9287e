package strict

import "strings"

// hint returns a suggestion for an unknown key. If the key was renamed, hint
// suggests its present path. If a key of the same section differs in one letter,
// it suggests that. If other sections have a key of this name, it suggests their
// paths. Otherwise it suggests a key of the same section that differs in two
// letters. It returns "" if there is no suggestion. here lists the
// keys of the section.
func (d *decoder) hint(path, key string, here []string) string {
	at := Join(path, key)
	if to := d.renamed[at]; to != "" {
		return "write " + to + " instead"
	}
	best, least := nearest(key, here)
	var others []string
	for _, p := range Paths(d.top) {
		if p == key || strings.HasSuffix(p, "."+key) {
			others = append(others, p)
		}
	}
	if len(others) > 0 && least > 1 {
		return "its place is " + OneOf(others)
	}
	if best != "" {
		return "perhaps " + best
	}
	return ""
}

// Nearest returns that one of the words which a word that is none of them was most likely meant to be,
// or "".
func Nearest(word string, words []string) string {
	best, _ := nearest(word, words)
	return best
}

// nearest returns the most similar of the words and its distance.
func nearest(word string, words []string) (best string, least int) {
	least = 3 // only words that differ by at most two letters are similar
	for _, w := range words {
		if len(word) > len(w)+2 {
			continue // cannot be similar; distance would be slow for a very long word
		}
		if d := distance(word, w); d < least && (d < len(w)/2 || d == 1 && len(w) > 2) {
			best, least = w, d
		}
	}
	return best, least
}

// distance returns how many edits turn a into b. An edit adds, removes or
// replaces a letter, or swaps two neighbouring letters.
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
