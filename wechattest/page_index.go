package wechattest

import "net/url"

// indexPage lists what there is and what happened.
func (c *call) indexPage() reply {
	type componentRow struct{ AppID, EventURL, MessageURL, Domain, Ticket string }
	var components []componentRow
	c.mu.Lock()
	for _, k := range c.compOrder[:min(len(c.compOrder), maxListed)] {
		row := componentRow{AppID: k.appID, EventURL: k.eventURL, MessageURL: k.messageURL, Domain: k.domain}
		if n := len(k.tickets); n > 0 {
			row.Ticket = k.tickets[n-1].created.In(beijing()).Format("15:04:05")
		}
		components = append(components, row)
	}
	accounts := c.accountOrder[:min(len(c.accountOrder), maxListed)]
	c.mu.Unlock()
	calls := c.journal.newest(50)
	for i := range calls {
		calls[i].Time = calls[i].Time.In(beijing())
	}
	return c.render("index.html", "微信模拟器 WeChat simulator", pageData{Data: map[string]any{
		"Now": c.Now().In(beijing()).Format("2006-01-02 15:04:05"), "Components": components, "Accounts": accounts,
		"Calls": calls,
	}})
}

// pushTicketPage is the button of the index page.
func (c *call) pushTicketPage() reply {
	form, _ := url.ParseQuery(string(c.body))
	c.mu.Lock()
	comp := c.components[form.Get("component")]
	c.mu.Unlock()
	if comp == nil {
		return textReply(404, "no such component")
	}
	text := "success"
	if _, err := comp.PushTicket(c.r.Context()); err != nil {
		text = err.Error()
	}
	return c.render("message.html", "推送 ticket Push", pageData{Data: map[string]string{"ZH": "推送结果：", "EN": text}})
}
