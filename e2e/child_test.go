package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/boltstore"
	"github.com/wechatopen/wechatopen/redisstore"
)

// setup is the first line of a child's standard input; each further one is a command. The end of the input is that of the
// child.
type setup struct {
	Credentials wechatopen.Credentials
	Endpoints   wechatopen.Endpoints
	Redis       string        // address; empty: Bolt
	Lease       time.Duration // 0: the usual one
	Bolt        string        // path of the file
	Ahead       time.Duration // how far the moved clock is ahead
}

// The commands. Each is carried out on a goroutine of its own and answered with its ID when it is done.
const (
	opAsk     = "ask"     // Callers goroutines at once ask for the component's token and one of an account each
	opRenew   = "renew"   // the token of each account is dropped and another asked for
	opLoad    = "load"    // Callers goroutines ask for all tokens again and again, until opStop
	opChurn   = "churn"   // Callers goroutines renew the accounts again and again, until opStop
	opStop    = "stop"    // of opLoad and opChurn
	opCount   = "count"   // what opLoad and opChurn have seen so far
	opInspect = "inspect" // the values of Keys in the Store
	opTouched = "touched" // all keys that Redis was asked for, locks too
)

type command struct {
	ID      int
	Op      string
	Ahead   time.Duration
	Apps    []string `json:",omitempty"`
	Keys    []string `json:",omitempty"`
	Callers int      `json:",omitempty"`
}

// reply is a line of a child's standard output; that with ID 0 comes first and has the address of its push handler.
type reply struct {
	ID      int
	Addr    string              `json:",omitempty"`
	Tokens  map[string][]string `json:",omitempty"` // the distinct values served, by appid
	Served  int                 `json:",omitempty"`
	Failed  int                 `json:",omitempty"`
	Errors  []string            `json:",omitempty"` // the first few
	Waiting int                 `json:",omitempty"` // callers who wait for a token now
	Kept    int                 `json:",omitempty"` // how often a token could not be refreshed and was served on
	Pushes  []string            `json:",omitempty"` // why pushes were not answered success, the first few
	Slowest time.Duration       `json:",omitempty"` // of the callers
	Values  map[string]string   `json:",omitempty"`
	Keys    []string            `json:",omitempty"`
}

// process is what a child is: one process of a platform.
type process struct {
	platform *wechatopen.Platform
	store    wechatopen.Store
	ahead    atomic.Int64
	waiting  atomic.Int64
	log      processLog
	running  tally // of opLoad and opChurn
	stop     chan struct{}
	stopped  sync.Once
	touched  touchedKeys
}

func (p *process) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

func child(in io.Reader, out io.Writer) error {
	input := json.NewDecoder(in)
	var s setup
	if err := input.Decode(&s); err != nil {
		return err
	}
	p := &process{stop: make(chan struct{})}
	p.ahead.Store(int64(s.Ahead))
	opts := []wechatopen.Option{
		wechatopen.WithEndpoints(s.Endpoints),
		wechatopen.WithClock(p.now),
		wechatopen.WithLogger(slog.New(&p.log)),
		wechatopen.WithHTTPClient(&http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{MaxIdleConnsPerHost: 100},
		}),
	}
	if s.Redis != "" {
		client := redis.NewClient(&redis.Options{Addr: s.Redis, ContextTimeoutEnabled: true})
		defer client.Close()
		client.AddHook(&p.touched)
		store := redisstore.New(client, redisstore.WithLease(s.Lease))
		p.store = store
		opts = append(opts, wechatopen.WithStore(store), wechatopen.WithLocker(tellingLocker{store, &p.log}))
	} else {
		store, err := boltstore.Open(s.Bolt, boltstore.WithClock(p.now))
		if err != nil {
			return err
		}
		defer store.Close()
		p.store = store
		opts = append(opts, wechatopen.WithStore(store))
	}
	var err error
	if p.platform, err = wechatopen.NewPlatform(s.Credentials, opts...); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: &wechatopen.TicketHandler{Platform: p.platform}, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	defer srv.Close()

	var mu sync.Mutex
	output := json.NewEncoder(out)
	tell := func(r reply) {
		mu.Lock()
		defer mu.Unlock()
		_ = output.Encode(r) // nobody reads it: the input ends too
	}
	tell(reply{Addr: ln.Addr().String()})
	for {
		var c command
		if err := input.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		p.ahead.Store(int64(c.Ahead))
		go func() {
			r := p.do(c)
			r.ID = c.ID
			tell(r)
		}()
	}
}

func (p *process) do(c command) reply {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch c.Op {
	case opAsk:
		return p.ask(ctx, c)
	case opRenew:
		var t tally
		t.each(len(c.Apps), func(i int) { p.renew(ctx, &t, c.Apps[i]) })
		return t.reply()
	case opLoad:
		return p.run(c, func(t *tally) {
			p.token(context.Background(), t, p.platform.AppID(), p.platform.ComponentToken())
			for _, app := range c.Apps {
				p.token(context.Background(), t, app, p.platform.Account(app).AccessToken())
			}
		})
	case opChurn:
		return p.run(c, func(t *tally) {
			for _, app := range c.Apps {
				p.renew(context.Background(), t, app)
			}
		})
	case opStop:
		p.stopped.Do(func() { close(p.stop) })
		return reply{}
	case opCount:
		r := p.running.reply()
		r.Waiting, r.Kept, r.Pushes = int(p.waiting.Load()), int(p.log.kept.Load()), p.log.failed()
		return r
	case opInspect:
		r := reply{Values: make(map[string]string)}
		for _, key := range c.Keys {
			v, err := p.store.Get(ctx, key)
			switch {
			case err == nil:
				r.Values[key] = string(v)
			case !errors.Is(err, wechatopen.ErrNotFound):
				r.Failed++
				r.Errors = append(r.Errors, err.Error())
			}
		}
		return r
	case opTouched:
		return reply{Keys: p.touched.all()}
	}
	return reply{Failed: 1, Errors: []string{"unknown command " + c.Op}}
}

// ask has all callers begin at the same moment.
func (p *process) ask(ctx context.Context, c command) reply {
	var t tally
	begin := make(chan struct{})
	time.AfterFunc(0, func() { close(begin) })
	t.each(c.Callers, func(i int) {
		<-begin
		start := time.Now()
		p.token(ctx, &t, p.platform.AppID(), p.platform.ComponentToken())
		if len(c.Apps) > 0 {
			app := c.Apps[i%len(c.Apps)]
			p.token(ctx, &t, app, p.platform.Account(app).AccessToken())
		}
		t.took(time.Since(start))
	})
	return t.reply()
}

// run repeats on many goroutines what do does, each some hundred times a second at most, until opStop.
func (p *process) run(c command, do func(*tally)) reply {
	p.running.each(c.Callers, func(int) {
		pace := time.NewTicker(5 * time.Millisecond)
		defer pace.Stop()
		for {
			do(&p.running)
			select {
			case <-p.stop:
				return
			case <-pace.C:
			}
		}
	})
	return p.running.reply()
}

func (p *process) token(ctx context.Context, t *tally, app string, src *wechatopen.CachedTokenSource) *wechatopen.Token {
	p.waiting.Add(1)
	token, err := src.Token(ctx)
	p.waiting.Add(-1)
	if err != nil {
		t.failed(fmt.Errorf("%s: %w", app, err))
		return nil
	}
	if !p.now().Before(token.Expiry) {
		t.failed(fmt.Errorf("%s: a token was served that ended at %v", app, token.Expiry))
	}
	t.served(app, token.Value)
	return token
}

// renew has the library believe that WeChat refused the token.
func (p *process) renew(ctx context.Context, t *tally, app string) {
	src := p.platform.Account(app).AccessToken()
	token, err := src.Token(ctx)
	if err != nil {
		t.failed(fmt.Errorf("%s: %w", app, err))
		return
	}
	_ = src.Invalidate(ctx, token)
	p.token(ctx, t, app, src)
}

// tally is what callers have seen.
type tally struct {
	mu sync.Mutex
	r  reply
}

func (t *tally) each(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// maxDistinct bounds the values that a reply holds of one token: opChurn sees many.
const maxDistinct = 16

func (t *tally) served(app, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Served++
	if t.r.Tokens == nil {
		t.r.Tokens = make(map[string][]string)
	}
	if values := t.r.Tokens[app]; len(values) < maxDistinct && !slices.Contains(values, value) {
		t.r.Tokens[app] = append(values, value)
	}
}

func (t *tally) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Failed++
	if len(t.r.Errors) < 5 {
		t.r.Errors = append(t.r.Errors, err.Error())
	}
}

func (t *tally) took(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Slowest = max(t.r.Slowest, d)
}

// reply is a copy: the callers may go on.
func (t *tally) reply() reply {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.r
	r.Errors = slices.Clone(r.Errors)
	r.Tokens = make(map[string][]string, len(t.r.Tokens))
	for app, values := range t.r.Tokens {
		r.Tokens[app] = slices.Clone(values)
	}
	return r
}

// processLog prints nothing: the tests cause most of what goes wrong, and ask for the rest.
type processLog struct {
	slog.Handler // nil: no logger is derived
	kept         atomic.Int64

	mu     sync.Mutex
	pushes []string
}

func (l *processLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *processLog) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "wechatopen: token not refreshed; the present one is served":
		l.kept.Add(1)
	case "wechatopen: push not handled":
		r.Attrs(func(a slog.Attr) bool { l.add(a.String()); return true })
	}
	return nil
}

func (l *processLog) add(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pushes) < 10 {
		l.pushes = append(l.pushes, why)
	}
}

// tellingLocker notes in the log why a lock was lost.
type tellingLocker struct {
	wechatopen.Locker
	log *processLog
}

func (t tellingLocker) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	held, unlock, err := t.Locker.Lock(ctx, key)
	if err == nil {
		context.AfterFunc(held, func() {
			if why := context.Cause(held); errors.Is(why, redisstore.ErrLockLost) {
				t.log.add(why.Error())
			}
		})
	}
	return held, unlock, err
}

func (l *processLog) failed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.pushes)
}

// touchedKeys hears of every key that a command names.
type touchedKeys struct {
	mu   sync.Mutex
	keys map[string]bool
}

func (k *touchedKeys) DialHook(next redis.DialHook) redis.DialHook { return next }

func (k *touchedKeys) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next // redisstore has none, but go-redis itself greets the server with one
}

func (k *touchedKeys) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		at := 1
		switch cmd.Name() {
		case "evalsha", "eval":
			at = 3 // after the script and the number of keys
		case "hello", "client":
			return next(ctx, cmd) // how go-redis greets a server; they name no key
		}
		if args := cmd.Args(); at < len(args) {
			k.mu.Lock()
			if k.keys == nil {
				k.keys = make(map[string]bool)
			}
			k.keys[fmt.Sprint(args[at])] = true
			k.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

func (k *touchedKeys) all() (keys []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.keys {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}
