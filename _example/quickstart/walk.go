package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	pathComponentToken  = "/cgi-bin/component/api_component_token"
	pathQueryAuth       = "/cgi-bin/component/api_query_auth"
	pathAuthorizerToken = "/cgi-bin/component/api_authorizer_token"
	pathJSTicket        = "/cgi-bin/ticket/getticket"
	pathCodeExchange    = "/sns/oauth2/component/access_token"
)

// walker is one walk through the shop platform, and what a step leaves to the next.
type walker struct {
	site    *site
	wx      *wechat
	baseURL string
	tea     *wechattest.Account // the account that the walk follows
	books   *wechattest.Account // the second one

	desk     *wechattest.Browser // a merchant's computer
	phone    *wechattest.Browser // another merchant's WeChat
	customer *wechattest.Browser // the customer's WeChat
	page     *wechattest.Page    // where the walk stands
}

// walk plays the merchants and a customer, and prints a line for each step. It returns an error at the first step that
// does not see what it expects.
func walk(ctx context.Context, site *site, out io.Writer) error {
	wx := site.wx
	w := &walker{
		site: site, wx: wx, baseURL: site.c.baseURL,
		tea: wx.accounts[0], books: wx.accounts[1],
		desk: wx.NewBrowser(nil), phone: wx.NewBrowser(wx.merchant), customer: wx.NewBrowser(wx.customer),
	}
	steps := []struct {
		name string
		do   func(context.Context) (saw string, err error)
	}{
		{"ticket", w.pushTicket},
		{"component token", w.componentToken},
		{"start page", w.startPage},
		{"authorization", w.confirm},
		{"push and redirect", w.pushAfterRedirect},
		{"second merchant", w.secondMerchant},
		{"account info", w.accountInfo},
		{"login refused", w.refuseLogin},
		{"login", w.login},
		{"session", w.secondVisit},
		{"other shops", w.otherShops},
		{"JSSDK", w.signedPage},
		{"restart", w.restart},
		{"refresh", w.refresh},
		{"logout", w.logout},
		{"forged push", w.forgedPush},
		{"unauthorized", w.unauthorize},
		{"conduct", w.conduct},
	}
	for i, s := range steps {
		saw, err := s.do(ctx)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.name, err)
		}
		fmt.Fprintf(out, "%2d  %-18s %s\n", i+1, s.name, saw)
	}
	return nil
}

func (w *walker) pushTicket(ctx context.Context) (string, error) {
	res, err := w.wx.component.PushTicket(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("pushed encrypted, answered %d %s at attempt %d", res.Status, res.Body, res.Attempts),
		expect("attempts", res.Attempts, 1)
}

const callers = 64

func (w *walker) componentToken(ctx context.Context) (string, error) {
	values, err := together(ctx, w.site.platform().ComponentToken())
	if err != nil {
		return "", err
	}
	n := w.wx.Count(pathComponentToken)
	return fmt.Sprintf("%d callers at once: %d token from %d call of WeChat", callers, values, n),
		errors.Join(expect("different tokens", values, 1), expect("calls of "+pathComponentToken, n, 1))
}

func (w *walker) startPage(ctx context.Context) (string, error) {
	home, err := w.desk.Open(ctx, w.baseURL+"/")
	if err != nil {
		return "", err
	}
	start, err := home.Click(ctx, "connect")
	if err != nil {
		return "", err
	}
	if w.page, err = start.Click(ctx, "authorize"); err != nil {
		return "", err
	}
	path, err := pathOf(w.page)
	return fmt.Sprintf("a page, status %d; its link, with the Referer, opens %s", start.Status, path), errors.Join(err,
		expect("status of the start page", start.Status, http.StatusOK),
		expect("page of WeChat", path, "/cgi-bin/componentloginpage"),
		expect("button to authorize", w.page.Has("authorize"), true))
}

func (w *walker) confirm(ctx context.Context) (string, error) {
	w.wx.SetPushOrder(wechattest.RedirectFirst)
	w.page.Fill("account", w.tea.AppID())
	home, err := w.page.Click(ctx, "authorize")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("confirmed at WeChat, back at %s: %s", home.URL, w.tea.Name()), errors.Join(
		expect("page", home.URL, w.baseURL+"/"),
		expect("shop in the list", home.Has("shop-"+w.tea.AppID()), true),
		expect("authorized pushes", w.wx.pushCount(wechatopen.InfoAuthorized), 0),
		expect("calls of "+pathQueryAuth, w.wx.Count(pathQueryAuth), 1))
}

func (w *walker) pushAfterRedirect(ctx context.Context) (string, error) {
	if err := w.wx.component.FlushPushes(ctx); err != nil {
		return "", err
	}
	if _, err := w.site.platform().Account(w.tea.AppID()).AccessToken().Token(ctx); err != nil {
		return "", err
	}
	pushes, exchanges, fetches := w.wx.pushCount(wechatopen.InfoAuthorized), w.wx.Count(pathQueryAuth), w.wx.Count(pathAuthorizerToken)
	return fmt.Sprintf("1 redirect, %d push, %d api_query_auth, one grant; its token is in use, %d fetched", pushes, exchanges, fetches), errors.Join(
		expect("authorized pushes", pushes, 1),
		expect("calls of "+pathQueryAuth, exchanges, 1),
		expect("calls of "+pathAuthorizerToken, fetches, 0),
		expect("refresh token redeemed", w.wx.component.RefreshToken(w.tea) != "", true))
}

// secondMerchant has the push come before the browser.
func (w *walker) secondMerchant(ctx context.Context) (string, error) {
	w.wx.SetPushOrder(wechattest.PushFirst)
	page, err := w.phone.Open(ctx, w.baseURL+"/")
	if err != nil {
		return "", err
	}
	if page, err = page.Click(ctx, "connect"); err != nil {
		return "", err
	}
	if page, err = page.Click(ctx, "authorize"); err != nil {
		return "", err
	}
	path, err := pathOf(page)
	if err != nil {
		return "", err
	}
	page.Fill("account", w.books.AppID())
	if page, err = page.Click(ctx, "authorize"); err != nil {
		return "", err
	}
	n := w.wx.Count(pathQueryAuth)
	return fmt.Sprintf("on a phone, by %s, push first: %s; %d api_query_auth for 2 merchants", path, w.books.Name(), n), errors.Join(
		expect("authorized pushes", w.wx.pushCount(wechatopen.InfoAuthorized), 2),
		expect("page of WeChat", path, "/wxaopen/safe/bindcomponent"),
		expect("page", page.URL, w.baseURL+"/"),
		expect("first shop in the list", page.Has("shop-"+w.tea.AppID()), true),
		expect("second shop in the list", page.Has("shop-"+w.books.AppID()), true),
		expect("calls of "+pathQueryAuth, n, 2))
}

func (w *walker) accountInfo(ctx context.Context) (string, error) {
	info, err := w.site.platform().AuthorizerInfo(ctx, w.tea.AppID())
	if err != nil {
		return "", err
	}
	n := len(info.Authorization.FuncInfo)
	return fmt.Sprintf("%s, %s, grants %d permission sets", info.NickName, info.UserName, n), errors.Join(
		expect("name", info.NickName, w.tea.Name()),
		expect("original id", info.UserName, w.tea.UserName()),
		expect("grants anything", n > 0, true))
}

func (w *walker) refuseLogin(ctx context.Context) (string, error) {
	consent, err := w.customer.Open(ctx, w.shop(w.tea))
	if err != nil {
		return "", err
	}
	page, err := consent.Click(ctx, "refuse")
	if err != nil {
		return "", err
	}
	n := w.wx.Count(pathCodeExchange)
	return fmt.Sprintf("%s says no: status %d, %d code exchanges", w.wx.customer.Name(), page.Status, n), errors.Join(
		expect("status", page.Status, http.StatusForbidden),
		expect("error page", page.Has("error"), true),
		expect("calls of "+pathCodeExchange, n, 0))
}

func (w *walker) login(ctx context.Context) (string, error) {
	consent, err := w.customer.Open(ctx, w.shop(w.tea))
	if err != nil {
		return "", err
	}
	if w.page, err = consent.Click(ctx, "allow"); err != nil {
		return "", err
	}
	if err := w.greeted(w.page); err != nil {
		return "", err
	}
	n := w.wx.Count(pathCodeExchange)
	return fmt.Sprintf("says yes: %s, with avatar, after %d code exchange", nameOn(w.page), n), errors.Join(
		expect("address without code and state", w.page.URL, w.shop(w.tea)),
		expect("calls of "+pathCodeExchange, n, 1))
}

func (w *walker) secondVisit(ctx context.Context) (string, error) {
	before := len(w.wx.Calls())
	page, err := w.customer.Open(ctx, w.shop(w.tea))
	if err != nil {
		return "", err
	}
	calls := len(w.wx.Calls()) - before
	return fmt.Sprintf("second visit: %s, %d redirects, %d calls of WeChat", nameOn(page), len(page.Trail)-1, calls), errors.Join(
		w.greeted(page),
		expect("redirects", len(page.Trail)-1, 0),
		expect("calls of WeChat", calls, 0))
}

// otherShops has the customer of one shop come to another, and to one that is none.
func (w *walker) otherShops(ctx context.Context) (string, error) {
	second, err := w.customer.Open(ctx, w.shop(w.books))
	if err != nil {
		return "", err
	}
	before := len(w.wx.Calls())
	none, err := w.customer.Open(ctx, w.baseURL+"/shop/wx0123456789abcdef/")
	if err != nil {
		return "", err
	}
	calls := len(w.wx.Calls()) - before
	return fmt.Sprintf("the second shop asks again; an appid that is no merchant's: status %d, %d calls of WeChat", none.Status, calls), errors.Join(
		expect("consent page of the second shop", second.Has("allow"), true),
		expect("status without a merchant", none.Status, http.StatusNotFound),
		expect("calls of WeChat without a merchant", calls, 0))
}

func (w *walker) signedPage(ctx context.Context) (string, error) {
	sign := w.baseURL + w.page.Attr("jssdk", "data-sign") + "?url="
	status, body, err := w.get(ctx, sign+url.QueryEscape(w.page.URL))
	if err != nil {
		return "", err
	}
	if err := expect("status", status, http.StatusOK); err != nil {
		return "", err
	}
	var c wechatopen.JSConfig
	if err := json.Unmarshal(body, &c); err != nil {
		return "", fmt.Errorf("saw %.80q, expected JSON: %w", body, err)
	}
	if err := w.wx.VerifyJSConfig(c.AppID, c.NonceStr, c.Timestamp, w.page.URL, c.Signature); err != nil {
		return "", err
	}
	foreign, _, err := w.get(ctx, sign+url.QueryEscape("https://evil.example/"))
	n := w.wx.Count(pathJSTicket)
	return fmt.Sprintf("signature %s… verified, %d ticket fetched; a foreign page: status %d", c.Signature[:8], n, foreign), errors.Join(err,
		expect("appid", c.AppID, w.tea.AppID()),
		expect("calls of "+pathJSTicket, n, 1),
		expect("status for a foreign page", foreign, http.StatusForbidden))
}

// restart has the process end and another begin. What the second one knows of the merchants is in the file.
func (w *walker) restart(ctx context.Context) (string, error) {
	old, err := w.site.platform().Account(w.tea.AppID()).AccessToken().Token(ctx)
	if err != nil {
		return "", err
	}
	before := len(w.wx.Calls())
	if err := w.site.restart(); err != nil {
		return "", err
	}
	token, err := w.site.platform().Account(w.tea.AppID()).AccessToken().Token(ctx)
	if err != nil {
		return "", err
	}
	home, err := w.desk.Open(ctx, w.baseURL+"/")
	if err != nil {
		return "", err
	}
	page, err := w.customer.Open(ctx, w.shop(w.tea))
	if err != nil {
		return "", err
	}
	calls := len(w.wx.Calls()) - before
	return fmt.Sprintf("the next process has both shops and the same token, and knows %s; %d calls of WeChat", nameOn(page), calls), errors.Join(
		expect("first shop in the list", home.Has("shop-"+w.tea.AppID()), true),
		expect("second shop in the list", home.Has("shop-"+w.books.AppID()), true),
		expect("same token", token.Value == old.Value, true),
		w.greeted(page),
		expect("calls of WeChat", calls, 0))
}

// refresh moves the clock of everyone, so that the account's token is over.
func (w *walker) refresh(ctx context.Context) (string, error) {
	old := w.wx.component.RefreshToken(w.tea)
	w.wx.Advance(2*time.Hour + time.Minute)
	source := w.site.platform().Account(w.tea.AppID()).AccessToken()
	values, err := together(ctx, source)
	if err != nil {
		return "", err
	}
	n := w.wx.Count(pathAuthorizerToken)
	if err := errors.Join(
		expect("different tokens", values, 1),
		expect("calls of "+pathAuthorizerToken, n, 1),
		expect("refresh token replaced", w.wx.component.RefreshToken(w.tea) != old, true),
	); err != nil {
		return "", err
	}
	// The next one needs the refresh token that came with the last.
	t, err := source.Token(ctx)
	if err != nil {
		return "", err
	}
	if err := source.Invalidate(ctx, t); err != nil {
		return "", err
	}
	if _, err = source.Token(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("two hours later, %d callers: %d api_authorizer_token; the new refresh token works too", callers, n),
		expect("calls of "+pathAuthorizerToken, w.wx.Count(pathAuthorizerToken), 2)
}

func (w *walker) logout(ctx context.Context) (string, error) {
	home, err := w.page.Click(ctx, "logout")
	if err != nil {
		return "", err
	}
	again, err := w.customer.Open(ctx, w.shop(w.tea))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("back at %s; the shop asks again", home.URL), errors.Join(
		expect("page", home.URL, w.baseURL+"/"),
		expect("consent page", again.Has("allow"), true))
}

// forgedPush pushes what an attacker could: a ticket under a signature that is not WeChat's, and one in plain text.
func (w *walker) forgedPush(ctx context.Context) (string, error) {
	xml := w.wx.component.TicketXML("ticket@@@forged", w.wx.Now())
	var statuses []int
	for _, spec := range []wechattest.PushSpec{
		{XML: xml, MsgSignature: strings.Repeat("0", 40)},
		{XML: xml, EncryptType: "raw"},
	} {
		req, err := w.wx.component.NewPush(ctx, spec)
		if err != nil {
			return "", err
		}
		status, _, err := w.do(req)
		if err != nil {
			return "", err
		}
		statuses = append(statuses, status)
	}
	return fmt.Sprintf("wrong signature: status %d; not encrypted: status %d", statuses[0], statuses[1]), errors.Join(
		expect("status for a wrong signature", statuses[0], http.StatusForbidden),
		expect("status for plain text", statuses[1], http.StatusForbidden))
}

func (w *walker) unauthorize(ctx context.Context) (string, error) {
	if err := w.wx.component.Unauthorize(ctx, w.tea); err != nil {
		return "", err
	}
	home, err := w.desk.Open(ctx, w.baseURL+"/")
	if err != nil {
		return "", err
	}
	shop, err := w.customer.Open(ctx, w.shop(w.tea))
	if err != nil {
		return "", err
	}
	_, err = w.site.platform().Account(w.tea.AppID()).AccessToken().Token(ctx)
	return fmt.Sprintf("pushed: %s is gone, its shop is %d, its token is no more", w.tea.Name(), shop.Status), errors.Join(
		expect("first shop in the list", home.Has("shop-"+w.tea.AppID()), false),
		expect("second shop in the list", home.Has("shop-"+w.books.AppID()), true),
		expect("status of the shop", shop.Status, http.StatusNotFound),
		expect("error is ErrNotAuthorized", errors.Is(err, wechatopen.ErrNotAuthorized), true))
}

// conduct asks the simulator whether any call was one that WeChat's documentation calls a mistake.
func (w *walker) conduct(context.Context) (string, error) {
	calls := w.wx.Calls()
	for _, c := range calls {
		if c.Misuse != "" {
			return "", fmt.Errorf("saw misuse of %s: %s, expected none", c.Path, c.Misuse)
		}
	}
	return fmt.Sprintf("%d calls of WeChat in all, none of them a mistake", len(calls)), nil
}

func (w *walker) shop(a *wechattest.Account) string { return w.baseURL + "/shop/" + a.AppID() + "/" }

// greeted checks that a page is the first shop's and knows the customer.
func (w *walker) greeted(p *wechattest.Page) error {
	return errors.Join(
		expect("status", p.Status, http.StatusOK),
		expect("name", nameOn(p), w.wx.customer.Name()),
		expect("avatar", p.Attr("avatar", "src"), w.wx.customer.AvatarURL()))
}

// get asks as a script of the customer's page does.
func (w *walker) get(ctx context.Context, address string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	return w.do(req)
}

func (w *walker) do(req *http.Request) (int, []byte, error) {
	resp, err := w.customer.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

// together has many callers ask for a token at once, and counts the different ones that they were given.
func together(ctx context.Context, source wechatopen.TokenSource) (int, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		seen  = map[string]bool{}
		first error
	)
	begin := make(chan struct{})
	for range callers {
		wg.Go(func() {
			<-begin
			t, err := source.Token(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				first = err
				return
			}
			seen[t.Value] = true
		})
	}
	close(begin)
	wg.Wait()
	return len(seen), first
}

func pathOf(p *wechattest.Page) (string, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return "", err
	}
	return u.Path, nil
}

// nameOn is the name by which a page greets.
func nameOn(p *wechattest.Page) string {
	_, rest, _ := strings.Cut(p.Text(), "你好，")
	name, _, _ := strings.Cut(rest, " · ")
	return name
}

// expect is nil if a step saw what it should see.
func expect[T comparable](what string, saw, want T) error {
	if saw == want {
		return nil
	}
	return fmt.Errorf("%s: saw %v, expected %v", what, saw, want)
}
