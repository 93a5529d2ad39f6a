package redisstore_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen/redisstore"
)

// proxy stands before a server.
type proxy struct {
	addr string
	cut  atomic.Bool // once: the server does what the next command about a lock says, and the connection breaks in place of the answer
	hang atomic.Bool // answers wait until it is unset
}

func startProxy(t *testing.T, s *server) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", s.addr)
			if err != nil {
				client.Close()
				continue
			}
			go p.serve(client, server)
		}
	}()
	return p
}

func (p *proxy) serve(client, server net.Conn) {
	var mute atomic.Bool // the answer under way does not arrive
	go func() {
		defer server.Close()
		buf := make([]byte, 4096) // more than any command here
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if bytes.Contains(buf[:n], []byte("#lock")) && p.cut.CompareAndSwap(true, false) {
				mute.Store(true)
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	defer client.Close()
	buf := make([]byte, 4096)
	for {
		n, err := server.Read(buf)
		if err != nil || mute.Load() {
			return
		}
		for p.hang.Load() {
			time.Sleep(time.Millisecond)
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// The client repeats a command whose answer was lost: it must not wait for the end of a lease that is its own.
func TestALockWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s)
	client := redis.NewClient(&redis.Options{Addr: p.addr})
	defer client.Close()
	store := redisstore.New(client)
	_, unlock := lockNow(t, store) // the server knows the script now
	unlock()
	p.cut.Store(true)
	held, unlock := lockNow(t, store)
	if p.cut.Load() {
		t.Error("no answer was cut off")
	}
	if held.Err() != nil {
		t.Errorf("held ended: %v", context.Cause(held))
	}
	unlock()
	lockNow(t, redisstore.New(s.client()))
}

// Without a repetition Lock fails, and the lock that Redis granted does not keep others waiting for its lease.
func TestALockWhoseAnswerWasLostIsGivenBack(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s)
	client := redis.NewClient(&redis.Options{Addr: p.addr, MaxRetries: -1})
	defer client.Close()
	store := redisstore.New(client)
	_, unlock := lockNow(t, store)
	unlock()
	p.cut.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _, err := store.Lock(ctx, lockedKey)
	refused(t, "Lock whose answer was lost", lockedKey, err)
	start := time.Now()
	lockNow(t, redisstore.New(s.client()))
	t.Logf("free again after %v of a lease of %v", time.Since(start), redisstore.DefaultLease)
}
