package wechatopen

import (
	"bytes"
	"context"
	"encoding/json"
)

// Buttons are the buttons of a menu: three at most, each with five at most in its Sub.
type Buttons []Button

// Button is a button of a menu. Which fields it needs depends on its Type; one with Sub has none.
//
// Source: "Creating custom menus" of WeChat's documentation.
type Button struct {
	// Type is "click" (Key), "view" (URL), "miniprogram" (URL, AppID, PagePath), "scancode_push", "scancode_waitmsg",
	// "pic_sysphoto", "pic_photo_or_album", "pic_weixin", "location_select" (Key each), "media_id" (MediaID),
	// "article_id" or "article_view_limited" (ArticleID). A menu made on the console has others too, with a Value.
	Type string `json:"type,omitempty"`
	Name string `json:"name"` // 4 Chinese characters at most, 8 in Sub

	Key       string `json:"key,omitempty"` // comes back as [Message].EventKey; 128 bytes at most
	URL       string `json:"url,omitempty"`
	AppID     string `json:"appid,omitempty"` // of the mini program
	PagePath  string `json:"pagepath,omitempty"`
	MediaID   string `json:"media_id,omitempty"` // permanent material
	ArticleID string `json:"article_id,omitempty"`
	Value     string `json:"value,omitempty"` // of a button made on the console

	Sub Buttons `json:"sub_button,omitempty"`
}

// UnmarshalJSON reads an array, and the object with a list that get_current_selfmenu_info has in its place.
func (b *Buttons) UnmarshalJSON(data []byte) error {
	var object struct{ List []Button }
	var in any = &object.List
	if bytes.HasPrefix(data, []byte("{")) {
		in = &object
	}
	if err := json.Unmarshal(data, in); err != nil {
		return err
	}
	*b = object.List
	return nil
}

// Menu is a menu that was made by the API.
type Menu struct {
	ID      Int       `json:"menuid"` // 0 in an answer without conditional menus
	Buttons Buttons   `json:"button"`
	Rule    *MenuRule `json:"matchrule"` // who sees a conditional menu; nil for the default one
}

// MenuRule says who sees a conditional menu. All of its fields that are not zero must match.
type MenuRule struct {
	TagID    Int `json:"tag_id"`               // users with this tag; 0: with any or none
	Platform Int `json:"client_platform_type"` // 1 iOS, 2 Android, 3 others; 0: all
}

// MarshalJSON writes the numbers in quotes, as WeChat wants them, and no field that is 0.
func (r MenuRule) MarshalJSON() ([]byte, error) {
	fields := map[string]string{}
	if r.TagID != 0 {
		fields["tag_id"] = r.TagID.String()
	}
	if r.Platform != 0 {
		fields["client_platform_type"] = r.Platform.String()
	}
	return json.Marshal(fields)
}

// CreateMenu sets the menu that everyone sees who sees no conditional one. WeChat's client looks for a new one when the
// user opens the conversation and last looked more than five minutes ago, or when the user follows the account anew.
// WeChat's page: menu/create.
func (a *Account) CreateMenu(ctx context.Context, buttons Buttons) error {
	return a.Post(ctx, "/cgi-bin/menu/create", map[string]any{"button": buttons}, nil)
}

// CurrentMenu is the menu in use, whether it was made by the API or on the console; on is false if it is switched off.
// WeChat's page: get_current_selfmenu_info.
func (a *Account) CurrentMenu(ctx context.Context) (buttons Buttons, on bool, err error) {
	var out struct {
		Open Int `json:"is_menu_open"`
		Info struct {
			Buttons Buttons `json:"button"`
		} `json:"selfmenu_info"`
	}
	if err := a.Get(ctx, "/cgi-bin/get_current_selfmenu_info", nil, &out); err != nil {
		return nil, false, err
	}
	return out.Info.Buttons, out.Open == 1, nil
}

// Menus are the default menu and the conditional ones, as made by the API. Errcode 46003: there is none.
// WeChat's page: menu/get.
func (a *Account) Menus(ctx context.Context) (def Menu, conditional []Menu, err error) {
	var out struct {
		Menu        Menu   `json:"menu"`
		Conditional []Menu `json:"conditionalmenu"`
	}
	if err := a.Get(ctx, "/cgi-bin/menu/get", nil, &out); err != nil {
		return Menu{}, nil, err
	}
	return out.Menu, out.Conditional, nil
}

// DeleteMenu deletes the default menu and all conditional ones. WeChat's page: menu/delete.
func (a *Account) DeleteMenu(ctx context.Context) error {
	return a.Get(ctx, "/cgi-bin/menu/delete", nil, nil)
}

// AddConditionalMenu adds a menu for those whom rule matches. There must be a default menu. A later one is tried before
// an earlier one. WeChat's page: menu/addconditional.
func (a *Account) AddConditionalMenu(ctx context.Context, buttons Buttons, rule MenuRule) (id Int, err error) {
	var out struct {
		ID Int `json:"menuid"`
	}
	err = a.Post(ctx, "/cgi-bin/menu/addconditional", map[string]any{"button": buttons, "matchrule": rule}, &out)
	return out.ID, err
}

// DeleteConditionalMenu deletes one conditional menu. WeChat's page: menu/delconditional.
func (a *Account) DeleteConditionalMenu(ctx context.Context, id Int) error {
	return a.Post(ctx, "/cgi-bin/menu/delconditional", map[string]string{"menuid": id.String()}, nil)
}

// TryMenu is the menu that a user sees: an openid, or a WeChat id. WeChat's page: menu/trymatch.
func (a *Account) TryMenu(ctx context.Context, user string) (Buttons, error) {
	var out struct {
		Buttons Buttons `json:"button"`
	}
	if err := a.Post(ctx, "/cgi-bin/menu/trymatch", map[string]string{"user_id": user}, &out); err != nil {
		return nil, err
	}
	return out.Buttons, nil
}
