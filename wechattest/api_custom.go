package wechattest

import (
	"encoding/json"
)

// maxText is the largest text of a customer-service message, in bytes.
const maxText = 2048

// customContent is the object that msgtype names, of all kinds in one.
type customContent struct {
	Content string `json:"content"`

	MediaID      string `json:"media_id"`
	ThumbMediaID string `json:"thumb_media_id"`
	Title        string `json:"title"`
	Description  string `json:"description"`
	MusicURL     string `json:"musicurl"`
	HQMusicURL   string `json:"hqmusicurl"`

	Articles []struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		URL         string `json:"url"`
		PicURL      string `json:"picurl"`
	} `json:"articles"`
	ArticleID string `json:"article_id"`
	CardID    string `json:"card_id"`

	Head string `json:"head_content"`
	List []struct {
		ID      flexID `json:"id"`
		Content string `json:"content"`
	} `json:"list"`
	Tail string `json:"tail_content"`

	AppID    string `json:"appid"`
	PagePath string `json:"pagepath"`
	URL      string `json:"url"`
	ThumbURL string `json:"thumb_url"`
}

// line checks the fields that a kind needs and makes of them what the user sees. It is called with s.mu held.
func (in *customContent) line(a *Account, kind string) (l Line, err error) {
	l = Line{MsgType: kind, Via: ViaCustom, MediaID: in.MediaID}
	media := func(id string, kinds ...mediaKind) {
		switch {
		case err != nil:
		case id == "":
			err = misuse(41006, kind+" lacks a media id")
		case a.findMedia(id, kinds...) == nil:
			err = refuse(40007)
		}
	}
	need := func(v, name string) {
		if err == nil && v == "" {
			err = misuse(40097, kind+"."+name+" is missing")
		}
	}
	switch kind {
	case "text":
		l.Text = in.Content
		switch {
		case in.Content == "":
			err = misuse(44004, "text.content is missing")
		case len(in.Content) > maxText:
			err = refuse(45002)
		}
	case "image":
		media(in.MediaID, imageMedia)
	case "voice":
		media(in.MediaID, voiceMedia)
	case "video":
		l.Text = in.Title
		media(in.MediaID, videoMedia)
		media(in.ThumbMediaID, thumbMedia, imageMedia)
	case "music":
		l.MediaID, l.Articles = in.ThumbMediaID, []Article{{in.Title, in.Description, "", in.MusicURL}}
		need(in.MusicURL, "musicurl")
		need(in.HQMusicURL, "hqmusicurl")
		media(in.ThumbMediaID, thumbMedia, imageMedia)
	case "news":
		switch len(in.Articles) {
		case 0:
			err = misuse(44003, "news.articles is empty")
		case 1:
			it := in.Articles[0]
			l.Articles = []Article{{it.Title, it.Description, it.PicURL, it.URL}}
		default:
			err = refuse(45008) // one since 2018
		}
	case "mpnews": // sets of articles are not simulated: any media_id is one
		if in.MediaID == "" {
			err = misuse(41006, "mpnews.media_id is missing")
		}
	case "mpnewsarticle":
		l.Text = in.ArticleID
		need(in.ArticleID, "article_id")
	case "msgmenu":
		l.Text = in.Head + "\n" + in.Tail
		if len(in.List) == 0 {
			err = misuse(40097, "msgmenu.list is empty")
		}
		for _, it := range in.List {
			need(string(it.ID), "list.id")
			need(it.Content, "list.content")
			l.Choices = append(l.Choices, Choice{string(it.ID), it.Content})
		}
	case "wxcard":
		l.Text = in.CardID
		need(in.CardID, "card_id")
	case "miniprogrampage":
		l.MediaID, l.Articles = in.ThumbMediaID, []Article{{in.Title, in.PagePath, "", ""}}
		need(in.Title, "title")
		need(in.PagePath, "pagepath")
		if !a.cfg.MiniProgram {
			need(in.AppID, "appid")
		}
		media(in.ThumbMediaID, thumbMedia, imageMedia)
	case "link": // documented for mini programs alone; what an official account is answered is not
		l.Articles = []Article{{in.Title, in.Description, in.ThumbURL, in.URL}}
		need(in.Title, "title")
		need(in.URL, "url")
	default:
		err = misuse(40008, "msgtype "+kind+" is none that is documented")
	}
	return l, err
}

// customSend shows a message to a user whom the account may write to.
func (c *call) customSend() (any, error) {
	var in map[string]json.RawMessage
	if err := c.in(&in); err != nil {
		return nil, err
	}
	var to, kind string
	json.Unmarshal(in["touser"], &to)
	json.Unmarshal(in["msgtype"], &kind)
	switch {
	case to == "":
		return nil, misuse(40003, "touser is missing")
	case kind == "" || in[kind] == nil:
		return nil, misuse(40008, "msgtype is missing, or the object that it names")
	}
	var content customContent
	if err := json.Unmarshal(in[kind], &content); err != nil {
		return nil, misuse(47001, kind+" is not the object that is documented: "+err.Error())
	}
	a := c.token.account
	l, err := content.line(a, kind)
	if err != nil {
		return nil, err
	}
	if err := a.spendWindow(to); err != nil {
		return nil, err
	}
	l.OpenID, l.Raw = to, c.body
	a.say(l)
	return okBody(), nil
}

// customTyping takes "Typing" and "CancelTyping", and shows nothing.
func (c *call) customTyping() (any, error) {
	var in struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a := c.token.account
	switch {
	case in.ToUser == "":
		return nil, misuse(40003, "touser is missing")
	case in.Command != "Typing" && in.Command != "CancelTyping":
		return nil, misuse(45072, "command is neither Typing nor CancelTyping")
	case a.contacts[in.ToUser] == nil && a.openIDs[in.ToUser] == nil:
		return nil, refuse(40003)
	}
	return okBody(), nil
}
