package wechatopen

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// passingError is a failure of the Store, of the Locker, or of another token that is needed first. It is not remembered:
// asking again costs no call of WeChat that the other token's own memory does not prevent.
type passingError struct{ err error }

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

// lock takes the Locker's lock of a key.
func (o *options) lock(ctx context.Context, key string) (held context.Context, unlock func(), err error) {
	held, unlock, err = o.locker.Lock(ctx, key)
	if err != nil {
		return nil, nil, &passingError{errorf("lock of %s: %w", key, err)}
	}
	return held, unlock, nil
}

// loadRecord reads what this package wrote into the Store; the error wraps [ErrNotFound] if there is nothing. What cannot
// be read is an error that names the key, never a miss: nothing is overwritten by accident.
func loadRecord(ctx context.Context, s Store, key string, rec any, version *int) error {
	b, found, err := getValue(ctx, s, key)
	if err != nil {
		return err
	}
	if !found {
		return &passingError{ErrNotFound}
	}
	if err := json.Unmarshal(b, rec); err != nil {
		return unreadable(key)
	}
	if *version != 1 {
		return &passingError{errorf("store: the value of %s has version %d; this release reads version 1", key, *version)}
	}
	return nil
}

// storeRecord writes what loadRecord reads. It writes nothing once ctx has ended, which is how a lost lock shows.
func storeRecord(ctx context.Context, s Store, key string, rec any, ttl time.Duration) error {
	b, err := json.Marshal(rec)
	if err != nil {
		return &passingError{errorf("store: %s: %w", key, err)}
	}
	return setValue(ctx, s, key, b, ttl)
}

func getValue(ctx context.Context, s Store, key string) (b []byte, found bool, err error) {
	b, err = s.Get(ctx, key)
	switch {
	case err == nil:
		return b, true, nil
	case errors.Is(err, ErrNotFound):
		return nil, false, nil
	}
	return nil, false, &passingError{errorf("store: %s: %w", key, err)}
}

func setValue(ctx context.Context, s Store, key string, b []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return &passingError{errorf("store: %s: not written: %w", key, err)}
	}
	if err := s.Set(ctx, key, b, ttl); err != nil {
		return &passingError{errorf("store: %s: %w", key, err)}
	}
	return nil
}

func unreadable(key string) error {
	return &passingError{errorf("store: the value of %s is not readable: damaged, sealed by another program, or of another release", key)}
}

// hashKey is a Store key that ends in a hash of what it is for.
func hashKey(prefix, kind string, content []byte) string {
	sum := sha256.Sum256(content)
	key := make([]byte, 0, 128) // on the stack
	key = append(append(key, prefix...), kind...)
	return string(base64.RawURLEncoding.AppendEncode(key, sum[:18]))
}
