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

// kind is what a [Trace] is told of the message.
func (m *Message) kind() string {
	if m.Event == "" {
		return m.MsgType
	}
	return m.MsgType + "/" + m.Event
}

func (m *Message) isEvent() bool { return strings.EqualFold(m.MsgType, "event") }

func parseMessage(appID string, raw []byte) (*Message, error) {
	x, err := parseXML(raw, make(element, 0, 12))
	if err != nil {
		return nil, err
	}
	m := &Message{AppID: appID, Raw: raw}
	var at, sent struct{ latitude, longitude float64 } // where the user is, and what a location message is about
	var reason string
	for i := len(x) - 1; i > 0; i-- { // backwards: of two with one name the first counts
		n := &x[i]
		if n.depth != 1 {
			continue
		}
		switch string(n.name) {
		case "ToUserName":
			m.ToUserName = n.string()
		case "FromUserName":
			m.FromUserName = n.string()
		case "CreateTime":
			m.CreateTime = n.time()
		case "MsgType":
			m.MsgType = n.string()
		case "MsgId":
			m.MsgID = n.int()
		case "Content":
			m.Content = string(n.text) // spaces are the user's
		case "MediaId":
			m.MediaID = n.string()
		case "PicUrl":
			m.PicURL = n.string()
		case "Format":
			m.Format = n.string()
		case "Recognition":
			m.Recognition = n.string()
		case "ThumbMediaId":
			m.ThumbMediaID = n.string()
		case "Latitude":
			at.latitude = n.float()
		case "Longitude":
			at.longitude = n.float()
		case "Precision":
			m.Precision = n.float()
		case "Location_X":
			sent.latitude = n.float()
		case "Location_Y":
			sent.longitude = n.float()
		case "Scale":
			m.Scale = int(n.int())
		case "Label":
			m.Label = n.string()
		case "Title":
			m.Title = n.string()
		case "Description":
			m.Description = n.string()
		case "Url":
			m.URL = n.string()
		case "Event":
			m.Event = n.string()
		case "EventKey":
			m.EventKey = n.string()
		case "Ticket":
			m.Ticket = n.string()
		case "Status":
			m.Status = n.string()
		case "MsgID":
			m.SentMsgID = n.int()
		case "TotalCount":
			m.TotalCount = int(n.int())
		case "FilterCount":
			m.FilterCount = int(n.int())
		case "SentCount":
			m.SentCount = int(n.int())
		case "ErrorCount":
			m.ErrorCount = int(n.int())
		case "Reason":
			m.Reason = n.string()
		case "reason":
			reason = n.string()
		}
	}
	m.Reason = firstOf(m.Reason, reason)
	if m.MsgType == "location" {
		at = sent
	}
	m.Latitude, m.Longitude = at.latitude, at.longitude
	return m, nil
}

// MessageFunc answers a message. A nil Reply is answered "success", so that the user sees nothing.
type MessageFunc func(ctx context.Context, m *Message) (Reply, error)
