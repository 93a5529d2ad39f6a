package wechattest

import (
	"encoding/json"
	"slices"
	"time"
)

// forced is how often stable_token was forced: 20 times a day at most, 30 seconds apart.
type forced struct {
	last  time.Time
	day   string
	times int
}

// findAccount checks appid and secret of a call without token.
func (c *call) findAccount(appID, secret string) (*Account, error) {
	a := c.accounts[appID]
	switch {
	case appID == "":
		return nil, misuse(41002, "appid is missing")
	case c.components[appID] != nil:
		return nil, misuse(61024, "the appid is that of a component")
	case a == nil:
		return nil, refuse(40013)
	case secret == "":
		return nil, misuse(41004, "secret is missing")
	case secret != a.secret:
		return nil, refuse(40125)
	}
	c.appID = appID
	return a, nil
}

type tokenBody struct {
	Token     string `json:"access_token"`
	ExpiresIn int    `json:"expires_in"`
}

func (c *call) nativeToken() (any, error) {
	if g := c.query.Get("grant_type"); g != "client_credential" {
		return nil, misuse(40002, "grant_type is not client_credential")
	}
	a, err := c.findAccount(c.query.Get("appid"), c.query.Get("secret"))
	if err != nil {
		return nil, err
	}
	if err := c.spend(a.appID); err != nil {
		return nil, err
	}
	t := c.issue(&a.slot, apiToken{kind: nativeToken, account: a})
	return tokenBody{t.value, int(tokenLife.Seconds())}, nil
}

func (c *call) stableToken() (any, error) {
	var in struct {
		GrantType string `json:"grant_type"`
		AppID     string `json:"appid"`
		Secret    string `json:"secret"`
		Force     bool   `json:"force_refresh"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if in.GrantType != "client_credential" {
		return nil, misuse(40002, "grant_type is not client_credential")
	}
	a, err := c.findAccount(in.AppID, in.Secret)
	if err != nil {
		return nil, err
	}
	if err := c.spend(a.appID); err != nil {
		return nil, err
	}
	now, t := c.Now(), a.stable.newest()
	if in.Force {
		if err := a.stableForced.allow(now); err != nil {
			return nil, err
		}
	} else if t != nil && t.expires.Sub(now) > 5*time.Minute {
		return tokenBody{t.value, int(t.expires.Sub(now).Seconds())}, nil
	}
	t = c.issue(&a.stable, apiToken{kind: nativeToken, account: a})
	return tokenBody{t.value, int(tokenLife.Seconds())}, nil
}

func (f *forced) allow(now time.Time) error {
	if !f.last.IsZero() && now.Sub(f.last) < 30*time.Second {
		return refuse(45011)
	}
	if day := now.In(beijing()).Format("2006-01-02"); day != f.day {
		f.day, f.times = day, 0
	}
	if f.times >= 20 {
		return refuse(45009)
	}
	f.last, f.times = now, f.times+1
	return nil
}

// jsTicket is a ticket of the JSSDK. It outlives its replacement as tokens do.
type jsTicket struct {
	value   string
	expires time.Time
}

func (c *call) jsTicket() (any, error) {
	kind := c.query.Get("type")
	if !slices.Contains([]string{"jsapi", "wx_card", "2"}, kind) {
		return nil, misuse(40097, "type is neither jsapi nor wx_card")
	}
	a, now := c.token.account, c.Now()
	live := slices.DeleteFunc(a.tickets[kind], func(t jsTicket) bool { return !now.Before(t.expires) })
	for i := range live {
		if end := now.Add(c.cfg.TokenOverlap); end.Before(live[i].expires) {
			live[i].expires = end
		}
	}
	t := jsTicket{newJSTicket(), now.Add(tokenLife)}
	if a.tickets == nil {
		a.tickets = map[string][]jsTicket{}
	}
	a.tickets[kind] = append(live, t)
	return struct {
		errorBody
		Ticket    string `json:"ticket"`
		ExpiresIn int    `json:"expires_in"`
	}{okBody(), t.value, int(tokenLife.Seconds())}, nil
}

func (c *call) ipList() (any, error) {
	return map[string][]string{"ip_list": {"127.0.0.1", "101.226.103.0/25"}}, nil
}

// echo is no API of WeChat's: it takes every token and answers what it was sent.
func (c *call) echo() (any, error) {
	var body json.RawMessage
	if c.r.Method == "POST" {
		if err := c.in(&body); err != nil {
			return nil, err
		}
	}
	if body == nil {
		body = json.RawMessage("null")
	}
	query := c.r.URL.Query() // a copy: the journal has the other
	query.Del("access_token")
	return struct {
		errorBody
		AppID string              `json:"appid"`
		Query map[string][]string `json:"query"`
		Body  json.RawMessage     `json:"body"`
	}{okBody(), c.token.owner(), query, body}, nil
}
