package wechatopen

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Reply is an answer to a message, shown to the user who sent it. Make one with [Text], [Image], [Voice], [Video],
// [Music], [News] or [TransferCustomerService]. [Account.Send] sends it later, as a customer-service message.
//
// Source: "Passive user replies" of WeChat's documentation.
type Reply interface {
	CustomMessage
	// body writes what belongs to MsgType.
	body(w *replyWriter)
}

// Text replies with a text. What XML cannot carry is replaced by U+FFFD.
func Text(content string) Reply { return textReply{content} }

type textReply struct {
	Content string `json:"content"`
}

func (textReply) kind() string          { return "text" }
func (r textReply) body(w *replyWriter) { w.text("Content", r.Content) }

// Image replies with a picture that was uploaded as media.
func Image(mediaID string) Reply { return imageReply{mediaID} }

type imageReply struct {
	MediaID string `json:"media_id"`
}

func (imageReply) kind() string          { return "image" }
func (r imageReply) body(w *replyWriter) { w.media("Image", r.MediaID) }

// Voice replies with a recording that was uploaded as media.
func Voice(mediaID string) Reply { return voiceReply{mediaID} }

type voiceReply struct {
	MediaID string `json:"media_id"`
}

func (voiceReply) kind() string          { return "voice" }
func (r voiceReply) body(w *replyWriter) { w.media("Voice", r.MediaID) }

// Video replies with a video that was uploaded as media. title and description may be empty.
func Video(mediaID, title, description string) Reply { return videoReply{mediaID, title, description} }

type videoReply struct {
	MediaID     string `json:"media_id"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
}

func (videoReply) kind() string { return "video" }
func (r videoReply) body(w *replyWriter) {
	w.open("Video")
	w.text("MediaId", r.MediaID)
	w.optional("Title", r.Title)
	w.optional("Description", r.Description)
	w.close("Video")
}

// MusicReply is a piece of music for [Music].
type MusicReply struct {
	ThumbMediaID string `json:"thumb_media_id"`  // cover, uploaded as media; required
	Title        string `json:"title,omitempty"` // may be empty, as all that follow
	Description  string `json:"description,omitempty"`
	URL          string `json:"musicurl,omitempty"`
	HQURL        string `json:"hqmusicurl,omitempty"` // for better connections
}

// Music replies with a piece of music.
func Music(m MusicReply) Reply { return musicReply(m) }

type musicReply MusicReply

func (musicReply) kind() string { return "music" }
func (r musicReply) body(w *replyWriter) {
	w.open("Music")
	w.optional("Title", r.Title)
	w.optional("Description", r.Description)
	w.optional("MusicUrl", r.URL)
	w.optional("HQMusicUrl", r.HQURL)
	w.text("ThumbMediaId", r.ThumbMediaID)
	w.close("Music")
}

// Article is an entry of [News].
type Article struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	PicURL      string `json:"picurl"`
	URL         string `json:"url"`
}

// News replies with articles. WeChat shows one in reply to a message of a user, more in reply to some events.
func News(articles ...Article) Reply { return newsReply{articles} }

type newsReply struct {
	Articles []Article `json:"articles"`
}

func (newsReply) kind() string { return "news" }
func (r newsReply) body(w *replyWriter) {
	w.number("ArticleCount", int64(len(r.Articles)))
	w.open("Articles")
	for _, a := range r.Articles {
		w.open("item")
		w.text("Title", a.Title)
		w.text("Description", a.Description)
		w.text("PicUrl", a.PicURL)
		w.text("Url", a.URL)
		w.close("item")
	}
	w.close("Articles")
}

// TransferCustomerService hands the conversation to WeChat's customer service: to the named agent, "name@account", or to
// any if account is empty. It answers a message only; [Account.Send] refuses it.
func TransferCustomerService(account string) Reply { return transferReply{account} }

type transferReply struct{ account string }

func (transferReply) kind() string { return kindTransfer }
func (r transferReply) body(w *replyWriter) {
	if r.account != "" {
		w.open("TransInfo")
		w.text("KfAccount", r.account)
		w.close("TransInfo")
	}
}

const kindTransfer = "transfer_customer_service"

// emptyReply is answered with no body at all, which the release test asks for, and goes on when that is sent.
type emptyReply struct {
	after func(ctx context.Context) error
}

func (emptyReply) kind() string      { return "" }
func (emptyReply) body(*replyWriter) {}

// appendReply appends the reply to m in the clear.
func appendReply(dst []byte, m *Message, r Reply, now time.Time) []byte {
	w := &replyWriter{buf: dst}
	w.open("xml")
	w.text("ToUserName", m.FromUserName)
	w.text("FromUserName", m.ToUserName)
	w.number("CreateTime", now.Unix())
	w.text("MsgType", r.kind())
	r.body(w)
	w.close("xml")
	return w.buf
}

// replyWriter writes the XML of replies.
type replyWriter struct{ buf []byte }

func (w *replyWriter) write(parts ...string) {
	for _, p := range parts {
		w.buf = append(w.buf, p...)
	}
}

func (w *replyWriter) open(name string)  { w.write("<", name, ">") }
func (w *replyWriter) close(name string) { w.write("</", name, ">") }

func (w *replyWriter) number(name string, n int64) { w.raw(name, strconv.FormatInt(n, 10)) }

// raw writes a value that needs no escaping.
func (w *replyWriter) raw(name, value string) {
	w.open(name)
	w.write(value)
	w.close(name)
}

func (w *replyWriter) media(element, mediaID string) {
	w.open(element)
	w.text("MediaId", mediaID)
	w.close(element)
}

func (w *replyWriter) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *replyWriter) text(name, value string) {
	if strings.Contains(value, "]]>") || !isTextXML([]byte(value)) {
		value = cdata.Replace(xmlChars(value))
	}
	w.open(name)
	w.write("<![CDATA[", value, "]]>")
	w.close(name)
}

// cdata divides what would end a CDATA section between two, and takes out carriage returns, which a parser turns into line
// feeds.
var cdata = strings.NewReplacer("]]>", "]]]]><![CDATA[>", "\r", "]]>&#13;<![CDATA[")

// xmlChars replaces what XML 1.0 cannot hold.
func xmlChars(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r', r >= 0x20 && r <= 0xd7ff, r >= 0xe000 && r <= 0xfffd && r != utf8.RuneError, r >= 0x10000:
			return r
		}
		return utf8.RuneError
	}, s)
}
