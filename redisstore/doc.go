// Package redisstore keeps the state of package wechatopen in Redis and locks through it, for services that run as
// several processes. A [Store] is both a [wechatopen.Store] and a [wechatopen.Locker]:
//
//	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})
//	store := redisstore.New(client)
//	if err := store.Check(ctx); err != nil {
//		log.Print(err) // what to set in redis.conf
//	}
//	platform, err := wechatopen.NewPlatform(credentials,
//		wechatopen.WithStore(store), wechatopen.WithLocker(store))
//
// The client may be of a single server, of sentinels or of a cluster: every operation touches one key. Not a [redis.Ring],
// and no reading from replicas: with both, a key that is there can seem to be absent.
//
// # Settings of Redis
//
// Verify ticket and refresh tokens are written once and not handed out again by WeChat: a lost refresh token means that
// [wechatopen.Platform.Recover] has to find it, or the merchant to authorize anew. Redis as it is installed keeps
// snapshots only. Set in redis.conf:
//
//	appendonly yes
//	appendfsync always
//	maxmemory-policy noeviction
//
// What may be lost otherwise:
//
//   - appendonly no: when the server dies, what was written since the last snapshot, minutes or an hour; with save ""
//     there is none, and everything is lost when it stops.
//   - appendfsync everysec: about a second, when the machine dies; nothing when only Redis dies. Many can live with that:
//     pick the finding out of those of [Store.Check] by its type, *[SettingError].
//   - appendfsync no: as much as the operating system held back, about half a minute, when the machine dies.
//   - maxmemory with an allkeys policy: anything, at any time, when memory is full. With a volatile policy: tokens,
//     which are fetched again, and locks, whose holders notice at the next renewal. With noeviction writes fail when
//     memory is full, and WeChat is asked to push again.
//   - Replicas: a replica that takes over may lack the last writes of the dead master, under any setting. Give it the same
//     settings; min-replicas-to-write bounds the loss. [Store.Check] asks masters only.
//
// Values hold secrets and are written as they are: Redis needs a password, and TLS on a network that is not yours.
//
// # Locks
//
// A lock on a key is a key of its own, with "#lock" after the name, whose value is a random token of the holder and whose
// life is the lease. It is renewed while it is held and released by its holder only. A holder that dies keeps others
// waiting for the rest of its lease; a holder that cannot reach Redis loses the lock, and its held context ends, before
// another gets it. This rests on Redis and the holder counting time at one pace, and on one master: when a replica takes
// over that did not hear of the lock, or an operator deletes the key, two hold it until the next renewal, a third of the
// lease at most. For package wechatopen that is a token fetched twice.
//
// # Time limits
//
// A call lasts as long as the client lets it (DialTimeout, ReadTimeout, MaxRetries of [redis.Options]). go-redis heeds
// the deadline of a context while it waits for an answer only with ContextTimeoutEnabled.
package redisstore
