package wechatopen

import (
	"bytes"
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Reply is an answer to a message, shown to the user who sent it. Make one with [Text], [Image], [Voice], [Video],
// [Music], [News] or [TransferCustomerService].
//
// Source: "Passive user replies" of WeChat's documentation.
type Reply interface {
	// body writes MsgType and what belongs to it.
	body(w *replyWriter)
}

// Text replies with a text. What XML cannot carry is replaced by U+FFFD.
func Text(content string) Reply {
	return replyFunc(func(w *replyWriter) {
		w.text("MsgType", "text")
		w.text("Content", content)
	})
}

// Image replies with a picture that was uploaded as media.
func Image(mediaID string) Reply { return mediaReply("image", "Image", mediaID) }

// Voice replies with a recording that was uploaded as media.
func Voice(mediaID string) Reply { return mediaReply("voice", "Voice", mediaID) }

func mediaReply(msgType, element, mediaID string) Reply {
	return replyFunc(func(w *replyWriter) {
		w.text("MsgType", msgType)
		w.open(element)
		w.text("MediaId", mediaID)
		w.close(element)
	})
}

// Video replies with a video that was uploaded as media. title and description may be empty.
func Video(mediaID, title, description string) Reply {
	return replyFunc(func(w *replyWriter) {
		w.text("MsgType", "video")
		w.open("Video")
		w.text("MediaId", mediaID)
		w.optional("Title", title)
		w.optional("Description", description)
		w.close("Video")
	})
}

// MusicReply is a piece of music for [Music].
type MusicReply struct {
	ThumbMediaID string // cover, uploaded as media; required
	Title        string // may be empty, as all that follow
	Description  string
	URL          string
	HQURL        string // for better connections
}

// Music replies with a piece of music.
func Music(m MusicReply) Reply {
	return replyFunc(func(w *replyWriter) {
		w.text("MsgType", "music")
		w.open("Music")
		w.optional("Title", m.Title)
		w.optional("Description", m.Description)
		w.optional("MusicUrl", m.URL)
		w.optional("HQMusicUrl", m.HQURL)
		w.text("ThumbMediaId", m.ThumbMediaID)
		w.close("Music")
	})
}

// Article is an entry of [News].
type Article struct{ Title, Description, PicURL, URL string }

// News replies with articles. WeChat shows one in reply to a message of a user, more in reply to some events.
func News(articles ...Article) Reply {
	return replyFunc(func(w *replyWriter) {
		w.text("MsgType", "news")
		w.number("ArticleCount", int64(len(articles)))
		w.open("Articles")
		for _, a := range articles {
			w.open("item")
			w.text("Title", a.Title)
			w.text("Description", a.Description)
			w.text("PicUrl", a.PicURL)
			w.text("Url", a.URL)
			w.close("item")
		}
		w.close("Articles")
	})
}

// TransferCustomerService hands the conversation to WeChat's customer service: to the named agent, "name@account", or to
// any if account is empty.
func TransferCustomerService(account string) Reply {
	return replyFunc(func(w *replyWriter) {
		w.text("MsgType", "transfer_customer_service")
		if account != "" {
			w.open("TransInfo")
			w.text("KfAccount", account)
			w.close("TransInfo")
		}
	})
}

type replyFunc func(w *replyWriter)

func (f replyFunc) body(w *replyWriter) { f(w) }

// emptyReply is answered with no body at all, which the release test asks for, and goes on when that is sent.
type emptyReply struct {
	after func(ctx context.Context) error
}

func (emptyReply) body(*replyWriter) {}

// replyXML is the reply to m in the clear.
func replyXML(m *Message, r Reply, now time.Time) []byte {
	w := &replyWriter{}
	w.open("xml")
	w.text("ToUserName", m.FromUserName)
	w.text("FromUserName", m.ToUserName)
	w.number("CreateTime", now.Unix())
	r.body(w)
	w.close("xml")
	return w.buf.Bytes()
}

// replyWriter writes the XML of replies.
type replyWriter struct{ buf bytes.Buffer }

func (w *replyWriter) open(name string)  { w.buf.WriteString("<" + name + ">") }
func (w *replyWriter) close(name string) { w.buf.WriteString("</" + name + ">") }

func (w *replyWriter) number(name string, n int64) { w.raw(name, strconv.FormatInt(n, 10)) }

// raw writes a value that needs no escaping.
func (w *replyWriter) raw(name, value string) {
	w.open(name)
	w.buf.WriteString(value)
	w.close(name)
}

func (w *replyWriter) optional(name, value string) {
	if value != "" {
		w.text(name, value)
	}
}

func (w *replyWriter) text(name, value string) {
	w.open(name)
	w.buf.WriteString("<![CDATA[")
	w.buf.WriteString(cdata.Replace(xmlChars(value)))
	w.buf.WriteString("]]>")
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
