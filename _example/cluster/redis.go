package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen/redisstore"
)

// database is the Redis that all instances share, or the part of it under a prefix.
type database struct {
	url, prefix string
	client      *redis.Client
	close       func() error
}

// openDatabase is at address, or starts a Redis if that is empty.
func openDatabase(ctx context.Context, address string) (*database, error) {
	if address == "" {
		return startRedis(ctx)
	}
	if !strings.Contains(address, "://") {
		address = "redis://" + address
	}
	db, err := connect(address, "cluster-"+rand.Text()+":")
	if err != nil {
		return nil, err
	}
	if err := db.client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("no Redis at %s: %w", db.client.Options().Addr, err), db.client.Close())
	}
	db.close = func() error { return errors.Join(db.clear(), db.client.Close()) }
	return db, nil
}

// silence is for go-redis, which prints what its methods return as well.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func connect(address, prefix string) (*database, error) {
	opts, err := redis.ParseURL(address)
	if err != nil {
		return nil, errors.New("the address of the Redis is neither host:port nor a redis:// URL") // err would show its password
	}
	opts.ContextTimeoutEnabled = true
	return &database{url: address, prefix: prefix, client: redis.NewClient(opts)}, nil
}

func (d *database) store() *redisstore.Store {
	return redisstore.New(d.client, redisstore.WithPrefix(d.prefix))
}

// clear leaves a Redis that is not ours as it was.
func (d *database) clear() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	keys := d.client.Scan(ctx, 0, d.prefix+"*", 1000).Iterator()
	for keys.Next(ctx) {
		if err := d.client.Del(ctx, keys.Val()).Err(); err != nil {
			return err
		}
	}
	return keys.Err()
}

// The settings under which Redis loses nothing that it acknowledged; and a password, because others may be on this
// machine, which also tells our server from another one that took the port.
const redisConf = `bind 127.0.0.1
port %d
dir %q
logfile log
requirepass %s
save ""
appendonly yes
appendfsync always
maxmemory-policy noeviction
`

func startRedis(ctx context.Context) (*database, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed: apt-get install redis-server or brew install redis; or say with -redis where one is")
	}
	dir, err := os.MkdirTemp("", "cluster-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	password := rand.Text()
	cmd := exec.Command(path, "-") // reads its settings from the standard input, where nobody else sees the password
	cmd.Stdin = strings.NewReader(fmt.Sprintf(redisConf, port, dir, password))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // killed in the end
	stop := func() error {
		_ = cmd.Process.Kill() // it may have ended with our Ctrl-C
		<-ended
		return os.RemoveAll(dir)
	}

	address := url.URL{Scheme: "redis", User: url.UserPassword("", password), Host: fmt.Sprintf("127.0.0.1:%d", port)}
	if err := answers(ctx, address.Host, ended); err != nil {
		said, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, errors.Join(fmt.Errorf("redis-server did not start: %w\n%s", err, bytes.TrimSpace(said)), stop())
	}
	db, err := connect(address.String(), "")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	if err := db.client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(fmt.Errorf("redis-server at %s: %w", address.Host, err), db.client.Close(), stop())
	}
	db.close = func() error { return errors.Join(db.client.Close(), stop()) }
	return db, nil
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// answers waits until somebody listens at addr.
func answers(ctx context.Context, addr string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ended:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return err
		}
	}
}
