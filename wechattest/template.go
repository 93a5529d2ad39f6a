package wechattest

import (
	"regexp"
	"slices"
	"strings"
)

// Template is a template of messages that an account has.
type Template struct {
	ID      string // "" made up
	Title   string
	Content string // with {{name.DATA}} where values go
	Example string
	// Industries by which WeChat sorts templates; "" for those that have none.
	PrimaryIndustry, DeputyIndustry string
}

// maxTemplates is how many an account may have.
const maxTemplates = 25

func defaultTemplates() []Template {
	return []Template{
		{
			Title:   "订单支付成功",
			Content: "{{first.DATA}}\n订单编号：{{keyword1.DATA}}\n支付金额：{{keyword2.DATA}}\n{{remark.DATA}}",
			Example: "您好，您的订单已支付成功\n订单编号：2026112200001\n支付金额：￥100.00\n感谢您的惠顾", PrimaryIndustry: "IT科技", DeputyIndustry: "互联网|电子商务",
		},
		{
			Title: "预约提醒", Content: "预约项目：{{thing1.DATA}}\n预约时间：{{time2.DATA}}",
			Example: "预约项目：体检\n预约时间：2026年11月22日 10:00",
		},
	}
}

// withIDs copies templates and makes up the ids that are missing.
func withIDs(templates []Template) []Template {
	out := slices.Clone(templates)
	for i := range out {
		out[i].ID = orElse(out[i].ID, newTemplateID)
	}
	return out
}

// Templates are the account's templates of messages.
func (a *Account) Templates() []Template {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return slices.Clone(a.templates)
}

// template is called with s.mu held; -1 if there is none.
func (a *Account) template(id string) int {
	return slices.IndexFunc(a.templates, func(t Template) bool { return t.ID == id })
}

var templateField = regexp.MustCompile(`\{\{\s*(\w+)\.DATA\s*\}\}`)

// fill puts values into the template. A field without a value is shown empty.
func (t Template) fill(data map[string]templateValue) string {
	return strings.TrimSpace(templateField.ReplaceAllStringFunc(t.Content, func(field string) string {
		return string(data[templateField.FindStringSubmatch(field)[1]].Value)
	}))
}
