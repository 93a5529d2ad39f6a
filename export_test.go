package wechatopen

import "context"

// Keeper lets a test do what KeepFresh does at each tick, on the moved clock.
type Keeper struct{ k *keeper }

func NewKeeper(p *Platform, o FreshOptions) Keeper { return Keeper{newKeeper(p, o)} }

func (k Keeper) Step(ctx context.Context) { k.k.step(ctx) }

// SessionContent is how a session's content is written.
type SessionContent = sessionSerializer

// NewMemoryLocker is the Locker of a platform that was given none.
func NewMemoryLocker() Locker { return newMemoryLocker() }

// Keys is how many keys take memory in a Locker of [NewMemoryLocker].
func Keys(l Locker) int {
	m := l.(*memoryLocker)
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiting)
}
