package wechatopen

import (
	"sync"
	"time"
)

// watch tells what takes too long, of much that nearly never does: one timer serves all, and only while there is
// something to watch. It is for use in one bubble of testing/synctest at a time.
type watch struct {
	mu          sync.Mutex
	first, last *watched  // by the time that they have
	alarm       time.Time // when the timer goes off; in the past: there is none
}

// watched is what takes its time, embedded in it.
type watched struct {
	due        time.Time
	slow       interface{ tooSlow() } // is quick, and does not use the watch
	prev, next *watched
}

// start has slow told if stop is not called in time.
func (w *watch) start(x *watched, slow interface{ tooSlow() }, now time.Time, d time.Duration) {
	x.due, x.slow = now.Add(d), slow
	w.mu.Lock()
	defer w.mu.Unlock()
	x.prev, x.next = w.last, nil
	for x.prev != nil && x.prev.due.After(x.due) { // was given more time
		x.prev, x.next = x.prev.prev, x.prev
	}
	*w.after(x.prev), *w.before(x.next) = x, x
	w.set(now)
}

// stop ends the watch over x. What it told when that was too slow has returned then.
func (w *watch) stop(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.slow != nil {
		w.remove(x)
	}
}

func (w *watch) remove(x *watched) {
	*w.after(x.prev), *w.before(x.next) = x.next, x.prev
	x.slow, x.prev, x.next = nil, nil, nil
}

func (w *watch) after(x *watched) **watched {
	if x == nil {
		return &w.first
	}
	return &x.next
}

func (w *watch) before(x *watched) **watched {
	if x == nil {
		return &w.last
	}
	return &x.prev
}

// set has the timer go off for the first, if none does by then.
func (w *watch) set(now time.Time) {
	if w.first != nil && (!w.alarm.After(now) || w.alarm.After(w.first.due)) {
		w.alarm = w.first.due
		time.AfterFunc(w.alarm.Sub(now), w.ring)
	}
}

func (w *watch) ring() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for w.first != nil && !w.first.due.After(now) {
		slow := w.first.slow
		w.remove(w.first)
		slow.tooSlow()
	}
	w.set(now)
}
