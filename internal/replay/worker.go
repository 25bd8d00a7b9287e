package replay

import (
	"bufio"
	"context"

	"sekimori/internal/judge"
)

// work judges messages until there are no more.
func (r *runner) work(ctx context.Context, jobs <-chan job) {
	buffer := bufio.NewReaderSize(nil, lineBuffer)
	for j := range jobs {
		if ctx.Err() != nil {
			j.result <- outcome{message: j.message, err: errInterrupted}
		} else {
			r.message(ctx, j, buffer)
		}
		if j.text != nil {
			j.text.drain()
		}
	}
}

// message reads one message through the buffer. If the message cannot be read, message sends the
// outcome at once. Otherwise a goroutine waits for the DNS lookups and sends the outcome.
func (r *runner) message(ctx context.Context, j job, buffer *bufio.Reader) {
	out := outcome{message: j.message}
	if j.text != nil {
		buffer.Reset(j.text)
		out.err = r.evaluate(ctx, out, newLineReader(buffer), j.result)
	} else if file, err := openMessage(j.message, buffer); err != nil {
		out.err = err
	} else {
		out.err = r.evaluate(ctx, out, file.lines, j.result)
		_ = file.Close() // an error of Close does not matter after reading
	}
	if out.err != nil {
		j.result <- out
	}
}

// evaluate reads one message and starts a goroutine that sends the outcome. If the message cannot be
// read, evaluate returns the error and sends nothing.
func (r *runner) evaluate(ctx context.Context, out outcome, in *lineReader, result chan<- outcome) error {
	text := &wire{in: in}
	header, rest, whole, err := readHeader(text)
	if err != nil {
		return err
	}
	t, err := r.o.Origin.Find(header, out.message.Sender, r.trusted)
	if err != nil {
		return err
	}
	out.queueID = t.Envelope.QueueID
	m := judge.Message{Session: t.Session, Envelope: t.Envelope, Header: t.Header, Whole: whole, Time: t.Time, Internal: t.Internal}
	var cases []*judge.Stored
	for i, j := range r.judges {
		if i > 0 && r.same {
			continue
		}
		cases = append(cases, j.Open(ctx, m))
	}
	write := func(part []byte) {
		for _, c := range cases {
			c.Write(part)
		}
	}
	write(rest)
	if err := text.rest(write); err != nil {
		for _, c := range cases {
			c.Close()
		}
		return err
	}
	go func() { result <- r.finish(ctx, out, cases) }()
	return nil
}
