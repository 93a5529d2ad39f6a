package wechatopen

import (
	"sync/atomic"
	"time"
)

// tick is by how much a fastClock may be ahead.
const tick = time.Second

// fastClock is the time of the machine for what asks far more often than it needs an answer to the nanosecond. It is
// ahead by up to a tick and never behind, as far as timers are punctual, so what is not due by it is not due. It reads
// the machine's clock once a tick while it is asked, and does nothing when it is not: the timer that ends a tick starts
// no other.
type fastClock struct {
	end atomic.Pointer[time.Time] // of the present tick; nil when it is over
}

func (c *fastClock) now() time.Time {
	if end := c.end.Load(); end != nil {
		return *end
	}
	end := time.Now().Add(tick)
	if c.end.CompareAndSwap(nil, &end) { // one timer, whoever asks
		time.AfterFunc(time.Until(end), func() { c.end.Store(nil) })
	}
	return end
}
