module github.com/wechatopen/wechatopen

go 1.25.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/gorilla/securecookie v1.1.2
	github.com/patrickmn/go-cache v2.1.0+incompatible
	golang.org/x/net v0.48.0
	golang.org/x/oauth2 v0.36.0
)
