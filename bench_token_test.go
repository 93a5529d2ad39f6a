package wechatopen_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

// platformOnWire is a platform on the clock of the machine with n accounts that have valid tokens, and their appids. Its
// WeChat is a function, behind the Store of one that received its ticket from the simulator.
func platformOnWire(tb testing.TB, n int) (*wechatopen.Platform, []string) {
	tb.Helper()
	const query, token = "/cgi-bin/component/api_query_auth", `{"component_access_token":"token","expires_in":7200}`
	shop := 0 // calls are made one by one
	answer := func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != query {
			return wireAnswer(r, 200, token), nil
		}
		return wireAnswer(r, 200, fmt.Sprintf(`{"authorization_info":{"authorizer_appid":"wx%016x","authorizer_access_token":"token-%d","expires_in":7200,"authorizer_refresh_token":"refresh-%[2]d"}}`, shop, shop)), nil
	}
	sim := wechattest.Start(tb)
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	tb.Cleanup(site.Close)
	comp := sim.AddComponent(wechattest.ComponentConfig{EventURL: site.URL})
	p, err := wechatopen.NewPlatform(comp.Credentials(), wechatopen.WithStore(wechatopen.NewMemoryStore()),
		wechatopen.WithHTTPClient(&http.Client{Transport: wire(answer)}), wechatopen.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		tb.Fatal(err)
	}
	mux.Handle("/", &wechatopen.TicketHandler{Platform: p})
	if _, err := comp.PushTicket(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	appIDs := make([]string, n)
	for shop = range n {
		a, err := p.QueryAuth(tb.Context(), "code-"+strconv.Itoa(shop))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := p.Account(a.AppID).AccessToken().Token(tb.Context()); err != nil {
			tb.Fatal(err)
		}
		appIDs[shop] = a.AppID
	}
	return p, appIDs
}

// BenchmarkAccounts asks for an account and its valid token, another one each time, where a platform has few or many.
func BenchmarkAccounts(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			p, appIDs := platformOnWire(b, n)
			accounts := make([]*wechatopen.Account, n)
			for i, id := range appIDs {
				accounts[i] = p.Account(id)
			}
			b.Run("account", func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if p.Account(appIDs[i%n]) == nil {
						b.Fatal("no account")
					}
				}
			})
			b.Run("token", func(b *testing.B) {
				ctx := b.Context()
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := accounts[i%n].AccessToken().Token(ctx); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkAccountMemory says what an account takes whose token is in use, the record of its token in the Store left out.
func BenchmarkAccountMemory(b *testing.B) {
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
