package wechatopen

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// quietContext is what [context.WithCancel] returns, where nearly always nobody listens for the end: what a listener
// needs is made for the first of them.
type quietContext struct {
	context.Context // its parent

	mu     sync.Mutex
	err    error           // nil: end was not called
	heard  context.Context // ends with the parent or with err; nil: nobody has listened
	cancel context.CancelCauseFunc
}

// end reports whether it was the first call. If the parent has ended before, its error stays.
func (c *quietContext) end(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.err = cmp.Or(c.Context.Err(), err)
	if c.heard != nil {
		c.cancel(c.err)
	}
	return true
}

func (c *quietContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.Context.Err()
}

func (c *quietContext) Done() <-chan struct{} { return c.listen().Done() }

// AfterFunc spares package context a goroutine for each context that is derived from this one.
func (c *quietContext) AfterFunc(f func()) (stop func() bool) {
	return context.AfterFunc(c.listen(), f)
}

func (c *quietContext) listen() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard, c.cancel = context.WithCancelCause(c.Context)
		if c.err != nil {
			c.cancel(c.err)
		}
	}
	return c.heard
}

// workContext has a deadline too. The timer for it is not started with it, but by expireAfter: work is nearly always
// done long before.
type workContext struct {
	quietContext
	deadline time.Time
}

func (c *workContext) Deadline() (time.Time, bool) { return c.deadline, true }

// expireAfter ends the context when d has passed.
func (c *workContext) expireAfter(d time.Duration) {
	t := time.AfterFunc(d, func() { c.end(context.DeadlineExceeded) })
	context.AfterFunc(c, func() { t.Stop() })
}
