package redisstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/redisstore"
	"github.com/wechatopen/wechatopen/storetest"
)

// suites runs the conformance suites; each Store has a prefix of its own, which makes it an empty one.
func suites(t *testing.T, client func() redis.UniversalClient) {
	t.Run("Store", func(t *testing.T) {
		storetest.Store(t, func(t *testing.T) wechatopen.Store {
			return redisstore.New(client(), redisstore.WithPrefix(t.Name()+":"))
		})
	})
	t.Run("Locker", func(t *testing.T) {
		storetest.Locker(t, func(*testing.T) wechatopen.Locker { return redisstore.New(client()) })
	})
}

func TestSingleServerConforms(t *testing.T) {
	s := startServer(t, durable...)
	suites(t, func() redis.UniversalClient { return s.client() })
}

func TestServerBehindASentinelConforms(t *testing.T) {
	sentinel := startSentinel(t, startServer(t, durable...))
	suites(t, func() redis.UniversalClient {
		c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{sentinel}})
		t.Cleanup(func() { c.Close() })
		return c
	})
}

// A cluster refuses a command or a script whose keys are not of one slot.
func TestClusterConforms(t *testing.T) {
	masters := startCluster(t, durable...)
	suites(t, func() redis.UniversalClient { return clusterClient(t, masters, nil) })
	for _, s := range masters {
		if n, err := s.client().DBSize(t.Context()).Result(); err != nil || n == 0 {
			t.Errorf("master %s has %d keys (%v): the suite did not reach it", s.addr, n, err)
		}
	}
}

func TestValuesOutliveAKilledServer(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (wechatopen.Store, func() wechatopen.Store) {
		s := startServer(t, durable...)
		return redisstore.New(s.client()), func() wechatopen.Store {
			s.kill()
			s.start()
			return redisstore.New(s.client())
		}
	})
}

// attacks.md 40
func TestWhatIsAcknowledgedUntilTheServerIsKilledIsThereAfterwards(t *testing.T) {
	s := startServer(t, durable...)
	const writers = 8
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	store := redisstore.New(client)
	acknowledged := make([]int, writers)
	var enough, wg sync.WaitGroup
	for w := range writers {
		enough.Add(1)
		wg.Go(func() {
			for i := 1; ; i++ {
				if err := store.Set(t.Context(), fmt.Sprintf("writer %d", w), fmt.Append(nil, i), 0); err != nil {
					return
				}
				if acknowledged[w] = i; i == 20 {
					enough.Done()
				}
			}
		})
	}
	enough.Wait()
	s.kill()
	wg.Wait()
	s.start()
	store = redisstore.New(s.client())
	for w, want := range acknowledged {
		b, err := store.Get(t.Context(), fmt.Sprintf("writer %d", w))
		if err != nil {
			t.Fatal(err)
		}
		var got int
		// What was written but not acknowledged may be there.
		if _, err := fmt.Sscan(string(b), &got); err != nil || got < want || got > want+1 {
			t.Errorf("writer %d finds %s after the restart; %d was acknowledged", w, b, want)
		}
	}
}

func TestAServerThatIsGoneIsNotAMiss(t *testing.T) {
	s := startServer(t, durable...)
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: 1, DialerRetries: 1})
	defer client.Close()
	store := redisstore.New(client)
	const key = "wechatopen:test:grant"
	if err := store.Set(t.Context(), key, []byte("refresh token"), 0); err != nil {
		t.Fatal(err)
	}
	s.stop()
	_, err := store.Get(t.Context(), key)
	refused(t, "Get", key, err)
	refused(t, "Set", key, store.Set(t.Context(), key, []byte("refresh token"), 0))
	refused(t, "Delete", key, store.Delete(t.Context(), key))
	s.start()
	if b, err := store.Get(t.Context(), key); err != nil || string(b) != "refresh token" {
		t.Errorf("Get after the restart: %q, %v; want the value of before", b, err)
	}
}

func TestAKeyOfAnotherTypeIsAnErrorNotAMiss(t *testing.T) {
	s := startServer(t)
	client := s.client()
	const key = "wechatopen:test:grant"
	if err := client.RPush(t.Context(), key, "refresh token").Err(); err != nil {
		t.Fatal(err)
	}
	_, err := redisstore.New(client).Get(t.Context(), key)
	refused(t, "Get", key, err)
}

func TestAFullServerRefusesAndForgetsNothing(t *testing.T) {
	s := startServer(t, durable...)
	client := s.client()
	store := redisstore.New(client)
	const key, lock = "wechatopen:test:grant", "wechatopen:test:lock"
	if err := store.Set(t.Context(), key, []byte("old refresh token"), 0); err != nil {
		t.Fatal(err)
	}
	_, unlock, err := store.Lock(t.Context(), lock)
	if err != nil {
		t.Fatal(err)
	}
	setting(t, client, "maxmemory", "1")
	refused(t, "Set", key, store.Set(t.Context(), key, []byte("new refresh token"), 0))
	if _, _, err := store.Lock(t.Context(), key); err == nil {
		t.Error("Lock of a free key succeeded on a full server, which cannot keep the lock")
	}
	if b, err := store.Get(t.Context(), key); err != nil || string(b) != "old refresh token" {
		t.Errorf("Get on a full server: %q, %v; want the value of before", b, err)
	}
	unlock()
	setting(t, client, "maxmemory", "0")
	if n, err := client.DBSize(t.Context()).Result(); n != 1 || err != nil {
		t.Errorf("%d keys on the server (%v), want the value alone: unlock works on a full server", n, err)
	}
}

// refused fails the test unless err is an error that is not a miss and names the key, not the value.
func refused(t *testing.T, op, key string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s succeeded", op)
	case errors.Is(err, wechatopen.ErrNotFound):
		t.Errorf("%s: %v, which is taken for an absent key", op, err)
	case !strings.HasPrefix(err.Error(), "redisstore: ") || !strings.Contains(err.Error(), key):
		t.Errorf("%s: %v, which does not name the key", op, err)
	case strings.Contains(err.Error(), "token"):
		t.Errorf("%s: %v, which holds the value", op, err)
	}
}

func setting(t *testing.T, client *redis.Client, name, value string) {
	t.Helper()
	if err := client.ConfigSet(t.Context(), name, value).Err(); err != nil {
		t.Fatalf("CONFIG SET %s %q: %v", name, value, err)
	}
}

func TestTTLIsRoundedUp(t *testing.T) {
	s := startServer(t)
	client := s.client()
	store := redisstore.New(client)
	for _, c := range []struct{ ttl, want time.Duration }{
		{time.Hour, time.Hour},
		{0, -1}, // no expiry
		{time.Hour, time.Hour},
		{-1, -1},
		{time.Hour, time.Hour},
		{-time.Hour, -1},
		{time.Hour + time.Nanosecond, time.Hour + time.Millisecond},
		{time.Hour + 1500*time.Microsecond, time.Hour + 2*time.Millisecond},
		{time.Hour + 7*time.Millisecond, time.Hour + 7*time.Millisecond},
	} {
		if err := store.Set(t.Context(), "key", []byte("value"), c.ttl); err != nil {
			t.Fatal(err)
		}
		got, err := client.PTTL(t.Context(), "key").Result()
		if err != nil {
			t.Fatal(err)
		}
		// Some of it has passed already.
		if got > c.want || got < c.want-time.Second {
			t.Errorf("a value set with ttl %v lives for %v, want %v", c.ttl, got, c.want)
		}
	}
}

func TestPrefixesKeepStoresApart(t *testing.T) {
	s := startServer(t)
	client := s.client()
	production := redisstore.New(client, redisstore.WithPrefix("production:"))
	staging := redisstore.New(client, redisstore.WithPrefix("staging:"))
	if err := production.Set(t.Context(), "key", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := staging.Get(t.Context(), "key"); !errors.Is(err, wechatopen.ErrNotFound) {
		t.Errorf("Get under another prefix: %v, want ErrNotFound", err)
	}
	for _, store := range []*redisstore.Store{production, staging} {
		lockNow(t, store)
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	for _, key := range keys {
		if !strings.HasPrefix(key, "production:") && !strings.HasPrefix(key, "staging:") {
			t.Errorf("key %s has no prefix", key)
		}
	}
	if len(keys) != 3 || err != nil {
		t.Errorf("%d keys (%v), want a value and two locks", len(keys), err)
	}
}
