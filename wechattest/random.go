package wechattest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// randomAlnum is n random letters and digits.
func randomAlnum(n int) string {
	out := make([]byte, 0, n)
	for len(out) < n {
		var b [64]byte
		rand.Read(b[:])
		for _, v := range b {
			// What is left over by the largest multiple of 62 would favour some characters.
			if v < 248 && len(out) < n {
				out = append(out, alphanumeric[v%62])
			}
		}
	}
	return string(out)
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
func newTemplateID() string    { return randomURLSafe(43) }
func newMediaID() string       { return randomURLSafe(64) }

func newRID() string {
	h := randomHex(24)
	return fmt.Sprintf("%s-%s-%s", h[:8], h[8:16], h[16:])
}

// newNumber is the id of a menu or of a template message: nine digits.
func newNumber() int64 { return 200_000_000 + newMsgID()%100_000_000 }

// newMsgID is a MsgId as large as WeChat's are.
func newMsgID() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:])>>4 | 1<<60)
}
