package calls

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

func TestCallsWithoutAMethod(t *testing.T) {
	ctx := t.Context()
	sim := wechattest.Start(t)
	component := sim.AddComponent(wechattest.ComponentConfig{})
	shop := sim.AddAccount(wechattest.AccountConfig{})
	platform, err := wechatopen.NewPlatform(component.Credentials(), append(sim.Options(), wechatopen.WithStore(wechatopen.NewMemoryStore()))...)
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(&wechatopen.TicketHandler{Platform: platform})
	defer site.Close()
	component.SetEventURL(site.URL)
	if _, err := component.PushTicket(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := component.Authorize(ctx, shop); err != nil {
		t.Fatal(err)
	}
	a := platform.Account(shop.AppID())

	// WeChat, as its documentation has it.
	body := func(c wechattest.Call, want string) error {
		var got, wanted any
		if json.Unmarshal(c.Body, &got) != nil || json.Unmarshal([]byte(want), &wanted) != nil || fmt.Sprint(got) != fmt.Sprint(wanted) {
			return fmt.Errorf("%s was sent %s", c.Path, c.Body)
		}
		return nil
	}
	sim.Handle("/cgi-bin/user/get", func(c wechattest.Call) (any, error) {
		return json.RawMessage(`{"total":3,"count":2,"data":{"openid":["o1","o2"]},"next_openid":"` + c.Query.Get("next_openid") + `o2"}`), nil
	})
	sim.Handle("/cgi-bin/tags/create", func(c wechattest.Call) (any, error) {
		return json.RawMessage(`{"tag":{"id":134,"name":"常客"}}`), body(c, `{"tag":{"name":"常客"}}`)
	})
	sim.Handle("/cgi-bin/qrcode/create", func(c wechattest.Call) (any, error) {
		return json.RawMessage(`{"ticket":"t","expire_seconds":2592000,"url":"http://weixin.qq.com/q/1"}`),
			body(c, `{"expire_seconds":2592000,"action_name":"QR_STR_SCENE","action_info":{"scene":{"scene_str":"door"}}}`)
	})
	sim.Handle("/wxa/getwxacodeunlimit", func(c wechattest.Call) (any, error) {
		return []byte("\x89PNG\r\n\x1a\n"), body(c, `{"scene":"door"}`)
	})
	sim.Handle("/sns/component/jscode2session", func(c wechattest.Call) (any, error) {
		if c.Query.Get("appid") != "wxmini" || c.Query.Get("js_code") != "code" || c.Query.Get("component_appid") != component.AppID() {
			return nil, fmt.Errorf("asked %v", c.Query)
		}
		return json.RawMessage(`{"openid":"o1","session_key":"key"}`), nil
	})

	if ids, next, err := FollowersAfter(ctx, a, "o0"); err != nil || !slices.Equal(ids, []string{"o1", "o2"}) || next != "o0o2" {
		t.Errorf("FollowersAfter: %v, %q, %v", ids, next, err)
	}
	if id, err := NewTag(ctx, a, "常客"); err != nil || id != 134 {
		t.Errorf("NewTag: %d, %v", id, err)
	}
	if link, err := SceneCode(ctx, a, "door"); err != nil || link != "http://weixin.qq.com/q/1" {
		t.Errorf("SceneCode: %q, %v", link, err)
	}
	if png, err := MiniProgramCode(ctx, a, "door"); err != nil || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("MiniProgramCode: %q, %v", png, err)
	}
	if openID, key, err := MiniProgramUser(ctx, platform, "wxmini", "code"); err != nil || openID != "o1" || key != "key" {
		t.Errorf("MiniProgramUser: %q, %q, %v", openID, key, err)
	}
}
