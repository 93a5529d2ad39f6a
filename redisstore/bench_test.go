package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen/redisstore"
)

// BenchmarkLockAndUnlock compares with what no lock on Redis can do without: one SET NX and one DEL.
func BenchmarkLockAndUnlock(b *testing.B) {
	s := startServer(b)
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	store := redisstore.New(client)
	ctx := context.Background()
	var locks, bare time.Duration
	for b.Loop() {
		start := time.Now()
		_, unlock, err := store.Lock(ctx, lockedKey)
		if err != nil {
			b.Fatal(err)
		}
		unlock()
		middle := time.Now()
		if err := client.SetNX(ctx, lockedKey, "owner", time.Minute).Err(); err != nil {
			b.Fatal(err)
		}
		if err := client.Del(ctx, lockedKey).Err(); err != nil {
			b.Fatal(err)
		}
		locks += middle.Sub(start)
		bare += time.Since(middle)
	}
	b.ReportMetric(float64(locks)/float64(bare), "x-bare")
}

// BenchmarkHandover is the time from unlock until a caller who waits has the lock.
func BenchmarkHandover(b *testing.B) {
	s := startServer(b)
	store := redisstore.New(s.client())
	ctx := context.Background()
	var sum, longest time.Duration
	for b.Loop() {
		_, unlock, err := store.Lock(ctx, lockedKey)
		if err != nil {
			b.Fatal(err)
		}
		got := make(chan time.Time)
		go func() {
			_, unlock, err := store.Lock(ctx, lockedKey)
			if err != nil {
				b.Error(err)
			}
			got <- time.Now()
			unlock()
			got <- time.Now()
		}()
		time.Sleep(500 * time.Millisecond) // the waiter's pauses are as long as they get
		start := time.Now()
		unlock()
		waited := (<-got).Sub(start)
		<-got
		sum, longest = sum+waited, max(longest, waited)
	}
	b.ReportMetric(float64(sum.Milliseconds())/float64(b.N), "ms-wait")
	b.ReportMetric(float64(longest.Milliseconds()), "ms-longest-wait")
}
