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

// Signature is the lower-case hexadecimal SHA-1 of the strings, sorted bytewise and put together.
func Signature(parts ...string) string {
	slices.Sort(parts)
	h := sha1.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Codec opens and seals the pushes of one component or account.
type Codec struct {
	appID  string
	tokens []string // newest first
	keys   []key    // newest first
}

type key struct {
	block cipher.Block
	iv    []byte // the first 16 bytes of the AES key
}

// New returns a Codec. tokens and keys are newest first; each key has 32 bytes.
func New(appID string, tokens []string, keys [][]byte) (*Codec, error) {
	c := &Codec{appID: appID, tokens: tokens}
	for _, k := range keys {
		if len(k) != 32 {
			return nil, errors.New("AES key does not have 32 bytes")
		}
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, err
		}
		c.keys = append(c.keys, key{block, bytes.Clone(k[:aes.BlockSize])})
	}
	return c, nil
}

// Signed reports whether signature is that of the parts under one of the tokens, in constant time for each.
func (c *Codec) Signed(signature string, parts ...string) bool {
	_, ok := c.signedBy(signature, parts...)
	return ok
}

func (c *Codec) signedBy(signature string, parts ...string) (token int, ok bool) {
	for i, t := range c.tokens {
		want := Signature(append([]string{t}, parts...)...)
		if subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1 {
			return i, true
		}
	}
	return 0, false
}

// Used says which token and key a push was signed and encrypted with, so that its reply can be made with the same.
type Used struct{ token, key int }

// Open checks the signature of a push first, then decrypts it, then compares the appid. The message is a slice of
// memory of its own.
func (c *Codec) Open(signature, timestamp, nonce, encrypt string) (msg []byte, used Used, err error) {
	token, ok := c.signedBy(signature, timestamp, nonce, encrypt)
	if !ok {
		return nil, used, ErrSignature
	}
	data, err := base64.StdEncoding.DecodeString(encrypt)
	if err != nil || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, used, ErrDecrypt
	}
	err = ErrDecrypt
	plain := make([]byte, len(data))
	for i, k := range c.keys {
		cipher.NewCBCDecrypter(k.block, k.iv).CryptBlocks(plain, data)
		msg, appID, ok := split(plain)
		switch {
		case !ok:
		case subtle.ConstantTimeCompare(appID, []byte(c.appID)) == 1:
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

// Seal encrypts and signs a reply with what opened the push.
func (c *Codec) Seal(used Used, msg []byte, timestamp, nonce string) (encrypt, signature string) {
	var random [randomSize]byte
	rand.Read(random[:])
	return c.seal(used, random, msg, timestamp, nonce)
}

func (c *Codec) seal(used Used, random [randomSize]byte, msg []byte, timestamp, nonce string) (encrypt, signature string) {
	size := headSize + len(msg) + len(c.appID)
	pad := padTo - size%padTo
	plain := make([]byte, 0, size+pad)
	plain = append(plain, random[:]...)
	plain = binary.BigEndian.AppendUint32(plain, uint32(len(msg)))
	plain = append(plain, msg...)
	plain = append(plain, c.appID...)
	plain = append(plain, bytes.Repeat([]byte{byte(pad)}, pad)...)
	k := c.keys[used.key]
	cipher.NewCBCEncrypter(k.block, k.iv).CryptBlocks(plain, plain)
	encrypt = base64.StdEncoding.EncodeToString(plain)
	return encrypt, Signature(c.tokens[used.token], timestamp, nonce, encrypt)
}
