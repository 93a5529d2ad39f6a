package wechatopen

import (
	"sync/atomic"
	"time"
)

// tick is by how much a recent time may be behind.
const tick = time.Second

// recentClock is the time of the machine for what asks far more often than it needs to know exactly. It is behind by up
// to a tick, as far as timers are punctual. It reads the machine's clock once a tick while it is asked, and does nothing
// when it is not: the timer that ends a tick starts no other. One that was used in a bubble of testing/synctest stands
// still outside of it.
type recentClock struct {
	begin atomic.Pointer[time.Time] // of the present tick; nil when it is over
}

func (c *recentClock) now() time.Time {
	if begin := c.begin.Load(); begin != nil {
		return *begin
	}
	begin := time.Now()
	if c.begin.CompareAndSwap(nil, &begin) { // one timer, whoever asks
		time.AfterFunc(tick-time.Since(begin), func() { c.begin.Store(nil) })
	}
	return begin
}

// over reports whether t has come. It reads the clock itself only where that is near.
func (o *options) over(t time.Time) bool {
	return !o.recent().Add(tick).Before(t) && !o.now().Before(t)
}
