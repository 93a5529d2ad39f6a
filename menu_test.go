package wechatopen_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	opMenuCreate = "/cgi-bin/menu/create"
	opMenuGet    = "/cgi-bin/menu/get"
	opMenuNow    = "/cgi-bin/get_current_selfmenu_info"
)

func clickMenu(name, key string) wechatopen.Buttons {
	return wechatopen.Buttons{{Type: "click", Name: name, Key: key}}
}

// refusedWith is the errcode of an error; 0 if it is no refusal of WeChat.
func refusedWith(err error) int {
	var refusal *wechatopen.APIError
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return 0
}

// lastBody is what the newest call of a path sent.
func (w *world) lastBody(path string) string {
	w.t.Helper()
	calls := w.sim.Calls(path)
	if len(calls) == 0 {
		w.t.Fatalf("no call of %s", path)
	}
	return string(calls[len(calls)-1].Body)
}

func wantButtons(t *testing.T, what string, got, want wechatopen.Buttons, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func TestMenuOfEveryKindIsCreatedReadAndDeleted(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	var material struct {
		ID string `json:"media_id"`
	}
	if err := a.Upload(t.Context(), "/cgi-bin/material/add_material?type=image",
		wechatopen.File{Name: "猫.jpg", Content: pattern{}, Size: 1000}, &material); err != nil {
		t.Fatal(err)
	}
	buttons := wechatopen.Buttons{
		{Name: "扫码", Sub: wechatopen.Buttons{
			{Type: "click", Name: "今日 <歌曲> & \"more\"", Key: "V1001"},
			{Type: "scancode_push", Name: "推", Key: "push"},
			{Type: "scancode_waitmsg", Name: "等", Key: "wait"},
			{Type: "pic_sysphoto", Name: "拍照", Key: "p1"},
			{Type: "pic_photo_or_album", Name: "拍照或相册", Key: "p2"},
		}},
		{Name: "更多", Sub: wechatopen.Buttons{
			{Type: "pic_weixin", Name: "相册", Key: "p3"},
			{Type: "location_select", Name: "位置", Key: "where"},
			{Type: "media_id", Name: "图片", MediaID: material.ID},
			{Type: "article_id", Name: "文章", ArticleID: "article1"},
			{Type: "miniprogram", Name: "小程序", URL: "https://shop.example/old", AppID: "wx0123456789abcdef", PagePath: "pages/index?a=1&b=2"},
		}},
		{Type: "view", Name: "商店", URL: "https://shop.example/?a=1&b=<2>"},
	}
	if err := a.CreateMenu(t.Context(), buttons); err != nil {
		t.Fatal(err)
	}
	const created = `{"button":[{"name":"扫码","sub_button":[` +
		`{"type":"click","name":"今日 <歌曲> & \"more\"","key":"V1001"},{"type":"scancode_push","name":"推","key":"push"},` +
		`{"type":"scancode_waitmsg","name":"等","key":"wait"},{"type":"pic_sysphoto","name":"拍照","key":"p1"},` +
		`{"type":"pic_photo_or_album","name":"拍照或相册","key":"p2"}]},{"name":"更多","sub_button":[` +
		`{"type":"pic_weixin","name":"相册","key":"p3"},{"type":"location_select","name":"位置","key":"where"},` +
		`{"type":"media_id","name":"图片","media_id":"MATERIAL"},{"type":"article_id","name":"文章","article_id":"article1"},` +
		`{"type":"miniprogram","name":"小程序","url":"https://shop.example/old","appid":"wx0123456789abcdef","pagepath":"pages/index?a=1&b=2"}]},` +
		`{"type":"view","name":"商店","url":"https://shop.example/?a=1&b=<2>"}]}`
	if got := strings.ReplaceAll(w.lastBody(opMenuCreate), material.ID, "MATERIAL"); got != created {
		t.Errorf("sent\n%s\nwant\n%s", got, created)
	}
	current, on, err := a.CurrentMenu(t.Context())
	wantButtons(t, "CurrentMenu", current, buttons, err)
	if !on {
		t.Error("CurrentMenu says that the menu is off")
	}
	def, conditional, err := a.Menus(t.Context())
	wantButtons(t, "Menus", def.Buttons, buttons, err)
	if def.ID != 0 || def.Rule != nil || len(conditional) != 0 {
		t.Errorf("Menus: %+v, %+v", def, conditional)
	}
	seen, err := a.TryMenu(t.Context(), w.shop.OpenID(w.alice))
	wantButtons(t, "TryMenu", seen, buttons, err)

	if err := a.DeleteMenu(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Menus(t.Context()); refusedWith(err) != 46003 {
		t.Errorf("Menus of none: %v, want errcode 46003", err)
	}
	if current, on, err := a.CurrentMenu(t.Context()); len(current) != 0 || on || err != nil {
		t.Errorf("CurrentMenu of none: %v, %t, %v", current, on, err)
	}
	if _, err := a.TryMenu(t.Context(), w.shop.OpenID(w.alice)); refusedWith(err) != 46003 {
		t.Errorf("TryMenu of none: %v, want errcode 46003", err)
	}
}

func TestMenusThatWeChatRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	four := append(append(clickMenu("1", "k"), clickMenu("2", "k")...), append(clickMenu("3", "k"), clickMenu("4", "k")...)...)
	sub := func(b ...wechatopen.Button) wechatopen.Buttons { return wechatopen.Buttons{{Name: "菜单", Sub: b}} }
	for name, test := range map[string]struct {
		buttons wechatopen.Buttons
		code    int
	}{
		"none":                   {nil, 40016},
		"four":                   {four, 40016},
		"unknown type":           {wechatopen.Buttons{{Type: "dance", Name: "x"}}, 40017},
		"long name":              {clickMenu(strings.Repeat("中", 6), "k"), 40018},
		"click without key":      {clickMenu("x", ""), 40019},
		"view without URL":       {wechatopen.Buttons{{Type: "view", Name: "x"}}, 40020},
		"a third level":          {sub(sub(clickMenu("x", "k")...)...), 40022},
		"six in a list":          {sub(append(four, four...)...), 40023},
		"unknown type in a list": {sub(wechatopen.Button{Type: "dance", Name: "x"}), 40024},
		"long name in a list":    {sub(clickMenu(strings.Repeat("中", 21), "k")...), 40025},
		"no key in a list":       {sub(clickMenu("x", "")...), 40026},
		"no URL in a list":       {sub(wechatopen.Button{Type: "view", Name: "x"}), 40027},
		"unknown media":          {wechatopen.Buttons{{Type: "media_id", Name: "x", MediaID: "nothing"}}, 40007},
	} {
		if err := a.CreateMenu(t.Context(), test.buttons); refusedWith(err) != test.code {
			t.Errorf("%s: %v, want errcode %d", name, err, test.code)
		}
	}
	if _, err := a.TryMenu(t.Context(), "nobody"); refusedWith(err) != 65302 {
		t.Errorf("TryMenu of nobody: %v, want errcode 65302", err)
	}
}

func TestConditionalMenusAreSeenByThoseTheyAreFor(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	bob := w.sim.AddUser(wechattest.UserConfig{Name: "Bob", Platform: 2})
	carol := w.sim.AddUser(wechattest.UserConfig{Name: "Carol", Platform: 2})
	all, android, members := clickMenu("all", "all"), clickMenu("安卓 <&>", "android"), clickMenu("members", "members")

	if _, err := a.AddConditionalMenu(t.Context(), android, wechatopen.MenuRule{Platform: 2}); refusedWith(err) != 65303 {
		t.Errorf("without a default menu: %v, want errcode 65303", err)
	}
	if err := a.CreateMenu(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddConditionalMenu(t.Context(), android, wechatopen.MenuRule{}); refusedWith(err) != 65304 {
		t.Errorf("for everyone: %v, want errcode 65304", err)
	}
	androidID, err := a.AddConditionalMenu(t.Context(), android, wechatopen.MenuRule{Platform: 2})
	if err != nil || androidID == 0 {
		t.Fatal(androidID, err)
	}
	membersID, err := a.AddConditionalMenu(t.Context(), members, wechatopen.MenuRule{TagID: 7, Platform: 2})
	if err != nil || membersID == 0 || membersID == androidID {
		t.Fatal(membersID, err)
	}
	if got, want := w.lastBody("/cgi-bin/menu/addconditional"), `{"button":[{"type":"click","name":"members","key":"members"}],"matchrule":{"client_platform_type":"2","tag_id":"7"}}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	w.shop.SetTags(carol, 3, 7)

	def, conditional, err := a.Menus(t.Context())
	wantButtons(t, "default", def.Buttons, all, err)
	if def.ID == 0 {
		t.Error("the default menu has no id beside conditional ones")
	}
	want := []wechatopen.Menu{
		{ID: androidID, Buttons: android, Rule: &wechatopen.MenuRule{Platform: 2}},
		{ID: membersID, Buttons: members, Rule: &wechatopen.MenuRule{TagID: 7, Platform: 2}},
	}
	if diff := cmp.Diff(want, conditional, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("conditional menus (-want +got):\n%s", diff)
	}
	sees := func(u *wechattest.User, want wechatopen.Buttons) {
		t.Helper()
		got, err := a.TryMenu(t.Context(), w.shop.OpenID(u))
		wantButtons(t, u.Name(), got, want, err)
	}
	sees(w.alice, all)
	sees(bob, android)
	sees(carol, members)

	if err := a.DeleteConditionalMenu(t.Context(), membersID); err != nil {
		t.Fatal(err)
	}
	if got, want := w.lastBody("/cgi-bin/menu/delconditional"), `{"menuid":"`+membersID.String()+`"}`; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	sees(carol, android)
	if err := a.DeleteConditionalMenu(t.Context(), membersID); refusedWith(err) != 65301 {
		t.Errorf("deleted again: %v, want errcode 65301", err)
	}
	if err := a.DeleteMenu(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Menus(t.Context()); refusedWith(err) != 46003 {
		t.Errorf("after all were deleted: %v, want errcode 46003", err)
	}
}

// What a tap brings is what the menu says.
func TestTapOnAMenuComesBackAsAnEvent(t *testing.T) {
	for _, own := range []bool{false, true} {
		s := newMessageSite(t, own)
		a := s.handler.Account
		if !own {
			a = s.platform.Account(s.wx.AppID())
		}
		if err := a.CreateMenu(t.Context(), wechatopen.Buttons{
			{Type: "click", Name: "歌", Key: "SONG"}, {Type: "view", Name: "商店", URL: "https://shop.example/?a=1&b=2"},
		}); err != nil {
			t.Fatal(err)
		}
		s.handler.Handle = s.answering(func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			return wechatopen.Text(m.Event + " " + m.EventKey), nil
		})
		if _, err := s.wx.Follow(t.Context(), s.alice, "夏天"); err != nil {
			t.Fatal(err)
		}
		if m := s.lastMessage(t); m.Event != "subscribe" || m.EventKey != "qrscene_夏天" || m.Ticket == "" {
			t.Errorf("following: %s, key %q, ticket %q", m, m.EventKey, m.Ticket)
		}
		for button, want := range map[string]string{"SONG": "CLICK SONG", "商店": "VIEW https://shop.example/?a=1&b=2"} {
			res, err := s.wx.Tap(t.Context(), s.alice, button)
			if err != nil {
				t.Fatal(err)
			}
			if got := parseTextReply(t, res.Reply); got.Content != want {
				t.Errorf("a tap on %s is answered %q, want %q", button, got.Content, want)
			}
		}
	}
}

// Both shapes of a list, and numbers with and without quotes, as WeChat's pages have them.
func TestMenusAreReadInEveryShape(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.sim.Inject(wechattest.Fault{Path: opMenuNow, Times: 1, Body: []byte(`{"is_menu_open":"1","selfmenu_info":{"button":[
		{"name":"button","sub_button":{"list":[
			{"type":"view","name":"view_url","url":"http://www.qq.com"},
			{"type":"news","name":"news","value":"KQb_w_Tiz-nSdVLoTV35Psmty8hGBulGhEdbb9SKs-o","news_info":{"list":[{"title":"MULTI_NEWS","show_cover":0}]}},
			{"type":"video","name":"video","value":"http://61.182.130.30/vweixinp.tc.qq.com/1"},
			{"type":"img","name":"photo","value":"ax5Whs5dsoomJLEppAvftBUuH7CgXCZGFbFJifmbUjnQk_ierMHY99Y5d2Cv14RD"}]}},
		{"type":"text","name":"text","value":"This is text!","sub_button":{"list":[]}},
		{"type":"click","name":"今日歌曲","key":"V1001","sub_button":[]}]}}`)})
	buttons, on, err := a.CurrentMenu(t.Context())
	wantButtons(t, "CurrentMenu", buttons, wechatopen.Buttons{
		{Name: "button", Sub: wechatopen.Buttons{
			{Type: "view", Name: "view_url", URL: "http://www.qq.com"},
			{Type: "news", Name: "news", Value: "KQb_w_Tiz-nSdVLoTV35Psmty8hGBulGhEdbb9SKs-o"},
			{Type: "video", Name: "video", Value: "http://61.182.130.30/vweixinp.tc.qq.com/1"},
			{Type: "img", Name: "photo", Value: "ax5Whs5dsoomJLEppAvftBUuH7CgXCZGFbFJifmbUjnQk_ierMHY99Y5d2Cv14RD"},
		}},
		{Type: "text", Name: "text", Value: "This is text!"},
		{Type: "click", Name: "今日歌曲", Key: "V1001"},
	}, err)
	if !on {
		t.Error("off")
	}
	for _, numbers := range []string{
		`{"menu":{"button":[],"menuid":208379533},"conditionalmenu":[{"button":[],"menuid":208396993,"matchrule":{"tag_id":2,"client_platform_type":1}}]}`,
		`{"menu":{"button":null,"menuid":"208379533"},"conditionalmenu":[{"button":{"list":[]},"menuid":"208396993","matchrule":{"group_id":"2","tag_id":"2","sex":"","client_platform_type":"1","language":"zh_CN"}}]}`,
	} {
		w.sim.Inject(wechattest.Fault{Path: opMenuGet, Times: 1, Body: []byte(numbers)})
		def, conditional, err := a.Menus(t.Context())
		if err != nil || def.ID != 208379533 || len(conditional) != 1 || conditional[0].ID != 208396993 ||
			*conditional[0].Rule != (wechatopen.MenuRule{TagID: 2, Platform: 1}) {
			t.Errorf("%s\nis read as %+v, %+v, %v", numbers, def, conditional, err)
		}
	}
	w.sim.Inject(wechattest.Fault{Path: opMenuNow, Times: 1, Body: []byte(`{"is_menu_open":0,"selfmenu_info":{"button":[{"name":"kept","type":"click","key":"k"}]}}`)})
	if buttons, on, err := a.CurrentMenu(t.Context()); len(buttons) != 1 || on || err != nil {
		t.Errorf("a menu that is switched off: %v, %t, %v", buttons, on, err)
	}
	for _, garbage := range []string{
		`{"is_menu_open":1,"selfmenu_info":{"button":"x"}}`, `{"is_menu_open":1,"selfmenu_info":{"button":[{"name":{}}]}}`,
		`{"is_menu_open":1,"selfmenu_info":{"button":[{"name":"x","sub_button":{"list":7}}]}}`, `{"is_menu_open":1,"selfmenu_info":[]}`,
	} {
		w.sim.Inject(wechattest.Fault{Path: opMenuNow, Times: 1, Body: []byte(garbage)})
		if buttons, on, err := a.CurrentMenu(t.Context()); err == nil || buttons != nil || on {
			t.Errorf("%s is read as %v, %t, %v", garbage, buttons, on, err)
		}
	}
}

func TestButtonsDoNotPanicOnNothing(t *testing.T) {
	for _, data := range []string{"", " ", "[", "{", "null", "x"} {
		var b wechatopen.Buttons
		if err := b.UnmarshalJSON([]byte(data)); err == nil && data != "null" || len(b) != 0 {
			t.Errorf("%q is read as %v, %v", data, b, err)
		}
	}
}
