package wechattest

import (
	"context"
	"encoding/xml"
	"fmt"
	"slices"
	"time"
)

// Via says how a line came into a conversation.
type Via string

// The ways of lines.
const (
	ViaUser     Via = "user"     // the user sent it
	ViaEvent    Via = "event"    // the user did it: MsgType is the event, Text its EventKey
	ViaReply    Via = "reply"    // the account replied to a push
	ViaCustom   Via = "custom"   // the account called message/custom/send
	ViaTemplate Via = "template" // the account called message/template/send
	ViaWeChat   Via = "wechat"   // WeChat says it, such as that the account does not answer
)

// Line is one line of the conversation of a user with an account. A field that a message does not have is zero.
type Line struct {
	Time     time.Time
	OpenID   string
	Via      Via
	MsgType  string    // "text", "image", …, "template"; an event's name
	Text     string    // what there is to read; of a template message, filled in
	MediaID  string    // image, voice, video, mpnews; a thumbnail otherwise
	Articles []Article // news, music, link, miniprogrampage; of a template message its title and where it leads
	Choices  []Choice  // msgmenu
	Raw      []byte    // XML of messages, events and replies, JSON of what was sent by a call
}

// Article is what a user sees of something to open.
type Article struct{ Title, Description, PicURL, URL string }

// Choice is an entry of a msgmenu.
type Choice struct{ ID, Content string }

// maxLines is how many lines each account keeps at least; up to twice as many are there.
const maxLines = 1000

// conversation is all that was said at an account.
type conversation struct {
	lines []Line
	sent  int           // how many lines were sent by calls, dropped ones too
	said  chan struct{} // closed when the next line comes; nil nobody waits
}

// say adds a line. It is called with s.mu held.
func (a *Account) say(l Line) {
	l.Time, l.Raw = a.s.Now(), slices.Clone(l.Raw)
	v := &a.conversation
	if len(v.lines) == 2*maxLines {
		v.lines = append(make([]Line, 0, 2*maxLines), v.lines[maxLines:]...)
	}
	v.lines = append(v.lines, l)
	if l.bySending() {
		v.sent++
	}
	if v.said != nil {
		close(v.said)
		v.said = nil
	}
}

// bySending reports whether a call of the account made the line.
func (l Line) bySending() bool { return l.Via == ViaCustom || l.Via == ViaTemplate }

// linesOf copies the lines that are wanted.
func (a *Account) linesOf(want func(Line) bool) []Line {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.conversation.lines), func(l Line) bool { return !want(l) })
}

// Conversation is what u and the account said to each other, oldest first: messages, events, replies, and what the
// account sent by calls. Each account keeps its newest thousand lines, with all users together.
func (a *Account) Conversation(u *User) []Line {
	openID := a.OpenID(u)
	return a.linesOf(func(l Line) bool { return l.OpenID == openID })
}

// Sent is what the account sent by calls, to whomever, oldest first: customer-service and template messages.
func (a *Account) Sent() []Line { return a.linesOf(Line.bySending) }

// WaitSent blocks until the account has sent n messages or more by calls since it was added. The error is that of ctx.
func (a *Account) WaitSent(ctx context.Context, n int) error {
	err := a.waitFor(ctx, func() bool { return a.conversation.sent >= n })
	if err != nil {
		return fmt.Errorf("wechattest: waiting for %d messages of %s: %w", n, a.appID, err)
	}
	return nil
}

// waitFor blocks until a line makes done true, which is called with s.mu held. The error is that of ctx.
func (a *Account) waitFor(ctx context.Context, done func() bool) error {
	v := &a.conversation
	for {
		a.s.mu.Lock()
		if done() {
			a.s.mu.Unlock()
			return nil
		}
		if v.said == nil {
			v.said = make(chan struct{})
		}
		said := v.said
		a.s.mu.Unlock()
		select {
		case <-said:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// userMessage is a message or event on its way to the account.
type userMessage struct {
	FromUserName, MsgType, Content string
	MediaID                        string `xml:"MediaId"`
	PicURL                         string `xml:"PicUrl"`
	Title, Description             string
	URL                            string `xml:"Url"`
	Event, EventKey                string
}

// heard notes what a user does when it is pushed: it is shown, and lets the account write to the user for a while. It
// returns the openid of who is shown the answer; "" nobody.
func (a *Account) heard(message string) (openID string) {
	var m userMessage
	if xml.Unmarshal([]byte(message), &m) != nil || m.FromUserName == "" || m.MsgType == "" {
		return ""
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	l := Line{OpenID: m.FromUserName, Via: ViaUser, MsgType: m.MsgType, Text: m.Content, MediaID: m.MediaID, Raw: []byte(message)}
	switch m.MsgType {
	case "event":
		if m.Event == "TEMPLATESENDJOBFINISH" {
			return "" // nothing that the user does
		}
		l.Via, l.MsgType, l.Text = ViaEvent, m.Event, m.EventKey
	case "link":
		l.Articles = []Article{{m.Title, m.Description, "", m.URL}}
	}
	a.openWindow(m.FromUserName, m.MsgType, m.Event)
	a.say(l)
	if m.Event == "unsubscribe" {
		return ""
	}
	return m.FromUserName
}

// passiveReply is what an account answers to a push.
type passiveReply struct {
	MsgType, Content string
	Image, Voice     struct{ MediaId string }
	Video            struct{ MediaId, Title, Description string }
	Music            struct{ Title, Description, MusicUrl, ThumbMediaId string }
	Articles         []struct{ Title, Description, PicUrl, Url string } `xml:"Articles>item"`
}

// answered notes how a push was answered, for the user to see; openID "": nobody sees it. err is why the answer was not
// taken.
func (a *Account) answered(openID string, r *PushResult, err error) {
	l := Line{OpenID: openID, Via: ViaReply}
	var p passiveReply
	switch {
	case openID == "":
		return
	case err != nil:
		l.Via, l.MsgType, l.Text = ViaWeChat, "text", "该公众号提供的服务出现故障，请稍后再试"
	case r.Reply == "" || xml.Unmarshal([]byte(r.Reply), &p) != nil:
		return
	default:
		l.MsgType, l.Text, l.Raw = p.MsgType, p.Content, []byte(r.Reply)
		l.MediaID = or(p.Image.MediaId, or(p.Voice.MediaId, or(p.Video.MediaId, p.Music.ThumbMediaId)))
		if p.MsgType == "music" {
			l.Articles = []Article{{p.Music.Title, p.Music.Description, "", p.Music.MusicUrl}}
		}
		if p.MsgType == "video" {
			l.Text = p.Video.Title
		}
		for _, it := range p.Articles {
			l.Articles = append(l.Articles, Article{it.Title, it.Description, it.PicUrl, it.Url})
		}
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.say(l)
}

// Push pushes a message or event of one of the account's users, as [Account.MessageXML] makes them, to whoever receives
// it: the component that was authorized last of those with a message URL, or else the account's own message URL. With
// neither, nothing is pushed and the result has no Attempts.
func (a *Account) Push(ctx context.Context, xml string) (*PushResult, error) {
	a.s.mu.Lock()
	c, own := a.receiver(), a.messageURL
	a.s.mu.Unlock()
	switch {
	case c != nil:
		return c.PushMessage(ctx, a, xml)
	case own != "":
		return a.PushMessage(ctx, xml)
	}
	a.heard(xml)
	return &PushResult{}, nil
}

// receiver is the component that the account's messages go to; nil if there is none. It is called with s.mu held.
func (a *Account) receiver() *Component {
	var last *Component
	for _, c := range a.grants {
		if c.messageURL != "" && (last == nil || c.grants[a.appID].authTime.After(last.grants[a.appID].authTime)) {
			last = c
		}
	}
	return last
}

// Say has u send a text to the account, pushed as [Account.Push] does it. It is an error if u does not follow the
// account; mini programs need not be followed.
func (a *Account) Say(ctx context.Context, u *User, text string) (*PushResult, error) {
	openID, err := a.sender(u)
	if err != nil {
		return nil, err
	}
	return a.Push(ctx, a.TextXML(openID, text, newMsgID(), a.s.Now()))
}

// SayImage has u send a picture to the account, as Say does a text. The account can get it by its MediaId for three days.
func (a *Account) SayImage(ctx context.Context, u *User, filename string, picture []byte) (*PushResult, error) {
	openID, err := a.sender(u)
	if err != nil {
		return nil, err
	}
	a.s.mu.Lock()
	m, err := a.newMedia(imageMedia, filename, picture, temporaryLimits())
	if err == nil {
		a.s.media.put(a.s.Now(), m.id, m, mediaLife)
	}
	a.s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("wechattest: picture: %w", err)
	}
	return a.Push(ctx, a.MessageXML(openID, "image", newMsgID(), a.s.Now(),
		"<PicUrl>"+cdata(a.s.mediaURL(m.id))+"</PicUrl>\n<MediaId>"+cdata(m.id)+"</MediaId>\n"))
}

// sender is the openid of a user who may write to the account.
func (a *Account) sender(u *User) (string, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.openID(u), a.needFollower(u)
}
