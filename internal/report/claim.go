package report

import "time"

// Claimable returns the error of [Store.ClaimJob] for a job of the store, or nil if it can be claimed.
func (j *Job) Claimable(now time.Time) error {
	switch {
	case j.Window.End >= now.Add(-Grace).Unix():
		return ErrNone
	case j.State == StateClaimed && now.Before(j.LeaseUntil):
		return ErrLost
	}
	return nil
}

// Reclaim changes a job as [Store.ClaimJob] does. Outcome stays, for the caller; a store clears it.
func (j *Job) Reclaim(owner string, until time.Time) {
	if j.State == StateDone {
		j.Tries, j.Reason = 0, ""
	}
	j.State, j.Owner, j.LeaseUntil = StateClaimed, owner, until
	j.Lease++
}
