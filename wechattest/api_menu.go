package wechattest

import (
	"slices"
	"strconv"
)

// officialAccount is the account of a call that only official accounts may make.
func (c *call) officialAccount() (*Account, error) {
	a := c.token.account
	if a.cfg.MiniProgram || a.cfg.Website {
		return nil, refuse(48001)
	}
	return a, nil
}

func (c *call) createMenu() (any, error) {
	var in struct {
		Button []button `json:"button"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	if err := a.checkButtons(in.Button); err != nil {
		return nil, err
	}
	a.menu = &menu{id: newNumber(), buttons: in.Button}
	return okBody(), nil
}

type menuBody struct {
	Button []button       `json:"button"`
	Rule   map[string]any `json:"matchrule,omitempty"`
	MenuID int64          `json:"menuid,omitempty"`
}

// getMenu answers menuids only if there are conditional menus, which are what needs them.
func (c *call) getMenu() (any, error) {
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	if a.menu == nil {
		return nil, refuse(46003)
	}
	out := struct {
		Menu        menuBody   `json:"menu"`
		Conditional []menuBody `json:"conditionalmenu,omitempty"`
	}{Menu: menuBody{Button: a.menu.buttons}}
	for _, m := range a.conditional {
		out.Menu.MenuID = a.menu.id
		out.Conditional = append(out.Conditional, menuBody{m.buttons, m.rule, m.id})
	}
	return out, nil
}

// deleteMenu removes the default menu and the conditional ones.
func (c *call) deleteMenu() (any, error) {
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	a.menu, a.conditional = nil, nil
	return okBody(), nil
}

func (c *call) addConditionalMenu() (any, error) {
	var in struct {
		Button []button       `json:"button"`
		Rule   map[string]any `json:"matchrule"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	empty := true
	for _, v := range in.Rule {
		empty = empty && v == ""
	}
	switch {
	case a.menu == nil:
		return nil, refuse(65303)
	case empty:
		return nil, refuse(65304)
	}
	if err := a.checkButtons(in.Button); err != nil {
		return nil, err
	}
	m := &menu{id: newNumber(), buttons: in.Button, rule: in.Rule}
	a.conditional = append(a.conditional, m)
	return struct {
		MenuID string `json:"menuid"`
	}{strconv.FormatInt(m.id, 10)}, nil
}

func (c *call) deleteConditionalMenu() (any, error) {
	var in struct {
		MenuID flexID `json:"menuid"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(a.conditional, func(m *menu) bool { return strconv.FormatInt(m.id, 10) == string(in.MenuID) })
	if i < 0 {
		return nil, refuse(65301)
	}
	a.conditional = slices.Delete(a.conditional, i, i+1)
	return okBody(), nil
}

// tryMatchMenu takes openids; the WeChat ids that WeChat takes too are not simulated.
func (c *call) tryMatchMenu() (any, error) {
	var in struct {
		UserID string `json:"user_id"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	u := a.openIDs[in.UserID]
	if u == nil {
		return nil, refuse(65302) // the table of codes has it as "no such user"
	}
	m := a.menuOf(u)
	if m == nil {
		return nil, refuse(46003)
	}
	return menuBody{Button: m.buttons}, nil
}

func (c *call) selfMenuInfo() (any, error) {
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	type info struct {
		Button []selfButton `json:"button"`
	}
	out := struct {
		Open int  `json:"is_menu_open"`
		Info info `json:"selfmenu_info"`
	}{Info: info{[]selfButton{}}}
	if a.menu != nil {
		out.Open, out.Info.Button = 1, selfButtons(a.menu.buttons)
	}
	return out, nil
}
