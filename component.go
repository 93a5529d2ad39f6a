package wechatopen

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

const (
	pathGetOption = "/cgi-bin/component/get_authorizer_option"
	pathSetOption = "/cgi-bin/component/set_authorizer_option"
)

// codeNeedsComponentToken is WeChat's answer to an authorizer's token where it wants the component's.
const codeNeedsComponentToken = 61014

// StartPushTicket asks WeChat to push verify tickets (again), which it does at once. It needs no token, and may be
// called to see whether the component's appid and secret are right. WeChat's page: api_start_push_ticket.
func (p *Platform) StartPushTicket(ctx context.Context) error {
	return p.c.post(ctx, p.creds.AppID, "/cgi-bin/component/api_start_push_ticket", nil, map[string]string{
		"component_appid":  p.creds.AppID,
		"component_secret": p.creds.AppSecret, // spelled so here, component_appsecret elsewhere
	}, nil)
}

// PreAuthCode opens the authorization page once.
type PreAuthCode struct {
	Code   string
	Expiry time.Time // WeChat's pages say 10 and 30 minutes; this is what it answered
}

// String says that there is a code, not which.
func (c PreAuthCode) String() string {
	return "{pre-auth code …, valid until " + c.Expiry.Format(time.RFC3339) + "}"
}

// GoString keeps the code out of %#v.
func (c PreAuthCode) GoString() string { return "wechatopen.PreAuthCode" + c.String() }

// LogValue keeps the code out of [log/slog].
func (c PreAuthCode) LogValue() slog.Value { return slog.StringValue(c.String()) }

// CreatePreAuthCode gets a code for [Platform.AuthorizeURL]. WeChat's page: api_create_preauthcode.
func (p *Platform) CreatePreAuthCode(ctx context.Context) (*PreAuthCode, error) {
	start := p.c.now()
	var out struct {
		Code      string `json:"pre_auth_code"`
		ExpiresIn Int    `json:"expires_in"`
	}
	err := p.Post(ctx, "/cgi-bin/component/api_create_preauthcode", map[string]string{"component_appid": p.creds.AppID}, &out)
	if err != nil {
		return nil, err
	}
	if out.Code == "" {
		return nil, errorf("/cgi-bin/component/api_create_preauthcode: the answer holds no code")
	}
	return &PreAuthCode{out.Code, start.Add(time.Duration(min(out.ExpiresIn, 86400)) * time.Second)}, nil
}

// AuthorizeLink says what an authorization page asks of a merchant.
type AuthorizeLink struct {
	PreAuthCode string
	RedirectURI string // where the browser comes back to with auth_code and expires_in; on the launch domain
	Phone       bool   // the page that opens inside WeChat, instead of the QR code to scan
	AuthType    int    // as in [AuthorizeHandler]
	BizAppID    string // as in [AuthorizeHandler]
	CategoryIDs []int  // as in [AuthorizeHandler]
}

// String says what is asked for, without the pre-auth code.
func (l AuthorizeLink) String() string { return "{authorize link back to " + l.RedirectURI + "}" }

// GoString keeps the code out of %#v.
func (l AuthorizeLink) GoString() string { return "wechatopen.AuthorizeLink" + l.String() }

// LogValue keeps the code out of [log/slog].
func (l AuthorizeLink) LogValue() slog.Value { return slog.StringValue(l.String()) }

// AuthorizeURL is the address of WeChat's authorization page. WeChat refuses a browser that comes there from anywhere
// but a page of the registered launch domain (授权发起页域名), so link to it from such a page; a redirect from a typed
// address does not work. [AuthorizeHandler] serves that page.
func (p *Platform) AuthorizeURL(l AuthorizeLink) string {
	authType := l.AuthType
	if authType == 0 {
		authType = authTypeBoth
	}
	q := "component_appid=" + p.creds.AppID + "&pre_auth_code=" + escape(l.PreAuthCode) + "&redirect_uri=" + escape(l.RedirectURI) +
		"&auth_type=" + strconv.Itoa(authType)
	if l.BizAppID != "" {
		q += "&biz_appid=" + escape(l.BizAppID)
	}
	if len(l.CategoryIDs) > 0 {
		ids := make([]string, len(l.CategoryIDs))
		for i, id := range l.CategoryIDs {
			ids[i] = strconv.Itoa(id)
		}
		q += "&category_id_list=" + escape(strings.Join(ids, "|"))
	}
	if l.Phone {
		return p.c.endpoints.Open + "/wxaopen/safe/bindcomponent?action=bindcomponent&no_scan=1&" + q + "#wechat_redirect"
	}
	return p.c.endpoints.MP + "/cgi-bin/componentloginpage?" + q
}

// authTypeBoth offers official accounts and mini programs.
const authTypeBoth = 3

// AuthorizerInfo describes an account that authorizes the platform. WeChat sends only part of the fields, by kind of
// account; the others have their zero values. WeChat's page: api_get_authorizer_info.
type AuthorizerInfo struct {
	NickName string `json:"nick_name"`
	HeadImg  string `json:"head_img"` // URL
	// ServiceType is 0 for a subscription account or an ordinary mini program, 1 for an old upgraded subscription
	// account, 2 for a service account, 4 mini game, 10 mini shop, 12 trial mini program, 2 or 3 store mini program.
	ServiceType IDName `json:"service_type_info"`
	// VerifyType is -1 if not verified, 0 verified by WeChat, 1 by Sina, 3 qualified but the name not yet, 4 the same and
	// by Sina.
	VerifyType    IDName       `json:"verify_type_info"`
	UserName      string       `json:"user_name"` // original id, gh_…
	Alias         string       `json:"alias"`     // may be empty
	QRCodeURL     string       `json:"qrcode_url"`
	BusinessInfo  BusinessInfo `json:"business_info"`
	IDC           Int          `json:"idc"` // obsolete
	PrincipalName string       `json:"principal_name"`
	Signature     string       `json:"signature"`
	// MiniProgram is nil for an official account.
	MiniProgram *MiniProgramInfo `json:"MiniProgramInfo"`
	// RegisterType is 0 ordinary, 2 reusing an official account, 6 by the legal representative's face, 13 trial, 15 union
	// console, 16 personal, 17 personal for trade, 19 trial made formal, 22 reusing a merchant, 23 merchant made formal.
	RegisterType Int `json:"register_type"`
	// AccountStatus is 1 normal, 14 cancelled, 16 banned, 18 warned, 19 frozen.
	AccountStatus Int         `json:"account_status"`
	BasicConfig   BasicConfig `json:"basic_config"`
	// The following are nil but for accounts of that kind.
	Channels *IDName `json:"channels_info"`
	Store    *IDName `json:"store_info"`
	Talent   *IDName `json:"talent_info"`
	Supplier *IDName `json:"supplier_info"`

	Authorization Authorization `json:"-"` // what the account grants
}

// IDName is a kind with its number and, where WeChat sends it, its name.
type IDName struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
}

// ID is an identifier that WeChat sends as a number for some kinds and as a string for others.
type ID string

// Int is the identifier as a number; 0 if it is none.
func (id ID) Int() int { n, _ := strconv.Atoi(string(id)); return n }

// UnmarshalJSON takes a number or a string.
func (id *ID) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return errors.New("neither a number nor a string")
		}
		s = n.String()
	}
	*id = ID(s)
	return nil
}

// BusinessInfo says with 1 what an account has switched on.
type BusinessInfo struct {
	OpenPay   Int `json:"open_pay"`
	OpenShake Int `json:"open_shake"`
	OpenScan  Int `json:"open_scan"`
	OpenCard  Int `json:"open_card"`
	OpenStore Int `json:"open_store"`
}

// BasicConfig says what contact details are set.
type BasicConfig struct {
	IsPhoneConfigured bool `json:"is_phone_configured"`
	IsEmailConfigured bool `json:"is_email_configured"`
}

// MiniProgramInfo is what only a mini program has.
type MiniProgramInfo struct {
	Network     MiniProgramNetwork `json:"network"`
	Categories  []Category         `json:"categories"`
	VisitStatus Int                `json:"visit_status"` // obsolete
}

// MiniProgramNetwork is the domains a mini program may talk to.
type MiniProgramNetwork struct {
	RequestDomain   []string
	WsRequestDomain []string
	UploadDomain    []string
	DownloadDomain  []string
	BizDomain       []string
	UDPDomain       []string
	TCPDomain       []string
}

// Category is a line of business of a mini program.
type Category struct {
	First  string `json:"first"`
	Second string `json:"second"`
}

// authorizerInfoAnswer is what api_get_authorizer_info answers. It holds the refresh token, so it stays in here.
type authorizerInfoAnswer struct {
	Info          AuthorizerInfo `json:"authorizer_info"`
	Authorization struct {
		AppID        string     `json:"authorizer_appid"`
		AppIDOld     string     `json:"authorization_appid"` // in very old samples
		RefreshToken string     `json:"authorizer_refresh_token"`
		FuncInfo     []funcInfo `json:"func_info"`
	} `json:"authorization_info"`
}

func (p *Platform) authorizerInfo(ctx context.Context, appID string) (*authorizerInfoAnswer, error) {
	var out authorizerInfoAnswer
	err := p.Post(ctx, "/cgi-bin/component/api_get_authorizer_info", map[string]string{
		"component_appid":  p.creds.AppID,
		"authorizer_appid": appID,
	}, &out)
	return &out, err
}

// AuthorizerInfo gets the name, the kind and the grants of an account. The error wraps [ErrNotAuthorized] if the account
// does not authorize the platform.
func (p *Platform) AuthorizerInfo(ctx context.Context, appID string) (*AuthorizerInfo, error) {
	out, err := p.authorizerInfo(ctx, appID)
	if hasCode(err, codeNotAuthorizedToComp) {
		return nil, errorf("account %s: %w: %w", appID, ErrNotAuthorized, err)
	}
	if err != nil {
		return nil, err
	}
	auth := out.Authorization
	if auth.AppID == "" {
		auth.AppID = auth.AppIDOld
	}
	out.Info.Authorization = Authorization{AppID: auth.AppID, FuncInfo: funcIDs(auth.FuncInfo), HasToken: auth.RefreshToken != ""}
	return &out.Info, nil
}

// Authorizer is an account in the list of those that authorize the platform.
type Authorizer struct {
	AppID    string
	AuthTime time.Time
	HasToken bool // false: its code was never redeemed, or it grants no API
}

// maxListPage is the most that WeChat returns at once, errcode 40170 beyond.
const maxListPage = 500

// listedAuthorizer is an account in the list with its refresh token, which stays in here.
type listedAuthorizer struct {
	AppID        string `json:"authorizer_appid"`
	RefreshToken string `json:"refresh_token"`
	AuthTime     Int    `json:"auth_time"`
}

// listAuthorizers goes through the whole list. It stops at the first error, which it yields.
func (p *Platform) listAuthorizers(ctx context.Context) iter.Seq2[listedAuthorizer, error] {
	return func(yield func(listedAuthorizer, error) bool) {
		for offset := 0; ; {
			var out struct {
				Total Int                `json:"total_count"`
				List  []listedAuthorizer `json:"list"`
			}
			err := p.Post(ctx, "/cgi-bin/component/api_get_authorizer_list", map[string]any{
				"component_appid": p.creds.AppID,
				"offset":          offset,
				"count":           maxListPage,
			}, &out)
			if err != nil {
				yield(listedAuthorizer{}, err)
				return
			}
			for _, l := range out.List {
				if !yield(l, nil) {
					return
				}
			}
			// Without a total, which ends the list even after a full page, a page that is not full is the last.
			offset += len(out.List)
			if n, total := len(out.List), int(out.Total); n == 0 || offset >= total && (total > 0 || n < maxListPage) {
				return
			}
		}
	}
}

// Authorizers goes through all accounts that authorize the platform, 500 to a call of WeChat. It stops at the first
// error, which it yields. Accounts that come or go meanwhile may be missing or come twice.
// WeChat's page: api_get_authorizer_list.
func (p *Platform) Authorizers(ctx context.Context) iter.Seq2[Authorizer, error] {
	return func(yield func(Authorizer, error) bool) {
		for l, err := range p.listAuthorizers(ctx) {
			if err != nil {
				yield(Authorizer{}, err)
				return
			}
			if !yield(Authorizer{l.AppID, time.Unix(int64(l.AuthTime), 0), l.RefreshToken != ""}, nil) {
				return
			}
		}
	}
}

// AuthorizerOption gets a setting of an account: "location_report" (0 off, 1 on entering the chat, 2 every 5 seconds),
// "voice_recognize" or "customer_service" (0 off, 1 on). Values are strings. WeChat's page: get_authorizer_option.
func (p *Platform) AuthorizerOption(ctx context.Context, appID, name string) (value string, err error) {
	var out struct {
		Value ID `json:"option_value"`
	}
	err = p.option(ctx, pathGetOption, appID, map[string]string{"option_name": name}, &out)
	return string(out.Value), err
}

// SetAuthorizerOption sets what [Platform.AuthorizerOption] gets. WeChat's page: set_authorizer_option.
func (p *Platform) SetAuthorizerOption(ctx context.Context, appID, name, value string) error {
	return p.option(ctx, pathSetOption, appID, map[string]string{"option_name": name, "option_value": value}, nil)
}

// option calls with the authorizer's token, and with the component's if WeChat says so: its pages contradict each other.
func (p *Platform) option(ctx context.Context, path, appID string, in map[string]string, out any) error {
	in["component_appid"], in["authorizer_appid"] = p.creds.AppID, appID
	err := p.Account(appID).Post(ctx, path, in, out)
	if hasCode(err, codeNeedsComponentToken) {
		err = p.Post(ctx, path, in, out)
	}
	return err
}

// ClearQuota sets the day's used calls of the component back to zero. It needs no token, so it helps when no token can be
// had for want of quota. WeChat allows it ten times a month, errcode 48006 after that.
// WeChat's page: component/clear_quota/v2. For an account see [Account.ClearQuota].
func (p *Platform) ClearQuota(ctx context.Context) error {
	in := map[string]string{"component_appid": p.creds.AppID, "appsecret": p.creds.AppSecret}
	err := p.c.post(ctx, p.creds.AppID, "/cgi-bin/component/clear_quota/v2", nil, in, nil)
	if err == nil {
		p.token.retryNow()
		for _, a := range p.accounts.Range {
			a.(*Account).retryNow() // their tokens are fetched on the component's quota
		}
	}
	return err
}
