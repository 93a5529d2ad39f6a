package wechatopen

import "context"

// CustomMessage is a message to a user outside of a reply (客服消息): every [Reply] but [TransferCustomerService], or one
// of [MPNews], [MPArticle], [Card], [CustomVideo], [MiniProgramPage], [Link] and [MessageMenu]. Its JSON is the object
// that WeChat wants beside msgtype; [CustomKind] makes one of any other kind.
type CustomMessage interface {
	kind() string
}

// Send sends a customer-service message to a user who wrote to the account in the last 48 hours, or who followed it,
// scanned its code or tapped its menu in the last minute. Errcode 45015: too late; 45047: too many since the user was
// last heard of. WeChat's page: message/custom/send.
func (a *Account) Send(ctx context.Context, openID string, m CustomMessage) error {
	return a.send(ctx, openID, "", m)
}

// SendAs is [Account.Send] in the name of a customer-service agent, "name@account".
func (a *Account) SendAs(ctx context.Context, agent, openID string, m CustomMessage) error {
	return a.send(ctx, openID, agent, m)
}

func (a *Account) send(ctx context.Context, openID, agent string, m CustomMessage) error {
	kind := ""
	if m != nil {
		kind = m.kind()
	}
	switch kind {
	case "":
		return errorf("customer-service message: nothing to send")
	case "touser", "msgtype", "customservice":
		return errorf("customer-service message: %s is no kind of message", kind)
	case kindTransfer:
		return errorf("customer-service message: %s answers a message and cannot be sent", kind)
	}
	in := map[string]any{"touser": openID, "msgtype": kind, kind: m}
	if agent != "" {
		in["customservice"] = map[string]string{"kf_account": agent}
	}
	return a.Post(ctx, "/cgi-bin/message/custom/send", in, nil)
}

// MPNews sends a set of articles (图文消息) that was uploaded as media.
func MPNews(mediaID string) CustomMessage {
	return CustomKind("mpnews", map[string]string{"media_id": mediaID})
}

// MPArticle sends a published article (发布能力).
func MPArticle(articleID string) CustomMessage {
	return CustomKind("mpnewsarticle", map[string]string{"article_id": articleID})
}

// Card sends a card or coupon.
func Card(cardID string) CustomMessage {
	return CustomKind("wxcard", map[string]string{"card_id": cardID})
}

// CustomVideo is a [Video] with a cover, which WeChat's documentation wants of one that is no reply.
type CustomVideo struct {
	MediaID      string `json:"media_id"`
	ThumbMediaID string `json:"thumb_media_id"`  // cover, uploaded as media
	Title        string `json:"title,omitempty"` // may be empty, as Description
	Description  string `json:"description,omitempty"`
}

func (CustomVideo) kind() string { return "video" }

// MiniProgramPage sends a page of a mini program that is bound to the account.
type MiniProgramPage struct {
	Title        string `json:"title"`
	AppID        string `json:"appid,omitempty"` // empty for a mini program that sends its own
	PagePath     string `json:"pagepath"`
	ThumbMediaID string `json:"thumb_media_id"` // picture, uploaded as media
}

func (MiniProgramPage) kind() string { return "miniprogrampage" }

// Link sends a link; only mini programs can.
type Link struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	ThumbURL    string `json:"thumb_url"`
}

func (Link) kind() string { return "link" }

// MessageMenu asks the user to choose. What the user taps comes back as a text message with Content its text, and with
// its id in the element bizmsgmenuid, which [Message.Decode] reads.
type MessageMenu struct {
	Head  string              `json:"head_content"`
	Items []MessageMenuChoice `json:"list"`
	Tail  string              `json:"tail_content"`
}

// MessageMenuChoice is one of a [MessageMenu].
type MessageMenuChoice struct {
	ID      string `json:"id"`
	Content string `json:"content"`
}

func (MessageMenu) kind() string { return "msgmenu" }

// CustomKind makes a message of any kind: content is the JSON object that WeChat wants under the kind's name.
func CustomKind(msgType string, content any) CustomMessage { return customKind{msgType, content} }

type customKind struct {
	msgType string
	content any
}

func (c customKind) kind() string { return c.msgType }

// MarshalJSON is that of the content.
func (c customKind) MarshalJSON() ([]byte, error) { return encodeJSON(c.content) }
