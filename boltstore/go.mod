module github.com/wechatopen/wechatopen/boltstore

go 1.25.0

require (
	github.com/wechatopen/wechatopen v0.0.0-00010101000000-000000000000
	go.etcd.io/bbolt v1.5.0
)

require (
	github.com/gorilla/securecookie v1.1.2 // indirect
	github.com/patrickmn/go-cache v2.1.0+incompatible // indirect
	golang.org/x/sys v0.45.0 // indirect
)

replace github.com/wechatopen/wechatopen => ../
