package wechattest

import (
	"encoding/xml"
	"errors"
	"fmt"
)

// OpenReply verifies and decrypts an encrypted reply to a message, as WeChat does, with the token and key that the
// component has now.
func (c *Component) OpenReply(body string) (string, error) {
	cr := c.Credentials()
	return OpenReply(body, cr.Token, cr.EncodingAESKey, cr.AppID)
}

// OpenReply is that of [Component.OpenReply] for an account of one's own.
func (a *Account) OpenReply(body string) (string, error) {
	cr := a.Credentials()
	return OpenReply(body, cr.Token, cr.EncodingAESKey, cr.AppID)
}

// OpenReply verifies and decrypts an encrypted reply with the given token and key. It is an error if the XML is broken,
// the signature or padding wrong, or the reply encrypted for another appid.
func OpenReply(body, token, encodingAESKey, appID string) (string, error) {
	var r struct {
		XMLName      xml.Name `xml:"xml"`
		Encrypt      string
		MsgSignature string
		TimeStamp    string
		Nonce        string
	}
	if err := xml.Unmarshal([]byte(body), &r); err != nil {
		return "", fmt.Errorf("wechattest: reply is not XML: %w", err)
	}
	if r.Encrypt == "" {
		return "", errors.New("wechattest: reply holds no Encrypt")
	}
	if r.MsgSignature != sign(token, r.TimeStamp, r.Nonce, r.Encrypt) {
		return "", errors.New("wechattest: reply is not signed with the token")
	}
	_, msg, id, err := decrypt(encodingAESKey, r.Encrypt)
	if err != nil {
		return "", err
	}
	if id != appID {
		return "", errors.New("wechattest: reply is encrypted for another appid")
	}
	return string(msg), nil
}
