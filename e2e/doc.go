// Package e2e proves what package wechatopen promises of several processes, of killed processes and of a Redis that goes
// away. It holds tests only: each starts further processes of the test binary, a redis-server of its own and wechattest
// as WeChat, all on the loopback interface.
//
// It is a module of its own because it needs both redisstore and boltstore. Without redis-server the tests that need it
// are left out, and say so; with CI=true in the environment they fail instead.
package e2e
