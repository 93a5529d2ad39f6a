package wechatopen_test

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// goodCredentials are well-formed, and nobody's.
func goodCredentials() wechatopen.Credentials {
	return wechatopen.Credentials{
		AppID: "wx0123456789abcdef", AppSecret: "0123456789abcdef0123456789abcdef",
		Token: "AToken", EncodingAESKey: strings.Repeat("Ab1", 14) + "G", // the unused bits of the last character are set
	}
}

func TestEveryMistakeInCredentialsIsNamedAtOnce(t *testing.T) {
	const (
		inside  = "ZZinside ZZ" // a value that is wrong because of its space
		tooLong = "ZZtoolongZZ"
	)
	all := []string{"AppID", "AppSecret", "Token", "EncodingAESKey", "PreviousToken", "PreviousEncodingAESKey"}
	for _, tc := range []struct {
		name     string
		change   func(*wechatopen.Credentials)
		platform []string // fields that NewPlatform names
		account  []string // fields that NewAccount names
	}{
		{"none", func(*wechatopen.Credentials) {}, nil, nil},
		{"zero", func(c *wechatopen.Credentials) { *c = wechatopen.Credentials{} }, all[:4], all[:2]},
		{"no messages", func(c *wechatopen.Credentials) { c.Token, c.EncodingAESKey = "", "" }, all[2:4], nil},
		{"token alone", func(c *wechatopen.Credentials) { c.EncodingAESKey = "" }, all[3:4], all[3:4]},
		{"key alone", func(c *wechatopen.Credentials) { c.Token = "" }, all[2:3], all[2:3]},
		{"everything", func(c *wechatopen.Credentials) {
			*c = wechatopen.Credentials{AppID: inside, AppSecret: inside, Token: inside, EncodingAESKey: inside, PreviousToken: inside, PreviousEncodingAESKey: inside}
		}, all, all},
		{"appid with a colon", func(c *wechatopen.Credentials) { c.AppID = "wx:" + tooLong }, all[:1], all[:1]},
		{"appid with a slash", func(c *wechatopen.Credentials) { c.AppID = "wx/../" + tooLong }, all[:1], all[:1]},
		{"appid in Chinese", func(c *wechatopen.Credentials) { c.AppID = "微信" + tooLong }, all[:1], all[:1]},
		{"appid too long", func(c *wechatopen.Credentials) { c.AppID = strings.Repeat(tooLong, 6) }, all[:1], all[:1]},
		{"secret with a line break", func(c *wechatopen.Credentials) { c.AppSecret += "\n" }, all[1:2], all[1:2]},
		{"secret with a no-break space", func(c *wechatopen.Credentials) { c.AppSecret += "\u00a0" }, all[1:2], all[1:2]},
		{"token with a space", func(c *wechatopen.Credentials) { c.Token = inside }, all[2:3], all[2:3]},
		{"key of 42", func(c *wechatopen.Credentials) { c.EncodingAESKey = c.EncodingAESKey[:42] }, all[3:4], all[3:4]},
		{"key of 44", func(c *wechatopen.Credentials) { c.EncodingAESKey += "A" }, all[3:4], all[3:4]},
		{"key with =", func(c *wechatopen.Credentials) { c.EncodingAESKey = c.EncodingAESKey[:42] + "=" }, all[3:4], all[3:4]},
		{"key of base64", func(c *wechatopen.Credentials) { c.EncodingAESKey = "+/" + c.EncodingAESKey[2:] }, all[3:4], all[3:4]},
		{"key decoded", func(c *wechatopen.Credentials) {
			b, _ := base64.RawStdEncoding.DecodeString(c.EncodingAESKey)
			c.EncodingAESKey = string(b)
		}, all[3:4], all[3:4]},
		{"previous key", func(c *wechatopen.Credentials) { c.PreviousEncodingAESKey = tooLong }, all[5:], all[5:]},
		{"previous token", func(c *wechatopen.Credentials) { c.PreviousToken = inside }, all[4:5], all[4:5]},
		{"previous ones", func(c *wechatopen.Credentials) {
			c.PreviousToken, c.PreviousEncodingAESKey = "Old", strings.Repeat("A", 43)
		}, nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			creds := goodCredentials()
			tc.change(&creds)
			opts := []wechatopen.Option{wechatopen.WithLogger(slog.New(slog.DiscardHandler))}
			p, perr := wechatopen.NewPlatform(creds, opts...)
			a, aerr := wechatopen.NewAccount(creds, opts...)
			for _, got := range []struct {
				what string
				made bool
				err  error
				want []string
			}{{"NewPlatform", p != nil, perr, tc.platform}, {"NewAccount", a != nil, aerr, tc.account}} {
				if len(got.want) == 0 {
					if got.err != nil || !got.made {
						t.Errorf("%s: %v, want it to be made", got.what, got.err)
					}
					continue
				}
				if got.err == nil || got.made {
					t.Errorf("%s: %v, want an error and nothing made", got.what, got.err)
					continue
				}
				msg := got.err.Error()
				for _, field := range all {
					named := strings.Contains(msg, "Credentials."+field+" ")
					wanted := false
					for _, w := range got.want {
						wanted = wanted || w == field
					}
					if named != wanted {
						t.Errorf("%s: names %s: %t, want %t: %s", got.what, field, named, wanted, msg)
					}
				}
				for _, v := range []string{creds.AppSecret, creds.Token, creds.EncodingAESKey, creds.PreviousToken, creds.PreviousEncodingAESKey, "ZZ"} {
					if len(v) > 1 && strings.Contains(msg, v) {
						t.Errorf("%s: quotes a value: %s", got.what, msg)
					}
				}
				if !strings.HasPrefix(msg, "wechatopen: ") {
					t.Errorf("%s: without the prefix: %s", got.what, msg)
				}
			}
		})
	}
}

func TestEveryMistakeInEndpointsIsNamedBesideThoseInCredentials(t *testing.T) {
	for _, bad := range []string{"api.weixin.qq.com", "ftp://x", "https://", "https://u:ZZpw@x", "https://x?q=ZZ", "https://x#ZZ", "://ZZ"} {
		creds := goodCredentials()
		creds.AppSecret = ""
		_, err := wechatopen.NewAccount(creds, wechatopen.WithEndpoints(wechatopen.Endpoints{API: bad, Open: bad, MP: bad}))
		if err == nil {
			t.Errorf("%s: accepted", bad)
			continue
		}
		for _, field := range []string{"Credentials.AppSecret", "Endpoints.API", "Endpoints.Open", "Endpoints.MP"} {
			if !strings.Contains(err.Error(), field) {
				t.Errorf("%s: the error does not name %s: %v", bad, field, err)
			}
		}
		if strings.Contains(err.Error(), "ZZ") {
			t.Errorf("the error quotes the value: %v", err)
		}
	}
}

func TestEndpointsDefaultToWeChatOverHTTPS(t *testing.T) {
	p, err := wechatopen.NewPlatform(goodCredentials(), wechatopen.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		p.AuthorizeURL(wechatopen.AuthorizeLink{}):                                                  "https://mp.weixin.qq.com/",
		p.AuthorizeURL(wechatopen.AuthorizeLink{Phone: true}):                                       "https://open.weixin.qq.com/",
		p.Account("wx1").AuthCodeURL("https://x/", "s", "state"):                                    "https://open.weixin.qq.com/",
		apiHostOf(t, goodCredentials(), wechatopen.Endpoints{}):                                     "https://api.weixin.qq.com",
		apiHostOf(t, goodCredentials(), wechatopen.Endpoints{API: "https://proxy.example/wechat/"}): "https://proxy.example",
	} {
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %s, want it at %s", got, want)
		}
	}
}

// apiHostOf is where an account sends its calls.
func apiHostOf(t *testing.T, creds wechatopen.Credentials, e wechatopen.Endpoints) (host string) {
	t.Helper()
	var path string
	a, err := wechatopen.NewAccount(creds, wechatopen.WithEndpoints(e), wechatopen.WithHTTPClient(&http.Client{
		Transport: wire(func(r *http.Request) (*http.Response, error) {
			host, path = r.URL.Scheme+"://"+r.URL.Host, r.URL.Path
			return nil, errors.New("no network in this test")
		})}))
	if err != nil {
		t.Fatal(err)
	}
	noToken(t, a.AccessToken())
	if e.API != "" && path != "/wechat"+opStableToken {
		t.Errorf("the base path is lost: %s", path)
	}
	return host
}

func TestMemoryStoreIsWarnedOfOnce(t *testing.T) {
	count := func(log *logBuffer) int { return strings.Count(log.String(), "\n") }
	var log logBuffer
	logger := wechatopen.WithLogger(log.logger())
	p, err := wechatopen.NewPlatform(goodCredentials(), logger)
	if err != nil {
		t.Fatal(err)
	}
	p.Account("wx1").JSAPITicket()
	noToken(t, p.ComponentToken())
	noToken(t, p.Account("wx1").AccessToken())
	if s := log.String(); count(&log) != 1 || !strings.Contains(s, "level=WARN") || !strings.Contains(s, "WithStore") || !strings.Contains(s, goodCredentials().AppID) {
		t.Errorf("want one warning that names WithStore and the component, got:\n%s", s)
	}
	log.reset()
	if _, err := wechatopen.NewPlatform(goodCredentials(), logger, wechatopen.WithStore(nil)); err != nil || count(&log) != 1 {
		t.Errorf("a nil Store: %v and %d lines, want a warning", err, count(&log))
	}
	log.reset()
	if _, err := wechatopen.NewPlatform(goodCredentials(), logger, wechatopen.WithStore(wechatopen.NewMemoryStore())); err != nil || count(&log) != 0 {
		t.Errorf("a MemoryStore by choice: %v\n%s", err, &log)
	}
	if _, err := wechatopen.NewAccount(goodCredentials(), logger); err != nil || count(&log) != 0 {
		t.Errorf("an account of one's own loses nothing with its memory: %v\n%s", err, &log)
	}
}

func TestNilOptionsChangeNothing(t *testing.T) {
	sim := wechattest.Start(t)
	shop := sim.AddAccount(wechattest.AccountConfig{})
	a, err := wechatopen.NewAccount(shop.Credentials(), wechatopen.WithEndpoints(sim.Endpoints()),
		nil, wechatopen.WithStore(nil), wechatopen.WithLocker(nil), wechatopen.WithHTTPClient(nil), wechatopen.WithLogger(nil), wechatopen.WithTrace(nil), wechatopen.WithClock(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestWithTraceNilKeepsTheTraceBefore(t *testing.T) {
	calls := 0
	trace := &wechatopen.Trace{APICall: func(context.Context, wechatopen.APICall) { calls++ }}
	sim := wechattest.Start(t)
	a, err := wechatopen.NewAccount(sim.AddAccount(wechattest.AccountConfig{}).Credentials(), append(sim.Options(), wechatopen.WithTrace(trace), wechatopen.WithTrace(nil))...)
	if err != nil {
		t.Fatal(err)
	}
	trace.APICall = nil // it was copied
	if err := a.CheckUserToken(t.Context(), "no such token", "openid"); err == nil || calls != 1 {
		t.Errorf("%v, %d calls traced, want 1", err, calls)
	}
}

func TestWithClockIsTheClockOfEveryExpiry(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	b := &bubble{answer: func(_ *http.Request, n int) (string, error) { return numberedToken(n, 7200), nil }}
	a := b.account(t, wechatopen.WithClock(func() time.Time { return now }))
	first := tokenOf(t, a.AccessToken())
	if want := now.Add(2 * time.Hour); !first.Expiry.Equal(want) {
		t.Errorf("expires %v, want %v", first.Expiry, want)
	}
	now = first.Expiry.Add(-time.Hour)
	if tokenOf(t, a.AccessToken()).Value != first.Value {
		t.Error("replaced an hour before its end")
	}
	now = first.Expiry
	if tokenOf(t, a.AccessToken()).Value == first.Value {
		t.Error("served at its end")
	}
}

func TestWithHTTPClientIsCopiedAndNotChanged(t *testing.T) {
	w := newWorld(t)
	shop := w.sim.AddAccount(wechattest.AccountConfig{})
	used := 0
	hc := &http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
		used++
		return http.DefaultTransport.RoundTrip(r)
	})}
	a, err := wechatopen.NewAccount(shop.Credentials(), append(w.sim.Options(), wechatopen.WithHTTPClient(hc))...)
	if err != nil {
		t.Fatal(err)
	}
	if hc.CheckRedirect != nil {
		t.Error("the client given was changed")
	}
	hc.Transport = wire(func(*http.Request) (*http.Response, error) { return nil, errors.New("changed later") })
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil || used != 2 {
		t.Errorf("%v, the transport was used %d times, want twice", err, used)
	}
}
