package wechattest

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxChat is how many lines the chat page shows.
const maxChat = 100

// chatLine is a line as the page shows it.
type chatLine struct {
	Line
	Side    string // class: "me", "them" or "note"
	At      string
	Picture string // URL; "" none
	File    string // URL of a recording or a video; "" none
}

// chatPage is a person's window on an account: its menu, what was said, and what the person can do.
func (c *call) chatPage() reply {
	form := c.query
	var picture *upload
	if c.r.Method == http.MethodPost {
		var err error
		if strings.HasPrefix(c.r.Header.Get("Content-Type"), "multipart/") {
			if picture, err = c.form("picture"); err == nil {
				form = url.Values{}
				for k, v := range picture.fields {
					form.Set(k, v)
				}
			}
		} else {
			form, err = url.ParseQuery(string(c.body))
		}
		if err != nil {
			return c.errorPage(&pageError{zh: "没有选择图片", en: "no picture was chosen"})
		}
	}
	c.mu.Lock()
	a, u := c.accounts[form.Get("appid")], c.me()
	c.mu.Unlock()
	switch {
	case a == nil || a.cfg.Website:
		return c.errorPage(&pageError{zh: "没有这个公众号或小程序", en: "there is no such account to chat with"})
	case u == nil:
		return c.errorPage(&pageError{zh: "模拟器里还没有用户", en: "nobody has WeChat yet: call AddUser"})
	}
	c.appID = a.appID
	if c.r.Method != http.MethodPost {
		return c.showChat(a, u)
	}
	to, err := c.chat(a, u, form, picture)
	if err != nil {
		return c.errorPage(&pageError{zh: "没有成功", en: strings.TrimPrefix(err.Error(), "wechattest: ")})
	}
	rp := redirectReply(or(to, "/wechatsim/chat?appid="+url.QueryEscape(a.appID)))
	rp.status = http.StatusSeeOther
	return rp
}

// chat does what a button says. to is where the browser goes then; "" back. What the account makes of it is not an error:
// the person sees it in the conversation.
func (c *call) chat(a *Account, u *User, form url.Values, picture *upload) (to string, err error) {
	ctx := c.r.Context()
	c.mu.Lock()
	mayWrite := a.needFollower(u)
	b, found := a.buttonOf(u, form.Get("tap"))
	openID := a.openID(u)
	c.mu.Unlock()
	switch do := form.Get("do"); {
	case do == "follow":
		a.Follow(ctx, u, strings.TrimSpace(form.Get("scene")))
	case do == "unfollow":
		a.Unfollow(ctx, u)
	case mayWrite != nil:
		return "", mayWrite
	case form.Has("tap"):
		if !found {
			return "", errors.New("the menu has changed")
		}
		a.Tap(ctx, u, form.Get("tap"))
		if b.Type == "view" {
			to = b.URL
		}
	case form.Has("choose"):
		choices := a.choices(openID)
		i := slices.IndexFunc(choices, func(k Choice) bool { return k.ID == form.Get("choose") })
		if i < 0 {
			return "", errors.New("there is no such choice")
		}
		k := choices[i]
		a.Push(ctx, a.MessageXML(openID, "text", newMsgID(), c.Now(),
			"<Content>"+cdata(k.Content)+"</Content>\n<bizmsgmenuid>"+cdata(k.ID)+"</bizmsgmenuid>\n"))
	case picture != nil:
		if _, err := a.SayImage(ctx, u, picture.filename, picture.data); errors.As(err, new(*apiError)) {
			return "", err
		}
	case form.Get("text") != "":
		a.Say(ctx, u, form.Get("text"))
	}
	return to, nil
}

// choices are those of every msgmenu that a user was sent, the newest first.
func (a *Account) choices(openID string) (out []Choice) {
	for _, l := range slices.Backward(a.linesOf(func(l Line) bool { return l.OpenID == openID })) {
		out = append(out, l.Choices...)
	}
	return out
}

func (c *call) showChat(a *Account, u *User) reply {
	lines := a.Conversation(u)
	lines = lines[max(0, len(lines)-maxChat):]
	shown := make([]chatLine, 0, len(lines))
	c.mu.Lock()
	for _, l := range lines {
		shown = append(shown, c.chatLine(a, l))
	}
	var buttons []button
	follows := a.needFollower(u) == nil
	if m := a.menuOf(u); m != nil && follows {
		buttons = m.buttons
	}
	c.mu.Unlock()
	return c.render("chat.html", a.cfg.Name, pageData{Hidden: []hidden{{"appid", a.appID}}, Data: map[string]any{
		"Account": a, "Lines": shown, "Buttons": buttons, "Follows": follows, "MiniProgram": a.cfg.MiniProgram,
		"Self": "/wechatsim/chat?appid=" + url.QueryEscape(a.appID)}})
}

// chatLine is called with mu held.
func (c *call) chatLine(a *Account, l Line) chatLine {
	out := chatLine{Line: l, Side: "them", At: l.Time.In(beijing()).Format("15:04:05")}
	switch l.Via {
	case ViaUser:
		out.Side = "me"
	case ViaEvent, ViaWeChat:
		out.Side = "note"
	}
	if l.Via == ViaReply && l.MsgType == "transfer_customer_service" {
		out.Side, out.Text = "note", "已转接人工客服 handed over to customer service"
	}
	if m := a.findMedia(l.MediaID); m != nil {
		if strings.HasPrefix(m.contentType, "image/") {
			out.Picture = c.mediaURL(m.id)
		} else {
			out.File = c.mediaURL(m.id)
		}
	}
	out.Text = string(bytes.TrimSpace([]byte(out.Text)))
	return out
}

// Tap is by what the page names a button: its key, or else what is written on it.
func (b button) Tap() string { return or(b.Key, b.Name) }
