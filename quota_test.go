package wechatopen_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const opQuotaGet = "/cgi-bin/openapi/quota/get"

func TestQuotaIsWhatIsLeftOfTheDay(t *testing.T) {
	w := newWorld(t)
	shop := w.ready()
	w.sim.SetQuota(opUserInfo, 5)
	w.sim.SetQuota("/cgi-bin/component/api_create_preauthcode", 10)
	for range 2 {
		_, _ = shop.Follower(t.Context(), w.shop.OpenID(w.alice), "")
	}
	perMinute := wechatopen.RateLimit{Calls: 10_000, Per: time.Minute}
	got, err := shop.Quota(t.Context(), opUserInfo)
	if err != nil {
		t.Fatal(err)
	}
	if want := (wechatopen.Quota{DailyLimit: 5, Used: 2, Remain: 3, Rate: perMinute, ComponentRate: perMinute}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	if body, want := w.lastBody(opQuotaGet), `{"cgi_path":"/cgi-bin/user/info"}`; body != want {
		t.Errorf("sent %s, want %s", body, want)
	}
	if _, err := w.platform.CreatePreAuthCode(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err = w.platform.Quota(t.Context(), "/cgi-bin/component/api_create_preauthcode")
	if err != nil {
		t.Fatal(err)
	}
	if want := (wechatopen.Quota{DailyLimit: 10, Used: 1, Remain: 9, Rate: perMinute, ComponentRate: perMinute}); *got != want {
		t.Errorf("of the component: got %+v, want %+v", *got, want)
	}
	if err := shop.ClearQuota(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := shop.Quota(t.Context(), opUserInfo); err != nil || got.Used != 0 {
		t.Errorf("after ClearQuota: %+v, %v", got, err)
	}
	for path, want := range map[string]int{"/cgi-bin/nothing": 76021, "/sns/userinfo": 76022} {
		if q, err := shop.Quota(t.Context(), path); refusedWith(err) != want || q != nil {
			t.Errorf("%s: %v, %v, want errcode %d", path, q, err, want)
		}
	}
	if q, err := w.platform.Quota(t.Context(), opUserInfo); refusedWith(err) != 76022 || q != nil {
		t.Errorf("an account's API, asked by the component: %v, %v, want errcode 76022", q, err)
	}
	w.sim.Inject(wechattest.Fault{Path: opQuotaGet, Times: 1, Body: []byte(
		`{"errcode":0,"errmsg":"ok","quota":{"daily_limit":"100000000000","used":0,"remain":99999999999},"component_rate_limit":{"call_count":60,"refresh_second":1}}`)})
	got, err = shop.Quota(t.Context(), opUserInfo)
	if err != nil {
		t.Fatal(err)
	}
	if want := (wechatopen.Quota{DailyLimit: 100_000_000_000, Remain: 99_999_999_999, ComponentRate: wechatopen.RateLimit{Calls: 60, Per: time.Second}}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
}

// A call is found again by the id in its refusal, and printed without its token.
func TestRequestIsWhatWeChatRemembersOfACall(t *testing.T) {
	w := newWorld(t)
	shop := w.ready()
	refused := func(err error) string {
		t.Helper()
		var refusal *wechatopen.APIError
		if !errors.As(err, &refusal) || refusal.RID == "" {
			t.Fatalf("%v is no refusal with an id", err)
		}
		return refusal.RID
	}
	at := w.sim.Now()
	rid := refused(shop.Send(t.Context(), "nobody", wechatopen.Text("私密 <&>")))
	w.sim.Advance(time.Hour)
	r, err := shop.CallRecord(t.Context(), rid)
	if err != nil {
		t.Fatal(err)
	}
	token := tokenOf(t, shop.AccessToken()).Value
	if !r.Time.Equal(time.Unix(at.Unix(), 0)) || r.Duration != time.Millisecond || r.ClientIP != "127.0.0.1" ||
		!strings.HasPrefix(r.URL, customSendPath+"?") || !strings.Contains(r.URL, token) ||
		r.Body != `{"msgtype":"text","text":{"content":"私密 <&>"},"touser":"nobody"}` || !strings.Contains(r.Answer, "40003") || !strings.Contains(r.Answer, rid) {
		t.Errorf("got %q %q %q, %s", r.URL, r.Body, r.Answer, r)
	}
	// attacks.md 42
	var log logBuffer
	log.logger().Info("asked", "request", r, "value", *r, slog.Any("group", []wechatopen.CallRecord{*r}))
	printed := fmt.Sprintf("%v|%+v|%#v|%s|%q|%v|%+v|%#v|%+v", r, r, r, r, r, *r, *r, *r, []*wechatopen.CallRecord{r}) + log.String()
	for _, secret := range []string{token, "access_token", "私密", "40003"} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q is printed: %s", secret, printed)
		}
	}
	if !strings.Contains(printed, "127.0.0.1") {
		t.Errorf("nothing is printed: %s", printed)
	}

	theirs := refused(w.platform.Get(t.Context(), opUserInfo, nil, nil)) // with the wrong kind of token
	w.sim.AllowMisuse(opUserInfo)
	if r, err := w.platform.CallRecord(t.Context(), theirs); err != nil || !strings.HasPrefix(r.URL, opUserInfo) {
		t.Errorf("of the component: %v, %v", r, err)
	}
	for id, want := range map[string]int{theirs: 76003, "00000000-00000000-00000000": 76001, "garbage": 76002} {
		if r, err := shop.CallRecord(t.Context(), id); refusedWith(err) != want || r != nil {
			t.Errorf("%s: %v, %v, want errcode %d", id, r, err, want)
		}
	}
	w.sim.Advance(7 * 24 * time.Hour)
	w.pushTicket()
	if r, err := shop.CallRecord(t.Context(), rid); refusedWith(err) != 76001 || r != nil {
		t.Errorf("after a week: %v, %v, want errcode 76001", r, err)
	}
}

func TestIPListsHoldAddressesAndNetworks(t *testing.T) {
	w := newWorld(t)
	shop := w.ready()
	for name, list := range map[string]struct {
		path string
		get  func(context.Context) ([]netip.Prefix, error)
	}{
		"Account.APIDomainIPs":  {"/cgi-bin/get_api_domain_ip", shop.APIDomainIPs},
		"Account.CallbackIPs":   {"/cgi-bin/getcallbackip", shop.CallbackIPs},
		"Platform.APIDomainIPs": {"/cgi-bin/get_api_domain_ip", w.platform.APIDomainIPs},
		"Platform.CallbackIPs":  {"/cgi-bin/getcallbackip", w.platform.CallbackIPs},
	} {
		w.sim.ResetJournal()
		got, err := list.get(t.Context())
		if want := []string{"127.0.0.1/32", "101.226.103.0/25"}; err != nil || !slices.Equal(prefixes(got), want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
		if w.sim.Count(list.path) != 1 {
			t.Errorf("%s does not call %s", name, list.path)
		}
		for body, want := range map[string][]string{
			`{"ip_list":["101.89.47.18","2402:4e00::1","2402:4e00::/32","0.0.0.0/0"]}`: {"101.89.47.18/32", "2402:4e00::1/128", "2402:4e00::/32", "0.0.0.0/0"},
			`{"ip_list":[]}`:                 {},
			`{}`:                             {},
			`{"ip_list":["1.2.3.4","x"]}`:    nil,
			`{"ip_list":["1.2.3.4/33"]}`:     nil,
			`{"ip_list":["1.2.3.4 "]}`:       nil,
			`{"ip_list":[""]}`:               nil,
			`{"ip_list":["1.2.3"]}`:          nil,
			`{"ip_list":["1.2.3.4:443"]}`:    nil,
			`{"ip_list":[7]}`:                nil,
			`{"ip_list":"1.2.3.4"}`:          nil,
			`{"errcode":48001,"errmsg":"x"}`: nil,
		} {
			w.sim.Inject(wechattest.Fault{Path: list.path, Times: 1, Body: []byte(body)})
			got, err := list.get(t.Context())
			if want == nil {
				if err == nil || got != nil {
					t.Errorf("%s: %s is read as %v, %v", name, body, got, err)
				}
				continue
			}
			if diff := cmp.Diff(want, prefixes(got)); diff != "" || err != nil {
				t.Errorf("%s: %s is read as %v, %v", name, body, got, err)
			}
		}
	}
}

func prefixes(ips []netip.Prefix) []string {
	out := []string{}
	for _, p := range ips {
		out = append(out, p.String())
	}
	return out
}
