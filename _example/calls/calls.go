// Package calls makes five calls that have no method of their own: with the path, the fields and the answer of WeChat's
// documentation, [wechatopen.Account.Get] and [wechatopen.Account.Post] do for all of them.
package calls

import (
	"context"
	"errors"
	"net/url"

	"github.com/wechatopen/wechatopen"
)

// FollowersAfter lists followers of an account, 10,000 at a time; next is empty at first. WeChat's page: user/get.
func FollowersAfter(ctx context.Context, a *wechatopen.Account, next string) (openIDs []string, after string, err error) {
	var out struct {
		Data struct {
			OpenID []string `json:"openid"`
		} `json:"data"`
		Next string `json:"next_openid"`
	}
	err = a.Get(ctx, "/cgi-bin/user/get", url.Values{"next_openid": {next}}, &out)
	return out.Data.OpenID, out.Next, err
}

// NewTag makes a tag for followers. WeChat's page: tags/create.
func NewTag(ctx context.Context, a *wechatopen.Account, name string) (id int, err error) {
	var out struct{ Tag struct{ ID int } }
	err = a.Post(ctx, "/cgi-bin/tags/create", map[string]any{"tag": map[string]string{"name": name}}, &out)
	var refusal *wechatopen.APIError
	if errors.As(err, &refusal) && refusal.Code == 45157 {
		return 0, errors.New("there is such a tag")
	}
	return out.Tag.ID, err
}

// SceneCode makes a QR code that brings its scene with the follow or scan event. WeChat's page: qrcode/create.
func SceneCode(ctx context.Context, a *wechatopen.Account, scene string) (link string, err error) {
	var out struct{ URL string }
	err = a.Post(ctx, "/cgi-bin/qrcode/create", map[string]any{
		"action_name":    "QR_STR_SCENE",
		"expire_seconds": 2592000,
		"action_info":    map[string]any{"scene": map[string]string{"scene_str": scene}},
	}, &out)
	return out.URL, err
}

// MiniProgramCode is the picture of a code that opens a mini program. WeChat's page: getwxacodeunlimit.
func MiniProgramCode(ctx context.Context, a *wechatopen.Account, scene string) (png []byte, err error) {
	err = a.Post(ctx, "/wxa/getwxacodeunlimit", map[string]string{"scene": scene}, &png)
	return png, err
}

// MiniProgramUser says who logs in to a mini program that authorizes the platform: a call with the component's token.
// WeChat's page: component/jscode2session.
func MiniProgramUser(ctx context.Context, p *wechatopen.Platform, appID, code string) (openID, sessionKey string, err error) {
	var out struct {
		OpenID     string `json:"openid"`
		SessionKey string `json:"session_key"`
	}
	err = p.Get(ctx, "/sns/component/jscode2session", url.Values{
		"appid": {appID}, "js_code": {code}, "grant_type": {"authorization_code"}, "component_appid": {p.AppID()},
	}, &out)
	return out.OpenID, out.SessionKey, err
}
