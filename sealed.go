package wechatopen

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"time"
)

// SealedStore encrypts what another [Store] keeps, so that who reads its file, its backup or its memory reads no token.
// Values are sealed with AES-256-GCM under a key of yours, each bound to its name: one cannot be put in another's place.
type SealedStore struct {
	store Store
	keys  []sealKey // newest first
}

type sealKey struct {
	id   [4]byte // of its hash: tells which key sealed a value
	aead cipher.AEAD
}

// sealVersion begins every sealed value.
const sealVersion = 's'

// NewSealedStore wraps a Store. keys have 32 random bytes each, newest first: the first one seals, all of them open.
//
// To change the key put a new one in front, in all processes. A platform writes the ticket every ten minutes and a
// merchant's grant with each refresh, so that a day later nothing in use is sealed by the old key; what has not been used
// since (see [Platform.KeepFresh]) still is, and an error that names an unknown key says so if it is taken away too early.
func NewSealedStore(s Store, keys ...[]byte) (*SealedStore, error) {
	if len(keys) == 0 {
		return nil, errorf("NewSealedStore needs a key of 32 random bytes")
	}
	sealed := &SealedStore{store: s}
	for i, k := range keys {
		if len(k) != 32 {
			return nil, errorf("NewSealedStore: key %d has %d bytes, not 32", i+1, len(k))
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, errorf("NewSealedStore: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, errorf("NewSealedStore: %w", err)
		}
		sum := sha256.Sum256(append([]byte("wechatopen seal key id"), k...))
		sealed.keys = append(sealed.keys, sealKey{[4]byte(sum[:4]), aead})
	}
	return sealed, nil
}

// Get opens a value. One that cannot be opened is an error that names its key, never [ErrNotFound].
func (s *SealedStore) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := s.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	if len(b) < 5 || b[0] != sealVersion {
		return nil, errorf("sealed store: the value of %s is not sealed by this version", key)
	}
	id, box := [4]byte(b[1:5]), b[5:]
	for _, k := range s.keys {
		if k.id != id || len(box) < k.aead.NonceSize() {
			continue
		}
		nonce, sealed := box[:k.aead.NonceSize()], box[k.aead.NonceSize():]
		value, err := k.aead.Open(nil, nonce, sealed, []byte(key))
		if err != nil {
			return nil, errorf("sealed store: the value of %s is damaged, or was put in another's place", key)
		}
		return value, nil
	}
	return nil, errorf("sealed store: the value of %s is sealed by a key that is not given (id %x)", key, id)
}

// Set seals a value with the newest key.
func (s *SealedStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	k := s.keys[0]
	b := make([]byte, 5+k.aead.NonceSize(), 5+k.aead.NonceSize()+len(value)+k.aead.Overhead())
	b[0] = sealVersion
	copy(b[1:], k.id[:])
	nonce := b[5:]
	if _, err := rand.Read(nonce); err != nil {
		return errorf("sealed store: %w", err)
	}
	return s.store.Set(ctx, key, k.aead.Seal(b, nonce, value, []byte(key)), ttl)
}

// Delete removes a value.
func (s *SealedStore) Delete(ctx context.Context, key string) error { return s.store.Delete(ctx, key) }
