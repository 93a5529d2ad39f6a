package wechattest

// userInfo is what an account learns of a user: little of one who does not follow it. Names and pictures are empty since
// 2021.
func (c *call) userInfo() (any, error) {
	openID := c.query.Get("openid")
	if openID == "" {
		return nil, misuse(41009, "openid is missing")
	}
	a := c.token.account
	u := a.openIDs[openID]
	if u == nil {
		return nil, refuse(40003)
	}
	f := a.follows[openID]
	if f == nil {
		return map[string]any{"subscribe": 0, "openid": openID, "unionid": u.UnionID()}, nil
	}
	tags := a.tags[openID]
	if tags == nil {
		tags = []int{}
	}
	by, sceneText := "ADD_SCENE_SEARCH", ""
	if f.scene != "" {
		by = "ADD_SCENE_QR_CODE"
		if sceneNumber(f.scene) == 0 {
			sceneText = f.scene
		}
	}
	return map[string]any{
		"subscribe": 1, "openid": openID, "nickname": "", "sex": 0, "language": "zh_CN", "city": "", "province": "",
		"country": "", "headimgurl": "", "subscribe_time": f.since.Unix(), "unionid": u.UnionID(), "remark": "",
		"groupid": 0, "tagid_list": tags, "subscribe_scene": by, "qr_scene": sceneNumber(f.scene),
		"qr_scene_str": sceneText,
	}, nil
}
