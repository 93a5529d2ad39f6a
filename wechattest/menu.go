package wechattest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// menu is what the buttons below a chat are. Users see the newest conditional menu whose rule they match, or else the
// default one.
type menu struct {
	id      int64
	buttons []button
	rule    map[string]any // of a conditional menu; nil for the default one
}

// button is one of a menu, or of the list that opens from one. The form is that of menu/create and menu/get.
type button struct {
	Type      string   `json:"type,omitempty"`
	Name      string   `json:"name"`
	Key       string   `json:"key,omitempty"`
	URL       string   `json:"url,omitempty"`
	AppID     string   `json:"appid,omitempty"`
	PagePath  string   `json:"pagepath,omitempty"`
	MediaID   string   `json:"media_id,omitempty"`
	ArticleID string   `json:"article_id,omitempty"`
	Sub       []button `json:"sub_button"`
}

// Limits of a menu. Names, keys and URLs are counted in bytes.
const (
	maxButtons, maxSubButtons  = 3, 5
	maxTopName, maxSubName     = 16, 60
	maxButtonKey, maxButtonURL = 128, 1024
)

// buttonCodes are the errcodes of a bad button: there is one set for the top and one for the lists.
type buttonCodes struct{ kind, name, key, url, domain int }

// checkButtons checks the buttons of a menu. It is called with s.mu held.
func (a *Account) checkButtons(buttons []button) error {
	if len(buttons) < 1 || len(buttons) > maxButtons {
		return refuse(40016)
	}
	for i := range buttons {
		b := &buttons[i]
		if len(b.Sub) == 0 {
			b.Sub = []button{}
			if err := a.checkButton(*b, maxTopName, buttonCodes{40017, 40018, 40019, 40020, 40055}); err != nil {
				return err
			}
			continue
		}
		switch {
		case b.Name == "" || len(b.Name) > maxTopName:
			return refuse(40018)
		case len(b.Sub) > maxSubButtons:
			return refuse(40023)
		}
		*b = button{Name: b.Name, Sub: b.Sub} // a button with a list does nothing else
		for j := range b.Sub {
			if len(b.Sub[j].Sub) > 0 {
				return refuse(40022)
			}
			b.Sub[j].Sub = []button{}
			if err := a.checkButton(b.Sub[j], maxSubName, buttonCodes{40024, 40025, 40026, 40027, 40054}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Account) checkButton(b button, maxName int, code buttonCodes) error {
	if b.Name == "" || len(b.Name) > maxName {
		return refuse(code.name)
	}
	link := func() error {
		switch {
		case b.URL == "" || len(b.URL) > maxButtonURL:
			return refuse(code.url)
		case !strings.HasPrefix(b.URL, "http://") && !strings.HasPrefix(b.URL, "https://"):
			return refuse(code.domain)
		}
		return nil
	}
	switch b.Type {
	case "click", "scancode_push", "scancode_waitmsg", "pic_sysphoto", "pic_photo_or_album", "pic_weixin",
		"location_select":
		if b.Key == "" || len(b.Key) > maxButtonKey {
			return refuse(code.key)
		}
	case "view":
		return link()
	case "miniprogram":
		switch {
		case b.AppID == "":
			return refuse(40166)
		case b.PagePath == "":
			return refuse(40165)
		}
		return link()
	case "media_id", "view_limited":
		if a.materials[b.MediaID] == nil {
			return refuse(40007)
		}
	case "article_id", "article_view_limited":
		if b.ArticleID == "" { // whether the article exists is not simulated
			return refuse(53600)
		}
	default:
		return refuse(code.kind)
	}
	return nil
}

// menuOf is the menu that a user sees; nil if there is none. It is called with s.mu held.
func (a *Account) menuOf(u *User) *menu {
	for _, m := range slices.Backward(a.conditional) {
		if a.matches(u, m.rule) {
			return m
		}
	}
	return a.menu
}

// matches reports whether a user meets every condition of a rule. Those on sex, region and language were withdrawn:
// nobody meets them.
func (a *Account) matches(u *User, rule map[string]any) bool {
	for name, v := range rule {
		want := fmt.Sprint(v)
		switch {
		case want == "":
		case name == "tag_id" || name == "group_id":
			if !slices.ContainsFunc(a.tags[a.openID(u)], func(id int) bool { return strconv.Itoa(id) == want }) {
				return false
			}
		case name == "client_platform_type":
			if strconv.Itoa(u.platform) != want {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// find returns the button with this key, or else with this name.
func (m *menu) find(name string) (button, bool) {
	var all []button
	for _, b := range m.buttons {
		if len(b.Sub) == 0 {
			all = append(all, b)
		}
		all = append(all, b.Sub...)
	}
	for _, same := range []func(button) bool{
		func(b button) bool { return b.Key != "" && b.Key == name },
		func(b button) bool { return b.Name == name },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 {
			return all[i], true
		}
	}
	return button{}, false
}

// buttonOf is a button of the menu that a user sees. It is called with s.mu held.
func (a *Account) buttonOf(u *User, keyOrName string) (button, bool) {
	m := a.menuOf(u)
	if m == nil {
		return button{}, false
	}
	return m.find(keyOrName)
}

// Tap has u tap a button of the menu that u sees, named by its key or by what is written on it. Its event is pushed as
// [Account.Push] does it: CLICK, VIEW with the URL, and so on by the button's type. What WeChat does by itself, such as
// sending a media_id, is not pushed. It is an error if u does not follow the account, or sees no such button.
func (a *Account) Tap(ctx context.Context, u *User, keyOrName string) (*PushResult, error) {
	a.s.mu.Lock()
	if err := a.needFollower(u); err != nil {
		a.s.mu.Unlock()
		return nil, err
	}
	m := a.menuOf(u)
	b, found := a.buttonOf(u, keyOrName)
	openID, now := a.openID(u), a.s.Now()
	if found && b.Type == "media_id" {
		a.say(Line{OpenID: openID, Via: ViaWeChat, MsgType: a.materialKind(b.MediaID), MediaID: b.MediaID})
	}
	a.s.mu.Unlock()
	if !found {
		return nil, fmt.Errorf("wechattest: %s sees no button %q at %s", u.name, keyOrName, a.cfg.Name)
	}
	event, key, rest := b.Type, b.Key, ""
	menuID := "<MenuId>" + cdata(strconv.FormatInt(m.id, 10)) + "</MenuId>\n"
	switch b.Type {
	case "click":
		event = "CLICK"
	case "view":
		event, key, rest = "VIEW", b.URL, menuID
	case "miniprogram":
		event, key, rest = "view_miniprogram", b.PagePath, menuID
	case "scancode_push", "scancode_waitmsg":
		rest = "<ScanCodeInfo><ScanType>" + cdata("qrcode") + "</ScanType>\n<ScanResult>" + cdata("1") + "</ScanResult>\n</ScanCodeInfo>\n"
	case "pic_sysphoto", "pic_photo_or_album", "pic_weixin":
		rest = "<SendPicsInfo><Count>0</Count>\n<PicList></PicList>\n</SendPicsInfo>\n"
	case "location_select":
		rest = "<SendLocationInfo><Location_X>" + cdata("23.134") + "</Location_X>\n<Location_Y>" + cdata("113.359") +
			"</Location_Y>\n<Scale>" + cdata("15") + "</Scale>\n<Label>" + cdata("广州") + "</Label>\n<Poiname>" + cdata("") +
			"</Poiname>\n</SendLocationInfo>\n"
	default:
		return &PushResult{}, nil
	}
	return a.Push(ctx, a.MessageXML(openID, "event", 0, now,
		"<Event>"+cdata(event)+"</Event>\n<EventKey>"+cdata(key)+"</EventKey>\n"+rest))
}

// selfButton is a button in the form of get_current_selfmenu_info.
type selfButton struct {
	button
	Sub *selfList `json:"sub_button,omitempty"`
}

type selfList struct {
	List []selfButton `json:"list"`
}

func selfButtons(buttons []button) []selfButton {
	out := make([]selfButton, len(buttons))
	for i, b := range buttons {
		out[i].button = b
		if len(b.Sub) > 0 {
			out[i].Sub = &selfList{selfButtons(b.Sub)}
		}
	}
	return out
}

// flexID is an id that is a text in some calls and a number in others.
type flexID string

func (id *flexID) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*id = flexID(s)
		return nil
	}
	var n json.Number
	err := json.Unmarshal(b, &n)
	*id = flexID(n)
	return err
}
