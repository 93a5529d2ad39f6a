package wechattest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// padBlock is the block of the PKCS#7 padding, twice that of AES.
const padBlock = 32

// sign is the lower-case hexadecimal SHA-1 of the parts, sorted and joined.
func sign(parts ...string) string {
	parts = slices.Sorted(slices.Values(parts))
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

func decodeKey(encodingAESKey string) ([]byte, error) {
	// Not strict: WeChat's own sample keys have unused bits set in their last character.
	key, err := base64.StdEncoding.DecodeString(encodingAESKey + "=")
	if err != nil || len(key) != 32 {
		return nil, errors.New("wechattest: EncodingAESKey is not 43 characters of base64")
	}
	return key, nil
}

// frame is what is encrypted of a message, without padding: 16 random bytes, the length, the message, the appid.
func frame(random, msg []byte, appID string) []byte {
	p := slices.Clone(random)
	p = binary.BigEndian.AppendUint32(p, uint32(len(msg)))
	p = append(p, msg...)
	return append(p, appID...)
}

func pad(p []byte) []byte {
	n := padBlock - len(p)%padBlock
	return append(slices.Clone(p), bytes.Repeat([]byte{byte(n)}, n)...)
}

// encryptRaw encrypts whole blocks.
func encryptRaw(encodingAESKey string, plain []byte) (string, error) {
	key, err := decodeKey(encodingAESKey)
	if err != nil {
		return "", err
	}
	if len(plain)%aes.BlockSize != 0 {
		return "", fmt.Errorf("wechattest: plaintext of %d bytes is not whole AES blocks", len(plain))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return "", err
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, key[:aes.BlockSize]).CryptBlocks(out, plain)
	return base64.StdEncoding.EncodeToString(out), nil
}

// decrypt opens what the platform or account encrypted, and returns the message and the appid behind it.
func decrypt(encodingAESKey, encrypted string) (random, msg []byte, appID string, err error) {
	key, err := decodeKey(encodingAESKey)
	if err != nil {
		return nil, nil, "", err
	}
	data, err := base64.StdEncoding.DecodeString(encrypted)
	if err != nil {
		return nil, nil, "", fmt.Errorf("wechattest: Encrypt is not base64: %w", err)
	}
	if len(data) == 0 || len(data)%padBlock != 0 {
		return nil, nil, "", fmt.Errorf("wechattest: Encrypt holds %d bytes, not a multiple of %d", len(data), padBlock)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, "", err
	}
	cipher.NewCBCDecrypter(block, key[:aes.BlockSize]).CryptBlocks(data, data)
	n := int(data[len(data)-1])
	if n < 1 || n > padBlock || !bytes.Equal(data[len(data)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, nil, "", errors.New("wechattest: wrong padding: another key, or not PKCS#7 to 32 bytes")
	}
	data = data[:len(data)-n]
	if len(data) < 20 {
		return nil, nil, "", errors.New("wechattest: message too short")
	}
	size := binary.BigEndian.Uint32(data[16:20])
	if uint64(size) > uint64(len(data)-20) {
		return nil, nil, "", errors.New("wechattest: message length is larger than the message")
	}
	return data[:16], data[20 : 20+size], string(data[20+size:]), nil
}
