package wechattest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
)

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomAlnum is n random letters and digits.
func randomAlnum(n int) string {
	b := make([]byte, n)
	for i := range b {
		k, _ := rand.Int(rand.Reader, big.NewInt(int64(len(alphanumeric)))) // crypto/rand.Reader never fails
		b[i] = alphanumeric[k.Int64()]
	}
	return string(b)
}

// randomURLSafe is n random characters of URL-safe base64.
func randomURLSafe(n int) string {
	b := make([]byte, n*3/4+1)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

func randomHex(n int) string {
	b := make([]byte, (n+1)/2)
	rand.Read(b)
	return hex.EncodeToString(b)[:n]
}

// Shapes and sizes as they are seen at WeChat: code that stores them in too small a column should fail here first.

func newTicketValue() string   { return "ticket@@@" + randomURLSafe(86) }
func newPreAuthCode() string   { return "preauthcode@@@" + randomURLSafe(86) }
func newQueryAuthCode() string { return "queryauthcode@@@" + randomURLSafe(86) }
func newRefreshToken() string  { return "refreshtoken@@@" + randomURLSafe(43) }
func newAPIToken() string      { return "55_" + randomURLSafe(154) }
func newUserToken() string     { return "56_" + randomURLSafe(83) }
func newLoginCode() string     { return "0" + randomAlnum(31) }
func newJSTicket() string      { return randomURLSafe(86) }

func newRID() string {
	h := randomHex(24)
	return fmt.Sprintf("%s-%s-%s", h[:8], h[8:16], h[16:])
}
