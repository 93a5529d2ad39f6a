package wechatopen

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Token is an access token or a ticket of WeChat. It prints and logs without its value.
type Token struct {
	Value  string
	Expiry time.Time
}

// String says that there is a token and until when, not which.
func (t Token) String() string {
	if t.Value == "" {
		return "{no token}"
	}
	return "{token …, valid until " + t.Expiry.Format(time.RFC3339) + "}"
}

// GoString keeps the value out of %#v.
func (t Token) GoString() string { return "wechatopen.Token" + t.String() }

// LogValue keeps the value out of [log/slog].
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// TokenSource hands out a token that is valid now. [CachedTokenSource] is the one of this package.
type TokenSource interface {
	Token(ctx context.Context) (*Token, error)
}

const (
	// flightTime bounds one refresh: waiting for the lock, and the calls of WeChat that it takes, at 10 seconds each.
	flightTime = 45 * time.Second
	// refreshAhead is how long before a token's end a new one is fetched in the background. WeChat's documentation
	// recommends ten minutes.
	refreshAhead = 10 * time.Minute
	// maxTokenLife is more than any token of WeChat lives; a longer life is a mistake of the answer.
	maxTokenLife = 24 * time.Hour
	// The first failure is remembered for minBackoff, and each further one twice as long: up to maxBackoff, so that
	// service is back soon after WeChat is, or up to maxCalmBackoff while the present token is still good.
	minBackoff     = time.Second
	maxBackoff     = 8 * time.Second
	maxCalmBackoff = time.Minute
	// humanBackoff is for what only a person can mend, and for the quota of a minute; quotaBackoff is for that of a day.
	humanBackoff = time.Minute
	quotaBackoff = 10 * time.Minute
)

// CachedTokenSource is a token that is fetched when it is needed, refreshed ahead of its end, and fetched once however
// many ask: one call for all goroutines of this process, and with a shared [Store] and a [Locker] one for all processes.
//
// It is safe for concurrent use and is used by pointer. Get one from [Platform.ComponentToken], [Account.AccessToken],
// [Account.JSAPITicket] or [Account.CardTicket].
type CachedTokenSource struct {
	c   *client
	cur atomic.Pointer[current] // beside c, where Token finds both in one line of the processor's cache

	appID string // whose token it is
	key   string // in the Store and of the lock
	// fetch gets a new token from WeChat. It is called with the lock held, by one goroutine at a time. bad is the value
	// that WeChat refused, or empty.
	fetch func(ctx context.Context, bad string) (*fetched, error)

	err error // if not nil, what every call of Token returns

	mu       sync.Mutex // guards what follows
	flight   *flight
	bad      string           // the value that Invalidate named: not to be taken from the Store again
	calm     time.Time        // until then replace keeps the token it has
	doubts   map[string]doubt // by path of the API
	gen      int              // counts forget, so that a flight from before it changes nothing
	failures int
	lastErr  error
	retryAt  time.Time // until then lastErr is the answer
}

// fetched is what WeChat answers: a value and its life in seconds.
type fetched struct {
	value     string
	expiresIn Int
}

// current is a token in use.
type current struct {
	Token
	sure    time.Time    // a tick before Expiry: until then no exact time is needed
	refresh atomic.Int64 // Unix nanoseconds from which the next caller starts a background refresh
}

// String names the source and keeps its token out of logs.
func (s *CachedTokenSource) String() string { return "{token source " + s.key + "}" }

// GoString keeps the token out of %#v.
func (s *CachedTokenSource) GoString() string { return "wechatopen.CachedTokenSource" + s.String() }

// LogValue keeps the token out of [log/slog].
func (s *CachedTokenSource) LogValue() slog.Value { return slog.StringValue(s.String()) }

// flight is one refresh that many callers wait for.
type flight struct {
	gen  int
	done chan struct{} // closed when the fields below are set
	cur  *current
	new  bool // cur is from WeChat, not from the Store
	err  error
}

// tokenRecord is a token in the Store.
type tokenRecord struct {
	V      int    `json:"v"`
	Value  string `json:"value"`
	Expiry int64  `json:"expiry"` // Unix seconds
	Life   int64  `json:"life"`   // seconds
}

// Token returns the current token, and waits for one only if there is none that is valid. The result is shared: do not
// change it. A caller whose ctx ends leaves; the refresh goes on for the others.
//
// Errors wrap [ErrNoTicket], [ErrNotAuthorized] or *[APIError] where these are the cause. A failure is remembered for a
// second, and longer when it repeats, so that many callers do not become many calls.
func (s *CachedTokenSource) Token(ctx context.Context) (*Token, error) {
	if c := s.cur.Load(); c != nil {
		if recent := s.c.recent(); recent.Before(c.sure) && recent.UnixNano()+int64(tick) < c.refresh.Load() {
			return &c.Token, nil
		}
	}
	return s.tokenAt(ctx, s.c.now())
}

// tokenAt is Token where something may be due.
func (s *CachedTokenSource) tokenAt(ctx context.Context, now time.Time) (*Token, error) {
	if c := s.cur.Load(); c != nil && now.Before(c.Expiry) {
		if due := c.refresh.Load(); now.UnixNano() >= due {
			s.refreshAhead(ctx, c, due, now)
		}
		return &c.Token, nil
	}
	return s.wait(ctx, now)
}

// refreshAhead lets one of many callers start a refresh in the background.
func (s *CachedTokenSource) refreshAhead(ctx context.Context, c *current, due int64, now time.Time) {
	if !c.refresh.CompareAndSwap(due, now.Add(flightTime).UnixNano()) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil {
		s.start(ctx, c.Expiry)
	}
}

// freshen brings a token that lives longer than until, from the Store or from WeChat, whatever was remembered of an
// earlier failure.
func (s *CachedTokenSource) freshen(ctx context.Context, until time.Time) error {
	if s.err != nil {
		return s.err
	}
	for range 2 { // a flight that was under way may have looked for less
		if c := s.cur.Load(); c != nil && c.Expiry.After(until) {
			return nil
		}
		s.mu.Lock()
		if s.flight == nil {
			s.start(ctx, until)
		}
		f := s.flight
		s.mu.Unlock()
		if _, err := f.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wait joins the flight, or starts one.
func (s *CachedTokenSource) wait(ctx context.Context, now time.Time) (*Token, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.mu.Lock()
	if c := s.cur.Load(); c != nil && now.Before(c.Expiry) {
		s.mu.Unlock()
		return &c.Token, nil
	}
	if s.flight == nil {
		if s.lastErr != nil && now.Before(s.retryAt) {
			err := s.lastErr
			s.mu.Unlock()
			return nil, err
		}
		s.start(ctx, time.Time{})
	}
	f := s.flight
	s.mu.Unlock()
	return f.wait(ctx)
}

func (f *flight) wait(ctx context.Context) (*Token, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, errorf("waiting for a token: %w", ctx.Err())
	}
	if f.err != nil {
		return nil, f.err
	}
	return &f.cur.Token, nil
}

// start begins a flight that brings a token which lives longer than until. It is on a context of its own: it outlives the
// caller who needed it first. mu is held.
func (s *CachedTokenSource) start(ctx context.Context, until time.Time) {
	f := &flight{gen: s.gen, done: make(chan struct{})}
	s.flight = f
	bad := s.bad
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightTime)
		defer cancel()
		f.err = errorf("token refresh ended early") // what stands if a hook of the application ends this goroutine
		defer s.land(f)
		f.cur, f.new, f.err = s.obtain(ctx, bad, until)
	}()
}

// land makes the result of a flight everyone's.
func (s *CachedTokenSource) land(f *flight) {
	now := s.c.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == f {
		s.flight = nil
	}
	defer close(f.done)
	if f.gen != s.gen {
		return // those who waited get it, nobody else
	}
	if f.err == nil {
		s.failures, s.lastErr = 0, nil
		if f.cur.Value == s.bad && !f.new {
			return // likewise
		}
		if f.new {
			s.bad = "" // WeChat hands it out again, so there is no other
		}
		s.cur.Store(f.cur)
		return
	}
	c := s.cur.Load()
	present := c != nil && now.Before(c.Expiry)
	delay := s.backoff(f.err, present)
	s.lastErr, s.retryAt = f.err, now.Add(delay)
	if present {
		c.refresh.Store(now.Add(max(delay, minBackoff)).UnixNano())
		s.c.logger.Warn("wechatopen: token not refreshed; the present one is served", "key", s.key, "until", c.Expiry, "error", f.err.Error())
	}
}

// backoff is how long a failure is remembered. mu is held.
func (s *CachedTokenSource) backoff(err error, present bool) time.Duration {
	var passing *passingError
	if errors.As(err, &passing) {
		return 0
	}
	var refusal *APIError
	known := errors.Is(err, ErrNoTicket) || errors.Is(err, ErrNotAuthorized)
	switch {
	case known && !errors.As(err, &refusal):
		return 0 // read from the Store, without a call of WeChat; a push may change it at any moment
	case hasCode(err, codeDailyQuota):
		return quotaBackoff
	case errors.Is(err, ErrNotAuthorized), hasCode(err, codeMinuteQuota),
		hasCode(err, codeInvalidCredential, codeInvalidAppID, codeInvalidSecret, codeNotInWhitelist, codeNotInWhitelistOld, codeClientIP, codeInvalidComponent):
		return humanBackoff
	}
	longest := maxBackoff
	if present {
		longest = maxCalmBackoff
	}
	d := min(minBackoff<<min(s.failures, 10), longest)
	s.failures++
	return d + rand.N(d/4+1)
}

// obtain takes the token from the Store if a good one is there, and from WeChat otherwise.
func (s *CachedTokenSource) obtain(ctx context.Context, bad string, until time.Time) (c *current, fetched bool, err error) {
	good := func(c *current) bool {
		return c != nil && c.Value != bad && c.Expiry.After(until) && c.Expiry.After(s.c.now())
	}
	if c, err := s.load(ctx); err != nil || good(c) {
		return c, false, err
	}
	held, unlock, err := s.c.lock(ctx, s.key)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if c, err := s.load(held); err != nil || good(c) {
		return c, false, err
	}
	start, begin := s.c.now(), time.Now()
	f, err := s.fetch(held, bad)
	if s.c.trace.TokenFetch != nil {
		s.c.trace.TokenFetch(ctx, TokenFetch{Key: s.key, Duration: time.Since(begin), Err: err})
	}
	if err != nil {
		return nil, false, err
	}
	c, err = s.keep(held, start, f)
	return c, true, err
}

// keep writes what was fetched into the Store. The caller holds the lock.
func (s *CachedTokenSource) keep(held context.Context, start time.Time, f *fetched) (*current, error) {
	if f.value == "" {
		return nil, errorf("%s: WeChat's answer holds no token", s.key)
	}
	if f.expiresIn <= 0 {
		return nil, errorf("%s: WeChat's answer gives the token no life (expires_in)", s.key)
	}
	if err := held.Err(); err != nil {
		return nil, errorf("lock of %s was lost during the refresh: %w", s.key, err)
	}
	life := time.Duration(min(f.expiresIn, Int(maxTokenLife/time.Second))) * time.Second
	c := newCurrent(f.value, start.Add(life), life)
	rec := tokenRecord{V: 1, Value: f.value, Expiry: c.Expiry.Unix(), Life: int64(life / time.Second)}
	if err := storeRecord(held, s.c.store, s.key, rec, life); err != nil {
		// The token is good and WeChat has replaced the old one, so this process uses it; others will find their own.
		s.c.logger.Error("wechatopen: token could not be stored", "key", s.key, "error", err.Error())
	}
	return c, nil
}

// load reads the token from the Store; nil if there is none.
func (s *CachedTokenSource) load(ctx context.Context) (*current, error) {
	var rec tokenRecord
	err := loadRecord(ctx, s.c.store, s.key, &rec, &rec.V)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	life := time.Duration(rec.Life) * time.Second
	return newCurrent(rec.Value, time.Unix(rec.Expiry, 0), life), nil
}

// newCurrent sets when the token is refreshed ahead of its end: ten minutes before, or the last sixth of a life shorter
// than an hour, less up to a tenth of that by chance, so that many accounts do not come at once.
func newCurrent(value string, expiry time.Time, life time.Duration) *current {
	ahead := min(refreshAhead, life/6)
	ahead -= rand.N(ahead/10 + 1)
	expiry = expiry.Round(0) // by the wall clock: the monotonic one stands still while a machine is suspended
	c := &current{Token: Token{Value: value, Expiry: expiry}, sure: expiry.Add(-tick)}
	c.refresh.Store(expiry.Add(-ahead).UnixNano())
	return c
}

// Invalidate drops bad if it is still the current token, so that the next call of Token brings another. It does nothing
// if bad has been replaced already, or is nil.
func (s *CachedTokenSource) Invalidate(_ context.Context, bad *Token) error {
	if bad == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.invalidate(bad)
	return nil
}

// invalidate reports whether bad was current. mu is held.
func (s *CachedTokenSource) invalidate(bad *Token) bool {
	c := s.cur.Load()
	if c == nil || c.Value != bad.Value {
		return false
	}
	s.bad = bad.Value
	s.cur.Store(nil)
	s.failures, s.lastErr = 0, nil
	return true
}

// replace brings another token than bad, which WeChat has refused at an API; or bad again if a refusal has brought it not
// long ago, or the API is in doubt.
func (s *CachedTokenSource) replace(ctx context.Context, op string, bad *Token) (*Token, error) {
	now := s.c.now()
	s.mu.Lock()
	if c := s.cur.Load(); c != nil && c.Value == bad.Value {
		if now.Before(s.calm) || now.Before(s.doubts[op].until) {
			s.mu.Unlock()
			return bad, nil
		}
		s.invalidate(bad)
		s.calm = now.Add(calmTime)
	}
	s.mu.Unlock()
	return s.Token(ctx)
}

// doubt is for an API that refuses every token, for reasons of its own: it must not use up the tokens of the others.
type doubt struct {
	until time.Time // until then its word is not taken for a stale token
	grown time.Duration
}

// maxDoubts bounds the paths that are remembered.
const maxDoubts = 64

// refusedFresh notes that an API refused a token that had just been brought for it. Each time it is doubted longer.
func (s *CachedTokenSource) refusedFresh(op string) {
	now := s.c.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doubts[op]
	switch {
	case now.Before(d.until): // by another caller of the same moment
		return
	case now.Before(d.until.Add(d.grown)):
		d.grown = min(2*d.grown, maxDoubt)
	default:
		d.grown = calmTime
	}
	d.until = now.Add(d.grown)
	if s.doubts == nil || len(s.doubts) >= maxDoubts {
		s.doubts = map[string]doubt{}
	}
	s.doubts[op] = d
}

// put makes a token that came another way, with an authorization, the current one. The caller holds the lock.
func (s *CachedTokenSource) put(held context.Context, start time.Time, f *fetched) error {
	c, err := s.keep(held, start, f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.lastErr = 0, nil
	s.cur.Store(c)
	return nil
}

// forget drops the token here and in the Store. The caller holds the lock.
func (s *CachedTokenSource) forget(held context.Context) error {
	s.mu.Lock()
	s.gen++
	s.flight = nil // who asks from now on does not join what was under way
	s.cur.Store(nil)
	s.failures, s.lastErr = 0, nil
	s.mu.Unlock()
	return s.c.store.Delete(held, s.key)
}

// retryNow forgets a failure: what caused it may be mended.
func (s *CachedTokenSource) retryNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.lastErr = 0, nil
}
