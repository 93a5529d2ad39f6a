package wechattest

import "slices"

// optionValues are the options of an authorizer and what they can be set to. The first is the default.
func optionValues(name string) []string {
	switch name {
	case "location_report":
		return []string{"0", "1", "2"}
	case "voice_recognize", "customer_service":
		return []string{"0", "1"}
	}
	return nil
}

type optionIn struct {
	componentIn
	AppID string `json:"authorizer_appid"`
	Name  string `json:"option_name"`
	Value string `json:"option_value"`
}

// optionAccount decodes the body and finds the account that an option call is about: with the component's token the
// body names it, with an authorizer's it may.
func (c *call) optionAccount() (*Account, optionIn, error) {
	var in optionIn
	if err := c.in(&in); err != nil {
		return nil, in, err
	}
	a := c.token.account
	switch {
	case c.token.kind == nativeToken:
		return nil, in, misuse(61014, "the token of an account of one's own on an API of components")
	case c.token.kind == componentToken:
		if err := c.checkComponent(in.ComponentAppID); err != nil {
			return nil, in, err
		}
		g, err := c.findGrant(in.AppID)
		if err != nil {
			return nil, in, err
		}
		a = g.account
	case in.ComponentAppID != "" && in.ComponentAppID != c.token.component.appID:
		return nil, in, misuse(40013, "component_appid is not that of the token")
	case in.AppID != "" && in.AppID != a.appID:
		return nil, in, misuse(40013, "authorizer_appid is not that of the token")
	}
	if optionValues(in.Name) == nil {
		return nil, in, refuse(61012)
	}
	return a, in, nil
}

func (c *call) getOption() (any, error) {
	a, in, err := c.optionAccount()
	if err != nil {
		return nil, err
	}
	return map[string]string{"option_name": in.Name, "option_value": a.option(in.Name)}, nil
}

func (c *call) getOptionOld() (any, error) {
	a, in, err := c.optionAccount()
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorizer_appid": a.appID, "option_name": in.Name, "option_value": a.option(in.Name)}, nil
}

func (a *Account) option(name string) string {
	return orElse(a.options[name], func() string { return optionValues(name)[0] })
}

func (c *call) setOption() (any, error) {
	a, in, err := c.optionAccount()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(optionValues(in.Name), in.Value) {
		return nil, refuse(61013)
	}
	if a.options == nil {
		a.options = map[string]string{}
	}
	a.options[in.Name] = in.Value
	return okBody(), nil
}
