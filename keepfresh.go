package wechatopen

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// FreshOptions says what [Platform.KeepFresh] does.
type FreshOptions struct {
	// Accounts yields the appids to keep fresh; it is asked again every round, 90 minutes. Nil: all that WeChat lists as
	// authorizing the platform.
	Accounts func(ctx context.Context) iter.Seq2[string, error]

	// Parallel is how many accounts are refreshed at a time. Zero: 8.
	Parallel int
}

const (
	// freshRound is how often each account is visited. A token lives two hours: after a visit it outlives the next one.
	freshRound = 90 * time.Minute
	// freshMargin is how much longer than the next visit a token must live for this visit to leave it alone.
	freshMargin = refreshAhead
	// freshTick is how often the accounts that are due are looked for.
	freshTick = time.Second
	// freshRetry is when an account whose refresh failed is visited again, while its token is still valid.
	freshRetry = 5 * time.Minute
	// freshTries is how often that is done within a round.
	freshTries = 4
)

// KeepFresh refreshes the tokens of all authorizers ahead of time, so that none of them is fetched while a customer
// waits. It returns when ctx ends, with its cause, and may run in every process of a platform: they share the work by
// the Store and the Locker. Without it tokens are refreshed on use.
//
// Each account has a moment of its own in a round of 90 minutes, by the hash of its appid, so that calls are spread
// evenly over time. A failed refresh is tried again four times, five minutes apart.
func (p *Platform) KeepFresh(ctx context.Context, o FreshOptions) error {
	k := newKeeper(p, o)
	tick := time.NewTicker(freshTick)
	defer tick.Stop()
	for {
		k.step(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *Platform) listedAppIDs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for a, err := range p.Authorizers(ctx) {
			if err == nil && !a.HasToken {
				continue
			}
			if !yield(a.AppID, err) {
				return
			}
		}
	}
}

// keeper is one run of KeepFresh.
type keeper struct {
	p     *Platform
	o     FreshOptions
	delay time.Duration

	round []visitTime // of this round, in order; the first next of them have been visited
	next  int
	start time.Time // of this round
	list  time.Time // when the accounts are listed again

	mu    sync.Mutex
	again []retry // in order of time
}

// visitTime is when in a round an account is due.
type visitTime struct {
	appID string
	at    time.Duration
}

// retry is when an account whose refresh failed is visited again.
type retry struct {
	appID string
	at    time.Time
	tries int
}

func newKeeper(p *Platform, o FreshOptions) *keeper {
	if o.Accounts == nil {
		o.Accounts = p.listedAppIDs
	}
	if o.Parallel <= 0 {
		o.Parallel = 8
	}
	// Processes come to an account at different times: the later one finds it fresh without waiting for a lock.
	return &keeper{p: p, o: o, delay: rand.N(time.Minute)}
}

// step does what is due now.
func (k *keeper) step(ctx context.Context) {
	if now := k.p.c.now(); !now.Before(k.list) {
		k.begin(ctx, now)
	}
	k.visitDue(ctx)
}

// begin lists the accounts of a round. If that fails, they are those of last time, and are listed again soon. Rounds begin
// at the same times in all processes and after a restart, so that an account keeps its moment.
func (k *keeper) begin(ctx context.Context, now time.Time) {
	start := now.Truncate(freshRound)
	goesOn := !k.start.IsZero() && start.After(k.start) // from the round before, in which nobody was left out
	round, err := k.accounts(ctx)
	if err == nil {
		k.round, k.list = round, start.Add(freshRound)
	} else {
		k.list = now.Add(freshRetry)
		if ctx.Err() == nil {
			k.p.c.logger.Warn("wechatopen: KeepFresh could not list the accounts", "error", err.Error())
		}
	}
	if err != nil && start.Equal(k.start) {
		return // within a round, which goes on
	}
	k.start, k.next = start, 0
	if !goesOn { // those whose moment has passed are visited in the next round, or refreshed on use until then
		since := now.Sub(start) - k.delay
		k.next, _ = slices.BinarySearchFunc(k.round, since, func(v visitTime, d time.Duration) int { return cmp.Compare(v.at, d) })
	}
}

// accounts are those of a round, in order of their moments.
func (k *keeper) accounts(ctx context.Context) (round []visitTime, err error) {
	for appID, err := range k.o.Accounts(ctx) {
		if err != nil {
			return nil, err
		}
		round = append(round, visitTime{appID: appID, at: phase(appID)})
	}
	slices.SortFunc(round, func(a, b visitTime) int { return cmp.Compare(a.at, b.at) })
	return round, nil
}

// phase is an account's moment in a round.
func phase(appID string) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(appID))
	return time.Duration(h.Sum64() % uint64(freshRound-2*time.Minute))
}

// visitDue visits the accounts whose moment has come, Parallel at a time, and waits for them.
func (k *keeper) visitDue(ctx context.Context) {
	now := k.p.c.now()
	var due []retry
	for ; k.next < len(k.round) && k.round[k.next].at <= now.Sub(k.start)-k.delay; k.next++ {
		due = append(due, retry{appID: k.round[k.next].appID})
	}
	for len(k.again) > 0 && !k.again[0].at.After(now) {
		due = append(due, k.again[0])
		k.again = k.again[1:]
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, k.o.Parallel)
	for _, v := range due {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			k.visit(ctx, v)
		})
	}
	wg.Wait()
}

// visit refreshes one account unless its token outlives the next visit.
func (k *keeper) visit(ctx context.Context, v retry) {
	// One that is not in use in this process need not stay in memory.
	err := k.p.unshared(v.appID).access.freshen(ctx, k.p.c.now().Add(freshRound+freshMargin))
	if err == nil || ctx.Err() != nil {
		return
	}
	k.p.c.logger.Warn("wechatopen: KeepFresh", "account", v.appID, "error", err.Error())
	if errors.Is(err, ErrNotAuthorized) || hasCode(err, codeDailyQuota) || v.tries >= freshTries {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	v.tries++
	v.at = k.p.c.now().Add(freshRetry)
	k.again = append(k.again, v)
}
