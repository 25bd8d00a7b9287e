package holdqueue

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekimori/internal/policy"
)

// WriteMetrics writes the number of messages on hold and the arrival of the oldest into a file for
// node_exporter's textfile collector. A reader sees the whole old file or the whole new one, and
// never a partly written file.
func WriteMetrics(path string, l *List, now time.Time) (err error) {
	if filepath.Ext(path) != ".prom" {
		return fmt.Errorf("holdqueue: node_exporter reads only files whose name ends with .prom, and %s does not", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".sekimori-held-*")
	if err != nil {
		return fmt.Errorf("holdqueue: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the first error is the one that counts
		}
	}()
	_, err = file.WriteString(metrics(l, now))
	err = errors.Join(err, file.Chmod(0o644), file.Close()) // node_exporter is another user
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("holdqueue: %w", err)
	}
	return nil
}

// group is a set of messages that are counted together.
type group struct {
	by     HeldBy
	reason policy.Reason
}

// maxReasons limits how many reasons have a series of their own. The daemon has fewer.
const maxReasons = 30

// metrics returns the text of the file. Reasons are words of the daemon. If there are more than
// maxReasons of them, the rest is counted as "other".
func metrics(l *List, now time.Time) string {
	counts := map[group]int{{Us, ""}: 0, {Other, ""}: 0, {Unknown, ""}: l.Total - len(l.Messages)}
	oldest := map[HeldBy]time.Time{}
	for _, m := range l.Messages {
		g := group{m.HeldBy, m.Reason}
		if _, ok := counts[g]; !ok && len(counts) > maxReasons {
			g.reason = "other"
		}
		counts[g]++
		if t, ok := oldest[m.HeldBy]; !ok || m.Arrived.Before(t) {
			oldest[m.HeldBy] = m.Arrived
		}
	}
	var b strings.Builder
	b.WriteString("# HELP sekimori_hold_queue_messages Messages that the MTA holds, by who put them on hold and why.\n" +
		"# TYPE sekimori_hold_queue_messages gauge\n")
	for _, g := range sortedGroups(counts) {
		fmt.Fprintf(&b, "sekimori_hold_queue_messages{held_by=%q,reason=%q} %d\n", g.by, g.reason, counts[g])
	}
	b.WriteString("# HELP sekimori_hold_queue_oldest_timestamp_seconds When the oldest message on hold arrived.\n" +
		"# TYPE sekimori_hold_queue_oldest_timestamp_seconds gauge\n")
	for _, by := range []HeldBy{Us, Other, Unknown} {
		if t, ok := oldest[by]; ok {
			fmt.Fprintf(&b, "sekimori_hold_queue_oldest_timestamp_seconds{held_by=%q} %d\n", by, t.Unix())
		}
	}
	fmt.Fprintf(&b, "# HELP sekimori_hold_queue_checked_timestamp_seconds When the hold queue was looked at.\n"+
		"# TYPE sekimori_hold_queue_checked_timestamp_seconds gauge\nsekimori_hold_queue_checked_timestamp_seconds %d\n", now.Unix())
	return b.String()
}

func sortedGroups(counts map[group]int) []group {
	var groups []group
	for g := range counts {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(a.reason, b.reason)) })
	return groups
}
