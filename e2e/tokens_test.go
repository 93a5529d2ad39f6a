package e2e_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	processes = 4
	callers   = 1000
)

// attacks.md 35
func TestFourProcessesFetchEachTokenOnce(t *testing.T) {
	const expiries, accounts = 10, 20
	r := startRedis(t)
	w := newWorld(t, setup{Redis: r.addr})
	procs := w.startMany(processes)
	w.pushTo(procs[0])
	w.ticket()

	var slowest time.Duration
	round := func(apps []string, wantComponent, wantEach int) {
		t.Helper()
		w.wx.ResetJournal()
		tokens := make(map[string]map[string]bool) // by appid: what all processes were given
		for _, got := range askAll(procs, command{Op: opAsk, Apps: apps, Callers: callers}) {
			if got.Failed > 0 {
				t.Fatalf("%d callers got no token: %q", got.Failed, got.Errors)
			}
			slowest = max(slowest, got.Slowest)
			for app, values := range got.Tokens {
				for _, v := range values {
					if tokens[app] == nil {
						tokens[app] = make(map[string]bool)
					}
					tokens[app][v] = true
				}
			}
		}
		if n := w.wx.Count(pathComponentToken); n != wantComponent {
			t.Errorf("the component's token was fetched %d times; want %d", n, wantComponent)
		}
		n := w.fetches(pathAccessToken)
		for _, app := range apps {
			if n[app] != wantEach {
				t.Errorf("the token of %s was fetched %d times; want %d", app, n[app], wantEach)
			}
		}
		for app, values := range tokens {
			if len(values) != 1 {
				t.Errorf("%d different tokens of %s were served; want one", len(values), app)
			}
		}
		if len(tokens) != len(apps)+1 {
			t.Errorf("tokens of %d were served; want %d", len(tokens), len(apps)+1)
		}
	}

	round(nil, 1, 0) // cold
	w.authorize(accounts)
	round(w.apps(), 0, 0) // they came with the authorizations
	start := time.Now()
	for range expiries {
		w.advance(tokenLife)
		w.ticket()
		round(w.apps(), 1, 1)
	}
	t.Logf("%d processes of %d callers, %d accounts, %d expiries: 1 fetch of each token at each; %v in all, the slowest caller waited %v",
		processes, callers, accounts, expiries, time.Since(start).Round(time.Millisecond), slowest.Round(time.Millisecond))
}

// attacks.md 40
func TestAKilledFetchCostsOneMoreAndTheLease(t *testing.T) {
	const (
		lease = 3 * time.Second
		// A waiter asks Redis again after a quarter of a second at most; the rest is for the fetch and for 3,000 callers
		// on a small machine.
		grace = 250*time.Millisecond + 500*time.Millisecond
	)
	r := startRedis(t)
	for _, tt := range []struct {
		name  string
		path  string
		after bool // the call had taken effect at WeChat, and its answer is lost with the process
		want  map[string]int
	}{
		{"component token", pathComponentToken, false, map[string]int{pathComponentToken: 2}},
		{"account's token", pathAccessToken, false, map[string]int{pathAccessToken: 2}},
		// The refresh token in the Store is no longer good, which takes one refusal and one look to mend.
		{"account's token, answer lost", pathAccessToken, true, map[string]int{pathAccessToken: 3, pathAccountInfo: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, setup{Redis: r.addr, Lease: lease})
			procs := w.startMany(processes)
			holder, others := procs[0], procs[1:]
			w.pushTo(holder)
			w.ticket()
			w.authorize(1)
			apps, key := w.apps(), w.componentTokenKey()
			askAll(procs, command{Op: opAsk, Apps: apps, Callers: 1})
			w.advance(tokenLife)
			w.ticket()
			if tt.path == pathAccessToken {
				// Only the account's token is to be missing.
				key = w.accessTokenKey(apps[0])
				askAll(procs, command{Op: opAsk, Callers: 1})
			}

			w.wx.ResetJournal()
			gate := make(chan struct{})
			defer close(gate)
			w.wx.Inject(wechattest.Fault{Path: tt.path, Times: 1, Gate: gate, After: tt.after})
			holder.begin(command{Op: opAsk, Apps: apps, Callers: 1})
			if err := w.wx.WaitCount(t.Context(), tt.path, 1); err != nil {
				t.Fatal(err)
			}
			var answers []<-chan reply
			for _, p := range others {
				answers = append(answers, p.begin(command{Op: opAsk, Apps: apps, Callers: callers}))
			}
			for _, p := range others {
				eventually(t, "all callers wait", func() bool { return p.ask(command{Op: opCount}).Waiting == callers })
			}
			left, err := r.client.PTTL(t.Context(), key+"#lock").Result()
			if err != nil || left <= 0 {
				t.Fatalf("the lock of %s: %v, %v", key, left, err)
			}
			killed := time.Now()
			holder.kill()
			tokens := make(map[string]bool)
			for i, p := range others {
				got := p.await(answers[i])
				if got.Failed > 0 {
					t.Errorf("%d callers got no token: %q", got.Failed, got.Errors)
				}
				for _, values := range got.Tokens {
					for _, v := range values {
						tokens[v] = true
					}
				}
			}
			waited := time.Since(killed)
			if left > lease || waited > left+grace {
				t.Errorf("the last caller waited %v after the kill, with %v left of a lease of %v", waited, left, lease)
			}
			if len(tokens) != 2 {
				t.Errorf("%d different tokens were served; want one of the component and one of the account", len(tokens))
			}
			got := make(map[string]int)
			for _, path := range slices.Sorted(maps.Keys(tt.want)) {
				got[path] = w.wx.Count(path)
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("calls: %v; want %v", got, tt.want)
			}
			t.Logf("%d callers waited %v after the kill, %v of it for the rest of a lease of %v; calls of WeChat with the killed one: %v",
				len(others)*callers, waited.Round(time.Millisecond), left, lease, got)
		})
	}
}
