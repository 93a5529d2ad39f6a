package wechattest

import "testing"

func BenchmarkAuthorize(b *testing.B) {
	s := Start(b)
	c := s.AddComponent(ComponentConfig{})
	for b.Loop() {
		c.NewAuthCode(s.AddAccount(AccountConfig{}))
	}
}
