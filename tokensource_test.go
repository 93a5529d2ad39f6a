package wechatopen_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	opComponentToken  = "/cgi-bin/component/api_component_token"
	opAuthorizerToken = "/cgi-bin/component/api_authorizer_token"
	opGetTicket       = "/cgi-bin/ticket/getticket"
	opStableToken     = "/cgi-bin/stable_token"
	opBasicToken      = "/cgi-bin/token"
	opEcho            = "/cgi-bin/test/echo"
)

// tokenOf asks a source that must have a token.
func tokenOf(t *testing.T, s wechatopen.TokenSource) *wechatopen.Token {
	t.Helper()
	tok, err := s.Token(t.Context())
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	if tok.Value == "" {
		t.Fatal("Token: empty value without an error")
	}
	return tok
}

// noToken asks a source that must not have one.
func noToken(t *testing.T, s wechatopen.TokenSource) error {
	t.Helper()
	tok, err := s.Token(t.Context())
	if err == nil {
		t.Fatalf("Token: got %v, want an error", tok)
	}
	if tok != nil {
		t.Errorf("Token: a token beside the error %v", err)
	}
	return err
}

// together runs f n times at once and returns when all have ended. All have begun before open, if not nil, is called.
func together(n int, open func(), f func(i int)) {
	var begun, done sync.WaitGroup
	begun.Add(n)
	for i := range n {
		done.Go(func() {
			begun.Done()
			f(i)
		})
	}
	begun.Wait()
	if open != nil {
		open()
	}
	done.Wait()
}

// keyLocker is a Locker that several Platforms share, as they would one in Redis.
type keyLocker struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
	held  map[string]context.CancelFunc
	fail  error // what Lock returns, if not nil
}

func (l *keyLocker) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *keyLocker) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	l.mu.Lock()
	if l.fail != nil {
		defer l.mu.Unlock()
		return nil, nil, l.fail
	}
	if l.locks == nil {
		l.locks, l.held = map[string]chan struct{}{}, map[string]context.CancelFunc{}
	}
	lock := l.locks[key]
	if lock == nil {
		lock = make(chan struct{}, 1)
		l.locks[key] = lock
	}
	l.mu.Unlock()
	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	l.held[key] = cancel
	l.mu.Unlock()
	return held, sync.OnceFunc(func() { cancel(); <-lock }), nil
}

// lose ends every held, as when leases are lost.
func (l *keyLocker) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, cancel := range l.held {
		cancel()
	}
}

// wire is a transport made of a function.
type wire func(*http.Request) (*http.Response, error)

func (f wire) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func wireAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// bubble is WeChat inside a synctest bubble, where time passes when all sleep and there is no network.
type bubble struct {
	mu     sync.Mutex
	count  map[string]int
	answer func(r *http.Request, n int) (string, error) // to the nth request of a path, from 1
}

func (b *bubble) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	if b.count == nil {
		b.count = map[string]int{}
	}
	b.count[r.URL.Path]++
	n := b.count[r.URL.Path]
	b.mu.Unlock()
	body, err := b.answer(r, n)
	if err != nil {
		return nil, err
	}
	return wireAnswer(r, 200, body), nil
}

func (b *bubble) calls(path string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count[path]
}

// account is an account of one's own whose WeChat is b. The clock is that of the bubble.
func (b *bubble) account(t *testing.T, opts ...wechatopen.Option) *wechatopen.Account {
	t.Helper()
	all := []wechatopen.Option{
		wechatopen.WithHTTPClient(&http.Client{Transport: b, Timeout: 10 * time.Second}),
		wechatopen.WithLogger(slog.New(slog.DiscardHandler)),
	}
	a, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: "wx0123456789abcdef", AppSecret: "secret"}, append(all, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// pass lets d go by in a bubble, and what is due then come to its end.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func numberedToken(n, expiresIn int) string {
	return fmt.Sprintf(`{"access_token":"token-%d","expires_in":%d}`, n, expiresIn)
}

// attacks.md 35
func TestTokenIsFetchedOnceForTenThousandCallers(t *testing.T) {
	w := newWorld(t)
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opComponentToken, Gate: gate})
	const callers = 10_000
	got := make([]*wechatopen.Token, callers)
	together(callers, func() { close(gate) }, func(i int) {
		tok, err := w.platform.ComponentToken().Token(t.Context())
		if err != nil {
			t.Error(err)
		}
		got[i] = tok
	})
	if n := w.sim.Count(opComponentToken); n != 1 {
		t.Errorf("%d fetches for %d callers, want 1", n, callers)
	}
	for i, tok := range got {
		if tok == nil || tok.Value == "" || tok.Value != got[0].Value {
			t.Fatalf("caller %d got %v, the first %v", i, tok, got[0])
		}
	}
}

// attacks.md 35: not the Store alone keeps callers together, which holds nothing when the fetch fails.
func TestFailedFetchIsSharedByAllWhoWait(t *testing.T) {
	w := newWorld(t)
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opComponentToken, Gate: gate, ErrCode: -1})
	together(1000, func() { close(gate) }, func(int) {
		if _, err := w.platform.ComponentToken().Token(t.Context()); err == nil {
			t.Error("no error")
		}
	})
	if n := w.sim.Count(opComponentToken); n != 1 {
		t.Errorf("%d fetches for a thousand callers, want 1", n)
	}
}

// attacks.md 35
func TestTwoPlatformsWithOneStoreAndLockerFetchOnce(t *testing.T) {
	locker := wechatopen.WithLocker(&keyLocker{})
	w := newWorld(t, locker)
	w.ready()
	w.sim.Advance(3 * time.Hour) // all tokens are over, the ticket and the grant are not
	w.sim.ResetJournal()
	platforms := []*wechatopen.Platform{w.newPlatform(locker), w.newPlatform(locker)}
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opComponentToken, Gate: gate})
	got := make([]string, 1000)
	together(len(got), func() { close(gate) }, func(i int) {
		tok, err := platforms[i%2].Account(w.shop.AppID()).JSAPITicket().Token(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		got[i] = tok.Value
	})
	for _, path := range []string{opComponentToken, opAuthorizerToken, opGetTicket} {
		if n := w.sim.Count(path); n != 1 {
			t.Errorf("%s: %d fetches by two platforms, want 1", path, n)
		}
	}
	if slices.Sort(got); got[0] != got[len(got)-1] {
		t.Error("the platforms have different tickets")
	}
}

// attacks.md 36
func TestTokenComesThoughItsFirstCallerLeaves(t *testing.T) {
	w := newWorld(t)
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opComponentToken, Gate: gate})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := w.platform.ComponentToken().Token(ctx)
		left <- err
	}()
	for w.sim.Count(opComponentToken) == 0 { // the fetch is under way, on behalf of that caller
		runtime.Gosched()
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who left got %v, want context.Canceled", err)
	}
	together(100, func() { close(gate) }, func(int) {
		if _, err := w.platform.ComponentToken().Token(t.Context()); err != nil {
			t.Errorf("another caller: %v", err)
		}
	})
	if n := w.sim.Count(opComponentToken); n != 1 {
		t.Errorf("%d fetches, want 1: the first one goes on", n)
	}
}

// attacks.md 38
func TestTokenIsServedThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) {
			if down.Load() {
				return "", errors.New("connection refused")
			}
			return numberedToken(n, 7200), nil
		}}
		var log logBuffer
		src := b.account(t, wechatopen.WithLogger(log.logger())).AccessToken()
		first := tokenOf(t, src)
		pass(110 * time.Minute)
		down.Store(true)
		for range 599 { // ten minutes but a second
			for range 20 {
				if got := tokenOf(t, src); got.Value != first.Value {
					t.Fatalf("got %q, want the token that is still valid", got.Value)
				}
			}
			pass(time.Second)
		}
		// 12,000 requests; with doubling pauses some fifteen fetches if the longest is a minute, sixty if it is eight seconds.
		if n := b.calls(opStableToken) - 1; n < 5 || n > 80 {
			t.Errorf("%d fetches in the last ten minutes of a token, want 5 to 80", n)
		}
		if !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("no warning that a token is near its end:\n%s", &log)
		}
		pass(time.Second)
		before := b.calls(opStableToken)
		for range 50 * 60 {
			noToken(t, src)
			pass(time.Second)
		}
		if n := b.calls(opStableToken) - before; n < 20 || n > 400 {
			t.Errorf("%d fetches in fifty minutes without a token, want one to eight a minute", n)
		}
		down.Store(false)
		pass(75 * time.Second) // the longest pause
		if got := tokenOf(t, src); got.Value == first.Value {
			t.Error("the token of before, which is over")
		}
	})
}

// attacks.md 38: "back at once afterwards". At once is taken to be ten seconds, which asks WeChat six times a minute at
// most.
func TestTokenIsBackAtOnceAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) {
			if down.Load() {
				return "", errors.New("connection refused")
			}
			return numberedToken(n, 7200), nil
		}}
		src := b.account(t).AccessToken()
		tokenOf(t, src)
		pass(110 * time.Minute)
		down.Store(true)
		for range 60 * 60 {
			_, _ = src.Token(t.Context())
			pass(time.Second)
		}
		// Worst case: WeChat is back just after an attempt.
		for n := b.calls(opStableToken); b.calls(opStableToken) == n; pass(100 * time.Millisecond) {
			_, _ = src.Token(t.Context())
		}
		down.Store(false)
		back := time.Now()
		for {
			if _, err := src.Token(t.Context()); err == nil {
				break
			}
			pass(100 * time.Millisecond)
		}
		if d := time.Since(back); d > 10*time.Second {
			t.Errorf("WeChat is back for %v before a token is fetched, want 10s at most", d)
		}
	})
}

// attacks.md 39
func TestTokensInMemoryOutliveTheStore(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	sources := []*wechatopen.CachedTokenSource{w.platform.ComponentToken(), a.AccessToken(), a.JSAPITicket()}
	want := make([]string, len(sources))
	for i, s := range sources {
		want[i] = tokenOf(t, s).Value
	}
	before := w.store.snapshot()
	w.sim.ResetJournal()
	broken := errors.New("store is down")
	w.store.setFail(broken)
	// With the tokens a second from their end a refresh is overdue, and must not take place: nothing could be kept.
	w.sim.Advance(2*time.Hour - 30*time.Second)
	for i, s := range sources {
		for range 100 {
			if got := tokenOf(t, s); got.Value != want[i] {
				t.Fatalf("source %d: another token while the Store is down", i)
			}
		}
	}
	w.sim.Advance(time.Minute)
	for _, s := range sources {
		if err := noToken(t, s); !errors.Is(err, broken) {
			t.Errorf("after the end of the token: %v, want the Store's error", err)
		}
	}
	if calls := w.sim.Calls(); len(calls) != 0 {
		t.Errorf("%d calls of WeChat while the Store is down, the first %s", len(calls), calls[0].Path)
	}
	w.store.setFail(nil)
	if after := w.store.snapshot(); !maps.Equal(before, after) {
		t.Error("the Store has changed")
	}
	w.sim.Advance(2 * time.Minute)
	for _, s := range sources {
		tokenOf(t, s)
	}
}

// attacks.md 39: the same to the second, in a bubble: background refreshes have ended before anything is counted.
func TestNothingIsRefreshedWhileTheStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: wechatopen.NewMemoryStore()}
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) { return numberedToken(n, 7200), nil }}
		src := b.account(t, wechatopen.WithStore(store)).AccessToken()
		first := tokenOf(t, src)
		pass(110 * time.Minute)
		store.setFail(errors.New("store is down"))
		for range 599 {
			if got := tokenOf(t, src); got.Value != first.Value {
				t.Fatalf("got %q while the Store is down", got.Value)
			}
			pass(time.Second)
		}
		if n := b.calls(opStableToken); n != 1 {
			t.Errorf("%d fetches, want none while the Store is down", n-1)
		}
		pass(time.Second)
		noToken(t, src)
		store.setFail(nil)
		pass(75 * time.Second)
		tokenOf(t, src)
		if n := b.calls(opStableToken); n != 2 {
			t.Errorf("%d fetches, want one more when the Store is back", n)
		}
	})
}

// attacks.md 39
func TestStoreErrorIsNotAMiss(t *testing.T) {
	w := newWorld(t)
	w.ready()
	w.sim.ResetJournal()
	broken := errors.New("store is down")
	w.store.setFail(broken)
	p := w.newPlatform() // holds nothing in memory
	a := p.Account(w.shop.AppID())
	own, _ := w.ownAccount() // needs nothing but its secret to fetch a token
	for _, s := range []*wechatopen.CachedTokenSource{p.ComponentToken(), a.AccessToken(), a.JSAPITicket(), own.AccessToken(), own.JSAPITicket()} {
		err := noToken(t, s)
		if !errors.Is(err, broken) || errors.Is(err, wechatopen.ErrNotFound) || errors.Is(err, wechatopen.ErrNoTicket) || errors.Is(err, wechatopen.ErrNotAuthorized) {
			t.Errorf("error %v, want the Store's and no other", err)
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat, want none", n)
	}
}

// attacks.md 39
func TestNothingIsRefreshedWithoutTheLock(t *testing.T) {
	locker := &keyLocker{}
	w := newWorld(t, wechatopen.WithLocker(locker))
	w.ready()
	src := w.platform.ComponentToken()
	present := tokenOf(t, src)
	w.sim.ResetJournal()
	broken := errors.New("lock server is down")
	locker.setFail(broken)
	w.sim.Advance(2*time.Hour - 30*time.Second)
	for range 100 {
		if got := tokenOf(t, src); got.Value != present.Value {
			t.Fatal("another token without the lock")
		}
	}
	w.sim.Advance(time.Minute)
	if err := noToken(t, src); !errors.Is(err, broken) {
		t.Errorf("error %v, want the Locker's", err)
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat without the lock, want none", n)
	}
	locker.setFail(nil)
	w.sim.Advance(2 * time.Minute)
	tokenOf(t, src)
}

// attacks.md 41
func TestExpiresInIsSaneOrAnError(t *testing.T) {
	for _, tc := range []struct {
		expiresIn string // JSON; empty: the field is missing
		want      time.Duration
	}{
		{"0", 0},
		{"-1", 0},
		{"-9223372036854775808", 0},
		{"", 0},
		{"null", 0},
		{`""`, 0},
		{`"soon"`, 0},
		{"true", 0},
		{"{}", 0},
		{"0.5", 0},
		{"1", time.Second},
		{"345", 345 * time.Second},
		{"1e3", 1000 * time.Second},
		{`"7200"`, 7200 * time.Second},
		{"7200", 7200 * time.Second},
		{"86400", 24 * time.Hour},
		{"86401", 24 * time.Hour},
		{"9223372036854775807", 24 * time.Hour}, // overflows when it is made a Duration
		{"18446744073", 24 * time.Hour},         // seconds whose nanoseconds wrap round to a small positive number
		{"1e400", 0},
	} {
		field := `"expires_in":` + tc.expiresIn
		if tc.expiresIn == "" {
			field = `"other":1`
		}
		t.Run(field, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.comp.PushTicket(t.Context()); err != nil {
				t.Fatal(err)
			}
			edit := func(body []byte) []byte {
				out := bytes.Replace(body, []byte(`"expires_in":7200`), []byte(field), 1)
				if bytes.Contains(body, []byte("expires_in")) && !strings.Contains(field, "7200") && bytes.Equal(out, body) {
					t.Errorf("the answer of the simulator was not edited: %s", body)
				}
				return out
			}
			w.sim.Inject(wechattest.Fault{Path: opComponentToken, Times: 1, Edit: edit})
			before, start := w.store.snapshot(), w.sim.Now()
			tok, err := w.platform.ComponentToken().Token(t.Context())
			end := w.sim.Now()
			if tc.want != 0 {
				if err != nil {
					t.Fatal(err)
				}
				if born := tok.Expiry.Add(-tc.want); born.Before(start) || born.After(end) {
					t.Errorf("expires %v after it was asked for, want %v", tok.Expiry.Sub(start), tc.want)
				}
				w.sim.Advance(tc.want)
				if _, err := w.comp.PushTicket(t.Context()); err != nil { // the one before lives twelve hours
					t.Fatal(err)
				}
				if next := tokenOf(t, w.platform.ComponentToken()); next.Value == tok.Value {
					t.Error("served after its end")
				}
				return
			}
			if err == nil {
				t.Fatalf("a token until %v, want an error", tok.Expiry)
			}
			if msg := err.Error(); !strings.HasPrefix(msg, "wechatopen: ") || len(msg) > 200 {
				t.Errorf("not a clear error: %s", msg)
			}
			if after := w.store.snapshot(); !maps.Equal(before, after) {
				t.Error("the Store has changed")
			}
			w.sim.Advance(2 * time.Second) // the pause after a failure
			tokenOf(t, w.platform.ComponentToken())
		})
	}
}

// attacks.md 41
func TestAnswerWithoutATokenIsAnError(t *testing.T) {
	for _, body := range []string{`{}`, `{"expires_in":7200}`, `{"component_access_token":"","expires_in":7200}`, `{"component_access_token":null,"expires_in":7200}`, `{"errcode":0,"errmsg":"ok"}`} {
		w := newWorld(t)
		if _, err := w.comp.PushTicket(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.sim.Inject(wechattest.Fault{Path: opComponentToken, Times: 1, Body: []byte(body)})
		before := w.store.snapshot()
		noToken(t, w.platform.ComponentToken())
		if after := w.store.snapshot(); !maps.Equal(before, after) {
			t.Errorf("%s: the Store has changed", body)
		}
		w.sim.Advance(2 * time.Second)
		tokenOf(t, w.platform.ComponentToken())
	}
}

// attacks.md 41
func TestGrantIsKeptWhenItsTokenIsUnusable(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(wechattest.Fault{Path: "/cgi-bin/component/api_query_auth", Times: 1, Edit: func(body []byte) []byte {
		return bytes.Replace(body, []byte(`"expires_in":7200`), []byte(`"expires_in":0`), 1)
	}})
	a := w.ready()
	if n := w.sim.Count(opAuthorizerToken); n != 0 {
		t.Fatalf("%d refreshes before a token was needed", n)
	}
	tokenOf(t, a.AccessToken())
	if n := w.sim.Count(opAuthorizerToken); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestTokenIsRefreshedAheadInTheBackground(t *testing.T) {
	for _, tc := range []struct{ life, ahead int }{ // seconds
		{7200, 600},
		{3600, 600},
		{1800, 300}, // shorter than an hour: the last sixth
		{345, 57},
		{60, 10},
	} {
		t.Run(fmt.Sprint(tc.life), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				b := &bubble{answer: func(_ *http.Request, n int) (string, error) {
					if n > 1 {
						<-gate
					}
					return numberedToken(n, tc.life), nil
				}}
				src := b.account(t).AccessToken()
				first := tokenOf(t, src)
				if want := time.Now().Add(time.Duration(tc.life) * time.Second); !first.Expiry.Equal(want) {
					t.Errorf("expires %v, want %v", first.Expiry, want)
				}
				pass(time.Until(first.Expiry) - time.Duration(tc.ahead+1)*time.Second)
				tokenOf(t, src)
				synctest.Wait()
				if n := b.calls(opStableToken); n != 1 {
					t.Fatalf("refreshed more than %ds before its end", tc.ahead)
				}
				// A tenth of that time is left to chance.
				pass(time.Second + time.Duration(tc.ahead)*time.Second/10)
				for range 100 {
					if got := tokenOf(t, src); got.Value != first.Value {
						t.Fatal("the present token is not served during the refresh")
					}
				}
				synctest.Wait()
				if n := b.calls(opStableToken); n != 2 {
					t.Fatalf("%d fetches, want a second one %ds before the end", n, tc.ahead)
				}
				close(gate)
				synctest.Wait()
				if got := tokenOf(t, src); got.Value != "token-2" {
					t.Errorf("got %q after the refresh", got.Value)
				}
				if n := b.calls(opStableToken); n != 2 {
					t.Errorf("%d fetches, want 2", n)
				}
			})
		})
	}
}

func TestRefreshesOfManyAccountsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) { return numberedToken(n, 7200), nil }}
		sources := make([]*wechatopen.CachedTokenSource, 64)
		ask := func() int {
			for _, s := range sources {
				tokenOf(t, s)
			}
			synctest.Wait()
			return b.calls(opStableToken) - len(sources)
		}
		for i := range sources {
			sources[i] = b.account(t).AccessToken()
		}
		ask()
		pass(110*time.Minute - time.Second)
		if n := ask(); n != 0 {
			t.Errorf("%d refreshed more than ten minutes before the end", n)
		}
		pass(31 * time.Second)
		if n := ask(); n == 0 || n == len(sources) {
			t.Errorf("%d of %d refreshed in the first half of the spread: not spread", n, len(sources))
		}
		pass(30 * time.Second)
		if n := ask(); n != len(sources) {
			t.Errorf("%d of %d refreshed nine minutes before the end", n, len(sources))
		}
	})
}

func TestFailureIsRememberedTwiceAsLongEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time // of the attempts; RoundTrip is called by one flight at a time
		b := &bubble{answer: func(*http.Request, int) (string, error) {
			at = append(at, time.Now())
			return "", errors.New("connection refused")
		}}
		src := b.account(t).AccessToken()
		const step = 50 * time.Millisecond
		for range 8 * 60 * 20 {
			noToken(t, src)
			pass(step)
		}
		if len(at) < 10 {
			t.Fatalf("%d attempts in eight minutes", len(at))
		}
		// Doubling from a second to some longest pause between eight seconds and a minute.
		want := time.Second
		for i := 1; i < len(at); i++ {
			gap := at[i].Sub(at[i-1])
			if gap < min(want, 8*time.Second) || gap > want+want/4+step {
				t.Errorf("attempt %d came %v after the one before, want %v and up to a quarter more", i+1, gap, want)
			}
			want = min(2*want, time.Minute)
		}
	})
}

func TestSuccessMakesTheNextFailureAFirstOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) {
			if down.Load() {
				return "", errors.New("connection refused")
			}
			return numberedToken(n, 7200), nil
		}}
		src := b.account(t).AccessToken()
		down.Store(true)
		for range 300 {
			noToken(t, src)
			pass(time.Second)
		}
		down.Store(false)
		pass(75 * time.Second)
		tok := tokenOf(t, src)
		down.Store(true)
		if err := src.Invalidate(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
		noToken(t, src)
		down.Store(false)
		pass(1250 * time.Millisecond)
		tokenOf(t, src)
	})
}

func TestWhatAPersonMustMendIsRemembered(t *testing.T) {
	for _, tc := range []struct {
		code int
		long time.Duration
	}{
		{40001, time.Minute}, // wrong secret
		{40013, time.Minute},
		{40125, time.Minute},
		{40164, time.Minute}, // IP not listed
		{45035, time.Minute},
		{61004, time.Minute},
		{61011, time.Minute},
		{45009, 10 * time.Minute}, // the day's calls are used up
	} {
		t.Run(fmt.Sprint(tc.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bubble{answer: func(*http.Request, int) (string, error) {
					return fmt.Sprintf(`{"errcode":%d,"errmsg":"refused"}`, tc.code), nil
				}}
				src := b.account(t).AccessToken()
				start := time.Now()
				for time.Since(start) < tc.long-time.Second {
					var refusal *wechatopen.APIError
					if err := noToken(t, src); !errors.As(err, &refusal) || refusal.Code != tc.code {
						t.Fatalf("error %v, want errcode %d", err, tc.code)
					}
					pass(time.Second)
				}
				if n := b.calls(opStableToken); n != 1 {
					t.Errorf("asked WeChat %d times in %v, want once", n, tc.long)
				}
				pass(2 * time.Second)
				noToken(t, src)
				if n := b.calls(opStableToken); n != 2 {
					t.Errorf("asked WeChat %d times, want again after %v", n, tc.long)
				}
			})
		})
	}
}

func TestMissingTicketIsNotRemembered(t *testing.T) {
	w := newWorld(t)
	src := w.platform.ComponentToken()
	for range 50 {
		if err := noToken(t, src); !errors.Is(err, wechatopen.ErrNoTicket) {
			t.Fatalf("error %v, want ErrNoTicket", err)
		}
		if err := w.platform.Get(t.Context(), "/cgi-bin/getcallbackip", nil, nil); !errors.Is(err, wechatopen.ErrNoTicket) {
			t.Fatalf("error %v, want ErrNoTicket", err)
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat without a ticket", n)
	}
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokenOf(t, src) // at once
}

func TestRefusedTicketIsNoTicketUntilTheNextPush(t *testing.T) {
	for _, code := range []int{61005, 61006} {
		w := newWorld(t)
		if _, err := w.comp.PushTicket(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.sim.Inject(wechattest.Fault{Path: opComponentToken, ErrCode: code})
		for range 20 {
			err := noToken(t, w.platform.ComponentToken())
			var refusal *wechatopen.APIError
			if !errors.Is(err, wechatopen.ErrNoTicket) || !errors.As(err, &refusal) || refusal.Code != code {
				t.Fatalf("error %v, want ErrNoTicket and errcode %d", err, code)
			}
		}
		// Unlike a ticket that is missing, this one costs a call to find out.
		if n := w.sim.Count(opComponentToken); n > 2 {
			t.Errorf("%d: WeChat asked %d times for twenty callers", code, n)
		}
		w.sim.ClearFaults()
		if _, err := w.comp.PushTicket(t.Context()); err != nil {
			t.Fatal(err)
		}
		tokenOf(t, w.platform.ComponentToken()) // at once
	}
}

func TestAccountWorksAtOnceWhenATicketComes(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.JSAPITicket())
	w.sim.Advance(13 * time.Hour) // no ticket was pushed meanwhile: 61005
	for range 5 {
		if err := a.Get(t.Context(), opEcho, nil, nil); !errors.Is(err, wechatopen.ErrNoTicket) {
			t.Fatalf("error %v, want ErrNoTicket", err)
		}
		noToken(t, a.JSAPITicket())
		w.sim.Advance(2 * time.Minute)
	}
	noToken(t, a.AccessToken())
	noToken(t, a.JSAPITicket())
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokenOf(t, w.platform.ComponentToken())
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
		t.Errorf("the component has a token again, and the account remembers that it had none: %v", err)
	}
	if _, err := a.JSAPITicket().Token(t.Context()); err != nil {
		t.Errorf("ticket of the account: %v", err)
	}
}

func TestMissingTicketDoesNotMakeALaterFailureLong(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.sim.Advance(3 * time.Hour)
	// The Store of a platform that was never pushed a ticket, as far as its token goes.
	for key := range w.store.snapshot() {
		if strings.HasSuffix(key, ":ticket") || strings.HasSuffix(key, ":component_token") {
			if err := w.store.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 50 {
		if err := noToken(t, a.AccessToken()); !errors.Is(err, wechatopen.ErrNoTicket) {
			t.Fatalf("error %v, want ErrNoTicket", err)
		}
	}
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.sim.Inject(wechattest.Fault{Path: opAuthorizerToken, Times: 1, Status: 502})
	noToken(t, a.AccessToken())
	w.sim.Advance(1250 * time.Millisecond) // a first failure is remembered for a second and a quarter at most
	if _, err := a.AccessToken().Token(t.Context()); err != nil {
		t.Errorf("one bad gateway is remembered longer than a first failure: %v", err)
	}
}

// What a used-up quota made the sources remember, clearing it must make them forget.
func TestClearQuotaLetsTokensBeFetchedAtOnce(t *testing.T) {
	t.Run("component token", func(t *testing.T) {
		w := newWorld(t)
		w.ready()
		src := w.platform.ComponentToken()
		w.sim.SetQuota(opComponentToken, 1) // is used
		if err := src.Invalidate(t.Context(), tokenOf(t, src)); err != nil {
			t.Fatal(err)
		}
		wantCode(t, noToken(t, src), 45009)
		if err := w.platform.ClearQuota(t.Context()); err != nil {
			t.Fatal(err)
		}
		tokenOf(t, src)
	})
	t.Run("authorizer token", func(t *testing.T) {
		w := newWorld(t)
		a := w.ready()
		w.sim.SetQuota(opAuthorizerToken, 0) // spends the component's quota
		if err := a.AccessToken().Invalidate(t.Context(), tokenOf(t, a.AccessToken())); err != nil {
			t.Fatal(err)
		}
		wantCode(t, noToken(t, a.AccessToken()), 45009)
		w.sim.SetQuota(opAuthorizerToken, 1)
		if err := w.platform.ClearQuota(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.AccessToken().Token(t.Context()); err != nil {
			t.Errorf("after Platform.ClearQuota: %v", err)
		}
	})
	t.Run("ticket", func(t *testing.T) {
		w := newWorld(t)
		a := w.ready()
		w.sim.SetQuota(opGetTicket, 0)
		wantCode(t, noToken(t, a.JSAPITicket()), 45009)
		w.sim.SetQuota(opGetTicket, 1)
		if err := a.ClearQuota(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.JSAPITicket().Token(t.Context()); err != nil {
			t.Errorf("after Account.ClearQuota: %v", err)
		}
	})
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var refusal *wechatopen.APIError
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Fatalf("error %v, want errcode %d", err, code)
	}
}

func TestInvalidateDropsOnlyTheCurrentToken(t *testing.T) {
	w := newWorld(t)
	w.ready()
	src := w.platform.ComponentToken()
	first := tokenOf(t, src)
	w.store.setFail(errors.New("store is down")) // where a token that was dropped would come from again
	for _, bad := range []*wechatopen.Token{nil, {}, {Value: "another"}, {Value: "another", Expiry: first.Expiry}} {
		if err := src.Invalidate(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		if got := tokenOf(t, src); got.Value != first.Value {
			t.Fatalf("%v dropped the current token", bad)
		}
	}
	w.store.setFail(nil)
	if err := src.Invalidate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second := tokenOf(t, src)
	if second.Value == first.Value {
		t.Fatal("the dropped token was taken from the Store again")
	}
	fetches := w.sim.Count(opComponentToken)
	together(100, nil, func(int) { // late callers whose call failed with the first token
		if err := src.Invalidate(t.Context(), first); err != nil {
			t.Error(err)
		}
		if got, err := src.Token(t.Context()); err != nil || got.Value != second.Value {
			t.Errorf("got %v, %v; the current token was dropped for the one before", got, err)
		}
	})
	if n := w.sim.Count(opComponentToken); n != fetches {
		t.Errorf("%d more fetches", n-fetches)
	}
}

// WeChat may hand out the same value as long as it lives, as it does with tickets.
func TestSameValueAgainIsNotFetchedByEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{answer: func(r *http.Request, n int) (string, error) {
			if r.URL.Path == opGetTicket {
				return `{"errcode":0,"errmsg":"ok","ticket":"the same","expires_in":7200}`, nil
			}
			return numberedToken(n, 7200), nil
		}}
		src := b.account(t).JSAPITicket()
		if err := src.Invalidate(t.Context(), tokenOf(t, src)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			tokenOf(t, src)
			pass(time.Second)
		}
		if n := b.calls(opGetTicket); n > 4 {
			t.Errorf("%d fetches for a hundred callers in a hundred seconds, want 2 or little more", n)
		}
	})
}

func TestSecondPlatformTakesTokensFromTheStore(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	want := []string{tokenOf(t, w.platform.ComponentToken()).Value, tokenOf(t, a.AccessToken()).Value, tokenOf(t, a.JSAPITicket()).Value, tokenOf(t, a.CardTicket()).Value}
	w.sim.ResetJournal()
	before := w.store.snapshot()
	p := w.newPlatform()
	b := p.Account(w.shop.AppID())
	for i, s := range []*wechatopen.CachedTokenSource{p.ComponentToken(), b.AccessToken(), b.JSAPITicket(), b.CardTicket()} {
		got := tokenOf(t, s)
		if got.Value != want[i] {
			t.Errorf("source %d: another token", i)
		}
		if left := got.Expiry.Sub(w.sim.Now()); left < 7190*time.Second || left > 7200*time.Second {
			t.Errorf("source %d: %v left of two hours", i, left)
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat, want none", n)
	}
	if !maps.Equal(before, w.store.snapshot()) {
		t.Error("the Store has changed")
	}
}

// ofVersion is a record as another release might have written it.
func ofVersion(record, version string) string {
	if strings.HasPrefix(record, "1 ") {
		return version + record[1:]
	}
	return strings.Replace(record, `"v":1`, `"v":`+version, 1)
}

func TestUnreadableRecordIsAnErrorAndStays(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.JSAPITicket())
	prefix := "wechatopen:" + w.comp.AppID() + ":"
	shop := prefix + w.shop.AppID() + ":"
	for _, tc := range []struct {
		key    string
		hide   string // a record that would answer without the damaged one
		path   string // what must not be called
		source func(*wechatopen.Platform) *wechatopen.CachedTokenSource
	}{
		{prefix + "component_token", "", opComponentToken, func(p *wechatopen.Platform) *wechatopen.CachedTokenSource { return p.ComponentToken() }},
		{prefix + "ticket", prefix + "component_token", opComponentToken, func(p *wechatopen.Platform) *wechatopen.CachedTokenSource { return p.ComponentToken() }},
		{shop + "access_token", "", opAuthorizerToken, func(p *wechatopen.Platform) *wechatopen.CachedTokenSource {
			return p.Account(w.shop.AppID()).AccessToken()
		}},
		{shop + "grant", shop + "access_token", opAuthorizerToken, func(p *wechatopen.Platform) *wechatopen.CachedTokenSource {
			return p.Account(w.shop.AppID()).AccessToken()
		}},
		{shop + "ticket:jsapi", "", opGetTicket, func(p *wechatopen.Platform) *wechatopen.CachedTokenSource {
			return p.Account(w.shop.AppID()).JSAPITicket()
		}},
	} {
		good, ok := w.store.snapshot()[tc.key]
		if !ok {
			t.Fatalf("the Store has no %s: %v", tc.key, slices.Collect(maps.Keys(w.store.snapshot())))
		}
		for _, damaged := range []string{
			"sealed-by-another-program", "", "null", "[]", "{}", good[:len(good)-1],
			ofVersion(good, "2"), ofVersion(good, "0"),
		} {
			t.Run(tc.key[len(prefix):]+"="+damaged[:min(len(damaged), 8)], func(t *testing.T) {
				store := &faultyStore{Store: wechatopen.NewMemoryStore()}
				for k, v := range w.store.snapshot() {
					if k == tc.key {
						v = damaged
					}
					if k != tc.hide {
						if err := store.Set(t.Context(), k, []byte(v), 0); err != nil {
							t.Fatal(err)
						}
					}
				}
				before := store.snapshot()
				w.sim.ResetJournal()
				var log logBuffer
				err := noToken(t, tc.source(w.newPlatform(wechatopen.WithStore(store), wechatopen.WithLogger(log.logger()))))
				if msg := err.Error(); !strings.Contains(msg, tc.key) {
					t.Errorf("the error does not name the key: %s", msg)
				} else if strings.Contains(msg, "sealed-by-another-program") || errors.Is(err, wechatopen.ErrNotFound) {
					t.Errorf("the error quotes the value, or calls it absent: %s", msg)
				}
				if !maps.Equal(before, store.snapshot()) {
					t.Error("the Store was written")
				}
				if n := w.sim.Count(tc.path); n != 0 {
					t.Errorf("%d calls of %s", n, tc.path)
				}
			})
		}
	}
}

func TestTraceTellsOfEveryFetchAndCall(t *testing.T) {
	var mu sync.Mutex
	var calls []wechatopen.APICall
	var fetches []wechatopen.TokenFetch
	w := newWorld(t, wechatopen.WithTrace(&wechatopen.Trace{
		APICall: func(_ context.Context, c wechatopen.APICall) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, c)
		},
		TokenFetch: func(_ context.Context, f wechatopen.TokenFetch) {
			mu.Lock()
			defer mu.Unlock()
			fetches = append(fetches, f)
		},
	}))
	a := w.ready()
	calls, fetches = nil, nil
	w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: 40001})
	if err := a.Get(t.Context(), opEcho+"?q=1", nil, nil); err != nil {
		t.Fatal(err)
	}
	w.sim.Inject(wechattest.Fault{Path: opGetTicket, Times: 1, ErrCode: -1})
	noToken(t, a.JSAPITicket())
	w.sim.Advance(20 * time.Minute) // the token is not new any more
	w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: 40001})
	resp, err := transportClient(a).Get(w.sim.URL() + opEcho + "?q=1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	_, _ = a.RefreshUserToken(t.Context(), "nobody's")

	mu.Lock()
	defer mu.Unlock()
	var got []string
	for _, c := range calls {
		got = append(got, fmt.Sprintf("%s %s %t", c.Op, c.AppID, c.Err == nil))
		if c.Duration <= 0 {
			t.Errorf("%s took %v", c.Op, c.Duration)
		}
	}
	shop, comp := w.shop.AppID(), w.comp.AppID()
	want := []string{
		opEcho + " " + shop + " false", // without its query
		opAuthorizerToken + " " + comp + " true",
		opEcho + " " + shop + " true", // the repeat
		opGetTicket + " " + shop + " false",
		opEcho + " " + shop + " false", // the same by a Transport
		opAuthorizerToken + " " + comp + " true",
		opEcho + " " + shop + " true",
		"/sns/oauth2/component/refresh_token " + comp + " false", // with the component's token
	}
	if !slices.Equal(got, want) {
		t.Errorf("APICall:\n got %q\nwant %q", got, want)
	}
	got = nil
	for _, f := range fetches {
		got = append(got, fmt.Sprintf("%s %t", f.Key, f.Err == nil))
	}
	prefix := "wechatopen:" + comp + ":" + shop + ":"
	if want := []string{prefix + "access_token true", prefix + "ticket:jsapi false", prefix + "access_token true"}; !slices.Equal(got, want) {
		t.Errorf("TokenFetch:\n got %q\nwant %q", got, want)
	}
}

func TestLostLockWritesNothing(t *testing.T) {
	for _, tc := range []struct {
		path   string
		source func(*wechatopen.Account, *wechatopen.Platform) *wechatopen.CachedTokenSource
	}{
		{opComponentToken, func(_ *wechatopen.Account, p *wechatopen.Platform) *wechatopen.CachedTokenSource {
			return p.ComponentToken()
		}},
		{opAuthorizerToken, func(a *wechatopen.Account, _ *wechatopen.Platform) *wechatopen.CachedTokenSource {
			return a.AccessToken()
		}},
		{opGetTicket, func(a *wechatopen.Account, _ *wechatopen.Platform) *wechatopen.CachedTokenSource {
			return a.JSAPITicket()
		}},
	} {
		t.Run(tc.path, func(t *testing.T) {
			locker := &keyLocker{}
			var armed atomic.Bool
			// The answer has arrived in full when the lease is lost: the worst moment, too late to break the call off.
			transport := wire(func(r *http.Request) (*http.Response, error) {
				r = r.Clone(context.WithoutCancel(r.Context()))
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					return nil, err
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					return nil, err
				}
				if r.URL.Path == tc.path && armed.CompareAndSwap(true, false) {
					locker.lose()
				}
				return wireAnswer(r, resp.StatusCode, string(body)), nil
			})
			w := newWorld(t, wechatopen.WithLocker(locker), wechatopen.WithHTTPClient(&http.Client{Transport: transport}))
			a := w.ready()
			src := tc.source(a, w.platform)
			if err := src.Invalidate(t.Context(), tokenOf(t, src)); err != nil {
				t.Fatal(err)
			}
			before := w.store.snapshot()
			armed.Store(true)
			noToken(t, src)
			if armed.Load() {
				t.Fatal("the lock was not lost")
			}
			for k, v := range w.store.snapshot() {
				if before[k] != v {
					t.Errorf("%s was written without the lock", k)
				}
			}
			w.sim.Advance(2 * time.Minute)
			tokenOf(t, src) // whatever was lost with the answer can be had again
		})
	}
}

// setlessStore takes no writes.
type setlessStore struct {
	wechatopen.Store
	fail atomic.Bool
}

func (s *setlessStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.fail.Load() {
		return errors.New("read-only store")
	}
	return s.Store.Set(ctx, key, value, ttl)
}

func TestTokenThatCannotBeStoredIsUsedAndLogged(t *testing.T) {
	store := &setlessStore{Store: wechatopen.NewMemoryStore()}
	w := newWorld(t, wechatopen.WithStore(store))
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.fail.Store(true)
	w.log.reset()
	tok := tokenOf(t, w.platform.ComponentToken())
	if got := tokenOf(t, w.platform.ComponentToken()); got.Value != tok.Value || w.sim.Count(opComponentToken) != 1 {
		t.Error("the token is not kept in memory")
	}
	if log := w.log.String(); strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "component_token") || !strings.Contains(log, "read-only store") || strings.Contains(log, tok.Value) {
		t.Errorf("want one error that names the key and the cause, got:\n%s", log)
	}
}

// A bubble ends with a panic if a goroutine is left in it.
func TestTokenEngineLeavesNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{answer: func(r *http.Request, n int) (string, error) {
			switch n {
			case 1: // hangs until the time limit of the call
				<-r.Context().Done()
				return "", r.Context().Err()
			case 2:
				return "", errors.New("connection refused")
			}
			return numberedToken(n, 7200), nil
		}}
		src := b.account(t).AccessToken()
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for i := range 100 {
			callers.Go(func() {
				c := t.Context()
				if i%2 == 0 {
					c = ctx
				}
				if _, err := src.Token(c); err == nil {
					t.Error("a token from a call that hangs")
				}
			})
		}
		synctest.Wait()
		cancel()
		callers.Wait()
		if n := b.calls(opStableToken); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
		pass(2 * time.Second)
		noToken(t, src)
		pass(4 * time.Second)
		tokenOf(t, src)
		pass(115 * time.Minute)
		tokenOf(t, src) // in the background, and nobody waits for it
	})
}

func TestRefreshEndsThoughTheLockNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker := &keyLocker{}
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) { return numberedToken(n, 7200), nil }}
		a := b.account(t, wechatopen.WithLocker(locker))
		_, unlock, err := locker.Lock(t.Context(), "wechatopen:"+a.AppID()+":access_token")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		noToken(t, a.AccessToken()) // on a ctx without an end
		if d := time.Since(start); d > time.Minute {
			t.Errorf("waited %v", d)
		}
		unlock()
		pass(2 * time.Second)
		tokenOf(t, a.AccessToken())
		if n := b.calls(opStableToken); n != 1 {
			t.Errorf("%d fetches, want 1", n)
		}
	})
}

// Goexit is what t.FailNow in a hook of an application's test does.
func TestHookThatEndsItsGoroutineEndsTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once sync.Once
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) { return numberedToken(n, 7200), nil }}
		src := b.account(t, wechatopen.WithTrace(&wechatopen.Trace{
			TokenFetch: func(context.Context, wechatopen.TokenFetch) { once.Do(runtime.Goexit) },
		})).AccessToken()
		noToken(t, src)
		pass(2 * time.Second)
		tokenOf(t, src)
	})
}

func TestValidTokenCostsNoAllocation(t *testing.T) {
	w := newWorld(t)
	w.ready()
	src, ctx := w.platform.ComponentToken(), t.Context()
	tokenOf(t, src)
	if n := testing.AllocsPerRun(1000, func() { _, _ = src.Token(ctx) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestWaitingForATokenEndsWithTheCallersContext(t *testing.T) {
	w := newWorld(t)
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opComponentToken, Gate: gate})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.platform.Get(ctx, opEcho, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	close(gate)
	tokenOf(t, w.platform.ComponentToken())
	if n := w.sim.Count(opEcho); n != 0 {
		t.Errorf("%d calls for a caller who had left", n)
	}
}

func TestPlatformsAndAccountsDoNotShareTokens(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	other := w.sim.AddComponent(wechattest.ComponentConfig{})
	p, err := wechatopen.NewPlatform(other.Credentials(), append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(w.log.logger()))...)
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(&wechatopen.TicketHandler{Platform: p})
	defer site.Close()
	other.SetEventURL(site.URL)
	if _, err := other.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tokenOf(t, p.ComponentToken()).Value == tokenOf(t, w.platform.ComponentToken()).Value {
		t.Error("two platforms with one Store have one token")
	}
	tokenOf(t, a.AccessToken())
	if err := noToken(t, p.Account(w.shop.AppID()).AccessToken()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
		t.Errorf("error %v, want ErrNotAuthorized: the shop authorizes the other platform", err)
	}
}

// storedValues are the secrets in the records of a Store.
func storedValues(snapshot map[string]string) (out []string) {
	for _, v := range snapshot {
		var rec struct {
			Value   string `json:"value"`
			Refresh string `json:"refresh_token"`
			Ticket  string `json:"ticket"`
		}
		if json.Unmarshal([]byte(v), &rec) == nil {
			out = append(out, rec.Value, rec.Refresh, rec.Ticket)
		}
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// The monotonic clock stands still while a machine is suspended, and a token of before would be served past its end.
func TestExpiryIsByTheWallClock(t *testing.T) {
	w := newWorld(t, wechatopen.WithClock(time.Now))
	tok := tokenOf(t, w.ready().AccessToken())
	if s := tok.Expiry.String(); strings.Contains(s, "m=") {
		t.Errorf("the expiry is %s, with a reading of the monotonic clock", s)
	}
}
