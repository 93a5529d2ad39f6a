package boltstore

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/wechatopen/wechatopen"
	"go.etcd.io/bbolt"
)

// Get returns a copy of the value. An error other than [wechatopen.ErrNotFound] names the key and not the value.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	err := s.do(ctx, key, s.db.View, func(tx *bbolt.Tx) error {
		raw := tx.Bucket(valuesBucket).Get([]byte(key))
		if raw == nil {
			return wechatopen.ErrNotFound
		}
		e, err := decode(raw)
		if err != nil {
			return err
		}
		if e.over(s.clock()) {
			return wechatopen.ErrNotFound
		}
		value = bytes.Clone(e.value) // raw is the file's memory, and only until the transaction ends
		return nil
	})
	return value, err
}

// Set returns when the value is on the disk. It does not begin if ctx has ended, and does not stop once it has begun. A
// ttl below 0 is an error; so is a key whose present value is damaged, until it is deleted.
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl < 0 {
		return fmt.Errorf("boltstore: %s: ttl %v is below 0", key, ttl)
	}
	return s.do(ctx, key, s.db.Batch, func(tx *bbolt.Tx) error {
		now := s.clock()
		if err := sweep(tx, now); err != nil {
			return err
		}
		values, ends := tx.Bucket(valuesBucket), tx.Bucket(endsBucket)
		if raw := values.Get([]byte(key)); raw != nil {
			old, err := decode(raw)
			if err != nil {
				return err
			}
			if err := ends.Delete(old.endKey(key)); err != nil {
				return err
			}
		}
		e := newEntry(value, now, ttl)
		if e.end != 0 {
			if err := ends.Put(e.endKey(key), nil); err != nil {
				return err
			}
		}
		return values.Put([]byte(key), e.encode())
	})
}

// Delete returns when the key is gone from the disk, nil if it was not there. It deletes a damaged value, too.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, key, s.db.Batch, func(tx *bbolt.Tx) error {
		if err := sweep(tx, s.clock()); err != nil {
			return err
		}
		values := tx.Bucket(valuesBucket)
		if e, err := decode(values.Get([]byte(key))); err == nil {
			if err := tx.Bucket(endsBucket).Delete(e.endKey(key)); err != nil {
				return err
			}
		}
		return values.Delete([]byte(key))
	})
}

// do runs fn in a transaction of the kind run, unless ctx has ended, and names the key in what goes wrong.
func (s *Store) do(ctx context.Context, key string, run func(func(*bbolt.Tx) error) error, fn func(*bbolt.Tx) error) error {
	err := ctx.Err()
	if err == nil {
		err = run(fn)
	}
	if err != nil {
		return fmt.Errorf("boltstore: %s: %w", key, err)
	}
	return nil
}
