package wechattest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/wechatopen/wechatopen/wechattest"
)

func Example() {
	ctx := context.Background()
	wx, err := wechattest.New(wechattest.Config{}) // in a test: wechattest.Start(t)
	if err != nil {
		panic(err)
	}
	defer wx.Close()

	// A website that logs its visitors in.
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<p>has a code: %v, state: %s</p>", r.FormValue("code") != "", r.FormValue("state"))
	}))
	defer site.Close()

	account := wx.AddAccount(wechattest.AccountConfig{})
	visitor := wx.NewBrowser(wx.AddUser(wechattest.UserConfig{Name: "小明"}))
	page, err := visitor.Open(ctx, wx.URL()+"/connect/oauth2/authorize?appid="+account.AppID()+
		"&redirect_uri="+site.URL+"&response_type=code&scope=snsapi_userinfo&state=abc#wechat_redirect")
	if err != nil {
		panic(err)
	}
	page, err = page.Click(ctx, "allow")
	if err != nil {
		panic(err)
	}
	fmt.Println(page.Text())
	fmt.Println("calls of the consent page:", wx.Count("/wechatsim/consent"))
	// Output:
	// has a code: true, state: abc
	// calls of the consent page: 1
}
