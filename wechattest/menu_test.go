package wechattest

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

const sampleMenu = `{"button":[{"type":"click","name":"今日歌曲","key":"V1001"},{"name":"菜单","sub_button":[` +
	`{"type":"view","name":"搜索","url":"http://www.soso.com/?a=1&b=2"},` +
	`{"type":"miniprogram","name":"wxa","url":"http://mp.weixin.qq.com","appid":"wx286b93c14bbf93aa","pagepath":"pages/lunar/index"},` +
	`{"type":"scancode_waitmsg","name":"扫码","key":"SCAN1"},{"type":"location_select","name":"位置","key":"LOC"},` +
	`{"type":"pic_weixin","name":"发图","key":"PIC"}]}]}`

func createMenu(t *testing.T, a *Account, menu string) answered {
	t.Helper()
	return accountCall(t, a, "/cgi-bin/menu/create", nil, menu)
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestMenuIsChecked(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	sub := func(n int) string {
		return `{"button":[{"name":"a","sub_button":[` + strings.TrimSuffix(strings.Repeat(`{"type":"click","name":"s","key":"k"},`, n), ",") + `]}]}`
	}
	top := func(b string) string { return `{"button":[` + b + `]}` }
	under := func(b string) string { return top(`{"name":"a","sub_button":[` + b + `]}`) }
	button := func(kind, name, rest string) string {
		return `{"type":"` + kind + `","name":"` + name + `"` + rest + `}`
	}
	view := func(url string) string { return button("view", "a", `,"url":"`+url+`"`) }
	long := strings.Repeat("x", 1025)
	for _, tt := range []struct {
		menu string
		code int
	}{
		{sampleMenu, 0},
		{`{"button":[]}`, 40016},
		{`{}`, 40016},
		{top(strings.TrimSuffix(strings.Repeat(view("http://a/")+",", 4), ",")), 40016},
		{top(strings.TrimSuffix(strings.Repeat(view("http://a/")+",", 3), ",")), 0},
		{sub(5), 0},
		{sub(6), 40023},
		{top(button("click", "", `,"key":"k"`)), 40018},
		{top(button("click", strings.Repeat("n", 16), `,"key":"k"`)), 0},
		{top(button("click", strings.Repeat("n", 17), `,"key":"k"`)), 40018},
		{top(button("click", "六个汉字太长", `,"key":"k"`)), 40018},
		{top(`{"name":"` + strings.Repeat("n", 17) + `","sub_button":[` + view("http://a/") + `]}`), 40018},
		{under(button("click", strings.Repeat("n", 60), `,"key":"k"`)), 0},
		{under(button("click", strings.Repeat("n", 61), `,"key":"k"`)), 40025},
		{under(button("click", "", `,"key":"k"`)), 40025},
		{under(`{"name":"b","sub_button":[` + view("http://a/") + `]}`), 40022},
		{top(button("jump", "a", "")), 40017},
		{top(`{"name":"a"}`), 40017},
		{under(button("jump", "a", "")), 40024},
		{top(button("click", "a", "")), 40019},
		{top(button("pic_sysphoto", "a", "")), 40019},
		{top(button("click", "a", `,"key":"`+strings.Repeat("k", 128)+`"`)), 0},
		{top(button("click", "a", `,"key":"`+strings.Repeat("k", 129)+`"`)), 40019},
		{under(button("location_select", "a", "")), 40026},
		{top(view("")), 40020},
		{top(view("http://a/" + long)), 40020},
		{top(view("ftp://a/")), 40055},
		{under(view("")), 40027},
		{under(view("javascript:alert(1)")), 40054},
		{top(button("miniprogram", "a", `,"url":"http://a/","pagepath":"p"`)), 40166},
		{top(button("miniprogram", "a", `,"url":"http://a/","appid":"wx1"`)), 40165},
		{top(button("miniprogram", "a", `,"appid":"wx1","pagepath":"p"`)), 40020},
		{top(button("media_id", "a", `,"media_id":"unknown"`)), 40007},
		{top(button("view_limited", "a", "")), 40007},
		{top(button("article_id", "a", "")), 53600},
		{top(button("article_view_limited", "a", `,"article_id":"x"`)), 0},
	} {
		if got := createMenu(t, a, tt.menu); got.code() != tt.code {
			t.Errorf("%.200s: errcode %d, want %d", tt.menu, got.code(), tt.code)
		}
	}
	createMenu(t, s.AddAccount(AccountConfig{MiniProgram: true}), sampleMenu).want(t, 48001)
}

func TestMenuGetAndDelete(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	get := func() answered { return accountCall(t, a, "/cgi-bin/menu/get", nil, nil) }
	self := func() answered { return accountCall(t, a, "/cgi-bin/get_current_selfmenu_info", nil, nil).want(t, 0) }
	get().want(t, 46003)
	if got := self(); got["is_menu_open"] != 0.0 {
		t.Errorf("selfmenu without a menu: %v", got)
	}
	createMenu(t, a, sampleMenu).want(t, 0)
	got := get().want(t, 0)
	if got.obj("menu")["menuid"] != nil || got["conditionalmenu"] != nil {
		t.Errorf("menuids without conditional menus: %v", got)
	}
	// As it was created, and an empty list on each button that has none.
	want := strings.ReplaceAll(sampleMenu, `"}`, `","sub_button":[]}`)
	var w, g any
	json.Unmarshal([]byte(want), &w)
	json.Unmarshal([]byte(asJSON(got.obj("menu"))), &g)
	if asJSON(w) != asJSON(g) {
		t.Errorf("menu/get\n got %s\nwant %s", asJSON(g), asJSON(w))
	}
	selfWant := strings.Replace(sampleMenu, `"sub_button":[`, `"sub_button":{"list":[`, 1)
	selfWant = selfWant[:len(selfWant)-len("]}]}")] + "]}}]}"
	w = nil
	if err := json.Unmarshal([]byte(selfWant), &w); err != nil {
		t.Fatal(err)
	}
	if got := self(); got["is_menu_open"] != 1.0 || asJSON(got.obj("selfmenu_info")) != asJSON(w) {
		t.Errorf("selfmenu\n got %s\nwant %s", asJSON(got), asJSON(w))
	}
	accountCall(t, a, "/cgi-bin/menu/delete", nil, nil).want(t, 0)
	get().want(t, 46003)
}

func TestConditionalMenus(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	ios, android, vip := s.AddUser(UserConfig{}), s.AddUser(UserConfig{Platform: 2}), s.AddUser(UserConfig{Platform: 2})
	menu := func(name, rule string) string {
		return `{"button":[{"type":"click","name":"` + name + `","key":"` + name + `"}]` + rule + `}`
	}
	add := func(body string) answered { return accountCall(t, a, "/cgi-bin/menu/addconditional", nil, body) }
	try := func(user string) answered {
		return accountCall(t, a, "/cgi-bin/menu/trymatch", nil, map[string]string{"user_id": user})
	}
	sees := func(u *User, want string) {
		t.Helper()
		if got := try(a.OpenID(u)).want(t, 0); asJSON(got) != `{"button":[{"key":"`+want+`","name":"`+want+`","sub_button":[],"type":"click"}]}` {
			t.Errorf("sees %s, want %s", asJSON(got), want)
		}
	}
	androidRule, vipRule := `,"matchrule":{"tag_id":"","client_platform_type":"2"}`, `,"matchrule":{"tag_id":"7"}`
	try(a.OpenID(ios)).want(t, 46003)
	add(menu("android", androidRule)).want(t, 65303)
	createMenu(t, a, menu("default", "")).want(t, 0)
	add(menu("nobody", "")).want(t, 65304)
	add(menu("nobody", `,"matchrule":{"tag_id":""}`)).want(t, 65304)
	add(`{"button":[],"matchrule":{"tag_id":"7"}}`).want(t, 40016)
	androidID := add(menu("android", androidRule)).want(t, 0).str("menuid")
	vipID := add(menu("vip", vipRule)).want(t, 0).str("menuid")
	if androidID == "" || vipID == "" || androidID == vipID {
		t.Fatalf("menuids %q and %q", androidID, vipID)
	}
	a.SetTags(vip, 3, 7)
	sees(ios, "default")
	sees(android, "android")
	sees(vip, "vip") // the newer of the two that match
	add(menu("women", `,"matchrule":{"sex":"2"}`)).want(t, 0)
	sees(ios, "default")
	try("oNobody").want(t, 65302)

	got := accountCall(t, a, "/cgi-bin/menu/get", nil, nil).want(t, 0)
	list, _ := got["conditionalmenu"].([]any)
	if len(list) != 3 {
		t.Fatalf("menu/get %s", asJSON(got))
	}
	first := answered(list[0].(map[string]any))
	if asJSON(first["menuid"]) != androidID || first.obj("matchrule").str("client_platform_type") != "2" || got.obj("menu")["menuid"] == nil {
		t.Errorf("menu/get %s, want menuid %s", asJSON(got), androidID)
	}
	remove := func(id string) answered {
		return accountCall(t, a, "/cgi-bin/menu/delconditional", nil, `{"menuid":`+id+`}`)
	}
	remove(`"1"`).want(t, 65301)
	remove(`"`+vipID+`"`).want(t, 0)
	remove(vipID).want(t, 65301)
	sees(vip, "android")
	createMenu(t, a, menu("new", "")).want(t, 0)
	sees(android, "android")
	sees(ios, "new")
	accountCall(t, a, "/cgi-bin/menu/delete", nil, nil).want(t, 0)
	try(a.OpenID(android)).want(t, 46003)
	remove(androidID).want(t, 65301)
}

func TestTapPushesWhatTheButtonDoes(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	c.NewAuthCode(a)
	ctx := testContext(t)
	picture := uploadTo(t, a, "/cgi-bin/material/add_material", url.Values{"type": {"image"}}, "media", "a.png", []byte("png"), nil).want(t, 0).str("media_id")
	createMenu(t, a, strings.Replace(sampleMenu, `{"type":"pic_weixin","name":"发图","key":"PIC"}`, `{"type":"media_id","name":"图","media_id":"`+picture+`"}`, 1)).want(t, 0)
	if _, err := a.Tap(ctx, u, "V1001"); err == nil {
		t.Error("who does not follow tapped")
	}
	if _, err := a.Follow(ctx, u, ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"V1001": {"<Event><![CDATA[CLICK]]>", "<EventKey><![CDATA[V1001]]>"},
		"今日歌曲":  {"<Event><![CDATA[CLICK]]>", "<EventKey><![CDATA[V1001]]>"},
		"搜索":    {"<Event><![CDATA[VIEW]]>", "<EventKey><![CDATA[http://www.soso.com/?a=1&b=2]]>", "<MenuId><![CDATA[2"},
		"wxa":   {"<Event><![CDATA[view_miniprogram]]>", "<EventKey><![CDATA[pages/lunar/index]]>", "<MenuId>"},
		"扫码":    {"<Event><![CDATA[scancode_waitmsg]]>", "<ScanCodeInfo>"},
		"LOC":   {"<Event><![CDATA[location_select]]>", "<SendLocationInfo>"},
		"图":     nil,
	} {
		before := len(sv.received())
		if _, err := a.Tap(ctx, u, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := strings.Join(sv.received()[before:], "\n")
		if want == nil && got != "" {
			t.Errorf("%s: pushed %s", name, got)
		}
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: push lacks %s: %s", name, part, got)
			}
		}
	}
	lines := a.Conversation(u)
	found := false
	for _, l := range lines {
		found = found || l.Via == ViaWeChat && l.MediaID == picture && l.MsgType == "image"
	}
	if !found {
		t.Errorf("the picture of the button was not shown: %+v", lines)
	}
	for _, name := range []string{"菜单", "unknown", ""} {
		if _, err := a.Tap(ctx, u, name); err == nil {
			t.Errorf("%q was tapped", name)
		}
	}
	sv.answer = func(int, string) string {
		return encryptedReply(c, "<xml><MsgType>text</MsgType><Content>歌</Content></xml>")
	}
	res, err := a.Tap(ctx, u, "V1001")
	if err != nil || !strings.Contains(res.Reply, "歌") {
		t.Errorf("reply %+v, %v", res, err)
	}
	if lines := a.Conversation(u); lines[len(lines)-1].Via != ViaReply || lines[len(lines)-1].Text != "歌" {
		t.Errorf("last line %+v", lines[len(lines)-1])
	}
}
