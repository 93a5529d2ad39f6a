package wechatopen

import (
	"context"
	"encoding/xml"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Message is what a user sends to an account, or an event of the account: an element that a kind does not have leaves
// its field at the zero value. Raw holds the whole decrypted XML, for [Message.Decode] and for kinds without fields.
// It prints and logs without its content.
//
// Source: "Receiving standard messages" and "Receiving event pushes" of WeChat's documentation.
type Message struct {
	AppID        string // the account it was sent to
	ToUserName   string // the account's original id, gh_…
	FromUserName string // the user's openid at the account
	CreateTime   time.Time
	MsgType      string // "text", "image", "voice", "video", "shortvideo", "location", "link", "event", …
	MsgID        int64  // 0 for events

	Content string // text

	MediaID      string // image, voice, video, shortvideo
	PicURL       string // image
	Format       string // voice: "amr", "speex"
	Recognition  string // voice, if speech recognition is on
	ThumbMediaID string // video, shortvideo

	Latitude, Longitude float64 // location, and event LOCATION
	Precision           float64 // event LOCATION
	Scale               int     // location
	Label               string  // location

	Title, Description, URL string // link

	Event    string // event: "subscribe", "unsubscribe", "SCAN", "LOCATION", "CLICK", "VIEW", …
	EventKey string // CLICK: the button's key; VIEW: its address; SCAN: the scene; subscribe: "qrscene_" and the scene
	Ticket   string // SCAN, and subscribe by a scene: of the QR code

	// Status is the outcome in TEMPLATESENDJOBFINISH ("success", …) and MASSSENDJOBFINISH ("send success", …).
	Status    string
	SentMsgID int64 // the same two: what the call that sent it returned as msgid
	// MASSSENDJOBFINISH: numbers of users.
	TotalCount, FilterCount, SentCount, ErrorCount int

	// Reason says why, in weapp_audit_fail, weapp_audit_delay and wxa_nickname_audit.
	Reason string

	Raw []byte
}

// String names the message without its content.
func (m Message) String() string {
	s := "{" + m.AppID + " " + m.MsgType
	if m.Event != "" {
		s += " " + m.Event
	}
	if m.MsgID != 0 {
		s += " " + strconv.FormatInt(m.MsgID, 10)
	}
	return s + " from " + m.FromUserName + "}"
}

// GoString keeps the content out of %#v.
func (m Message) GoString() string { return "wechatopen.Message" + m.String() }

// LogValue keeps the content out of [log/slog].
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// Decode reads the message into a struct of your own, by the rules of [encoding/xml].
func (m *Message) Decode(v any) error {
	if err := xml.Unmarshal(m.Raw, v); err != nil {
		return errorf("message: does not decode into %T", v)
	}
	return nil
}

// key is what a [MessageMux] routes by within a type.
func (m *Message) key() (event, key string) {
	if m.isEvent() {
		return m.Event, m.EventKey
	}
	return "", m.Content
}

func (m *Message) isEvent() bool { return strings.EqualFold(m.MsgType, "event") }

func parseMessage(appID string, raw []byte) (*Message, error) {
	x, err := parseXML(raw)
	if err != nil {
		return nil, err
	}
	m := &Message{
		AppID: appID, ToUserName: x.get("ToUserName"), FromUserName: x.get("FromUserName"), CreateTime: x.time("CreateTime"),
		MsgType: x.get("MsgType"), MsgID: x.int("MsgId"),
		Content: string(x.child("Content").text), // spaces are the user's
		MediaID: x.get("MediaId"), PicURL: x.get("PicUrl"), Format: x.get("Format"), Recognition: x.get("Recognition"), ThumbMediaID: x.get("ThumbMediaId"),
		Scale: int(x.int("Scale")), Label: x.get("Label"),
		Title: x.get("Title"), Description: x.get("Description"), URL: x.get("Url"),
		Event: x.get("Event"), EventKey: x.get("EventKey"), Ticket: x.get("Ticket"),
		Status: x.get("Status"), SentMsgID: x.int("MsgID"),
		TotalCount: int(x.int("TotalCount")), FilterCount: int(x.int("FilterCount")), SentCount: int(x.int("SentCount")), ErrorCount: int(x.int("ErrorCount")),
		Reason: firstOf(x.get("Reason"), x.get("reason")),
		Raw:    raw,
	}
	m.Latitude, m.Longitude, m.Precision = x.float("Latitude"), x.float("Longitude"), x.float("Precision")
	if m.MsgType == "location" {
		m.Latitude, m.Longitude = x.float("Location_X"), x.float("Location_Y")
	}
	return m, nil
}

// MessageFunc answers a message. A nil Reply is answered "success", so that the user sees nothing.
type MessageFunc func(ctx context.Context, m *Message) (Reply, error)
