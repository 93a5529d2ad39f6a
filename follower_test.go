package wechatopen_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const opUserInfo = "/cgi-bin/user/info"

func TestFollowerIsWhatTheAccountKnows(t *testing.T) {
	w := newWorldWith(t, wechattest.Config{Now: atNoon})
	a := w.ready()
	users := map[string]*wechattest.User{}
	for _, name := range []string{"by search", "by a numbered code", "by a named code", "not", "no longer"} {
		users[name] = w.sim.AddUser(wechattest.UserConfig{Name: name})
	}
	since := map[string]time.Time{}
	for name, scene := range map[string]string{"by search": "", "by a numbered code": "123", "by a named code": "夏天", "no longer": ""} {
		since[name] = w.sim.Now()
		if _, err := w.shop.Follow(t.Context(), users[name], scene); err != nil {
			t.Fatal(err)
		}
		w.sim.Advance(time.Hour)
	}
	w.shop.SetTags(users["by a named code"], 128, 2)
	if _, err := w.shop.Unfollow(t.Context(), users["no longer"]); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]wechatopen.Follower{
		"by search":          {Follows: true, Language: "zh_CN", TagIDs: []int{}, Channel: "ADD_SCENE_SEARCH"},
		"by a numbered code": {Follows: true, Language: "zh_CN", TagIDs: []int{}, Channel: "ADD_SCENE_QR_CODE", QRScene: "123"},
		"by a named code":    {Follows: true, Language: "zh_CN", TagIDs: []int{128, 2}, Channel: "ADD_SCENE_QR_CODE", QRScene: "夏天"},
		"not":                {},
		"no longer":          {},
	} {
		want.OpenID, want.UnionID = w.shop.OpenID(users[name]), users[name].UnionID()
		if want.Follows {
			want.Since = since[name].Local()
		}
		got, err := a.Follower(t.Context(), want.OpenID, "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if follows, err := a.Follows(t.Context(), want.OpenID); follows != want.Follows || err != nil {
			t.Errorf("%s: Follows says %t, %v", name, follows, err)
		}
	}
	if f, err := a.Follower(t.Context(), "nobody", ""); refusedWith(err) != 40003 || f != nil {
		t.Errorf("nobody: %v, %v, want errcode 40003", f, err)
	}
	if follows, err := a.Follows(t.Context(), "nobody"); refusedWith(err) != 40003 || follows {
		t.Errorf("nobody: %t, %v, want errcode 40003", follows, err)
	}
}

func TestFollowerIsAskedInALanguage(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	openID := w.shop.OpenID(w.alice)
	for lang, want := range map[string]string{"": "zh_CN", "en": "en", "zh_TW": "zh_TW"} {
		w.sim.ResetJournal()
		if _, err := a.Follower(t.Context(), openID, lang); err != nil {
			t.Fatal(err)
		}
		q := w.sim.Calls(opUserInfo)[0].Query
		if q.Get("lang") != want || q.Get("openid") != openID || len(q) != 3 {
			t.Errorf("%q: asked lang %q of %q", lang, q.Get("lang"), q.Get("openid"))
		}
	}
}

func TestFollowerIsReadAsWeChatSendsIt(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	for body, want := range map[string]wechatopen.Follower{
		`{"subscribe":1,"openid":"o6_bmjrPTlm6_2sgVt7hMZOPfL2M","language":"zh_CN","subscribe_time":1382694957,"unionid":"o6_bmasdasdsad6_2sgVt7hMZOPfL","remark":"备注","groupid":0,"tagid_list":[128,2],"subscribe_scene":"ADD_SCENE_QR_CODE","qr_scene":98765,"qr_scene_str":""}`: {
			Follows: true, OpenID: "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", UnionID: "o6_bmasdasdsad6_2sgVt7hMZOPfL", Language: "zh_CN",
			Since: time.Unix(1382694957, 0), Remark: "备注", TagIDs: []int{128, 2}, Channel: "ADD_SCENE_QR_CODE", QRScene: "98765"},
		`{"subscribe":"1","openid":"o1","subscribe_time":"1382694957","qr_scene":"","qr_scene_str":"x"}`: {
			Follows: true, OpenID: "o1", Since: time.Unix(1382694957, 0), QRScene: "x"},
		`{"subscribe":0,"openid":"o1"}`: {OpenID: "o1"},
	} {
		w.sim.Inject(wechattest.Fault{Path: opUserInfo, Times: 1, Body: []byte(body)})
		got, err := a.Follower(t.Context(), "o1", "")
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}
