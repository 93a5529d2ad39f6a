package wechatopen

import "context"

// Template is a template of messages (模板消息) of an account.
type Template struct {
	ID              string `json:"template_id"`
	Title           string `json:"title"`
	PrimaryIndustry string `json:"primary_industry"`
	DeputyIndustry  string `json:"deputy_industry"`
	Content         string `json:"content"` // with {{name.DATA}} where values come
	Example         string `json:"example"`
}

// Templates are those of the account. WeChat's page: get_all_private_template.
func (a *Account) Templates(ctx context.Context) ([]Template, error) {
	var out struct {
		List []Template `json:"template_list"`
	}
	if err := a.Get(ctx, "/cgi-bin/template/get_all_private_template", nil, &out); err != nil {
		return nil, err
	}
	return out.List, nil
}

// DeleteTemplate takes a template from the account. WeChat's page: del_private_template.
func (a *Account) DeleteTemplate(ctx context.Context, id string) error {
	return a.Post(ctx, "/cgi-bin/template/del_private_template", map[string]string{"template_id": id}, nil)
}

// TemplateMessage is a message made from a template.
type TemplateMessage struct {
	ToUser      string                   `json:"touser"` // openid
	TemplateID  string                   `json:"template_id"`
	URL         string                   `json:"url,omitempty"`           // where a tap leads; empty: nowhere
	MiniProgram *TemplateMiniProgram     `json:"miniprogram,omitempty"`   // comes before URL; nil: none
	ClientMsgID string                   `json:"client_msg_id,omitempty"` // the same one is sent once in ten minutes; empty: always
	Data        map[string]TemplateValue `json:"data"`                    // by the names in the template; nil: it has none
}

// TemplateMiniProgram is where a tap on a template message leads.
type TemplateMiniProgram struct {
	AppID    string `json:"appid"`
	PagePath string `json:"pagepath,omitempty"` // empty: its home page
}

// TemplateValue is what comes in the place of a name of a template.
type TemplateValue struct {
	Value string `json:"value"`
	Color string `json:"color,omitempty"` // "#173177"; empty: black
}

// SendTemplate sends a message to a follower, errcode 43004 to anyone else: see [Account.Follows]. Whether it arrived, an
// event TEMPLATESENDJOBFINISH says, whose SentMsgID is msgID. WeChat's page: message/template/send.
func (a *Account) SendTemplate(ctx context.Context, m *TemplateMessage) (msgID int64, err error) {
	var out struct {
		MsgID Int `json:"msgid"`
	}
	in := *m
	if in.Data == nil {
		in.Data = map[string]TemplateValue{} // WeChat wants an object
	}
	err = a.Post(ctx, "/cgi-bin/message/template/send", in, &out)
	return int64(out.MsgID), err
}
