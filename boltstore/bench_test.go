package boltstore_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/wechatopen/wechatopen/boltstore"
)

func benchStore(b *testing.B) *boltstore.Store {
	s, err := boltstore.Open(filepath.Join(b.TempDir(), "wechat.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func BenchmarkSet(b *testing.B) {
	s := benchStore(b)
	for b.Loop() {
		if err := s.Set(b.Context(), key, make([]byte, 300), 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSetByManyCallers(b *testing.B) {
	s := benchStore(b)
	var n atomic.Int64
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Set(b.Context(), fmt.Sprint(key, n.Add(1)%10_000), make([]byte, 300), 0); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	if err := s.Set(b.Context(), key, make([]byte, 300), 0); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}
