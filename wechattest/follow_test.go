package wechattest

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// accountCall calls an API with a token of the account's own. body nil: GET.
func accountCall(t *testing.T, a *Account, path string, query url.Values, body any) answered {
	t.Helper()
	a.s.mu.Lock()
	newest := a.stable.newest()
	a.s.mu.Unlock()
	if newest == nil || !a.s.Now().Before(newest.expires) {
		cr := a.Credentials()
		request(t, a.s, "/cgi-bin/stable_token", nil, map[string]string{
			"grant_type": "client_credential", "appid": cr.AppID, "secret": cr.AppSecret}).want(t, 0)
		a.s.mu.Lock()
		newest = a.stable.newest()
		a.s.mu.Unlock()
	}
	q := url.Values{"access_token": {newest.value}}
	for k, v := range query {
		q[k] = v
	}
	return request(t, a.s, path, q, body)
}

func userInfoOf(t *testing.T, a *Account, openID string) answered {
	t.Helper()
	return accountCall(t, a, "/cgi-bin/user/info", url.Values{"openid": {openID}}, nil)
}

func TestNobodyFollowsAtFirst(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	got := userInfoOf(t, a, a.OpenID(u)).want(t, 0)
	if len(got) != 3 || got["subscribe"] != 0.0 || got.str("openid") != a.OpenID(u) || got.str("unionid") != u.UnionID() {
		t.Errorf("user/info %v", got)
	}
	userInfoOf(t, a, "oNobody").want(t, 40003)
	userInfoOf(t, a, s.AddAccount(AccountConfig{}).OpenID(u)).want(t, 40003)
}

func TestUserInfoOfAFollower(t *testing.T) {
	s := Start(t, Config{Now: atNoon})
	a := s.AddAccount(AccountConfig{})
	for _, tt := range []struct {
		scene, by, text string
		number          float64
	}{
		{"", "ADD_SCENE_SEARCH", "", 0},
		{"123", "ADD_SCENE_QR_CODE", "", 123},
		{"shelf 7", "ADD_SCENE_QR_CODE", "shelf 7", 0},
	} {
		u := s.AddUser(UserConfig{})
		if res, err := a.Follow(testContext(t), u, tt.scene); err != nil || res.Attempts != 0 {
			t.Errorf("nobody to push to: %+v, %v", res, err)
		}
		a.SetTags(u, 2, 100)
		got := userInfoOf(t, a, a.OpenID(u)).want(t, 0)
		if got["subscribe"] != 1.0 || got["subscribe_time"] != float64(atNoon().Unix()) || got.str("subscribe_scene") != tt.by ||
			got["qr_scene"] != tt.number || got.str("qr_scene_str") != tt.text || got.str("unionid") != u.UnionID() {
			t.Errorf("scene %q: user/info %v", tt.scene, got)
		}
		if tags, _ := got["tagid_list"].([]any); len(tags) != 2 || tags[1] != 100.0 {
			t.Errorf("tags %v", got["tagid_list"])
		}
		if !a.Follows(u) {
			t.Error("does not follow")
		}
	}
}

func TestFollowingIsPushed(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	c.NewAuthCode(a)
	ctx := testContext(t)
	for _, step := range []struct {
		follow bool
		scene  string
		want   []string // parts of the push; nil: none
	}{
		{false, "", nil},
		{true, "", []string{"subscribe", "<EventKey><![CDATA[]]>"}},
		{true, "", nil},
		{true, "123", []string{"SCAN", "<EventKey><![CDATA[123]]>", "<Ticket><![CDATA[gQ"}},
		{false, "", []string{"unsubscribe"}},
		{true, "shop ]]> 1", []string{"subscribe", "<EventKey><![CDATA[qrscene_shop ]]", "<Ticket><![CDATA[gQ"}},
	} {
		before := len(sv.received())
		var err error
		if step.follow {
			_, err = a.Follow(ctx, u, step.scene)
		} else {
			_, err = a.Unfollow(ctx, u)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := sv.received()[before:]
		if step.want == nil {
			if len(got) != 0 {
				t.Errorf("%+v: pushed %q", step, got)
			}
			continue
		}
		if len(got) != 1 || !strings.Contains(got[0], "<Event><![CDATA["+step.want[0]+"]]>") || !strings.Contains(got[0], a.OpenID(u)) {
			t.Fatalf("%+v: pushed %q", step, got)
		}
		for _, part := range step.want[1:] {
			if !strings.Contains(got[0], part) {
				t.Errorf("%+v: push lacks %s: %s", step, part, got[0])
			}
		}
		if step.scene == "" && strings.Contains(got[0], "Ticket") {
			t.Errorf("a ticket without a scene: %s", got[0])
		}
		if a.Follows(u) != step.follow {
			t.Errorf("%+v: Follows %v", step, a.Follows(u))
		}
	}
	if one, again, two := a.sceneTicket("1"), a.sceneTicket("1"), a.sceneTicket("2"); one != again || one == two || len(one) != 96 {
		t.Errorf("tickets of scenes: %q, again %q, another %q", one, again, two)
	}
}

func TestFollowingHoldsThoughThePushFails(t *testing.T) {
	s := Start(t, Config{PushAttempts: 1})
	sv, c := startService(t, s, ComponentConfig{})
	sv.answer = func(int, string) string { return "<html>" }
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	c.NewAuthCode(a)
	if _, err := a.Follow(testContext(t), u, ""); err == nil || !a.Follows(u) {
		t.Errorf("error %v, follows %v", err, a.Follows(u))
	}
	lines := a.Conversation(u)
	if len(lines) != 2 || lines[1].Via != ViaWeChat {
		t.Errorf("the user is not told that the account does not answer: %+v", lines)
	}
}

func TestMessagesGoToTheComponentAuthorizedLast(t *testing.T) {
	s := Start(t)
	first, c1 := startService(t, s, ComponentConfig{})
	second, c2 := startService(t, s, ComponentConfig{})
	own := newService(t)
	a, u := s.AddAccount(AccountConfig{MessageURL: own.URL}), s.AddUser(UserConfig{})
	own.comp = &Component{s: s, appID: a.appID, token: a.token, aesKey: a.aesKey}
	ctx := testContext(t)
	received := func() [3]int { return [3]int{len(own.received()), len(first.received()), len(second.received())} }
	say := func(want [3]int) {
		t.Helper()
		if _, err := a.Say(ctx, u, "hi"); err != nil {
			t.Fatal(err)
		}
		if got := received(); got != want {
			t.Fatalf("received own, first, second %v, want %v", got, want)
		}
	}
	if _, err := a.Say(ctx, u, "hi"); err == nil {
		t.Fatal("a user wrote without following")
	}
	if _, err := a.Follow(ctx, u, ""); err != nil {
		t.Fatal(err)
	}
	say([3]int{2, 0, 0})
	c1.NewAuthCode(a)
	say([3]int{2, 1, 0})
	s.Advance(time.Second)
	c2.NewAuthCode(a)
	say([3]int{2, 1, 1})
	c2.SetMessageURL("")
	say([3]int{2, 2, 1})
}

func TestMiniProgramsAreNotFollowed(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	a, u := s.AddAccount(AccountConfig{MiniProgram: true}), s.AddUser(UserConfig{})
	c.NewAuthCode(a)
	if _, err := a.Say(testContext(t), u, "hi"); err != nil || len(sv.received()) != 1 {
		t.Errorf("%v, %d pushes", err, len(sv.received()))
	}
}
