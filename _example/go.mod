module github.com/wechatopen/wechatopen/_example

go 1.25.0

require (
	github.com/ncruces/go-sqlite3 v0.30.5
	github.com/redis/go-redis/v9 v9.22.0
	github.com/wechatopen/wechatopen v0.0.0
	github.com/wechatopen/wechatopen/boltstore v0.0.0-00010101000000-000000000000
	github.com/wechatopen/wechatopen/redisstore v0.0.0-00010101000000-000000000000
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/gorilla/securecookie v1.1.2 // indirect
	github.com/ncruces/julianday v1.0.0 // indirect
	github.com/patrickmn/go-cache v2.1.0+incompatible // indirect
	github.com/tetratelabs/wazero v1.11.0 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	go.uber.org/atomic v1.11.0 // indirect
	golang.org/x/net v0.48.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
)

replace (
	github.com/wechatopen/wechatopen => ../
	github.com/wechatopen/wechatopen/boltstore => ../boltstore
	github.com/wechatopen/wechatopen/redisstore => ../redisstore
)
