package wechattest

import "time"

// pool holds values by their secret name until they are long over. An expired value is kept for another day, so that
// it can be told from one that never was.
type pool[T any] struct {
	items map[string]*pooled[T]
	queue []queued // oldest first: all values of a pool live equally long, or nearly
}

type pooled[T any] struct {
	value   T
	expires time.Time
	used    bool
}

type queued struct {
	name   string
	expiry time.Time
}

const keepExpired = 24 * time.Hour

func (p *pool[T]) put(now time.Time, name string, value T, life time.Duration) *pooled[T] {
	if p.items == nil {
		p.items = map[string]*pooled[T]{}
	}
	for len(p.queue) > 0 && now.Sub(p.queue[0].expiry) > keepExpired {
		// It may have been extended since; then it goes to the end of the queue.
		if it := p.items[p.queue[0].name]; it != nil && now.Sub(it.expires) <= keepExpired {
			p.queue = append(p.queue, queued{p.queue[0].name, it.expires})
		} else {
			delete(p.items, p.queue[0].name)
		}
		p.queue = p.queue[1:]
	}
	it := &pooled[T]{value: value, expires: now.Add(life)}
	p.items[name] = it
	p.queue = append(p.queue, queued{name, it.expires})
	return it
}

// get returns nil for a name that it does not hold.
func (p *pool[T]) get(name string) *pooled[T] { return p.items[name] }

func (it *pooled[T]) expired(now time.Time) bool { return !now.Before(it.expires) }
