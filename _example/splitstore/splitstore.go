// Package splitstore shows a wechatopen.Store made of two: what is kept for ever goes into one that loses nothing, such
// as boltstore or a table of your database, and what expires into a fast one that may, such as a Redis with an eviction
// policy.
package splitstore

import (
	"context"
	"errors"
	"time"

	"github.com/wechatopen/wechatopen"
)

// Store keeps what has a ttl in Expiring and the rest in Kept.
//
// The two are written one after the other. So that no reader or other writer comes in between, a key has a ttl always or
// never; the keys of package wechatopen are like that.
type Store struct{ Kept, Expiring wechatopen.Store }

// Get asks Kept, then Expiring. An absent value is one that both say is absent.
func (s Store) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := s.Kept.Get(ctx, key)
	if errors.Is(err, wechatopen.ErrNotFound) {
		return s.Expiring.Get(ctx, key)
	}
	return value, err
}

// Set writes to the one, then takes from the other what may be left there of a Set with another ttl.
func (s Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	to, from := s.Kept, s.Expiring
	if ttl != 0 {
		to, from = from, to
	}
	if err := to.Set(ctx, key, value, ttl); err != nil {
		return err
	}
	return from.Delete(ctx, key)
}

// Delete deletes from both, even if one of them fails.
func (s Store) Delete(ctx context.Context, key string) error {
	return errors.Join(s.Kept.Delete(ctx, key), s.Expiring.Delete(ctx, key))
}
