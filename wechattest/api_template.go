package wechattest

import (
	"context"
	"fmt"
	"slices"
	"time"
)

func (c *call) listTemplates() (any, error) {
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	type row struct {
		ID      string `json:"template_id"`
		Title   string `json:"title"`
		Primary string `json:"primary_industry"`
		Deputy  string `json:"deputy_industry"`
		Content string `json:"content"`
		Example string `json:"example"`
	}
	rows := []row{}
	for _, t := range a.templates {
		rows = append(rows, row{t.ID, t.Title, t.PrimaryIndustry, t.DeputyIndustry, t.Content, t.Example})
	}
	return map[string]any{"template_list": rows}, nil
}

func (c *call) deleteTemplate() (any, error) {
	var in struct {
		ID string `json:"template_id"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	i := a.template(in.ID)
	if i < 0 {
		return nil, refuse(40037)
	}
	a.templates = slices.Delete(a.templates, i, i+1)
	return okBody(), nil
}

// addTemplate takes any number of a template in WeChat's library, which is not simulated, and makes a template of the
// keywords that the call names.
func (c *call) addTemplate() (any, error) {
	var in struct {
		Short    string   `json:"template_id_short"`
		Keywords []string `json:"keyword_name_list"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	switch {
	case in.Short == "":
		return nil, misuse(40037, "template_id_short is missing")
	case len(a.templates) >= maxTemplates:
		return nil, refuse(45026)
	}
	t := Template{ID: newTemplateID(), Title: "模板 " + in.Short, Content: "{{first.DATA}}\n{{remark.DATA}}"}
	if len(in.Keywords) > 0 {
		t.Content = ""
	}
	for i, k := range in.Keywords {
		t.Content += fmt.Sprintf("%s：{{keyword%d.DATA}}\n", k, i+1)
	}
	a.templates = append(a.templates, t)
	return struct {
		errorBody
		ID string `json:"template_id"`
	}{okBody(), t.ID}, nil
}

type templateValue struct {
	Value flexID `json:"value"` // numbers are taken as well
	Color string `json:"color"`
}

// clientMsgLife is how long a client_msg_id keeps a message from being sent again.
const clientMsgLife = 10 * time.Minute

// sendTemplate shows the message to the user and reports in the background that it arrived.
func (c *call) sendTemplate() (any, error) {
	var in struct {
		ToUser      string `json:"touser"`
		TemplateID  string `json:"template_id"`
		URL         string `json:"url"`
		MiniProgram *struct {
			AppID    string `json:"appid"`
			PagePath string `json:"pagepath"`
		} `json:"miniprogram"`
		ClientMsgID string                   `json:"client_msg_id"`
		Data        map[string]templateValue `json:"data"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	a, err := c.officialAccount()
	if err != nil {
		return nil, err
	}
	switch {
	case in.ToUser == "":
		return nil, misuse(40003, "touser is missing")
	case in.TemplateID == "":
		return nil, misuse(40037, "template_id is missing")
	case in.Data == nil:
		return nil, misuse(47001, "data is missing")
	case a.openIDs[in.ToUser] == nil && a.contacts[in.ToUser] == nil:
		return nil, refuse(40003)
	case a.follows[in.ToUser] == nil:
		return nil, refuse(43004)
	case a.template(in.TemplateID) < 0:
		return nil, refuse(40037)
	case in.MiniProgram != nil && in.MiniProgram.AppID == "":
		return nil, refuse(40013)
	}
	type sent struct {
		errorBody
		MsgID int64 `json:"msgid"`
	}
	key := a.appID + "\n" + in.ToUser + "\n" + in.ClientMsgID
	if old := c.clientMsgs.get(key); in.ClientMsgID != "" && old != nil && !old.expired(c.Now()) {
		return sent{okBody(), old.value}, nil // what WeChat answers to a message that it keeps back is not documented
	}
	id := newNumber()
	if in.ClientMsgID != "" {
		c.clientMsgs.put(c.Now(), key, id, clientMsgLife)
	}
	t := a.templates[a.template(in.TemplateID)]
	a.say(Line{OpenID: in.ToUser, Via: ViaTemplate, MsgType: "template", Text: t.fill(in.Data), Raw: c.body,
		Articles: []Article{{Title: t.Title, URL: in.URL}}})
	xml := a.MessageXML(in.ToUser, "event", 0, c.Now(), fmt.Sprintf(
		"<Event>%s</Event>\n<MsgID>%d</MsgID>\n<Status>%s</Status>\n", cdata("TEMPLATESENDJOBFINISH"), id, cdata("success")))
	// Server.mu is held, so the goroutine that asks for it cannot be begun by this one.
	go c.background(func(ctx context.Context) { a.Push(ctx, xml) })
	return sent{okBody(), id}, nil
}
