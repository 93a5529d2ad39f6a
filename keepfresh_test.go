package wechatopen_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const pathAuthorizerToken = "/cgi-bin/component/api_authorizer_token"

// Many authorizers over six hours: how evenly the calls are spread, and what an account costs. WECHATOPEN_ACCOUNTS sets
// how many there are.
func TestKeepFreshSpreadsItsCalls(t *testing.T) {
	n := 3000
	if s := os.Getenv("WECHATOPEN_ACCOUNTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	w := newWorld(t, wechatopen.WithHTTPClient(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}),
		wechatopen.WithStore(wechatopen.NewMemoryStore()))
	w.sim.SetQuota(pathAuthorizerToken, -1)
	w.sim.SetQuota("/cgi-bin/component/api_query_auth", -1)
	if _, err := w.comp.PushTicket(ctx); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, n)
	for i := range n {
		a := w.sim.AddAccount(wechattest.AccountConfig{Name: fmt.Sprint("shop ", i)})
		if _, err := w.platform.QueryAuth(ctx, w.comp.NewAuthCode(a)); err != nil {
			t.Fatal(err)
		}
		ids[i] = a.AppID()
	}

	keeper := wechatopen.NewKeeper(w.platform, wechatopen.FreshOptions{})
	cpu := cpuTime(t)
	var minutes []int
	for minute := range 6 * 60 {
		if minute%10 == 0 {
			if _, err := w.comp.PushTicket(ctx); err != nil {
				t.Fatal(err)
			}
		}
		before := w.sim.Count(pathAuthorizerToken)
		for range 4 {
			w.sim.Advance(15 * time.Second)
			keeper.Step(ctx)
		}
		minutes = append(minutes, w.sim.Count(pathAuthorizerToken)-before)
	}
	cpu = cpuTime(t) - cpu

	warm := minutes[180:] // two rounds have passed
	total := 0
	for _, c := range warm {
		total += c
	}
	mean, highest := float64(total)/float64(len(warm)), slices.Max(warm)
	t.Logf("%d accounts: %.1f calls a minute, %d in the highest; %.1f CPU seconds over six hours, the simulator's included", n, mean, highest, cpu.Seconds())
	// With few accounts chance alone makes a minute stand out; the bound is 1.5 for many.
	if bound := max(1.5, 1+6/sqrt(mean)); float64(highest) > bound*mean {
		t.Errorf("the highest minute has %d calls, more than %.2f times the mean of %.1f", highest, bound, mean)
	}
	if perRound := mean * 90; perRound < 0.9*float64(n) || perRound > 1.2*float64(n) {
		t.Errorf("%.0f refreshes a round for %d accounts", perRound, n)
	}
	// Nobody waits: every token is valid, and none of them is fetched now.
	before := w.sim.Count(pathAuthorizerToken)
	for _, id := range ids {
		if _, err := w.platform.Account(id).AccessToken().Token(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if late := w.sim.Count(pathAuthorizerToken) - before; late > n/100 {
		t.Errorf("%d of %d tokens had to be fetched on use", late, n)
	}
}

func sqrt(x float64) float64 {
	r := x
	for range 40 {
		r = (r + x/r) / 2
	}
	return r
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// An account that has been used stays in memory until it revokes its authorization.
func TestAccountTakesLittleMemory(t *testing.T) {
	w := newWorld(t)
	const n = 20000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("wx%016x", i)
	}
	allocated := func() uint64 { // all that was ever allocated: what earlier tests leave behind does not disturb
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := allocated()
	for _, id := range ids {
		w.platform.Account(id)
	}
	each := float64(allocated()-before) / n
	t.Logf("%.0f bytes an account", each)
	if each > 1024 {
		t.Errorf("%.0f bytes an account, more than 1024", each)
	}
}

func TestKeepFreshTriesAgain(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	a := w.ready()
	only := func(context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) { yield(a.AppID(), nil) }
	}
	keeper := wechatopen.NewKeeper(w.platform, wechatopen.FreshOptions{Accounts: only})
	step := func(d time.Duration) int {
		t.Helper()
		before := w.sim.Count(pathAuthorizerToken)
		for range int(d / time.Minute) {
			w.sim.Advance(time.Minute)
			keeper.Step(ctx)
		}
		return w.sim.Count(pathAuthorizerToken) - before
	}
	keeper.Step(ctx)
	if n := step(3 * time.Hour); n < 1 || n > 2 {
		t.Fatalf("%d refreshes in two rounds", n)
	}
	next := func() {
		t.Helper()
		for range 100 {
			if step(time.Minute) == 1 {
				return
			}
		}
		t.Fatal("no visit in a round")
	}
	w.sim.Inject(wechattest.Fault{Path: pathAuthorizerToken, ErrCode: -1})
	next()
	if n := step(60 * time.Minute); n != 4 {
		t.Errorf("%d more tries, want 4", n)
	}
	w.sim.ClearFaults()
	next()
	w.sim.Inject(wechattest.Fault{Path: pathAuthorizerToken, ErrCode: 45009})
	next()
	if n := step(60 * time.Minute); n != 0 {
		t.Errorf("%d more tries with the quota used up, want none", n)
	}
}

func TestKeepFreshEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.ready()
	reason := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.platform.KeepFresh(ctx, wechatopen.FreshOptions{}) }()
	if err := w.sim.WaitCount(ctx, "/cgi-bin/component/api_get_authorizer_list", 1); err != nil {
		t.Fatal(err)
	}
	cancel(reason)
	if err := <-done; !errors.Is(err, reason) {
		t.Errorf("KeepFresh returned %v, want %v", err, reason)
	}
}

func TestKeepFreshGoesOnWithoutAList(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.ready()
	keeper := wechatopen.NewKeeper(w.platform, wechatopen.FreshOptions{})
	keeper.Step(ctx)
	w.sim.Inject(wechattest.Fault{Path: "/cgi-bin/component/api_get_authorizer_list", ErrCode: -1})
	before := w.sim.Count(pathAuthorizerToken)
	for range 200 {
		w.sim.Advance(time.Minute)
		keeper.Step(ctx)
	}
	if n := w.sim.Count(pathAuthorizerToken) - before; n < 1 {
		t.Errorf("%d refreshes while WeChat lists nobody", n)
	}
	if !strings.Contains(w.log.String(), "KeepFresh could not list the accounts") {
		t.Errorf("the log does not say so:\n%s", w.log)
	}
}

// A process that starts while WeChat is away lists the accounts as soon as it is back, not a round later.
func TestKeepFreshListsAgainAfterAFailure(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.ready()
	const list = "/cgi-bin/component/api_get_authorizer_list"
	const round = 90 * time.Minute // in which nothing but the failure has it list again
	now := w.sim.Now()
	w.sim.Advance(now.Truncate(round).Add(round + 10*time.Minute).Sub(now))
	w.sim.Inject(wechattest.Fault{Path: list, ErrCode: -1, Times: 1})
	keeper := wechatopen.NewKeeper(w.platform, wechatopen.FreshOptions{})
	keeper.Step(ctx)
	for range 6 {
		w.sim.Advance(time.Minute)
		keeper.Step(ctx)
	}
	if n := w.sim.Count(list); n != 2 {
		t.Errorf("listed %d times in six minutes, want again after five", n)
	}
	before := w.sim.Count(pathAuthorizerToken)
	for range 180 {
		w.sim.Advance(time.Minute)
		keeper.Step(ctx)
	}
	if n := w.sim.Count(pathAuthorizerToken) - before; n < 1 || n > 3 {
		t.Errorf("%d refreshes in three hours", n)
	}
}
