package storetest

import (
	"testing"

	"github.com/wechatopen/wechatopen"
)

// Durable checks that what was set with ttl 0 outlives the process. open returns an empty Store, and a function that
// opens the same data again. reopen is called once, and s is not used afterwards: leave s as a process that is killed
// would leave it, or close it if the data cannot be opened otherwise.
func Durable(t *testing.T, open func(t *testing.T) (s wechatopen.Store, reopen func() wechatopen.Store)) {
	s, reopen := open(t)
	const kept, overwritten, deleted, expiring, widened = key, key + ":overwritten", key + ":deleted", key + ":expiring", key + ":widened"
	set(t, s, kept, "kept", 0)
	set(t, s, overwritten, "old", 0)
	set(t, s, overwritten, "new", 0)
	set(t, s, deleted, "deleted", 0)
	del(t, s, deleted)
	set(t, s, widened, "for a while", shortTTL)
	set(t, s, widened, "for ever", 0)
	set(t, s, expiring, "for a while", shortTTL)

	s = reopen()
	get(t, s, kept, "kept")
	get(t, s, overwritten, "new")
	absent(t, s, deleted)
	awaitAbsent(t, s, expiring)
	set(t, s, other, "a write, in which a Store may sweep", 0)
	get(t, s, widened, "for ever")
	get(t, s, kept, "kept")
	get(t, s, other, "a write, in which a Store may sweep")
}
