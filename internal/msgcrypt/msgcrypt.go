// Package msgcrypt is the encryption of WeChat's message pushes as pure functions: AES-256-CBC with PKCS#7 padding to
// 32 bytes, an appid behind the message, and a signature by SHA-1 over sorted strings.
//
// Source: "Message Encryption and Decryption" and "Technical Plan" of the WeChat Open Platform documentation.
package msgcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
)

// Errors of Open. They tell an operator which step failed and nothing about the secret side of it.
var (
	ErrSignature = errors.New("signature does not match")
	ErrDecrypt   = errors.New("cannot be decrypted with the current or the previous key")
	ErrAppID     = errors.New("encrypted for another appid")
)

const (
	padTo      = 32 // WeChat pads to 32 bytes, not to the 16 of an AES block
	randomSize = 16 // random bytes before the length
	headSize   = randomSize + 4
)

// Signature is the lower-case hexadecimal SHA-1 of the strings, sorted bytewise and put together. It sorts parts in place.
func Signature(parts ...[]byte) (signature [2 * sha1.Size]byte) {
	for i := range parts { // four at most
		for j := i; j > 0 && bytes.Compare(parts[j-1], parts[j]) > 0; j-- {
			parts[j-1], parts[j] = parts[j], parts[j-1]
		}
	}
	all := make([]byte, 0, 1024) // on the stack, and more than most pushes take
	for _, p := range parts {
		all = append(all, p...)
	}
	sum := sha1.Sum(all)
	hex.Encode(signature[:], sum[:])
	return signature
}

// Codec opens and seals the pushes of one component or account.
type Codec struct {
	appID  []byte
	tokens [][]byte // newest first
	keys   []*key   // newest first
}

// key keeps the modes that it has made: one is larger than most messages.
type key struct {
	iv                     []byte // the first 16 bytes of the AES key
	decrypters, encrypters sync.Pool
}

// cbcMode is what [cipher.NewCBCDecrypter] and [cipher.NewCBCEncrypter] return; crypto/tls counts on that, too.
type cbcMode interface {
	cipher.BlockMode
	SetIV([]byte)
}

func newKey(k []byte) (*key, error) {
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, err
	}
	iv := bytes.Clone(k[:aes.BlockSize])
	return &key{
		iv:         iv,
		decrypters: sync.Pool{New: func() any { return cipher.NewCBCDecrypter(block, iv) }},
		encrypters: sync.Pool{New: func() any { return cipher.NewCBCEncrypter(block, iv) }},
	}, nil
}

func (k *key) decrypt(data []byte) { k.crypt(&k.decrypters, data) }
func (k *key) encrypt(data []byte) { k.crypt(&k.encrypters, data) }

func (k *key) crypt(modes *sync.Pool, data []byte) {
	mode := modes.Get().(cbcMode)
	mode.SetIV(k.iv)
	mode.CryptBlocks(data, data)
	modes.Put(mode)
}

// New returns a Codec. tokens and keys are newest first; each key has 32 bytes.
func New(appID string, tokens []string, keys [][]byte) (*Codec, error) {
	c := &Codec{appID: []byte(appID)}
	for _, t := range tokens {
		c.tokens = append(c.tokens, []byte(t))
	}
	for _, k := range keys {
		if len(k) != 32 {
			return nil, errors.New("AES key does not have 32 bytes")
		}
		key, err := newKey(k)
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, key)
	}
	return c, nil
}

// Signed reports whether signature is that of a plain push under one of the tokens, in constant time for each.
func (c *Codec) Signed(signature, timestamp, nonce string) bool {
	_, ok := c.signedBy(signature, timestamp, nonce, nil)
	return ok
}

func (c *Codec) signedBy(signature, timestamp, nonce string, encrypt []byte) (token int, ok bool) {
	for i, t := range c.tokens {
		want := Signature(t, []byte(timestamp), []byte(nonce), encrypt)
		if subtle.ConstantTimeCompare(want[:], []byte(signature)) == 1 {
			return i, true
		}
	}
	return 0, false
}

// Used says which token and key a push was signed and encrypted with, so that its reply can be made with the same.
type Used struct{ token, key int }

// Open checks the signature of a push first, then decrypts it, then compares the appid. The message is a slice of
// memory of its own.
func (c *Codec) Open(signature, timestamp, nonce string, encrypt []byte) (msg []byte, used Used, err error) {
	token, ok := c.signedBy(signature, timestamp, nonce, encrypt)
	if !ok {
		return nil, used, ErrSignature
	}
	err = ErrDecrypt
	for i, k := range c.keys {
		// Decoded again for the next key: decrypted in place, a message that opens, as nearly all do, takes one buffer.
		data, bad := base64.StdEncoding.AppendDecode(nil, encrypt)
		if bad != nil || len(data) == 0 || len(data)%aes.BlockSize != 0 {
			return nil, used, ErrDecrypt
		}
		k.decrypt(data)
		msg, appID, ok := split(data)
		switch {
		case !ok:
		case subtle.ConstantTimeCompare(appID, c.appID) == 1:
			return msg, Used{token, i}, nil
		default:
			err = ErrAppID
		}
	}
	return nil, used, err
}

// split takes a padded plaintext apart. A message of no bytes is no message.
func split(plain []byte) (msg, appID []byte, ok bool) {
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > padTo || pad > len(plain) {
		return nil, nil, false
	}
	body, padding := plain[:len(plain)-pad], plain[len(plain)-pad:]
	for _, b := range padding {
		if int(b) != pad {
			return nil, nil, false
		}
	}
	if len(body) < headSize {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(body[randomSize:headSize]))
	rest := body[headSize:]
	if n == 0 || n > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:n:n], rest[n:], true
}

// Seal appends a reply to dst, encrypted with what opened the push, and signs it.
func (c *Codec) Seal(dst []byte, used Used, msg []byte, timestamp, nonce string) (sealed []byte, signature string) {
	var random [randomSize]byte
	rand.Read(random[:])
	return c.seal(dst, used, random, msg, timestamp, nonce)
}

func (c *Codec) seal(dst []byte, used Used, random [randomSize]byte, msg []byte, timestamp, nonce string) (sealed []byte, signature string) {
	size := headSize + len(msg) + len(c.appID)
	pad := padTo - size%padTo
	encoded := base64.StdEncoding.EncodedLen(size + pad)
	dst = slices.Grow(dst, encoded+size+pad)
	plain := dst[len(dst)+encoded : len(dst)+encoded] // behind its ciphertext, so that one buffer holds both
	plain = append(plain, random[:]...)
	plain = binary.BigEndian.AppendUint32(plain, uint32(len(msg)))
	plain = append(plain, msg...)
	plain = append(plain, c.appID...)
	for range pad {
		plain = append(plain, byte(pad))
	}
	c.keys[used.key].encrypt(plain)
	sealed = base64.StdEncoding.AppendEncode(dst, plain)
	sum := Signature(c.tokens[used.token], []byte(timestamp), []byte(nonce), sealed[len(dst):])
	return sealed, string(sum[:])
}
