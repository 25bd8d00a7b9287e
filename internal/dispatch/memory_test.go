package dispatch

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"sekimori/internal/dns"
	"sekimori/internal/report"
)

// memory is a store in memory.
type memory struct {
	mu          sync.Mutex
	jobs        []*report.Job
	rows        map[int64][]report.Row
	deliveries  []report.Delivery
	suppression map[string]report.Suppression
	expired     []time.Time
}

func (m *memory) Add(_ context.Context, _ time.Time, b report.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range b.Tallies {
		j := &report.Job{ID: int64(len(m.jobs) + 1), Policy: t.Policy, Window: t.Window, State: report.StateOpen, SendAt: t.SendAt,
			Rows: int64(len(t.Rows)), Causes: t.Causes, Spam: t.Spam}
		for _, r := range t.Rows {
			j.Messages += r.Count
		}
		m.rows[j.ID] = t.Rows
		m.jobs = append(m.jobs, j)
	}
	return nil
}

func (*memory) Allow(context.Context, report.Day, string, int64) (bool, error) { return true, nil }

func (m *memory) Claim(ctx context.Context, now time.Time, owner string, lease time.Duration) (report.Job, error) {
	if err := ctx.Err(); err != nil {
		return report.Job{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var best *report.Job
	for _, j := range m.jobs {
		if j.State == report.StateOpen && !now.Before(time.Unix(j.Window.End+1, 0).Add(report.Grace)) {
			j.State = report.StateDue
		}
		if due := j.State == report.StateDue && !now.Before(j.SendAt) || j.State == report.StateClaimed && !now.Before(j.LeaseUntil); due && (best == nil || j.SendAt.Before(best.SendAt)) {
			best = j
		}
	}
	if best == nil {
		return report.Job{}, report.ErrNone
	}
	best.State, best.Owner, best.LeaseUntil = report.StateClaimed, owner, now.Add(lease)
	best.Lease++
	return *best, nil
}

func (m *memory) ClaimJob(ctx context.Context, now time.Time, id int64, owner string, lease time.Duration) (report.Job, error) {
	if err := ctx.Err(); err != nil {
		return report.Job{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > int64(len(m.jobs)) {
		return report.Job{}, report.ErrUnknown
	}
	j := m.jobs[id-1]
	if err := j.Claimable(now); err != nil {
		return report.Job{}, err
	}
	j.Reclaim(owner, now.Add(lease))
	out := *j
	j.Outcome = ""
	return out, nil
}

// own returns the job if the claim is still valid.
func (m *memory) own(j report.Job) (*report.Job, error) {
	if x := m.jobs[j.ID-1]; x.State == report.StateClaimed && x.Owner == j.Owner && x.Lease == j.Lease {
		return x, nil
	}
	return nil, report.ErrLost
}

func (m *memory) Renew(ctx context.Context, j report.Job, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.own(j)
	if err == nil {
		x.LeaseUntil = until
	}
	return err
}

func (m *memory) SetReportID(_ context.Context, j report.Job, id string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.own(j)
	if err != nil {
		return "", err
	}
	if x.ReportID == "" {
		x.ReportID = id
	}
	return x.ReportID, nil
}

func (m *memory) Finish(ctx context.Context, j report.Job, o report.Outcome) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	x, err := m.own(j)
	if err != nil {
		return err
	}
	x.Owner, x.LeaseUntil, x.Outcome, x.Reason = "", time.Time{}, o.Word, o.Reason
	x.Tries++
	if x.State = report.StateDone; o.Word == "" {
		x.State, x.SendAt = report.StateDue, o.Again
	}
	return nil
}

func (m *memory) Rows(_ context.Context, job int64) iter.Seq2[report.Row, error] {
	return func(yield func(report.Row, error) bool) {
		for _, r := range m.rows[job] {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (m *memory) Summary(context.Context, time.Time) (report.Summary, error) {
	return report.Summary{}, nil
}

func (m *memory) Jobs(_ context.Context, f report.Filter) ([]report.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []report.Job
	for _, j := range m.jobs {
		if (f.Window == 0 || j.Window.Begin == f.Window) && (f.Domain == "" || j.Policy.Domain == f.Domain) {
			out = append(out, *j)
		}
	}
	return out, nil
}

func (m *memory) Deliveries(_ context.Context, job int64) ([]report.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.deliveries), func(d report.Delivery) bool { return d.Job != job }), nil
}

func (m *memory) SetDelivery(ctx context.Context, d report.Delivery) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d.Window = m.jobs[d.Job-1].Window
	for i, old := range m.deliveries {
		if old.Job == d.Job && old.Address == d.Address {
			d.ID = old.ID
			m.deliveries[i] = d
			return d.ID, nil
		}
	}
	d.ID = int64(len(m.deliveries) + 1)
	m.deliveries = append(m.deliveries, d)
	return d.ID, nil
}

func (m *memory) Delivery(_ context.Context, id int64) (report.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > int64(len(m.deliveries)) {
		return report.Delivery{}, report.ErrUnknown
	}
	return m.deliveries[id-1], nil
}

func (m *memory) Suppressions(context.Context) ([]report.Suppression, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.suppression)), nil
}

func (m *memory) Suppression(_ context.Context, target string) (report.Suppression, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.suppression[target]
	if !ok {
		return s, report.ErrUnknown
	}
	return s, nil
}

func (m *memory) Suppress(_ context.Context, s report.Suppression) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suppression[s.Target] = s
	return nil
}

func (m *memory) Unsuppress(_ context.Context, target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.suppression[target]; !ok {
		return report.ErrUnknown
	}
	delete(m.suppression, target)
	return nil
}

func (m *memory) Seen(context.Context, dns.Name, report.Day) (report.Seen, error) {
	return report.Seen{}, nil
}

func (m *memory) Expire(_ context.Context, now time.Time, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expired = append(m.expired, now)
	return nil
}

func (m *memory) Secret(context.Context) ([]byte, error) { return []byte("secret"), nil }
func (m *memory) Close() error                           { return nil }
