package main

import (
	"cmp"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wechatopen/wechatopen"
)

// config is what the flags and the environment say.
type config struct {
	walk          bool
	addr, baseURL string

	real         bool // credentials were given: no simulator
	creds        wechatopen.Credentials
	cookieSecret []byte
	state        string           // file of what must outlive the process
	clock        func() time.Time // the simulator's, which can be moved; nil: the real one
}

const defaultState = "wechatopen.db"

// parseConfig never puts the value of a secret into an error or a help text. A flag goes before its environment variable.
func parseConfig(args []string, env func(string) string, out io.Writer) (*config, error) {
	var c config
	fs := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.BoolVar(&c.walk, "walk", false, "play merchant and customer against the simulator, print what was seen, and end")
	fs.StringVar(&c.addr, "addr", "127.0.0.1:0", "`address` that the shop platform listens on")
	fs.StringVar(&c.baseURL, "base-url", "", "public `origin` of the shop platform, such as https://shop.example.com")
	fs.StringVar(&c.state, "state", "", "`file` that keeps the merchants' authorizations; or set WECHAT_STATE (default "+defaultState+")")
	secrets := []struct {
		value            *string
		flag, env, usage string
	}{
		{&c.creds.AppID, "component-appid", "WECHAT_COMPONENT_APPID", "appid of a real component"},
		{&c.creds.AppSecret, "component-secret", "WECHAT_COMPONENT_SECRET", "its secret"},
		{&c.creds.Token, "token", "WECHAT_TOKEN", "its message verification token"},
		{&c.creds.EncodingAESKey, "aes-key", "WECHAT_AES_KEY", "its message encryption key, 43 characters"},
	}
	for _, s := range secrets {
		fs.StringVar(s.value, s.flag, "", s.usage+"; or set "+s.env)
	}
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	c.baseURL = strings.TrimSuffix(c.baseURL, "/")
	if fs.NArg() > 0 {
		return nil, errors.New("only flags are taken; see -help")
	}

	var missing []string
	for _, s := range secrets {
		if *s.value == "" {
			*s.value = env(s.env)
		}
		if *s.value == "" {
			missing = append(missing, s.env)
		}
	}
	if len(missing) == len(secrets) {
		if c.state != "" {
			return nil, errors.New("-state is for real credentials: the simulator forgets everything, and so does its shop platform")
		}
		return &c, nil
	}
	c.real = true
	c.state = cmp.Or(c.state, env("WECHAT_STATE"), defaultState)
	cookieSecret := env("WECHAT_COOKIE_SECRET")
	if cookieSecret == "" {
		missing = append(missing, "WECHAT_COOKIE_SECRET")
	}
	if c.baseURL == "" {
		missing = append(missing, "-base-url")
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("with real credentials all of them are needed; missing: %s", strings.Join(missing, ", "))
	}
	var err error
	if c.cookieSecret, err = hex.DecodeString(cookieSecret); err != nil || len(c.cookieSecret) < 32 {
		return nil, errors.New("WECHAT_COOKIE_SECRET is not 32 bytes or more in hex: make it with openssl rand -hex 32")
	}
	if !strings.HasPrefix(c.baseURL, "https://") {
		return nil, errors.New("-base-url must begin with https://: cookies and WeChat need it")
	}
	if c.walk {
		return nil, errors.New("-walk plays against the simulator: leave the real credentials out")
	}
	return &c, nil
}
