package upstream

import (
	"context"
	"sync"
	"time"

	"sekimori/internal/resolver/dnswire"
)

// hedged asks the server "first". If it has not answered after the hedge delay, hedged asks the
// server "second" as well. It returns the outcomes of the tries that ended. If one of them is an
// answer, it is the last in the list. A try that is still running when the answer comes is given
// up.
func (c *Client) hedged(ctx context.Context, q dnswire.Question, first, second *server) []outcome {
	ctx, cancel := context.WithCancel(ctx)
	var asked sync.WaitGroup
	results := make(chan outcome, 2)
	ask := func(s *server) { asked.Go(func() { results <- c.try(ctx, s, q) }) }
	defer func() {
		cancel()
		asked.Wait()
	}()
	begin := time.Now()
	ask(first)
	delay := time.NewTimer(c.hedge)
	defer delay.Stop()
	select {
	case o := <-results:
		return []outcome{o}
	case <-delay.C:
	}
	if !c.tryTakeSocket() { // no socket is free
		return []outcome{<-results}
	}
	defer c.giveSocketBack()
	ask(second)
	o := <-results
	if o.err != nil && !o.err.Permanent() { // the other server may still answer
		outcomes := []outcome{o, <-results}
		c.metrics.hedged(outcomes[1].err == nil, outcomes[1].server == second)
		return outcomes
	}
	if o.server == second {
		first.health.overdue(time.Since(begin))
		c.probe(first)
	}
	c.metrics.hedged(true, o.server == second)
	return []outcome{o}
}
