package wechattest

import (
	"regexp"
	"strings"
	"time"
)

const ridLife = 7 * 24 * time.Hour

// clear spends one of the month's clears of appID. path "" clears all.
func (c *call) clear(appID, path string) (any, error) {
	c.appID = appID
	if !c.quota.clear(c.Now(), appID, path) {
		return nil, refuse(48006)
	}
	return okBody(), nil
}

func (c *call) clearComponentQuota() (any, error) {
	var in componentIn
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if err := c.checkComponent(in.ComponentAppID); err != nil {
		return nil, err
	}
	return c.clear(in.ComponentAppID, "")
}

func (c *call) clearQuotaV2() (any, error) {
	var in struct {
		componentIn
		Secret string `json:"appsecret"`
		AppID  string `json:"appid"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	comp, err := c.findComponent(in.ComponentAppID, in.Secret, "appsecret")
	if err != nil {
		return nil, err
	}
	switch {
	case in.AppID == "" || in.AppID == comp.appID:
		return c.clear(comp.appID, "")
	case comp.grants[in.AppID] == nil:
		return nil, refuse(61003)
	}
	return c.clear(in.AppID, "")
}

func (c *call) clearQuota() (any, error) {
	var in struct {
		AppID string `json:"appid"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	switch in.AppID {
	case "":
		return nil, misuse(41002, "appid is missing")
	case c.token.owner():
		return c.clear(in.AppID, "")
	}
	return nil, misuse(40013, "appid is not that of the token")
}

// quotaPath decodes and checks cgi_path.
func (c *call) quotaPath() (string, error) {
	var in struct {
		Path string `json:"cgi_path"`
	}
	if err := c.in(&in); err != nil {
		return "", err
	}
	rt, ok := c.routes[in.Path]
	switch {
	case !strings.HasPrefix(in.Path, "/"):
		return "", misuse(76003, "cgi_path begins with a slash and has no host")
	case strings.HasPrefix(in.Path, "/sns/"):
		return "", refuse(76022)
	case !ok || rt.api == nil:
		return "", refuse(76021)
	case strings.HasPrefix(in.Path, "/cgi-bin/component/") && c.token.kind != componentToken:
		return "", refuse(76022)
	case rt.token == useAccount && c.token.kind == componentToken:
		return "", refuse(76022)
	}
	return in.Path, nil
}

func (c *call) quotaGet() (any, error) {
	path, err := c.quotaPath()
	if err != nil {
		return nil, err
	}
	c.quota.roll(c.Now())
	used := c.quota.used[c.token.owner()][path]
	limit, ok := c.quota.limits[path]
	if !ok {
		limit = 100_000_000
	}
	type rate struct {
		Calls  int `json:"call_count"`
		Second int `json:"refresh_second"`
	}
	return struct {
		errorBody
		Quota         map[string]int `json:"quota"`
		Rate          rate           `json:"rate_limit"`
		ComponentRate rate           `json:"component_rate_limit"`
	}{okBody(), map[string]int{"daily_limit": limit, "used": used, "remain": max(0, limit-used)},
		rate{10_000, 60}, rate{10_000, 60}}, nil
}

func (c *call) quotaClear() (any, error) {
	path, err := c.quotaPath()
	if err != nil {
		return nil, err
	}
	return c.clear(c.token.owner(), path)
}

func (c *call) ridGet() (any, error) {
	var in struct {
		RID string `json:"rid"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if ok, _ := regexp.MatchString(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`, in.RID); !ok {
		return nil, refuse(76002)
	}
	old, ok := c.journal.findRID(in.RID)
	switch {
	case !ok || c.Now().Sub(old.Time) > ridLife:
		return nil, refuse(76001)
	case old.owner != c.token.owner() && old.AppID != c.token.owner():
		return nil, refuse(76003)
	}
	return struct {
		errorBody
		Request map[string]any `json:"request"`
	}{okBody(), map[string]any{
		"invoke_time": old.Time.Unix(), "cost_in_ms": 1, "request_url": old.uri, "request_body": string(old.Body),
		"response_body": string(old.answer), "client_ip": "127.0.0.1",
	}}, nil
}
