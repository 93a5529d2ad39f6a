package wechatopen

import (
	"context"
	"net/url"
	"time"
)

// Follower is what an account learns of one who follows it. Since 2021 WeChat tells neither name nor picture: those need
// a login with [ScopeUserInfo].
type Follower struct {
	Follows bool // false: all that follows is empty, but OpenID and UnionID
	OpenID  string
	UnionID string // empty unless the account is bound to an Open Platform account

	Language string    // "zh_CN"
	Since    time.Time // of the last time the user followed
	Remark   string    // the account's own note
	TagIDs   []int
	Channel  string // how the user came: "ADD_SCENE_QR_CODE", …
	QRScene  string // of the QR code by which the user came; empty if it had none
}

// Follower is what the account knows of a user. lang is "zh_CN", "zh_TW" or "en"; empty means zh_CN.
// WeChat's page: user/info.
func (a *Account) Follower(ctx context.Context, openID, lang string) (*Follower, error) {
	var out struct {
		Subscribe     Int    `json:"subscribe"`
		OpenID        string `json:"openid"`
		UnionID       string `json:"unionid"`
		Language      string `json:"language"`
		SubscribeTime Int    `json:"subscribe_time"`
		Remark        string `json:"remark"`
		TagIDs        []int  `json:"tagid_list"`
		Channel       string `json:"subscribe_scene"`
		QRScene       Int    `json:"qr_scene"`
		QRSceneStr    string `json:"qr_scene_str"`
	}
	err := a.Get(ctx, "/cgi-bin/user/info", url.Values{"openid": {openID}, "lang": {firstOf(lang, "zh_CN")}}, &out)
	if err != nil {
		return nil, err
	}
	f := &Follower{
		Follows: out.Subscribe == 1, OpenID: out.OpenID, UnionID: out.UnionID, Language: out.Language, Remark: out.Remark,
		TagIDs: out.TagIDs, Channel: out.Channel, QRScene: out.QRSceneStr,
	}
	if out.SubscribeTime > 0 {
		f.Since = time.Unix(int64(out.SubscribeTime), 0)
	}
	if f.QRScene == "" && out.QRScene != 0 {
		f.QRScene = out.QRScene.String()
	}
	return f, nil
}

// Follows reports whether a user follows the account, as one must to be sent a template message.
func (a *Account) Follows(ctx context.Context, openID string) (bool, error) {
	f, err := a.Follower(ctx, openID, "")
	return err == nil && f.Follows, err
}
