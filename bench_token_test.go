package wechatopen_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// shopOnWire is an account of one's own on the clock of the machine, whose WeChat is a function.
func shopOnWire(tb testing.TB, answer wire, opts ...wechatopen.Option) *wechatopen.Account {
	tb.Helper()
	all := append([]wechatopen.Option{
		wechatopen.WithHTTPClient(&http.Client{Transport: answer}), wechatopen.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	a, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: "wx0123456789abcdef", AppSecret: "secret"}, all...)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// warmToken is a source with a valid token.
func warmToken(tb testing.TB, opts ...wechatopen.Option) *wechatopen.CachedTokenSource {
	tb.Helper()
	s := shopOnWire(tb, func(r *http.Request) (*http.Response, error) { return wireAnswer(r, 200, numberedToken(1, 7200)), nil }, opts...).AccessToken()
	if _, err := s.Token(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

// reusedToken is what a Go program would have otherwise: golang.org/x/oauth2's source with a valid token.
func reusedToken() oauth2.TokenSource {
	return oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "token-1", Expiry: time.Now().Add(2 * time.Hour)}, nil)
}

// BenchmarkToken asks for a valid token. oauth2 is golang.org/x/oauth2's ReuseTokenSource; with-clock has a WithClock and
// so reads it each time.
func BenchmarkToken(b *testing.B) {
	b.Run("oauth2", benchTokenOAuth2)
	b.Run("here", benchToken)
	b.Run("with-clock", func(b *testing.B) { benchTokenOf(b, warmToken(b, wechatopen.WithClock(time.Now))) })
	b.Run("oauth2-parallel", func(b *testing.B) {
		s := reusedToken()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Token(); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("here-parallel", func(b *testing.B) {
		s, ctx := warmToken(b), b.Context()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Token(ctx); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func benchTokenOAuth2(b *testing.B) {
	s := reusedToken()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Token(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchToken(b *testing.B) { benchTokenOf(b, warmToken(b)) }

func benchTokenOf(b *testing.B, s *wechatopen.CachedTokenSource) {
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Token(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// platformOnWire is a platform on the clock of the machine that uses the tokens of n accounts, their appids, and how many
// bytes of memory each account takes, its token's record in the Store left out.
func platformOnWire(tb testing.TB, n int) (p *wechatopen.Platform, appIDs []string, each float64) {
	tb.Helper()
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	tb.Cleanup(site.Close)
	comp := wechattest.Start(tb).AddComponent(wechattest.ComponentConfig{EventURL: site.URL}) // which pushes the ticket, and no more
	store := wechatopen.NewMemoryStore()
	newPlatform := func(answer wire) *wechatopen.Platform {
		p, err := wechatopen.NewPlatform(comp.Credentials(), wechatopen.WithStore(store),
			wechatopen.WithHTTPClient(&http.Client{Transport: answer}), wechatopen.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			tb.Fatal(err)
		}
		return p
	}

	appIDs = make([]string, n)
	now := 0 // which of them authorizes
	first := newPlatform(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == opComponentToken {
			return wireAnswer(r, 200, `{"component_access_token":"token","expires_in":7200}`), nil
		}
		return wireAnswer(r, 200, fmt.Sprintf(`{"authorization_info":{"authorizer_appid":%q,"authorizer_access_token":"token-%d","expires_in":7200,"authorizer_refresh_token":"refresh-%[2]d"}}`, appIDs[now], now)), nil
	})
	mux.Handle("/", &wechatopen.TicketHandler{Platform: first})
	if _, err := comp.PushTicket(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	for i := range appIDs {
		now, appIDs[i] = i, fmt.Sprintf("wx%016x", i)
		if _, err := first.QueryAuth(tb.Context(), "code-"+strconv.Itoa(i)); err != nil {
			tb.Fatal(err)
		}
	}

	p = newPlatform(func(*http.Request) (*http.Response, error) { return nil, errors.New("every token is in the Store") })
	before := heap()
	for _, id := range appIDs {
		if _, err := p.Account(id).AccessToken().Token(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	return p, appIDs, float64(heap()-before) / float64(n)
}

// heap is what is in use of the memory.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkAccounts asks for an account, or for its valid token, where a platform has few or many: for another one each
// time, or always for the same, which leaves the caches of the processor out. push is a message to one of them.
func BenchmarkAccounts(b *testing.B) {
	pushes := newPushBench(b)
	for _, n := range []int{1, 100, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p, appIDs, each := platformOnWire(b, n)
			accounts := make([]*wechatopen.Account, n)
			for i, id := range appIDs {
				accounts[i] = p.Account(id)
			}
			b.Run("push", pushes.messageAmong(n))
			for _, turn := range []struct {
				name string
				n    int
			}{{"one", 1}, {"all", n}} {
				b.Run("account-"+turn.name, func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); {
						if p.Account(appIDs[i]) != accounts[i] {
							b.Fatal("another account")
						}
						if i++; i == turn.n {
							i = 0
						}
					}
					if n >= 10_000 { // else what else goes on counts for more
						b.ReportMetric(each, "B/account")
					}
				})
				b.Run("token-"+turn.name, func(b *testing.B) {
					ctx := b.Context()
					b.ReportAllocs()
					for i := 0; b.Loop(); {
						if _, err := accounts[i].AccessToken().Token(ctx); err != nil {
							b.Fatal(err)
						}
						if i++; i == turn.n {
							i = 0
						}
					}
				})
			}
		})
	}
}

// BenchmarkColdToken lets many ask at once for a token that is not there: it is fetched once.
func BenchmarkColdToken(b *testing.B) {
	for _, callers := range []int{1, 10, 100, 1000, 10_000} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			var fetches atomic.Int64
			var gate chan struct{}
			a := shopOnWire(b, func(r *http.Request) (*http.Response, error) {
				<-gate
				return wireAnswer(r, 200, numberedToken(int(fetches.Add(1)), 7200)), nil
			})
			s, ctx := a.AccessToken(), b.Context()
			b.ReportAllocs()
			rounds := 0
			for b.Loop() {
				gate = make(chan struct{})
				together(callers, func() { close(gate) }, func(int) {
					if _, err := s.Token(ctx); err != nil {
						b.Error(err)
					}
				})
				rounds++
				tok, _ := s.Token(ctx)
				if err := s.Invalidate(ctx, tok); err != nil {
					b.Fatal(err)
				}
			}
			if n := int(fetches.Load()); n != rounds {
				b.Errorf("%d fetches in %d rounds", n, rounds)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*callers), "ns/caller")
		})
	}
}
