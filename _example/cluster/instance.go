package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
)

// instanceEnv holds an instance's number, and makes this program an instance.
const instanceEnv = "CLUSTER_INSTANCE"

// setup is the first line of an instance's standard input. It is the same for all: what is set up for a deployment.
// Each further line is how far the clock of the simulator is ahead, and the end of the input is that of the instance.
type setup struct {
	Credentials  wechatopen.Credentials
	Endpoints    wechatopen.Endpoints
	BaseURL      string
	CookieSecret []byte
	Redis        string // its URL
	Prefix       string // of its keys
}

// report is a line of an instance's standard output, with one of its fields.
type report struct {
	Addr    string        `json:",omitempty"` // requests are answered here
	Fetched string        `json:",omitempty"` // the key of a token that was fetched from WeChat
	Failed  string        `json:",omitempty"` // why one was not
	Ahead   time.Duration `json:",omitempty"` // the clock is set
}

// instance is one process of the shop platform, as one machine of several runs it.
func instance(number string, in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt) // Ctrl-C reaches all processes of the terminal; the first of them ends the others
	input := json.NewDecoder(in)
	var s setup
	if err := input.Decode(&s); err != nil {
		return err
	}
	var mu sync.Mutex
	output := json.NewEncoder(out)
	tell := func(r report) {
		mu.Lock()
		defer mu.Unlock()
		_ = output.Encode(r) // nobody reads it: the input ends too
	}
	var ahead atomic.Int64

	db, err := connect(s.Redis, s.Prefix)
	if err != nil {
		return err
	}
	defer db.client.Close()
	store := db.store()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("instance", number)
	platform, err := wechatopen.NewPlatform(s.Credentials,
		wechatopen.WithStore(store),
		wechatopen.WithLocker(store),
		wechatopen.WithLogger(log),
		wechatopen.WithTrace(&wechatopen.Trace{TokenFetch: func(_ context.Context, f wechatopen.TokenFetch) {
			if f.Err != nil {
				tell(report{Failed: f.Err.Error()})
				return
			}
			tell(report{Fetched: f.Key})
		}}),
		// The simulator's: on a real machine WeChat is WeChat, and the clock is the clock.
		wechatopen.WithEndpoints(s.Endpoints),
		wechatopen.WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }),
	)
	if err != nil {
		return err
	}
	cookies, err := wechatopen.NewCookies(s.CookieSecret) // of all instances, so that each knows the others' customers
	if err != nil {
		return err
	}
	cookies.Insecure = true // plain http, which never leaves this machine

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	shop := &shop{platform: platform, baseURL: s.BaseURL, log: log, db: db.client, key: s.Prefix + "merchants"}
	srv := &http.Server{Handler: shop.handler(cookies), ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	tell(report{Addr: ln.Addr().String()})
	for {
		var d time.Duration
		err := input.Decode(&d)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		ahead.Store(int64(d))
		tell(report{Ahead: d})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}

// shop is the platform's business. It keeps nothing in its memory that another instance would miss.
type shop struct {
	platform *wechatopen.Platform
	baseURL  string
	log      *slog.Logger
	db       *redis.Client
	key      string // of the set of merchants
}

func (s *shop) handler(cookies *wechatopen.Cookies) http.Handler {
	oauth := &wechatopen.OAuth{Account: s.account, BaseURL: s.baseURL, Cookies: cookies}
	mux := http.NewServeMux()
	mux.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: s.platform, OnEvent: s.onEvent})
	mux.Handle("/wechat/authorize", &wechatopen.AuthorizeHandler{Platform: s.platform, BaseURL: s.baseURL, Cookies: cookies})
	mux.Handle("GET /shop/{appid}/{$}", oauth.Require(http.HandlerFunc(s.visit)))
	return mux
}

// onEvent hears who authorizes the platform and who no longer does: at one instance, for all of them.
func (s *shop) onEvent(ctx context.Context, e *wechatopen.Event) error {
	switch e.InfoType {
	case wechatopen.InfoAuthorized, wechatopen.InfoUpdateAuthorized:
		return s.db.SAdd(ctx, s.key, e.AuthorizerAppID).Err()
	case wechatopen.InfoUnauthorized:
		return s.db.SRem(ctx, s.key, e.AuthorizerAppID).Err()
	}
	return nil
}

func (s *shop) account(r *http.Request) (*wechatopen.Account, error) {
	appID := r.PathValue("appid")
	merchant, err := s.db.SIsMember(r.Context(), s.key, appID).Result()
	if err != nil {
		return nil, err
	}
	if !merchant {
		return nil, fmt.Errorf("no merchant of this appid: %w", wechatopen.ErrNotAuthorized)
	}
	return s.platform.Account(appID), nil
}

// visit is a page that greets a customer and is signed for the JSSDK, which takes every kind of token there is.
func (s *shop) visit(w http.ResponseWriter, r *http.Request) {
	user, _ := wechatopen.UserFromContext(r.Context())
	config, err := s.platform.Account(user.AppID).JSConfig(r.Context(), s.baseURL+r.URL.Path)
	if err != nil {
		s.log.ErrorContext(r.Context(), "page not signed", "error", err)
		status := wechatopen.HTTPStatus(err)
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><p>你好 · Hello, <b id=\"user\">%s</b><p id=\"signature\">%s", user.OpenID, config.Signature)
}
