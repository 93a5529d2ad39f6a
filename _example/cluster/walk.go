package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// walker is who plays with the cluster.
type walker struct {
	cluster   *cluster
	proxy     *proxy
	wx        *wechattest.Server
	component *wechattest.Component
	tea       *wechattest.Account
	baseURL   string

	customers []*wechattest.Browser
}

const customers = 100

// walk plays a merchant and many customers, and prints a line for each step. It returns an error at the first step that
// does not see what it expects.
func (w *walker) walk(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i, s := range []struct {
		name string
		do   func(context.Context) (saw string, err error)
	}{
		{"ticket", w.ticket},
		{"authorization", w.authorize},
		{"logins", w.logins},
		{"two hours later", w.expire},
		{"two hours more", w.expire},
	} {
		saw, err := s.do(ctx)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.name, err)
		}
		fmt.Fprintf(out, "%d  %-16s %s\n", i+1, s.name, saw)
	}
	return nil
}

func (w *walker) ticket(ctx context.Context) (string, error) {
	res, err := w.component.PushTicket(ctx)
	if err != nil {
		return "", err
	}
	return "pushed to instance " + res.Header.Get(byHeader), nil
}

func (w *walker) authorize(ctx context.Context) (string, error) {
	w.wx.SetPushOrder(wechattest.PushFirst)
	desk := w.wx.NewBrowser(w.wx.AddUser(wechattest.UserConfig{}))
	start, err := desk.Open(ctx, w.baseURL+"/wechat/authorize")
	if err != nil {
		return "", err
	}
	page, err := start.Click(ctx, "authorize")
	if err != nil {
		return "", err
	}
	page.Fill("account", w.tea.AppID())
	if page, err = page.Click(ctx, "authorize"); err != nil {
		return "", err
	}
	n := w.wx.Count("/cgi-bin/component/api_query_auth")
	return fmt.Sprintf("begun at instance %s, finished at instance %s; %d api_query_auth", start.Header.Get(byHeader), page.Header.Get(byHeader), n), errors.Join(
		expect("status", page.Status, http.StatusOK),
		expect("calls of api_query_auth", n, 1))
}

func (w *walker) logins(ctx context.Context) (string, error) {
	for range customers {
		w.customers = append(w.customers, w.wx.NewBrowser(w.wx.AddUser(wechattest.UserConfig{})))
	}
	served, err := w.visitAll(ctx)
	n := w.wx.Count("/sns/oauth2/component/access_token")
	return fmt.Sprintf("%d customers, %d code exchanges; %s", customers, n, served), errors.Join(err,
		expect("code exchanges", n, customers))
}

// expire moves the clock, so that every token is over, and has all customers come back at once.
func (w *walker) expire(ctx context.Context) (string, error) {
	if err := w.cluster.advance(ctx, 2*time.Hour+time.Minute); err != nil {
		return "", err
	}
	served, err := w.visitAll(ctx)
	n := w.wx.Count("/sns/oauth2/component/access_token")
	return fmt.Sprintf("all of them are known; %s", served), errors.Join(err, expect("code exchanges", n, customers))
}

// visitAll has all customers open the shop at once.
func (w *walker) visitAll(ctx context.Context) (string, error) {
	var before [size]int64
	for i := range size {
		before[i] = w.proxy.served[i].Load()
	}
	errs := make([]error, len(w.customers))
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i, b := range w.customers {
		wg.Go(func() {
			<-begin
			page, err := b.Open(ctx, w.baseURL+"/shop/"+w.tea.AppID()+"/")
			if err == nil {
				err = errors.Join(
					expect("status", page.Status, http.StatusOK),
					expect("page signed for the JSSDK", page.Has("signature"), true))
			}
			errs[i] = err
		})
	}
	close(begin)
	wg.Wait()
	saw := "requests"
	for i := range size {
		n := w.proxy.served[i].Load() - before[i]
		saw += fmt.Sprintf(" %d", n)
		errs = append(errs, expect(fmt.Sprintf("instance %d answered", i+1), n > 0, true))
	}
	return saw, errors.Join(errs...)
}

// fetches checks that each token was fetched once for all instances, and once more each time it was over.
func (w *walker) fetches() error {
	component := "wechatopen:" + w.component.AppID() + ":"
	account := component + w.tea.AppID() + ":"
	errs := []error{expect("failed fetches", strings.Join(w.cluster.failed, "; "), "")}
	for _, tt := range []struct {
		key, path string
		want      int
	}{
		{component + "component_token", "/cgi-bin/component/api_component_token", 3},
		{account + "access_token", "/cgi-bin/component/api_authorizer_token", 2}, // the first one came with the authorization
		{account + "ticket:jsapi", "/cgi-bin/ticket/getticket", 3},
	} {
		errs = append(errs,
			expect("fetches of "+tt.key, w.cluster.fetched(tt.key), tt.want),
			expect("calls of "+tt.path, w.wx.Count(tt.path), tt.want))
	}
	for _, c := range w.wx.Calls() {
		if c.Misuse != "" {
			errs = append(errs, fmt.Errorf("misuse of %s: %s", c.Path, c.Misuse))
		}
	}
	return errors.Join(errs...)
}

// expect is nil if a step saw what it should see.
func expect[T comparable](what string, saw, want T) error {
	if saw == want {
		return nil
	}
	return fmt.Errorf("%s: saw %v, expected %v", what, saw, want)
}
